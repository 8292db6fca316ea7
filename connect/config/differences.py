"""How a loaded definition and what a worker registers under the same id differ.

Compared is what the tables of ``docs/functions.md`` name; what else SDKs send has no place
in a definition. SDKs register one step, ``step``, in place of a function whose steps are in
its code: then steps are not compared, only how often a call is tried again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connect.config.definitions import Cancel, Function, Step
from connect.config.frozen import thawed
from connect.config.functions import MAIN_STEP
from connect.config.triggers import CronTrigger, Trigger
from connect.protocol.durations import parse_duration

__all__ = ["Difference", "differences"]

# Of a step, what is compared where a worker registers the same steps.
_OF_STEP = ("name", "runtime", "after", "version")

_LONGEST_SHOWN = 200  # characters of a value in a log line


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes:
        path: where, such as ``throttle.count``; an index counts in the definition's list.
        defined: the value in the definition, decoded JSON; None if it has none.
        registered: the worker's value, decoded JSON; None if it has none.
    """

    path: str
    defined: Any
    registered: Any

    def __str__(self) -> str:
        return f"{self.path}: defined {_shown(self.defined)}, registered {_shown(self.registered)}"

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "defined": self.defined, "registered": self.registered}


def differences(function: Function, registered: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Compare a definition with what a worker registered.

    Durations are compared by their length, lists of triggers and cancellations without
    their order.

    Args:
        function: the definition.
        registered: decoded JSON in the shape of an SDK, or of another implementation that
            shares the store: what is malformed in it just differs.
    """
    return tuple(_differences(function, registered))


def _differences(function: Function, registered: Mapping[str, Any]) -> Iterator[Difference]:
    yield from _value("name", function.name, registered.get("name") or function.id)
    yield from _entries(
        "triggers",
        [_trigger(trigger) for trigger in function.triggers],
        _objects(registered.get("triggers"), ("event", "expression", "cron", "jitter")),
    )
    # No limit is written as 0, or not at all.
    yield from _value("concurrency", function.concurrency or None, _concurrency(registered) or None)
    yield from _value("idempotency", function.idempotency, registered.get("idempotency"))
    yield from _throttle(function, registered.get("throttle"))
    yield from _entries(
        "cancel",
        [_cancel(rule) for rule in function.cancel],
        _objects(registered.get("cancel"), ("event", "timeout", "if")),
    )
    steps = registered.get("steps")
    if isinstance(steps, Mapping) and steps:
        yield from _steps(function, steps)


def _value(path: str, defined: Any, registered: Any) -> Iterator[Difference]:
    # Nothing is written as "" in files and as null by SDKs.
    defined, registered = (None if value == "" else value for value in (defined, registered))
    name = path.rpartition(".")[2]
    if _comparable({name: defined}) != _comparable({name: registered}):
        yield Difference(path, defined, registered)


def _entries(
    path: str, defined: Sequence[Mapping[str, Any]], registered: Sequence[Mapping[str, Any]]
) -> Iterator[Difference]:
    """Compare lists of objects that name an event or a cron."""
    theirs = [_comparable(entry) for entry in registered]
    rest = [entry for entry in registered if _comparable(entry) not in map(_comparable, defined)]
    for at, entry in enumerate(defined):
        if _comparable(entry) in theirs:
            continue
        like = next((other for other in rest if _names(other) == _names(entry)), None)
        if like is not None:
            rest.remove(like)
        yield Difference(f"{path}[{at}]", entry, like)
    for entry in rest:
        yield Difference(path, None, entry)


def _names(entry: Mapping[str, Any]) -> tuple[Any, Any]:
    return entry.get("event"), entry.get("cron")


def _throttle(function: Function, registered: Any) -> Iterator[Difference]:
    defined = function.throttle
    mine: dict[str, Any] | None = None
    theirs: dict[str, Any] | None = None
    if defined is not None:
        mine = {"count": defined.count, "period": defined.period, "key": defined.key}
    if isinstance(registered, Mapping) and registered:
        count = registered.get("limit") or registered.get("count") or 1
        theirs = {"count": count, "period": registered.get("period"), "key": registered.get("key")}
    if mine is None or theirs is None:
        shown = (None if value is None else _without_none(value) for value in (mine, theirs))
        yield from _value("throttle", *shown)
        return
    for name, value in mine.items():
        yield from _value(f"throttle.{name}", value, theirs[name])


def _concurrency(registered: Mapping[str, Any]) -> Any:
    """Return the bound on runs at once; SDKs send it as a list of one."""
    value = registered.get("concurrency")
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    if isinstance(value, Mapping) and not _without_none(value).keys() - {"limit"}:
        return value.get("limit")
    return value


def _steps(function: Function, registered: Mapping[str, Any]) -> Iterator[Difference]:
    if set(registered) == {MAIN_STEP} and function.step(MAIN_STEP) is None:
        if len(function.steps) == 1:
            [step] = function.steps
            yield from _retries(step, registered[MAIN_STEP])
        return
    written = thawed(function.definition.get("steps") or {})
    for step in function.steps:
        path = f"steps.{step.id}"
        other = registered.get(step.id)
        if not isinstance(other, Mapping):
            yield Difference(path, {"id": step.id}, other)
            continue
        mine = written[step.id]
        for name in _OF_STEP:
            # An SDK gives the one step it sends a name and a URL of its own.
            if set(registered) != {MAIN_STEP}:
                yield from _value(f"{path}.{name}", mine.get(name), other.get(name))
        yield from _retries(step, other)
    for name in registered:
        if function.step(name) is None:
            yield Difference(f"steps.{name}", None, {"id": name})


def _retries(step: Step, registered: Any) -> Iterator[Difference]:
    """Compare how often a step is tried again, if the definition says so."""
    attempts = step.retries.attempts if step.retries is not None else None
    if attempts is not None:
        retries = registered.get("retries") if isinstance(registered, Mapping) else None
        theirs = retries.get("attempts") if isinstance(retries, Mapping) else None
        yield from _value(f"steps.{step.id}.retries.attempts", attempts, theirs)


def _trigger(trigger: Trigger) -> dict[str, Any]:
    if isinstance(trigger, CronTrigger):
        return _without_none({"cron": trigger.cron, "jitter": trigger.jitter})
    return _without_none({"event": trigger.event, "expression": trigger.expression})


def _cancel(rule: Cancel) -> dict[str, Any]:
    return _without_none({"event": rule.event, "timeout": rule.timeout, "if": rule.condition})


def _objects(value: Any, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the objects of a list with only those members that are compared."""
    if not isinstance(value, list | tuple):
        return []
    return [
        {name: item[name] for name in names if item.get(name) is not None}
        for item in value
        if isinstance(item, Mapping)
    ]


def _without_none(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if item is not None}


_DURATIONS = frozenset({"jitter", "timeout", "period", "wait", "ttl"})


def _comparable(value: Any) -> Any:
    """Return a value in which equal durations are equal."""
    match value:
        case Mapping():
            return {
                name: _length(item) if name in _DURATIONS else _comparable(item)
                for name, item in value.items()
                if item is not None
            }
        case list() | tuple():
            return [_comparable(item) for item in value]
        case _:
            return value


def _length(text: Any) -> Any:
    try:
        return parse_duration(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
