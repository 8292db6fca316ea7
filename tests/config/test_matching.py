"""Which functions an event starts, and which runs it cancels."""

import json
from typing import Any

import pytest

from connect.config.definitions import Cancel, Function
from connect.config.expressions import ExpressionError
from connect.config.functions import parse_functions
from connect.config.matching import StartedRun, cancels, matching
from connect.config.triggers import EventTrigger

EVENT = {"id": "1", "name": "shop/order.created", "data": {"total": 20, "id": 7}, "ts": 5_000}


def made(*triggers: dict[str, Any], **settings: Any) -> Function:
    return Function.from_json({"id": "fn", "triggers": list(triggers), **settings})


@pytest.mark.parametrize(
    "trigger",
    [
        {"event": "shop/order.created"},
        {"event": "shop/*"},
        {"event": "*"},
        {"event": "shop/order.created", "expression": "event.data.total > 10"},
        {"event": "shop/order.created", "expression": "event.name.startsWith('shop/')"},
    ],
    ids=str,
)
def test_an_event_starts_a_function(trigger: dict[str, Any]) -> None:
    [match] = matching([made(trigger)], EVENT)
    assert (match.starts, match.reason) == (True, "")


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        ({"event": "app/other"}, "it waits for 'app/other'"),
        (
            {"event": "shop/order.crated"},
            "it waits for 'shop/order.crated';"
            " the event's name 'shop/order.created' looks much like it",
        ),
        ({"cron": "@daily"}, "it runs by the schedule '@daily'"),
        (
            {"event": "shop/*", "expression": "event.data.total > 100"},
            "'event.data.total > 100' does not hold",
        ),
        (
            {"event": "shop/*", "expression": "event.data.amount > 100"},
            "'event.data.amount > 100' cannot be evaluated: Key not found in map : \"amount\"",
        ),
        (
            {"event": "shop/*", "expression": "event.data.total"},
            "the expression 'event.data.total' is not usable: its value is neither true nor false",
        ),
    ],
    ids=str,
)
def test_why_an_event_does_not_start_a_function_is_told(
    trigger: dict[str, Any], reason: str
) -> None:
    [match] = matching([made(trigger)], EVENT)
    assert (match.starts, match.reason) == (False, reason)


def test_an_event_without_a_name_starts_nothing() -> None:
    [match] = matching([made({"event": "*"})], {"data": {}})
    assert match.reason == "it waits for '*'"


def test_a_function_without_triggers_is_started_by_no_event() -> None:
    [match] = matching([made()], EVENT)
    assert match.reason == "it has no triggers"


def test_the_first_trigger_that_fits_starts_a_function() -> None:
    function = made({"event": "app/other"}, {"event": "shop/*"}, {"event": "*"})
    [match] = matching([function], EVENT)
    assert match.trigger == EventTrigger("shop/*")
    assert [mismatch.trigger for mismatch in match.mismatches] == [EventTrigger("app/other")]


def test_each_trigger_that_does_not_fit_has_its_reason() -> None:
    [match] = matching([made({"cron": "@daily"}, {"event": "app/other"})], EVENT)
    assert match.reason == "it runs by the schedule '@daily'; it waits for 'app/other'"


def test_registered_functions_match_like_defined_ones() -> None:
    data = [{"id": "a", "triggers": [{"event": "shop/*"}]}, {"id": "b", "triggers": []}]
    first, second = matching(parse_functions(json.dumps(data).encode()), EVENT)
    assert (first.function.slug, first.starts) == ("a", True)
    assert (second.function.slug, second.starts) == ("b", False)


RUN = StartedRun(event={"id": "0", "name": "shop/order.created", "data": {"id": 7}}, started=1.0)


def cancelling(**rule: Any) -> Cancel | None:
    """Return the rule by which the event cancels the run."""
    return cancels(made(cancel=[{"event": "shop/order.created", **rule}]), EVENT, RUN)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"event": "shop/*"},
        {"if": "event.data.id == async.data.id"},
        {"if": "async.data.total == 20 && !has(event.data.total)"},
        {"timeout": "4s"},
        {"timeout": "1970-01-01T00:00:05Z"},
    ],
    ids=str,
)
def test_an_event_cancels_a_run(rule: dict[str, Any]) -> None:
    assert cancelling(**rule) is not None


@pytest.mark.parametrize(
    "rule",
    [
        {"event": "shop/order.deleted"},
        {"if": "event.data.id != async.data.id"},
        {"if": "event.data.missing == async.data.missing"},
        {"timeout": "3s"},
        {"timeout": "1970-01-01T00:00:04Z"},
    ],
    ids=str,
)
def test_an_event_leaves_a_run_alone(rule: dict[str, Any]) -> None:
    assert cancelling(**rule) is None


def test_the_first_rule_that_applies_is_told() -> None:
    function = made(cancel=[{"event": "other"}, {"event": "shop/*"}, {"event": "*"}])
    assert cancels(function, EVENT, RUN) == Cancel("shop/*")


def test_a_function_without_rules_is_never_cancelled() -> None:
    assert cancels(made(), EVENT, RUN) is None


def test_the_event_that_started_a_run_does_not_cancel_it() -> None:
    run = StartedRun(event=EVENT, started=1.0)
    assert cancels(made(cancel=[{"event": "*"}]), EVENT, run) is None


def test_an_event_from_before_a_run_does_not_cancel_it() -> None:
    run = StartedRun(event={"id": "0"}, started=6.0)
    assert cancels(made(cancel=[{"event": "*"}]), EVENT, run) is None


def test_when_an_event_came_counts_more_than_its_own_time() -> None:
    function = made(cancel=[{"event": "*", "timeout": "3s"}])
    assert cancels(function, EVENT, RUN, now=3.5) == Cancel("*", "3s")


def test_an_event_without_a_time_comes_at_the_start_of_the_run() -> None:
    function = made(cancel=[{"event": "*", "timeout": "0"}])
    assert cancels(function, {"name": "e"}, RUN) == Cancel("*", "0")


def test_an_event_without_a_name_cancels_nothing() -> None:
    assert cancels(made(cancel=[{"event": "*"}]), {"data": {}}, RUN) is None


def test_a_rule_that_applies_counts_more_than_a_condition_that_is_none() -> None:
    function = made(cancel=[{"event": "*", "if": "event.data.id"}, {"event": "shop/*"}])
    assert cancels(function, EVENT, RUN) == Cancel("shop/*")


def test_a_condition_that_is_neither_true_nor_false_is_an_error() -> None:
    with pytest.raises(ExpressionError, match="neither true nor false"):
        cancelling(**{"if": "event.data.id"})
