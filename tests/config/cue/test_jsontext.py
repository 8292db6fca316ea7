"""JSON as text: written, read, and what is none."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.jsontext import JsonError, read_json, to_json, tokens
from connect.config.cue.values import Kind, NotConcrete
from tests.config.cue.builtins import Undecided

LEAVES = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"b": 1, "a": [Decimal("1.50"), Decimal("1e3"), None, True]},
            '{"b":1,"a":[1.50,1E+3,null,true]}',
        ),
        (b"\xff", '"/w=="'),
        ('"\\\n\r\t\b\x7f/é\u2028', '"\\"\\\\\\n\\r\\t\\u0008\x7f/é\\u2028"'),
        ("\ud800", '"\\ud800"'),
        ("<a>&", '"<a>&"'),
        ([[], {}, [[]]], "[[],{},[[]]]"),
        (10**30, "1000000000000000000000000000000"),
    ],
)
def test_writing(value: Any, text: str) -> None:
    assert to_json(value) == text


def test_html_is_escaped_on_demand() -> None:
    assert to_json({"<": ">&'"}, html_safe=True) == '{"\\u003c":"\\u003e\\u0026\'"}'


def test_an_indented_text() -> None:
    text = to_json({"a": [1, {}], "b": [], "c": {"d": "e"}}, indent="  ")
    assert text == ('{\n  "a": [\n    1,\n    {}\n  ],\n  "b": [],\n  "c": {\n    "d": "e"\n  }\n}')


@given(VALUES)
def test_indentation_changes_nothing_but_the_layout(value: Any) -> None:
    assert json.loads(to_json(value, indent="\t")) == value


@given(VALUES)
def test_reading_inverts_writing(value: Any) -> None:
    assert read_json(to_json(value)) == value


@given(VALUES)
def test_what_is_written_is_json(value: Any) -> None:
    assert json.loads(to_json(value)) == value


def test_what_is_not_concrete_is_not_written() -> None:
    with pytest.raises(NotConcrete):
        to_json({"a": Undecided(Kind.INT)})


def test_a_deep_value_is_written_without_recursion() -> None:
    value: list[Any] = []
    for _ in range(50_000):
        value = [value]
    assert to_json(value) == "[" * 50_001 + "]" * 50_001


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1", int, "1"),
        ("1.50", Decimal, "1.50"),
        ("1e3", Decimal, "1E+3"),
        ("-0", int, "0"),
        ("-0.0", Decimal, "0.0"),
        ("123456789012345678901234567890", int, "123456789012345678901234567890"),
        ("[1,2]", list, "[1,2]"),
        (' {"a" : {} } ', dict, '{"a":{}}'),
        ('"\\u00e9\\ud83d\\ude00\\/\\b"', str, '"é😀/\\u0008"'),
    ],
)
def test_reading(text: str, kind: type, value: str) -> None:
    read = read_json(text)
    assert isinstance(read, kind)
    assert to_json(read) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid JSON at character 1: found the end, expected a value"),
        ("{", "invalid JSON at character 2: found the end, expected a string or }"),
        ("[1,]", "invalid JSON at character 4: found ']', expected a value"),
        ("[1}", "invalid JSON at character 3: found '}', expected , or the closing bracket"),
        ("1 2", "invalid JSON at character 3: found '2', expected the end"),
        ("01", "invalid JSON at character 2: found '1', expected the end"),
        ("{a: 1}", "invalid JSON at character 2: found 'a', expected a string or }"),
        ('{"a" 1}', "invalid JSON at character 6: found '1', expected :"),
        ('{"a":1,}', "invalid JSON at character 8: found '}', expected a string"),
        (",", "invalid JSON at character 1: found ',', expected a value"),
        ("nul", "invalid JSON at character 1: found 'n', expected a value"),
        ("NaN", "invalid JSON at character 1: found 'N', expected a value"),
        ('"a\tb"', "invalid JSON at character 1: found '\"', expected a value"),
        ('"\\x"', "invalid JSON at character 1: found '\"', expected a value"),
        ("]", "invalid JSON at character 1: found ']', expected a value"),
        ('"\\ud83d"', "invalid JSON at character 1: half of a surrogate pair in a string"),
        ('{"a":1,"a":2}', "invalid JSON at character 8: the label 'a' has two values"),
        ('{"a":[1],"a":[2]}', "invalid JSON at character 10: the label 'a' has two values"),
        ('{"a":1,"a":1.0}', "invalid JSON at character 8: the label 'a' has two values"),
        ("1e200000", "invalid JSON at character 1: the exponent of a number is out of range"),
        ("[" * 300, "invalid JSON at character 201: more than 200 open brackets"),
    ],
)
def test_what_is_no_json_is_explained(text: str, reason: str) -> None:
    with pytest.raises(JsonError) as caught:
        read_json(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":1,"a":1}', {"a": 1}),
        ('{"a":{"b":1},"a":{"c":1}}', {"a": {"b": 1, "c": 1}}),
        ('{"a":[{"b":1}],"a":[{"c":1}]}', {"a": [{"b": 1, "c": 1}]}),
    ],
)
def test_repeated_labels_are_unified(text: str, value: Any) -> None:
    assert read_json(text) == value


def test_depth_costs_no_stack() -> None:
    assert sum(1 for _ in tokens("[" * 100_000 + "]" * 100_000)) == 200_000


def test_the_depth_that_is_read_can_be_set() -> None:
    assert read_json("[" * 500 + "]" * 500, depth=500)
