"""Package ``encoding/hex``."""

from typing import Any

import pytest

from tests.config.cue.builtins import answer, refusal

PATH = "encoding/hex"

# The function, its arguments, and its answer as JSON.
ANSWERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("EncodedLen", (3,), "6"),
    ("EncodedLen", (-1,), "-2"),
    ("DecodedLen", (6,), "3"),
    ("DecodedLen", (7,), "3"),
    ("DecodedLen", (-3,), "-1"),
    ("Encode", ("hello",), '"68656c6c6f"'),
    ("Encode", (b"\xff",), '"ff"'),
    ("Decode", ("68656c6c6f",), '"aGVsbG8="'),
    ("Decode", ("FF",), '"/w=="'),
    ("Decode", ("",), '""'),
    ("Dump", ("",), '""'),
    (
        "Dump",
        ("0123456789abcdef",),
        '"00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\\n"',
    ),
    (
        "Dump",
        ("01234567",),
        '"00000000  30 31 32 33 34 35 36 37                           |01234567|\\n"',
    ),
    (
        "Dump",
        ("012345678",),
        '"00000000  30 31 32 33 34 35 36 37  38                       |012345678|\\n"',
    ),
    (
        "Dump",
        ("\x00\x7f~ é",),
        '"00000000  00 7f 7e 20 c3 a9                                 |..~ ..|\\n"',
    ),
]

# The function, and arguments that it refuses.
REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("Decode", ("6",)),
    ("Decode", ("6x",)),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), ANSWERS)
def test_answers(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert answer(PATH, name, *arguments) == expected


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)
