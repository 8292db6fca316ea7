"""Lines of a formatted document: their order, blank lines between them, and columns."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Line", "laid_out"]


@dataclass(slots=True)
class Line:
    """A declaration, an element or a comment, on a line of its own.

    Attributes:
        columns: its text, in columns if it is to be aligned with its neighbours. The last
            may hold several lines, already indented.
        is_comment: it is one.
        is_aligned: its columns stand below those of the lines around it.
        comment: what stands behind it.
        follows_blank: a blank line comes before.
    """

    columns: list[str]
    is_comment: bool = False
    is_aligned: bool = False
    comment: str | None = None
    follows_blank: bool = False

    @property
    def can_have_comment(self) -> bool:
        """Whether there is room for a comment behind."""
        return not self.is_comment and self.comment is None


def laid_out(lines: Sequence[Line], indent: str) -> str:
    """Return the text of the lines, without a line break at the end.

    The columns of lines that follow one another without a blank line or a comment between
    are aligned; one whose text is of several lines is the last that is.
    """
    text: list[str] = []
    run: list[Line] = []
    for line in lines:
        if line.follows_blank or not line.is_aligned:
            text += _aligned(run, indent)
            run = []
        if line.follows_blank and text:
            text.append("")
        run.append(line)
        if not line.is_aligned or "\n" in line.columns[-1]:
            text += _aligned(run, indent)
            run = []
    text += _aligned(run, indent)
    return "\n".join(text)


def _aligned(run: Sequence[Line], indent: str) -> list[str]:
    rows = [line.columns + ([line.comment] if line.comment else []) for line in run]
    if len(rows) > 1:
        _align(rows)
    return [indent + " ".join(row) for row in rows]


def _align(rows: Sequence[list[str]]) -> None:
    """Widen each column but a line's last, as far as it goes on without a gap."""
    for column in range(max(map(len, rows)) - 1):
        start = 0
        while start < len(rows):
            end = start
            while end < len(rows) and len(rows[end]) > column + 1:
                end += 1
            cells = [row[column] for row in rows[start:end]]
            width = max((len(cell) for cell in cells if "\n" not in cell), default=0)
            for row in rows[start:end]:
                row[column] = row[column].ljust(width) if "\n" not in row[column] else row[column]
            start = end + 1
