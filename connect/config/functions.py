"""The list of functions that a worker registers, checked.

Worker SDKs send a JSON list in a shape of their own. What the definition of a function
names is checked here, and every fault is found at once; the settings that it does not
name are kept as they came. Every number and text must survive canonical JSON
(RFC 8785), from which the hash of a worker group is made.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connect.config.checks import FunctionIds, check_definition
from connect.config.faults import (
    DEEPEST_NESTING,
    Faults,
    FunctionCheck,
    FunctionConfigError,
    FunctionFault,
    TooManyFunctions,
    json_kind,
    unencodable,
)
from connect.config.triggers import CronTrigger, EventTrigger, Trigger, read_trigger

__all__ = [
    "MAIN_STEP",
    "CronTrigger",
    "EventTrigger",
    "FunctionConfigError",
    "FunctionFault",
    "RegisteredFunction",
    "TooManyFunctions",
    "Trigger",
    "max_attempts",
    "parse_functions",
]

_DEFAULT_RETRIES = 3
MAIN_STEP = "step"
"""The one step that SDKs send."""

_MOST_COMPILED = 500_000  # characters of expressions and crons: a second or two at worst


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


def parse_functions(data: bytes, *, most: int = 0) -> tuple[RegisteredFunction, ...]:
    """Read the functions of an AppConfiguration.

    Args:
        data: a JSON list in UTF-8; an empty list is right.
        most: how many there may be; 0 means any number. Checking one takes much longer than
            decoding it.

    Returns:
        The functions in their order.

    Raises:
        FunctionConfigError: naming every fault. The gateway tells it to the worker by
            SYNC_FAILED (Connect protocol, section 3).
        TooManyFunctions: there are more; nothing else of them has been looked at.
    """
    definitions = _load(data)
    if most and len(definitions) > most:
        raise TooManyFunctions(len(definitions), most)
    faults = Faults(work=_MOST_COMPILED)
    ids = FunctionIds()
    for index, definition in enumerate(definitions):
        place = f"#{index + 1}"
        if not isinstance(definition, dict):
            FunctionCheck(place, faults).fault((), f"{json_kind(definition)}; expected an object")
            continue
        slug = definition.get("id")
        check = FunctionCheck(slug if isinstance(slug, str) and slug else place, faults)
        for path, reason in unencodable(definition):
            check.fault(path, reason)
        check_definition(check, definition)
        ids.check(check, definition)
    if faults.kept:
        raise FunctionConfigError(faults.kept)
    return tuple(_registered(definition) for definition in definitions)


def max_attempts(definition: Mapping[str, Any]) -> int:
    """Return how often a call is made before the function has failed.

    That is the first call and its step's `retries.attempts`, or 3 retries by default.

    Args:
        definition: a valid definition, such as `RegisteredFunction.definition`.
    """
    steps: Mapping[str, Any] = definition.get("steps") or {}
    step: Mapping[str, Any] = steps.get(MAIN_STEP) or next(iter(steps.values()), {})
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


def _registered(definition: Mapping[str, Any]) -> RegisteredFunction:
    """Return a function from its valid definition."""
    slug = definition["id"]
    return RegisteredFunction(
        slug=slug,
        name=definition.get("name") or slug,
        triggers=tuple(map(read_trigger, definition["triggers"])),
        max_attempts=max_attempts(definition),
        definition=definition,
    )
