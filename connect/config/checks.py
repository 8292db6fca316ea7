"""What must hold of a function definition beyond its schema.

Definitions come from files, after the schema has accepted them, and from workers, in the
shape of their SDKs, which has more settings. Both are checked by the same code: what the
tables of `docs/functions.md` define is checked wherever it occurs, the rest is left alone.
Every fault is found at once.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from unicodedata import category

from connect.config.cycles import cycles
from connect.config.expressions import Expression, ExpressionError
from connect.config.faults import (
    Faults,
    FunctionCheck,
    FunctionFault,
    Path,
    inexpressible,
    json_kind,
    nearest,
)
from connect.config.faults import quoted as quote
from connect.config.schedule import Schedule, ScheduleError, UnknownZone, nearest_zone
from connect.config.triggers import SchemaFormat, pattern_fault

__all__ = [
    "TRIGGER",
    "UNDER_AFTER",
    "UNDER_ASYNC",
    "UNDER_CANCEL",
    "UNDER_TRIGGER",
    "FunctionIds",
    "check_definition",
    "check_function",
    "check_functions",
]

TRIGGER = "$trigger"
"""What a step comes after that runs first."""

# The names that an expression may use, by where it stands.
UNDER_TRIGGER = ("event",)
UNDER_CANCEL = ("event", "async")
UNDER_AFTER = ("event", "steps", "response")
UNDER_ASYNC = ("event", "async", "steps", "response")

_MOST_RETRIES = 20
_LONGEST_ID = 256  # characters
_BREAKING = frozenset({"Cc", "Zl", "Zp"})  # control characters, and other ends of lines
_COMPILING = 50  # characters' worth of work that compiling anything takes


class FunctionIds:
    """Finds ids that are used twice, over all functions that are checked together."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def check(self, check: FunctionCheck, definition: Mapping[str, Any]) -> None:
        function_id = definition.get("id")
        if not isinstance(function_id, str) or not function_id:
            return
        if function_id in self._seen:
            check.fault(("id",), "another function of the list has the same id")
        self._seen.add(function_id)


def check_function(value: object) -> tuple[FunctionFault, ...]:
    """Return everything that is wrong with a definition.

    Args:
        value: decoded JSON.

    Returns:
        The faults in the order of the definition; none if it is right.
    """
    [faults] = check_functions([value])
    return faults


def check_functions(values: Sequence[object]) -> tuple[tuple[FunctionFault, ...], ...]:
    """Return everything that is wrong with definitions, which must differ in their ids.

    Args:
        values: decoded JSON each.

    Returns:
        For each definition its faults, in its order. Of an id that several have, the
        second and later ones are at fault.
    """
    ids = FunctionIds()
    return tuple(_faults(value, f"#{at + 1}", ids) for at, value in enumerate(values))


def _faults(value: object, place: str, ids: FunctionIds) -> tuple[FunctionFault, ...]:
    faults = Faults()
    if isinstance(value, Mapping):
        function_id = value.get("id")
        named = isinstance(function_id, str) and function_id
        check = FunctionCheck(str(function_id) if named else place, faults)
        for path, reason in inexpressible(value):
            check.fault(path, reason)
        check_definition(check, value)
        ids.check(check, value)
    else:
        FunctionCheck(place, faults).fault((), f"{json_kind(value)}; expected an object")
    return tuple(faults.kept)


def check_definition(check: FunctionCheck, definition: Mapping[str, Any]) -> None:
    """Note everything that is wrong with one definition."""
    _id(check, definition)
    check.text(definition, "name")
    check.text(definition, "idempotency")
    for at, trigger in check.mappings(definition, "triggers", required=True):
        _trigger(check, trigger, at)
    _steps(check, definition)
    _limits(check, definition)
    _windows(check, definition)
    _cancellations(check, definition)


def _id(check: FunctionCheck, definition: Mapping[str, Any]) -> None:
    function_id = check.text(definition, "id", required=True)
    if function_id is None:
        return
    if len(function_id) > _LONGEST_ID:
        check.fault(("id",), f"longer than {_LONGEST_ID} characters")
    elif any(category(character) in _BREAKING for character in function_id):
        check.fault(("id",), "an id has no line breaks and no control characters")


def _trigger(check: FunctionCheck, trigger: Mapping[str, Any], at: Path) -> None:
    is_event, is_cron = (trigger.get(key) is not None for key in ("event", "cron"))
    if is_event == is_cron:
        found = "both" if is_event else "neither"
        check.fault(at, f"expected either an event or a cron; found {found}")
    elif is_event:
        _event(check, trigger, at)
        _expression(check, trigger, "expression", at, UNDER_TRIGGER)
        definition = check.mapping(trigger, "definition", at) or {}
        check.choice(definition, "format", (*at, "definition"), choices=tuple(SchemaFormat))
    else:
        _cron(check, trigger, at)
        check.duration(trigger, "jitter", at)


def _event(check: FunctionCheck, within: Mapping[str, Any], at: Path) -> None:
    event = check.text(within, "event", at, required=True)
    if event is not None and (reason := pattern_fault(event)):
        check.fault((*at, "event"), reason)


def _cron(check: FunctionCheck, trigger: Mapping[str, Any], at: Path) -> None:
    path = (*at, "cron")
    cron = check.text(trigger, "cron", at, required=True)
    if cron is None or not _room(check, cron, path):
        return
    try:
        Schedule.parse(cron)
    except UnknownZone as error:
        near = nearest_zone(error.zone) if check.faults.suggesting else None
        check.fault(path, f"{error}; did you mean {near!r}?" if near else str(error))
    except ScheduleError as error:
        check.fault(path, str(error))


def _expression(
    check: FunctionCheck, within: Mapping[str, Any], key: str, at: Path, names: Sequence[str]
) -> None:
    path = (*at, key)
    text = check.text(within, key, at)
    if text is None or not _room(check, text, path):
        return
    try:
        Expression(text, names)
    except ExpressionError as error:
        check.fault(path, error.reason)


def _room(check: FunctionCheck, text: str, path: Path) -> bool:
    """Tell whether there is time to compile one more text; note a fault if not."""
    if check.faults.spend(len(text) + _COMPILING):
        return True
    check.fault(path, "not checked: the functions before it have too many expressions and crons")
    return False


def _steps(check: FunctionCheck, definition: Mapping[str, Any]) -> None:
    steps = check.mapping(definition, "steps") or {}
    edges: dict[str, dict[str, Path]] = {}
    for key in steps:
        edges[key] = {}
        step = check.mapping(steps, key, ("steps",))
        if step is not None:
            _step(check, step, key)
            edges[key] = _after(check, step, key, steps)
        elif steps[key] is None:
            check.fault(("steps", key), "null; expected an object")
    for cycle in cycles({key: tuple(after) for key, after in edges.items()}):
        path = edges[cycle[0]][cycle[-1]]
        if len(cycle) == 1:
            check.fault(path, f"the step {quote(cycle[0])!r} cannot come after itself")
        else:
            shown = [quote(step) for step in (*cycle[:10], *(["…"] if len(cycle) > 10 else []))]
            check.fault(path, f"steps form a cycle: {' → '.join((*shown, shown[0]))}")


def _step(check: FunctionCheck, step: Mapping[str, Any], key: str) -> None:
    at = ("steps", key)
    step_id = check.text(step, "id", at, required=True)
    if step_id is not None and step_id != key:
        expected = f"expected the step's key, {quote(key)!r}"
        check.fault((*at, "id"), f"{quote(step_id)!r}; {expected}")
    if key == TRIGGER:
        check.fault(at, f"{TRIGGER!r} stands for the trigger; expected another id")
    check.text(step, "name", at)
    check.text(step, "path", at)
    runtime = check.mapping(step, "runtime", at)
    if runtime is not None:
        check.text(runtime, "type", (*at, "runtime"), required=True)
        check.text(runtime, "url", (*at, "runtime"), required=True)
    version = check.mapping(step, "version", at) or {}
    check.whole(version, "major", (*at, "version"))
    check.whole(version, "minor", (*at, "version"))
    retries = check.mapping(step, "retries", at) or {}
    check.whole(retries, "attempts", (*at, "retries"), most=_MOST_RETRIES)


def _after(
    check: FunctionCheck, step: Mapping[str, Any], key: str, steps: Mapping[str, Any]
) -> dict[str, Path]:
    """Check what a step comes after; return the steps, each with the path that names it."""
    named: dict[str, Path] = {}
    for at, after in check.mappings(step, "after", ("steps", key)):
        before = check.text(after, "step", at, required=True)
        if before is not None and before in steps:
            named.setdefault(before, (*at, "step"))
        elif before is not None and before != TRIGGER:
            check.fault((*at, "step"), _unknown_step(check, before, steps))
        _expression(check, after, "if", at, UNDER_AFTER)
        check.duration(after, "wait", at)
        wait = check.mapping(after, "async", at)
        if wait is not None:
            under = (*at, "async")
            check.duration(wait, "ttl", under, required=True)
            _event(check, wait, under)
            _expression(check, wait, "match", under, UNDER_ASYNC)
            check.flag(wait, "onTimeout", under)
    return named


def _unknown_step(check: FunctionCheck, name: str, steps: Mapping[str, Any]) -> str:
    reason = f"there is no step {quote(name)!r}"
    near = nearest(name, (*steps, TRIGGER)) if check.faults.suggesting else None
    if near is not None:
        return f"{reason}; did you mean {quote(near)!r}?"
    return f"{reason}; expected the id of a step, or {TRIGGER!r}"


def _limits(check: FunctionCheck, definition: Mapping[str, Any]) -> None:
    """Check the settings that bound how many runs there are."""
    concurrency = definition.get("concurrency")
    limits: list[tuple[Path, Mapping[str, Any]]] = []
    if isinstance(concurrency, list | tuple):
        limits = check.mappings(definition, "concurrency")
    elif isinstance(concurrency, Mapping):
        limits = [(("concurrency",), concurrency)]
    else:
        check.whole(definition, "concurrency")
    for at, limit in limits:
        check.whole(limit, "limit", at, required=True)
        check.text(limit, "key", at)
        check.choice(limit, "scope", at, choices=("fn", "env", "account"))

    throttle = check.mapping(definition, "throttle")
    if throttle is not None:
        check.duration(throttle, "period", ("throttle",), required=True)
        check.text(throttle, "key", ("throttle",))
        for key in ("limit", "count", "burst"):  # SDKs say limit, #Function says count
            check.whole(throttle, key, ("throttle",), least=1)
    rate_limit = check.mapping(definition, "rateLimit")
    if rate_limit is not None:
        check.duration(rate_limit, "period", ("rateLimit",), required=True)
        check.text(rate_limit, "key", ("rateLimit",))
        check.whole(rate_limit, "limit", ("rateLimit",), least=1, required=True)
    singleton = check.mapping(definition, "singleton") or {}
    check.text(singleton, "key", ("singleton",))
    check.choice(singleton, "mode", ("singleton",), choices=("skip", "cancel"))
    check.text(check.mapping(definition, "priority") or {}, "run", ("priority",))


def _windows(check: FunctionCheck, definition: Mapping[str, Any]) -> None:
    """Check the settings that say how long something is waited for."""
    debounce = check.mapping(definition, "debounce")
    if debounce is not None:
        check.duration(debounce, "period", ("debounce",), required=True)
        check.duration(debounce, "timeout", ("debounce",))
        check.text(debounce, "key", ("debounce",))
    batch = check.mapping(definition, "batchEvents") or {}
    check.whole(batch, "maxSize", ("batchEvents",), least=1)
    check.duration(batch, "timeout", ("batchEvents",))
    check.text(batch, "key", ("batchEvents",))
    check.text(batch, "if", ("batchEvents",))
    timeouts = check.mapping(definition, "timeouts") or {}
    check.duration(timeouts, "start", ("timeouts",))
    check.duration(timeouts, "finish", ("timeouts",))


def _cancellations(check: FunctionCheck, definition: Mapping[str, Any]) -> None:
    for at, cancel in check.mappings(definition, "cancel"):
        _event(check, cancel, at)
        _expression(check, cancel, "if", at, UNDER_CANCEL)
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
