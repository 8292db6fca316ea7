"""When workers had no connection, read from their journals."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connect.worker import Happening

__all__ = ["Absences", "absences", "longest_absence"]

Line = Mapping[str, Any]
Absences = Mapping[str, Sequence[tuple[float, float]]]
"""From when until when a worker had no connection, in unix seconds, by its instance id."""


@dataclass(slots=True)
class _Presence:
    open: set[str] = field(default_factory=set)
    gone: float | None = None
    away: list[tuple[float, float]] = field(default_factory=list)


def absences(lines: Iterable[Line]) -> Absences:
    """Find the times between a worker's last connection and its next one.

    Only what workers of ours note tells of connections. A worker that never came back was
    away without an end.

    Args:
        lines: of all workers' journals, those of each worker in their order.
    """
    found: dict[str, _Presence] = defaultdict(_Presence)
    for line in lines:
        worker = found[line.get("instance_id", "")]
        if line["what"] == Happening.CONNECTED:
            if worker.gone is not None:
                worker.away.append((worker.gone, line["at"]))
            worker.gone = None
            worker.open.add(line["connection_id"])
        elif line["what"] == Happening.DISCONNECTED and line["connection_id"] in worker.open:
            worker.open.remove(line["connection_id"])
            if not worker.open:
                worker.gone = line["at"]
    return {
        name: [*worker.away, *([(worker.gone, math.inf)] if worker.gone is not None else [])]
        for name, worker in found.items()
    }


def longest_absence(away: Sequence[tuple[float, float]], since: float, until: float) -> float:
    """Return how long the longest of them lasted that touches a time, in seconds.

    Its whole length counts: a lease that was asked for last before it runs out in it.
    """
    return max((end - begin for begin, end in away if begin <= until and end >= since), default=0.0)
