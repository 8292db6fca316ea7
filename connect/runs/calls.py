"""The calls of one function that a run makes, with their attempts."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import trio
from ulid import ULID

from connect.errors import StoreUnavailable, SyscodeError
from connect.protocol.messages.connect import v1 as pb
from connect.runs import jsontext
from connect.runs.delays import retry_delay
from connect.runs.endings import Completed, Failed, failure
from connect.runs.errors import MalformedReply
from connect.runs.events import Event
from connect.runs.functions import ServedFunction, function_id
from connect.runs.operations import Operation, error_object, parse_operations
from connect.runs.payload import request_payload
from connect.runs.steps import StepResults
from connect.settings import Settings

__all__ = ["CallBudget", "CallServices", "Execute", "FunctionCalls", "LostCalls", "Progress"]

Execute = Callable[[pb.GatewayExecutorRequestData], Awaitable[pb.SdkResponse]]
"""Get one request to a worker and bring its reply back; raises SyscodeError otherwise."""


class LostCalls(Enum):
    """What to do with a call that no worker answered."""

    RAISE = auto()  # somebody waits for the run and wants to know
    RETRY = auto()  # as a failed attempt of the function


class CallBudget:
    """The calls that a run, together with the runs it invokes, may still make."""

    def __init__(self, calls: int) -> None:
        self.limit = calls
        self._left = calls

    def take(self) -> bool:
        """Take one call; False if none is left."""
        if self._left <= 0:
            return False
        self._left -= 1
        return True


@dataclass(frozen=True, slots=True)
class CallServices:
    """What calls need of the world around them."""

    execute: Execute
    settings: Settings
    now: Callable[[], float]
    jitter: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Progress:
    """A NOT_COMPLETED reply, and how many attempts failed before it."""

    operations: tuple[Operation, ...]
    no_retry: bool
    retry_after: str | None
    failures: int


class FunctionCalls:
    """Makes the calls of one run.

    Attributes:
        made: how many calls were made.

    Args:
        run_id: a ULID.
        steps: the results so far, which each call is told.
        budget: shared with the runs above and below this one.
    """

    def __init__(
        self,
        run_id: str,
        function: ServedFunction,
        event: Event,
        steps: StepResults,
        services: CallServices,
        *,
        budget: CallBudget,
        lost_calls: LostCalls,
    ) -> None:
        self.made = 0
        self._run_id = run_id
        self._function = function
        self._event = event
        self._steps = steps
        self._services = services
        self._budget = budget
        self._lost_calls = lost_calls
        self._env_id = services.settings.tenant.env_id
        self._function_id = function_id(self._env_id, function.slug)
        self._version = -1

    async def until_progress(self, step_id: str, failures: int) -> Progress:
        """Call the function until it answers with operations.

        Args:
            step_id: `MAIN_STEP`, or the id of a planned step.
            failures: attempts that failed before.

        Raises:
            Completed, Failed: the function ended.
            SyscodeError, StoreUnavailable: a call was lost, and nothing is to be retried.
        """
        while True:
            try:
                reply = await self._call(step_id, failures)
            except (SyscodeError, StoreUnavailable):
                failures += 1
                final = failures >= self._function.max_attempts
                if final or self._lost_calls is LostCalls.RAISE:
                    raise
                await self.pause(failures, None)
                continue
            self._version = reply.request_version
            match reply.status:
                case pb.SdkResponseStatus.NOT_COMPLETED:
                    return Progress(
                        self._operations(reply), reply.no_retry, reply.retry_after, failures
                    )
                case pb.SdkResponseStatus.DONE:
                    result = _result(reply)
                    if reply.no_retry and _is_error(result):
                        # How the TypeScript SDK tells of a failure that no retry mends:
                        # it has no status for its own "400".
                        raise Failed(error_object(result))
                    raise Completed(result)
                case pb.SdkResponseStatus.ERROR:
                    failures += 1
                    if reply.no_retry or failures >= self._function.max_attempts:
                        raise Failed(_error(reply))
                    await self.pause(failures, reply.retry_after)
                case other:
                    raise failure("MalformedReply", f"a reply has the unknown status {other}")

    async def _call(self, step_id: str, attempt: int) -> pb.SdkResponse:
        if not self._budget.take():
            raise failure(
                "TooManyCalls", f"the run needs more than {self._budget.limit} calls, the limit"
            )
        settings = self._services.settings
        payload = request_payload(
            event=self._event,
            steps=self._steps.payload,
            stack=self._steps.stack,
            function_id=self._function_id,
            run_id=self._run_id,
            env_id=self._env_id,
            step_id=step_id,
            attempt=attempt,
            max_attempts=self._function.max_attempts,
            version=self._version,
        )
        if len(payload) > settings.limits.message_bytes:
            raise failure(
                "RunTooLarge",
                f"event and step results have grown to {len(payload)} bytes;"
                f" {settings.limits.message_bytes} is the limit",
            )
        self.made += 1
        return await self._services.execute(
            pb.GatewayExecutorRequestData(
                request_id=str(ULID.from_timestamp(self._services.now())),
                account_id=settings.tenant.account_id,
                env_id=self._env_id,
                app_id=self._function.app_id,
                app_name=self._function.app_name,
                function_id=self._function_id,
                function_slug=self._function.slug,
                step_id=step_id,
                request_payload=payload,
                run_id=self._run_id,
            )
        )

    def _operations(self, reply: pb.SdkResponse) -> tuple[Operation, ...]:
        try:
            operations = parse_operations(reply.body)
        except MalformedReply as error:
            raise failure("MalformedReply", str(error)) from error
        limit = self._services.settings.limits.run_calls
        if len(operations) > limit:
            raise failure(
                "TooManyOperations", f"{len(operations)} operations at once; {limit} is the limit"
            )
        return operations

    async def pause(self, failures: int, retry_after: str | None) -> None:
        """Wait for the next attempt, as long as the worker asked, or by backoff."""
        services = self._services
        await trio.sleep(
            retry_delay(
                retry_after, failures=failures, now=services.now(), jitter=services.jitter()
            )
        )


def _result(reply: pb.SdkResponse) -> object:
    if not reply.body:
        return None
    try:
        return jsontext.load(reply.body)
    except ValueError as error:
        raise failure("MalformedReply", f"the function's result is not JSON: {error}") from None


def _is_error(value: object) -> bool:
    """Whether a value has the shape of an error object."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("message"), str)
    )


def _error(reply: pb.SdkResponse) -> dict[str, Any]:
    try:
        return error_object(jsontext.load(reply.body))
    except ValueError:
        return error_object(reply.body.decode(errors="replace")[:1000])
