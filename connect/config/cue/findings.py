"""What is found to be wrong with a document while it is read."""

from typing import Final

from connect.config.cue.errors import CueError, Fault

__all__ = ["MAX_FAULTS", "Findings"]

# Of one document, so many syntax faults are told at most.
MAX_FAULTS: Final = 20


class Findings:
    """The faults of a document, at most one for a place and `MAX_FAULTS` in all."""

    __slots__ = ("_by_start",)

    def __init__(self) -> None:
        self._by_start: dict[int, Fault] = {}

    def __bool__(self) -> bool:
        return bool(self._by_start)

    @property
    def is_full(self) -> bool:
        """Whether there is no use in reading on."""
        return len(self._by_start) >= MAX_FAULTS

    def add(self, fault: Fault) -> None:
        """Note a fault, unless its place has one already, or there are enough."""
        if not self.is_full:
            self._by_start.setdefault(fault.spans[0].start, fault)

    def error(self) -> CueError:
        """Return all of them, in the order of the document."""
        return CueError([fault for _, fault in sorted(self._by_start.items())])
