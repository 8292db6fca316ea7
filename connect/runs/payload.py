"""The request payload: what an SDK needs to know for one call of a function."""

from collections.abc import Mapping, Sequence
from typing import Any

from connect.runs import jsontext
from connect.runs.events import Event

__all__ = ["MAIN_STEP", "request_payload"]

# The step id of a call that lets the function run on, rather than one planned step.
MAIN_STEP = "step"


def request_payload(
    *,
    event: Event,
    steps: Mapping[str, Any],
    stack: Sequence[str],
    function_id: str,
    run_id: str,
    env_id: str,
    step_id: str,
    attempt: int,
    max_attempts: int,
    version: int,
) -> bytes:
    """Return the payload as JSON.

    Args:
        steps: step id to result: ``{"data": …}``, ``{"error": …}``, null, or an event.
        stack: step ids in the order in which the steps were completed.
        step_id: `MAIN_STEP`, or the id of the planned step to run.
        attempt: counted from 0.
        version: of the request, as the last reply named it; -1 on the first call.
    """
    shown = event.as_json()
    return jsontext.dump(
        {
            "event": shown,
            "events": [shown],
            "steps": dict(steps),
            "ctx": {
                "fn_id": function_id,
                "run_id": run_id,
                "env": env_id,
                "step_id": step_id,
                "attempt": attempt,
                "max_attempts": max_attempts,
                "stack": {"stack": list(stack), "current": len(stack)},
                "disable_immediate_execution": False,
                "use_api": False,
            },
            "version": version,
            "use_api": False,
        }
    )
