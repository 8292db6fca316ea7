"""Tests of runs against the worker SDK itself, called in process."""

import datetime
import http
import warnings
from typing import Any

import inngest
import trio
from inngest._internal import server_lib
from trio.testing import MockClock

from connect.protocol.messages.connect import v1 as pb
from connect.runs import Event, Runner, RunResult
from connect.settings import Settings
from tests.runs.fakes import DONE, ERROR, NOT_COMPLETED, Apps, Worker, now

with warnings.catch_warnings():  # the SDK defines its models in a deprecated way
    warnings.simplefilter("ignore", DeprecationWarning)
    from inngest._internal import comm_lib

CLIENT = inngest.Inngest(app_id="shop", is_production=False)
TRIGGER = inngest.TriggerEvent(event="shop/paid")

STATUS: dict[int, Any] = {
    http.HTTPStatus.OK: DONE,
    http.HTTPStatus.INTERNAL_SERVER_ERROR: ERROR,
    http.HTTPStatus.PARTIAL_CONTENT: NOT_COMPLETED,
}


class Sdk:
    """A worker made of the SDK's own request handler."""

    def __init__(self, *functions: inngest.Function[Any]) -> None:
        self._handler = comm_lib.CommHandler(
            client=CLIENT,
            enable_unauthed_sync=None,
            framework=server_lib.Framework.CONNECT,
            functions=list(functions),
            streaming=None,
        )
        configs = comm_lib.get_function_configs(
            "wss://connect", {function.get_id(): function for function in functions}
        )
        assert isinstance(configs, list)
        self.definitions = [config.to_dict() for config in configs]

    def answer(
        self, _payload: dict[str, Any], request: pb.GatewayExecutorRequestData
    ) -> pb.SdkResponse:
        response = self._handler.post_sync(
            comm_lib.CommRequest(
                body=request.request_payload,
                headers={},
                is_connect=True,
                public_path=None,
                query_params={"fnId": request.function_slug, "stepId": request.step_id or ""},
                raw_request=request,
                request_url="",
                serve_origin=None,
                serve_path=None,
            )
        )
        body = response.body_bytes()
        assert isinstance(body, bytes)
        return pb.SdkResponse(
            status=STATUS[response.status_code],
            body=body,
            no_retry=response.no_retry,
            retry_after=response.retry_after,
            request_version=response.request_version or 0,
        )


async def _run(
    *functions: inngest.Function[Any], slug: str = "shop-pay"
) -> tuple[RunResult, Worker]:
    sdk = Sdk(*functions)
    worker = Worker(sdk.answer)
    definitions: list[Any] = sdk.definitions
    runner = Runner(
        Apps(*definitions), worker.execute, settings=Settings(), now=now, jitter=lambda: 0.0
    )
    return await runner.invoke(slug, data={"n": 2}, timeout=10_000), worker


async def test_steps_one_after_another(autojump_clock: MockClock) -> None:
    @CLIENT.create_function(fn_id="pay", trigger=TRIGGER)
    def pay(ctx: inngest.ContextSync) -> int:
        first = ctx.step.run("first", lambda: 20)
        second = ctx.step.run("second", lambda: first + 1)
        return second * int(str(ctx.event.data["n"]))

    result, _ = await _run(pay)

    assert (result.result, result.calls) == (42, 3)
    assert [(step.name, step.output) for step in result.steps] == [("first", 20), ("second", 21)]


async def test_parallel_steps(autojump_clock: MockClock) -> None:
    @CLIENT.create_function(fn_id="pay", trigger=TRIGGER)
    def pay(ctx: inngest.ContextSync) -> list[int]:
        return list(
            ctx.group.parallel(
                (lambda: ctx.step.run("a", lambda: 1), lambda: ctx.step.run("b", lambda: 2))
            )
        )

    result, _ = await _run(pay)

    assert (result.status, result.result) == ("completed", [1, 2])


async def test_a_step_that_fails_once(autojump_clock: MockClock) -> None:
    tries: list[int] = []

    def flaky() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")
        return "ok"

    @CLIENT.create_function(fn_id="pay", trigger=TRIGGER, retries=2)
    def pay(ctx: inngest.ContextSync) -> str:
        return ctx.step.run("flaky", flaky)

    result, _ = await _run(pay)

    assert (result.result, len(tries)) == ("ok", 2)


async def test_a_step_whose_error_the_function_handles(autojump_clock: MockClock) -> None:
    def fail() -> str:
        raise ValueError("never")

    @CLIENT.create_function(fn_id="pay", trigger=TRIGGER, retries=1)
    def pay(ctx: inngest.ContextSync) -> str:
        try:
            return ctx.step.run("fails", fail)
        except inngest.StepError as error:
            return f"handled {error.message}"

    result, worker = await _run(pay)

    assert result.result == "handled never"
    assert len(worker.requests) == 3


async def test_a_function_that_must_not_be_retried(autojump_clock: MockClock) -> None:
    @CLIENT.create_function(fn_id="pay", trigger=TRIGGER)
    def pay(ctx: inngest.ContextSync) -> None:
        raise inngest.NonRetriableError("final")

    result, _ = await _run(pay)

    assert result.error is not None
    assert (result.status, result.calls, result.error["message"]) == ("failed", 1, "final")


async def test_a_function_that_says_when_to_retry(autojump_clock: MockClock) -> None:
    @CLIENT.create_function(fn_id="pay", trigger=TRIGGER)
    def pay(ctx: inngest.ContextSync) -> str:
        if ctx.attempt == 0:
            at = datetime.datetime.fromtimestamp(now() + 30, datetime.UTC)
            raise inngest.RetryAfterError("later", at)
        return "ok"

    result, worker = await _run(pay)

    assert (result.result, worker.times) == ("ok", [0.0, 30.0])


async def test_a_sleep(autojump_clock: MockClock) -> None:
    @CLIENT.create_function(fn_id="pay", trigger=TRIGGER)
    def pay(ctx: inngest.ContextSync) -> str:
        until = datetime.datetime.fromtimestamp(now() + 90, datetime.UTC)
        ctx.step.sleep_until("nap", until)
        return "rested"

    result, worker = await _run(pay)

    assert (result.result, worker.times) == ("rested", [0.0, 90.0])


async def test_a_wait_that_times_out(autojump_clock: MockClock) -> None:
    @CLIENT.create_function(fn_id="pay", trigger=TRIGGER)
    def pay(ctx: inngest.ContextSync) -> bool:
        event = ctx.step.wait_for_event("wait", event="shop/sent", timeout=5000)
        return event is None

    result, worker = await _run(pay)

    assert (result.result, worker.times) == (True, [0.0, 5.0])


async def test_a_wait_that_is_fulfilled(autojump_clock: MockClock) -> None:
    @CLIENT.create_function(fn_id="pay", trigger=TRIGGER)
    def pay(ctx: inngest.ContextSync) -> str:
        event = ctx.step.wait_for_event(
            "wait", event="shop/sent", if_exp="event.data.n == async.data.n", timeout=5000
        )
        return "none" if event is None else event.id

    sdk = Sdk(pay)
    definitions: list[Any] = sdk.definitions
    worker = Worker(sdk.answer)
    runner = Runner(Apps(*definitions), worker.execute, settings=Settings(), now=now)

    async def publish() -> None:
        await trio.sleep(1)
        runner.events.publish(Event(id="wrong", name="shop/sent", data={"n": 1}))
        runner.events.publish(Event(id="right", name="shop/sent", data={"n": 2}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish)
        result = await runner.invoke("shop-pay", data={"n": 2}, timeout=60)

    assert result.result == "right"


async def test_an_invoked_function(autojump_clock: MockClock) -> None:
    @CLIENT.create_function(fn_id="bill", trigger=TRIGGER)
    def bill(ctx: inngest.ContextSync) -> dict[str, object]:
        return {"amount": ctx.event.data["amount"]}

    @CLIENT.create_function(fn_id="pay", trigger=TRIGGER)
    def pay(ctx: inngest.ContextSync) -> object:
        return ctx.step.invoke("call", function=bill, data={"amount": 7})

    result, _ = await _run(pay, bill)

    assert result.result == {"amount": 7}
