"""What a function sees of its run: the events, and steps that are done only once.

A run calls a function several times, each time with the results of the steps so far
(functions.md, "Running a function to its end"). A step with a result returns it at
once; the first one without a result ends the call with an operation that says what is
to be done. It ends it by raising `StepInterrupt`, which is no `Exception`, so that a
function's own error handling lets it pass.
"""

import hashlib
import inspect
import json
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from connect.protocol.durations import format_duration, parse_duration
from connect.worker.errors import MalformedPayload, NonRetriableError, RetryAfterError, StepError

__all__ = [
    "Context",
    "Event",
    "Operation",
    "StepInterrupt",
    "StepSkipped",
    "Steps",
    "describe_error",
    "hash_step_id",
]

_MISSING: Any = object()

# The step that this task is inside of, if any.
_running: ContextVar[str | None] = ContextVar("running step", default=None)

_RESULT_KEYS = frozenset({"data", "error"})


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it reaches a function.

    Attributes:
        ts: unix milliseconds.
    """

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    ts: int = 0

    @classmethod
    def from_json(cls, value: Any) -> "Event":
        """Read a decoded JSON object.

        Raises:
            MalformedPayload: it is no object, or its name or ts has another type, or its ts
                is no finite number.
        """
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise MalformedPayload("an event must be an object with a name")
        data, ts = value.get("data"), value.get("ts")
        if ts is not None and not isinstance(ts, int | float):
            raise MalformedPayload(f"event {value['name']}: ts must be a number")
        try:
            milliseconds = int(ts or 0)
        except (ValueError, OverflowError) as error:
            raise MalformedPayload(f"event {value['name']}: ts is {ts}, no time") from error
        return cls(
            name=value["name"],
            data=data if isinstance(data, dict) else {},
            id=str(value.get("id") or ""),
            ts=milliseconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One entry of a NOT_COMPLETED reply's body.

    Attributes:
        id: the hashed step id.
        error: an error object when the step failed.
        no_retry: the reply must say so.
        retry_after: seconds until the retry that the step asked for.
    """

    op: str
    id: str
    name: str
    display_name: str
    data: Any = _MISSING
    error: Mapping[str, str] | None = None
    opts: Mapping[str, Any] | None = None
    no_retry: bool = False
    retry_after: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Its JSON form; what is absent is left out."""
        form: dict[str, Any] = {
            "op": self.op,
            "id": self.id,
            "name": self.name,
            "displayName": self.display_name,
        }
        if self.data is not _MISSING:
            form["data"] = self.data
        if self.error is not None:
            form["error"] = dict(self.error)
        if self.opts is not None:
            form["opts"] = dict(self.opts)
        return form


class StepInterrupt(BaseException):
    """Ends a call: these operations are what comes next."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        super().__init__(operations)
        self.operations = tuple(operations)


class StepSkipped(BaseException):
    """Ends a branch: its next step is not the one that this call is for."""

    def __init__(self, step: str) -> None:
        super().__init__(step)
        self.step = step


def hash_step_id(step_id: str) -> str:
    """The id under which a step's result is stored: SHA-1 in hex, as in every SDK."""
    return hashlib.sha1(step_id.encode(), usedforsecurity=False).hexdigest()


def describe_error(error: BaseException) -> dict[str, str]:
    """The error object of a reply: name, message, stack; parts that cannot be told are empty."""
    if isinstance(error, StepError):
        return {"name": error.name, "message": error.message, "stack": error.stack}
    return {
        "name": type(error).__name__,
        "message": _text_of(str, error),
        "stack": _text_of(_format, error),
    }


def _format(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _text_of(describe: Callable[[BaseException], str], error: BaseException) -> str:
    """What a user's exception says of itself, empty if it fails in that."""
    try:
        return describe(error)
    except Exception:  # noqa: BLE001 - user code's failure in telling of its failure
        return ""


def _duration_text(duration: str | float) -> str:
    """A duration as text, checked; numbers are seconds."""
    if isinstance(duration, str):
        parse_duration(duration)
        return duration
    return format_duration(duration)


def _stored_error(memo: Any) -> StepError | None:
    if isinstance(memo, dict) and memo.keys() <= _RESULT_KEYS and memo.get("error") is not None:
        error = memo["error"]
        if not isinstance(error, dict):
            return StepError("Error", str(error))
        name, message, stack = error.get("name"), error.get("message"), error.get("stack")
        return StepError(str(name or "Error"), str(message or ""), str(stack or ""))
    return None


def _stored_data(memo: Any) -> Any:
    """What a step returned; results that are not wrapped stand for themselves."""
    if isinstance(memo, dict) and memo and memo.keys() <= _RESULT_KEYS:
        return memo.get("data")
    return memo


class Steps:
    """The steps of one call (``ctx.step``).

    A step's id must stay the same from call to call; when an id is used again, the
    second use counts as another step, and so on, in order.

    Args:
        memos: results so far, by hashed step id.
        target: the hashed id of the one step that this call is for, or None.
        plan: do not run a step at once, but have it planned first.
        last_attempt: a step that fails now has failed for good.
    """

    def __init__(
        self,
        memos: Mapping[str, Any],
        *,
        target: str | None = None,
        plan: bool = False,
        last_attempt: bool = False,
    ) -> None:
        self._memos = memos
        self._target = target
        self._plan = plan
        self._last_attempt = last_attempt
        self._uses: Counter[str] = Counter()
        self._gathering = 0

    async def run(self, step_id: str, work: Callable[..., Any], /, *args: Any) -> Any:
        """Run ``work(*args)`` once in the run's life, and return its result each time.

        Args:
            work: a function or a coroutine function; its result must be JSON. A plain
                function runs on the event loop, so it must not block.

        Raises:
            StepError: the step failed for good.
        """
        hashed = self._enter(step_id)
        memo = self._result(hashed)
        if memo is not _MISSING:
            return _stored_data(memo)
        self._skip_unless_targeted(hashed, step_id)
        if self._target is None and (self._plan or self._gathering):
            raise StepInterrupt([_operation("StepPlanned", hashed, step_id)])
        raise StepInterrupt([await self._perform(hashed, step_id, work, args)])

    async def sleep(self, step_id: str, duration: str | float) -> None:
        """Let the run rest; no worker is held up meanwhile.

        Args:
            duration: such as ``"1h30m"``, or seconds.

        Raises:
            ValueError: the text is no duration.
        """
        text = _duration_text(duration)
        hashed = self._enter(step_id)
        if self._result(hashed) is _MISSING:
            self._skip_unless_targeted(hashed, step_id)
            opts = {"duration": text}
            raise StepInterrupt([_operation("Sleep", hashed, step_id, name=text, opts=opts)])

    async def wait_for_event(
        self, step_id: str, *, event: str, timeout: str | float, if_: str | None = None
    ) -> Event | None:
        """Wait for an event.

        Args:
            event: its name.
            timeout: such as ``"1h"``, or seconds.
            if_: a CEL condition over ``event`` (the run's) and ``async`` (the new one).

        Returns:
            The event, or None when none came in time.

        Raises:
            ValueError: the timeout is no duration.
            NonRetriableError: the name or the condition is not JSON.
        """
        opts = {"event": event, "timeout": _duration_text(timeout)} | ({"if": if_} if if_ else {})
        _check_json(f"what step {step_id!r} waits for", opts)
        hashed = self._enter(step_id)
        memo = self._result(hashed)
        if memo is _MISSING:
            self._skip_unless_targeted(hashed, step_id)
            raise StepInterrupt(
                [_operation("WaitForEvent", hashed, step_id, name=event, opts=opts)]
            )
        data = _stored_data(memo)
        return None if data is None else Event.from_json(data)

    async def invoke(
        self,
        step_id: str,
        *,
        function: str,
        data: Mapping[str, Any] | None = None,
        timeout: str | float | None = None,
    ) -> Any:
        """Run another function and return its result.

        Args:
            function: its slug, ``<app>-<function>``.
            data: becomes its event's data.
            timeout: such as ``"1h"``, or seconds; none when None.

        Raises:
            StepError: that function failed for good.
            ValueError: the timeout is no duration.
            NonRetriableError: the data is not JSON.
        """
        opts: dict[str, Any] = {"function_id": function, "payload": {"data": dict(data or {})}}
        if timeout is not None:
            opts["timeout"] = _duration_text(timeout)
        _check_json(f"what step {step_id!r} invokes", opts)
        hashed = self._enter(step_id)
        memo = self._result(hashed)
        if memo is _MISSING:
            self._skip_unless_targeted(hashed, step_id)
            raise StepInterrupt([_operation("InvokeFunction", hashed, step_id, opts=opts)])
        return _stored_data(memo)

    async def gather(self, *branches: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
        """Run steps side by side: ``a, b = await ctx.step.gather(step.run(…), step.run(…))``.

        Each branch is a coroutine, a step or a coroutine function that uses steps. The
        next step of every branch is planned, and then each is run in a call of its own.

        Returns:
            The branches' results, in order.

        Raises:
            StepError: a step of a branch failed for good.
        """
        results: list[Any] = []
        operations: list[Operation] = []
        skipped: StepSkipped | None = None
        self._gathering += 1
        try:
            for branch in branches:
                try:
                    results.append(await branch)
                except StepInterrupt as interrupt:
                    operations.extend(interrupt.operations)
                except StepSkipped as skip:
                    skipped = skip
        finally:
            self._gathering -= 1
            for branch in branches:
                branch.close()
        if operations:
            raise StepInterrupt(operations)
        if skipped is not None:
            raise skipped
        return tuple(results)

    def _enter(self, step_id: str) -> str:
        """The hashed id for this use of a step id."""
        outer = _running.get()
        if outer is not None:
            raise NonRetriableError(
                f"step {step_id!r} is used inside step {outer!r}; steps cannot be nested"
            )
        uses = self._uses[step_id]
        self._uses[step_id] += 1
        return hash_step_id(f"{step_id}:{uses}" if uses else step_id)

    def _result(self, hashed: str) -> Any:
        memo = self._memos.get(hashed, _MISSING)
        error = _stored_error(memo)
        if error is not None:
            raise error
        return memo

    def _skip_unless_targeted(self, hashed: str, step_id: str) -> None:
        if self._target is not None and self._target != hashed:
            raise StepSkipped(step_id)

    async def _perform(
        self, hashed: str, step_id: str, work: Callable[..., Any], args: tuple[Any, ...]
    ) -> Operation:
        token = _running.set(step_id)
        try:
            result = work(*args)
            if inspect.isawaitable(result):
                result = await result
            _check_json(f"the result of step {step_id!r}", result)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code's failure is the outcome
            return self._failed(hashed, step_id, error)
        finally:
            _running.reset(token)
        return _operation("StepRun", hashed, step_id, data=result)

    def _failed(self, hashed: str, step_id: str, error: Exception | SystemExit) -> Operation:
        final = isinstance(error, NonRetriableError)
        return _operation(
            "StepFailed" if final or self._last_attempt else "StepError",
            hashed,
            step_id,
            error=describe_error(error),
            no_retry=final,
            retry_after=error.seconds if isinstance(error, RetryAfterError) else None,
        )


def _operation(
    op: str, hashed: str, step_id: str, *, name: str | None = None, **rest: Any
) -> Operation:
    return Operation(op=op, id=hashed, name=name or step_id, display_name=step_id, **rest)


def _check_json(what: str, value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise NonRetriableError(f"{what} is not JSON: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a function is called with.

    Attributes:
        events: all events of the call, `event` being the first.
        attempt: counted from 0.
        max_attempts: how many there may be; None when not told.
    """

    event: Event
    events: tuple[Event, ...]
    run_id: str
    attempt: int
    max_attempts: int | None
    function: str
    step: Steps
