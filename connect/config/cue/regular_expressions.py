"""Regular expressions: RE2's syntax and matching, as `=~`, `!~` and package ``regexp`` need them.

Matching takes time linear in the text. The library behind it is google-re2; what it takes and
Go's `regexp`, which CUE refers to ("Comparison operators"), does not is refused here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import re2

from connect.config.cue.sequences import text_bytes
from connect.config.cue.values import BuiltinError

__all__ = ["Match", "Pattern", "compile_pattern"]

# What must not be looked into, and what only the library understands.
_PIECES = re.compile(
    r"\\Q.*?(?:\\E|\Z) | (?P<byte>\\C) | \\. | \[\^?\]?(?:\\.|[^\]\\])*\]"
    r" | \(\?P<(?P<name>[^>]*)> | (?P<short>\(\?<)",
    re.DOTALL | re.VERBOSE,
)
_NAME = re.compile(r"[A-Za-z0-9_]+")


class Match(NamedTuple):
    """One match: offsets in bytes of UTF-8, and the texts of it and of its groups."""

    start: int
    end: int
    groups: tuple[str, ...]


class Pattern:
    """A compiled regular expression; immutable, and usable from several threads.

    Attributes:
        names: of the named groups, with their numbers.
    """

    __slots__ = ("_compiled", "names")

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self.names: Mapping[str, int] = {
            name.decode(): number for name, number in compiled.groupindex.items()
        }

    def matches(self, text: str | bytes) -> bool:
        """Tell whether the expression matches anywhere in the text."""
        data = text if isinstance(text, bytes) else text_bytes(text)
        return self._compiled.search(data) is not None

    def first(self, text: str) -> Match | None:
        """Return the leftmost match."""
        return self._search(text_bytes(text), 0)

    def all(self, text: str) -> Iterator[Match]:
        """Return successive matches; an empty one right behind another does not count."""
        data = text_bytes(text)
        position, behind = 0, -1
        while position <= len(data) and (match := self._search(data, position)):
            if match.start < match.end or match.end != behind:
                yield match
            behind = position = match.end
            if match.start == match.end:
                position += 1
                while position < len(data) and data[position] & 0xC0 == 0x80:
                    position += 1

    def _search(self, data: bytes, position: int) -> Match | None:
        found = self._compiled.search(data, position)
        if found is None:
            return None
        texts = (found.group(0), *found.groups())
        start, end = found.span()
        return Match(start, end, tuple((text or b"").decode() for text in texts))


def compile_pattern(pattern: str) -> Pattern:
    """Compile a regular expression.

    Raises:
        BuiltinError: it is none, and why.
    """
    _refuse_extensions(pattern)
    options = re2.Options()
    options.log_errors = False
    try:
        return Pattern(re2.compile(text_bytes(pattern), options))
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise BuiltinError(f"invalid regular expression {pattern!r}: {text}") from None


def _refuse_extensions(pattern: str) -> None:
    for piece in _PIECES.finditer(pattern):
        name = piece["name"]
        if piece["byte"]:
            reason = r"invalid escape sequence: \C"
        elif piece["short"]:
            reason = "(?< is not supported; a named group is written (?P<name>…)"
        elif name is not None and not _NAME.fullmatch(name):
            reason = f"invalid named capture group: (?P<{name}>"
        else:
            continue
        raise BuiltinError(f"invalid regular expression {pattern!r}: {reason}")
