"""Functions as typed objects."""

from dataclasses import FrozenInstanceError
from typing import Any

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
from connect.config.frozen import thawed
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
    assert thawed(made.definition) == COMPLETE


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


@pytest.mark.parametrize(
    "path",
    [(), ("steps", "first"), ("triggers", 0), ("triggers", 1, "definition", "def")],
    ids=str,
)
def test_no_part_of_the_definition_can_be_changed(path: tuple[str | int, ...]) -> None:
    part: Any = Function.from_json(COMPLETE).definition
    for key in path:
        part = part[key]
    with pytest.raises(TypeError, match="does not support item assignment"):
        part["id"] = "X"


def test_the_list_of_triggers_cannot_be_changed() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        Function.from_json(COMPLETE).definition["triggers"][0] = {}


def test_a_definition_stays_what_it_was_when_its_json_changes() -> None:
    value = function()
    made = Function.from_json(value)
    value["triggers"].append({"event": "late"})
    assert thawed(made.definition) == function()


def test_the_schema_of_an_event_cannot_be_changed() -> None:
    trigger = Function.from_json(COMPLETE).triggers[1]
    assert isinstance(trigger, EventTrigger)
    assert trigger.definition is not None
    schema: Any = trigger.definition.schema
    with pytest.raises(TypeError, match="does not support item assignment"):
        schema["type"] = "object"


def test_equal_functions_have_the_same_hash() -> None:
    assert hash(Function.from_json(COMPLETE)) == hash(Function.from_json(COMPLETE))


def test_every_fault_is_raised_at_once() -> None:
    with pytest.raises(FunctionConfigError) as caught:
        Function.from_json(function(triggers=[{"cron": "x"}], steps={"a": {"id": "b"}}))
    assert [fault.keys for fault in caught.value.faults] == [
        ("triggers", 0, "cron"),
        ("steps", "a", "id"),
    ]
