"""Tests of what a run does beside its calls: planned steps, waits, invoked functions."""

import itertools
import math
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from connect.errors import Syscode, SyscodeError
from connect.protocol.messages.connect import v1 as pb
from connect.runs import EventBus, Runner
from connect.runs.events import Event
from connect.settings import Limits, Settings
from tests.runs.fakes import Apps, Worker, done, failed, function, make_runner, now, op, ops

SLUG = "shop-pay"
BOOM = {"name": "Boom", "message": "it broke"}
RACE = {"parallelMode": "race"}


# --- planned steps -----------------------------------------------------------------------


async def test_planned_steps_run_at_once_and_the_function_goes_on_when_all_are_over(
    autojump_clock: MockClock,
) -> None:
    async def answer(payload: dict[str, Any], _request: object) -> pb.SdkResponse:
        step = payload["ctx"]["step_id"]
        if step == "step":
            if payload["steps"]:
                return done(sorted(payload["steps"]))
            return ops(op("StepPlanned", "a"), op("StepPlanned", "b"), op("StepPlanned", "c"))
        await trio.sleep({"a": 3, "b": 1, "c": 2}[step])
        return ops(op("StepRun", step, data=step))

    runner, worker = make_runner(answer)

    result = await runner.invoke(SLUG, timeout=60)

    assert result.result == ["a", "b", "c"]
    assert result.duration_ms == 3000
    assert [request.step_id for request in worker.requests].count("step") == 2
    assert worker.payloads[-1]["ctx"]["stack"] == {"stack": ["b", "c", "a"], "current": 3}


async def test_a_planned_step_has_attempts_of_its_own(autojump_clock: MockClock) -> None:
    def answer(payload: dict[str, Any], _request: object) -> pb.SdkResponse:
        step, attempt = payload["ctx"]["step_id"], payload["ctx"]["attempt"]
        if step == "step":
            return (
                done() if payload["steps"] else ops(op("StepPlanned", "a"), op("StepPlanned", "b"))
            )
        if step == "a" and attempt < 2:
            return ops(op("StepError", "a", error=BOOM))
        return ops(op("StepRun", step))

    runner, worker = make_runner(answer)

    await runner.invoke(SLUG, timeout=60)

    attempts = [p["ctx"]["attempt"] for p in worker.payloads if p["ctx"]["step_id"] == "a"]
    assert attempts == [0, 1, 2]


async def test_a_planned_step_that_keeps_failing_gives_its_error_to_the_function(
    autojump_clock: MockClock,
) -> None:
    def answer(payload: dict[str, Any], _request: object) -> pb.SdkResponse:
        if payload["ctx"]["step_id"] == "a":
            return ops(op("StepError", "a", error=BOOM))
        return done(payload["steps"]) if payload["steps"] else ops(op("StepPlanned", "a"))

    runner, _ = make_runner(answer, function(retries=1))

    result = await runner.invoke(SLUG, timeout=60)

    assert result.result == {"a": {"error": BOOM}}


async def test_an_error_reply_of_a_planned_step_is_retried_and_then_fails_the_run(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner(
        [ops(op("StepPlanned", "a")), failed("x"), failed("y")], function(retries=1)
    )

    result = await runner.invoke(SLUG, timeout=60)

    assert (result.status, worker.times) == ("failed", [0.0, 0.0, 1.0])


async def test_a_planned_step_may_turn_out_to_be_a_sleep(autojump_clock: MockClock) -> None:
    runner, worker = make_runner(
        [ops(op("StepPlanned", "a")), ops(op("Sleep", "a", opts={"duration": "9s"})), done()]
    )

    await runner.invoke(SLUG, timeout=60)

    assert worker.times == [0.0, 0.0, 9.0]


@pytest.mark.parametrize("answer", [ops(op("StepPlanned", "a")), ops(op("StepRun", "b")), ops()])
async def test_a_planned_step_that_is_not_run_fails_the_run(
    answer: pb.SdkResponse, autojump_clock: MockClock
) -> None:
    runner, _ = make_runner([ops(op("StepPlanned", "a")), answer])

    result = await runner.invoke(SLUG, timeout=60)

    assert result.error is not None
    assert result.error["name"] == "StepNotRun"


async def test_a_run_that_completes_in_the_call_of_a_planned_step_ends_the_others(
    autojump_clock: MockClock,
) -> None:
    async def answer(payload: dict[str, Any], _request: object) -> pb.SdkResponse:
        match payload["ctx"]["step_id"]:
            case "step":
                return ops(op("StepPlanned", "a"), op("StepPlanned", "b"))
            case "a":
                return done("early")
            case _:
                await trio.sleep(math.inf)
                return done()

    runner, _ = make_runner(answer)

    result = await runner.invoke(SLUG, timeout=60)

    assert (result.result, trio.current_time()) == ("early", 0.0)


async def test_a_step_error_is_retried_while_other_steps_are_in_progress(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner(
        [
            ops(op("Sleep", "nap", opts={"duration": "10s"}), op("StepError", "a", error=BOOM)),
            ops(op("Sleep", "nap", opts={"duration": "10s"}), op("StepRun", "a")),
            done(),
        ]
    )

    result = await runner.invoke(SLUG, timeout=60)

    assert worker.times == [0.0, 1.0, 10.0]
    assert [step.id for step in result.steps] == ["a", "nap"]


# --- racing steps ------------------------------------------------------------------------


async def test_a_function_whose_steps_race_goes_on_when_the_first_is_over(
    autojump_clock: MockClock,
) -> None:
    def answer(payload: dict[str, Any], _request: object) -> pb.SdkResponse:
        if payload["steps"]:
            return done(sorted(payload["steps"]))
        return ops(
            op("Sleep", "long", opts=RACE | {"duration": "50s"}),
            op("Sleep", "short", opts=RACE | {"duration": "1s"}),
        )

    runner, _ = make_runner(answer)

    result = await runner.invoke(SLUG, timeout=60)

    assert result.result == ["short"]
    assert trio.current_time() == 1.0


async def test_a_function_that_still_wants_the_loser_of_a_race_waits_for_it(
    autojump_clock: MockClock,
) -> None:
    def answer(payload: dict[str, Any], _request: object) -> pb.SdkResponse:
        if len(payload["steps"]) == 2:
            return done(sorted(payload["steps"]))
        return ops(
            op("Sleep", "long", opts=RACE | {"duration": "50s"}),
            op("Sleep", "short", opts=RACE | {"duration": "1s"}),
        )

    runner, worker = make_runner(answer)

    result = await runner.invoke(SLUG, timeout=60)

    assert result.result == ["long", "short"]
    assert worker.times == [0.0, 1.0, 50.0]


# --- waiting for events ------------------------------------------------------------------


def _wait(**opts: Any) -> pb.SdkResponse:
    return ops(op("WaitForEvent", "w", opts={"event": "paid", "timeout": "1m"} | opts))


async def _publish(bus: EventBus, *events: Event) -> None:
    for event in events:
        await trio.sleep(1)
        bus.publish(event)


async def test_a_fulfilled_wait_resumes_the_function_with_the_bare_event(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner([_wait(), done()])
    event = Event(id="1", name="paid", data={"n": 5}, ts=7)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_publish, runner.events, event)
        await runner.invoke(SLUG, timeout=100)

    assert worker.payloads[1]["steps"] == {"w": event.as_json()}
    assert worker.times[1] == 1.0


async def test_a_wait_whose_event_does_not_come_resumes_with_null(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner([_wait(), done()])

    await runner.invoke(SLUG, timeout=100)

    assert worker.times[1] == 60.0
    assert worker.payloads[1]["steps"] == {"w": None}


async def test_a_wait_without_a_timeout_waits_on(autojump_clock: MockClock) -> None:
    runner, worker = make_runner([_wait(timeout=None), done()])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_publish, runner.events, *[Event(id="1", name="x")] * 99)
        nursery.start_soon(_publish_late, runner.events)
        await runner.invoke(SLUG, timeout=10_000)

    assert worker.times[1] == 5000.0


async def _publish_late(bus: EventBus) -> None:
    await trio.sleep(5000)
    bus.publish(Event(id="1", name="paid"))


async def test_a_wait_takes_only_the_event_that_its_condition_is_true_of(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner([_wait(**{"if": "event.data.id == async.data.id"}), done()])
    other = Event(id="1", name="paid", data={"id": 8})
    right = Event(id="2", name="paid", data={"id": 7})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_publish, runner.events, other, right)
        await runner.invoke(SLUG, data={"id": 7}, timeout=100)

    assert worker.payloads[1]["steps"]["w"]["id"] == "2"


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("event.data. ==", "syntax error at line 1"),
        ("other.x == 1", "undeclared reference to 'other'; there is async, event"),
    ],
)
async def test_a_bad_condition_fails_the_run_and_is_quoted(
    condition: str, reason: str, autojump_clock: MockClock
) -> None:
    runner, _ = make_runner([_wait(**{"if": condition}), done()])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_publish, runner.events, Event(id="1", name="paid"))
        result = await runner.invoke(SLUG, timeout=100)

    assert result.error is not None
    assert result.error["name"] == "ExpressionError"
    assert result.error["message"].startswith(f"the step 'w': the expression {condition!r}")
    assert reason in result.error["message"]


async def test_a_run_that_finds_the_bus_full_fails(autojump_clock: MockClock) -> None:
    worker = Worker([_wait(), done()])
    runner = Runner(
        Apps(function()),
        worker.execute,
        settings=Settings(),
        now=now,
        events=EventBus(max_waits=0),
    )

    result = await runner.invoke(SLUG, timeout=100)

    assert result.error is not None
    assert result.error["name"] == "TooManyWaits"


# --- invoked functions -------------------------------------------------------------------


def _invoke(slug: str = "shop-bill", **opts: Any) -> pb.SdkResponse:
    return ops(op("InvokeFunction", "i", opts={"function_id": slug, "payload": {}} | opts))


def _by_function(**answers: Any) -> Any:
    """Answer by function: a reply, or a list of replies, one a call."""
    replies = {
        slug: iter(given) if isinstance(given, list) else itertools.repeat(given)
        for slug, given in answers.items()
    }

    def answer(_payload: object, request: pb.GatewayExecutorRequestData) -> pb.SdkResponse:
        reply: pb.SdkResponse = next(replies[request.function_slug.removeprefix("shop-")])
        return reply

    return answer


BOTH = (function("shop-pay"), function("shop-bill", retries=0))


async def test_an_invoked_function_gives_its_result_to_the_step(autojump_clock: MockClock) -> None:
    invoke = _invoke(payload={"data": {"n": 1}, "user": {"u": 2}})
    runner, worker = make_runner(_by_function(pay=[invoke, done("paid")], bill=done(7)), *BOTH)

    result = await runner.invoke(SLUG, timeout=60)

    pay, bill, pay_again = worker.payloads
    assert bill["event"]["name"] == "inngest/function.invoked"
    assert (bill["event"]["data"], bill["event"]["user"]) == ({"n": 1}, {"u": 2})
    assert pay_again["steps"] == {"i": {"data": 7}}
    assert bill["ctx"]["run_id"] != pay["ctx"]["run_id"]
    assert (result.result, result.calls) == ("paid", 2)


async def test_an_invoked_function_that_fails_gives_its_error_to_the_step(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner(_by_function(pay=[_invoke(), done()], bill=failed("empty")), *BOTH)

    await runner.invoke(SLUG, timeout=60)

    assert worker.payloads[-1]["steps"]["i"]["error"]["message"] == "empty"


async def test_an_invoked_function_that_there_is_not_fails_the_step(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner(_by_function(pay=[_invoke("shop-bil"), done()]), *BOTH)

    await runner.invoke(SLUG, timeout=60)

    error = worker.payloads[-1]["steps"]["i"]["error"]
    assert error["name"] == "FunctionNotFound"
    assert "did you mean 'shop-bill'" in error["message"]


async def test_an_invocation_with_data_that_is_no_object_fails_the_step(
    autojump_clock: MockClock,
) -> None:
    runner, worker = make_runner(_by_function(pay=[_invoke(payload={"data": [1]}), done()]), *BOTH)

    await runner.invoke(SLUG, timeout=60)

    assert worker.payloads[-1]["steps"]["i"]["error"] == {
        "name": "InvalidEvent",
        "message": "payload.data: expected an object",
    }


async def test_an_invoked_function_that_takes_too_long_fails_the_step(
    autojump_clock: MockClock,
) -> None:
    nap = ops(op("Sleep", "nap", opts={"duration": "1h"}))
    runner, worker = make_runner(
        _by_function(pay=[_invoke(timeout="10s"), done()], bill=nap), *BOTH
    )

    await runner.invoke(SLUG, timeout=60)

    assert worker.times[-1] == 10.0
    assert worker.payloads[-1]["steps"]["i"]["error"] == {
        "name": "InvokeTimeout",
        "message": "'shop-bill' did not end within 10s",
    }


async def test_functions_that_invoke_one_another_without_end_are_stopped(
    autojump_clock: MockClock,
) -> None:
    def answer(payload: dict[str, Any], _request: object) -> pb.SdkResponse:
        return done(payload["steps"]["i"]) if payload["steps"] else _invoke("shop-pay")

    runner, worker = make_runner(answer)

    result = await runner.invoke(SLUG, timeout=60)

    assert "InvokedTooDeep" in str(result.result)
    assert len(worker.requests) == 22


async def test_invoked_functions_share_the_limit_of_calls(autojump_clock: MockClock) -> None:
    steps = [ops(op("StepRun", f"s{n}")) for n in range(9)]
    runner, worker = make_runner(
        _by_function(pay=_invoke(), bill=steps), *BOTH, limits=Limits(run_calls=4)
    )

    result = await runner.invoke(SLUG, timeout=60)

    assert result.status == "failed"
    assert len(worker.requests) == 4


async def test_a_lost_call_of_an_invoked_function_reaches_the_caller(
    autojump_clock: MockClock,
) -> None:
    lost = SyscodeError(Syscode.ALL_WORKERS_AT_CAPACITY, "full")

    def answer(_payload: object, request: pb.GatewayExecutorRequestData) -> Any:
        return _invoke() if request.function_slug == "shop-pay" else lost

    runner, _ = make_runner(answer, *BOTH)

    with pytest.raises(SyscodeError) as caught:
        await runner.invoke(SLUG, timeout=60)

    assert caught.value is lost
