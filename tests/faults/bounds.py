"""Which failures of attempts a fault explains.

Callers ask again, so that a request with failed attempts is answered in the end. But an executor
must not say what is not so. From the beginning of a fault to that of the next one:

- no worker is healthy: not while a worker of the app stays connected to a gateway to which
  nothing is done;
- the worker stopped responding: not where leases are to be extended come what may. Elsewhere any
  fault explains it: a worker, a reply or an executor that had the request may be lost by it;
- the executor ended: only where one is killed;
- Redis did not answer, or the executor is silent: always, as that is about time, and the
  machine may be busy;
- anything else: never.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from connect.errors import StoreUnavailable, Syscode
from tests.faults.load import EXECUTOR_ENDED, EXECUTOR_SILENT, Call

__all__ = ["Period", "unexplained"]

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


def unexplained(calls: Iterable[Call], periods: Sequence[Period]) -> list[str]:
    """Say which attempts failed with reasons that are not so, each reason of an app once.

    Args:
        periods: in their order; the first one begins before the calls.
    """
    found: Counter[tuple[str, str]] = Counter()
    for call in calls:
        began = call.began
        for attempt in call.failed:
            # It began after the one before it had failed.
            amid = _amid(periods, began, attempt.at)
            if not any(_explains(period, call.app, attempt.reason) for period in amid):
                found[attempt.reason, call.app] += 1
            began = attempt.at
    return [
        f"{count} attempts for {app!r} failed for no reason with: {reason}"
        for (reason, app), count in sorted(found.items())
    ]


def _amid(periods: Sequence[Period], began: float, ended: float) -> list[Period]:
    """Return the periods that an attempt fell into."""
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
        case _ if reason == EXECUTOR_ENDED:
            return period.kills_executor
        case _:
            return reason in _OF_TIME
