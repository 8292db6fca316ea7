"""The tokens of CUE and the values of its literals."""

from decimal import Decimal

import pytest

from connect.config.cue.ast import Interpolation, Literal, Scalar
from connect.config.cue.errors import CueError, FaultKind
from connect.config.cue.findings import Findings
from connect.config.cue.parser import parse, parse_expression
from connect.config.cue.scanner import END, Scanner, Token
from connect.config.cue.source import Source
from tests.config.cue.reading import faults

_EMPTY = "is an empty string and ends with"
_UNINDENTED = "every line of this string must begin with the white space before its closing quotes"


def tokens(text: str) -> list[Token]:
    scanner = Scanner(Source("x", text), Findings())
    found = []
    while (token := scanner.next()).kind != END:
        found.append(token)
    return found


def kinds(text: str) -> list[str]:
    """Return the kinds of the tokens, of a line break that is a comma ``\\n``."""
    return ["\n" if token.value == "\n" else token.kind for token in tokens(text)]


def value(text: str) -> Scalar:
    literal = parse_expression(Source("x", text))
    assert isinstance(literal, Literal)
    return literal.value


class TestCommas:
    @pytest.mark.parametrize(
        "last",
        ["a", "for", "1", '"a"', '"\\(a)"', "_|_", "null", ")", "]", "}", "?", "...", "@a()"],
    )
    def test_a_line_break_behind_what_can_end_a_declaration_is_one(self, last: str) -> None:
        assert kinds(f"{last}\nb")[-2] == "\n"

    @pytest.mark.parametrize("last", ["{", "[", "(", ",", ":", "+", "|", "=", ".", "!"])
    def test_a_line_break_behind_what_goes_on_is_none(self, last: str) -> None:
        assert kinds(f"{last}\nb") == [last, "name"]

    def test_a_comment_ends_the_line_too(self) -> None:
        assert kinds("a // b\nc") == ["name", "\n", "name"]

    def test_several_line_breaks_are_one(self) -> None:
        assert kinds("a\n\n \t\n// b\n\nc") == ["name", "\n", "name"]

    @pytest.mark.parametrize("next_", [":", ","])
    def test_a_colon_or_a_comma_may_begin_the_next_line(self, next_: str) -> None:
        assert kinds(f"a\n  {next_} b") == ["name", next_, "name"]


class TestNames:
    @pytest.mark.parametrize(
        "name", ["a", "_", "_a", "#a", "_#a", "#", "_#", "$", "a$1", "#_", "été", "日本", "a٣", "ª"]
    )
    def test_a_name_is_one_token(self, name: str) -> None:
        assert tokens(name) == [Token("name", 0, len(name), name)]

    @pytest.mark.parametrize("word", ["null", "for", "in", "if", "let", "div", "true"])
    def test_a_keyword_is_its_own_kind(self, word: str) -> None:
        assert tokens(word) == [Token(word, 0, len(word), word)]

    def test_a_name_may_begin_like_a_keyword(self) -> None:
        assert kinds("format") == ["name"]

    @pytest.mark.parametrize("text", ["a²", "Ⅷ", "#1", "a#b", "$#a"])
    def test_what_is_no_letter_ends_a_name(self, text: str) -> None:
        assert kinds(text) != ["name"]


class TestOperators:
    @pytest.mark.parametrize(
        "operator",
        ["&&", "||", "==", "!=", "<=", ">=", "=~", "!~", "...", "&", "|", "<", ">", "=", "!", "."],
    )
    def test_the_longest_operator_is_taken(self, operator: str) -> None:
        assert kinds(f"{operator} a") == [operator, "name"]

    def test_bottom_is_one_token(self) -> None:
        assert kinds("a|_|_") == ["name", "|", "_|_"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: _|1", "1:4: '_|' means nothing; expected '_|_', or '_ |' for a disjunction"),
            ("a: 1..2", "1:5: '..' means nothing; expected '.' or '...'"),
            ("a: <-1", "1:4: '<-' means nothing; expected '< -'"),
        ],
    )
    def test_near_misses_say_what_would_be_right(self, text: str, message: str) -> None:
        assert faults(text) == [message]


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("0", 0),
            ("42", 42),
            ("1_000_000", 10**6),
            ("0x1F", 31),
            ("0XBad_Face", 0xBADFACE),
            ("0o17", 15),
            ("0b101", 5),
            ("5K", 5000),
            ("5Ki", 5120),
            ("2Mi", 2 << 20),
            ("1.5G", 1_500_000_000),
            (".5Ki", 512),
            ("1.Ki", 1024),
            ("3P", 3 * 10**15),
            ("1.5Ti", 3 << 39),
            ("9" * 1000, 10**1000 - 1),
        ],
    )
    def test_integers(self, text: str, number: int) -> None:
        assert value(text) == number
        assert type(value(text)) is int

    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("1.50", "1.50"),
            ("1e3", "1E+3"),
            ("1E+5", "1E+5"),
            ("1e-5", "0.00001"),
            ("0.", "0"),
            (".25", "0.25"),
            ("072.40", "72.40"),
            ("1.e+0", "1"),
            ("1_0.5_5", "10.55"),
            ("0.e5", "0E+5"),
        ],
    )
    def test_floats_keep_their_digits(self, text: str, number: str) -> None:
        assert str(value(text)) == number
        assert type(value(text)) is Decimal

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("012", "1:4: a whole number must not begin with 0; octal is 0o17"),
            ("0_1", "1:4: a whole number must not begin with 0; octal is 0o17"),
            ("07K", "1:4: a number with a multiplier must not begin with 0"),
            ("1__0", "1:5: '_' in a number must stand between digits"),
            ("1_", "1:5: '_' in a number must stand between digits"),
            ("0x", "1:4: 0x must be followed by hexadecimal digits"),
            ("0b", "1:4: 0b must be followed by binary digits"),
            ("0o", "1:4: 0o must be followed by octal digits"),
            ("1.0001Ki", "1:4: 1.0001Ki is not a whole number"),
            ("1e", "1:4: the exponent of 1e has no digits"),
        ],
    )
    def test_malformed_numbers(self, text: str, message: str) -> None:
        assert faults(f"a: {text}") == [message]

    @pytest.mark.parametrize(
        "text", ["9" * 5000, f"0x{'f' * 5000}", "1e100001", "1e99999999999999999999"]
    )
    def test_numbers_beyond_reason_are_over_budget(self, text: str) -> None:
        with pytest.raises(CueError) as refused:
            parse(Source("x", f"a: {text}"))
        assert [fault.kind for fault in refused.value.faults] == [FaultKind.BUDGET]


class TestStrings:
    @pytest.mark.parametrize(
        ("text", "string"),
        [
            ('""', ""),
            ('"a\tb"', "a\tb"),
            (r'"\a\b\f\n\r\t\v\/\\\""', '\a\b\f\n\r\t\v/\\"'),
            (r'"\u00e9\U0001f600"', "é😀"),
            (r'"\ud83d\ude00"', "😀"),
            ('#"a\\n"b"#', 'a\\n"b'),
            ('##"\\##n\\#n"##', "\n\\#n"),
            ('"""\n  a\n\n    b\n  """', "a\n\n  b"),
            ('"""\n\t"""', ""),
            ('"""\n\n\n"""', "\n"),
            ('"""\r\n  a\r\n  b\r\n  """', "a\nb"),
            ('"""\n a\\nb\\\\\n """', "a\nb\\"),
            ('"""\n "" \\""" "\n """', '"" """ "'),
            ('#"""\n \\n\\#n\n """#', "\\n\n"),
            ('"""\n a\n b"""', " a\n b"),
            ('"""\n  \n """', " "),
            ('#""#', ""),
            ('#"\\#"x""#', '"x"'),
        ],
    )
    def test_strings(self, text: str, string: str) -> None:
        assert value(text) == string

    @pytest.mark.parametrize(
        ("text", "raw"),
        [
            ("''", b""),
            (r"'a\x00\xff\377\u00ff'", b"a\x00\xff\xff\xc3\xbf"),
            ("'é'", "é".encode()),
            (r"'\'\101'", b"'A"),
            ("'''\n  \\x41\n  b\n  '''", b"A\nb"),
            (r"#'\x41\#x41'#", rb"\x41A"),
            ("##''##", b""),
        ],
    )
    def test_bytes(self, text: str, raw: bytes) -> None:
        assert value(text) == raw

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (r'"a\qb"', r"1:5: \q is no escape; there are \a \b \f \n \r \t \v \/ \\ \" \u \U \("),
            (
                r"#'\#q'#",
                r"1:5: \#q is no escape; there are "
                r"\#a \#b \#f \#n \#r \#t \#v \#/ \#\ \#' \#u \#U \#( \#x \#0",
            ),
            (
                r'"\x41"',
                r"1:4: \x is an escape of bytes ('...'), not of strings; use \u and four digits",
            ),
            (
                r'"\101"',
                r"1:4: \1 is an escape of bytes ('...'), not of strings; use \u and four digits",
            ),
            (r'"\u00g0"', r"1:4: \u must be followed by 4 hexadecimal digits"),
            (r'"\U0000"', r"1:4: \U must be followed by 8 hexadecimal digits"),
            (r"'\x4'", r"1:4: \x must be followed by 2 hexadecimal digits"),
            (r"'\18'", "1:4: \\ must be followed by 3 octal digits"),
            (r"'\400'", r"1:4: a byte is at most \377"),
            (r'"\ud800"', r"1:4: \ud800 is no character: half of a surrogate pair"),
            (r'"\ud83d\u0041"', r"1:4: \ud83d is no character: half of a surrogate pair"),
            (r'"\U00110000"', r"1:4: \U00110000 is no character: beyond U+10FFFF"),
            ('"a\rb"', "1:5: a string of one line holds a carriage return"),
            ('"""\n  a\n b\n  """', f"3:1: {_UNINDENTED}"),
            ('"""\n\\(a)\n b\n """', f"2:1: {_UNINDENTED}"),
            ('"""a"""', '1:3: expected a line break behind """'),
            ('#""x""#', f"""1:3: #"" {_EMPTY} '#'; a quote at the beginning is written \\#\""""),
            ("##''x''##", f"1:3: ##'' {_EMPTY} '##'; a quote at the beginning is written \\##'"),
            ("1 @a(#''x''#)", f"1:8: #'' {_EMPTY} '#'; a quote at the beginning is written \\#'"),
        ],
    )  # fmt: skip
    def test_malformed_strings(self, text: str, message: str) -> None:
        assert faults(f"a:{text}") == [message]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('a: "b\nc: 1', '1:4: a string is not closed: expected "'),
            ("a: 'b\nc: 1", "1:4: bytes are not closed: expected '"),
            ('a: #"b"\nc: 1', '1:4: a string is not closed: expected "#'),
            ('a: """\nb\n""', '1:4: a string is not closed: expected """'),
            ('a: "\\(b) c\nd: 1', '1:8: a string is not closed: expected "'),
            ('a: "b\\\nc: 1', '1:4: a string is not closed: expected "'),
        ],
    )
    def test_what_is_not_closed_ends_with_the_line_or_document(
        self, text: str, message: str
    ) -> None:
        assert faults(text) == [message]


class TestInterpolations:
    @pytest.mark.parametrize(
        ("text", "texts"),
        [
            (r'"a\(b)c"', ["a", "c"]),
            (r'"\(b)"', []),
            (r'"\(b)\(c)d"', ["d"]),
            (r'"\("x\(y)z")!"', ["!"]),
            (r'"a\(f(")", (1)))"', ["a"]),
            (r'#"\(no)\#(yes)"#', [r"\(no)"]),
            ('"""\n  a \\(b)\n  c\n  """', ["a ", "\nc"]),
            ('"""\n  \\(b)\\(c)\n  """', []),
            ('"\\({\n\tb: 1\n}.b)!"', ["!"]),
            (r"'\xff\(b)'", [b"\xff"]),
        ],
    )
    def test_texts_between_expressions(self, text: str, texts: list[str | bytes]) -> None:
        string = parse_expression(Source("x", text))
        assert isinstance(string, Interpolation)
        assert [part for part in string.parts if isinstance(part, str | bytes)] == texts

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (r'a: "\()"', "1:7: expected a value, found ')'"),
            (r'a: "\(b c)"', "1:9: expected ')', found the name c"),
            (r'a: "\(b, c)"', "1:8: expected ')', found ','"),
            ('a: "\\(b\n)"', "1:8: expected ')', found the end of the line"),
        ],
    )
    def test_only_one_expression_stands_inside(self, text: str, message: str) -> None:
        assert faults(text)[0] == message

    def test_it_goes_on_behind_a_faulty_one(self) -> None:
        assert faults('a: "\\(1 2) b\\(3)"\nc: }') == [
            "1:9: expected ')', found 2",
            "2:4: '}' closes nothing",
        ]


class TestAttributes:
    @pytest.mark.parametrize(
        "text",
        [
            "@a()",
            "@()",
            "@a (b)",
            "@a(b, c=\"d)\", [e(f)], '''\n)'''\n)",
            "@a(// )\n)",
            '@a("\\()")',
            '@a(#")"#)',
        ],
    )
    def test_an_attribute_is_one_token(self, text: str) -> None:
        assert kinds(text) == ["attribute"]

    @pytest.mark.parametrize(
        ("text", "messages"),
        [
            ("a: 1 @b", ["1:6: an attribute is written @name(...): expected '('"]),
            ("a: 1 @b(\nc: 2", ["1:6: an attribute is not closed: expected ')'"]),
            ("a: 1 @b([)", ["1:10: ')' closes nothing"]),
            ("a: 1 @b(]", ["1:9: ']' closes nothing"]),
            (
                'a: 1 @b("c)',
                [
                    "1:6: an attribute is not closed: expected ')'",
                    '1:9: a string is not closed: expected "',
                ],
            ),
        ],
    )
    def test_malformed_attributes(self, text: str, messages: list[str]) -> None:
        assert faults(text) == messages


class TestCharacters:
    def test_a_byte_order_mark_may_begin_the_document(self) -> None:
        assert parse(Source("x", "\ufeffa: 1")).body.declarations

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: 1\ufeff", "1:5: the character U+FEFF must not occur"),
            ('a: "\0"', "1:5: the character U+0000 must not occur"),
            ("// \udc80", "1:4: the character U+DC80 must not occur"),
        ],
    )
    def test_some_characters_must_not_occur(self, text: str, message: str) -> None:
        assert faults(text) == [message]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: ~", "1:4: the character '~' (U+007E) means nothing here"),
            ("a: ##a", "1:4: the character '#' (U+0023) means nothing here"),
            ("a: \x1b", "1:4: the character (U+001B) means nothing here"),
            ("a: 1\xa0", "1:5: the character (U+00A0) means nothing here"),
            ("a: ²", "1:4: the character '²' (U+00B2) means nothing here"),
            (
                "a: 1; b: 2",
                "1:5: the character ';' (U+003B) means nothing here; "
                "declarations end with a comma or the line",
            ),
        ],
    )
    def test_some_characters_mean_nothing(self, text: str, message: str) -> None:
        assert faults(text) == [message]


def test_comments_know_whether_they_stand_alone() -> None:
    file = parse(Source("x", "// a\nb: 1 // c  \n\t// d"))
    assert [(comment.text, comment.own_line) for comment in file.comments] == [
        ("// a", True),
        ("// c", False),
        ("// d", True),
    ]


def test_a_comment_in_a_string_is_none() -> None:
    assert not parse(Source("x", 'a: "// b"')).comments
