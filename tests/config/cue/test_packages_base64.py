"""Package ``encoding/base64``."""

from typing import Any

import pytest

from connect.config.cue.values import Kind, NotConcrete
from tests.config.cue.builtins import Undecided, answer, call, refusal

PATH = "encoding/base64"

# The function, its arguments, and its answer as JSON.
ANSWERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("EncodedLen", (None, 5), "8"),
    ("EncodedLen", (None, 0), "0"),
    ("EncodedLen", (None, -1), "0"),
    ("DecodedLen", (None, 8), "6"),
    ("DecodedLen", (None, 7), "3"),
    ("Encode", (None, "hello"), '"aGVsbG8="'),
    ("Encode", (None, b"hel"), '"aGVs"'),
    ("Encode", (None, ""), '""'),
    ("Decode", (None, "aGVsbG8="), '"aGVsbG8="'),
    ("Decode", (None, "aGVs\nbG8="), '"aGVsbG8="'),
    ("Decode", (None, ""), '""'),
    ("Decode", (None, "aGVsbG9="), '"aGVsbG8="'),
    ("Decode", (None, "/+8="), '"/+8="'),
]

# The function, and arguments that it refuses.
REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("Encode", ("x", "hello")),
    ("Encode", (1, "hello")),
    ("Decode", (None, "aGVsbG8")),
    ("Decode", (None, "aGVs bG8=")),
    ("Decode", (None, "????")),
    ("Decode", (None, "_-8=")),
    ("Decode", (None, "/w==x")),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), ANSWERS)
def test_answers(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert answer(PATH, name, *arguments) == expected


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)


def test_an_encoding_that_may_become_null_is_waited_for() -> None:
    with pytest.raises(NotConcrete):
        call(PATH, "Encode", Undecided(Kind.NULL), "a")
