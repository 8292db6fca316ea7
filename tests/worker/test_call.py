"""How a call of a function becomes a reply."""

import json
import math
from typing import Any

import pytest
import trio

from connect.protocol.messages.connect import v1 as pb
from connect.worker import Context, NonRetriableError, RetryAfterError, StepError
from tests.worker.payloads import body_of, call, make_payload

DONE = pb.SdkResponseStatus.DONE
ERROR = pb.SdkResponseStatus.ERROR
NOT_COMPLETED = pb.SdkResponseStatus.NOT_COMPLETED


async def test_the_result_of_a_function_is_the_body_of_a_done_reply() -> None:
    async def greet(ctx: Context) -> Any:
        return {"hello": ctx.event.data["name"]}

    outcome = await call(greet, data={"name": "Ada"})

    assert (outcome.status, body_of(outcome)) == (DONE, {"hello": "Ada"})


async def test_the_context_holds_what_the_payload_says() -> None:
    async def show(ctx: Context) -> Any:
        event = ctx.event
        assert ctx.events == (event,)
        told = [event.id, event.name, event.ts, ctx.run_id, ctx.attempt, ctx.max_attempts]
        return [*told, ctx.function]

    outcome = await call(show, attempt=2)

    assert body_of(outcome) == ["01J", "demo/hello", 1700, "run-1", 2, 4, "app-f"]


async def test_a_function_that_raises_answers_with_an_error_object() -> None:
    async def fail(ctx: Context) -> Any:
        raise LookupError("no such thing")

    outcome = await call(fail)

    body = body_of(outcome)
    assert outcome.status == ERROR
    assert (body["name"], body["message"]) == ("LookupError", "no such thing")
    assert "in fail" in body["stack"]


async def test_an_ordinary_error_may_be_retried() -> None:
    async def fail(ctx: Context) -> Any:
        raise LookupError

    outcome = await call(fail)

    assert (outcome.no_retry, outcome.retry_after) == (False, None)


async def test_a_non_retriable_error_says_so() -> None:
    async def fail(ctx: Context) -> Any:
        raise NonRetriableError("never")

    assert (await call(fail)).no_retry


async def test_retry_after_travels_as_whole_seconds_rounded_up() -> None:
    async def fail(ctx: Context) -> Any:
        raise RetryAfterError("busy", 2.2)

    outcome = await call(fail)

    assert (outcome.status, outcome.retry_after, outcome.no_retry) == (ERROR, "3", False)


@pytest.mark.parametrize("result", [object(), float("nan"), {1: {2}}])
async def test_a_result_that_is_no_json_is_an_error_that_no_retry_helps(result: Any) -> None:
    async def answer(ctx: Context) -> Any:
        return result

    outcome = await call(answer)

    assert (outcome.status, outcome.no_retry) == (ERROR, True)
    assert "is not JSON" in body_of(outcome)["message"]


async def test_a_step_error_that_is_not_caught_keeps_its_name_and_is_not_retried() -> None:
    async def pass_on(ctx: Context) -> Any:
        await ctx.step.run("load", dict)

    stored = {"error": {"name": "KeyError", "message": "gone", "stack": "there"}}
    outcome = await call(pass_on, steps={"load": stored})

    assert body_of(outcome) == stored["error"]
    assert (outcome.status, outcome.no_retry) == (ERROR, True)


def _without(payload: bytes, **changes: Any) -> bytes:
    return json.dumps(json.loads(payload) | changes).encode()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"[]", "not an object"),
        (_without(make_payload(), ctx=None), "ctx is not an object"),
        (_without(make_payload(), use_api=True), "use_api is set"),
        (_without(make_payload(), event=1), "an event must be an object with a name"),
        (_without(make_payload(), event={"name": "e", "ts": "now"}), "ts must be a number"),
        (b'{"ctx": {}, "event": {"name": "e", "ts": 1e400}}', "ts is inf, no time"),
        (b'{"ctx": {}, "event": {"name": "e", "ts": NaN}}', "ts is nan, no time"),
        (_without(make_payload(), events={}), "events is not a list"),
        (_without(make_payload(), steps=[1]), "steps is not an object"),
        (_without(make_payload(), ctx={"attempt": "1"}), "is not a whole number"),
        (_without(make_payload(), ctx={"max_attempts": 1.5}), "is not a whole number"),
    ],
)
async def test_a_payload_that_cannot_be_read_is_refused_for_good(
    payload: bytes, reason: str
) -> None:
    async def unreached(ctx: Context) -> Any:
        raise AssertionError

    outcome = await call(unreached, payload)

    assert (outcome.status, outcome.no_retry) == (ERROR, True)
    assert reason in body_of(outcome)["message"]


async def test_absent_parts_of_a_payload_have_defaults() -> None:
    async def show(ctx: Context) -> Any:
        return [ctx.events[0].name, dict(ctx.event.data), ctx.attempt, ctx.max_attempts]

    outcome = await call(show, b'{"event": {"name": "e", "data": null}, "ctx": {}}')

    assert body_of(outcome) == ["e", {}, 0, None]


async def test_a_step_in_a_nursery_of_the_function_ends_the_call_as_any_other() -> None:
    async def spread(ctx: Context) -> Any:
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            inner.start_soon(ctx.step.sleep, "nap", "1s")
            outer.start_soon(trio.sleep_forever)

    outcome = await call(spread)

    assert outcome.status == NOT_COMPLETED
    assert [operation["op"] for operation in body_of(outcome)] == ["Sleep"]


async def test_two_steps_in_a_nursery_are_not_taken_for_nested_ones() -> None:
    async def spread(ctx: Context) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.step.run, "a", trio.lowlevel.checkpoint)
            nursery.start_soon(ctx.step.run, "b", trio.lowlevel.checkpoint)

    outcome = await call(spread)

    assert {operation["op"] for operation in body_of(outcome)} == {"StepRun"}


async def test_an_error_in_a_nursery_beside_a_step_is_the_functions_error() -> None:
    async def spread(ctx: Context) -> Any:
        async def fail() -> None:
            raise NonRetriableError("no")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.step.sleep, "nap", "1s")
            nursery.start_soon(fail)

    outcome = await call(spread)

    assert (outcome.status, outcome.no_retry) == (ERROR, True)
    assert body_of(outcome)["name"] == "NonRetriableError"


async def test_several_errors_in_a_nursery_are_told_as_a_group() -> None:
    async def spread(ctx: Context) -> Any:
        async def fail() -> None:
            raise ValueError("no")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.step.sleep, "nap", "1s")
            nursery.start_soon(fail)
            nursery.start_soon(fail)

    assert body_of(await call(spread))["name"] == "ExceptionGroup"


async def test_a_step_in_a_nursery_that_another_step_was_expected_for_is_an_error() -> None:
    async def spread(ctx: Context) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.step.sleep, "nap", "1s")

    outcome = await call(spread, step_id="other")

    assert outcome.status == ERROR
    assert "step 'nap' came up in a call that is for another step" in body_of(outcome)["message"]


async def test_cancellation_passes_through_a_call(autojump_clock: trio.testing.MockClock) -> None:
    async def wait(ctx: Context) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)

    with trio.move_on_after(1) as scope:
        await call(wait)

    assert scope.cancelled_caught


async def test_what_is_neither_error_nor_step_passes_through_in_its_group() -> None:
    class Stop(BaseException):
        pass

    async def stop(ctx: Context) -> Any:
        raise BaseExceptionGroup("both", [Stop(), ValueError()])

    with pytest.raises(BaseExceptionGroup, match="both"):
        await call(stop)


async def test_an_error_beside_a_cancellation_does_not_go_past_who_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def fail(ctx: Context) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise LookupError

    with trio.move_on_after(1) as scope:
        await call(fail)

    assert scope.cancelled_caught


class _Mute(Exception):
    def __str__(self) -> str:
        raise LookupError("no text")


async def test_an_error_that_cannot_tell_of_itself_is_told_by_its_name() -> None:
    async def fail(ctx: Context) -> Any:
        raise _Mute

    body = body_of(await call(fail))

    assert (body["name"], body["message"]) == ("_Mute", "")


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_function_that_exits_has_failed(grouped: bool) -> None:
    async def leave(ctx: Context) -> Any:
        error = SystemExit(3)
        raise BaseExceptionGroup("", [error]) if grouped else error

    outcome = await call(leave)

    assert (outcome.status, body_of(outcome)["name"]) == (ERROR, "SystemExit")


@pytest.mark.parametrize("seconds", [None, "30", math.inf, math.nan])
def test_a_time_to_retry_after_that_is_no_number_is_refused(seconds: Any) -> None:
    with pytest.raises(ValueError, match="must be a number"):
        RetryAfterError("later", seconds)


async def test_a_failure_that_cannot_be_written_is_told_by_its_kind() -> None:
    async def fail(ctx: Context) -> Any:
        error = RetryAfterError("later", 1)
        error.seconds = math.inf
        raise error

    outcome = await call(fail)

    assert (outcome.status, outcome.no_retry) == (ERROR, True)
    assert body_of(outcome)["message"] == "how the call ended cannot be told: OverflowError"


def test_a_step_error_without_a_name_reads_as_its_message() -> None:
    assert str(StepError("", "gone")) == "gone"


def test_a_step_error_reads_as_name_and_message() -> None:
    assert str(StepError("KeyError", "gone")) == "KeyError: gone"
