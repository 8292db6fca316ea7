"""The maintenance API: health, metrics, and the gateway of this process."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connect.api.gateway_admin import GatewayAdmin, GatewayPort
from connect.api.health import Health, Ready
from connect.api.http import (
    EXCEPTION_HANDLERS,
    BodyDiscard,
    ErrorBoundary,
    json_response,
    json_time,
)
from connect.reloading import Reloadable
from connect.settings import Settings
from connect.state.records import GatewayRecord

__all__ = ["create_admin"]

_LARGEST_BODY = 64 * 1024  # no endpoint here needs one


def create_admin(
    *,
    settings: Settings,
    ping: Callable[[], Awaitable[None]],
    registry: CollectorRegistry,
    gateway: GatewayPort | None,
    gateways: Callable[[], Awaitable[Sequence[GatewayRecord]]],
    ready: Ready = lambda: None,
    stopping: Callable[[], bool] = lambda: False,
    reloads: Reloadable | None = None,
    now: Callable[[], float] = time.time,
) -> Starlette:
    """Return the maintenance API, for a listener on loopback: it asks for no key.

    Args:
        ping: returns when the state store answers.
        registry: what ``/metrics`` shows.
        gateway: the gateway, where that role runs in this process.
        gateways: reads the table of all gateways.
        ready: says why the service is not ready, or None.
        stopping: whether the process is coming to its end: then no gateway is activated.
        reloads: the settings and function definitions, to be given anew.
        now: the current time, in unix seconds.
    """
    gateway_admin = GatewayAdmin(
        gateway, gateways=gateways, ready=ready, stopping=stopping, settings=settings, now=now
    )
    health = Health(ping, ready)

    async def show_metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    async def show_reload(_request: Request) -> Response:
        return json_response(_reload(reloads))

    app = Starlette(
        routes=[
            Route("/healthy", health.alive, methods=["GET"]),
            Route("/ready", health.ready, methods=["GET"]),
            Route("/metrics", show_metrics, methods=["GET"]),
            Route("/reload", show_reload, methods=["GET"]),
            *gateway_admin.routes(),
        ],
        middleware=[Middleware(BodyDiscard, most=_LARGEST_BODY), Middleware(ErrorBoundary)],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    app.router.redirect_slashes = False
    return app


def _reload(reloads: Reloadable | None) -> dict[str, Any]:
    """Return when and with what result the last reload ended."""
    if reloads is None:
        return {"functions": 0, "last": None}
    last = reloads.last
    shown = None
    if last is not None:
        shown = {"at": json_time(round(last.at * 1000)), **last.as_json()}
    return {"functions": len(reloads.functions), "last": shown}
