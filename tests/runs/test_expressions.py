"""Tests of `connect.runs.expressions`."""

import pytest

from connect.runs.errors import ExpressionError
from connect.runs.expressions import Expression

EVENT = {
    "name": "paid",
    "data": {"n": 100, "f": 1.5, "s": "abc", "l": [1, "a"], "none": None, "t": True, "big": 2**70},
}


@pytest.mark.parametrize(
    "text",
    [
        "event.data.n == 100",
        "event.data.n > 99.5",
        "event.data.n == 100.0 && event.data.f < 2",
        "event.data.s == 'abc'",
        "event.data.s != 100",
        "event.data.none == null",
        "event.data.n != null",
        "event.data.l.exists(x, x == 'a')",
        "event.data.t",
        "event.data.big > 1",
        "!has(event.data.missing)",
        "event.data.missing == 1 || event.name == 'paid'",
    ],
)
def test_an_expression_that_holds_matches(text: str) -> None:
    assert Expression(text).matches(event=EVENT)


@pytest.mark.parametrize(
    "text",
    [
        "event.data.n == 99",
        "event.data.s == 100",
        "event.data.missing == 1",
        "event.data.l[7] == 1",
        "event.data.s < 100",
        "1 / 0 == 1",
        "event.data.missing.deeper < 1",
    ],
)
def test_an_expression_that_does_not_fit_the_event_does_not_match(text: str) -> None:
    assert not Expression(text).matches(event=EVENT)


def test_two_events_can_be_compared() -> None:
    expression = Expression("event.data.id == async.data.id")

    assert expression.matches(**{"event": {"data": {"id": 1}}, "async": {"data": {"id": 1}}})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("event.data.n ==", "syntax error at line 1, column 14"),
        ("event ? ? 1", "syntax error at line 1, column 9"),
        ("1 == " * 2000 + "1", "longer than 4096 characters"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression(text)

    assert caught.value.reason == reason


def test_an_expression_nested_too_deeply_is_refused_or_does_not_match() -> None:
    text = "(" * 2000 + "true" + ")" * 2000

    def usable() -> bool:
        try:
            return Expression(text).matches(event={})
        except ExpressionError:
            return False

    assert not usable()


def test_an_unknown_variable_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ExpressionError, match="undeclared reference to 'user'; there is event"):
        Expression("user.id == 1").matches(event=EVENT)


def test_an_expression_must_be_true_or_false() -> None:
    with pytest.raises(ExpressionError, match="its value is neither true nor false"):
        Expression("event.data.s").matches(event=EVENT)


def test_an_event_nested_too_deeply_does_not_match() -> None:
    value: list[object] = []
    for _ in range(10_000):
        value = [value]

    assert not Expression("event.data == 1").matches(event={"data": value})
