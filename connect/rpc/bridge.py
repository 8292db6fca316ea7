"""gRPC for Trio: grpclib's HTTP/2 connections on a trio-asyncio loop, and none of either outside.

This is the only module that knows asyncio. Payloads are bytes in both directions;
what they mean is the business of the services. Handlers and callers are Trio code:
every running handler is a Trio task in the nursery of `Bridge.serve`, and cancelling
a call, on either side, cancels the other.

Of grpclib only the protocol layer is used (`grpclib.protocol`), not its client and
server: those run an asyncio task per call, which alone costs half as much as the call,
take messages of any size, and allow 100 calls per connection. Here, a unary call whose
message fits the peer's window is written with one send and read without any task; a
stream's messages are read without any task, too, and written by one, many at a time.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import structlog
import trio
import trio_asyncio
from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, H2Protocol, Stream
from grpclib.utils import Wrapper
from h2.config import H2Configuration
from h2.events import (
    AlternativeServiceAvailable,
    Event,
    InformationalResponseReceived,
    UnknownFrameReceived,
)
from h2.settings import SettingCodes

from connect.errors import ConfigurationError
from connect.rpc import framing
from connect.rpc.background import body_apart
from connect.rpc.channel import RpcChannel, watch_peer
from connect.rpc.client_call import ClientCall
from connect.rpc.errors import CallRefused, RpcStatus
from connect.rpc.http2 import Http2Stream
from connect.rpc.intake import CALL_BYTES, Arrivals, Intake, Room
from connect.rpc.message_stream import ClientStream, Receiver, ServerStream, StreamHandler
from connect.rpc.server_call import CLOSING, RpcHandler, ServerCall

__all__ = ["DEFAULT_MAX_MESSAGE_BYTES", "Bridge", "RpcHandler", "StreamHandler", "open_bridge"]

# The largest worker message, and room for the envelope around it.
DEFAULT_MAX_MESSAGE_BYTES = 8 * 1024 * 1024 + 64 * 1024

# Calls that one connection to a server of ours may carry at the same time.
_MAX_CALLS_PER_CONNECTION = 10_000

# What a peer may have on the way to us: per stream, and per connection. Streams carry
# what many calls would, so this is more than is usual.
_STREAM_WINDOW_BYTES = 8 * 1024 * 1024
_CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024

# The largest piece that a peer may put into one HTTP/2 frame.
_FRAME_BYTES = 64 * 1024

# How long asyncio gets to run the callbacks of closed transports.
_CLOSE_SECONDS = 1.0

# How long resolving the listener's name may take.
_START_SECONDS = 5.0

_IGNORED_EVENTS: tuple[type[Event], ...] = (
    AlternativeServiceAvailable,
    InformationalResponseReceived,
    UnknownFrameReceived,
)

log = structlog.get_logger(__name__)


def _h2_config(*, client_side: bool) -> H2Configuration:
    return H2Configuration(
        client_side=client_side,
        header_encoding=None,
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )


_CONFIGURATION = Configuration(
    http2_connection_window_size=_CONNECTION_WINDOW_BYTES,
    http2_stream_window_size=_STREAM_WINDOW_BYTES,
)


class _ServerConnection(AbstractHandler):
    """The calls on one client's connection."""

    def __init__(self, service: "_Service") -> None:
        self._service = service
        self._room = Room(max(service.room.most // 2, service.largest), service.room)
        self._calls: dict[Stream, ServerCall | ServerStream] = {}

    def accept(self, stream: Stream, headers: Any, release_stream: Callable[[], None]) -> None:
        def ended() -> None:
            del self._calls[stream]
            release_stream()

        fields = dict(headers)
        path = fields.get(b":path", b"").decode("ascii", "replace")
        kind = ServerStream if path in self._service.streams else ServerCall
        call = kind(self._service, cast(Http2Stream, stream), ended, room=self._room)
        self._calls[stream] = call
        call.open(fields)

    def cancel(self, stream: Stream) -> None:
        self._calls[stream].cancel()

    def close(self) -> None:
        for call in list(self._calls.values()):
            call.cancel()


class _Protocol(H2Protocol):
    """Takes no offence at frames that HTTP/2 says may come; grpclib knows only its own."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        for event in _IGNORED_EVENTS:
            self.processor.processors[event] = _ignore
        h2 = self.connection._connection
        h2.update_settings({SettingCodes.MAX_FRAME_SIZE: _FRAME_BYTES})
        h2.max_inbound_frame_size = _FRAME_BYTES  # nothing is lost by taking them at once
        self.connection.flush()


def _ignore(event: Event) -> None:
    pass


class _ServerProtocol(_Protocol):
    def __init__(self, service: "_Service") -> None:
        self._service = service
        config = _CONFIGURATION.__for_server__()
        super().__init__(_ServerConnection(service), config, _h2_config(client_side=False))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        watch_peer(transport.get_extra_info("socket"))
        h2 = self.connection._connection
        h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: _MAX_CALLS_PER_CONNECTION})
        # Clients may start more than the former 100 calls before they have read that;
        # h2 would end the connection, so count the setting as known to them.
        h2.local_settings.acknowledge()
        self.connection.flush()
        self._service.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._service.leave(self)
        super().connection_lost(exc)


class _Service:
    """What the connections to one `Bridge.serve` share."""

    nursery: trio.Nursery
    listener: asyncio.Server

    def __init__(
        self,
        bridge: "Bridge",
        handlers: Mapping[str, RpcHandler],
        streams: Mapping[str, StreamHandler],
    ) -> None:
        self.aio = bridge.loop.run_aio_coroutine
        self.max_message_bytes = bridge.max_message_bytes
        self.handlers = handlers
        self.streams = streams
        self.open_streams: set[ServerStream] = set()
        self.connections: set[_ServerProtocol] = set()
        self.closing = False
        intake = bridge.intake
        self.largest = CALL_BYTES + framing.PREFIX_BYTES + bridge.max_message_bytes
        self.room = Room(max(intake.held_bytes, self.largest))
        self.arrivals = Arrivals(intake.arrival)
        self._most_connections = intake.connections
        self._full = False

    def address(self) -> tuple[str, int]:
        host, port = self.listener.sockets[0].getsockname()[:2]
        return host, port

    def enter(self, protocol: "_ServerProtocol") -> None:
        """Take a connection up, or close it if there are too many."""
        if len(self.connections) < self._most_connections:
            self.connections.add(protocol)
            return
        if not self._full:
            log.warning("too many rpc connections", limit=self._most_connections)
        self._full = True
        protocol.processor.close("too many connections")

    def leave(self, protocol: "_ServerProtocol") -> None:
        if protocol in self.connections:
            self.connections.remove(protocol)
            self._full = False

    def finish(self) -> None:
        """Take no new calls; let those in progress come to their ends."""
        self.closing = True
        self.listener.close()
        for stream in list(self.open_streams):
            stream.finish()

    def close(self) -> None:
        self.listener.close()
        for protocol in list(self.connections):
            protocol.processor.close(CLOSING.message)


class _ClientHandler(AbstractHandler):
    protocol: H2Protocol
    lost = False

    def accept(self, stream: Stream, headers: Any, release_stream: Callable[[], None]) -> None:
        """Servers start no streams."""

    def cancel(self, stream: Stream) -> None:
        """The stream's `ClientCall` is told."""

    def close(self) -> None:
        self.lost = True
        # Calls that have no stream yet wait for these.
        self.protocol.connection.write_ready.set()
        self.protocol.connection.stream_close_waiter.set()


class _Connection:
    """A connection to a server; see `WireConnection`."""

    def __init__(self, bridge: "Bridge", authority: str, handler: _ClientHandler) -> None:
        self.calls = 0
        self._aio = bridge.loop.run_aio_coroutine
        self._max_message_bytes = bridge.max_message_bytes
        self._authority = authority
        self._handler = handler
        self._protocol = handler.protocol

    @property
    def is_open(self) -> bool:
        return not self._handler.lost

    def close(self) -> None:
        self._protocol.processor.close("the channel is closed")

    async def call(self, path: str, request: bytes, timeout: float) -> bytes:
        call = ClientCall(self._aio, self._max_message_bytes)
        return await call.run(
            *self._new_stream(call),
            path=path,
            authority=self._authority,
            request=request,
            timeout=timeout,
        )

    def stream(
        self, path: str, receive: Receiver, timeout: float
    ) -> AbstractAsyncContextManager[ClientStream]:
        client = ClientStream(self._aio, self._max_message_bytes, receive)
        return client.opened(
            *self._new_stream(client), path=path, authority=self._authority, timeout=timeout
        )

    def _new_stream(
        self, wrapper: ClientCall | ClientStream
    ) -> tuple[Http2Stream, Callable[[Http2Stream], Callable[[], None]]]:
        # A peer may close what it has only just accepted, such as a proxy before nobody.
        if self._handler.lost:
            raise CallRefused(RpcStatus.UNAVAILABLE, "the connection is lost")
        stream = self._protocol.connection.create_stream(wrapper=cast(Wrapper, wrapper))
        register = cast(
            Callable[[Http2Stream], Callable[[], None]], self._protocol.processor.register
        )
        return cast(Http2Stream, stream), register


class Bridge:
    """Serves and makes gRPC calls; made by `open_bridge`.

    Attributes:
        max_message_bytes: the largest message taken from a peer; a larger one fails its
            call as RESOURCE_EXHAUSTED.
        dial_timeout: seconds for making a connection.
        intake: what the peers of each server of ours may have it hold.
    """

    def __init__(
        self,
        loop: trio_asyncio.TrioEventLoop,
        max_message_bytes: int,
        dial_timeout: float,
        intake: Intake,
    ) -> None:
        self.loop = loop
        self.max_message_bytes = max_message_bytes
        self.dial_timeout = dial_timeout
        self.intake = intake
        self._channels: set[RpcChannel] = set()

    def connect(self, host: str, port: int) -> RpcChannel:
        """Return a channel to the peer; it dials with its first call."""
        channel = RpcChannel(self, host, port)
        self._channels.add(channel)
        return channel

    async def serve(
        self,
        handlers: Mapping[str, RpcHandler],
        *,
        host: str,
        port: int,
        streams: Mapping[str, StreamHandler] | None = None,
        grace: float = 5.0,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve methods until cancelled.

        Args:
            handlers: unary methods, path to handler. RpcError goes to the client as it is,
                MalformedMessage as INVALID_ARGUMENT, StoreUnavailable as UNAVAILABLE,
                anything else is logged and goes out as INTERNAL without particulars.
            host: name or address to listen on.
            port: port to listen on; 0 picks a free one.
            streams: methods that stream both ways, path to handler; nothing that a
                session raises goes out, but it ends the stream as INTERNAL.
            grace: seconds that running handlers and sessions have to finish after
                cancellation; new calls are refused meanwhile.
            task_status: is told the address really bound.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        service = _Service(self, handlers, streams or {})
        await self._listen(service, host, port)
        try:
            async with trio.open_nursery() as outside:
                with trio.CancelScope(shield=True) as finishing:  # _linger sets its deadline
                    async with trio.open_nursery() as service.nursery:
                        accepting = trio.CancelScope()
                        outside.start_soon(_linger, accepting, finishing, grace)
                        outside.start_soon(service.arrivals.watch)
                        with accepting:
                            task_status.started(service.address())
                            await trio.sleep_forever()
                        service.finish()
                    # Leaving the nursery waited for running handlers, until the deadline.
                outside.cancel_scope.cancel()
        finally:
            service.closing = True
            service.close()

    async def _listen(self, service: _Service, host: str, port: int) -> None:
        listener: asyncio.Server | None = None
        reason = f"the name was not resolved within {_START_SECONDS:g} s"
        # Interrupted halfway, asyncio would leave an open listener behind.
        with trio.move_on_after(_START_SECONDS, shield=True):
            try:
                listener = await self.loop.run_aio_coroutine(
                    self.loop.create_server(lambda: _ServerProtocol(service), host, port)
                )
            except OSError as error:
                reason = error.strerror or str(error)
        if listener is None:
            raise ConfigurationError(f"cannot listen for RPC on {host}:{port}: {reason}")
        service.listener = listener

    async def attach(self, host: str, port: int, sock: socket.socket) -> _Connection:
        """Make a connection of a connected socket, which is closed if that fails."""

        handler = _ClientHandler()

        config = _CONFIGURATION.__for_client__()
        handler.protocol = _Protocol(handler, config, _h2_config(client_side=True))
        try:
            await self.loop.run_aio_coroutine(
                self.loop.create_connection(lambda: handler.protocol, sock=sock)
            )
        except BaseException:
            sock.close()
            raise
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return _Connection(self, authority, handler)

    def forget(self, channel: RpcChannel) -> None:
        self._channels.discard(channel)

    async def close(self) -> None:
        """Close every channel, and let asyncio finish with their transports."""
        for channel in list(self._channels):
            channel.close()
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await self.loop.synchronize()


async def _linger(accepting: trio.CancelScope, finishing: trio.CancelScope, grace: float) -> None:
    """Turn a cancellation from outside into the end of accepting and a deadline."""
    try:
        await trio.sleep_forever()
    finally:
        finishing.deadline = trio.current_time() + grace
        accepting.cancel()


def _log_asyncio_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # By default trio-asyncio ends the program here, so that any peer's garbage could.
    log.warning(
        "asyncio callback failed", reason=context.get("message"), exc_info=context.get("exception")
    )


@asynccontextmanager
async def open_bridge(
    *,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    dial_timeout: float = 2.0,
    intake: Intake | None = None,
) -> AsyncIterator[Bridge]:
    """Open the loop that gRPC runs on; everything of it ends with the block.

    Args:
        max_message_bytes: the largest message taken from a peer, on both sides.
        dial_timeout: seconds for making a connection.
        intake: what the peers of each server may have it hold; `Intake` if None.

    An exception of the block comes out as it is, not inside an exception group.
    """
    async with body_apart(trio_asyncio.open_loop()) as loop:
        loop.set_exception_handler(_log_asyncio_error)
        bridge = Bridge(loop, max_message_bytes, dial_timeout, intake or Intake())
        try:
            yield bridge
        finally:
            await bridge.close()
