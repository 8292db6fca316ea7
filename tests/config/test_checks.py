"""What is checked of a definition beyond its schema."""

from decimal import Decimal
from typing import Any

import pytest

from connect.config.checks import check_function, check_functions
from connect.config.faults import FunctionFault, nearest, path_text


def function(**settings: Any) -> dict[str, Any]:
    return {"id": "fn", "name": "Fn", "triggers": [{"event": "e"}], **settings}


def steps(**after: list[Any]) -> dict[str, Any]:
    """Return a function with these steps, and what each comes after."""
    return function(
        steps={key: {"id": key, "after": entries} for key, entries in after.items()},
    )


def reasons(value: object) -> list[tuple[str, str]]:
    """Return path and reason of each fault."""
    return [(fault.path, fault.reason) for fault in check_function(value)]


COMPLETE = function(
    triggers=[
        {"event": "shop/order.*", "expression": "event.data.total > 10"},
        {"event": "e", "definition": {"format": "json-schema", "synced": False, "def": {}}},
        {"cron": "TZ=Europe/Berlin 0 9 * * MON-FRI", "jitter": "5m"},
    ],
    concurrency=3,
    idempotency="event.data.id",
    throttle={"count": 5, "period": "1h", "key": "event.data.id"},
    cancel=[{"event": "shop/order.*", "timeout": "1w", "if": "event.data.id == async.data.id"}],
    steps={
        "first": {
            "id": "first",
            "name": "First",
            "path": "./first.js",
            "runtime": {"type": "http", "url": "https://example.com"},
            "after": [{"step": "$trigger"}],
            "version": {"major": 1, "minor": 0},
            "retries": {"attempts": 20},
        },
        "second": {
            "id": "second",
            "after": [
                {
                    "step": "first",
                    "if": "steps.first.ok && response.ok && event.data.total > 5",
                    "wait": "1h30m",
                    "async": {
                        "ttl": "1d",
                        "event": "shop/paid",
                        "match": "async.data.id == event.data.id && steps.first.ok",
                        "onTimeout": True,
                    },
                }
            ],
        },
    },
)


def test_a_complete_definition_has_no_fault() -> None:
    assert check_function(COMPLETE) == ()


@pytest.mark.parametrize("function_id", ["x" * 256, "shop/a b", "żółw ☃"])
def test_an_id_may_be_anything_that_a_line_can_hold(function_id: str) -> None:
    assert check_function(function(id=function_id)) == ()


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (function(triggers=[{"event": "a*b"}]), "triggers[0].event",
         "a star may only end a pattern, as in 'shop/order.*'"),
        (function(triggers=[{"event": "e", "expression": "event.data ="}]),
         "triggers[0].expression", "syntax error at line 1, column 12: unexpected '='"),
        (function(triggers=[{"event": "e", "expression": "async.id == 1"}]),
         "triggers[0].expression",
         "undeclared reference to 'async'; there is event (line 1, column 1)"),
        (function(triggers=[{"event": "e", "expression": "x" * 5000}]),
         "triggers[0].expression", "longer than 4096 characters"),
        (function(triggers=[{"event": "e", "definition": {"format": "xml"}}]),
         "triggers[0].definition.format", "'xml'; expected cue or json-schema"),
        (function(triggers=[{"cron": "0 0 30 2 *"}]), "triggers[0].cron",
         "the day '30' never comes in the month '2'"),
        (function(triggers=[{"cron": "TZ=Europe/Brelin 0 0 * * *"}]), "triggers[0].cron",
         "no time zone is named 'Europe/Brelin'; expected one such as Europe/Berlin;"
         " did you mean 'Europe/Berlin'?"),
        (function(triggers=[{"cron": "TZ=Xxxxxxxxxxxxx 0 0 * * *"}]), "triggers[0].cron",
         "no time zone is named 'Xxxxxxxxxxxxx'; expected one such as Europe/Berlin"),
        (function(triggers=[{"cron": "@daily", "jitter": "5 m"}]), "triggers[0].jitter",
         "unknown unit ' m'; units are w, d, h, m, s, ms, us and ns;"
         " expected something like 10s, 1h30m, 500ms or 7d"),
        (function(throttle={"count": 1, "period": "soon"}), "throttle.period",
         "no number at 'soon'; expected something like 10s, 1h30m, 500ms or 7d"),
        (function(cancel=[{"event": "a b"}]), "cancel[0].event",
         "a name of events has no spaces; expected something like 'shop/order.created'"),
        (function(cancel=[{"event": "e", "if": "evnt.id == 1"}]), "cancel[0].if",
         "undeclared reference to 'evnt'; there is async, event; did you mean 'event'?"
         " (line 1, column 1)"),
        (function(cancel=[{"event": "e", "timeout": "2030-01-02T03:04"}]), "cancel[0].timeout",
         "unknown unit '-'; units are w, d, h, m, s, ms, us and ns;"
         " expected something like 10s, 1h30m, 500ms or 7d"),
        (function(steps={"a": {"id": "b"}}), "steps.a.id", "'b'; expected the step's key, 'a'"),
        (function(steps={"$trigger": {"id": "$trigger"}}), "steps.$trigger",
         "'$trigger' stands for the trigger; expected another id"),
        (function(steps={"a": {"id": "a", "version": {"major": -1}}}), "steps.a.version.major",
         "-1; expected a whole number of 0 or more"),
        (steps(first=[], second=[{"step": "frist"}]), "steps.second.after[0].step",
         "there is no step 'frist'; did you mean 'first'?"),
        (steps(first=[{"step": "$triger"}]), "steps.first.after[0].step",
         "there is no step '$triger'; did you mean '$trigger'?"),
        (steps(first=[{"step": "other"}]), "steps.first.after[0].step",
         "there is no step 'other'; expected the id of a step, or '$trigger'"),
        (steps(first=[{}]), "steps.first.after[0].step", "missing; expected a string"),
        (steps(first=[5]), "steps.first.after[0]", "a number; expected an object"),
        (steps(a=[{"step": "a"}]), "steps.a.after[0].step",
         "the step 'a' cannot come after itself"),
        (steps(a=[{"step": "$trigger"}, {"step": "c"}], b=[{"step": "a"}], c=[{"step": "b"}]),
         "steps.a.after[1].step", "steps form a cycle: a → b → c → a"),
        (steps(a=[{"step": "$trigger", "if": "async.id == 1"}]), "steps.a.after[0].if",
         "undeclared reference to 'async'; there is event, response, steps (line 1, column 1)"),
        (steps(a=[{"step": "$trigger", "wait": "-1h"}]), "steps.a.after[0].wait",
         "no number at '-1h'; expected something like 10s, 1h30m, 500ms or 7d"),
        (steps(a=[{"step": "$trigger", "async": {"event": "e"}}]), "steps.a.after[0].async.ttl",
         "missing; expected a string"),
        (steps(a=[{"step": "$trigger", "async": {"event": "e", "ttl": "1"}}]),
         "steps.a.after[0].async.ttl",
         "no unit after 1; expected something like 10s, 1h30m, 500ms or 7d"),
        (steps(a=[{"step": "$trigger", "async": {"event": "e", "ttl": "1s", "match": "("}}]),
         "steps.a.after[0].async.match", "syntax error at line 1, column 2: unexpected end"),
        (steps(a=[{"step": "$trigger", "async": {"event": "e", "ttl": "1s", "onTimeout": 1}}]),
         "steps.a.after[0].async.onTimeout", "a number; expected a boolean"),
        (function(concurrency=Decimal("1.50")), "concurrency",
         "1.50; expected a whole number of 0 or more"),
        (function(name=Decimal("1.50")), "name", "a number; expected a string"),
        (function(id="x" * 257), "id", "longer than 256 characters"),
        (function(id="a\nb"), "id", "an id has no line breaks and no control characters"),
        (function(id="a\u2028b"), "id", "an id has no line breaks and no control characters"),
        ([], "", "a list; expected an object"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "-",
)  # fmt: skip
def test_a_fault_has_path_and_reason(value: object, path: str, reason: str) -> None:
    assert reasons(value) == [(path, reason)]


def test_a_long_cycle_is_named_by_its_beginning() -> None:
    chain = {f"s{n}": [{"step": f"s{n - 1}"}] for n in range(1, 30)}
    [(_, reason)] = reasons(steps(s0=[{"step": "s29"}], **chain))
    assert reason.endswith(" s0 → s1 → s2 → s3 → s4 → s5 → s6 → s7 → s8 → s9 → … → s0")


def test_a_fault_has_its_path_as_keys_too() -> None:
    [fault] = check_function(steps(a=[{"step": "$trigger"}, {"step": "b"}]))
    assert fault.keys == ("steps", "a", "after", 1, "step")


def test_every_fault_is_found() -> None:
    value = steps(a=[{"step": "b", "if": "("}], b=[{"step": "a", "wait": "x"}])
    value |= {"triggers": [{"cron": "x"}, {"event": ""}], "cancel": [{"event": "*x"}]}
    assert [fault.path for fault in check_function(value)] == [
        "triggers[0].cron",
        "triggers[1].event",
        "steps.a.after[0].if",
        "steps.b.after[0].wait",
        "steps.a.after[0].step",
        "cancel[0].event",
    ]


def test_ids_are_unique_over_all_functions() -> None:
    same = "another function of the list has the same id"
    assert check_functions([function(), function(id="other"), function(), function(id="")]) == (
        (),
        (),
        (FunctionFault("fn", "id", same, ("id",)),),
        (FunctionFault("#4", "id", "an empty string", ("id",)),),
    )


def test_several_functions_without_id_are_not_the_same() -> None:
    found = check_functions([{"triggers": []}, {"triggers": []}])
    assert [fault.reason for faults in found for fault in faults] == [
        "missing; expected a string",
        "missing; expected a string",
    ]


def test_suggestions_end_when_there_are_too_many_faults() -> None:
    value = steps(first=[{"step": "frist"}] * 30)
    assert sum("did you mean" in reason for _, reason in reasons(value)) == 20


def test_the_nearest_name_is_one_that_looks_like_it() -> None:
    assert (nearest("charge", ["refund", "chrage"]), nearest("x", ["yyy"])) == ("chrage", None)


def test_a_path_is_written_as_people_do() -> None:
    assert path_text(("steps", "a", "after", 0, "if")) == "steps.a.after[0].if"
