"""Steps: what they return, and the operations they end a call with."""

import math
from typing import Any

import pytest
import trio

from connect.protocol.messages.connect import v1 as pb
from connect.worker import Context, NonRetriableError, RetryAfterError, StepError
from connect.worker.steps import hash_step_id
from tests.worker.payloads import body_of, call

NOT_COMPLETED = pb.SdkResponseStatus.NOT_COMPLETED
ERROR = pb.SdkResponseStatus.ERROR


def test_step_ids_are_hashed_as_every_sdk_does() -> None:
    assert hash_step_id("a") == "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"


async def test_a_new_step_is_run_at_once_and_its_result_told() -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.run("load", max, 3, 5)

    outcome = await call(function)

    assert outcome.status == NOT_COMPLETED
    assert body_of(outcome) == [
        {
            "op": "StepRun",
            "id": hash_step_id("load"),
            "name": "load",
            "displayName": "load",
            "data": 5,
        }
    ]


async def test_a_step_may_be_a_coroutine_function(autojump_clock: trio.testing.MockClock) -> None:
    async def load(number: int) -> int:
        await trio.sleep(5)
        return number + 1

    async def function(ctx: Context) -> Any:
        await ctx.step.run("load", load, 1)

    assert body_of(await call(function))[0]["data"] == 2


@pytest.mark.parametrize(
    ("memo", "result"),
    [
        ({"data": 7}, 7),
        ({"data": None}, None),
        ({"data": {"data": 1}}, {"data": 1}),
        (None, None),
        ({"other": 1}, {"other": 1}),
        ({}, {}),
    ],
)
async def test_a_step_with_a_result_returns_it(memo: Any, result: Any) -> None:
    async def function(ctx: Context) -> Any:
        return [await ctx.step.run("load", pytest.fail, "run again")]

    assert body_of(await call(function, steps={"load": memo})) == [result]


async def test_ids_used_again_are_other_steps() -> None:
    async def function(ctx: Context) -> Any:
        return [await ctx.step.run("load", int) for _ in range(3)]

    steps = {"load": {"data": "x"}, "load:1": {"data": "y"}, "load:2": {"data": "z"}}

    assert body_of(await call(function, steps=steps)) == ["x", "y", "z"]


async def test_an_id_used_again_is_told_under_its_own_hash() -> None:
    async def function(ctx: Context) -> Any:
        for _ in range(2):
            await ctx.step.run("load", int)

    (operation,) = body_of(await call(function, steps={"load": {"data": 1}}))

    assert (operation["id"], operation["name"]) == (hash_step_id("load:1"), "load")


async def test_a_step_that_raises_asks_for_another_attempt() -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.run("parse", int, "x")

    outcome = await call(function, attempt=2, max_attempts=4)

    (operation,) = body_of(outcome)
    assert operation["op"] == "StepError"
    assert operation["error"]["name"] == "ValueError"
    assert "data" not in operation


async def test_a_step_that_raises_in_the_last_attempt_has_failed() -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.run("parse", int, "x")

    (operation,) = body_of(await call(function, attempt=3, max_attempts=4))

    assert operation["op"] == "StepFailed"


async def test_a_non_retriable_error_fails_its_step_at_the_first_attempt() -> None:
    def fail() -> None:
        raise NonRetriableError("never")

    async def function(ctx: Context) -> Any:
        await ctx.step.run("fail", fail)

    outcome = await call(function)

    assert body_of(outcome)[0]["op"] == "StepFailed"
    assert outcome.no_retry


async def test_a_step_may_say_when_to_retry_it() -> None:
    def fail() -> None:
        raise RetryAfterError("busy", 30)

    async def function(ctx: Context) -> Any:
        await ctx.step.run("fail", fail)

    outcome = await call(function)

    assert (body_of(outcome)[0]["op"], outcome.retry_after) == ("StepError", "30")


async def test_a_step_whose_result_is_no_json_has_failed() -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.run("set", set)

    (operation,) = body_of(await call(function))

    assert operation["op"] == "StepFailed"
    assert "the result of step 'set' is not JSON" in operation["error"]["message"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"name": "KeyError", "message": "gone", "stack": "s"}, ("KeyError", "gone", "s")),
        ({}, ("Error", "", "")),
        ("plain", ("Error", "plain", "")),
    ],
)
async def test_a_stored_error_is_raised_in_the_function(
    error: Any, expected: tuple[str, str, str]
) -> None:
    async def function(ctx: Context) -> Any:
        try:
            await ctx.step.run("load", int)
        except StepError as caught:
            return [caught.name, caught.message, caught.stack]

    outcome = await call(function, steps={"load": {"error": error}})

    assert body_of(outcome) == list(expected)


async def test_steps_cannot_be_nested() -> None:
    async def function(ctx: Context) -> Any:
        async def outer() -> None:
            await ctx.step.run("inner", int)

        await ctx.step.run("outer", outer)

    (operation,) = body_of(await call(function))

    assert (operation["op"], operation["name"]) == ("StepFailed", "outer")
    assert "steps cannot be nested" in operation["error"]["message"]


@pytest.mark.parametrize(("duration", "text"), [("1h30m", "1h30m"), (90, "90s"), (0.5, "500ms")])
async def test_a_sleep_tells_its_duration(duration: str | float, text: str) -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.sleep("nap", duration)

    (operation,) = body_of(await call(function))

    assert (operation["op"], operation["name"]) == ("Sleep", text)
    assert (operation["displayName"], operation["opts"]) == ("nap", {"duration": text})


async def test_a_sleep_that_is_over_returns() -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.sleep("nap", "1s")
        return "awake"

    assert body_of(await call(function, steps={"nap": None})) == "awake"


async def test_a_malformed_duration_is_the_functions_error() -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.sleep("nap", "soon")

    outcome = await call(function)

    assert (outcome.status, body_of(outcome)["name"]) == (ERROR, "ValueError")


async def test_waiting_for_an_event_tells_which() -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.wait_for_event("paid", event="shop/paid", timeout="1d", if_="async.data.ok")

    (operation,) = body_of(await call(function))

    assert (operation["op"], operation["name"]) == ("WaitForEvent", "shop/paid")
    assert operation["opts"] == {"event": "shop/paid", "timeout": "1d", "if": "async.data.ok"}


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_wait_that_was_fulfilled_returns_the_event(wrapped: bool) -> None:
    async def function(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("paid", event="shop/paid", timeout=60)
        assert event is not None
        return [event.name, event.data]

    bare = {"name": "shop/paid", "data": {"sum": 3}, "id": "1", "ts": 2}
    outcome = await call(function, steps={"paid": {"data": bare} if wrapped else bare})

    assert body_of(outcome) == ["shop/paid", {"sum": 3}]


async def test_a_wait_that_timed_out_returns_none() -> None:
    async def function(ctx: Context) -> Any:
        return await ctx.step.wait_for_event("paid", event="shop/paid", timeout=60)

    assert body_of(await call(function, steps={"paid": None})) is None


async def test_invoking_tells_function_payload_and_timeout() -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.invoke("other", function="shop-tax", data={"sum": 3}, timeout=60)

    (operation,) = body_of(await call(function))

    assert (operation["op"], operation["name"]) == ("InvokeFunction", "other")
    assert operation["opts"] == {
        "function_id": "shop-tax",
        "payload": {"data": {"sum": 3}},
        "timeout": "60s",
    }


async def test_invoking_needs_neither_data_nor_timeout() -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.invoke("other", function="shop-tax")

    (operation,) = body_of(await call(function))

    assert operation["opts"] == {"function_id": "shop-tax", "payload": {"data": {}}}


@pytest.mark.parametrize("value", [object(), math.nan])
async def test_invoking_with_what_is_no_json_fails_for_good(value: object) -> None:
    async def invoke(ctx: Context) -> Any:
        await ctx.step.invoke("i", function="app-g", data={"at": value})

    outcome = await call(invoke)

    assert (outcome.status, outcome.no_retry) == (ERROR, True)
    assert "what step 'i' invokes is not JSON" in body_of(outcome)["message"]


async def test_waiting_for_what_is_no_json_fails_for_good() -> None:
    async def wait(ctx: Context) -> Any:
        name: Any = object()
        await ctx.step.wait_for_event("w", event=name, timeout="1s")

    message = body_of(await call(wait))["message"]

    assert "what step 'w' waits for is not JSON" in message


async def test_a_step_that_exits_asks_for_another_attempt() -> None:
    def leave() -> None:
        raise SystemExit(3)

    async def function(ctx: Context) -> Any:
        await ctx.step.run("s", leave)

    (operation,) = body_of(await call(function))

    assert (operation["op"], operation["error"]["name"]) == ("StepError", "SystemExit")


async def test_an_invoked_functions_result_is_returned() -> None:
    async def function(ctx: Context) -> Any:
        return await ctx.step.invoke("other", function="shop-tax")

    assert body_of(await call(function, steps={"other": {"data": [1]}})) == [1]


async def _side_by_side(ctx: Context) -> Any:
    async def right() -> int:
        first: int = await ctx.step.run("right", lambda: 2)
        await ctx.step.sleep("nap", "1s")
        return first + 1

    return await ctx.step.gather(ctx.step.run("left", lambda: 1), right())


async def test_gathered_steps_are_planned_together() -> None:
    operations = body_of(await call(_side_by_side))

    assert [(one["op"], one["name"]) for one in operations] == [
        ("StepPlanned", "left"),
        ("StepPlanned", "right"),
    ]


@pytest.mark.parametrize(("target", "data"), [("left", 1), ("right", 2)])
async def test_a_call_for_a_planned_step_runs_just_this_one(target: str, data: int) -> None:
    operations = body_of(await call(_side_by_side, step_id=target))

    assert [(one["op"], one["name"], one["data"]) for one in operations] == [
        ("StepRun", target, data)
    ]


async def test_each_gathered_branch_goes_on_by_itself() -> None:
    operations = body_of(await call(_side_by_side, steps={"right": {"data": 2}}))

    assert [one["op"] for one in operations] == ["StepPlanned", "Sleep"]


async def test_gathered_results_come_in_order() -> None:
    steps = {"left": {"data": 1}, "right": {"data": 2}, "nap": None}

    assert body_of(await call(_side_by_side, steps=steps)) == [1, 3]


async def test_a_call_for_a_step_that_does_not_come_up_is_an_error() -> None:
    outcome = await call(_side_by_side, step_id="elsewhere")

    assert outcome.status == ERROR
    assert "in a call that is for another step" in body_of(outcome)["message"]


async def test_an_error_in_one_branch_ends_the_gathering() -> None:
    outcome = await call(_side_by_side, steps={"left": {"error": {"name": "E", "message": "m"}}})

    assert (outcome.status, body_of(outcome)["name"]) == (ERROR, "E")


async def test_a_single_step_is_planned_when_it_must_not_run_at_once() -> None:
    async def function(ctx: Context) -> Any:
        await ctx.step.run("load", int)

    (operation,) = body_of(await call(function, plan=True))

    assert operation["op"] == "StepPlanned"


async def test_a_functions_own_error_handling_does_not_catch_a_steps_end_of_call() -> None:
    async def function(ctx: Context) -> Any:
        try:
            await ctx.step.run("load", int)
        except Exception:  # noqa: BLE001 - what a function may do
            raise AssertionError("caught") from None

    assert (await call(function)).status == NOT_COMPLETED
