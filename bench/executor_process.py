"""Child process: an executor with callers in a closed loop.

Says ``{"ready": true}`` once it is open. Asked ``{"callers": C, "seconds": S}`` it lets C
callers execute request after request for S seconds, and says what became of them. Between
questions it executes nothing, so that counters can be read around a run.
"""

import argparse
import time
from array import array
from collections import Counter
from dataclasses import asdict
from functools import partial
from typing import Any

import trio

from bench.child import prepare_child, tell, wait_to_be_asked
from bench.figures import summarize
from bench.work import BODY_BYTES, Requests, request_payload
from connect.errors import ConnectError, MalformedMessage, SyscodeError
from connect.logs import configure_logging
from connect.memory import settle_memory
from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import Executor
from connect.settings import RedisSettings, Settings
from connect.state.open import open_store

__all__ = ["execute_when_asked"]


async def execute_when_asked(redis_url: str, app_id: str) -> None:
    """Open an executor, and run callers each time that the parent asks."""
    settings = Settings(redis=RedisSettings(url=redis_url))
    requests = Requests(app_id, request_payload(BODY_BYTES))
    # What `open_executor` does, with the store in hand for its counter.
    async with (
        open_store(settings.redis, settings.timing, time.time) as store,
        Executor(store, settings=settings, host="127.0.0.1", port=0) as executor,
    ):
        settle_memory()
        tell({"ready": True})
        while (asked := await wait_to_be_asked()) is not None:
            before = store.round_trips
            result = await _run(executor, requests, asked["callers"], asked["seconds"])
            tell(result | {"round_trips": store.round_trips - before})


async def _run(
    executor: Executor, requests: Requests, callers: int, seconds: float
) -> dict[str, Any]:
    took = array("d")
    errors: Counter[str] = Counter()
    started = time.perf_counter()
    end = started + seconds
    # One goes ahead, and shows that the others mean something.
    _check(await executor.execute_bytes(requests.next()))
    took.append(time.perf_counter() - started)

    async def call() -> None:
        now = time.perf_counter()
        while now < end:
            try:
                await executor.execute_bytes(requests.next())
            except SyscodeError as error:
                errors[error.code] += 1
            except ConnectError as error:
                errors[type(error).__name__] += 1
            else:
                took.append(time.perf_counter() - now)
            now = time.perf_counter()

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(call)
    return {
        "requests": len(took),
        "seconds": time.perf_counter() - started,
        "errors": dict(errors),
        "latency_ms": asdict(summarize(took)),
    }


def _check(response: bytes) -> None:
    reply = decode(pb.SdkResponse, response)
    if reply.status != pb.SdkResponseStatus.DONE or len(reply.body) != BODY_BYTES:
        raise MalformedMessage("SDKResponse", f"not what the function returns: {reply.body!r}")


def main() -> None:
    """Read the arguments and execute."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--app-id", required=True)
    options = parser.parse_args()
    prepare_child()
    configure_logging(level="warning")
    trio.run(partial(execute_when_asked, options.redis_url, options.app_id))


if __name__ == "__main__":
    main()
