"""Variables in a document's text: ``$NAME`` and ``${NAME}`` become what they stand for.

The expansion is textual and comes before parsing, in comments, strings and labels too. It
keeps what stood where, so that errors can point at the text as its author wrote it.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Expansion", "Substitution", "expand"]

# As shells do: a name in braces is whatever stands there; without braces it is letters,
# digits and underscores, or one special character.
_REFERENCE = re.compile(
    r"\$(?:\{(?P<braced>[^}]*)\}|(?P<plain>[*#$@!?0-9-]|[A-Za-z_][A-Za-z0-9_]*)|\{)"
)


@dataclass(frozen=True, slots=True)
class Substitution:
    """A reference to a variable, and what came in its place.

    Attributes:
        name: the variable's; empty when the reference names none, as ``${}`` does.
        start: offset of the reference in the original text.
        end: offset of its end there.
        at: offset of what replaces it, in the expanded text.
        value: what replaces it.
    """

    name: str
    start: int
    end: int
    at: int
    value: str


class Expansion:
    """A text with its variables expanded, and the way back to the original.

    Args:
        original: the text as it was written.
        text: the expanded text.
        substitutions: what was replaced, in order.
    """

    __slots__ = ("_starts", "original", "substitutions", "text")

    def __init__(self, original: str, text: str, substitutions: tuple[Substitution, ...]) -> None:
        self.original = original
        self.text = text
        self.substitutions = substitutions
        self._starts = [substitution.at for substitution in substitutions]

    def substitution_at(self, offset: int) -> Substitution | None:
        """Return what an offset in the expanded text came out of, if out of a variable."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0:
            return None
        found = self.substitutions[index]
        return found if offset < found.at + len(found.value) else None

    def nothing_before(self, offset: int) -> Substitution | None:
        """Return the variable that left nothing right before an offset, if one did.

        It may also stand right behind, with nothing but space between: the end of a text is
        told where its last word ends.
        """
        while self.text[offset : offset + 1].isspace():
            offset += 1
        index = bisect_right(self._starts, offset) - 1
        if index < 0:
            return None
        found = self.substitutions[index]
        between = self.text[found.at : offset]
        return found if not found.value and not between.strip() else None

    def original_range(self, start: int, end: int) -> tuple[int, int]:
        """Return where a stretch of the expanded text stands in the original.

        What came out of a variable stands where the variable is named.

        Args:
            start: offset of the first character.
            end: offset behind the last one; `start` for an empty stretch.
        """
        first = self._original(start, ends=False)
        return first, max(first, self._original(end, ends=True) if end > start else first)

    def _original(self, offset: int, *, ends: bool) -> int:
        inside = self.substitution_at(offset - 1 if ends else offset)
        if inside is not None:
            return inside.end if ends else inside.start
        index = bisect_right(self._starts, offset - 1 if ends else offset) - 1
        if index < 0:
            return offset
        before = self.substitutions[index]
        return before.end + offset - before.at - len(before.value)


def expand(text: str, environment: Mapping[str, str]) -> Expansion:
    """Put variables' values where a text names them.

    ``$NAME`` and ``${NAME}`` become the value, or nothing when the variable is not set; so
    do ``$`` and a digit or one of ``*#$@!?-``. ``${}`` and a brace that is never closed
    vanish; any other ``$`` stays. What was put in is not expanded again.

    Args:
        text: any text.
        environment: the variables.
    """
    parts: list[str] = []
    substitutions: list[Substitution] = []
    length = position = 0
    for reference in _REFERENCE.finditer(text):
        before = text[position : reference.start()]
        position = reference.end()
        name = reference["braced"] or reference["plain"] or ""
        value = environment.get(name, "") if name else ""
        length += len(before)
        substitutions.append(Substitution(name, reference.start(), reference.end(), length, value))
        length += len(value)
        parts += (before, value)
    parts.append(text[position:])
    return Expansion(text, "".join(parts), tuple(substitutions))
