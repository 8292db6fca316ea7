"""The maintenance API: health, the gateway's own view of itself, metrics."""

from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connect.api.health import Health, Ready
from connect.api.http import EXCEPTION_HANDLERS, BodyDiscard, ErrorBoundary, json_response

__all__ = ["create_admin"]

_LARGEST_BODY = 64 * 1024  # no endpoint here needs one


def create_admin(
    *,
    ping: Callable[[], Awaitable[None]],
    registry: CollectorRegistry,
    gateway: Callable[[], Mapping[str, object]],
    ready: Ready = lambda: None,
    drain: Callable[[], None] | None = None,
) -> Starlette:
    """Return the maintenance API, for a listener on loopback: it asks for no key.

    Args:
        ping: returns when the state store answers.
        registry: what ``/metrics`` shows.
        gateway: what ``/gateway`` shows, as JSON: id, status, connections, since when.
        ready: says why the service is not ready, or None.
        drain: begins to drain the gateway and returns at once; ``POST /drain`` is there
            only if given (Connect protocol, section 4).
    """
    health = Health(ping, ready)

    async def show_gateway(_request: Request) -> Response:
        return json_response(dict(gateway()))

    async def show_metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    routes = [
        Route("/healthy", health.alive, methods=["GET"]),
        Route("/ready", health.ready, methods=["GET"]),
        Route("/gateway", show_gateway, methods=["GET"]),
        Route("/metrics", show_metrics, methods=["GET"]),
    ]
    if drain is not None:
        begin_drain = drain

        async def start_drain(_request: Request) -> Response:
            begin_drain()
            return json_response({"status": "draining"}, 202)

        routes.append(Route("/drain", start_drain, methods=["POST"]))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(BodyDiscard, most=_LARGEST_BODY), Middleware(ErrorBoundary)],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    app.router.redirect_slashes = False
    return app
