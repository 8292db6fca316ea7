"""Serving an ASGI application over HTTP/1.1 and HTTP/2, on a socket of our own binding.

Hypercorn serves each connection; accepting is done here, because in its own loop a
connection that fails (some bytes make its parsers raise) ends the whole server.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from math import inf
from typing import cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from starlette.types import ASGIApp

from connect.errors import ConfigurationError

__all__ = ["bind", "serve_http"]

log = structlog.get_logger(__name__)

_HIGHEST_PORT = 65535
_BACKLOG = 1024  # connections not accepted yet: all workers may come at once
_KEEP_ALIVE = 5.0  # seconds that an idle connection is kept


def bind(host: str, port: int, name: str) -> socket.socket:
    """Return a bound TCP socket.

    Args:
        host: address or name; ``::`` takes IPv4 as well, where the system can.
        port: 0 picks a free one.
        name: what the listener is for, such as ``the API``.

    Raises:
        ConfigurationError: it cannot be bound; one line that says why.
    """
    where = f"cannot listen on {_bracketed(host)}:{port} for {name}"
    if not 0 <= port <= _HIGHEST_PORT:
        raise ConfigurationError(f"{where}: ports go from 0 to {_HIGHEST_PORT}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"{where}: {_reason(error)}") from error
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ConfigurationError(f"{where}: {_reason(error)}") from error
    return bound


async def serve_http(
    app: ASGIApp,
    bound: socket.socket,
    *,
    grace: float = 5.0,
    deadline: Callable[[], float] = lambda: -inf,
    write_timeout: float = 10.0,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; ``started`` is called with the bound host and port.

    When cancelled, no more connections are accepted, idle ones are closed, and requests in
    progress have `grace` seconds to finish before they are cancelled, and as long as until
    `deadline` when that is later.

    Args:
        app: the application.
        bound: a bound socket, see `bind`; taken over.
        grace: seconds.
        deadline: returns a moment of the Trio clock; asked when this is cancelled.
        write_timeout: seconds after which a connection is dropped whose client does not
            take what it is sent, on systems that can tell.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # The server writes without a deadline, shielded; accepted sockets inherit this one.
        bound.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(write_timeout * 1000))
        )
    host, port = bound.getsockname()[:2]
    bound.listen(_BACKLOG)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = _KEEP_ALIVE
    # Both mean ASGI; their types name the messages apart.
    wrapped = ASGIWrapper(cast(ASGIFramework, app))
    context = WorkerContext(None)
    scope = trio.CancelScope()
    accepting = trio.CancelScope()

    async def handle(stream: trio.SocketStream) -> None:
        try:
            await TCPServer(wrapped, config, context, ConnectionState({}), stream)  # type: ignore[arg-type] # TLS is optional
        except Exception as error:  # noqa: BLE001 - the last resort: one connection ends, not all
            log.warning("HTTP connection failed", error=repr(error))

    async def serve_within(*, task_status: trio.TaskStatus[object]) -> None:
        with scope:
            async with trio.open_nursery() as connections:
                with accepting:
                    await trio.serve_listeners(
                        handle, [listener], handler_nursery=connections, task_status=task_status
                    )
                # Idle connections end now; leaving the nursery waits for the others.
                await context.terminated.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_within)
        scope.shield = True
        task_status.started((host, port))
        try:
            await trio.sleep_forever()
        finally:
            # From here on the shield has a deadline.
            scope.deadline = max(trio.current_time() + grace, deadline())
            accepting.cancel()


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host


def _reason(error: Exception) -> str:
    match error:
        case socket.gaierror():
            return f"no such address ({error.args[-1]})"
        case OSError(errno=errno.EADDRINUSE):
            return "address already in use; stop the other process or choose another port"
        case OSError(errno=int() as code):
            return os.strerror(code).lower()
        case _:
            return str(error)
