"""What can be wrong with a document, with every place that has to do with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from connect.config.cue.source import Span
from connect.errors import ConnectError

__all__ = ["CueError", "Fault", "FaultKind", "Path", "path_text"]

Path: TypeAlias = tuple[str | int, ...]
"""Labels and list indexes from the root to a value; a label may begin with # or _."""


class FaultKind(StrEnum):
    """Why a document is refused, by the stage that finds it."""

    UNREADABLE = "unreadable"  # there is no text: for whoever reads it from somewhere
    SYNTAX = "syntax"
    IMPORT = "import"
    REFERENCE = "reference"  # a name that stands for nothing
    EVALUATION = "evaluation"  # conflicts, closedness, bounds, wrong operands, calls
    CYCLE = "cycle"
    INCOMPLETE = "incomplete"  # not concrete: a type, a bound, several disjuncts left
    BUDGET = "budget"  # more steps, depth or size than allowed


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        message: what is wrong and, where it can be said, what would be right; without
            place and path. One line, or several for the disjuncts of a disjunction.
        path: of the value; empty for the document as a whole.
        spans: the places, the most telling one first: of a conflict both sides.
    """

    kind: FaultKind
    message: str
    path: Path = ()
    spans: tuple[Span, ...] = ()


class CueError(ConnectError):
    """A document that cannot be used.

    Attributes:
        faults: everything that is wrong with it, in the order of the document.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        lines = []
        for fault in self.faults:
            place = f"{fault.spans[0]}: " if fault.spans else ""
            path = f"{path_text(fault.path)}: " if fault.path else ""
            lines.append(f"{place}{path}{fault.message}")
        return "\n".join(lines)


def path_text(path: Path) -> str:
    """Write a path as CUE does: ``a."b-c"[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        plain = part.lstrip("_#").replace("_", "a").replace("$", "a")
        label = part if plain.isalnum() and not plain[0].isdigit() else _quoted(part)
        text += f".{label}" if text else label
    return text


def _quoted(label: str) -> str:
    escaped = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
