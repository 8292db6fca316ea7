"""Package ``struct``."""

import pytest

from connect.config.cue.values import NotConcrete
from tests.config.cue.builtins import call

PATH = "struct"


@pytest.mark.parametrize(
    ("least", "fields"), [(0, {}), (1, {"a": 1}), (-1, {}), (1, {"a": 1, "b": 2})]
)
def test_enough_fields(least: int, fields: dict[str, int]) -> None:
    assert call(PATH, "MinFields", fields, least) is True


def test_too_few_fields_may_become_enough() -> None:
    with pytest.raises(NotConcrete, match="there are 1 fields; expected at least 2"):
        call(PATH, "MinFields", {"a": 1}, 2)


@pytest.mark.parametrize(("most", "expected"), [(1, True), (0, False), (-1, False)])
def test_at_most_so_many_fields(most: int, expected: bool) -> None:
    assert call(PATH, "MaxFields", {"a": 1}, most) is expected
