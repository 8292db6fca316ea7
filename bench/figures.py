"""Figures from samples."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Latency", "percentile", "ratio", "summarize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What a set of latencies comes to, in milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float


def percentile(ascending: Sequence[float], percent: float) -> float:
    """Return the smallest sample that so many percent do not exceed (nearest rank).

    Args:
        ascending: the samples, sorted.
        percent: above 0, at most 100.

    Raises:
        ValueError: there are no samples, or the percentage is out of range.
    """
    if not ascending:
        raise ValueError("there are no samples")
    if not 0 < percent <= 100:
        raise ValueError(f"not a percentage: {percent}")
    return ascending[math.ceil(len(ascending) * percent / 100) - 1]


def summarize(seconds: Iterable[float]) -> Latency:
    """Sum up latencies given in seconds.

    Raises:
        ValueError: there are none.
    """
    ascending = sorted(sample * 1000 for sample in seconds)
    return Latency(
        p50=percentile(ascending, 50),
        p90=percentile(ascending, 90),
        p99=percentile(ascending, 99),
        max=ascending[-1],
    )


def ratio(of: float, to: float) -> float:
    """Return ``of / to``; not a number where there is nothing to compare with."""
    return of / to if to else math.nan
