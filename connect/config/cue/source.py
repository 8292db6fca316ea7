"""Where things stand in a document: sources, positions and spans."""

from bisect import bisect_right
from typing import NamedTuple

__all__ = ["Position", "Source", "Span"]


class Position(NamedTuple):
    """A place in a source, counted from 1; columns in characters."""

    line: int
    column: int


class Source:
    """A document and its name.

    Args:
        name: what errors call it, such as a file's path or ``<environment>``.
        text: all of it.
    """

    __slots__ = ("_starts", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._starts: list[int] | None = None

    def __repr__(self) -> str:
        return f"Source({self.name!r}, {len(self.text)} characters)"

    @property
    def _line_starts(self) -> list[int]:
        """Offsets at which lines begin; found when first asked for."""
        if self._starts is None:
            starts = [0]
            position = self.text.find("\n")
            while position >= 0:
                starts.append(position + 1)
                position = self.text.find("\n", position + 1)
            self._starts = starts
        return self._starts

    def position(self, offset: int) -> Position:
        """Return line and column of an offset in characters, from 0 to the length."""
        line = bisect_right(self._line_starts, offset)
        return Position(line, offset - self._line_starts[line - 1] + 1)

    def line(self, number: int) -> str:
        """Return a line by its number, without its line break."""
        starts = self._line_starts
        end = starts[number] if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r\n")


class Span(NamedTuple):
    """A stretch of a source; `start` and `end` are offsets in characters, end excluded."""

    source: Source
    start: int
    end: int

    @property
    def position(self) -> Position:
        return self.source.position(self.start)

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def __str__(self) -> str:
        line, column = self.position
        return f"{self.source.name}:{line}:{column}"
