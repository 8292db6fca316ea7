"""Tests of ``POST /v0/invoke`` and of the event API."""

import json
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from ulid import ULID

from connect.errors import LimitReached, StoreUnavailable, Syscode, SyscodeError
from connect.settings import Limits, Settings, Timing
from tests.api.fakes import AUTHORIZED, KEYS, Store, open_api
from tests.runs.fakes import START, Apps, done, failed, function, op, ops

INVOKE = "/v0/invoke"
PAY = {"function": "shop-pay", "data": {}}


async def test_invoke_answers_with_the_result_of_the_run(mock_clock: MockClock) -> None:
    script = [ops(op("StepRun", "s1", data=5)), done({"total": 3})]
    async with open_api(script=script) as api:
        response = await api.client.post(INVOKE, json=PAY)

    body = response.json()
    assert response.status_code == 200
    assert str(ULID.from_str(body.pop("run_id")))
    assert body == {
        "status": "completed",
        "result": {"total": 3},
        "calls": 2,
        "duration_ms": 0,
        "steps": [{"id": "s1", "name": "s1", "op": "StepRun", "status": "completed", "output": 5}],
    }


async def test_invoke_of_a_function_that_fails_is_answered_with_its_error(
    mock_clock: MockClock,
) -> None:
    async with open_api(script=[failed("broke", no_retry=True)]) as api:
        response = await api.client.post(INVOKE, json=PAY)

    assert response.status_code == 200
    assert response.json()["status"] == "failed"
    assert response.json()["error"]["message"] == "broke"


async def test_invoke_takes_an_event_in_place_of_data(mock_clock: MockClock) -> None:
    async with open_api(script=[done()]) as api:
        await api.client.post(INVOKE, json={"function": "shop-pay", "event": {"name": "x"}})

    assert api.worker.payloads[0]["event"]["name"] == "x"


async def test_invoke_takes_data_that_is_null(mock_clock: MockClock) -> None:
    async with open_api(script=[done()]) as api:
        response = await api.client.post(INVOKE, json={"function": "shop-pay", "data": None})

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b"{", "the body is not JSON: ", "invalid_body"),
        (b"[]", "the body must be a JSON object", "invalid_body"),
        (b"{}", "function must be the slug of a function", "invalid_body"),
        (b'{"function": 7}', "function must be the slug of a function", "invalid_body"),
        (b'{"function": "a"}', "give either data or event: one of them", "invalid_body"),
        (
            b'{"function": "a", "data": {}, "event": {}}',
            "give either data or event: one of them",
            "invalid_body",
        ),
        (b'{"function": "a", "data": []}', "data: expected an object", "invalid_event"),
        (
            b'{"function": "a", "data": {}, "timeout": "soon"}',
            "timeout: ",
            "invalid_timeout",
        ),
        (
            b'{"function": "a", "data": {}, "timeout": 0}',
            "timeout: must be more than 0 and at most 7200 seconds",
            "invalid_timeout",
        ),
        (
            b'{"function": "a", "data": {}, "timeout": "3h"}',
            "timeout: must be more than 0 and at most 7200 seconds",
            "invalid_timeout",
        ),
        (
            b'{"function": "a", "data": {}, "timeout": true}',
            "timeout: expected seconds or a duration such as '30s'",
            "invalid_timeout",
        ),
    ],
)
async def test_invoke_refuses_what_it_cannot_run_with_the_reason(
    body: bytes, message: str, code: str, mock_clock: MockClock
) -> None:
    async with open_api() as api:
        response = await api.client.post(INVOKE, content=body)

    assert response.status_code == 400
    assert response.json()["error"].startswith(message)
    assert response.json()["code"] == code


async def test_invoke_of_an_unknown_function_suggests_the_nearest(mock_clock: MockClock) -> None:
    async with open_api() as api:
        response = await api.client.post(INVOKE, json={"function": "shop-pya", "data": {}})

    assert response.json() == {
        "error": "no app serves the function 'shop-pya'; did you mean 'shop-pay'?",
        "code": "function_not_found",
        "status": 404,
        "suggestions": ["shop-pay"],
    }


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (SyscodeError(Syscode.NO_HEALTHY_CONNECTION, "m"), 503, "connect_no_healthy_connection"),
        (SyscodeError(Syscode.ALL_WORKERS_AT_CAPACITY, "m"), 429, Syscode.ALL_WORKERS_AT_CAPACITY),
        (SyscodeError(Syscode.WORKER_AT_CAPACITY, "m"), 429, Syscode.WORKER_AT_CAPACITY),
        (
            SyscodeError(Syscode.WORKER_STOPPED_RESPONDING, "m"),
            504,
            "connect_worker_stopped_responding",
        ),
        (SyscodeError(Syscode.REQUEST_TOO_LONG, "m"), 504, "request_too_long"),
        (SyscodeError(Syscode.INTERNAL_ERROR, "m"), 500, "connect_internal_error"),
        (StoreUnavailable("m"), 503, "store_unavailable"),
    ],
)
async def test_invoke_answers_a_lost_call_by_its_code(
    error: Exception, status: int, code: str, mock_clock: MockClock
) -> None:
    async with open_api(script=[error]) as api:
        response = await api.client.post(INVOKE, json=PAY)

    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (LimitReached(Syscode.EXECUTOR_AT_CAPACITY, "full", retry_after=2.5), "3"),
        (SyscodeError(Syscode.ALL_WORKERS_AT_CAPACITY, "busy"), "1"),
    ],
)
async def test_invoke_says_when_to_come_again_where_there_is_no_room(
    error: Exception, seconds: str, mock_clock: MockClock
) -> None:
    async with open_api(script=[error]) as api:
        response = await api.client.post(INVOKE, json=PAY)

    assert (response.status_code, response.headers["retry-after"]) == (429, seconds)


async def test_invoke_and_events_are_refused_once_no_more_runs_are_started(
    mock_clock: MockClock,
) -> None:
    async with open_api(Store(registered=TRIGGERED)) as api:
        api.runner.close()
        answers = [
            await api.client.post(INVOKE, json=PAY),
            await api.client.post("/e/key", json={"name": "shop/paid"}),
        ]

    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["code"] == "connect_executor_closing"
    assert api.worker.requests == []


async def test_invoke_of_a_run_that_is_ended_is_told_to_come_again(mock_clock: MockClock) -> None:
    async with open_api(script=[ops(op("Sleep", "s1", opts={"duration": "1h"}))]) as api:
        answers = []

        async def invoke() -> None:
            answers.append(await api.client.post(INVOKE, json=PAY))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(invoke)
            await trio.testing.wait_all_tasks_blocked()
            api.runner.end()

    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [
        (503, "1")
    ]


async def test_invoke_that_fails_otherwise_gives_no_hint(mock_clock: MockClock) -> None:
    error = SyscodeError(Syscode.NO_HEALTHY_CONNECTION, "m")
    async with open_api(script=[error]) as api:
        response = await api.client.post(INVOKE, json=PAY)

    assert "retry-after" not in response.headers


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(30, 30.0), ("90s", 90.0), (1.5, 1.5), (None, 60.0)]
)
async def test_invoke_gives_up_after_its_timeout(
    timeout: object, seconds: float, autojump_clock: MockClock
) -> None:
    async with open_api(script=[ops(op("Sleep", "s", opts={"duration": "1h"}))]) as api:
        response = await api.client.post(INVOKE, json=PAY | {"timeout": timeout})

    assert (response.status_code, response.json()["code"]) == (504, "timeout")
    assert trio.current_time() == seconds


async def test_invoke_waits_no_longer_by_default_than_a_function_may_take(
    autojump_clock: MockClock,
) -> None:
    settings = Settings(timing=Timing(longest_function=20))
    script = [ops(op("Sleep", "s", opts={"duration": "1h"}))]
    async with open_api(script=script, settings=settings) as api:
        await api.client.post(INVOKE, json=PAY)

    assert trio.current_time() == 20.0


async def test_invoke_refuses_a_body_over_the_limit(mock_clock: MockClock) -> None:
    settings = Settings(limits=Limits(invoke_body_bytes=10))
    async with open_api(settings=settings) as api:
        response = await api.client.post(INVOKE, json=PAY)

    assert response.status_code == 413


async def test_invoke_needs_the_signing_key_when_there_is_one(mock_clock: MockClock) -> None:
    async with open_api(script=[done()], keys=KEYS) as api:
        refused = await api.client.post(INVOKE, json=PAY)
        admitted = await api.client.post(INVOKE, json=PAY, headers=AUTHORIZED)

    assert (refused.status_code, admitted.status_code) == (401, 200)


async def test_the_run_ends_when_the_client_of_an_invocation_goes_away(
    autojump_clock: MockClock,
) -> None:
    ended: list[float] = []

    async def hang(_payload: object, _request: object) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    messages = iter([{"type": "http.request", "body": json.dumps(PAY).encode()}])
    sent: list[Any] = []

    async def receive() -> Any:
        for message in messages:
            return message
        await trio.sleep(3)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": INVOKE,
        "query_string": b"",
        "headers": [],
        "scheme": "http",
        "server": ("api", 80),
    }
    async with open_api(script=hang) as api:
        await api.app(scope, receive, send)

    assert ended == [3.0]
    assert sent[0]["status"] == 499


# --- events ------------------------------------------------------------------------------

TRIGGERED = Apps(function("shop-pay", triggers=[{"event": "shop/paid"}]))


async def test_an_event_starts_the_functions_that_it_triggers(autojump_clock: MockClock) -> None:
    async with open_api(Store(registered=TRIGGERED), script=[done()]) as api:
        response = await api.client.post("/e/key", json={"name": "shop/paid", "data": {"n": 1}})
        await trio.testing.wait_all_tasks_blocked()

    (event_id,) = response.json()["ids"]
    event = api.worker.payloads[0]["event"]
    assert (response.status_code, response.json()["status"]) == (200, 200)
    assert event == {
        "id": event_id,
        "name": "shop/paid",
        "data": {"n": 1},
        "user": {},
        "ts": int(START * 1000),
    }


async def test_a_list_of_events_is_answered_with_their_ids_in_order(mock_clock: MockClock) -> None:
    async with open_api() as api:
        response = await api.client.post(
            "/e/key", json=[{"name": "a", "id": "1"}, {"name": "b", "id": "2"}]
        )

    assert response.json() == {"ids": ["1", "2"], "status": 200}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"nonsense", "the body is not JSON: "),
        (b"7", "event: expected an object"),
        (b'[{"name": "a"}, {}]', "event 2.name: expected a non-empty string"),
        (b'{"name": "a", "data": 1}', "event.data: expected an object"),
    ],
)
async def test_what_is_no_event_is_refused_with_the_place(
    body: bytes, message: str, mock_clock: MockClock
) -> None:
    async with open_api() as api:
        response = await api.client.post("/e/key", content=body)

    assert response.status_code == 400
    assert response.json()["error"].startswith(message)


async def test_events_for_more_runs_than_allowed_are_refused(mock_clock: MockClock) -> None:
    async with open_api(Store(registered=TRIGGERED), max_runs=0) as api:
        response = await api.client.post("/e/key", json={"name": "shop/paid"})

    assert (response.status_code, response.json()["code"]) == (503, "too_many_runs")


async def test_an_unknown_event_key_is_refused_when_keys_are_configured(
    mock_clock: MockClock,
) -> None:
    async with open_api(keys=KEYS, event_keys=["one", "two"]) as api:
        refused = await api.client.post("/e/three", json={"name": "a"})
        admitted = await api.client.post("/e/two", json={"name": "a"})

    assert (refused.status_code, admitted.status_code) == (401, 200)


async def test_without_event_keys_events_need_the_signing_key_when_there_is_one(
    mock_clock: MockClock,
) -> None:
    async with open_api(keys=KEYS) as api:
        refused = await api.client.post("/e/any", json={"name": "a"})
        admitted = await api.client.post("/e/any", json={"name": "a"}, headers=AUTHORIZED)

    assert (refused.status_code, admitted.status_code) == (401, 200)
