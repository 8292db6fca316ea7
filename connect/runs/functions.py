"""What a run needs to know of a function, read from its registered definition."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connect.config.functions import EventTrigger, max_attempts
from connect.state.records import AppRecord

__all__ = ["ServedFunction", "function_id", "served_function", "served_functions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFunction:
    """A function of a registered app.

    Attributes:
        max_attempts: how often one call or step is tried in all.
        triggers: its event triggers; cron triggers are not among them.
    """

    slug: str
    name: str
    app_id: str
    app_name: str
    max_attempts: int
    triggers: tuple[EventTrigger, ...]


def function_id(env_id: str, slug: str) -> str:
    """Return the id of a function: a UUIDv5 of the environment and the slug.

    An environment id that is no UUID is made one first.
    """
    try:
        namespace = uuid.UUID(env_id)
    except ValueError:
        namespace = uuid.uuid5(uuid.NAMESPACE_OID, env_id)
    return str(uuid.uuid5(namespace, slug))


def served_functions(app: AppRecord) -> Iterator[ServedFunction]:
    """Yield the functions of an app whose definitions have an id."""
    for definition in app.functions:
        slug = definition.get("id")
        if not isinstance(slug, str) or not slug:
            continue
        name = definition.get("name")
        yield ServedFunction(
            slug=slug,
            name=name if isinstance(name, str) and name else slug,
            app_id=app.id,
            app_name=app.name,
            max_attempts=max_attempts(definition),
            triggers=tuple(_triggers(definition)),
        )


def served_function(app: AppRecord, slug: str) -> ServedFunction | None:
    """Return the app's function with that slug."""
    return next((fn for fn in served_functions(app) if fn.slug == slug), None)


def _triggers(definition: Mapping[str, Any]) -> Iterator[EventTrigger]:
    triggers = definition.get("triggers")
    for trigger in triggers if isinstance(triggers, list | tuple) else ():
        if not isinstance(trigger, Mapping):
            continue
        event, expression = trigger.get("event"), trigger.get("expression")
        if isinstance(event, str) and event:
            yield EventTrigger(event, expression if isinstance(expression, str) else None)
