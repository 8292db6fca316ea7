"""The function that is called, and the requests that call it."""

import json

import trio
from trio.testing import MockClock

from bench.work import APP_NAME, BODY_BYTES, SLUG, Requests, bench_app, request_payload
from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb
from connect.worker.call import call_function


def test_payload_has_the_size_asked_for_and_is_json() -> None:
    payload = request_payload(512)
    assert len(payload) == 512
    assert json.loads(payload)["version"] == -1


def test_requests_differ_in_their_ids_only() -> None:
    requests = Requests("an-app", b"payload")
    first, second = (decode(pb.GatewayExecutorRequestData, requests.next()) for _ in range(2))
    assert (first.request_id, second.request_id) == ("0" * 25 + "1", "0" * 25 + "2")
    second.request_id = first.request_id
    assert first == second


def test_requests_begin_with_the_number_asked_for() -> None:
    requests = Requests("an-app", b"payload", first=10**25)
    assert decode(pb.GatewayExecutorRequestData, requests.next()).request_id == "1" + "0" * 25


def test_request_names_the_app_and_its_function() -> None:
    request = decode(pb.GatewayExecutorRequestData, Requests("an-app", b"payload").next())
    assert (request.app_id, request.app_name, request.function_slug, request.request_payload) == (
        "an-app", APP_NAME, SLUG, b"payload",
    )  # fmt: skip


async def test_function_runs_for_as_long_as_its_request_says(autojump_clock: MockClock) -> None:
    function, began = bench_app().functions[SLUG], trio.current_time()
    await call_function(function, request_payload(512, seconds=8.0))
    assert trio.current_time() - began == 8.0


async def test_function_returns_at_once_with_a_body_of_the_size_that_is_said() -> None:
    outcome = await call_function(bench_app().functions[SLUG], request_payload(512))
    assert (outcome.status, len(outcome.body)) == (pb.SdkResponseStatus.DONE, BODY_BYTES)
