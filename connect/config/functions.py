"""The list of functions that a worker registers, checked.

Worker SDKs send a JSON list in a shape of their own. What the definition of a function
names is checked here, and every fault is found at once; the settings that it does not
name are kept as they came. Every number and text must survive canonical JSON
(RFC 8785), from which the hash of a worker group is made.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connect.config.faults import (
    DEEPEST_NESTING,
    Faults,
    FunctionCheck,
    FunctionConfigError,
    FunctionFault,
    json_kind,
    quoted,
    unencodable,
)

__all__ = [
    "CronTrigger",
    "EventTrigger",
    "FunctionConfigError",
    "FunctionFault",
    "RegisteredFunction",
    "Trigger",
    "max_attempts",
    "parse_functions",
]

_DEFAULT_RETRIES = 3
_MOST_RETRIES = 20
_MAIN_STEP = "step"  # the one step that SDKs send

_CRON_ZONE = re.compile(r"(?:CRON_)?TZ=\S+\s+")
_CRON_FIELD = re.compile(r"[0-9A-Za-z*?/,#-]+")
_CRON_NAMES = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}


@dataclass(frozen=True, slots=True)
class EventTrigger:
    """A function is started by events of this name.

    Attributes:
        expression: a CEL expression over `event` that must hold too.
    """

    event: str
    expression: str | None = None


@dataclass(frozen=True, slots=True)
class CronTrigger:
    """A function is started at times.

    Attributes:
        cron: five or six fields, or a name such as ``@daily``; perhaps after ``TZ=zone``.
        jitter: a duration by which starts are spread.
    """

    cron: str
    jitter: str | None = None


Trigger = EventTrigger | CronTrigger


@dataclass(frozen=True, slots=True)
class RegisteredFunction:
    """One function of a worker's list.

    Attributes:
        slug: its `id`, which is unique in the list.
        name: for people; the slug when it has none.
        max_attempts: how often a call of it is made before it has failed, 1 to 21.
        definition: the JSON object, decoded, as it came.
    """

    slug: str
    name: str
    triggers: tuple[Trigger, ...]
    max_attempts: int
    definition: Mapping[str, Any]


def parse_functions(data: bytes) -> tuple[RegisteredFunction, ...]:
    """Read the functions of an AppConfiguration.

    Args:
        data: a JSON list in UTF-8; an empty list is right.

    Returns:
        The functions in their order.

    Raises:
        FunctionConfigError: naming every fault. The gateway tells it to the worker by
            SYNC_FAILED (Connect protocol, section 3).
    """
    definitions = _load(data)
    faults = Faults()
    functions: list[RegisteredFunction] = []
    seen: set[str] = set()
    for index, definition in enumerate(definitions):
        place = f"#{index + 1}"
        if not isinstance(definition, dict):
            FunctionCheck(place, faults).fault("", f"{json_kind(definition)}; expected an object")
            continue
        slug = definition.get("id")
        check = FunctionCheck(slug if isinstance(slug, str) and slug else place, faults)
        for path, reason in unencodable(definition):
            check.fault(path, reason)
        function = _function(check, definition)
        if function.slug and function.slug in seen:
            check.fault("id", "another function of the list has the same id")
        seen.add(function.slug)
        functions.append(function)
    if faults.kept:
        raise FunctionConfigError(faults.kept)
    return tuple(functions)


def max_attempts(definition: Mapping[str, Any]) -> int:
    """Return how often a call is made before the function has failed.

    That is the first call and its step's `retries.attempts`, or 3 retries by default.

    Args:
        definition: a valid definition, such as `RegisteredFunction.definition`.
    """
    steps: Mapping[str, Any] = definition.get("steps") or {}
    step: Mapping[str, Any] = steps.get(_MAIN_STEP) or next(iter(steps.values()), {})
    attempts = (step.get("retries") or {}).get("attempts")
    return 1 + (_DEFAULT_RETRIES if attempts is None else int(attempts))


def _load(data: bytes) -> list[Any]:
    """Decode a JSON list."""
    try:
        loaded = json.loads(data.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _list_fault(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _list_fault(f"nested deeper than {DEEPEST_NESTING} levels") from None
    except ValueError as error:
        raise _list_fault(f"not JSON: {error}") from None
    if not isinstance(loaded, list):
        raise _list_fault(f"{json_kind(loaded)}; expected a list of functions")
    return loaded


def _list_fault(reason: str) -> FunctionConfigError:
    return FunctionConfigError([FunctionFault("", "", reason)])


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _function(check: FunctionCheck, definition: dict[str, Any]) -> RegisteredFunction:
    """Check one definition; what is returned counts only if no fault was noted."""
    slug = check.text(definition, "id", required=True) or ""
    name = check.text(definition, "name") or slug
    check.text(definition, "idempotency")
    triggers = _triggers(check, definition)
    attempts = _attempts(check, definition)
    _limits(check, definition)
    _windows(check, definition)
    _cancellations(check, definition)
    return RegisteredFunction(slug, name, triggers, attempts, definition)


def _triggers(check: FunctionCheck, definition: dict[str, Any]) -> tuple[Trigger, ...]:
    triggers: list[Trigger] = []
    for at, trigger in check.mappings(definition, "triggers", required=True):
        is_event, is_cron = (trigger.get(key) is not None for key in ("event", "cron"))
        if is_event == is_cron:
            found = "both" if is_event else "neither"
            check.fault(at, f"expected either an event or a cron; found {found}")
        elif is_event:
            event = check.text(trigger, "event", at, required=True)
            expression = check.text(trigger, "expression", at)
            triggers.append(EventTrigger(event or "", expression))
        else:
            cron = check.text(trigger, "cron", at, required=True)
            jitter = check.duration(trigger, "jitter", at)
            if cron is not None and (reason := _cron_fault(cron)):
                check.fault(f"{at}.cron", reason)
            triggers.append(CronTrigger(cron or "", jitter))
    return tuple(triggers)


def _cron_fault(cron: str) -> str | None:
    """Return what makes this no cron expression at first sight."""
    zone = _CRON_ZONE.match(cron)
    schedule = cron[zone.end() :] if zone else cron
    if schedule in _CRON_NAMES:
        return None
    fields = schedule.split()
    for field in fields:
        if not _CRON_FIELD.fullmatch(field):
            return f"{quoted(field)!r} is no field of a cron expression"
    if len(fields) not in (5, 6):
        return f"{len(fields)} fields; expected 5 or 6, such as '*/5 * * * *'"
    return None


def _attempts(check: FunctionCheck, definition: dict[str, Any]) -> int:
    """Check the steps; return `max_attempts`, or 0 if they are wrong."""
    before = check.fault_count
    steps = check.mapping(definition, "steps") or {}
    for key in steps:
        step = check.mapping(steps, key, "steps")
        at = f"steps.{key}"
        if step is None:
            if steps[key] is None:
                check.fault(at, "null; expected an object")
            continue
        step_id = check.text(step, "id", at, required=True)
        if step_id is not None and step_id != key:
            expected = f"expected the step's key, {quoted(key)!r}"
            check.fault(f"{at}.id", f"{quoted(step_id)!r}; {expected}")
        check.text(step, "name", at)
        runtime = check.mapping(step, "runtime", at)
        if runtime is not None:
            check.text(runtime, "type", f"{at}.runtime", required=True)
            check.text(runtime, "url", f"{at}.runtime", required=True)
        retries = check.mapping(step, "retries", at) or {}
        check.whole(retries, "attempts", f"{at}.retries", most=_MOST_RETRIES)
    return max_attempts(definition) if check.fault_count == before else 0


def _limits(check: FunctionCheck, definition: dict[str, Any]) -> None:
    """Check the settings that bound how many runs there are."""
    concurrency = definition.get("concurrency")
    if isinstance(concurrency, list):
        limits = check.mappings(definition, "concurrency")
    elif isinstance(concurrency, dict):
        limits = [("concurrency", concurrency)]
    else:
        check.whole(definition, "concurrency")
        limits = []
    for at, limit in limits:
        check.whole(limit, "limit", at, required=True)
        check.text(limit, "key", at)
        check.choice(limit, "scope", at, choices=("fn", "env", "account"))

    throttle = check.mapping(definition, "throttle")
    if throttle is not None:
        check.duration(throttle, "period", "throttle", required=True)
        check.text(throttle, "key", "throttle")
        for key in ("limit", "count", "burst"):  # SDKs say limit, #Function says count
            check.whole(throttle, key, "throttle", least=1)
    rate_limit = check.mapping(definition, "rateLimit")
    if rate_limit is not None:
        check.duration(rate_limit, "period", "rateLimit", required=True)
        check.text(rate_limit, "key", "rateLimit")
        check.whole(rate_limit, "limit", "rateLimit", least=1, required=True)
    singleton = check.mapping(definition, "singleton") or {}
    check.text(singleton, "key", "singleton")
    check.choice(singleton, "mode", "singleton", choices=("skip", "cancel"))
    check.text(check.mapping(definition, "priority") or {}, "run", "priority")


def _windows(check: FunctionCheck, definition: dict[str, Any]) -> None:
    """Check the settings that say how long something is waited for."""
    debounce = check.mapping(definition, "debounce")
    if debounce is not None:
        check.duration(debounce, "period", "debounce", required=True)
        check.duration(debounce, "timeout", "debounce")
        check.text(debounce, "key", "debounce")
    batch = check.mapping(definition, "batchEvents") or {}
    check.whole(batch, "maxSize", "batchEvents", least=1)
    check.duration(batch, "timeout", "batchEvents")
    check.text(batch, "key", "batchEvents")
    check.text(batch, "if", "batchEvents")
    timeouts = check.mapping(definition, "timeouts") or {}
    check.duration(timeouts, "start", "timeouts")
    check.duration(timeouts, "finish", "timeouts")


def _cancellations(check: FunctionCheck, definition: dict[str, Any]) -> None:
    for at, cancel in check.mappings(definition, "cancel"):
        check.text(cancel, "event", at, required=True)
        check.text(cancel, "if", at)
        # The TypeScript SDK writes a Date as a time; everything else is a duration.
        timeout = cancel.get("timeout")
        if not (isinstance(timeout, str) and _is_time(timeout)):
            check.duration(cancel, "timeout", at)


def _is_time(text: str) -> bool:
    """Tell whether the text is a date with a time and a zone, as of RFC 3339."""
    try:
        return "T" in text and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
