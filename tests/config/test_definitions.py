"""Functions as typed objects."""

from dataclasses import FrozenInstanceError

import pytest

from connect.config.definitions import (
    After,
    Async,
    Cancel,
    CronTrigger,
    EventTrigger,
    Function,
    Retries,
    Runtime,
    Step,
    Throttle,
    Version,
)
from connect.config.faults import FunctionConfigError
from tests.config.test_checks import COMPLETE, function


def test_a_complete_definition_becomes_objects() -> None:
    made = Function.from_json(COMPLETE)
    first, second = made.steps

    assert made.triggers[2] == CronTrigger("TZ=Europe/Berlin 0 9 * * MON-FRI", "5m")
    assert (made.id, made.name, made.concurrency, made.idempotency) == (
        "fn", "Fn", 3, "event.data.id",
    )  # fmt: skip
    assert made.throttle == Throttle("1h", 5, "event.data.id")
    assert made.cancel == (Cancel("shop/order.*", "1w", "event.data.id == async.data.id"),)
    assert first == Step(
        id="first",
        name="First",
        path="./first.js",
        runtime=Runtime("http", "https://example.com"),
        after=(After("$trigger"),),
        version=Version(1, 0),
        retries=Retries(20),
    )
    assert second.after == (
        After(
            step="first",
            condition="steps.first.ok && response.ok && event.data.total > 5",
            wait="1h30m",
            awaited=Async(
                ttl="1d",
                event="shop/paid",
                match="async.data.id == event.data.id && steps.first.ok",
                on_timeout=True,
            ),
        ),
    )
    assert made.definition == COMPLETE


def test_what_a_definition_leaves_out_is_absent() -> None:
    value = {"id": "fn", "name": "", "triggers": [{"event": "e"}], "steps": {"a": {"id": "a"}}}
    assert Function.from_json(value) == Function(
        id="fn",
        name="fn",
        triggers=(EventTrigger("e"),),
        definition=value,
        steps=(Step("a"),),
    )


def test_durations_are_known_in_seconds() -> None:
    made = Function.from_json(COMPLETE)
    [after] = made.steps[1].after
    assert made.throttle is not None
    assert after.awaited is not None
    assert (made.throttle.period_seconds, after.wait_seconds, after.awaited.ttl_seconds) == (
        3600, 5400, 86_400,
    )  # fmt: skip


def test_an_entry_without_a_wait_waits_for_nothing() -> None:
    assert After("a").wait_seconds == 0


def test_a_step_is_found_by_its_id() -> None:
    made = Function.from_json(COMPLETE)
    assert (made.step("second"), made.step("third")) == (made.steps[1], None)


def test_the_parents_of_a_step_are_steps_each_once() -> None:
    step = Step("a", after=(After("$trigger"), After("b"), After("c"), After("b", "true")))
    assert step.parents == ("b", "c")


def test_a_throttle_counts_to_one_by_default() -> None:
    made = Function.from_json(function(throttle={"period": "1s"}))
    assert made.throttle == Throttle("1s", 1)


def test_objects_cannot_be_changed() -> None:
    made = Function.from_json(COMPLETE)
    with pytest.raises(FrozenInstanceError):
        made.id = "other"  # type: ignore[misc] # what is tried here


def test_every_fault_is_raised_at_once() -> None:
    with pytest.raises(FunctionConfigError) as caught:
        Function.from_json(function(triggers=[{"cron": "x"}], steps={"a": {"id": "b"}}))
    assert [fault.keys for fault in caught.value.faults] == [
        ("triggers", 0, "cron"),
        ("steps", "a", "id"),
    ]
