"""How many requests each worker ran at the same time, read from the journals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from connect.worker import Happening

__all__ = ["most_at_once"]

Line = Mapping[str, Any]


def most_at_once(lines: Iterable[Line]) -> Mapping[str, int]:
    """Return the most requests that each worker ran at once, by its instance id.

    Args:
        lines: of all workers' journals, those of each worker in their order.
    """
    running: dict[str, set[str]] = defaultdict(set)
    most: dict[str, int] = defaultdict(int)
    for line in lines:
        worker, request = line.get("instance_id", ""), line.get("request_id", "")
        if line["what"] == Happening.STARTED:
            running[worker].add(request)
            most[worker] = max(most[worker], len(running[worker]))
        elif line["what"] == Happening.FINISHED:
            running[worker].discard(request)
    return most
