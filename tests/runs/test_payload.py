"""Tests of `connect.runs.payload`, against the worker SDK's own reading of it."""

import json

from inngest._internal.server_lib import ServerRequest

from connect.runs.events import Event
from connect.runs.payload import MAIN_STEP, request_payload

EVENT = Event(id="01", name="shop/paid", data={"a": 1}, ts=1_700_000_000_000)


def _payload() -> bytes:
    return request_payload(
        event=EVENT,
        steps={"s2": {"data": 5}, "s1": None},
        stack=["s2", "s1"],
        function_id="fn",
        run_id="run",
        env_id="env",
        step_id=MAIN_STEP,
        attempt=1,
        max_attempts=4,
        version=-1,
    )


def test_the_payload_has_exactly_the_fields_of_a_call() -> None:
    event = {"id": "01", "name": "shop/paid", "data": {"a": 1}, "user": {}, "ts": 1700000000000}

    assert json.loads(_payload()) == {
        "event": event,
        "events": [event],
        "steps": {"s2": {"data": 5}, "s1": None},
        "ctx": {
            "fn_id": "fn",
            "run_id": "run",
            "env": "env",
            "step_id": "step",
            "attempt": 1,
            "max_attempts": 4,
            "stack": {"stack": ["s2", "s1"], "current": 2},
            "disable_immediate_execution": False,
            "use_api": False,
        },
        "version": -1,
        "use_api": False,
    }


def test_the_worker_sdk_reads_the_payload() -> None:
    request = ServerRequest.from_raw(json.loads(_payload()))

    assert isinstance(request, ServerRequest)
    assert request.ctx.stack.stack == ["s2", "s1"]
