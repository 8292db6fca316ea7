"""One run: the calls of a function and what happens between them, up to its end.

The nursery of a run holds its steps in progress: planned steps, sleeps, waits, invoked
functions. Its body makes the calls that let the function run on. Such a call is made when
nothing is in progress any more, or, if the function lets steps race, as soon as one of
them is over.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, NoReturn

import trio

from connect.errors import ConnectError
from connect.runs.calls import CallBudget, CallServices, FunctionCalls, LostCalls, Progress
from connect.runs.delays import parse_delay
from connect.runs.endings import Completed, Failed, failure
from connect.runs.errors import ExpressionError, FunctionNotFound, InvalidEvent, TooManyWaits
from connect.runs.events import INVOKED, Event, EventBus
from connect.runs.expressions import Expression
from connect.runs.functions import ServedFunction
from connect.runs.operations import (
    InvokeFunction,
    Operation,
    RunComplete,
    Sleep,
    StepError,
    StepFailed,
    StepPlanned,
    StepRun,
    UnknownOperation,
    WaitForEvent,
)
from connect.runs.outcome import RunResult
from connect.runs.payload import MAIN_STEP
from connect.runs.steps import StepResults

__all__ = ["Invoke", "Run", "RunServices"]

_DEEPEST = 10  # functions that invoke one another

Invoke = Callable[[str, Event, CallBudget, int, LostCalls], Awaitable[RunResult]]
"""Run another function to its end: its slug, its event, the calls left, how many runs are
above it, and what to do with lost calls. Raises `FunctionNotFound`, and what lost calls
raise."""


@dataclass(frozen=True, slots=True)
class RunServices:
    """What runs need of the world around them."""

    calls: CallServices
    events: EventBus
    invoke: Invoke


class Run:
    """One run of a function, for one event.

    Args:
        run_id: a ULID.
        depth: how many runs are above this one.
    """

    def __init__(
        self,
        run_id: str,
        function: ServedFunction,
        event: Event,
        services: RunServices,
        *,
        budget: CallBudget,
        depth: int,
        lost_calls: LostCalls,
    ) -> None:
        self._run_id = run_id
        self._function = function
        self._event = event
        self._services = services
        self._now = services.calls.now
        self._budget = budget
        self._depth = depth
        self._lost_calls = lost_calls
        self._steps = StepResults()
        self._calls = FunctionCalls(
            run_id,
            function,
            event,
            self._steps,
            services.calls,
            budget=budget,
            lost_calls=lost_calls,
        )
        self._in_progress: dict[str, Operation] = {}
        self._changed = trio.Event()
        self._ending: ConnectError | None = None

    async def to_end(self) -> RunResult:
        """Make calls until the function has completed or failed.

        Cancelling ends the run with everything it has in progress.

        Raises:
            SyscodeError, StoreUnavailable: a call was lost, and lost calls are to be raised.
        """
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            await self._guarded(nursery, self._drive, nursery)
        duration_ms = round((trio.current_time() - began) * 1000)
        match self._ending:
            case Completed(result=result):
                return self._ended("completed", duration_ms, result=result)
            case Failed(error=error):
                return self._ended("failed", duration_ms, error=error)
            case None:
                raise AssertionError("a run ends for a reason")
            case lost:
                raise lost

    def _ended(
        self,
        status: Literal["completed", "failed"],
        duration_ms: int,
        *,
        result: object = None,
        error: Mapping[str, Any] | None = None,
    ) -> RunResult:
        return RunResult(
            run_id=self._run_id,
            status=status,
            result=result,
            error=error,
            calls=self._calls.made,
            duration_ms=duration_ms,
            steps=tuple(self._steps.records),
        )

    async def _guarded(
        self, nursery: trio.Nursery, work: Callable[..., Awaitable[None]], *args: object
    ) -> None:
        """Do a part of the run; the first part that ends the run stops all others."""
        try:
            await work(*args)
        except ConnectError as ending:
            if self._ending is None:
                self._ending = ending
            nursery.cancel_scope.cancel()

    async def _drive(self, nursery: trio.Nursery) -> NoReturn:
        """Let the function run on, until an exception says how it ended."""
        failures = 0
        while True:
            known = len(self._steps)
            progress = await self._calls.until_progress(MAIN_STEP, failures)
            failed = []
            for operation in progress.operations:
                if isinstance(operation, StepError):
                    failed.append(operation)
                elif isinstance(operation, StepPlanned | Sleep | WaitForEvent | InvokeFunction):
                    if operation.id not in self._in_progress and operation.id not in self._steps:
                        self._in_progress[operation.id] = operation
                        nursery.start_soon(self._guarded, nursery, self._perform_aside, operation)
                else:
                    await self._perform(operation)
            failures = await self._after_step_errors(failed, progress) if failed else 0
            if failures:
                continue
            await self._until_worth_a_call(known)

    async def _until_worth_a_call(self, known: int) -> None:
        """Wait until the function has something new to go on with.

        Args:
            known: how many steps were over when it was called last.
        """
        if not self._in_progress and len(self._steps) == known:
            raise failure(
                "NoProgress",
                f"{self._function.slug!r} is not complete, but asked for nothing new",
            )
        while self._in_progress:
            racing = any(operation.racing for operation in self._in_progress.values())
            if racing and len(self._steps) > known:
                return
            await self._changed.wait()

    async def _perform_aside(self, operation: Operation) -> None:
        await self._perform(operation)
        del self._in_progress[operation.id]
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _perform(self, operation: Operation) -> None:
        """Do what an operation asks for, and store its result."""
        match operation:
            case StepRun():
                self._steps.store_data(operation, operation.data)
            case StepFailed():
                self._steps.store_error(operation, operation.error)
            case StepPlanned():
                await self._run_planned(operation)
            case Sleep():
                await trio.sleep(self._delay(operation, operation.until))
                self._steps.store_bare(operation, None)
            case WaitForEvent():
                event = await self._wait_for_event(operation)
                self._steps.store_bare(operation, event)
            case InvokeFunction():
                await self._invoke(operation)
            case RunComplete():
                raise Completed(operation.data)
            case StepError() | UnknownOperation():
                raise failure(
                    "UnsupportedOperation",
                    f"{self._function.slug!r} asked for the operation {operation.op!r},"
                    " which is not known here",
                )

    async def _run_planned(self, planned: StepPlanned) -> None:
        failures = 0
        while planned.id not in self._steps:
            progress = await self._calls.until_progress(planned.id, failures)
            failed = []
            for operation in progress.operations:
                if isinstance(operation, StepError):
                    failed.append(operation)
                elif isinstance(operation, StepPlanned):
                    raise failure(
                        "StepNotRun",
                        f"the planned step {operation.name!r} was planned again, not run",
                    )
                else:
                    await self._perform(operation)
            if failed:
                failures = await self._after_step_errors(failed, progress)
            elif planned.id not in self._steps:
                raise failure(
                    "StepNotRun", f"the call for the step {planned.name!r} did not report it"
                )

    async def _after_step_errors(self, failed: list[StepError], progress: Progress) -> int:
        """Wait for the next attempt, or store the errors when there is none.

        Returns:
            How many attempts have failed; 0 when the errors are stored.
        """
        failures = progress.failures + 1
        if progress.no_retry or failures >= self._function.max_attempts:
            for operation in failed:
                self._steps.store_error(operation, operation.error)
            return 0
        await self._calls.pause(failures, progress.retry_after)
        return failures

    async def _wait_for_event(self, operation: WaitForEvent) -> dict[str, Any] | None:
        original = self._event.as_json()
        timeout = self._timeout(operation)
        try:
            condition = Expression(operation.expression) if operation.expression else None

            def matches(event: Event) -> bool:
                if condition is None:
                    return True
                return condition.matches(**{"event": original, "async": event.as_json()})

            with trio.move_on_after(timeout):
                event = await self._services.events.wait(operation.event, matches)
                return event.as_json()
        except (ExpressionError, TooManyWaits) as error:
            raise failure(type(error).__name__, f"the step {operation.name!r}: {error}") from error
        return None

    async def _invoke(self, operation: InvokeFunction) -> None:
        timeout = self._timeout(operation)
        if self._depth >= _DEEPEST:
            return self._steps.store_error(
                operation,
                {
                    "name": "InvokedTooDeep",
                    "message": f"more than {_DEEPEST} functions invoke one another",
                },
            )
        try:
            event = Event.from_json(
                {"data": operation.payload.get("data"), "user": operation.payload.get("user")},
                now=self._now(),
                path="payload",
                name=INVOKED,
            )
            with trio.move_on_after(timeout) as scope:
                result = await self._services.invoke(
                    operation.slug, event, self._budget, self._depth + 1, self._lost_calls
                )
        except (FunctionNotFound, InvalidEvent) as error:
            return self._steps.store_error(
                operation, {"name": type(error).__name__, "message": str(error)}
            )
        if scope.cancelled_caught:
            message = f"{operation.slug!r} did not end within {operation.timeout}"
            self._steps.store_error(operation, {"name": "InvokeTimeout", "message": message})
        elif result.error is not None:
            self._steps.store_error(operation, result.error)
        else:
            self._steps.store_data(operation, result.result)
        return None

    def _timeout(self, operation: WaitForEvent | InvokeFunction) -> float:
        if operation.timeout is None:
            return inf
        return self._delay(operation, operation.timeout)

    def _delay(self, operation: Operation, text: str) -> float:
        try:
            return parse_delay(text, self._now())
        except ValueError as error:
            raise failure("MalformedReply", f"the step {operation.name!r}: {error}") from None
