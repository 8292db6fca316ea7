"""Reads of the function definitions that are loaded: ``/v0/functions``."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connect.api.http import Access, ApiError, json_response, json_time
from connect.config.defined import DefinedFunction, DefinedFunctions
from connect.config.differences import differences
from connect.config.faults import nearest
from connect.config.frozen import thawed
from connect.config.schedule import next_times
from connect.config.triggers import CronTrigger
from connect.state.records import AppRecord
from connect.state.store import AppStore

__all__ = ["FunctionReads"]

_NEXT_TIMES = 5


class FunctionReads:
    """Endpoints under ``/v0/functions``.

    Args:
        apps: the registered apps, whose functions the definitions are compared with.
        defined: returns the definitions that are loaded.
        now: unix time in seconds.
    """

    def __init__(
        self,
        apps: AppStore,
        *,
        env_id: str,
        access: Access,
        defined: Callable[[], DefinedFunctions],
        now: Callable[[], float],
    ) -> None:
        self._apps = apps
        self._env_id = env_id
        self._access = access
        self._defined = defined
        self._now = now

    async def all(self, request: Request) -> Response:
        """The definitions, each with its next start and what registered it."""
        self._access.presented(request)
        defined = self._defined()
        registered = _registered(await self._apps.all(self._env_id)) if defined else {}
        shown = [self._shown(one, registered.get(name, ()), 1) for name, one in defined.items()]
        return json_response({"data": shown})

    async def one(self, request: Request) -> Response:
        """One definition, with the next starts by its schedules."""
        self._access.presented(request)
        function_id = request.path_params["id"]
        defined = self._defined()
        if function_id not in defined:
            near = nearest(function_id, defined)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ApiError(
                404,
                f"no definition of a function {function_id!r} is loaded{hint}",
                code="function_not_found",
            )
        registered = _registered(await self._apps.all(self._env_id))
        shown = self._shown(defined[function_id], registered.get(function_id, ()), _NEXT_TIMES)
        return json_response({"data": shown})

    def _shown(
        self,
        defined: DefinedFunction,
        registered: Iterable[tuple[AppRecord, Mapping[str, Any]]],
        count: int,
    ) -> dict[str, Any]:
        function = defined.function
        definition = thawed(function.definition)
        return {
            "id": function.id,
            "name": function.name,
            "file": defined.file,
            "triggers": definition["triggers"],
            "next_times": self._next_times(defined, count),
            "registered": [
                {
                    "app_id": app.id,
                    "app_name": app.name,
                    "synced_at": json_time(app.synced_at_ms),
                    "differences": [one.as_json() for one in differences(function, theirs)],
                }
                for app, theirs in registered
            ],
            "definition": definition,
        }

    def _next_times(self, defined: DefinedFunction, count: int) -> list[dict[str, str]]:
        """Return the next starts by all schedules together, the first ones first."""
        now = self._now()
        found = [
            # In UTC: times of one zone compare by their clock's, which may be set back.
            (start.at.astimezone(UTC), start.latest.astimezone(UTC), trigger.cron)
            for trigger in defined.function.triggers
            if isinstance(trigger, CronTrigger)
            for start in next_times(trigger, now, count)
        ]
        return [
            {
                "at": at.isoformat().replace("+00:00", "Z"),
                "latest": latest.isoformat().replace("+00:00", "Z"),
                "cron": cron,
            }
            for at, latest, cron in sorted(found)[:count]
        ]


def _registered(
    apps: Iterable[AppRecord],
) -> dict[str, list[tuple[AppRecord, Mapping[str, Any]]]]:
    """Return by the id of a function the apps that register it, with its definition there."""
    found: dict[str, list[tuple[AppRecord, Mapping[str, Any]]]] = {}
    for app in apps:
        for definition in app.functions:
            slug = definition.get("id")
            if isinstance(slug, str):
                found.setdefault(slug, []).append((app, definition))
    return found
