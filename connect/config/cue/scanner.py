r"""Cutting a document into tokens (specification: "Lexical elements").

The scanner hands out one token at a time. What it can make nothing of it notes as a fault
and goes on, so that one look at a document finds them all.
"""

import re
import unicodedata
from typing import Final, NamedTuple, TypeAlias

from connect.config.cue.ast import Comment, Scalar
from connect.config.cue.errors import CueError, Fault, FaultKind
from connect.config.cue.findings import Findings
from connect.config.cue.literals import BadLiteral, StringForm, number_value, string_values
from connect.config.cue.source import Source, Span

__all__ = [
    "ATTRIBUTE",
    "BOTTOM",
    "COMMA",
    "ELLIPSIS",
    "END",
    "IDENTIFIER",
    "ILLEGAL",
    "INTERPOLATION",
    "KEYWORDS",
    "LITERAL",
    "TEXT",
    "TEXT_END",
    "Scanner",
    "Token",
    "TokenValue",
]

# Kinds of tokens. That of a keyword, operator or bracket is its own text.
IDENTIFIER: Final = "name"
LITERAL: Final = "literal"  # a number, a string or bytes
BOTTOM: Final = "_|_"
INTERPOLATION: Final = "interpolation"  # the opening quotes with the text up to \(
TEXT: Final = "text"  # from ) to the next \(
TEXT_END: Final = "end of text"  # from ) to the closing quotes
ATTRIBUTE: Final = "attribute"
COMMA: Final = ","
ELLIPSIS: Final = "..."
ILLEGAL: Final = "illegal"  # the fault is noted already
END: Final = "end of file"

KEYWORDS: Final = frozenset(
    {"null", "true", "false", "for", "in", "if", "let", "div", "mod", "quo", "rem"}
)

# Behind these, a line break stands for a comma ("Commas").
_BEFORE_COMMA: Final = KEYWORDS | {
    IDENTIFIER, LITERAL, BOTTOM, TEXT_END, ATTRIBUTE, ELLIPSIS, ")", "]", "}", "?",
}  # fmt: skip

_TOKEN = re.compile(
    r"""
    [ \t\r]*
    (?:
        (?P<bottom>_\|_)
      | (?P<miss>_\| | <-)
      | (?P<name>_?\#[^\W\d][\w$]* | _?\#\$[\w$]* | _\# | \#(?![#"']) | (?:[^\W\d]|\$)[\w$]*)
      | (?P<plain>"(?!"")[^"\\\n\r]*")
      | (?P<break>\n[ \t\r\n]*)
      | (?P<comment>//[^\n]*)
      | (?P<operator>\.\.\. | && | \|\| | [=!]~ | [=!<>]= | [-+*/&|<>!={}\[\],:?()]
                    | \.(?![.0-9]))
      | (?P<number>0[xX][0-9A-Fa-f_]* | 0o[0-7_]* | 0b[01_]*
                  | (?: [0-9][0-9_]*(?:\.(?!\.)[0-9_]*)? | \.[0-9][0-9_]* )
                    (?: [eE][+-]?[0-9_]* | [KMGTP]i? )?)
      | (?P<string>\#*(?:\"\"\"|\'\'\'|["\']))
      | (?P<attribute>@[\w$]*[ \t]*\(?)
      | (?P<end>\Z)
      | (?P<illegal>\.\. | \#+ | .)
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_UNREADABLE = re.compile("[\0\ud800-\udfff]|(?<!\\A)\ufeff")
_IN_STRING = {'"': re.compile(r'["\\\n]'), "'": re.compile(r"['\\\n]")}
_IN_ATTRIBUTE = re.compile(r"""[()\[\]{}]|//[^\n]*|\#*(?:\"\"\"|\'\'\'|["\'])""")
_CLOSERS = {"(": ")", "[": "]", "{": "}"}
_NEAR_MISSES = {"..": "'.' or '...'", "_|": "'_|_', or '_ |' for a disjunction", "<-": "'< -'"}

TokenValue: TypeAlias = "Scalar | StringForm"


class Token(NamedTuple):
    r"""A piece of a document.

    Attributes:
        kind: one of the kinds above, or the text of a keyword, operator or bracket.
        start: where it begins, as an offset in characters.
        end: where it ends, excluded.
        value: of a literal its value; of an identifier or keyword its name; of an
            interpolation how it is written; of a comma that a line break stands for,
            ``"\n"``.
    """

    kind: str
    start: int
    end: int
    value: TokenValue = None


class Scanner:
    """Reads the tokens of a document, one by one.

    Args:
        source: the document.
        findings: where to note what is wrong with single tokens.

    Attributes:
        comments: those passed so far.

    Raises:
        CueError: the document holds characters that no text may hold.
    """

    __slots__ = ("_comma", "_findings", "_interpolations", "_offset", "comments", "source", "text")

    def __init__(self, source: Source, findings: Findings) -> None:
        self.source = source
        self.text = source.text
        self._findings = findings
        self.comments: list[Comment] = []
        self._offset = 1 if self.text.startswith("\ufeff") else 0
        self._comma = False  # a line break would stand for a comma here
        # The interpolated strings that are open, each with its number of open parentheses.
        self._interpolations: list[tuple[StringForm, int]] = []
        if unreadable := _UNREADABLE.search(self.text):
            code = ord(unreadable[0])
            span = Span(source, *unreadable.span())
            raise CueError(
                [Fault(FaultKind.SYNTAX, f"the character U+{code:04X} must not occur", (), (span,))]
            )

    def next(self) -> Token:
        """Return the next token; at the end, one of kind `END` again and again."""
        while True:
            match = _TOKEN.match(self.text, self._offset)
            if match is None:  # the pattern has a branch for everything
                raise AssertionError(self._offset)
            group = match.lastgroup or ""
            start, end = match.span(group)
            self._offset = end
            if group == "operator":
                return self._operator(match[group], start, end)
            if group == "name":
                return self._name(start, end)
            if group == "plain":
                return self._token(LITERAL, start, end, self.text[start + 1 : end - 1])
            if group in ("break", "comment"):
                if group == "comment":
                    self._comment(start, end)
                if self._comma and not (group == "break" and self.text.startswith((":", ","), end)):
                    return self._token(COMMA, start, start + 1, "\n")
                continue
            return self._seldom(group, start, end)

    def _token(self, kind: str, start: int, end: int, value: TokenValue = None) -> Token:
        self._comma = kind in _BEFORE_COMMA
        return Token(kind, start, end, value)

    def _seldom(self, group: str, start: int, end: int) -> Token:
        match group:
            case "number":
                return self._number(start, end)
            case "string":
                return self._string(start, end)
            case "bottom":
                return self._token(BOTTOM, start, end, BOTTOM)
            case "attribute":
                return self._attribute(start, end)
            case "end":
                return Token(END, start, end)
            case _:
                return self._illegal(start, end)

    def _fault(
        self, message: str, start: int, end: int, kind: FaultKind = FaultKind.SYNTAX
    ) -> None:
        self._findings.add(Fault(kind, message, (), (Span(self.source, start, end),)))

    def _comment(self, start: int, end: int) -> None:
        line_start = self.text.rfind("\n", 0, start) + 1
        own_line = not self.text[line_start:start].strip(" \t\r\ufeff")
        text = self.text[start:end].rstrip()
        self.comments.append(Comment(Span(self.source, start, start + len(text)), text, own_line))

    def _operator(self, text: str, start: int, end: int) -> Token:
        if self._interpolations and text in "()":
            form, parentheses = self._interpolations.pop()
            if text == ")" and not parentheses:
                return self._text(form, start, end, TEXT, TEXT_END)
            self._interpolations.append((form, parentheses + (1 if text == "(" else -1)))
        return self._token(text, start, end)

    def _name(self, start: int, end: int) -> Token:
        """identifier = [ "#" | "_#" ] letter { letter | unicode_digit } ."""
        name = self.text[start:end]
        if not name.isascii():
            # What Python takes for a word has some numerals that CUE has not.
            for at, character in enumerate(name):
                category = unicodedata.category(character)
                if character not in "_$#" and category[0] != "L" and category != "Nd":
                    if at == 0:
                        return self._illegal(start, start + 1)
                    name = name[:at]
                    self._offset = end = start + at
                    break
        return self._token(name if name in KEYWORDS else IDENTIFIER, start, end, name)

    def _number(self, start: int, end: int) -> Token:
        """int_lit | float_lit, see "Numeric literals"."""
        value: TokenValue = 0
        try:
            value = number_value(self.text[start:end])
        except BadLiteral as error:
            kind = FaultKind.BUDGET if error.too_large else FaultKind.SYNTAX
            self._fault(error.message, start + error.start, start + error.end, kind)
        return self._token(LITERAL, start, end, value)

    def _string(self, start: int, end: int) -> Token:
        """string_lit, see "String and byte sequence literals"."""
        opening = self.text[start:end]
        quote = opening.lstrip("#")
        form = StringForm(quote, len(opening) - len(quote))
        if form.is_multiline:
            rest = self.text[end : end + 2]
            if rest.startswith("\n") or rest == "\r\n":
                end = self.text.index("\n", end) + 1
            else:
                self._fault(f"expected a line break behind {opening}", start, end)
        self._check_opening(form, start, end)
        token = self._text(form, start, end, INTERPOLATION, LITERAL)
        if token.kind != LITERAL:
            return token
        text = self.text[end : token.end - len(form.closing)] if token.value else ""
        return token._replace(value=self._value(form, end, text))

    def _check_opening(self, form: StringForm, start: int, end: int) -> None:
        """Refuse ``#""x""#``: two quotes are an empty string, or three begin several lines."""
        if form.is_multiline or not self.text.startswith(form.quote, end):
            return
        if not self.text.startswith(form.closing, end):
            hashes = "#" * form.hashes
            self._fault(
                f"{form.opening}{form.quote} is an empty string and ends with '{hashes}';"
                f" a quote at the beginning is written \\{hashes}{form.quote}",
                start,
                end + 1,
            )

    def _value(self, form: StringForm, start: int, text: str) -> Scalar:
        try:
            return string_values(form, [(start, text)])[0]
        except BadLiteral as error:
            self._fault(error.message, error.start, error.end)
            return b"" if form.is_bytes else ""

    def _text(self, form: StringForm, start: int, position: int, more: str, last: str) -> Token:
        """Read text up to an interpolation (a token `more`) or the quotes (`last`).

        Without closing quotes the token has no value.
        """
        end, ending = self._end_of_text(form, position)
        if ending == "(":
            self._interpolations.append((form, 0))
        elif not ending:
            what = "bytes are" if form.is_bytes else "a string is"
            self._fault(f"{what} not closed: expected {form.closing}", start, end)
        self._offset = end
        kind = more if ending == "(" else last
        return self._token(kind, start, end, form if ending else None)

    def _end_of_text(self, form: StringForm, position: int) -> tuple[int, str]:
        """Return where a text ends and by what: ``(``, its quotes, or nothing."""
        hashes = "#" * form.hashes
        search = _IN_STRING[form.quote[0]].search
        while match := search(self.text, position):
            position = match.end()
            if match[0] == "\n":
                if not form.is_multiline:
                    return match.start(), ""
            elif match[0] == "\\":
                if self.text.startswith(hashes, position):
                    position += len(hashes)
                    if self.text.startswith("(", position):
                        return position + 1, "("
                    if not self.text.startswith("\n", position):
                        position += 1
            elif self.text.startswith(form.closing, match.start()):
                return match.start() + len(form.closing), form.quote
        return len(self.text), ""

    def _attribute(self, start: int, end: int) -> Token:
        """attribute = "@" identifier "(" balanced tokens ")" ."""
        closers = []
        if self.text[end - 1] == "(":
            closers.append(")")
        else:
            self._fault("an attribute is written @name(...): expected '('", start, end)
        position = end
        while closers and (match := _IN_ATTRIBUTE.search(self.text, position)):
            position = match.end()
            found = match[0]
            if found in _CLOSERS:
                closers.append(_CLOSERS[found])
            elif found in _CLOSERS.values():
                if found != closers.pop():
                    self._fault(f"'{found}' closes nothing", match.start(), position)
                    closers.clear()
            elif not found.startswith("//"):
                quote = found.lstrip("#")
                form = StringForm(quote, len(found) - len(quote))
                position = self._end_of_attribute_text(form, match.start(), position)
        if closers:
            self._fault(f"an attribute is not closed: expected '{closers[-1]}'", start, end)
            line_end = self.text.find("\n", end)
            position = line_end if line_end >= 0 else len(self.text)
        self._offset = position
        return self._token(ATTRIBUTE, start, position)

    def _end_of_attribute_text(self, form: StringForm, start: int, position: int) -> int:
        self._check_opening(form, start, position)
        ending = "("
        while ending == "(":
            position, ending = self._end_of_text(form, position)
        if not ending:
            self._fault(f"a string is not closed: expected {form.closing}", start, position)
        return position

    def _illegal(self, start: int, end: int) -> Token:
        character = self.text[start:end]
        self._offset = end
        if character in _NEAR_MISSES:
            message = f"'{character}' means nothing; expected {_NEAR_MISSES[character]}"
        else:
            shown = f" {character[0]!r}" if character.isprintable() else ""
            message = f"the character{shown} (U+{ord(character[0]):04X}) means nothing here"
            if character == ";":
                message += "; declarations end with a comma or the line"
        self._fault(message, start, end)
        return Token(ILLEGAL, start, end)
