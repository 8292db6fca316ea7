"""Functions as they are defined in files: typed, frozen, checked.

The schema (`#Function`) says what a definition looks like; what it says of a field's
meaning stands here. Names that Python reserves are written out: `if` is `condition`,
`async` is `awaited`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connect.config.checks import TRIGGER, check_function
from connect.config.faults import FunctionConfigError
from connect.config.frozen import frozen
from connect.config.triggers import (
    CronTrigger,
    EventDefinition,
    EventTrigger,
    SchemaFormat,
    Trigger,
    read_trigger,
)
from connect.protocol.durations import parse_duration

__all__ = [
    "TRIGGER",
    "After",
    "Async",
    "Cancel",
    "CronTrigger",
    "EventDefinition",
    "EventTrigger",
    "Function",
    "Retries",
    "Runtime",
    "SchemaFormat",
    "Step",
    "Throttle",
    "Trigger",
    "Version",
]


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where a step runs.

    Attributes:
        type: ``http``; SDKs register other ones too.
        url: what is called.
    """

    type: str
    url: str


@dataclass(frozen=True, slots=True)
class Version:
    """Which versions of a step may run; None for any."""

    major: int | None = None
    minor: int | None = None


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a failed step is tried again.

    Attributes:
        attempts: 0 to 20; None for the default.
    """

    attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Async:
    """An event that is waited for between two steps.

    Attributes:
        ttl: how long, as a duration.
        event: its name, or the beginning of it and a star.
        match: a CEL expression over the run's `event`, the new event `async`, `steps` and
            `response` that must hold too.
        on_timeout: whether the step runs when no event came, rather than when one did.
    """

    ttl: str
    event: str
    match: str | None = None
    on_timeout: bool = False

    @property
    def ttl_seconds(self) -> float:
        return parse_duration(self.ttl)


@dataclass(frozen=True, slots=True)
class After:
    """What must be over before a step runs, and what else must hold then.

    Attributes:
        step: the id of a step, or ``$trigger``.
        condition: a CEL expression over `event`, `steps` (results by step id) and
            `response` (the result of `step`).
        wait: a duration to wait first.
        awaited: an event to wait for first.
    """

    step: str
    condition: str | None = None
    wait: str | None = None
    awaited: Async | None = None

    @property
    def wait_seconds(self) -> float:
        return parse_duration(self.wait) if self.wait else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a function.

    Attributes:
        id: its key in the definition.
        name: for people; empty if it has none.
        path: where its code is, relative to the definition; empty if it is not said.
        after: what it comes after; nothing for one that runs first.
    """

    id: str
    name: str = ""
    path: str = ""
    runtime: Runtime | None = None
    after: tuple[After, ...] = ()
    version: Version | None = None
    retries: Retries | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        """The ids of the steps that it comes after, each once."""
        return tuple(dict.fromkeys(a.step for a in self.after if a.step != TRIGGER))


@dataclass(frozen=True, slots=True)
class Cancel:
    """An event that cancels runs of the function.

    Attributes:
        event: its name, or the beginning of it and a star.
        timeout: how long after its start a run can be cancelled so, as a duration; SDKs
            may give a time of RFC 3339 instead. None for as long as it runs.
        condition: a CEL expression over `event`, the one that started the run, and
            `async`, the cancelling one.
    """

    event: str
    timeout: str | None = None
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Throttle:
    """How many runs may start in a time.

    Attributes:
        period: a duration.
        count: how many, 1 or more.
        key: what they are counted by; None for all together.
    """

    period: str
    count: int = 1
    key: str | None = None

    @property
    def period_seconds(self) -> float:
        return parse_duration(self.period)


@dataclass(frozen=True, slots=True)
class Function:
    """One function.

    Attributes:
        id: unique among all functions.
        name: for people; the id when it has none.
        concurrency: how many runs there may be at once; None for no bound.
        steps: in the order of the definition.
        idempotency: what makes two events the same.
        definition: the JSON object, decoded, with lists as tuples; read-only all through
            (`connect.config.frozen.thawed` makes plain dicts and lists of it).
    """

    id: str
    name: str
    triggers: tuple[Trigger, ...]
    definition: Mapping[str, Any] = field(hash=False)
    steps: tuple[Step, ...] = ()
    concurrency: int | None = None
    idempotency: str | None = None
    throttle: Throttle | None = None
    cancel: tuple[Cancel, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "definition", frozen(self.definition))

    @classmethod
    def from_json(cls, value: object) -> "Function":
        """Read a definition that the schema has accepted.

        Args:
            value: decoded JSON, defaults filled in.

        Raises:
            FunctionConfigError: naming everything that is wrong with it beyond the schema.
        """
        faults = check_function(value)
        if faults or not isinstance(value, Mapping):
            raise FunctionConfigError(faults)
        return cls.of_checked(value)

    @classmethod
    def of_checked(cls, value: Mapping[str, Any]) -> "Function":
        """Read a definition that `check_function` finds nothing wrong with."""
        concurrency = value.get("concurrency")
        return cls(
            id=value["id"],
            name=value.get("name") or value["id"],
            triggers=tuple(map(read_trigger, value["triggers"])),
            definition=value,
            steps=tuple(map(_step, (value.get("steps") or {}).values())),
            concurrency=concurrency if isinstance(concurrency, int) else None,
            idempotency=value.get("idempotency"),
            throttle=_throttle(value.get("throttle")),
            cancel=tuple(map(_cancel, value.get("cancel") or ())),
        )

    def step(self, step_id: str) -> Step | None:
        """Return the step with that id."""
        return next((step for step in self.steps if step.id == step_id), None)


def _step(value: Mapping[str, Any]) -> Step:
    runtime, version, retries = (value.get(key) for key in ("runtime", "version", "retries"))
    return Step(
        id=value["id"],
        name=value.get("name") or "",
        path=value.get("path") or "",
        runtime=Runtime(runtime["type"], runtime["url"]) if runtime else None,
        after=tuple(map(_after, value.get("after") or ())),
        version=Version(version.get("major"), version.get("minor")) if version else None,
        retries=Retries(retries.get("attempts")) if retries else None,
    )


def _after(value: Mapping[str, Any]) -> After:
    awaited = value.get("async")
    return After(
        step=value["step"],
        condition=value.get("if"),
        wait=value.get("wait"),
        awaited=_async(awaited) if awaited else None,
    )


def _async(value: Mapping[str, Any]) -> Async:
    return Async(
        ttl=value["ttl"],
        event=value["event"],
        match=value.get("match"),
        on_timeout=value.get("onTimeout") is True,
    )


def _cancel(value: Mapping[str, Any]) -> Cancel:
    return Cancel(value["event"], value.get("timeout"), value.get("if"))


def _throttle(value: Mapping[str, Any] | None) -> Throttle | None:
    if not value:
        return None
    count = value.get("count") or value.get("limit") or 1
    return Throttle(value["period"], count, value.get("key"))
