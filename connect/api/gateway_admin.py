"""The maintenance API's view of the gateway in this process: connections, drain, activate."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connect.api.health import Ready
from connect.api.http import ApiError, error_response, json_response, json_time
from connect.protocol.lifecycle import (
    ClosedConnection,
    DisconnectReason,
    DrainProgress,
    DrainState,
    OpenConnection,
    Side,
    Transition,
    WorkerStatus,
)
from connect.settings import Settings
from connect.state.records import ConnectionStatus, GatewayRecord

__all__ = ["GatewayAdmin", "GatewayPort"]

C = TypeVar("C", OpenConnection, ClosedConnection)
E = TypeVar("E", bound=StrEnum)

# Of connections, where the request does not say how many.
_LIMIT = 100


class GatewayPort(Protocol):
    """A gateway, as far as its maintenance goes; implemented by `nursery.gateway.Gateway`."""

    def describe(self) -> Mapping[str, Any]: ...

    def start_drain(self) -> object:
        """Begin to send every connection away; harmless while that goes on already."""
        ...

    async def activate(self) -> bool:
        """Take connections again, and close no more of those there are."""
        ...

    def drain_progress(self) -> DrainProgress | None: ...

    def open_connections(self) -> Iterable[OpenConnection]: ...

    def closed_connections(self) -> Iterable[ClosedConnection]:
        """Return those that are remembered, the latest first."""
        ...


class GatewayAdmin:
    """Endpoints about one gateway.

    Args:
        gateway: None where that role does not run in this process.
        gateways: reads the table of all gateways.
        ready: says why the service is not ready, or None.
        stopping: whether the process is coming to its end.
        now: the current time, in unix seconds.
    """

    def __init__(
        self,
        gateway: GatewayPort | None,
        *,
        gateways: Callable[[], Awaitable[Sequence[GatewayRecord]]],
        ready: Ready,
        stopping: Callable[[], bool],
        settings: Settings,
        now: Callable[[], float],
    ) -> None:
        self._gateway = gateway
        self._gateways = gateways
        self._ready = ready
        self._stopping = stopping
        self._settings = settings
        self._now = now

    def routes(self) -> list[Route]:
        """Return the routes of these endpoints."""
        return [
            Route("/gateway", self.show, methods=["GET"]),
            Route("/gateways", self.show_all, methods=["GET"]),
            Route("/connections", self.connections, methods=["GET"]),
            Route("/connections/closed", self.closed, methods=["GET"]),
            Route("/drain", self.drain, methods=["POST"]),
            Route("/drained", self.drained, methods=["GET"]),
            Route("/activate", self.activate, methods=["POST"]),
        ]

    async def show(self, _request: Request) -> Response:
        """The gateway of this process, and why it takes no work, if so."""
        if self._gateway is None:
            return json_response({"status": "not running here"})
        return json_response({**self._gateway.describe(), "not_ready": self._ready()})

    async def show_all(self, _request: Request) -> Response:
        """All gateways of the table, with where their maintenance APIs listen.

        The record of one that died stays, with the status it had, until it is collected.
        """
        records = sorted(await self._gateways(), key=lambda record: record.id)
        return json_response({"data": [self._of_table(record) for record in records]})

    def _of_table(self, record: GatewayRecord) -> dict[str, Any]:
        age = self._now() - record.last_heartbeat_ms / 1000
        return {
            "id": record.id,
            "status": str(record.status),
            "alive": age <= 2 * self._settings.timing.gateway_heartbeat,
            "group": record.group,
            "hostname": record.hostname,
            "connections": record.connections,
            "last_heartbeat_at": json_time(record.last_heartbeat_ms),
            "heartbeat_age": round(age, 3) if record.last_heartbeat_ms else None,
            "version": record.version,
            "admin": record.admin,
        }

    async def connections(self, request: Request) -> Response:
        """The open connections; ``?app=``, ``?instance=``, ``?status=``, ``?limit=``."""
        gateway = self._here()
        asked = _query(request, "app", "instance", "status")
        status = asked.get("status", "").upper()
        if status and status not in ConnectionStatus.__members__:
            raise _unknown("status", status, ConnectionStatus.__members__)
        found = [
            connection
            for connection in gateway.open_connections()
            if _matches(connection, asked) and status in ("", connection.status)
        ]
        return _page(request, found, _open)

    async def closed(self, request: Request) -> Response:
        """Those that have ended, the latest first.

        ``?reason=``, ``?by=``, ``?app=``, ``?instance=``, ``?limit=``.
        """
        gateway = self._here()
        asked = _query(request, "app", "instance", "reason", "by")
        reason = _member(DisconnectReason, "reason", asked.get("reason", "").upper())
        by = _member(Side, "side", asked.get("by", "").lower())
        found = [
            connection
            for connection in gateway.closed_connections()
            if _matches(connection, asked)
            and reason in (None, connection.disconnect.reason)
            and by in (None, connection.disconnect.by)
        ]
        return _page(request, found, _closed)

    async def drain(self, _request: Request) -> Response:
        """Begin to drain the gateway (Connect protocol, section 4)."""
        gateway = self._here()
        gateway.start_drain()
        return json_response(_drain(gateway.drain_progress()), 202)

    async def drained(self, _request: Request) -> Response:
        """200 once every connection is gone, 425 until then, also where that is given up."""
        progress = self._here().drain_progress()
        if progress is None:
            return error_response(425, "the gateway is not draining", **_drain(None))
        if progress.state is DrainState.DRAINED:
            return json_response(_drain(progress))
        what = f"{progress.open} of {progress.total} connections are still open"
        if progress.state is DrainState.GIVEN_UP:
            what += ", and the time to wait for them is over"
        return error_response(425, what, **_drain(progress))

    async def activate(self, _request: Request) -> Response:
        """Take connections again, after a drain or in the midst of one."""
        gateway = self._here()
        if self._stopping():
            raise ApiError(409, "the service is stopping: it cannot take connections again")
        await gateway.activate()
        return json_response(_drain(None))

    def _here(self) -> GatewayPort:
        if self._gateway is None:
            raise ApiError(404, "no gateway runs in this process", code="no_gateway_here")
        return self._gateway


def _query(request: Request, *known: str) -> dict[str, str]:
    """Return the query's parameters.

    Raises:
        ApiError: 400, there is one that means nothing here.
    """
    names = (*known, "limit")
    for name in request.query_params:
        if name not in names:
            raise _unknown("parameter", name, names)
    return dict(request.query_params)


def _unknown(what: str, given: str, known: Iterable[str]) -> ApiError:
    known = tuple(known)
    near = get_close_matches(given, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return ApiError(400, f"there is no {what} {given!r}; {hint}", code="invalid_query")


def _member(kind: type[E], what: str, given: str) -> E | None:
    """Return the member of this value, None if none is given.

    Raises:
        ApiError: 400, there is no such member.
    """
    if not given:
        return None
    try:
        return kind(given)
    except ValueError:
        raise _unknown(what, given, kind) from None


def _matches(connection: OpenConnection | ClosedConnection, asked: Mapping[str, str]) -> bool:
    app, instance = asked.get("app"), asked.get("instance")
    return (app is None or app in connection.apps) and instance in (None, connection.instance_id)


def _page(request: Request, found: Sequence[C], render: Callable[[C], object]) -> Response:
    """Return as many of them as are asked for, rendered, and how many there are."""
    text = request.query_params.get("limit", str(_LIMIT))
    if not text.isdecimal():
        raise ApiError(400, f"limit must be a whole number, not {text!r}", code="invalid_query")
    data = [render(connection) for connection in found[: int(text)]]
    return json_response({"data": data, "matching": len(found)})


def _open(connection: OpenConnection) -> dict[str, Any]:
    return {
        "id": connection.id,
        "instance_id": connection.instance_id,
        "apps": list(connection.apps),
        "sdk": connection.sdk,
        "status": connection.status,
        "phase": connection.phase.name,
        "opened_at": _time(connection.transitions[0].at),
        "heartbeat_age": round(connection.heartbeat_age, 3),
        "in_flight": connection.in_flight,
        "worker_status": _worker_status(connection.worker_status),
        "transitions": _transitions(connection.transitions),
    }


def _worker_status(status: WorkerStatus | None) -> dict[str, Any] | None:
    if status is None:
        return None
    return {
        "at": _time(status.at),
        "in_flight_request_ids": list(status.request_ids),
        "in_flight": status.in_flight,
        "shutdown_requested": status.shutdown_requested,
    }


def _closed(connection: ClosedConnection) -> dict[str, Any]:
    end = connection.disconnect
    return {
        "id": connection.id,
        "instance_id": connection.instance_id,
        "apps": list(connection.apps),
        "sdk": connection.sdk,
        "status": ConnectionStatus.DISCONNECTED.name,
        "reason": str(end.reason),
        "detail": end.detail,
        "by": str(end.by),
        "code": end.code,
        "opened_at": _time(connection.transitions[0].at),
        "closed_at": _time(connection.transitions[-1].at),
        "in_flight": connection.in_flight,
        "transitions": _transitions(connection.transitions),
    }


def _transitions(transitions: Sequence[Transition]) -> list[dict[str, Any]]:
    return [
        {"phase": step.phase.name, "at": _time(step.at), "reason": str(step.reason)}
        for step in transitions
    ]


def _time(unix: float) -> str | None:
    return json_time(round(unix * 1000))


def _drain(progress: DrainProgress | None) -> dict[str, Any]:
    if progress is None:
        return {"state": "active"}
    shown = asdict(progress)
    del shown["over"]
    for name in ("seconds", "seconds_left"):
        shown[name] = round(shown[name], 3)
    return {"state": str(progress.state)} | shown
