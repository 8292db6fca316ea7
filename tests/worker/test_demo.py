"""The demo's functions, called as an executor would."""

from typing import Any

import pytest

from connect.demo import app
from connect.protocol.messages.connect import v1 as pb
from connect.worker.call import Outcome, call_function
from tests.worker.payloads import body_of, make_payload


async def _call(function: str, **of_payload: Any) -> Outcome:
    return await call_function(app.functions[f"demo-{function}"], make_payload(**of_payload))


@pytest.mark.parametrize(("data", "name"), [({"name": "Ada"}, "Ada"), ({}, "world")])
async def test_hello_greets(data: dict[str, str], name: str) -> None:
    assert body_of(await _call("hello", data=data)) == {"message": f"Hello, {name}!"}


async def test_steps_runs_two_steps_around_a_nap() -> None:
    told: list[Any] = []
    memos: dict[str, Any] = {}
    while (outcome := await _call("steps", steps=memos)).status != pb.SdkResponseStatus.DONE:
        (operation,) = body_of(outcome)
        told.append(operation["op"])
        sleeps = operation["op"] == "Sleep"
        memos[operation["displayName"]] = None if sleeps else {"data": operation["data"]}

    assert told == ["StepRun", "Sleep", "StepRun"]
    assert body_of(outcome) == {"numbers": [1, 2, 3], "total": 6}


@pytest.mark.parametrize("side", ["left", "right"])
async def test_parallel_runs_the_planned_side(side: str) -> None:
    assert body_of(await _call("parallel", step_id=side))[0]["data"] == side


async def test_parallel_joins_both_sides() -> None:
    steps = {"left": {"data": "l"}, "right": {"data": "r"}}

    assert body_of(await _call("parallel", steps=steps)) == {"left": "l", "right": "r"}


async def test_fail_fails_with_the_given_message() -> None:
    outcome = await _call("fail", data={"message": "as asked"})

    assert (body_of(outcome)["message"], outcome.no_retry) == ("as asked", True)
