"""How much an evaluation may take: no document can hang it or blow the stack."""

from collections.abc import Callable
from dataclasses import dataclass

from connect.config.cue.errors import CueError, Fault, FaultKind, Path
from connect.config.cue.source import Span

__all__ = ["Budget", "Meter"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of one evaluation; exceeding one is a fault with the place.

    Attributes:
        steps: values evaluated, each time that they are (fields, elements, disjuncts,
            operations, references followed), beyond one for every four characters of the documents.
        depth: levels of nesting, of values and of references that wait for each other.
        size: characters of a string, bytes, or elements of a list.
    """

    steps: int = 50_000
    depth: int = 250
    size: int = 10_000_000


_LONGEST_PATH = 20  # labels that are told of a path that may have no end


class Meter:
    """Counts what an evaluation takes.

    Args:
        where: returns path and place of what is being evaluated.

    Raises (from its methods):
        CueError: a limit is exceeded; the fault's kind is BUDGET.
    """

    __slots__ = ("_allowed", "_where", "budget", "depth", "steps")

    def __init__(self, budget: Budget, where: Callable[[], tuple[Path, Span | None]]) -> None:
        self.budget = budget
        self._allowed = self.steps = budget.steps
        self.depth = budget.depth
        self._where = where

    def grant(self, characters: int) -> None:
        """Allow for another document."""
        self._allowed += characters // 4
        self.steps += characters // 4

    def step(self) -> None:
        """Take a step; what is called most does the same in its own lines."""
        self.steps -= 1
        if self.steps < 0:
            raise self.too_many()

    def take(self, steps: int) -> None:
        """Take some steps at once, for work that consists of many small ones."""
        self.steps -= steps
        if self.steps < 0:
            raise self.too_many()

    def enter(self) -> None:
        """Go one level deeper; `leave` must follow. What is called most does so itself."""
        self.depth -= 1
        if self.depth < 0:
            raise self.too_deep()

    def leave(self) -> None:
        self.depth += 1

    def too_many(self) -> CueError:
        """Return the error of steps beyond those allowed."""
        return self.exceeded(
            f"the evaluation takes more than the {self._allowed} steps allowed:"
            " values multiply, or are compared with very many others"
        )

    def too_deep(self) -> CueError:
        """Return the error of levels beyond those allowed."""
        return self.exceeded(
            f"values or references are nested deeper than the {self.budget.depth} levels allowed"
        )

    def exceeded(self, message: str) -> CueError:
        path, span = self._where()
        path = path[:_LONGEST_PATH]
        return CueError([Fault(FaultKind.BUDGET, message, path, () if span is None else (span,))])
