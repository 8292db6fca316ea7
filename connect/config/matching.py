"""What an event does: which functions it starts, and which runs it cancels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from connect.config.checks import UNDER_CANCEL, UNDER_TRIGGER
from connect.config.definitions import Cancel, Function
from connect.config.expressions import Expression, ExpressionError
from connect.config.faults import nearest
from connect.config.triggers import CronTrigger, EventTrigger, Trigger, covers
from connect.protocol.durations import parse_duration

__all__ = ["Match", "Mismatch", "StartedRun", "Triggered", "cancels", "matching", "mismatch"]


class Triggered(Protocol):
    """Anything that has triggers: a defined function, or a registered one."""

    @property
    def triggers(self) -> tuple[Trigger, ...]: ...


F = TypeVar("F", bound=Triggered)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a trigger does not start its function.

    Attributes:
        trigger: the trigger.
        reason: one sentence without its full stop.
    """

    trigger: Trigger
    reason: str


@dataclass(frozen=True, slots=True)
class Match(Generic[F]):
    """What an event means to one function.

    Attributes:
        function: the function.
        trigger: the first trigger by which the event starts it; None if it does not.
        mismatches: the triggers that don't, up to the one that does.
    """

    function: F
    trigger: EventTrigger | None
    mismatches: tuple[Mismatch, ...]

    @property
    def starts(self) -> bool:
        return self.trigger is not None

    @property
    def reason(self) -> str:
        """Why the event does not start the function; empty if it does."""
        if self.trigger is not None:
            return ""
        return "; ".join(m.reason for m in self.mismatches) or "it has no triggers"


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run that an event may cancel.

    Attributes:
        event: the event that started it, decoded JSON.
        started: when, in unix seconds.
    """

    event: Mapping[str, Any]
    started: float


def matching(functions: Iterable[F], event: Mapping[str, Any]) -> tuple[Match[F], ...]:
    """Return for each function whether an event starts it, and why if not.

    A function is started once, by the first of its triggers that covers the event's name
    and whose expression holds. An expression that cannot be evaluated does not hold.

    Args:
        functions: valid ones.
        event: decoded JSON with a `name`.

    Returns:
        One match for each function, in their order.
    """
    return tuple(_match(function, event) for function in functions)


def _match(function: F, event: Mapping[str, Any]) -> Match[F]:
    mismatches: list[Mismatch] = []
    for trigger in function.triggers:
        reason = mismatch(trigger, event)
        if reason is None and isinstance(trigger, EventTrigger):
            return Match(function, trigger, tuple(mismatches))
        mismatches.append(Mismatch(trigger, reason or ""))
    return Match(function, None, tuple(mismatches))


def mismatch(trigger: Trigger, event: Mapping[str, Any]) -> str | None:
    """Return why an event does not start a trigger's function; None if it does."""
    if isinstance(trigger, CronTrigger):
        return f"it runs by the schedule {trigger.cron!r}"
    name = event.get("name")
    if not isinstance(name, str) or not covers(trigger.event, name):
        hint = ""
        if isinstance(name, str) and nearest(name, (trigger.event,)):
            hint = f"; the event's name {name!r} looks much like it"
        return f"it waits for {trigger.event!r}{hint}"
    if trigger.expression is None:
        return None
    try:
        outcome = Expression(trigger.expression, UNDER_TRIGGER).outcome(event=event)
    except ExpressionError as error:
        return str(error)
    if outcome.reason is not None:
        return f"{trigger.expression!r} cannot be evaluated: {outcome.reason}"
    return None if outcome.holds else f"{trigger.expression!r} does not hold"


def cancels(
    function: Function, event: Mapping[str, Any], run: StartedRun, *, now: float | None = None
) -> Cancel | None:
    """Tell whether an event cancels a run, and by which rule.

    A rule applies when it covers the event's name, the run's start is not longer ago than
    its timeout, and its condition holds. Events from before the run cancel nothing, nor
    does the event that started it.

    Args:
        function: the run's function.
        event: decoded JSON with a `name`.
        run: the run.
        now: when the event came, in unix seconds; None takes its `ts` (unix
            milliseconds), and without one the moment after the run's start.

    Returns:
        The first rule that applies; None if none does.

    Raises:
        ExpressionError: a condition is neither true nor false, and no other rule applies.
    """
    ts = event.get("ts")
    if now is None:
        now = ts / 1000 if isinstance(ts, int | float) else run.started
    event_id = event.get("id")
    if now < run.started or (event_id is not None and event_id == run.event.get("id")):
        return None
    unusable: ExpressionError | None = None
    for rule in function.cancel:
        try:
            if _applies(rule, event, run, now):
                return rule
        except ExpressionError as error:
            unusable = unusable or error
    if unusable is not None:
        raise unusable
    return None


def _applies(rule: Cancel, event: Mapping[str, Any], run: StartedRun, now: float) -> bool:
    name = event.get("name")
    if not isinstance(name, str) or not covers(rule.event, name):
        return False
    if rule.timeout is not None and now > _deadline(rule.timeout, run.started):
        return False
    if rule.condition is None:
        return True
    expression = Expression(rule.condition, UNDER_CANCEL)
    return expression.matches(**{"event": run.event, "async": event})


def _deadline(timeout: str, started: float) -> float:
    """Return the unix seconds until which a rule applies."""
    try:
        return started + parse_duration(timeout)
    except ValueError:
        return datetime.fromisoformat(timeout).timestamp()
