"""What a CEL expression may cost: an upper bound, worked out before it is evaluated.

CEL always ends, but a loop over a large list that compares large texts in each turn may
end after minutes, and one that concatenates them may take gigabytes. The library stops a
loop after 10,000 turns; here a turn's cost is estimated from the size of the event and
from the operations that the expression's tokens name. The unit is about the time of
looking at one character, 5 ns.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["BoundedCost", "DataSize", "Pattern", "cost_of", "data_size"]

_MOST = 100_000_000  # units: half a second, or a hundred megabytes

_TURNS = 10_000  # after which the library stops a loop
_NODE = 5  # units for comparing a number, or an entry of a list or map
_COPIED_NODE = 100  # the same, when a list may be copied: what counts is its memory
_PATTERN = 70_000  # compiling a pattern that was checked
_UNKNOWN_PATTERN = 8_000_000  # compiling one that comes from an event

_SEARCHED = 1000  # characters of a text, times those searched for, in a unit

_LOOPS = {"all", "exists", "exists_one", "filter", "map"}
_LITERALS = {"true", "false", "null"}

_TOKEN = re.compile(
    r"""
    (?P<space> \s+ | //[^\n]* )
  | (?P<raw> (?: [bB]?[rR] | [rR][bB] )
             (?: \"{3} .*? \"{3} | '{3} .*? '{3} | " [^"\n]* " | ' [^'\n]* ' ) )
  | (?P<text> \"{3} (?: \\. | [^\\] )*? \"{3} | '{3} (?: \\. | [^\\] )*? '{3}
            | " (?: \\. | [^"\\\n] )* " | ' (?: \\. | [^'\\\n] )* ' )
  | (?P<quoted_name> `[^`\n]*` )
  | (?P<name> [A-Za-z_] \w* )
  | (?P<number> \d+ )
  | (?P<comparison> [=!<>]= | [<>] )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(
    r"\\(?:u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|[xX](?P<x>[0-9a-fA-F]{2})"
    r"|(?P<octal>[0-3][0-7]{2})|(?P<plain>.))",
    re.DOTALL,
)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that stands in an expression as a literal.

    Attributes:
        text: the pattern, without quotes and escapes.
        offset: where the literal begins, in characters.
    """

    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class DataSize:
    """How large the values are that an expression is evaluated with.

    Attributes:
        characters: of all texts.
        nodes: how many values there are, at all levels.
        longest: how many entries the longest list or map has.
    """

    characters: int
    nodes: int
    longest: int


@dataclass(frozen=True, slots=True)
class BoundedCost:
    """What an expression's cost depends on, apart from the data.

    Attributes:
        length: of the expression, in characters.
        loops: how many macros it uses that look at each entry of a list.
        operations: how many calls and comparisons there are that may look at all of the
            data, which a comparison with a literal does not.
        searches: how many of them search for one text in another.
        literal_entries: how many entries a list in the expression itself may have.
        sums: how many plus signs there are.
        patterns: the regular expressions that it contains.
        unknown_patterns: how many regular expressions it matches that come from elsewhere.
    """

    length: int
    loops: int
    operations: int
    searches: int
    literal_entries: int
    sums: int
    patterns: tuple[Pattern, ...]
    unknown_patterns: int

    def affordable(self, data: DataSize) -> bool:
        """Tell whether evaluating the expression with such data is sure to end soon."""
        longest = max(data.longest, self.literal_entries) * (1 + self.sums)
        turns = min(_TURNS, longest**self.loops) if self.loops else 1
        copies = self.sums > 0 or self.loops > 1
        node = _COPIED_NODE if copies else _NODE
        turn = (data.characters + self.length + data.nodes * node) * max(1, self.operations)
        searched = data.characters + self.length
        turn += self.searches * searched * searched // _SEARCHED
        # A sum of n terms is worked out term by term, each time with all before it.
        turn *= 1 + self.sums * (self.sums + 1) // 2
        turn += len(self.patterns) * _PATTERN + self.unknown_patterns * _UNKNOWN_PATTERN
        return turns * turn <= _MOST


def cost_of(text: str) -> BoundedCost:
    """Return what the cost of an expression depends on.

    The text need not be valid; then the result means nothing, but comes in linear time.
    """
    tokens = [*_tokens(text), *[("", "", 0)] * 3]
    names = [(kind, token) for kind, token, _ in tokens]
    loops = matches = operations = searches = 0
    patterns = []
    for at, (kind, token) in enumerate(names[:-3]):
        if kind == "comparison" or token == "in":
            operations += not (_literal(names[at - 1]) or _literal(names[at + 1]))
        if kind != "name" or names[at + 1][1] != "(":
            continue
        if token in _LOOPS:
            loops += 1
        elif token != "has":
            operations += 1
        searches += token == "contains" and names[at + 2][0] not in ("text", "raw")
        if token == "matches":
            matches += 1
            if names[at + 2][0] in ("text", "raw") and names[at + 3][1] == ")":
                literal, offset = tokens[at + 2][1:]
                patterns.append(Pattern(_unquoted(literal), offset))
    others = [token for kind, token in names if kind == "other"]
    return BoundedCost(
        length=len(text),
        loops=loops,
        operations=operations,
        searches=searches,
        literal_entries=others.count(",") + 1,
        sums=others.count("+"),
        patterns=tuple(patterns),
        unknown_patterns=matches - len(patterns),
    )


def data_size(value: object) -> DataSize:
    """Return the size of decoded JSON."""
    characters = nodes = longest = 0
    rest = [value]
    while rest:
        nodes += 1
        match rest.pop():
            case str() as text:
                characters += len(text)
            case Mapping() as mapping:
                longest = max(longest, len(mapping))
                characters += sum(map(len, mapping))
                rest.extend(mapping.values())
            case list() | tuple() as entries:
                longest = max(longest, len(entries))
                rest.extend(entries)
    return DataSize(characters, nodes, longest)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield kind, text and offset of each token, without spaces and comments."""
    for token in _TOKEN.finditer(text):
        if token.lastgroup != "space":
            yield token.lastgroup or "", token[0], token.start()


def _literal(token: tuple[str, str]) -> bool:
    """Tell whether a token is a literal, with which comparing takes no time."""
    return token[0] in ("text", "raw", "number") or token[1] in _LITERALS


def _unquoted(literal: str) -> str:
    """Return the text that a string literal stands for."""
    body = literal.lstrip("bBrR")
    marks = 3 if body[:3] in ('"""', "'''") and len(body) >= 6 else 1
    raw, body = body != literal, body[marks:-marks]
    return body if raw else _ESCAPE.sub(_character, body)


def _character(escape: re.Match[str]) -> str:
    for group in ("u", "U", "x"):
        if escape[group]:
            code = int(escape[group], 16)
            return "\ufffd" if 0xD800 <= code < 0xE000 or code > 0x10FFFF else chr(code)
    if escape["octal"]:
        return chr(int(escape["octal"], 8))
    return _ESCAPED.get(escape["plain"], escape["plain"])
