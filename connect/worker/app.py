"""Apps and their functions, as a worker registers and runs them."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from connect.errors import ConfigurationError
from connect.worker.steps import Context

__all__ = ["App", "Function", "Handler", "Trigger", "cron", "event"]

Handler = Callable[[Context], Awaitable[Any]]
H = TypeVar("H", bound=Handler)

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MOST_RETRIES = 20


@dataclass(frozen=True, slots=True)
class Trigger:
    """What starts a function; make one with `event` or `cron`.

    Attributes:
        definition: the trigger's JSON form (function definitions, #Trigger).
    """

    definition: Mapping[str, str]


def event(name: str, *, expression: str | None = None) -> Trigger:
    """A trigger by an event.

    Args:
        name: the event's name; ``*`` may end a pattern.
        expression: a CEL condition over ``event``.
    """
    return Trigger({"event": name} | ({"expression": expression} if expression else {}))


def cron(schedule: str) -> Trigger:
    """A trigger by time.

    Args:
        schedule: a cron expression of five fields.
    """
    return Trigger({"cron": schedule})


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function of an app.

    Attributes:
        slug: its id for the world, ``<app>-<function>``.
        retries: how often a failed call is tried again, 0 to 20.
        options: further settings of its definition, such as ``concurrency``, as JSON.
    """

    slug: str
    name: str
    handler: Handler
    triggers: tuple[Trigger, ...] = ()
    retries: int = 3
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def definition(self) -> dict[str, Any]:
        """Its JSON form, in the shape that worker SDKs register."""
        step = {
            "id": "step",
            "name": "step",
            "retries": {"attempts": self.retries},
            "runtime": {"type": "ws", "url": f"wss://connect?fnId={self.slug}&stepId=step"},
        }
        return {
            **self.options,
            "id": self.slug,
            "name": self.name,
            "triggers": [dict(trigger.definition) for trigger in self.triggers],
            "steps": {"step": step},
        }


class App:
    """A named set of functions, which a worker serves together.

    Args:
        name: the app's name: letters, digits, ``-``, ``_`` and ``.``.
        version: what deploys are told apart by, if anything.

    Raises:
        ConfigurationError: the name has other characters.
    """

    def __init__(self, name: str, *, version: str | None = None) -> None:
        if _ID.fullmatch(name) is None:
            raise ConfigurationError(f"not an app name: {name!r}")
        self.name = name
        self.version = version
        self._functions: dict[str, Function] = {}

    @property
    def functions(self) -> Mapping[str, Function]:
        """The functions by slug."""
        return self._functions

    def function(
        self,
        function_id: str,
        *,
        triggers: Iterable[Trigger] = (),
        retries: int = 3,
        name: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Callable[[H], H]:
        """Register the decorated coroutine function.

        Args:
            function_id: unique within the app; the slug is ``<app>-<function_id>``.
            triggers: what starts it.
            retries: how often a failed call is tried again, 0 to 20.
            name: for people; the id when None.
            options: further settings of the definition, as JSON.

        Raises:
            ConfigurationError: the id is taken or malformed, or retries out of range.
        """
        if _ID.fullmatch(function_id) is None:
            raise ConfigurationError(f"app {self.name}: not a function id: {function_id!r}")
        if not 0 <= retries <= _MOST_RETRIES:
            raise ConfigurationError(
                f"app {self.name}: function {function_id}: retries must be 0 to {_MOST_RETRIES}, "
                f"not {retries}"
            )
        slug = f"{self.name}-{function_id}"
        if slug in self._functions:
            raise ConfigurationError(f"app {self.name}: function {function_id} is defined twice")

        def register(handler: H) -> H:
            self._functions[slug] = Function(
                slug=slug,
                name=name or function_id,
                handler=handler,
                triggers=tuple(triggers),
                retries=retries,
                options=dict(options or {}),
            )
            return handler

        return register
