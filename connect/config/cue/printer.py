"""Showing people, and programs, what is wrong with documents."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

from connect.config.cue.errors import CueError, Fault, path_text
from connect.config.cue.source import Span

__all__ = ["as_json", "render_faults"]

_MOST_FAULTS: Final = 50
_MOST_PLACES: Final = 8
_TAB: Final = "    "
_WIDTH: Final = 100
"""Columns shown of a line."""
_BEFORE: Final = 60
"""Columns of those at most before the place that is marked."""

_BOLD, _RED, _DIM, _PLAIN = "\x1b[1m", "\x1b[1;31m", "\x1b[2m", "\x1b[0m"


def render_faults(
    error: CueError | Sequence[Fault], *, color: bool = False, limit: int = _MOST_FAULTS
) -> str:
    """Write faults for people: each with its places, quoted and underlined.

    Args:
        error: the faults, in the order in which to show them.
        color: use the terminal's colors (ANSI escapes).
        limit: show so many faults at most; the last line tells the number of all.

    Returns:
        Lines with a line break behind each. Control characters of the documents are
        escaped, lines longer than about 100 columns are cut around the place.
    """
    faults = error.faults if isinstance(error, CueError) else tuple(error)
    paint = _Paint(color)
    blocks = ["".join(f"{line}\n" for line in _fault(fault, paint)) for fault in faults[:limit]]
    return "".join([*blocks, f"{paint.bold(_summary(faults, shown=len(blocks)))}\n"])


def as_json(error: CueError | Sequence[Fault]) -> list[dict[str, Any]]:
    """Return faults for programs, made of what JSON has.

    Returns:
        For each fault ``kind``, ``message``, ``path`` (labels and indexes), and
        ``places``: each with ``file``, and where it begins and ends, counted from 1, the
        end excluded: ``line``, ``column``, ``end_line``, ``end_column``.
    """
    faults = error.faults if isinstance(error, CueError) else error
    return [
        {
            "kind": str(fault.kind),
            "message": fault.message,
            "path": list(fault.path),
            "places": [_place(span) for span in fault.spans],
        }
        for fault in faults
    ]


def _place(span: Span) -> dict[str, Any]:
    line, column = span.position
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


def _summary(faults: Sequence[Fault], *, shown: int) -> str:
    files = {fault.spans[0].source.name for fault in faults if fault.spans}
    text = _counted(len(faults), "fault")
    if files:
        text += f" in {_counted(len(files), 'file')}"
    return text if shown == len(faults) else f"{text}, the first {shown} shown"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class _Paint:
    """Colors, or none."""

    def __init__(self, color: bool) -> None:
        self._color = color

    def bold(self, text: str) -> str:
        return self._in(_BOLD, text)

    def red(self, text: str) -> str:
        return self._in(_RED, text)

    def dim(self, text: str) -> str:
        return self._in(_DIM, text)

    def _in(self, code: str, text: str) -> str:
        return f"{code}{text}{_PLAIN}" if self._color else text


def _fault(fault: Fault, paint: _Paint) -> list[str]:
    message, *details = fault.message.split("\n")
    parts = [str(fault.spans[0])] if fault.spans else []
    if fault.path:
        parts.append(path_text(fault.path))
    heading = ": ".join(_visible(part) for part in [*parts, message])
    lines = [paint.bold(heading), *(f"    {_visible(detail)}" for detail in details)]
    places = _distinct(fault.spans)
    gutter = max((len(str(span.position.line)) for span in places[:_MOST_PLACES]), default=0)
    for number, span in enumerate(places[:_MOST_PLACES]):
        if number:
            lines.append(f"  and here: {_visible(str(span))}")
        lines += _excerpt(span, gutter, paint)
    if len(places) > _MOST_PLACES:
        lines.append(f"  and in {_counted(len(places) - _MOST_PLACES, 'more place')}")
    return lines


def _distinct(spans: Sequence[Span]) -> list[Span]:
    """Leave out places that are named twice."""
    found: dict[tuple[int, int], Span] = {}
    for span in spans:
        found.setdefault((id(span.source), span.start), span)
    return list(found.values())


def _excerpt(span: Span, gutter: int, paint: _Paint) -> list[str]:
    """Quote the line of a place and underline the place; of several lines, the first."""
    number, column = span.position
    line = span.source.line(number)
    start = min(column - 1, len(line))
    end = max(min(start + span.end - span.start, len(line)), start)
    # Only what may be shown is looked at: a line may be as long as the document.
    cells, cut = _fitting(reversed(line[max(start - _BEFORE, 0) : start]), _BEFORE)
    before = "".join(reversed(cells))
    opening = "…" if cut or start > _BEFORE else ""
    room = _WIDTH - _columns(before)
    # One character more than there is room for tells that there are more.
    cells, cut = _fitting(line[start : min(end, start + room + 1)], room)
    marked = "".join(cells)
    room -= _columns(marked)
    after = ""
    if not cut and end < start + _WIDTH:
        cells, cut = _fitting(line[end : end + room], room)
        after = "".join(cells)
    closing = "…" if cut or end + room < len(line) else ""
    underline = "^" * max(_columns(marked), 1)
    quoted = f"{opening}{before}{marked}{after}{closing}"
    margin = " " * gutter
    return [
        f"  {paint.dim(f'{number:{gutter}} |')} {quoted}".rstrip(),
        f"  {paint.dim(f'{margin} |')} {' ' * _columns(opening + before)}{paint.red(underline)}",
    ]


def _fitting(characters: Iterable[str], room: int) -> tuple[list[str], bool]:
    """Return the first characters that fit in so many columns, and whether some do not."""
    cells: list[str] = []
    for character in characters:
        cell = _cell(character)
        room -= _columns(cell)
        if room < 0:
            return cells, True
        cells.append(cell)
    return cells, False


def _visible(text: str) -> str:
    return "".join(_cell(character) for character in text)


def _cell(character: str) -> str:
    """Return a character as it is shown: tabs as spaces, control characters escaped."""
    if character == "\t":
        return _TAB
    if character.isprintable() or unicodedata.category(character) in ("Zs", "Mn"):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _columns(text: str) -> int:
    """Return the width of a text in columns of a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )
