"""A channel to one peer: dialling with a deadline, backing off, calling.

The connection itself is the bridge's; this side of it is plain Trio.
"""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import trio

from connect.rpc.errors import CallRefused, PeerUnreachable, RpcError, RpcStatus

if TYPE_CHECKING:
    from connect.rpc.message_stream import ClientStream

__all__ = ["ConnectionUsedUp", "RpcChannel", "Wire", "WireConnection", "watch_peer"]

_DIAL_BACKOFF_MIN = 0.1
_DIAL_BACKOFF_MAX = 2.0

# For making a gRPC connection of a connected socket, which waits for nobody.
_ATTACH_SECONDS = 1.0


_KEEPALIVE = (
    ("TCP_KEEPIDLE", 6),
    ("TCP_KEEPINTVL", 3),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 15_000),  # milliseconds; for data that is never acknowledged
)


class ConnectionUsedUp(Exception):
    """The connection has no stream ids left: it has carried 2^30 calls."""


class WireConnection(Protocol):
    """One gRPC connection.

    Attributes:
        calls: how many calls and streams are in progress; counted by the channel.
    """

    calls: int

    @property
    def is_open(self) -> bool: ...

    async def call(self, path: str, request: bytes, timeout: float) -> bytes: ...

    def stream(
        self, path: str, receive: Callable[[bytes], None], timeout: float
    ) -> AbstractAsyncContextManager["ClientStream"]: ...

    def close(self) -> None: ...


class Wire(Protocol):
    """What a channel needs of `connect.rpc.bridge.Bridge`."""

    dial_timeout: float

    async def attach(self, host: str, port: int, sock: socket.socket) -> WireConnection: ...

    def forget(self, channel: "RpcChannel") -> None: ...


def watch_peer(sock: socket.socket) -> None:
    """Let the kernel notice within about 15 seconds that the other host is gone."""
    with suppress(OSError):  # gone already: then reading tells
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class RpcChannel:
    """Calls to one peer over one connection, made when needed and again when lost.

    Many tasks may call at the same time.
    """

    def __init__(self, wire: Wire, host: str, port: int) -> None:
        self._wire = wire
        self._host = host
        self._port = port
        self._connection: WireConnection | None = None
        self._dialling = trio.Lock()
        self._failures = 0
        self._failure = ""
        self._retry_at = -float("inf")
        self._closed = False

    async def call(self, path: str, request: bytes, *, timeout: float) -> bytes:
        """Call a unary method.

        Args:
            path: ``/package.Service/Method``.
            request: the request message.
            timeout: seconds for everything, dialling included; the server is told.

        Raises:
            RpcError: UNAVAILABLE if the peer cannot be reached or the connection is
                lost (then whether the call took effect is unknown), DEADLINE_EXCEEDED,
                or the status that the server gave.

        Cancelling it cancels the handler on the other side, if one is running.
        """
        deadline = trio.current_time() + timeout
        connection = await self._connected(deadline)
        try:
            return await connection.call(path, request, deadline - trio.current_time())
        except ConnectionUsedUp:
            raise self._used_up(connection) from None
        finally:
            self._done(connection)

    @asynccontextmanager
    async def stream(
        self, path: str, receive: Callable[[bytes], None], *, timeout: float
    ) -> AsyncIterator["ClientStream"]:
        """Open a stream to a method that streams both ways, for the length of the block.

        Args:
            path: ``/package.Service/Method``.
            receive: called at once with every message that arrives; MalformedMessage
                and RpcError end the stream.
            timeout: seconds for opening it, dialling included. The server's answer is
                not awaited: one that does not know the method says so on the stream.

        Raises:
            RpcError: UNAVAILABLE if the peer cannot be reached, DEADLINE_EXCEEDED.

        The stream is reset when the block ends.
        """
        deadline = trio.current_time() + timeout
        connection = await self._connected(deadline)
        try:
            remaining = deadline - trio.current_time()
            async with connection.stream(path, receive, remaining) as stream:
                yield stream
        except ConnectionUsedUp:
            raise self._used_up(connection) from None
        finally:
            self._done(connection)

    async def _connected(self, deadline: float) -> WireConnection:
        """Return a connection, with one more call counted."""
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._connect(deadline)
        connection.calls += 1
        return connection

    def _used_up(self, connection: WireConnection) -> RpcError:
        """Start afresh: the connection has carried 2^30 calls."""
        if self._connection is connection:
            self._connection = None
        return CallRefused(RpcStatus.UNAVAILABLE, "the connection is used up")

    def _done(self, connection: WireConnection) -> None:
        connection.calls -= 1
        if connection is not self._connection and connection.calls == 0:
            connection.close()

    async def aclose(self) -> None:
        """Close the connection; calls in progress fail as UNAVAILABLE. Idempotent."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self._closed = True
        self._wire.forget(self)
        self._discard()

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def _connect(self, deadline: float) -> WireConnection:
        connection: WireConnection | None = None
        with trio.CancelScope(deadline=deadline):
            async with self._dialling:
                connection = self._connection
                if connection is None or not connection.is_open:
                    connection = await self._dial()
        if connection is None:
            raise PeerUnreachable(
                RpcStatus.DEADLINE_EXCEEDED, f"no connection to {self._host}:{self._port} in time"
            )
        return connection

    async def _dial(self) -> WireConnection:
        if self._closed:
            raise CallRefused(RpcStatus.UNAVAILABLE, "the channel is closed")
        if trio.current_time() < self._retry_at:
            raise PeerUnreachable(RpcStatus.UNAVAILABLE, self._failure)
        self._discard()
        reason = f"no answer within {self._wire.dial_timeout:g} s"
        with trio.move_on_after(self._wire.dial_timeout):
            try:
                stream = await trio.open_tcp_stream(self._host, self._port)
                connection = await self._attach(stream)
            except OSError as error:
                reason = _reason(error)
            else:
                self._failures = 0
                return connection
        backoff = min(_DIAL_BACKOFF_MIN * 2**self._failures, _DIAL_BACKOFF_MAX)
        self._failures = min(self._failures + 1, 10)
        self._retry_at = trio.current_time() + backoff
        self._failure = f"cannot connect to {self._host}:{self._port}: {reason}"
        raise PeerUnreachable(RpcStatus.UNAVAILABLE, self._failure)

    async def _attach(self, stream: trio.SocketStream) -> WireConnection:
        sock = socket.socket(fileno=stream.socket.detach())
        watch_peer(sock)
        connection: WireConnection | None = None
        # Nothing here waits for the network; a cancellation in between would lose the socket.
        with trio.move_on_after(_ATTACH_SECONDS, shield=True):
            connection = await self._wire.attach(self._host, self._port, sock)
        if connection is None:
            raise OSError("the connection was not taken over in time")
        if self._closed:
            connection.close()
            raise CallRefused(RpcStatus.UNAVAILABLE, "the channel is closed")
        self._connection = connection
        return connection


def _reason(error: OSError) -> str:
    cause = error.__cause__  # of the last attempt, when several addresses were tried
    if error.strerror is None and isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return error.strerror or str(error)
