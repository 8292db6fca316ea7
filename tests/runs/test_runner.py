"""Tests of runs: every reply, every operation, attempts, and how a run ends."""

import json
import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from ulid import ULID

from connect.errors import StoreUnavailable, Syscode, SyscodeError
from connect.protocol.messages.connect import v1 as pb
from connect.runs import FunctionNotFound, InvalidEvent, RunTimeout
from connect.runs.functions import function_id
from connect.settings import DEVELOPMENT_ACCOUNT_ID, DEVELOPMENT_ENV_ID, Limits
from tests.runs.fakes import (
    DONE,
    ERROR,
    NOT_COMPLETED,
    done,
    failed,
    function,
    make_runner,
    op,
    ops,
)

SLUG = "shop-pay"
BOOM = {"name": "Boom", "message": "it broke"}


async def test_a_done_reply_completes_the_run_with_its_body(autojump_clock: MockClock) -> None:
    runner, _ = make_runner([done({"total": 3})])

    result = await runner.invoke(SLUG, data={"a": 1}, timeout=10)

    assert (result.status, result.result, result.calls) == ("completed", {"total": 3}, 1)


async def test_an_empty_body_of_a_done_reply_is_null(autojump_clock: MockClock) -> None:
    runner, _ = make_runner([pb.SdkResponse(status=DONE)])

    result = await runner.invoke(SLUG, timeout=10)

    assert (result.status, result.result) == ("completed", None)


async def test_a_result_that_is_no_json_fails_the_run(autojump_clock: MockClock) -> None:
    runner, _ = make_runner([pb.SdkResponse(status=DONE, body=b"<html>")])

    result = await runner.invoke(SLUG, timeout=10)

    assert result.error is not None
    assert result.error["message"].startswith("the function's result is not JSON")


async def test_each_call_names_tenant_app_function_run_and_step(autojump_clock: MockClock) -> None:
    runner, worker = make_runner([ops(op("StepRun", "s1")), done()])

    result = await runner.invoke(SLUG, timeout=10)

    first, second = worker.requests
    assert first.account_id == DEVELOPMENT_ACCOUNT_ID
    assert first.env_id == DEVELOPMENT_ENV_ID
    assert (first.app_id, first.app_name, first.function_slug) == ("app-id", "shop", SLUG)
    assert first.function_id == function_id(DEVELOPMENT_ENV_ID, SLUG)
    assert first.step_id == "step"
    assert first.run_id == second.run_id == result.run_id
    assert ULID.from_str(first.request_id) != ULID.from_str(second.request_id)


async def test_an_invoked_function_gets_the_invocation_event(autojump_clock: MockClock) -> None:
    runner, worker = make_runner([done()])

    await runner.invoke(SLUG, data={"a": 1}, timeout=10)

    event = worker.payloads[0]["event"]
    assert (event["name"], event["data"]) == ("inngest/function.invoked", {"a": 1})


async def test_an_event_given_by_the_caller_is_passed_on(autojump_clock: MockClock) -> None:
    runner, worker = make_runner([done()])
    event = {"id": "e", "name": "shop/paid", "data": {"a": 1}, "user": {"u": 1}, "ts": 5}

    await runner.invoke(SLUG, event=event, timeout=10)

    assert worker.payloads[0]["event"] == event


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": [1]}, "data: expected an object"),
        ({"event": [1]}, "event: expected an object"),
        ({"data": {}, "event": {}}, "event: give either data or an event, not both"),
    ],
)
async def test_what_is_no_event_starts_no_run(
    given: dict[str, Any], message: str, autojump_clock: MockClock
) -> None:
    runner, _ = make_runner([])

    with pytest.raises(InvalidEvent) as caught:
        await runner.invoke(SLUG, **given, timeout=10)

    assert str(caught.value) == message


async def test_an_unknown_function_is_refused_with_the_nearest_names(
    autojump_clock: MockClock,
) -> None:
    runner, _ = make_runner([], function("shop-pay"), function("mail-send"))

    with pytest.raises(FunctionNotFound) as caught:
        await runner.invoke("shop-pya", timeout=10)

    assert caught.value.suggestions == ("shop-pay",)
    assert str(caught.value) == "no app serves the function 'shop-pya'; did you mean 'shop-pay'?"


async def test_an_unknown_function_like_no_other_has_no_suggestions(
    autojump_clock: MockClock,
) -> None:
    runner, _ = make_runner([])

    with pytest.raises(FunctionNotFound) as caught:
        await runner.invoke("zzz", timeout=10)

    assert str(caught.value) == "no app serves the function 'zzz'"


# --- errors and attempts -----------------------------------------------------------------


async def test_an_error_reply_is_retried_with_doubling_pauses_and_counted_attempts(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner([failed(), failed(), failed(), done("ok")])

    result = await runner.invoke(SLUG, timeout=60)

    assert result.result == "ok"
    assert worker.times == [0.0, 1.0, 3.0, 7.0]
    assert [payload["ctx"]["attempt"] for payload in worker.payloads] == [0, 1, 2, 3]


async def test_a_run_fails_when_the_attempts_are_used_up(autojump_clock: MockClock) -> None:
    runner, worker = make_runner([failed("a"), failed("b"), done()], function(retries=1))

    result = await runner.invoke(SLUG, timeout=60)

    assert (result.status, len(worker.requests)) == ("failed", 2)
    assert result.error == {"name": "Error", "message": "b", "stack": "at line 1"}
    assert worker.payloads[0]["ctx"]["max_attempts"] == 2


async def test_an_error_that_must_not_be_retried_fails_the_run_at_once(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner([failed("final", no_retry=True), done()])

    result = await runner.invoke(SLUG, timeout=60)

    assert (result.status, len(worker.requests)) == ("failed", 1)


async def test_a_final_error_of_the_typescript_sdk_is_a_failure_though_it_comes_as_done(
    autojump_clock: MockClock,
) -> None:
    body = b'{"name": "Error", "message": "no", "stack": "s", "__serialized": true}'
    reply = pb.SdkResponse(status=pb.SdkResponseStatus(1), body=body, no_retry=True)
    runner, _ = make_runner([reply])

    result = await runner.invoke(SLUG, timeout=60)

    assert (result.status, (result.error or {})["message"]) == ("failed", "no")


@pytest.mark.parametrize(
    "reply",
    [
        pb.SdkResponse(status=pb.SdkResponseStatus(1), body=b'{"name": "Ada", "message": "hi"}'),
        pb.SdkResponse(status=pb.SdkResponseStatus(1), body=b'{"a": 1}', no_retry=True),
    ],
)
async def test_a_result_that_only_resembles_an_error_is_a_result(
    reply: pb.SdkResponse, autojump_clock: MockClock
) -> None:
    runner, _ = make_runner([reply])

    assert (await runner.invoke(SLUG, timeout=60)).status == "completed"


async def test_a_retry_comes_when_the_worker_asked_for_it(autojump_clock: MockClock) -> None:
    runner, worker = make_runner([failed(retry_after="2023-11-14T22:13:50Z"), done()])

    await runner.invoke(SLUG, timeout=60)

    assert worker.times == [0.0, 30.0]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"plain text", {"name": "Error", "message": "plain text"}),
        (b'"quoted"', {"name": "Error", "message": "quoted"}),
        (b"", {"name": "Error", "message": ""}),
    ],
)
async def test_an_error_of_any_shape_has_a_name_and_a_message(
    body: bytes, error: dict[str, str], autojump_clock: MockClock
) -> None:
    runner, _ = make_runner([pb.SdkResponse(status=ERROR, body=body, no_retry=True)])

    result = await runner.invoke(SLUG, timeout=60)

    assert result.error == error


async def test_a_reply_of_unknown_status_fails_the_run(autojump_clock: MockClock) -> None:
    runner, _ = make_runner([pb.SdkResponse(status=7)])  # type: ignore[arg-type] # on purpose

    result = await runner.invoke(SLUG, timeout=60)

    assert result.error == {
        "name": "MalformedReply",
        "message": "a reply has the unknown status 7",
    }


async def test_a_malformed_list_of_operations_fails_the_run_with_its_fault(
    autojump_clock: MockClock,
) -> None:
    runner, _ = make_runner([pb.SdkResponse(status=NOT_COMPLETED, body=b"[1]")])

    result = await runner.invoke(SLUG, timeout=60)

    assert result.error == {
        "name": "MalformedReply",
        "message": "operation 1: expected an object, found a number",
    }


@pytest.mark.parametrize(
    "error",
    [
        SyscodeError(Syscode.NO_HEALTHY_CONNECTION, "none"),
        SyscodeError(Syscode.WORKER_STOPPED_RESPONDING, "gone"),
        StoreUnavailable("down"),
    ],
)
async def test_a_caller_that_waits_learns_of_a_lost_call_at_once(
    error: Exception, autojump_clock: MockClock
) -> None:
    runner, worker = make_runner([error, done()])

    with pytest.raises(type(error)) as caught:
        await runner.invoke(SLUG, timeout=60)

    assert caught.value is error
    assert len(worker.requests) == 1


async def test_a_lost_call_of_a_planned_step_reaches_the_caller_unwrapped(
    autojump_clock: MockClock,
) -> None:
    error = SyscodeError(Syscode.WORKER_STOPPED_RESPONDING, "gone")
    runner, _ = make_runner([ops(op("StepPlanned", "a")), error])

    with pytest.raises(SyscodeError) as caught:
        await runner.invoke(SLUG, timeout=60)

    assert caught.value is error


# --- operations --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["StepRun", "Step"])
async def test_the_result_of_a_step_is_in_the_next_call(
    name: str, autojump_clock: MockClock
) -> None:
    runner, worker = make_runner([ops(op(name, "s1", data=5)), done("ok")])

    result = await runner.invoke(SLUG, timeout=10)

    assert worker.payloads[1]["steps"] == {"s1": {"data": 5}}
    assert worker.payloads[1]["ctx"]["stack"] == {"stack": ["s1"], "current": 1}
    assert [(step.id, step.output) for step in result.steps] == [("s1", 5)]


async def test_the_request_version_is_that_of_the_last_reply(autojump_clock: MockClock) -> None:
    runner, worker = make_runner([ops(op("StepRun", "s1"), request_version=2), done()])

    await runner.invoke(SLUG, timeout=10)

    assert [payload["version"] for payload in worker.payloads] == [-1, 2]


async def test_a_step_error_is_retried_and_then_the_next_step_starts_from_no_attempt(
    autojump_clock: MockClock,
) -> None:
    error = op("StepError", "s1", error=BOOM)
    runner, worker = make_runner([ops(error), ops(error), ops(op("StepRun", "s1")), done()])

    await runner.invoke(SLUG, timeout=60)

    assert worker.times == [0.0, 1.0, 3.0, 3.0]
    assert [payload["ctx"]["attempt"] for payload in worker.payloads] == [0, 1, 2, 0]


async def test_a_step_whose_attempts_are_used_up_gives_its_error_to_the_function(
    autojump_clock: MockClock,
) -> None:
    error = op("StepError", "s1", error=BOOM)
    runner, worker = make_runner([ops(error), ops(error), done("coped")], function(retries=1))

    result = await runner.invoke(SLUG, timeout=60)

    assert worker.payloads[2]["steps"] == {"s1": {"error": BOOM}}
    assert (result.result, result.steps[0].status) == ("coped", "failed")


async def test_a_step_error_that_must_not_be_retried_is_given_at_once(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner([ops(op("StepError", "s1", error=BOOM), no_retry=True), done()])

    await runner.invoke(SLUG, timeout=60)

    assert worker.times == [0.0, 0.0]
    assert worker.payloads[1]["steps"] == {"s1": {"error": BOOM}}


async def test_a_failed_step_gives_its_error_to_the_function(autojump_clock: MockClock) -> None:
    runner, worker = make_runner([ops(op("StepFailed", "s1", error=BOOM)), done()])

    await runner.invoke(SLUG, timeout=60)

    assert worker.payloads[1]["steps"] == {"s1": {"error": BOOM}}


@pytest.mark.parametrize(
    "fields", [{"name": "30s"}, {"opts": {"duration": "30s"}}, {"name": "2023-11-14T22:13:50Z"}]
)
async def test_a_sleep_takes_its_time_and_leaves_null(
    fields: dict[str, Any], autojump_clock: MockClock
) -> None:
    runner, worker = make_runner([ops(op("Sleep", "s1") | fields), done()])

    result = await runner.invoke(SLUG, timeout=60)

    assert worker.times == [0.0, 30.0]
    assert worker.payloads[1]["steps"] == {"s1": None}
    assert result.duration_ms == 30_000


async def test_a_sleep_of_no_duration_fails_the_run(autojump_clock: MockClock) -> None:
    runner, _ = make_runner([ops(op("Sleep", "nap", opts={"duration": "a while"}))])

    result = await runner.invoke(SLUG, timeout=60)

    assert result.error is not None
    assert result.error["message"].startswith("the step 'nap': 'a while' is neither a duration")


async def test_run_complete_completes_the_run_with_its_data(autojump_clock: MockClock) -> None:
    runner, _ = make_runner([ops({"op": "RunComplete", "data": {"x": 1}})])

    result = await runner.invoke(SLUG, timeout=60)

    assert (result.status, result.result) == ("completed", {"x": 1})


async def test_an_unknown_operation_fails_the_run_and_is_named(autojump_clock: MockClock) -> None:
    runner, _ = make_runner([ops(op("AIGateway", "s1"))])

    result = await runner.invoke(SLUG, timeout=60)

    assert result.error == {
        "name": "UnsupportedOperation",
        "message": "'shop-pay' asked for the operation 'AIGateway', which is not known here",
    }


@pytest.mark.parametrize("again", [ops(), ops(op("StepRun", "s1", data=2))])
async def test_a_function_that_asks_for_nothing_new_fails_the_run(
    again: pb.SdkResponse, autojump_clock: MockClock
) -> None:
    runner, worker = make_runner([ops(op("StepRun", "s1", data=1)), again])

    result = await runner.invoke(SLUG, timeout=60)

    assert result.error is not None
    assert result.error["name"] == "NoProgress"
    assert [step.output for step in result.steps] == [1]
    assert len(worker.requests) == 2


# --- limits, timeout, cancellation -------------------------------------------------------


async def test_a_run_makes_no_more_calls_than_allowed(autojump_clock: MockClock) -> None:
    def endless(payload: dict[str, Any], _request: object) -> pb.SdkResponse:
        return ops(op("StepRun", f"s{len(payload['steps'])}"))

    runner, worker = make_runner(endless, limits=Limits(run_calls=5))

    result = await runner.invoke(SLUG, timeout=60)

    assert result.error == {
        "name": "TooManyCalls",
        "message": "the run needs more than 5 calls, the limit",
    }
    assert result.calls == len(worker.requests) == 5


async def test_a_reply_may_not_ask_for_more_operations_than_calls_are_allowed(
    autojump_clock: MockClock,
) -> None:
    runner, _ = make_runner(
        [ops(*(op("StepPlanned", f"s{n}") for n in range(6)))], limits=Limits(run_calls=5)
    )

    result = await runner.invoke(SLUG, timeout=60)

    assert result.error == {
        "name": "TooManyOperations",
        "message": "6 operations at once; 5 is the limit",
    }


async def test_a_run_whose_results_outgrow_a_message_fails(autojump_clock: MockClock) -> None:
    runner, _ = make_runner(
        [ops(op("StepRun", "s1", data="x" * 2000)), done()], limits=Limits(message_bytes=2000)
    )

    result = await runner.invoke(SLUG, timeout=60)

    assert result.error is not None
    assert result.error["name"] == "RunTooLarge"


async def test_a_run_that_takes_too_long_is_given_up(autojump_clock: MockClock) -> None:
    runner, worker = make_runner([ops(op("Sleep", "s1", opts={"duration": "1h"})), done()])

    with pytest.raises(RunTimeout, match="the run of 'shop-pay' did not end within 30 s"):
        await runner.invoke(SLUG, timeout=30)

    assert trio.current_time() == 30.0
    assert len(worker.requests) == 1


async def test_cancelling_an_invocation_cancels_the_call_in_progress(
    autojump_clock: MockClock,
) -> None:
    ended: list[float] = []

    async def hang(_payload: object, _request: object) -> pb.SdkResponse:
        try:
            await trio.sleep(math.inf)
        finally:
            ended.append(trio.current_time())
        return done()

    runner, _ = make_runner(hang)
    with trio.move_on_after(5) as scope:
        await runner.invoke(SLUG, timeout=60)

    assert scope.cancelled_caught
    assert ended == [5.0]


async def test_the_result_as_json_has_the_result_or_the_error(autojump_clock: MockClock) -> None:
    runner, _ = make_runner(
        [
            ops(op("StepRun", "s1", data=1, displayName="one"), op("StepFailed", "s2", error=BOOM)),
            done("ok"),
            failed("no", no_retry=True),
        ]
    )
    completed = await runner.invoke(SLUG, timeout=10)
    lost = await runner.invoke(SLUG, timeout=10)

    assert json.loads(json.dumps(completed.as_json())) == {
        "run_id": completed.run_id,
        "status": "completed",
        "result": "ok",
        "calls": 2,
        "duration_ms": 0,
        "steps": [
            {"id": "s1", "name": "one", "op": "StepRun", "status": "completed", "output": 1},
            {"id": "s2", "name": "s2", "op": "StepFailed", "status": "failed", "error": BOOM},
        ],
    }
    assert "result" not in lost.as_json()
    assert lost.as_json()["error"]["message"] == "no"
