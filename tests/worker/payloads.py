"""Request payloads, as an executor makes them."""

import json
from collections.abc import Mapping
from typing import Any

from connect.worker.app import App, Function, Handler
from connect.worker.call import Outcome, call_function
from connect.worker.steps import hash_step_id

__all__ = ["body_of", "call", "make_payload"]


def make_payload(
    *,
    data: Mapping[str, Any] | None = None,
    steps: Mapping[str, Any] | None = None,
    attempt: int = 0,
    max_attempts: int | None = 4,
    step_id: str = "step",
    plan: bool = False,
) -> bytes:
    """A payload; ``steps`` are by readable step id, and so is ``step_id``."""
    event = {"id": "01J", "name": "demo/hello", "data": data or {}, "user": {}, "ts": 1700}
    ctx = {
        "fn_id": "f",
        "run_id": "run-1",
        "env": "dev",
        "step_id": step_id if step_id == "step" else hash_step_id(step_id),
        "attempt": attempt,
        "max_attempts": max_attempts,
        "stack": {"stack": [], "current": 0},
        "disable_immediate_execution": plan,
        "use_api": False,
    }
    memos = {hash_step_id(name): memo for name, memo in (steps or {}).items()}
    payload = {"event": event, "events": [event], "steps": memos, "ctx": ctx, "version": -1}
    return json.dumps(payload).encode()


async def call(handler: Handler, payload: bytes | None = None, /, **of_payload: Any) -> Outcome:
    """Call a handler as a function of an app, with a payload."""
    app = App("app")
    app.function("f")(handler)
    function: Function = app.functions["app-f"]
    return await call_function(function, make_payload(**of_payload) if payload is None else payload)


def body_of(outcome: Outcome) -> Any:
    return json.loads(outcome.body)
