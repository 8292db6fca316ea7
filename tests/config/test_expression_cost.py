"""The bound of what an expression may cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.expression_cost import DataSize, cost_of, data_size

SMALL = DataSize(characters=500, nodes=50, longest=10)


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("event.data.n == 1", 0),
        ("event.l.all(x, x > 1)", 1),
        ("event.l.exists (x, event.m.map(y, y)[0] == x)", 2),
        ("event.l // why\n.filter( x, true)", 1),
        ("event.map == 'a.map(x, x)'", 0),
        (r"""r"\" == event.x.map(x, x)[0]""", 1),
        (r"""br'\' == event.x.map(x, x)[0]""", 1),
        (r"""'\'.map(x, x)' == event.x""", 0),
        ('"""a" .map(x, x)""" == event.x', 0),
        ("event.`a'b`.map(x, x) == ['']", 1),
    ],
)
def test_loops_are_counted_outside_of_texts_and_comments(text: str, loops: int) -> None:
    assert cost_of(text).loops == loops


@pytest.mark.parametrize(
    ("literal", "pattern"),
    [
        ("'^a.c$'", "^a.c$"),
        (r"'\\d+'", r"\d+"),
        (r"r'\d+'", r"\d+"),
        (r"R'''\d'+'''", r"\d'+"),
        ('"""a"b"""', 'a"b'),
        (r"'\x41\u0042\U00000043\104\n\'\q'", "ABCD\n'q"),
        (r"'\Uffffffff\ud800'", "\ufffd\ufffd"),
        ("''", ""),
    ],
)
def test_patterns_are_found_as_the_texts_that_they_are(literal: str, pattern: str) -> None:
    [found] = cost_of(f"event.s.matches({literal})").patterns
    assert (found.text, found.offset) == (pattern, 16)


@pytest.mark.parametrize("argument", ["event.p", "'a' + event.p", "('a')"])
def test_a_pattern_from_elsewhere_is_counted_as_unknown(argument: str) -> None:
    cost = cost_of(f"event.s.matches({argument})")
    assert (cost.patterns, cost.unknown_patterns) == ((), 1)


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        ("event.a == 'a' && 5 < event.b && event.c != null && 1.5 >= event.d", 0),
        ("event.a == event.b || event.a<=event.b", 2),
        ("event.a in event.l", 1),
        ("has(event.a) && event.l.exists(x, x == 1)", 0),
        ("size(event.a) > 1 && event.a.startsWith('a')", 2),
    ],
)
def test_what_may_look_at_all_of_the_data_is_counted(text: str, operations: int) -> None:
    assert cost_of(text).operations == operations


@pytest.mark.parametrize(
    ("text", "searches"), [("event.a.contains('a')", 0), ("event.a.contains(event.b)", 1)]
)
def test_searches_for_what_is_not_known_are_counted(text: str, searches: int) -> None:
    assert cost_of(text).searches == searches


def test_the_size_of_data_counts_all_levels() -> None:
    value: object = {"name": "abc", "l": [1, None, ("x", {"k": []})]}
    assert data_size(value) == DataSize(characters=3 + 1 + 5 + 1, nodes=9, longest=3)


@pytest.mark.parametrize(
    ("text", "data", "affordable"),
    [
        ("event.a == event.b", DataSize(500_000, 250_000, 250_000), True),
        ("event.l.all(x, x)", SMALL, True),
        ("event.l.all(x, x)", DataSize(500_000, 50, 1000), False),
        ("event.l.all(x, event.l.all(y, y == x))", SMALL, True),
        ("event.l.all(x, event.l.all(y, y == x))", DataSize(5000, 5000, 1000), False),
        ("event.a + event.b + event.c == event.d", SMALL, True),
        ("event.a + event.b + event.c + event.d == event.e", DataSize(1, 250_000, 1), False),
        ("event.l.all(x, x.matches('a'))", DataSize(5000, 1000, 1000), True),
        ("event.l.all(x, x.matches(event.p))", DataSize(500, 100, 100), False),
        ("event.a.matches(event.p)", SMALL, True),
        ("event.a.contains(event.p)", SMALL, True),
        ("event.a.contains(event.p)", DataSize(500_000, 5, 5), False),
        ("event.a.contains('p')", DataSize(500_000, 5, 5), True),
        ("event.l.all(x, x == 'a' || x == 'b')", DataSize(50_000, 5000, 1000), True),
        (
            "event.l.all(x, " + " || ".join(["event.l == event.m"] * 60) + ")",
            DataSize(10, 9000, 1000),
            False,
        ),
        ("[" + "1," * 2000 + "1].all(x, event.s != '')", DataSize(100_000, 1, 1), False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_affordable_depends_on_loops_sums_and_data(
    text: str, data: DataSize, affordable: bool
) -> None:
    assert cost_of(text).affordable(data) is affordable


@given(st.text("ab'\"\\r`/ \n.(),+map{}", max_size=60))
def test_any_text_has_a_cost(text: str) -> None:
    assert cost_of(text).length == len(text)
