"""Figures from samples."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Latency", "Target", "percentile", "ratio", "summarize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What a set of latencies comes to, in milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure that has a bound.

    Attributes:
        at_most: whether the bound is the most that is good, or else the least.
        disturbed: whether the value may be due to something else on the machine.
    """

    name: str
    value: float
    bound: float
    at_most: bool = True
    disturbed: bool = False

    @property
    def met(self) -> bool:
        """Whether the value is on the good side of the bound."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound


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
