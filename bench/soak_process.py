"""Child process: an executor that is given requests at a steady rate, answered or not.

Says ``{"ready": true}`` once it is open. Asked ``{"rate": R, "seconds": S}`` it begins R
requests in each second for S seconds, and says what became of them. Where the seconds are
null it begins them until it is asked anything else, or its stdin ends. With ``"slow": P``, that
part of the requests takes `SLOW_SECONDS`, and counts in all but the latencies.
"""

import argparse
import time
from array import array
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from typing import Any

import trio

from bench.child import prepare_child, tell, wait_to_be_asked
from bench.figures import summarize
from bench.work import BODY_BYTES, Requests, request_payload
from connect.errors import ConnectError, SyscodeError
from connect.logs import configure_logging
from connect.memory import settle_memory
from connect.rpc import Executor
from connect.settings import RedisSettings, Settings
from connect.state.open import open_store

__all__ = ["SLOW_SECONDS", "execute_at_rate"]

SLOW_SECONDS = 8.0
"""How long a slow request runs: its lease is extended once at least, by default."""

# Their ids begin here, and so differ from those of the others.
_FIRST_SLOW = 10**25

# Requests in flight, beyond which none is begun: those are counted as failed.
_MOST_IN_FLIGHT = 1000


async def execute_at_rate(redis_url: str, app_id: str) -> None:
    """Open an executor, and begin requests each time that the parent asks."""
    settings = Settings(redis=RedisSettings(url=redis_url))
    requests = _Mixed(
        usual=Requests(app_id, request_payload(BODY_BYTES)),
        slow=Requests(app_id, request_payload(BODY_BYTES, seconds=SLOW_SECONDS), first=_FIRST_SLOW),
    )
    async with (
        open_store(settings.redis, settings.timing, time.time) as store,
        Executor(store, settings=settings, host="127.0.0.1", port=0) as executor,
    ):
        settle_memory()
        tell({"ready": True})
        while (asked := await wait_to_be_asked()) is not None:
            slow = asked.get("slow", 0.0)
            tell(await _run(executor, requests, asked["rate"], asked["seconds"], slow))


@dataclass(frozen=True, slots=True)
class _Mixed:
    usual: Requests
    slow: Requests


async def _run(
    executor: Executor, requests: _Mixed, rate: float, seconds: float | None, slow: float
) -> dict[str, Any]:
    took = array("d")
    errors: Counter[str] = Counter()
    asked = in_flight = answered = 0
    beginning = trio.CancelScope()

    async def call(is_slow: bool) -> None:
        nonlocal in_flight, answered
        in_flight += 1
        began = time.perf_counter()
        try:
            await executor.execute_bytes((requests.slow if is_slow else requests.usual).next())
        except SyscodeError as error:
            errors[error.code] += 1
        except ConnectError as error:
            errors[type(error).__name__] += 1
        else:
            answered += 1
            if not is_slow:
                took.append(time.perf_counter() - began)
        finally:
            in_flight -= 1

    async def stop_when_asked() -> None:
        await wait_to_be_asked()
        beginning.cancel()

    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        numbers = count() if seconds is None else range(max(1, round(rate * seconds)))
        if seconds is None:
            nursery.start_soon(stop_when_asked)
        with beginning:
            for number in numbers:
                await trio.sleep_until(begin + number / rate)
                asked += 1
                if in_flight < _MOST_IN_FLIGHT:
                    # Spread evenly: each time that another whole one is due.
                    nursery.start_soon(call, int(asked * slow) > int((asked - 1) * slow))
                else:
                    errors["not begun"] += 1
    return {
        "asked": asked,
        "answered": answered,
        "errors": dict(errors),
        "latency_ms": asdict(summarize(took or [0.0])),
    }


def main() -> None:
    """Read the arguments and execute."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--app-id", required=True)
    options = parser.parse_args()
    prepare_child()
    configure_logging(level="warning")
    trio.run(partial(execute_at_rate, options.redis_url, options.app_id))


if __name__ == "__main__":
    main()
