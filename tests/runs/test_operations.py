"""Tests of `connect.runs.operations`."""

import json
from typing import Any

import pytest

from connect.runs.errors import MalformedReply
from connect.runs.operations import (
    InvokeFunction,
    RunComplete,
    Sleep,
    StepError,
    StepFailed,
    StepPlanned,
    StepRun,
    UnknownOperation,
    WaitForEvent,
    error_object,
    parse_operations,
)

STEP = {"id": "ab12", "name": "charge"}
READ: dict[str, Any] = {"id": "ab12", "name": "charge"}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"op": "StepRun", "data": [1]}, StepRun(**READ, op="StepRun", data=[1])),
        ({"op": "Step", "data": 1}, StepRun(**READ, op="Step", data=1)),
        ({"op": "StepRun"}, StepRun(**READ, op="StepRun")),
        (
            {"op": "StepError", "error": {"name": "E", "message": "m", "stack": "s"}},
            StepError(**READ, op="StepError", error={"name": "E", "message": "m", "stack": "s"}),
        ),
        (
            {"op": "StepFailed", "error": "boom"},
            StepFailed(**READ, op="StepFailed", error={"name": "Error", "message": "boom"}),
        ),
        ({"op": "StepPlanned"}, StepPlanned(**READ, op="StepPlanned")),
        (
            {"op": "StepPlanned", "opts": {"parallelMode": "race"}},
            StepPlanned(**READ, op="StepPlanned", racing=True),
        ),
        ({"op": "Sleep", "opts": {"duration": "5s"}}, Sleep(**READ, op="Sleep", until="5s")),
        ({"op": "Sleep"}, Sleep(**READ, op="Sleep", until="charge")),
        (
            {"op": "WaitForEvent", "opts": {"event": "paid", "timeout": "1h", "if": "true"}},
            WaitForEvent(**READ, op="WaitForEvent", event="paid", timeout="1h", expression="true"),
        ),
        (
            {"op": "WaitForEvent", "opts": {"timeout": "1h", "if": None}},
            WaitForEvent(**READ, op="WaitForEvent", event="charge", timeout="1h"),
        ),
        (
            {"op": "InvokeFunction", "opts": {"function_id": "a-b", "payload": {"data": 1}}},
            InvokeFunction(**READ, op="InvokeFunction", slug="a-b", payload={"data": 1}),
        ),
        ({"op": "AIGateway"}, UnknownOperation(**READ, op="AIGateway")),
    ],
)
def test_each_operation_is_read_with_what_it_needs(
    item: dict[str, object], expected: object
) -> None:
    assert parse_operations(json.dumps([STEP | item]).encode()) == (expected,)


def test_a_complete_run_needs_no_step() -> None:
    (operation,) = parse_operations(b'[{"op": "RunComplete", "data": {"ok": true}}]')

    assert operation == RunComplete(id="", name="", op="RunComplete", data={"ok": True})


def test_the_display_name_goes_before_the_name_and_the_id_stands_in_for_both() -> None:
    shown, bare = parse_operations(
        b'[{"op":"StepPlanned","id":"x","name":"n","displayName":"d"},{"op":"StepPlanned","id":"y"}]'
    )

    assert (shown.name, bare.name) == ("d", "y")


def test_no_operations_are_operations() -> None:
    assert parse_operations(b"[]") == ()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the list of operations is not JSON: Expecting property name"),
        (b"\xff", "the list of operations is not JSON: not UTF-8 at byte 0"),
        (b"{}", "expected a list of operations, found an object"),
        (b'""', "expected a list of operations, found an empty string"),
        (b'"text"', "expected a list of operations, found a string"),
        (b"null", "expected a list of operations, found nothing"),
        (b"7", "expected a list of operations, found a number"),
        (b"[[]]", "operation 1: expected an object, found a list"),
        (b"[{}]", "operation 1: op must be a non-empty string, found nothing"),
        (b'[{"op": true}]', "operation 1: op must be a non-empty string, found a boolean"),
        (
            b'[{"op": "Sleep", "id": "a", "opts": {"duration": "1s"}}, {"op": "StepRun"}]',
            "operation 2 (StepRun): id must be a non-empty string, found nothing",
        ),
        (
            b'[{"op": "StepRun", "id": "a", "name": 7}]',
            "operation 1 (StepRun): name must be a string, found a number",
        ),
        (
            b'[{"op": "StepRun", "id": "a", "opts": []}]',
            "operation 1 (StepRun): opts must be an object, found a list",
        ),
        (
            b'[{"op": "Sleep", "id": "a"}]',
            "operation 1 (Sleep): neither name nor opts.duration says how long",
        ),
        (
            b'[{"op": "WaitForEvent", "id": "a"}]',
            "operation 1 (WaitForEvent): neither opts.event nor name says which event",
        ),
        (
            b'[{"op": "InvokeFunction", "id": "a"}]',
            "operation 1 (InvokeFunction).opts: function_id must be a non-empty string,"
            " found nothing",
        ),
    ],
)
def test_a_malformed_list_says_what_is_wrong_and_where(body: bytes, message: str) -> None:
    with pytest.raises(MalformedReply) as caught:
        parse_operations(body)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"name": "E", "message": "m"}, {"name": "E", "message": "m"}),
        ({"message": "m", "code": 7}, {"name": "Error", "message": "m", "code": 7}),
        ({"name": 3}, {"name": "Error", "message": ""}),
        ("text", {"name": "Error", "message": "text"}),
        (None, {"name": "Error", "message": ""}),
    ],
)
def test_an_error_always_has_a_name_and_a_message(
    value: object, expected: dict[str, object]
) -> None:
    assert error_object(value) == expected
