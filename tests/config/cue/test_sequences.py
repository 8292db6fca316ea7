"""Strings, bytes and lists joined, repeated and measured."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.packages.predeclared import PREDECLARED_FUNCTIONS
from connect.config.cue.sequences import concat, length, repeat, text_bytes
from connect.config.cue.values import BuiltinError, Kind, TooLarge


@pytest.mark.parametrize(
    ("value", "expected"),
    [("é", 2), ("abc", 3), (b"\xff\xfe", 2), ([1, [2]], 2), ({"a": 1}, 1), ("", 0)],
)
def test_length(value: Any, expected: int) -> None:
    assert length(value) == expected


@given(st.text())
def test_the_length_of_text_is_that_of_its_utf_8(text: str) -> None:
    assert length(text) == len(text.encode())


def test_half_of_a_surrogate_pair_is_a_replacement_character() -> None:
    assert text_bytes("a\ud800b") == "a\ufffdb".encode()


@pytest.mark.parametrize(
    ("left", "right", "expected"), [("a", "b", "ab"), (b"a", b"b", b"ab"), ([1], [2], [1, 2])]
)
def test_concat(left: Any, right: Any, expected: Any) -> None:
    assert concat(left, right) == expected


@pytest.mark.parametrize(
    ("value", "count", "expected"),
    [("ab", 3, "ababab"), (b"a", 0, b""), ([1, 2], 2, [1, 2, 1, 2]), ("", 10**30, "")],
)
def test_repeat(value: Any, count: int, expected: Any) -> None:
    assert repeat(value, count) == expected


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(BuiltinError, match="negative count -1; it must be 0 or more"):
        repeat("a", -1)


@pytest.mark.parametrize(
    ("value", "unit"), [("a", "characters"), (b"a", "bytes"), ([None], "elements")]
)
def test_a_hostile_repetition_is_refused_before_it_is_made(value: Any, unit: str) -> None:
    with pytest.raises(TooLarge) as caught:
        repeat(value, 10**30)
    assert str(caught.value) == f"the result would have more than the 1048576 {unit} allowed"


def test_the_caller_sets_the_limit_of_a_concatenation() -> None:
    assert concat("ab", "cd", limit=4) == "abcd"
    with pytest.raises(TooLarge):
        concat("ab", "cd", limit=3)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("len", ("é",), 2),
        ("div", (-7, 2), -4),
        ("mod", (-7, -2), 1),
        ("quo", (-7, 2), -3),
        ("rem", (-7, 2), -1),
        ("div", (10**30, 10**29), 10),
    ],
)
def test_predeclared_functions(name: str, arguments: tuple[Any, ...], expected: int) -> None:
    assert PREDECLARED_FUNCTIONS[name].function(*arguments) == expected


def test_len_takes_no_numbers() -> None:
    assert not PREDECLARED_FUNCTIONS["len"].parameters[0] & Kind.NUMBER
