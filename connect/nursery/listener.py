"""The gateway's port: WebSocket upgrades, ``GET /ready`` and ``GET /v0``.

A request is looked at before the WebSocket library sees it, so that whoever asks for
something else gets an ordinary HTTP answer.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import h11
import trio
import trio_websocket

from connect.errors import LimitReached, Syscode
from connect.nursery.addresses import (
    Network,
    client_address,
    counted_address,
    is_trusted,
    parse_networks,
)
from connect.nursery.admission import Place
from connect.nursery.gateway import Gateway
from connect.nursery.stream import WorkerStream
from connect.nursery.websocket import wrap_worker_stream

__all__ = ["SUBPROTOCOL", "serve_gateway"]

SUBPROTOCOL = "v0.connect.inngest.com"
PATH = b"/v0/connect"

# A request's head may be this long.
MAX_HEAD = 16 * 1024

# How long, and how much, is read from a peer that still sends after our close: closing
# with unread data would reset the connection, and the peer never see the close frame.
LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 1024 * 1024


async def serve_gateway(
    gateway: Gateway,
    listeners: Sequence[trio.SocketListener],
    *,
    connections: trio.Nursery,
    ready: Callable[[], str | None],
) -> None:
    """Accept sockets until cancelled.

    Args:
        listeners: bound sockets; closed at the end.
        connections: the nursery that the accepted sockets' tasks live in, so that they
            outlive the accepting.
        ready: why the service is not ready, or None when it is.
    """

    trusted = parse_networks(gateway.services.settings.listen.trusted_proxies)

    async def handle(stream: trio.SocketStream) -> None:
        await _handle(gateway, stream, ready, trusted)

    await trio.serve_listeners(handle, list(listeners), handler_nursery=connections)


async def _handle(
    gateway: Gateway,
    stream: trio.SocketStream,
    ready: Callable[[], str | None],
    trusted: Sequence[Network],
) -> None:
    log = gateway.services.log
    try:
        async with stream:
            upgrade = await _await_upgrade(gateway, stream, ready, trusted)
            if upgrade is not None:
                try:
                    await _serve_websocket(gateway, stream, *upgrade)
                finally:
                    upgrade[1].leave()  # if no connection has done so
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        log.debug("socket lost", error=str(error))
    except Exception:  # the last resort: one socket ends, not the gateway
        log.exception("unforeseen failure at the gateway's port")


async def _await_upgrade(
    gateway: Gateway,
    stream: trio.SocketStream,
    ready: Callable[[], str | None],
    trusted: Sequence[Network],
) -> tuple[WorkerStream, Place] | None:
    """Do as `_read_upgrade` does, if there is room to wait for the request, and in time."""
    peer = _peer(stream)

    def enter(head: _Head) -> Place:
        forwarded_for = head.header(b"x-forwarded-for").decode("latin-1")
        return gateway.admission.enter(
            counted_address(client_address(peer, forwarded_for, trusted))
        )

    waiting_for = None if is_trusted(peer, trusted) else counted_address(peer)
    try:
        with (
            gateway.admission.awaiting_request(waiting_for),
            trio.move_on_after(gateway.services.settings.timing.handshake),
        ):
            return await _read_upgrade(stream, ready, enter)
    except LimitReached as refusal:
        # Whatever it asks for. These few bytes fit into any socket, so nothing is waited for.
        await stream.send_all(_limited(refusal).encode())
    return None


async def _read_upgrade(
    stream: trio.SocketStream, ready: Callable[[], str | None], enter: "_Enter"
) -> tuple[WorkerStream, Place] | None:
    """Return the stream for the WebSocket library, None if the request was answered here.

    With it comes the connection's place, which the caller gives back. What was parsed of
    the request is dropped: a connection is there for long.
    """
    head = await _read_head(stream)
    answer = head if isinstance(head, _Answer) else _answer(head, ready)
    if answer is None:
        assert isinstance(head, _Head)
        try:
            return WorkerStream(stream, head.raw), enter(head)
        except LimitReached as refusal:
            answer = _limited(refusal)
    await stream.send_all(answer.encode())
    return None


def _peer(stream: trio.SocketStream) -> str:
    """Return the address at the other end."""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError as error:  # it is gone already
        raise trio.BrokenResourceError(str(error)) from error


async def _serve_websocket(
    gateway: Gateway, stream: trio.SocketStream, upgrade: WorkerStream, place: Place
) -> None:
    socket = None
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(gateway.services.settings.timing.handshake):
            socket = await _accept(gateway, nursery, upgrade)
        if socket is not None:
            await gateway.serve_socket(socket, place, upgrade)
        nursery.cancel_scope.cancel()
    with gateway.admission.lingering() as may:
        if may:
            await _linger(stream)


async def _accept(
    gateway: Gateway, nursery: trio.Nursery, upgrade: WorkerStream
) -> trio_websocket.WebSocketConnection | None:
    """Accept the upgrade; None if the peer is gone already."""
    limit = gateway.services.settings.limits.message_bytes
    request = await wrap_worker_stream(
        nursery, upgrade, max_message_size=limit, receive_buffer_size=65536
    )
    try:
        return await request.accept(subprotocol=SUBPROTOCOL)
    except trio_websocket.ConnectionClosed:
        return None


async def _linger(stream: trio.SocketStream) -> None:
    """Read and drop what still comes, for a while, so that our close arrives."""
    with trio.move_on_after(LINGER_SECONDS):
        try:
            await stream.send_eof()
            left = LINGER_BYTES
            while left > 0:
                data = await stream.receive_some(65536)
                if not data:
                    return
                left -= len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


@dataclass(frozen=True, slots=True)
class _Head:
    """A request's head, parsed, and all bytes read so far."""

    request: h11.Request
    raw: bytes

    def header(self, name: bytes) -> bytes:
        return b", ".join(value for key, value in self.request.headers if key == name)

    def tokens(self, name: bytes) -> list[bytes]:
        return [token.strip() for token in self.header(name).split(b",")]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: str
    body: str
    headers: str = ""
    content_type: str = "text/plain; charset=utf-8"

    def encode(self) -> bytes:
        body = self.body.encode()
        return (
            f"HTTP/1.1 {self.status}\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n{self.headers}\r\n"
        ).encode() + body


_Enter = Callable[[_Head], Place]
"""Gives the socket of a request a place, or raises LimitReached."""


async def _read_head(stream: trio.SocketStream) -> _Head | _Answer:
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    raw = b""
    while True:
        data = await stream.receive_some(MAX_HEAD)
        raw += data
        try:
            parser.receive_data(data)
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            return _Answer("400 Bad Request", f"not an HTTP request: {error}\n")
        if isinstance(event, h11.Request):
            return _Head(event, raw)
        if not data or isinstance(event, h11.ConnectionClosed):
            return _Answer("400 Bad Request", "the request's head is not complete\n")


def _answer(head: _Head, ready: Callable[[], str | None]) -> _Answer | None:
    """Answer a request over HTTP; None if it is an upgrade to be accepted."""
    path = head.request.target.partition(b"?")[0]
    if path == PATH:
        return _refusal(head)
    if head.request.method not in (b"GET", b"HEAD"):
        return _Answer("405 Method Not Allowed", "only GET is served here\n", "Allow: GET\r\n")
    if path == b"/ready":
        reason = ready()
        if reason is None:
            return _Answer("200 OK", "ready\n")
        return _Answer("503 Service Unavailable", f"{reason}\n")
    if path == b"/v0":
        return _Answer("200 OK", ".")
    return _Answer("404 Not Found", "nothing here; workers connect to /v0/connect\n")


def _limited(refusal: LimitReached) -> _Answer:
    """Say that a limit is reached, as the worker API says it, and when to come again.

    The official SDKs take any status but 101 for a connection that failed, and connect
    again after a pause.
    """
    status = HTTPStatus.SERVICE_UNAVAILABLE
    if refusal.code == Syscode.ADDRESS_FULL:
        status = HTTPStatus.TOO_MANY_REQUESTS
    body = {"error": refusal.message, "code": refusal.code, "status": status.value}
    return _Answer(
        f"{status.value} {status.phrase}",
        json.dumps(body),
        f"Retry-After: {math.ceil(refusal.retry_after)}\r\n",
        "application/json",
    )


def _refusal(head: _Head) -> _Answer | None:
    if b"websocket" not in [token.lower() for token in head.tokens(b"upgrade")]:
        return _Answer(
            "426 Upgrade Required",
            "this is a WebSocket endpoint\n",
            "Upgrade: websocket\r\n",
        )
    if head.request.method != b"GET" or head.request.http_version < b"1.1":
        return _Answer("400 Bad Request", "a WebSocket upgrade is a GET of HTTP/1.1\n")
    if b"upgrade" not in [token.lower() for token in head.tokens(b"connection")]:
        return _Answer("400 Bad Request", "the header Connection: Upgrade is missing\n")
    if head.header(b"sec-websocket-version") != b"13":
        return _Answer(
            "426 Upgrade Required",
            "WebSocket version 13 is spoken here\n",
            "Sec-WebSocket-Version: 13\r\n",
        )
    if not head.header(b"sec-websocket-key"):
        return _Answer("400 Bad Request", "the header Sec-WebSocket-Key is missing\n")
    if SUBPROTOCOL.encode() not in head.tokens(b"sec-websocket-protocol"):
        return _Answer(
            "400 Bad Request",
            f"the WebSocket subprotocol {SUBPROTOCOL} is required "
            "(header Sec-WebSocket-Protocol)\n",
        )
    return None
