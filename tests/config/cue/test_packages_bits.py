"""Package ``math/bits``."""

from typing import Any

import pytest

from tests.config.cue.builtins import answer, refusal

PATH = "math/bits"

# The function, its arguments, and its answer as JSON.
ANSWERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("Lsh", (1, 3), "8"),
    ("Lsh", (-1, 3), "-8"),
    ("Rsh", (8, 2), "2"),
    ("Rsh", (-8, 1), "-4"),
    ("Rsh", (-7, 1), "-4"),
    ("Rsh", (8, 100), "0"),
    ("At", (5, 0), "1"),
    ("At", (5, 1), "0"),
    ("At", (5, 200), "0"),
    ("At", (-1, 200), "1"),
    ("Set", (5, 1, 1), "7"),
    ("Set", (5, 0, 0), "4"),
    ("Set", (5, 200, 1), "1606938044258990275541962092341162602522202993782792835301381"),
    ("Set", (-1, 3, 0), "-9"),
    ("And", (6, 3), "2"),
    ("And", (-6, 3), "2"),
    ("Or", (6, 3), "7"),
    ("Xor", (6, 3), "5"),
    ("Xor", (-6, 3), "-7"),
    ("Clear", (7, 2), "5"),
    ("Clear", (-1, 2), "-3"),
    ("OnesCount", (7,), "3"),
    ("OnesCount", (-7,), "3"),
    ("OnesCount", (0,), "0"),
    ("Len", (8,), "4"),
    ("Len", (0,), "0"),
    ("Len", (-8,), "4"),
    ("OnesCount", (123456789012345678901234567890,), "54"),
    ("Lsh", (1, 100), "1267650600228229401496703205376"),
]

# The function, and arguments that it refuses.
REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("Lsh", (1, -1)),
    ("At", (5, -1)),
    ("Set", (5, 1, 2)),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), ANSWERS)
def test_answers(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert answer(PATH, name, *arguments) == expected


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)


@pytest.mark.parametrize(
    ("name", "arguments"), [("Lsh", (1, 10**9)), ("Set", (0, 10**30, 1)), ("Set", (5, 100_000, 1))]
)
def test_hostile_sizes_are_refused(name: str, arguments: tuple[Any, ...]) -> None:
    assert (
        refusal(PATH, name, *arguments) == "the result would have more than the 100000 bits allowed"
    )
