"""Child process: tasks that call Redis through one client, one GET of 512 bytes after another.

Says ``{"ready": true}``; asked ``{"tasks": T, "seconds": S}`` it says how many calls were
made and what CPU this process used for them.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio
import trio
import trio_asyncio

from bench.child import prepare_child, tell, wait_to_be_asked
from bench.results import OUR_CLIENT
from connect.state.redis_client import open_redis

__all__ = ["CLIENTS"]

_KEY = "bench:value"
_VALUE = b"x" * 512
_WARM_SECONDS = 0.2

Get = Callable[[], Awaitable[object]]


class _Count:
    """Calls until a time.

    Attributes:
        calls: made so far.
    """

    def __init__(self, seconds: float) -> None:
        self.calls = 0
        self._end = time.perf_counter() + seconds

    async def loop(self, get: Get) -> None:
        """Call until the time has come; any number of tasks may do so."""
        while time.perf_counter() < self._end:
            await get()
            self.calls += 1


async def _ours(url: str) -> None:
    async with open_redis(url) as client:
        await client.execute("SET", _KEY, _VALUE)

        async def get() -> object:
            return await client.execute("GET", _KEY)

        await _answer_on_trio(get)


async def _redis_py_on_trio(url: str) -> None:
    async with trio_asyncio.open_loop():
        client = redis.asyncio.Redis.from_url(url)
        await trio_asyncio.aio_as_trio(client.set)(_KEY, _VALUE)

        async def get() -> object:
            return await trio_asyncio.aio_as_trio(client.get)(_KEY)

        await _answer_on_trio(get)
        await trio_asyncio.aio_as_trio(client.aclose)()


async def _answer_on_trio(get: Get) -> None:
    async def run(tasks: int, seconds: float) -> int:
        counted = _Count(seconds)
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(counted.loop, get)
        return counted.calls

    tell({"ready": True})
    while (asked := await wait_to_be_asked()) is not None:
        await run(asked["tasks"], _WARM_SECONDS)
        cpu, started = time.process_time(), time.perf_counter()
        calls = await run(asked["tasks"], asked["seconds"])
        tell(_result(calls, cpu, started))


async def _redis_py(url: str) -> None:
    client = redis.asyncio.Redis.from_url(url)
    await client.set(_KEY, _VALUE)

    async def get() -> object:
        return await client.get(_KEY)

    async def run(tasks: int, seconds: float) -> int:
        counted = _Count(seconds)
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(counted.loop(get))
        return counted.calls

    tell({"ready": True})
    # The bench asks nothing while tasks run, so that this loop may stand still meanwhile.
    while (asked := await asyncio.to_thread(trio.run, wait_to_be_asked)) is not None:
        await run(asked["tasks"], _WARM_SECONDS)
        cpu, started = time.process_time(), time.perf_counter()
        calls = await run(asked["tasks"], asked["seconds"])
        tell(_result(calls, cpu, started))
    await client.aclose()


def _result(calls: int, cpu_before: float, started: float) -> dict[str, Any]:
    return {
        "calls": calls,
        "cpu_seconds": time.process_time() - cpu_before,
        "seconds": time.perf_counter() - started,
    }


CLIENTS: dict[str, Callable[[str], None]] = {
    OUR_CLIENT: lambda url: trio.run(_ours, url),
    "redis-py on asyncio": lambda url: asyncio.run(_redis_py(url)),
    "redis-py on trio-asyncio": lambda url: trio.run(_redis_py_on_trio, url),
}
"""What can be measured, ours first."""


def main() -> None:
    """Read the arguments and call."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=list(CLIENTS), required=True)
    parser.add_argument("--url", required=True)
    options = parser.parse_args()
    prepare_child()
    CLIENTS[options.client](options.url)


if __name__ == "__main__":
    main()
