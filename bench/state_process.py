"""Child process: the state store, called for one request after another.

Says ``{"ready": true}``, then does what it is asked (see `Caller`), and says what came of
it. The store's clock stands still, so that heartbeats do not age while others are
measured.
"""

import argparse
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

import trio

from bench.child import prepare_child, tell, wait_to_be_asked
from bench.state_results import Load
from connect.errors import ConnectError
from connect.logs import configure_logging
from connect.memory import settle_memory
from connect.settings import DEVELOPMENT_ACCOUNT_ID, RedisSettings, Timing
from connect.state.open import open_store
from connect.state.records import (
    ConnectionRecord,
    ConnectionStatus,
    GroupRecord,
    WorkerAttributes,
)
from connect.state.store import (
    Acquired,
    AcquireOutcome,
    AcquireRequest,
    NoRoute,
    NoRouteReason,
    StateStore,
)

__all__ = ["Caller", "UnexpectedOutcome", "answer"]

_APP_ID = "6a3f0a9e-4c58-5f0e-8b50-5d1f6c1a7a11"
_SLUG = "bench-echo"
_GROUP = "c1" * 32
_GATEWAY = "01JD8ZK3V4P5Q6R7S8T9V0W1X2"
_HOST, _PORT = "127.0.0.1", 50053
_RESPONSE = b"x" * 512

# Tasks that write connections: their commands travel together.
_WRITERS = 64
# The limit of workers that are to have room, whatever is acquired before it is completed.
_ROOM = 10_000
_BUSY = 1


class UnexpectedOutcome(ConnectError):
    """Routing came to something else than the load allows; the text says to what."""


class Caller:
    """Does what the parent asks for, by name."""

    def __init__(self, store: StateStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now_ms = int(now() * 1000)
        self._numbers = count(1)
        self._acquired: deque[tuple[str, str, str]] = deque()

    async def connect(self, env: str, connections: int, load: str) -> dict[str, Any]:
        """Store so many connections of one app and bring their workers under the load."""
        numbers = iter(range(connections))

        async def write() -> None:
            for number in numbers:
                await self._connect(env, number, Load(load))

        async with trio.open_nursery() as nursery:
            for _ in range(_WRITERS):
                nursery.start_soon(write)
        return {"connected": connections}

    async def acquire(self, env: str, calls: int, seconds: float, load: str) -> dict[str, Any]:
        """Acquire for so many requests, for at most so many seconds, one after the other."""

        async def acquire() -> None:
            request_id = self._request_id()
            outcome = await self._store.routing.acquire(_request(env, request_id))
            _expect(outcome, Load(load))
            if isinstance(outcome, Acquired):
                self._acquired.append((env, request_id, outcome.instance_id))

        return await _time(acquire, calls, seconds)

    async def complete(self) -> dict[str, Any]:
        """Complete every request that was acquired, one after the other."""

        async def complete() -> None:
            await self._store.routing.complete(*self._acquired.popleft())

        return await _time(complete, len(self._acquired), float("inf"))

    async def requests(self, env: str, calls: int) -> dict[str, Any]:
        """Do all that so many requests ask of the store; tell its count of round trips."""
        before = self._store.round_trips
        for _ in range(calls):
            request_id = self._request_id()
            outcome = await self._store.routing.acquire(_request(env, request_id))
            if not isinstance(outcome, Acquired):
                raise UnexpectedOutcome(outcome)
            await self._store.responses.save(env, request_id, _RESPONSE)
            await self._store.routing.complete(env, request_id, outcome.instance_id)
        return {"round_trips": self._store.round_trips - before}

    async def _connect(self, env: str, number: int, load: Load) -> None:
        instance = f"worker-{number:06}.bench.example.com"
        connection = ConnectionRecord(
            id=f"01JD8ZK3V4{number:016}",
            gateway_id=_GATEWAY,
            instance_id=instance,
            groups={"bench": _GROUP},
            synced_groups={_APP_ID: _GROUP},
            status=ConnectionStatus.READY,
            last_heartbeat_ms=self._now_ms,
            sdk_language="python",
            sdk_version="0.5.19",
            attributes=WorkerAttributes(cpu_cores=8, mem_bytes=16 << 30, os="linux"),
        )
        await self._store.connections.upsert(env, connection, [_group(env)])
        if load is Load.UNLIMITED:
            return
        busy = load is Load.BUSY or (load is Load.HALF and number % 2 == 1)
        await self._store.capacity.set_limit(env, instance, _BUSY if busy else _ROOM)
        if busy:
            await self._store.capacity.assign(env, instance, self._request_id())

    def _request_id(self) -> str:
        return f"{next(self._numbers):026}"


def _group(env: str) -> GroupRecord:
    return GroupRecord(
        account_id=DEVELOPMENT_ACCOUNT_ID,
        env_id=env,
        app_name="bench",
        hash=_GROUP,
        created_at="2025-01-01T00:00:00Z",
        functions=(_SLUG,),
        app_id=_APP_ID,
        sdk_language="python",
        sdk_version="0.5.19",
        sync_id="0b8f2a0e-0000-4000-8000-000000000001",
    )


def _request(env: str, request_id: str) -> AcquireRequest:
    return AcquireRequest(
        env_id=env,
        request_id=request_id,
        app_id=_APP_ID,
        function_slug=_SLUG,
        executor_host=_HOST,
        executor_port=_PORT,
        lease_seconds=Timing().lease,
        gateways=(_GATEWAY,),
    )


def _expect(outcome: AcquireOutcome, load: Load) -> None:
    if load is Load.BUSY:
        met = outcome == NoRoute(NoRouteReason.ALL_AT_CAPACITY)
    else:
        met = isinstance(outcome, Acquired) and outcome.limited is (load is not Load.UNLIMITED)
    if not met:
        raise UnexpectedOutcome(f"workers {load}: {outcome}")


async def _time(call: Callable[[], Awaitable[None]], calls: int, seconds: float) -> dict[str, Any]:
    """Call at least once; tell the round-trip times and the CPU of this process, in µs."""
    trips = []
    cpu = time.process_time()
    end = (started := time.perf_counter()) + seconds
    for _ in range(calls):
        await call()
        trips.append(-started + (started := time.perf_counter()))
        if started > end:
            break
    used = time.process_time() - cpu
    return {"trips_us": [1e6 * trip for trip in trips], "client_us": 1e6 * used}


async def answer(redis_url: str) -> None:
    """Open a store, and do each time what the parent asks for."""
    started = time.time()

    def now() -> float:
        return started

    async with open_store(RedisSettings(url=redis_url), Timing(), now) as store:
        caller = Caller(store, now)
        asked_for: Mapping[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "connect": caller.connect,
            "acquire": caller.acquire,
            "complete": caller.complete,
            "requests": caller.requests,
        }
        settle_memory()
        tell({"ready": True})
        while (asked := await wait_to_be_asked()) is not None:
            tell(await asked_for[asked.pop("do")](**asked))


def main() -> None:
    """Read the arguments and call."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis-url", required=True)
    options = parser.parse_args()
    prepare_child()
    configure_logging(level="warning")
    trio.run(answer, options.redis_url)


if __name__ == "__main__":
    main()
