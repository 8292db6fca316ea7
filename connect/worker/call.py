"""One call of one function: from the request's payload to the reply's status and body."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from connect.protocol.messages.connect import v1 as pb
from connect.worker.app import Function
from connect.worker.errors import MalformedPayload, NonRetriableError, RetryAfterError, StepError
from connect.worker.steps import (
    Context,
    Event,
    Operation,
    StepInterrupt,
    Steps,
    StepSkipped,
    describe_error,
)

__all__ = ["Outcome", "call_function", "refusal"]

# The step id of a call that is for no step in particular.
_NO_TARGET = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended, as SDKResponse says it.

    Attributes:
        status: one of pb.SdkResponseStatus.
        body: JSON.
        retry_after: whole seconds as text, or None.
    """

    status: int
    body: bytes
    no_retry: bool = False
    retry_after: str | None = None


async def call_function(function: Function, payload: bytes) -> Outcome:
    """Call a function with a request's payload (functions.md, "Running a function to its end").

    Whatever the function raises becomes the outcome: a fault of one must not cost the
    others that run beside it.

    Args:
        payload: the JSON of GatewayExecutorRequestData.request_payload.

    Cancellation cancels the function.
    """
    try:
        return await _call(function, payload)
    except Exception as error:  # noqa: BLE001 - what a function leaves behind cannot be told
        # Its text may be what cannot be told.
        return refusal(f"how the call ended cannot be told: {type(error).__name__}")


async def _call(function: Function, payload: bytes) -> Outcome:
    try:
        context = _read_payload(function, payload)
    except MalformedPayload as error:
        return refusal(f"request payload: {error}")
    try:
        return _finished(await function.handler(context))
    except StepInterrupt as interrupt:
        return _interrupted(interrupt.operations)
    except StepSkipped as skipped:
        return _not_found_where_expected(skipped)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code's failure is the outcome
        return _failed(error)
    except BaseExceptionGroup as group:
        return _ended_in_nursery(group)


def refusal(reason: str) -> Outcome:
    """The outcome of a call that cannot be made, now or later."""
    return _failed(NonRetriableError(reason))


def _read_payload(function: Function, payload: bytes) -> Context:
    """Raises MalformedPayload."""
    try:
        request = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedPayload(f"not JSON: {error}") from error
    if not isinstance(request, dict):
        raise MalformedPayload("not an object")
    ctx = request.get("ctx")
    if not isinstance(ctx, dict):
        raise MalformedPayload("ctx is not an object")
    if request.get("use_api") or ctx.get("use_api"):
        raise MalformedPayload("use_api is set, but this worker cannot fetch steps from an API")
    event = Event.from_json(request.get("event"))
    events = request.get("events")
    if not isinstance(events, list | None):
        raise MalformedPayload("events is not a list")
    memos = request.get("steps") or {}
    if not isinstance(memos, dict):
        raise MalformedPayload("steps is not an object")
    attempt, max_attempts = ctx.get("attempt") or 0, ctx.get("max_attempts")
    if not isinstance(attempt, int) or not isinstance(max_attempts, int | None):
        raise MalformedPayload("ctx.attempt or ctx.max_attempts is not a whole number")
    target = ctx.get("step_id") or _NO_TARGET
    return Context(
        event=event,
        events=tuple(Event.from_json(item) for item in events) if events else (event,),
        run_id=str(ctx.get("run_id") or ""),
        attempt=attempt,
        max_attempts=max_attempts,
        function=function.slug,
        step=Steps(
            memos,
            target=None if target == _NO_TARGET else str(target),
            plan=ctx.get("disable_immediate_execution") is True,
            last_attempt=max_attempts is not None and attempt + 1 >= max_attempts,
        ),
    )


def _finished(result: Any) -> Outcome:
    try:
        body = json.dumps(result, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return refusal(f"the function's result is not JSON: {error}")
    return Outcome(status=pb.SdkResponseStatus.DONE, body=body)


def _interrupted(operations: Sequence[Operation]) -> Outcome:
    waits = [operation.retry_after for operation in operations if operation.retry_after is not None]
    return Outcome(
        status=pb.SdkResponseStatus.NOT_COMPLETED,
        body=json.dumps([operation.to_json() for operation in operations]).encode(),
        no_retry=any(operation.no_retry for operation in operations),
        retry_after=_whole_seconds(max(waits)) if waits else None,
    )


def _not_found_where_expected(skipped: StepSkipped) -> Outcome:
    return _failed(
        RuntimeError(
            f"step {skipped.step!r} came up in a call that is for another step; "
            "the order of a function's steps must not change from call to call"
        )
    )


def _failed(error: Exception | SystemExit) -> Outcome:
    return Outcome(
        status=pb.SdkResponseStatus.ERROR,
        body=json.dumps(describe_error(error)).encode(),
        # A step's stored error is the same in every further call.
        no_retry=isinstance(error, NonRetriableError | StepError),
        retry_after=_whole_seconds(error.seconds) if isinstance(error, RetryAfterError) else None,
    )


def _ended_in_nursery(group: BaseExceptionGroup[BaseException]) -> Outcome:
    """What a function raised out of a nursery of its own: steps come wrapped in groups."""
    _, foreign = group.split((Exception, SystemExit, StepInterrupt, StepSkipped))
    if foreign is not None:
        # Cancelled, mostly; what failed beside it would not be taken by who cancelled.
        raise foreign
    leaves = _leaves(group)
    errors = [leaf for leaf in leaves if isinstance(leaf, Exception)]
    if errors:
        return _failed(errors[0] if len(errors) == 1 else ExceptionGroup(group.message, errors))
    exits = [leaf for leaf in leaves if isinstance(leaf, SystemExit)]
    if exits:
        return _failed(exits[0])
    interrupts = [leaf for leaf in leaves if isinstance(leaf, StepInterrupt)]
    if interrupts:
        return _interrupted([one for interrupt in interrupts for one in interrupt.operations])
    return _not_found_where_expected(StepSkipped(str(leaves[0])))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves


def _whole_seconds(seconds: float) -> str:
    return str(math.ceil(max(0.0, seconds)))
