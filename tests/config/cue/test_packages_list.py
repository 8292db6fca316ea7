"""Package ``list``."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.packages import package
from connect.config.cue.values import CueMember, Kind, NotConcrete, TooLarge, kind_of
from tests.config.cue.builtins import Undecided, answer, call, refusal

PATH = "list"

# The function, its arguments, and its answer as JSON.
ANSWERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("Drop", ([1, 2, 3], 1), "[2,3]"),
    ("Drop", ([1, 2, 3], 0), "[1,2,3]"),
    ("Drop", ([1, 2, 3], 5), "[]"),
    ("Take", ([1, 2, 3], 1), "[1]"),
    ("Take", ([1, 2, 3], 0), "[]"),
    ("Take", ([1, 2, 3], 5), "[1,2,3]"),
    ("Slice", ([1, 2, 3], 0, 2), "[1,2]"),
    ("Slice", ([1, 2, 3], 3, 3), "[]"),
    ("FlattenN", ([1, [2, [3, [4]]]], -1), "[1,2,3,4]"),
    ("FlattenN", ([1, [2, [3, [4]]]], 0), "[1,[2,[3,[4]]]]"),
    ("FlattenN", ([1, [2, [3, [4]]]], 1), "[1,2,[3,[4]]]"),
    ("FlattenN", ([1, [2, [3, [4]]]], 2), "[1,2,3,[4]]"),
    ("FlattenN", ([1, [2, [3, [4]]]], -2), "[1,2,3,4]"),
    ("FlattenN", ([[], [[]]], -1), "[]"),
    ("Repeat", ([1, 2], 2), "[1,2,1,2]"),
    ("Repeat", ([1, 2], 0), "[]"),
    ("Concat", ([[1], [2, 3], []],), "[1,2,3]"),
    ("Concat", ([],), "[]"),
    ("MinItems", ([1, 2], 2), "true"),
    ("MinItems", ([1, 2], 3), "false"),
    ("MinItems", ([1, 2], -1), "true"),
    ("MaxItems", ([1, 2], 1), "false"),
    ("MaxItems", ([1, 2], -1), "false"),
    ("UniqueItems", ([1, 2, 1],), "false"),
    ("UniqueItems", ([1, Decimal("1.0")],), "true"),
    ("UniqueItems", ([Decimal("1.0"), Decimal("1.00")],), "true"),
    ("UniqueItems", ([{"a": 1}, {"a": 1}],), "false"),
    ("UniqueItems", ([{"a": 1, "b": 2}, {"b": 2, "a": 1}],), "true"),
    ("UniqueItems", ([{"a": 1}, {"a": 2}],), "true"),
    ("UniqueItems", ([[1], [1]],), "false"),
    ("UniqueItems", ([1, "1"],), "true"),
    ("UniqueItems", ([None, None],), "false"),
    ("UniqueItems", (["a", b"a"],), "true"),
    ("UniqueItems", ([],), "true"),
    ("Contains", ([1, 2], 2), "true"),
    ("Contains", ([1, 2], Decimal("2.0")), "false"),
    ("Contains", ([1, 2], "a"), "false"),
    ("Contains", ([{"a": 1}], {"a": 1}), "true"),
    ("Contains", ([{"a": 1, "b": 2}], {"b": 2, "a": 1}), "true"),
    ("Contains", ([[1]], [1]), "true"),
    ("Contains", ([None], None), "true"),
    ("Contains", ([], 1), "false"),
    ("Contains", (["a"], b"a"), "false"),
    ("Sum", ([1, 2, 3],), "6"),
    ("Sum", ([],), "0"),
    ("Sum", ([Decimal("1.5"), 2],), "3.5"),
    ("Sum", ([1, Decimal("2.0")],), "3.0"),
    ("Sum", ([Decimal("1.50"), Decimal("1.5")],), "3.00"),
    ("Sum", ([Decimal("0.1"), Decimal("0.2")],), "0.3"),
    ("Sum", ([999999999999999999999999, 1],), "1.00000000000000000000000E+24"),
    ("Sum", ([123456789012345678901234567890, 1],), "1.23456789012345678901235E+29"),
    ("Product", ([2, 3],), "6"),
    ("Product", ([],), "1"),
    ("Product", ([Decimal("1.5"), 2],), "3.0"),
    ("Product", ([Decimal("1E+3"), 2],), "2E+3"),
    ("Product", ([0, -1],), "-0"),
    ("Product", ([123456789012345, 123456789012345],), "1.52415787532386691205624E+28"),
    ("Avg", ([1, 2, 3],), "2"),
    ("Avg", ([1, 2],), "1.5"),
    ("Avg", ([1, 2, 2],), "1.66666666666666666666667"),
    ("Avg", ([Decimal("1.0"), Decimal("2.0")],), "1.5"),
    ("Avg", ([Decimal("1.50")],), "1.50"),
    ("Avg", ([10, 20],), "15"),
    ("Avg", ([100, 300],), "200"),
    ("Avg", ([Decimal("1E+3")],), "1000"),
    ("Max", ([1, 3, 2],), "3"),
    ("Max", ([1, Decimal("1.0")],), "1"),
    ("Max", ([Decimal("1.0"), 1],), "1.0"),
    ("Max", ([Decimal("1.50"), Decimal("1.5")],), "1.50"),
    ("Max", ([Decimal("-1.0"), -2],), "-1.0"),
    ("Max", ([Decimal("1E+3"), 2],), "1E+3"),
    ("Min", ([1, 3, 2],), "1"),
    ("Min", ([1, Decimal("1.0")],), "1"),
    ("Min", ([Decimal("1.0"), 1],), "1.0"),
    ("Range", (0, 5, 1), "[0,1,2,3,4]"),
    ("Range", (0, 5, 2), "[0,2,4]"),
    ("Range", (5, 0, -1), "[5,4,3,2,1]"),
    ("Range", (0, 0, 1), "[]"),
    ("Range", (0, 1, Decimal("0.25")), "[0,0.25,0.50,0.75]"),
    ("Range", (Decimal("0.5"), 3, 1), "[0.5,1.5,2.5]"),
    ("Range", (0, 2, Decimal("0.50")), "[0,0.50,1.00,1.50]"),
    ("Range", (0, 3, Decimal("1.0")), "[0,1.0,2.0]"),
    ("Range", (0, 1, Decimal("0.3")), "[0,0.3,0.6,0.9]"),
    ("Range", (Decimal("1E+3"), Decimal("3E+3"), Decimal("1E+3")), "[1E+3,2E+3]"),
    ("Range", (-2, 2, 1), "[-2,-1,0,1]"),
    ("Range", (0, 5, 5), "[0]"),
    ("Range", (0, 0, -1), "[]"),
    ("Range", (Decimal("0.0"), 2, 1), "[0.0,1.0]"),
    ("Range", (0, Decimal("0.001"), Decimal("0.001")), "[0]"),
    ("Range", (Decimal("1.50"), Decimal("1.75"), Decimal("0.1")), "[1.50,1.60,1.70]"),
    ("SortStrings", (["b", "a", "é", "Z"],), '["Z","a","b","é"]'),
    ("SortStrings", ([],), "[]"),
    ("IsSortedStrings", (["a", "b"],), "true"),
    ("IsSortedStrings", (["b", "a"],), "false"),
]

# The function, and arguments that it refuses.
REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("Drop", ([1, 2, 3], -1)),
    ("Take", ([1, 2, 3], -1)),
    ("Slice", ([1, 2, 3], 2, 1)),
    ("Slice", ([1, 2, 3], -1, 1)),
    ("Slice", ([1, 2, 3], 0, -1)),
    ("Slice", ([1, 2, 3], 0, 4)),
    ("Slice", ([1, 2, 3], 4, 4)),
    ("FlattenN", (1, 1)),
    ("FlattenN", ({"a": 1}, 1)),
    ("Repeat", ([1, 2], -1)),
    ("Concat", ([[1], 2],)),
    ("Sum", (["a"],)),
    ("Avg", ([],)),
    ("Max", ([],)),
    ("Min", ([],)),
    ("Min", (["a"],)),
    ("Range", (0, 5, 0)),
    ("Range", (0, 5, -1)),
    ("Range", (5, 0, 1)),
    ("SortStrings", (["b", 1],)),
    ("IsSortedStrings", ([1],)),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), ANSWERS)
def test_answers(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert answer(PATH, name, *arguments) == expected


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)


def unify(template: Any, value: Any) -> Any:
    """Evaluate a comparer as a test gives it: a function of the two fields."""
    return template(value["x"], value["y"])


class Comparer:
    """A comparer as the evaluator would hand it on."""

    cue_kind = Kind.STRUCT

    def __init__(self, less: Any) -> None:
        self.less = less

    def __call__(self, x: Any, y: Any) -> dict[str, Any]:
        return {"x": x, "y": y, "less": self.less(x, y)}


ASCENDING = Comparer(lambda x, y: x < y)


@pytest.mark.parametrize("name", ["Sort", "SortStable"])
@given(st.lists(st.integers()))
def test_sort_orders(name: str, values: list[int]) -> None:
    assert call(PATH, name, unify, values, ASCENDING) == sorted(values)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers())))
def test_sort_keeps_what_is_equal_in_order(pairs: list[tuple[int, int]]) -> None:
    values = [list(pair) for pair in pairs]
    comparer = Comparer(lambda x, y: x[0] < y[0])
    assert call(PATH, "SortStable", unify, values, comparer) == sorted(values, key=lambda v: v[0])


def test_sort_by_what_is_no_order_is_an_insertion_sort() -> None:
    assert call(PATH, "Sort", unify, [3, 1, 2], Comparer(lambda x, y: True)) == [2, 1, 3]


def test_a_comparer_without_less_is_refused() -> None:
    comparer = Comparer(lambda x, y: True)
    text = refusal(PATH, "Sort", lambda template, value: value, [2, 1], comparer)
    assert text == "the comparer has no field less; expected {x: _, y: _, less: …}"


def test_a_comparer_that_answers_no_bool_is_refused() -> None:
    text = refusal(PATH, "Sort", unify, [2, 1], Comparer(lambda x, y: "a"))
    assert text == "the comparer's field less is of type string; expected bool"


@pytest.mark.parametrize("kind", [Kind.BOOL, Kind.TOP, Kind.BOTTOM])
def test_a_comparer_that_is_not_concrete_is_waited_for(kind: Kind) -> None:
    with pytest.raises(NotConcrete):
        call(PATH, "Sort", unify, [2, 1], Comparer(lambda x, y: Undecided(kind)))


@pytest.mark.parametrize(
    ("values", "expected"), [([], True), ([1, 2, 2], True), ([1, 3, 2], False)]
)
def test_is_sorted(values: list[int], expected: bool) -> None:
    assert call(PATH, "IsSorted", unify, values, ASCENDING) is expected


def test_what_cannot_be_compared_is_not_sorted() -> None:
    assert call(PATH, "IsSorted", unify, [1, 2], Comparer(lambda x, y: "a")) is False


def test_what_cannot_be_compared_yet_is_not_sorted() -> None:
    comparer = Comparer(lambda x, y: Undecided(Kind.BOOL))
    assert call(PATH, "IsSorted", unify, [1, 2], comparer) is False


@pytest.mark.parametrize("name", ["Comparer", "Ascending", "Descending"])
def test_comparers_are_written_in_cue(name: str) -> None:
    found = package(PATH)
    assert found is not None
    assert isinstance(found.members[name], CueMember)


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("Sum", ([Decimal("1.5"), Decimal("1.5")],), Kind.INT),
        ("Sum", ([Decimal("1.5"), 1],), Kind.FLOAT),
        ("Max", ([1, Decimal("2.0")],), Kind.INT),
        ("Avg", ([1, 2],), Kind.FLOAT),
    ],
)
def test_a_result_without_fraction_is_an_int(
    name: str, arguments: tuple[Any, ...], kind: Kind
) -> None:
    assert kind_of(call(PATH, name, *arguments)) is kind


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Range", (0, 10**9, 1)),
        ("Range", (Decimal("1e30"), Decimal("2e30"), 1)),
        ("Repeat", ([1, 2], 10**9)),
        ("Concat", ([[1] * 600_000] * 2,)),
        ("FlattenN", ([[1] * 600_000] * 2, 1)),
    ],
)
def test_hostile_sizes_are_refused(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TooLarge):
        call(PATH, name, *arguments)


def test_a_step_that_changes_nothing_is_refused() -> None:
    reason = refusal(PATH, "Range", 10**30, 10**30 + 5, 1)
    assert reason == "the step is too small to change 1.00000000000000000000000E+30"


def test_a_deep_list_is_flattened_without_recursion() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep, 1]
    assert call(PATH, "FlattenN", deep, -1) == [1] * 100_000


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Range", (Decimal("-9e100000"), Decimal("9e100000"), 1)),
        ("Product", ([Decimal("1e100000")] * 2,)),
    ],
)
def test_an_exponent_out_of_range_is_refused(name: str, arguments: tuple[Any, ...]) -> None:
    assert "exponent is out of range" in refusal(PATH, name, *arguments)


def test_elements_that_are_not_concrete_are_handed_on() -> None:
    undecided = Undecided(Kind.INT)
    assert call(PATH, "Concat", [[undecided], [1]]) == [undecided, 1]


@pytest.mark.parametrize("name", ["Concat", "FlattenN"])
def test_a_list_that_may_come_is_waited_for(name: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "Concat": ([Undecided(Kind.TOP)],),
        "FlattenN": (Undecided(Kind.TOP), 1),
    }
    with pytest.raises(NotConcrete):
        call(PATH, name, *arguments[name])


def test_what_cannot_become_a_list_is_refused() -> None:
    reason = refusal(PATH, "Concat", [Undecided(Kind.INT)])
    assert reason == "element 0 is of type int; expected a list"


def test_contains_waits_for_what_to_look_for() -> None:
    with pytest.raises(NotConcrete):
        call(PATH, "Contains", [1], Undecided(Kind.INT))


def test_contains_passes_over_what_is_not_concrete() -> None:
    assert call(PATH, "Contains", [Undecided(Kind.INT), {"a": 1, "b": 2}], {"b": 2, "a": 1})


def test_what_is_not_concrete_is_unique_by_its_text() -> None:
    undecided = Undecided(Kind.INT)
    assert call(PATH, "UniqueItems", [undecided, Undecided(Kind.STRING)]) is True
    assert call(PATH, "UniqueItems", [undecided, Undecided(Kind.INT)]) is False
