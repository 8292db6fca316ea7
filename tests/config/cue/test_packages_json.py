"""Package ``encoding/json``."""

from decimal import Decimal
from typing import Any

import pytest

from connect.config.cue.values import BuiltinError, Kind, NotConcrete
from tests.config.cue.builtins import Undecided, answer, call, refusal

PATH = "encoding/json"

# The function, its arguments, and its answer as JSON.
ANSWERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("Marshal", ({"a": 1, "b": "x"},), '"{\\"a\\":1,\\"b\\":\\"x\\"}"'),
    ("Marshal", ({"b": 1, "a": 2, "c-d": 3},), '"{\\"b\\":1,\\"a\\":2,\\"c-d\\":3}"'),
    (
        "Marshal",
        ("<a href='x'>&\u2028\u2029",),
        '"\\"\\\\u003ca href=\'x\'\\\\u003e\\\\u0026\\\\u2028\\\\u2029\\""',
    ),
    (
        "Marshal",
        ({"<": 'é\x01\x7f\x80😀\t\n\r\x08\x0c\\/"'},),
        '"{\\"\\\\u003c\\":\\"é\\\\u0001\x7f\x80😀\\\\t\\\\n\\\\r\\\\u0008\\\\u000c\\\\\\\\/\\\\\\"\\"}"',
    ),
    ("Marshal", (b"abc",), '"\\"YWJj\\""'),
    ("Marshal", (b"\xff",), '"\\"/w==\\""'),
    ("Marshal", (None,), '"null"'),
    ("Marshal", (True,), '"true"'),
    ("Marshal", ([],), '"[]"'),
    ("Marshal", ({},), '"{}"'),
    ("Marshal", ({"a": {"b": [1, {"c": 2}]}},), '"{\\"a\\":{\\"b\\":[1,{\\"c\\":2}]}}"'),
    ("Marshal", (Decimal("1.5"),), '"1.5"'),
    ("Marshal", ("",), '"\\"\\""'),
    ("MarshalStream", ([{"a": 1}, {"b": 2}],), '"{\\"a\\":1}\\n{\\"b\\":2}\\n"'),
    ("MarshalStream", ([],), '""'),
    ("MarshalStream", (["<a>", 1],), '"\\"\\\\u003ca\\\\u003e\\"\\n1\\n"'),
    ("Unmarshal", ("1.50",), "1.50"),
    ("Unmarshal", ("1e3",), "1E+3"),
    ("Unmarshal", ("1E3",), "1E+3"),
    ("Unmarshal", ("-0",), "0"),
    ("Unmarshal", ("-0.0",), "0.0"),
    ("Unmarshal", ("123456789012345678901234567890",), "123456789012345678901234567890"),
    ("Unmarshal", ('{"a":1,"a":1}',), '{"a":1}'),
    ("Unmarshal", ('{"a":{"b":1},"a":{"c":1}}',), '{"a":{"b":1,"c":1}}'),
    ("Unmarshal", (b'{"a":1}',), '{"a":1}'),
    ("Unmarshal", ('"\\u00e9\\ud83d\\ude00"',), '"é😀"'),
    ("Unmarshal", ('"a\x7fb"',), '"a\x7fb"'),
    ("Unmarshal", ('{"_a":1,"#b":2}',), '{"_a":1,"#b":2}'),
    ("Unmarshal", (" \t\r\n1 ",), "1"),
    ("Unmarshal", ('"\\/\\b"',), '"/\\u0008"'),
    ("Unmarshal", ("1e400",), "1E+400"),
    ("Valid", ("{}",), "true"),
    ("Valid", ("{",), "false"),
    ("Valid", ("",), "false"),
    ("Valid", ("1 2",), "false"),
    ("Valid", ("01",), "false"),
    ("Valid", ('"\\ud83d"',), "true"),
    ("Valid", (b'{"a":"\xff"}',), "true"),
    ("Compact", ('{ "a" : [ 1, 2 ] , "b":"x y<" }',), '"{\\"a\\":[1,2],\\"b\\":\\"x y<\\"}"'),
    ("Compact", ('"\\u00e9\\/"',), '"\\"\\\\u00e9\\\\/\\""'),
    ("Compact", ('"\u2028"',), '"\\"\\u2028\\""'),
    ("Compact", (b"  1.50  ",), '"1.50"'),
    ("Indent", ('{"a":1}', ">", "\t"), '"{\\n>\\t\\"a\\": 1\\n>}"'),
    ("Indent", ("[1]", "", ""), '"[\\n1\\n]"'),
    ("Indent", (" 1 ", "", " "), '"1 "'),
    (
        "Indent",
        ("[1, [2, [3]]]", "//", "--"),
        '"[\\n//--1,\\n//--[\\n//----2,\\n//----[\\n//------3\\n//----]\\n//--]\\n//]"',
    ),
    ("Indent", ("[ ]  ", "p", " "), '"[]  "'),
    ("HTMLEscape", ("<a>&\u2028'\"",), '"\\\\u003ca\\\\u003e\\\\u0026\\\\u2028\'\\""'),
    ("HTMLEscape", ('{"a":"<b>"}',), '"{\\"a\\":\\"\\\\u003cb\\\\u003e\\"}"'),
    ("HTMLEscape", ("",), '""'),
    ("HTMLEscape", (b"\xff<",), '"�\\\\u003c"'),
]

# The function, and arguments that it refuses.
REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("MarshalStream", ({"a": 1},)),
    ("MarshalStream", (1,)),
    ("Unmarshal", ("01",)),
    ("Unmarshal", ("",)),
    ("Unmarshal", (" ",)),
    ("Unmarshal", ("{",)),
    ("Unmarshal", ("1 2",)),
    ("Unmarshal", ("[1,]",)),
    ("Unmarshal", ('{"a":1,"a":2}',)),
    ("Unmarshal", ("nul",)),
    ("Unmarshal", ("'a'",)),
    ("Unmarshal", ("NaN",)),
    ("Unmarshal", ('"\\ud83d"',)),
    ("Unmarshal", ('"a\tb"',)),
    ("Unmarshal", ("\xa01",)),
    ("Unmarshal", ("{a: 1}",)),
    ("Unmarshal", ("// c\n1",)),
    ("Unmarshal", ('"\\x"',)),
    ("Unmarshal", ("\ufeff1",)),
    ("Compact", ("",)),
    ("Compact", ("{",)),
    ("Compact", ("1 2",)),
    ("Indent", ("{", "", " ")),
    ("Indent", ("", "", " ")),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), ANSWERS)
def test_answers(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert answer(PATH, name, *arguments) == expected


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)


def test_marshal_waits_for_what_is_not_concrete() -> None:
    with pytest.raises(NotConcrete):
        call(PATH, "Marshal", {"a": [Undecided(Kind.INT)]})


def test_marshal_stream_waits_for_its_list() -> None:
    with pytest.raises(NotConcrete):
        call(PATH, "MarshalStream", Undecided(Kind.LIST))


def test_bytes_that_are_no_text_are_refused() -> None:
    assert refusal(PATH, "Unmarshal", b'"a\xff"') == "byte 3 is not UTF-8"


def test_a_huge_indentation_is_refused() -> None:
    text = refusal(PATH, "Indent", "[" * 100 + "]" * 100, "", " " * 1000)
    assert "more than the 1048576 characters allowed" in text


def test_deep_json_is_valid_without_recursion() -> None:
    assert call(PATH, "Valid", "[" * 100_000 + "]" * 100_000) is True


def test_validate_unifies_the_schema_with_the_value() -> None:
    unified = []

    def unify(schema: Any, value: Any) -> Any:
        unified.append((schema, value))
        return value

    schema = Undecided(Kind.STRUCT)
    assert call(PATH, "Validate", unify, '{"n": 5}', schema) is True
    assert unified == [(schema, {"n": 5})]


def test_validate_says_what_does_not_agree() -> None:
    def unify(schema: Any, value: Any) -> Any:
        raise BuiltinError("n: 5 is out of bound")

    text = refusal(PATH, "Validate", unify, '{"n": 5}', Undecided(Kind.STRUCT))
    assert text == "n: 5 is out of bound"
