"""Cycles and layers of steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cycles import cycles, layer_numbers


@pytest.mark.parametrize(
    ("parents", "found"),
    [
        ({}, ()),
        ({"a": [], "b": ["a"], "c": ["a", "b"]}, ()),
        ({"a": ["nowhere"]}, ()),
        ({"a": ["a"]}, (("a",),)),
        ({"a": ["b"], "b": ["a"]}, (("a", "b"),)),
        ({"a": ["c"], "b": ["a"], "c": ["b"]}, (("a", "b", "c"),)),
        ({"x": [], "a": ["c", "x"], "b": ["a"], "c": ["b"], "d": ["c"]}, (("a", "b", "c"),)),
        ({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}, (("a", "b"), ("c", "d"))),
        ({"a": ["b", "a"], "b": ["a"]}, (("a",), ("a", "b"))),
        ({"a": ["b", "c"], "b": ["c"], "c": ["a"]}, (("a", "c"),)),
    ],
)
def test_each_group_of_steps_in_a_circle_gives_one_cycle(
    parents: dict[str, list[str]], found: tuple[tuple[str, ...], ...]
) -> None:
    assert cycles(parents) == found


def test_a_long_chain_takes_no_recursion() -> None:
    parents = {str(n): [str(n - 1)] for n in range(1, 20_000)}
    assert cycles({"0": ["19999"], **parents})[0][:3] == ("0", "1", "2")


def test_a_layer_is_the_longest_way_from_the_trigger() -> None:
    parents = {"d": ["a", "c"], "c": ["b"], "b": ["a"], "a": [], "e": ["unknown"]}
    assert layer_numbers(parents) == {"d": 3, "c": 2, "b": 1, "a": 0, "e": 0}


graphs = st.integers(0, 7).flatmap(
    lambda size: st.fixed_dictionaries(
        {str(n): st.lists(st.integers(0, 7).map(str), max_size=4) for n in range(size)}
    )
)


@given(graphs)
def test_every_cycle_is_one_in_the_graph(parents: dict[str, list[str]]) -> None:
    for cycle in cycles(parents):
        for before, step in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
            assert before in parents[step]


@given(graphs)
def test_a_graph_without_cycles_can_be_put_in_order(parents: dict[str, list[str]]) -> None:
    rest = dict(parents)
    while ready := [step for step in rest if not rest.keys() & set(rest[step])]:
        for step in ready:
            del rest[step]
    assert (cycles(parents) == ()) is (not rest)
