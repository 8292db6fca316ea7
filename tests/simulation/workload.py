"""What is asked of the service: requests at random moments, and those who wait for them."""

import json
import random
import uuid
from dataclasses import dataclass, replace

import trio

from connect.protocol.messages.connect import v1 as pb
from connect.settings import DEVELOPMENT_ACCOUNT_ID, DEVELOPMENT_ENV_ID
from connect.worker import App, Context
from tests.simulation.determinism import NODE
from tests.simulation.executors import Call
from tests.simulation.history import CallEnded, CallEnding, CallStarted
from tests.simulation.world import World, run_in

__all__ = ["Demand", "Workload", "make_app", "plan_crowd", "plan_demands", "plan_flood"]

APP_NAME = "shop"
SLUG = "shop-work"

# How long whoever lost an executor takes to ask another one at least, in seconds.
_ASK_AGAIN = 0.5

# How often whoever was told that a request failed makes it again.
_PERSISTENT = 0.6

# (seconds that the function takes at most, weight)
_DURATIONS = ((0.0, 4), (0.5, 4), (4.0, 3), (15.0, 2), (45.0, 1))

# A function that outlives two leases, and one whose lease is over when it is asked for again
# unless it was extended. Seconds.
_TWO_LEASES = (42.0, 60.0)
_AFTER_A_LEASE = (21.0, 30.0)

# How often there is such a function.
_HAS_LONG = 0.2

# What fills the way to a worker: more than a socket takes that nobody reads. Bytes.
_LARGE = 40_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One request that somebody makes.

    Attributes:
        at: when, in seconds since the run began.
        seconds: that the function takes.
        size: bytes of the payload, and of the reply.
        fails: whether the function raises.
        patience: seconds after which the caller gives up; None never.
        twice_after: seconds after which the same request is made once more; None never.
    """

    request: str
    at: float
    seconds: float
    size: int
    fails: bool
    patience: float | None
    twice_after: float | None


def plan_demands(rng: random.Random, count: int, begin: float, end: float) -> list[Demand]:
    """Draw requests for a span of time; now and then one takes longer than two leases."""
    durations = [seconds for seconds, weight in _DURATIONS for _ in range(weight)]
    demands = [
        Demand(
            request=f"req-{number}",
            at=rng.uniform(begin, end),
            seconds=rng.uniform(0.2, 1.0) * rng.choice(durations),
            size=rng.choice((0, 0, 0, 0, 1000, _LARGE)),
            fails=rng.random() < 0.1,
            patience=rng.uniform(0.001, 8.0) if rng.random() < 0.06 else None,
            twice_after=_twice_after(rng) if rng.random() < 0.08 else None,
        )
        for number in range(count)
    ]
    if rng.random() < _HAS_LONG:
        demands[0] = replace(demands[0], seconds=rng.uniform(*_TWO_LEASES), patience=None)
    return demands


def _twice_after(rng: random.Random) -> float:
    return rng.uniform(*_AFTER_A_LEASE) if rng.random() < 0.25 else rng.uniform(0.0, 5.0)


def plan_crowd(rng: random.Random, count: int, at: float) -> list[Demand]:
    """Draw short requests that are all made at one moment."""
    return [
        replace(demand, request=f"crowd-{number}", at=at, seconds=rng.uniform(0.0, 2.0), size=0)
        for number, demand in enumerate(plan_demands(rng, count, at, at))
    ]


def plan_flood(count: int, at: float) -> list[Demand]:
    """Have so many large requests be made at one moment."""
    return [
        Demand(
            request=f"flood-{number}",
            at=at,
            seconds=0.0,
            size=_LARGE,
            fails=False,
            patience=None,
            twice_after=None,
        )
        for number in range(count)
    ]


def make_app(running: dict[str, str]) -> App:
    """Return the app that all workers serve.

    Args:
        running: the name of the run that began last, by worker and request.
    """
    app = App(APP_NAME)

    @app.function("work")
    async def work(ctx: Context) -> dict[str, str]:
        run = running[NODE.get() + ctx.run_id]
        data = ctx.event.data
        await trio.sleep(data["seconds"])
        if data["fails"]:
            raise RuntimeError(run)
        return {"run": run, "filling": "x" * data["size"]}

    return app


class Workload:
    """The callers of the executors.

    Args:
        rng: which executor is asked.

    Attributes:
        waiting: who has no outcome yet.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._made = 0
        self.waiting: dict[str, None] = {}

    async def run(self, demands: list[Demand]) -> None:
        """Make the requests at their times; return when the last one is over."""
        async with trio.open_nursery() as nursery:
            for demand in demands:
                nursery.start_soon(self._make, demand, demand.at, demand.patience)
                if demand.twice_after is not None:
                    again = demand.at + demand.twice_after
                    nursery.start_soon(self._make, demand, again, None)

    async def ask(self, executor: str, demand: Demand) -> Call:
        """Make a request now, once, of this executor; return when it has its outcome."""
        return await self._call(executor, demand, float("inf"))

    async def _make(self, demand: Demand, at: float, patience: float | None) -> None:
        await trio.sleep_until(at)
        self._made += 1
        who = f"{demand.request}, made at {at:.3f} s as number {self._made}"
        self.waiting[who] = None
        gives_up = at + patience if patience is not None else float("inf")
        while True:
            call = await self._call(self._rng.choice(self._world.executors), demand, gives_up)
            again = call.how is CallEnding.FAILED and self._rng.random() < _PERSISTENT
            if call.how is not CallEnding.LOST and not again:
                break
            await trio.sleep(_ASK_AGAIN * self._rng.uniform(1.0, 4.0))
        del self.waiting[who]

    async def _call(self, executor: str, demand: Demand, gives_up: float) -> Call:
        """Have an executor carry the request out; LOST if it ends before, or is not there."""
        node = self._world.executor(executor)
        call = Call(_request(demand))
        call.scope.deadline = gives_up
        if not node.up.is_set() or node.dead:
            return call
        number = next(self._world.calls)
        history = self._world.around.history
        history.add(
            CallStarted(at=history.now, request=demand.request, call=number, executor=node.process)
        )
        node.call(call)
        await call.done.wait()
        history.add(
            CallEnded(
                at=history.now,
                request=demand.request,
                call=number,
                how=call.how,
                detail=run_in(call.response) or call.detail,
            )
        )
        return call


def _app_id() -> str:
    """Return the id that the built-in registry gives the app."""
    return str(uuid.uuid5(uuid.UUID(DEVELOPMENT_ENV_ID), APP_NAME))


def _request(demand: Demand) -> bytes:
    data = {
        "seconds": demand.seconds,
        "size": demand.size,
        "fails": demand.fails,
        "filling": "x" * demand.size,
    }
    event = {"id": "1", "name": "shop/work", "data": data, "user": {}, "ts": 0}
    payload = {
        "event": event,
        "events": [event],
        "steps": {},
        "ctx": {"run_id": demand.request, "attempt": 0},
        "version": -1,
    }
    return bytes(
        pb.GatewayExecutorRequestData(
            request_id=demand.request,
            account_id=DEVELOPMENT_ACCOUNT_ID,
            env_id=DEVELOPMENT_ENV_ID,
            app_id=_app_id(),
            app_name=APP_NAME,
            function_id=SLUG,
            function_slug=SLUG,
            request_payload=json.dumps(payload).encode(),
            run_id=demand.request,
        )
    )
