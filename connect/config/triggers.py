"""What starts a function: events of a name, or times."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from connect.config.frozen import frozen

__all__ = [
    "CronTrigger",
    "EventDefinition",
    "EventTrigger",
    "SchemaFormat",
    "Trigger",
    "covers",
    "pattern_fault",
    "read_trigger",
]

_LONGEST_NAME = 256  # characters
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")


class SchemaFormat(StrEnum):
    """The language of an event's schema."""

    CUE = "cue"
    JSON_SCHEMA = "json-schema"


@dataclass(frozen=True, slots=True)
class EventDefinition:
    """What events of a trigger look like; kept for people and tools, not enforced.

    Attributes:
        synced: whether the schema is kept in step with one stored elsewhere.
        schema: the schema, read-only all through, or the path of a file that holds it (`def`
            in a definition).
    """

    format: SchemaFormat
    synced: bool
    schema: str | Mapping[str, Any] = field(hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", frozen(self.schema))


@dataclass(frozen=True, slots=True)
class EventTrigger:
    """A function is started by events.

    Attributes:
        event: their name, or the beginning of their names and a star.
        expression: a CEL expression over `event` that must hold too.
        definition: what such events look like.
    """

    event: str
    expression: str | None = None
    definition: EventDefinition | None = None


@dataclass(frozen=True, slots=True)
class CronTrigger:
    """A function is started at times.

    Attributes:
        cron: five or six fields, a name such as ``@daily``, or ``@every 1h``; perhaps
            after ``TZ=zone``.
        jitter: a duration by which starts are spread.
    """

    cron: str
    jitter: str | None = None


Trigger = EventTrigger | CronTrigger


def covers(pattern: str, name: str) -> bool:
    """Tell whether a trigger's event pattern covers an event's name.

    A star may end a pattern and stands for any characters, also for none:
    ``shop/order.*`` covers ``shop/order.created``. Everything else is compared exactly.
    """
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name == pattern


def pattern_fault(pattern: str) -> str | None:
    """Return what makes a text no pattern of event names, and what would be right."""
    if len(pattern) > _LONGEST_NAME:
        return f"longer than {_LONGEST_NAME} characters"
    if _BLANK.search(pattern):
        return "a name of events has no spaces; expected something like 'shop/order.created'"
    if "*" in pattern[:-1]:
        return "a star may only end a pattern, as in 'shop/order.*'"
    return None


def read_trigger(value: Mapping[str, Any]) -> Trigger:
    """Return a trigger from its valid JSON form."""
    cron = value.get("cron")
    if cron is not None:
        return CronTrigger(cron, value.get("jitter"))
    return EventTrigger(value["event"], value.get("expression"), _definition(value))


def _definition(value: Mapping[str, Any]) -> EventDefinition | None:
    match value.get("definition"):
        case {"format": "cue" | "json-schema" as name, "def": str() | Mapping() as schema, **rest}:
            return EventDefinition(SchemaFormat(name), rest.get("synced") is True, schema)
        case _:
            return None
