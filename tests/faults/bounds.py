"""Which failures of attempts a fault explains.

Callers ask again, so that a request with failed attempts is answered in the end. But an executor
must not say what is not so. From the beginning of a fault to that of the next one:

- no worker is healthy: not while a worker of the app stays connected to a gateway to which
  nothing is done;
- the worker stopped responding: not where leases are to be extended, unless no worker had begun
  the request, or the one that had was away for long (`tests.faults.repeated`). Elsewhere any
  fault explains it: a worker, a reply or an executor that had the request may be lost by it;
- the executor ended, or none was running: only where one is killed;
- Redis did not answer, or the executor is silent: always, as that is about time, and the
  machine may be busy;
- the worker's reply is an error: only of the official SDK, where its connection is broken; it
  runs nothing then, as it cannot say that it takes the request, and replies so over HTTP;
- all workers are at capacity: always where they have a limit (how many run at once is looked at
  in their journal), and never elsewhere;
- anything else: never.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from connect.errors import StoreUnavailable, Syscode
from tests.faults.apps import LIMITED_APP_NAME, OFFICIAL_APP_NAME
from tests.faults.load import (
    EXECUTOR_ABSENT,
    EXECUTOR_ENDED,
    EXECUTOR_SILENT,
    WORKER_FAILED,
    Call,
)

__all__ = ["Period", "amid", "unexplained"]

_OF_TIME = frozenset({EXECUTOR_SILENT, StoreUnavailable.__name__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What a fault leaves alone, until the next period begins.

    Attributes:
        since: unix seconds.
        spared: apps of which a worker stays where all executors reach it.
        extended: apps whose workers run on, and whose leases are to be extended.
        kills_executor: whether an executor is killed.
    """

    since: float
    spared: frozenset[str] = frozenset()
    extended: frozenset[str] = frozenset()
    kills_executor: bool = False


def _never(call: Call, until: float) -> bool:
    return False


def unexplained(
    calls: Iterable[Call],
    periods: Sequence[Period],
    *,
    lost: Callable[[Call, float], bool] = _never,
) -> list[str]:
    """Say which attempts failed with reasons that are not so, each reason of an app once.

    Args:
        periods: in their order; the first one begins before the calls.
        lost: whether a request may have been lost before a moment, though leases are extended.
    """
    found: Counter[tuple[str, str]] = Counter()
    for call in calls:
        began = call.began
        for attempt in call.failed:
            # It began after the one before it had failed.
            of_attempt = amid(periods, began, attempt.at)
            explained = any(_explains(one, call.app, attempt.reason) for one in of_attempt)
            if attempt.reason == Syscode.WORKER_STOPPED_RESPONDING and not explained:
                explained = lost(call, attempt.at)
            if not explained:
                found[attempt.reason, call.app] += 1
            began = attempt.at
    return [
        f"{count} attempts for {app!r} failed for no reason with: {reason}"
        for (reason, app), count in sorted(found.items())
    ]


def amid(periods: Sequence[Period], began: float, ended: float) -> list[Period]:
    """Return the periods that something fell into, from its beginning to its end."""
    ends = [*(period.since for period in periods[1:]), math.inf]
    return [
        period
        for period, end in zip(periods, ends, strict=True)
        if period.since <= ended and end >= began
    ]


def _explains(period: Period, app: str, reason: str) -> bool:
    match reason:
        case Syscode.NO_HEALTHY_CONNECTION:
            return app not in period.spared
        case Syscode.WORKER_STOPPED_RESPONDING:
            return app not in period.extended
        case Syscode.ALL_WORKERS_AT_CAPACITY:
            return app == LIMITED_APP_NAME
        case _ if reason == WORKER_FAILED:
            return app == OFFICIAL_APP_NAME and app not in period.extended
        case _ if reason in (EXECUTOR_ENDED, EXECUTOR_ABSENT):
            return period.kills_executor
        case _:
            return reason in _OF_TIME
