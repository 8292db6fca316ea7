"""Reads: the connections, worker groups and apps of the environment, as JSON."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connect.api.http import Access, ApiError, json_response, json_time
from connect.config.defined import DefinedFunction, DefinedFunctions
from connect.config.differences import differences
from connect.runs.functions import function_id, served_functions
from connect.state.records import AppRecord, ConnectionRecord, GroupRecord
from connect.state.store import StateStore

__all__ = ["Reads"]


class Reads:
    """Endpoints under ``/v0/connect/envs/{env}``.

    Args:
        defined: returns the loaded definitions, which registered functions are compared with.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        env_id: str,
        access: Access,
        defined: Callable[[], DefinedFunctions] = DefinedFunctions,
    ) -> None:
        self._store = store
        self._env_id = env_id
        self._access = access
        self._defined = defined

    async def connections(self, request: Request) -> Response:
        """The connections; with ``?app_id=…`` those of one synced app."""
        env_id = self._admitted(request)
        app_id = request.query_params.get("app_id") or None
        found = await self._store.connections.all(env_id, app_id)
        return json_response({"data": [_connection(one) for one in found]})

    async def group(self, request: Request) -> Response:
        """A worker group with its connections."""
        env_id = self._admitted(request)
        group_hash = request.path_params["hash"]
        group = await self._store.connections.group(env_id, group_hash)
        if group is None:
            raise ApiError(404, f"there is no worker group {group_hash!r}", code="group_not_found")
        members = await self._store.connections.of_group(env_id, group_hash)
        return json_response({"data": _group(group, members)})

    async def apps(self, request: Request) -> Response:
        """The registered apps with their functions."""
        env_id = self._admitted(request)
        apps = await self._store.apps.all(env_id)
        return json_response({"data": [_app(env_id, app, self._defined()) for app in apps]})

    def _admitted(self, request: Request) -> str:
        self._access.presented(request)
        env_id: str = request.path_params["env"]
        if env_id != self._env_id:
            raise ApiError(
                404, f"there is no environment {env_id!r} here", code="environment_not_found"
            )
        return env_id


def _connection(connection: ConnectionRecord) -> dict[str, Any]:
    attributes = connection.attributes
    return {
        "id": connection.id,
        "gateway_id": connection.gateway_id,
        "instance_id": connection.instance_id,
        "status": connection.status.name,
        "last_heartbeat_at": json_time(connection.last_heartbeat_ms),
        "all_worker_groups": dict(connection.groups),
        "synced_worker_groups": dict(connection.synced_groups),
        "sdk_language": connection.sdk_language,
        "sdk_version": connection.sdk_version,
        "attributes": {
            "cpu_cores": attributes.cpu_cores,
            "mem_bytes": attributes.mem_bytes,
            "os": attributes.os,
        },
    }


def _group(group: GroupRecord, members: list[ConnectionRecord]) -> dict[str, Any]:
    return {
        "env_id": group.env_id,
        "app_id": group.app_id,
        "app_name": group.app_name,
        "app_version": group.app_version,
        "hash": group.hash,
        "sync_id": group.sync_id,
        "created_at": group.created_at,
        "sdk_language": group.sdk_language,
        "sdk_version": group.sdk_version,
        "sdk_platform": group.sdk_platform,
        "functions": list(group.functions),
        "conns": [_connection(one) for one in members],
    }


def _app(env_id: str, app: AppRecord, defined: DefinedFunctions) -> dict[str, Any]:
    definitions = {definition.get("id"): definition for definition in app.functions}
    return {
        "id": app.id,
        "name": app.name,
        "version": app.version,
        "sync_id": app.sync_id,
        "sdk_language": app.sdk_language,
        "sdk_version": app.sdk_version,
        "synced_at": json_time(app.synced_at_ms),
        "functions": [
            {
                "id": function_id(env_id, function.slug),
                "slug": function.slug,
                "name": function.name,
                "max_attempts": function.max_attempts,
                "triggers": definitions[function.slug].get("triggers") or [],
            }
            | _compared(defined.get(function.slug), definitions[function.slug])
            for function in served_functions(app)
        ],
    }


def _compared(defined: DefinedFunction | None, registered: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to show of the loaded definition of a function, if there is one."""
    if defined is None:
        return {}
    found = differences(defined.function, registered)
    shown = [difference.as_json() for difference in found]
    return {"definition": {"file": defined.file, "differences": shown}}
