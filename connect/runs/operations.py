"""The operations that a worker's NOT_COMPLETED reply asks for.

The body is a JSON list; each item names its operation in ``op``, its step in ``id`` (hashed)
and ``name`` or ``displayName`` (for people). SDKs differ in where they put the rest, so
each operation is read from every place that one of them uses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connect.runs import jsontext
from connect.runs.errors import MalformedReply

__all__ = [
    "InvokeFunction",
    "Operation",
    "RunComplete",
    "Sleep",
    "StepError",
    "StepFailed",
    "StepPlanned",
    "StepRun",
    "UnknownOperation",
    "WaitForEvent",
    "error_object",
    "parse_operations",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What every operation on a step has.

    Attributes:
        id: the hashed step id.
        name: for people.
        op: the operation as the worker named it.
        racing: the function goes on as soon as one of the steps beside it is over.
    """

    id: str
    name: str
    op: str
    racing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun(_Step):
    """The step ran, and gave `data`."""

    data: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepError(_Step):
    """The step ran and failed; it may be tried again."""

    error: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(_Step):
    """The step failed for good."""

    error: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlanned(_Step):
    """The step is to be run by a call of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep(_Step):
    """Wait; `until` is a duration or a point in time."""

    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForEvent(_Step):
    """Wait for an event.

    Attributes:
        event: its name.
        timeout: a duration or a point in time; None waits on.
        expression: CEL over ``event`` (the run's own) and ``async`` (the one arriving).
    """

    event: str
    timeout: str | None = None
    expression: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeFunction(_Step):
    """Run another function to its end.

    Attributes:
        slug: the function.
        payload: what its event is made from: ``data`` and perhaps ``user``.
        timeout: a duration or a point in time; None waits on.
    """

    slug: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    timeout: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComplete(_Step):
    """The function returned `data`."""

    data: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOperation(_Step):
    """An operation that this service does not know."""


Operation = (
    StepRun
    | StepError
    | StepFailed
    | StepPlanned
    | Sleep
    | WaitForEvent
    | InvokeFunction
    | RunComplete
    | UnknownOperation
)


def parse_operations(body: bytes) -> tuple[Operation, ...]:
    """Read the body of a NOT_COMPLETED reply.

    Raises:
        MalformedReply: says what is wrong, and at which place of the list.
    """
    try:
        items = jsontext.load(body)
    except ValueError as error:
        raise MalformedReply(f"the list of operations is not JSON: {error}") from None
    if not isinstance(items, list):
        raise MalformedReply(f"expected a list of operations, found {_kind(items)}")
    return tuple(_operation(item, f"operation {at}") for at, item in enumerate(items, 1))


def error_object(value: object) -> dict[str, Any]:
    """Return an error as functions get it, with a name and a message whatever was sent."""
    if isinstance(value, Mapping):
        name, message = value.get("name"), value.get("message")
        return {
            **value,
            "name": name if isinstance(name, str) and name else "Error",
            "message": message if isinstance(message, str) else "",
        }
    return {"name": "Error", "message": value if isinstance(value, str) else ""}


def _operation(item: object, where: str) -> Operation:
    if not isinstance(item, Mapping):
        raise MalformedReply(f"{where}: expected an object, found {_kind(item)}")
    op = _text(item, "op", where)
    where = f"{where} ({op[:60]})"
    # A function that is complete has no step.
    step_id = _text(item, "id", where) if op != "RunComplete" else ""
    name = _optional_text(item, "name", where)
    opts = _object(item, "opts", where)
    step: dict[str, Any] = {
        "id": step_id,
        "name": _optional_text(item, "displayName", where) or name or step_id,
        "op": op,
        "racing": opts.get("parallelMode") == "race",
    }
    match op:
        case "StepRun" | "Step":
            return StepRun(**step, data=item.get("data"))
        case "StepError":
            return StepError(**step, error=error_object(item.get("error")))
        case "StepFailed":
            return StepFailed(**step, error=error_object(item.get("error")))
        case "StepPlanned":
            return StepPlanned(**step)
        case "Sleep":
            until = _optional_text(opts, "duration", f"{where}.opts") or name
            if not until:
                raise MalformedReply(f"{where}: neither name nor opts.duration says how long")
            return Sleep(**step, until=until)
        case "WaitForEvent":
            event = _optional_text(opts, "event", f"{where}.opts") or name
            if not event:
                raise MalformedReply(f"{where}: neither opts.event nor name says which event")
            return WaitForEvent(
                **step,
                event=event,
                timeout=_optional_text(opts, "timeout", f"{where}.opts") or None,
                expression=_optional_text(opts, "if", f"{where}.opts") or None,
            )
        case "InvokeFunction":
            return InvokeFunction(
                **step,
                slug=_text(opts, "function_id", f"{where}.opts"),
                payload=_object(opts, "payload", f"{where}.opts"),
                timeout=_optional_text(opts, "timeout", f"{where}.opts") or None,
            )
        case "RunComplete":
            return RunComplete(**step, data=item.get("data"))
        case _:
            return UnknownOperation(**step)


def _text(item: Mapping[str, Any], key: str, where: str) -> str:
    found = item.get(key)
    if not isinstance(found, str) or not found:
        raise MalformedReply(f"{where}: {key} must be a non-empty string, found {_kind(found)}")
    return found


def _optional_text(item: Mapping[str, Any], key: str, where: str) -> str:
    found = item.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise MalformedReply(f"{where}: {key} must be a string, found {_kind(found)}")
    return found


def _object(item: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = item.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise MalformedReply(f"{where}: {key} must be an object, found {_kind(found)}")
    return found


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string" if value else "an empty string"
        case list():
            return "a list"
        case _:
            return "an object"
