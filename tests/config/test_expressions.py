"""CEL expressions over events."""

import subprocess
import sys
import time
from decimal import Decimal

import pytest

from connect.config.expressions import Expression, ExpressionError
from connect.runs import errors as run_errors
from connect.runs.expressions import Expression as RunExpression

EVENT = {
    "name": "paid",
    "data": {
        "n": 100,
        "f": 1.5,
        "s": "abc",
        "l": [1, "a"],
        "none": None,
        "t": True,
        "big": 2**70,
        "d": Decimal("2.5"),
        "w": Decimal("7.0"),
        "huge": 10**400,
        "half": "\ud800",
        "u": "€",
        "odd": object(),
    },
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
        "event.data.l == [1.0, 'a']",
        "1.0 in event.data.l && !(2 in event.data.l)",
        "'n' in event.data && !('m' in event.data)",
        "has(event.data.none)",
        "event.data.s.startsWith('a') && event.data.s.endsWith('c') && event.data.s.contains('b')",
        "event.data.s.matches('^a.c$')",
        "timestamp('2026-01-01T00:00:00Z') + duration('36h') < timestamp('2026-01-03T00:00:00Z')",
        "timestamp('2026-01-01T05:00:00Z').getHours('Europe/Berlin') == 6",
        "(event.data.n > 5 ? 'many' : 'few') == 'many'",
        "event.data.l.all(x, x != 2) && event.data.l.map(x, x).size() == 2",
        "event.data.d == 2.5 && event.data.w == 7",
        "event.data.huge > 1.0e300",
        "event.data.half == '?'",
        "event.data.u == '\u20ac'",
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
        "event.data.none > 1",
        "event.data.odd == 1",
        "event.data.n == 100 && event.data.missing",
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
        ("event.data.n ==", "syntax error at line 1, column 16: unexpected end"),
        ("event ? ? 1", "syntax error at line 1, column 9: unexpected '?'"),
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
        Expression("user.id == 1", ("event",))


def test_an_expression_must_be_true_or_false() -> None:
    with pytest.raises(ExpressionError, match="its value is neither true nor false"):
        Expression("event.data.s").matches(event=EVENT)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("'always'", "a string"),
        ("1 + 1", "a number"),
        ("[event]", "a list"),
        ("{'a': true}", "an object"),
        ("null", "null"),
        ("event.data.t ? 1u : 2u", "a number"),
        ("timestamp('2026-01-01T00:00:00Z')", "a time"),
    ],
)
def test_an_expression_that_never_is_true_or_false_does_not_compile(text: str, kind: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression(text)
    assert caught.value.reason == f"its value is always {kind}; expected true or false"


def test_an_expression_whose_type_shows_only_with_an_event_compiles() -> None:
    assert Expression("event.data.t").matches(event=EVENT)


def test_an_event_nested_too_deeply_does_not_match() -> None:
    value: list[object] = []
    for _ in range(10_000):
        value = [value]

    assert not Expression("event.data == 1").matches(event={"data": value})


@pytest.mark.parametrize(
    ("text", "reason", "place"),
    [
        ("sise(event) == 1",
         "undeclared reference to 'sise'; there is async, event; did you mean 'size'?"
         " (line 1, column 1)", (1, 1)),
        ("true &&\n  evnt.data.n == 1",
         "undeclared reference to 'evnt'; there is async, event; did you mean 'event'?"
         " (line 2, column 3)", (2, 3)),
        ("steps.a.ok",
         "undeclared reference to 'steps'; there is async, event (line 1, column 1)", (1, 1)),
        ("event.data.n = 1", "syntax error at line 1, column 14: unexpected '='", (1, 14)),
        ("event.data. == 1",
         "syntax error at line 1, column 13: no viable alternative at input '. =='", (1, 13)),
        ("1 == 'a'",
         "found no matching overload for '_==_' applied to '(int, string)' (line 1, column 3)",
         (1, 3)),
        ("event.data.s.matches('(')",
         "missing ): ( (a pattern at line 1, column 22)", (1, 22)),
        ("!" * 100 + "(" * 100, "nested too deeply, or too many operators in a row", (0, 0)),
        ("", "syntax error at line 1, column 1: unexpected end", (1, 1)),
        (r"'a'.matches('\ud800')",
         r"Invalid string literal: Illegal escape sequence: Unicode value \ud800 is invalid"
         " (line 1, column 13)", (1, 13)),
        ("'\ud800' == ''", "half of a surrogate pair, which is no text", (0, 0)),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_what_does_not_compile_is_refused_with_reason_and_place(
    text: str, reason: str, place: tuple[int, int]
) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression(text)
    error = caught.value
    assert (error.reason, (error.line, error.column)) == (reason, place)


def test_a_pattern_that_takes_long_to_compile_is_refused() -> None:
    with pytest.raises(ExpressionError, match="pattern too large"):
        Expression(r"event.data.s.matches('\\pL{500}')")


def test_a_variable_without_a_value_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ExpressionError, match="undeclared reference to 'async'; there is event"):
        Expression("async.id == 1").matches(event=EVENT)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("event.data.missing == 1", 'Key not found in map : "missing"'),
        ("event.data.l[7] == 1", "Index error: index=7 size=2"),
        ("event.data.n > 1", None),
        ("event.data.n > 1000", None),
    ],
)
def test_why_an_expression_could_not_be_evaluated_is_told(text: str, reason: str | None) -> None:
    assert Expression(text).outcome(event=EVENT).reason == reason


def test_a_loop_of_too_many_turns_does_not_match() -> None:
    loops = "[1,2,3,4,5,6,7,8,9,0,1,2,3]"
    text = "true"
    for name in "abcd":
        text = f"{loops}.all({name}, {text})"
    assert not Expression(text).matches(event={})


@pytest.mark.parametrize(
    "text",
    [
        "event.data.l.exists(x, event.data.s.contains('ab'))",
        "event.data.l.all(x, event.data.l == event.data.l)",
        "event.data.l.exists(x, (event.data.l + event.data.l)[0] == 9)",
        "event.data.l.exists(x, 'a'.matches(event.data.s))",
    ],
)
def test_what_could_take_long_with_a_large_event_is_refused_at_once(text: str) -> None:
    large = {"data": {"l": list(range(9000)), "s": "a" * 200_000}}
    expression = Expression(text)
    began = time.perf_counter()
    outcome = expression.outcome(event=large)
    assert (outcome.holds, outcome.refused) == (False, True)
    assert time.perf_counter() - began < 1


def test_a_simple_condition_may_look_into_a_large_event() -> None:
    large = {"data": {"l": list(range(9000)), "s": "a" * 200_000}}
    assert Expression("event.data.l[5] == 5 && event.data.s != ''").matches(event=large)


def test_a_loop_may_look_at_a_thousand_entries() -> None:
    items = [{"sku": f"sku-{n}", "price": n, "tags": ["a", "b"]} for n in range(1000)]
    expression = Expression("event.data.items.exists(item, item.sku == 'sku-999')")
    assert expression.matches(event={"data": {"items": items}})


def test_runs_use_the_same_expressions_and_errors() -> None:
    assert (RunExpression, run_errors.ExpressionError) == (Expression, ExpressionError)


def test_the_library_is_imported_with_the_first_expression() -> None:
    code = (
        "import sys, connect.config.functions, connect.config.definitions, connect.config.graph;"
        "connect.config.functions.parse_functions(b'[]');"
        "print([name for name in ('cel_expr_python', 're2', 'cronsim') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
