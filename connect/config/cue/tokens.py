"""Walking through the tokens of a document, and getting over what is wrong with it."""

from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from connect.config.cue.errors import Fault, FaultKind
from connect.config.cue.findings import Findings
from connect.config.cue.scanner import (
    BOTTOM,
    COMMA,
    END,
    IDENTIFIER,
    ILLEGAL,
    INTERPOLATION,
    KEYWORDS,
    LITERAL,
    TEXT,
    TEXT_END,
    Scanner,
    Token,
)
from connect.config.cue.source import Source, Span
from connect.config.cue.stack import Stack

__all__ = ["CLOSING", "Refused", "TokenReader", "TooManyFaults"]

_SHOWN = 30
_LEVELS: Final = 25  # of nesting upon one stack, of up to five frames each
_CLOSERS: Final = {"{": "}", "[": "]", "(": ")", INTERPOLATION: TEXT_END}
CLOSING: Final = frozenset(_CLOSERS.values())


_Production = TypeVar("_Production")


class Refused(Exception):
    """A production cannot be read on; its fault is noted."""


class TooManyFaults(Exception):
    """There is no use in reading on; the faults are noted."""


class TokenReader:
    """The tokens of a document, one at a time, and the faults found in them.

    Args:
        source: the document.
        depth: how deeply it may be nested.

    Attributes:
        token: the current token.
        open: what is open around it, innermost last: the tokens that would close it.
        edge: how much may be open before a production goes on upon a new stack.

    Raises:
        CueError: the document holds characters that no text may hold.
    """

    def __init__(self, source: Source, depth: int) -> None:
        self.source = source
        self.depth = depth
        self.findings = Findings()
        self.scanner = Scanner(source, self.findings)
        self.open: list[str] = []
        self.edge = _LEVELS
        self._stack = Stack(_LEVELS)
        self._ahead: Token | None = None
        self.token = self.scanner.next()

    def advance(self) -> Token:
        """Go on to the next token; return the one that is passed."""
        passed = self.token
        if self._ahead is None:
            self.token = self.scanner.next()
        else:
            self.token = self._ahead
            self._ahead = None
        return passed

    def peek(self) -> Token:
        """Return the token behind the current one."""
        if self._ahead is None:
            self._ahead = self.scanner.next()
        return self._ahead

    def span(self, start: int, end: int) -> Span:
        return Span(self.source, start, end)

    def token_span(self) -> Span:
        """Return where the current token stands; the end is behind the last text."""
        if self.token.kind == END:
            end = len(self.source.text.rstrip())
            return Span(self.source, end, end)
        return Span(self.source, self.token.start, self.token.end)

    def nest(self, closer: str, start: int) -> None:
        """Note that something opened which `closer` closes.

        Raises:
            TooManyFaults: it is one too many in one another.
        """
        self.open.append(closer)
        if len(self.open) > self.depth:
            self.give_up(f"nested too deeply: more than {self.depth} levels", start)

    def onward(self, production: Callable[[], _Production]) -> _Production:
        """Read a production upon a new stack, where as much may be open again."""
        edge = self.edge
        self.edge = len(self.open) + _LEVELS
        try:
            return self._stack.call(production)
        finally:
            self.edge = edge

    def give_up(self, message: str, start: int) -> NoReturn:
        """Note that the document is larger than it may be.

        Raises:
            TooManyFaults: always.
        """
        self.fault(message, self.span(start, start + 1), kind=FaultKind.BUDGET)
        raise TooManyFaults

    def fault(self, message: str, *spans: Span, kind: FaultKind = FaultKind.SYNTAX) -> None:
        """Note a fault, unless there is one at its place already.

        Raises:
            TooManyFaults: there are enough.
        """
        self.findings.add(Fault(kind, message, (), spans))
        if self.findings.is_full:
            raise TooManyFaults

    def refuse(self, expected: str, *others: Span) -> NoReturn:
        """Note that something else than the current token was expected.

        Raises:
            Refused: always.
            TooManyFaults: there are enough faults.
        """
        token = self.token
        if token.kind in CLOSING and not self.open:
            self.fault(f"'{token.kind}' closes nothing", self.token_span())
        elif token.kind != ILLEGAL:  # that is noted already
            message = f"expected {expected}, found {self.describe(token)}"
            self.fault(message, self.token_span(), *others)
        raise Refused

    def expect(self, kind: str, expected: str, *others: Span) -> Token:
        """Pass a token of this kind, or refuse the current one."""
        if self.token.kind != kind:
            self.refuse(expected, *others)
        return self.advance()

    def close(self, kind: str, opened: Token) -> Token:
        """Pass the bracket that closes what `opened`."""
        if self.token.kind != kind:
            name = "')'" if kind == TEXT_END else f"'{kind}'"
            self.refuse(name, self.span(opened.start, opened.end))
        self.open.pop()
        return self.advance()

    def recover(self, level: int) -> None:
        """Skip to where declarations or elements of the bracket at a level go on.

        Args:
            level: the number of brackets open there.

        Stops behind the next comma, or at a token that closes this bracket or one around.
        What opened inside is skipped to where it closes, but not past the line's end, as
        it may be the bracket itself that is missing.

        Raises:
            TooManyFaults: there are enough faults.
        """
        if self.findings.is_full:
            raise TooManyFaults
        inside = [closer for closer in self.open[level:] if closer]
        del self.open[level:]
        beyond = len(inside)  # those of `inside` above this number opened while skipping
        while self.token.kind != END:
            kind = self.token.kind
            if inside and kind == inside[-1]:
                inside.pop()
                beyond = min(beyond, len(inside))
            elif kind == COMMA and (
                not inside or (self.token.value == "\n" and len(inside) == beyond)
            ):
                self.advance()
                return
            elif kind in CLOSING and kind in self.open and len(inside) == beyond:
                return
            elif kind in _CLOSERS:
                inside.append(_CLOSERS[kind])
            self.advance()

    def token_text(self, token: Token) -> str:
        return self.source.text[token.start : token.end]

    def describe(self, token: Token) -> str:
        """Name a token for a message."""
        match token.kind:
            case _ if token.kind == END:
                return "the end of the document"
            case _ if token.kind == COMMA and token.value == "\n":
                return "the end of the line"
            case _ if token.kind in (TEXT, TEXT_END):
                return "')'"
            case _ if token.kind == IDENTIFIER or token.kind in KEYWORDS:
                return f"the name {self.token_text(token)}"
            case _ if token.kind in (LITERAL, INTERPOLATION):
                text = self.token_text(token).partition("\n")[0]
                return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
            case _ if token.kind == BOTTOM:
                return "_|_"
            case kind:
                return f"'{kind}'" if len(kind) < 4 else f"an {kind}"

    def finish(self) -> None:
        """Raise what is wrong, if anything is.

        Raises:
            CueError: with every fault, in the order of the document.
        """
        if self.findings:
            raise self.findings.error()
