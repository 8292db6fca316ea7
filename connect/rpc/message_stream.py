"""Messages both ways on one HTTP/2 stream: a gRPC call that streams in both directions.

What arrives is taken in at once, without a task; what goes out is written by one task,
`MessageStream.pump`, as many messages at a time as there are.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import structlog
import trio
from h2.errors import ErrorCodes
from h2.exceptions import NoAvailableStreamIDError, ProtocolError

from connect.errors import MalformedMessage
from connect.rpc import framing
from connect.rpc.channel import ConnectionUsedUp
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.http2 import Header, Http2Stream, RunAsyncio, keep_chunk, open_stream
from connect.rpc.intake import CALL_BYTES, LATE, NO_ROOM, Arrivals, Holding, Room
from connect.rpc.send_queue import SendQueue

__all__ = [
    "ClientStream",
    "MessageStream",
    "Receiver",
    "ServerStream",
    "StreamHandler",
    "StreamService",
    "StreamSession",
]

Receiver = Callable[[bytes], None]
"""Takes a message in, at once; MalformedMessage and RpcError end the stream."""

_CLOSING = RpcError(RpcStatus.UNAVAILABLE, "the server is closing")
_ENDED = RpcError(RpcStatus.UNAVAILABLE, "the stream is ended")

log = structlog.get_logger(__name__)


class MessageStream:
    """One side of a stream, from its headers to its end.

    It stands in the place of grpclib's Buffer, which makes a task wait for each chunk.

    Args:
        max_message_bytes: a larger message ends the stream as RESOURCE_EXHAUSTED.

    Attributes:
        failure: why the stream is ended; None while it goes on.
    """

    _stream: Http2Stream

    def __init__(self, aio: RunAsyncio, max_message_bytes: int, receive: Receiver) -> None:
        self.max_message_bytes = max_message_bytes
        self.failure: RpcError | None = None
        self._aio = aio
        self._receive = receive
        self._pumping = trio.CancelScope()
        self._chunks: list[bytes | bytearray] = []
        self._held = 0
        self._needed = framing.PREFIX_BYTES

    async def pump(self, queue: SendQueue) -> None:
        """Write what is queued, until the queue is finished or the stream is ended."""
        with self._pumping:
            try:
                while self.failure is None:
                    batch = await queue.batch()
                    # The stream may have been lost after this task was woken.
                    if batch is None or self.failure is not None:
                        break
                    await self._write(batch)
            except ProtocolError as error:
                self.end(RpcError(RpcStatus.UNAVAILABLE, f"the connection failed: {error}"))

    def end(self, failure: RpcError) -> None:
        """End the stream for this reason, unless there was one before."""
        if self.failure is None:
            self.failure = failure
            self._chunks.clear()
            self._pumping.cancel()

    def add(self, data: bytes, ack_size: int) -> None:
        """Take in what arrived, and every message that is complete with it."""
        self._stream.connection.ack(self._stream.id, ack_size)
        if self.failure is not None:
            return
        keep_chunk(self._chunks, data)
        self._held += len(data)
        if self._held < self._needed:
            return
        try:
            self._split(b"".join(self._chunks))
        except MalformedMessage as error:
            self.end(RpcError(RpcStatus.INVALID_ARGUMENT, str(error)))
        except RpcError as error:
            self.end(error)
        except Exception:
            # One bad message must not end the connection.
            log.exception("message not received")
            self.end(RpcError(RpcStatus.INTERNAL, "internal error"))

    def unacked_size(self) -> int:
        return 0

    def _split(self, data: bytes) -> None:
        position = 0
        self._needed = framing.PREFIX_BYTES
        while position + framing.PREFIX_BYTES <= len(data) and self.failure is None:
            start = position + framing.PREFIX_BYTES
            if data[position]:
                raise RpcError(RpcStatus.UNIMPLEMENTED, "compressed messages are not supported")
            length = int.from_bytes(data[position + 1 : start], "big")
            if length > self.max_message_bytes:
                raise RpcError(RpcStatus.RESOURCE_EXHAUSTED, "the message is too large")
            end = start + length
            if end > len(data):
                self._needed = framing.PREFIX_BYTES + length
                break
            self._receive(data[start:end])
            position = end
        self._chunks = [data[position:]] if position < len(data) else []
        self._held = len(data) - position

    async def _write(self, data: bytes) -> None:
        stream, connection, h2 = self._stream, self._stream.connection, self._stream._h2_connection
        position = 0
        while position < len(data) and self.failure is None:
            if not connection.write_ready.is_set():
                await self._aio(connection.write_ready.wait())
                continue
            window = h2.local_flow_control_window(stream.id)
            if window <= 0:
                stream.window_updated.clear()
                await self._aio(stream.window_updated.wait())
                continue
            fits, step = position + window, h2.max_outbound_frame_size
            while position < min(fits, len(data)):
                end = min(position + step, fits, len(data))
                h2.send_data(stream.id, data[position:end])
                position = end
            connection.flush()


class ClientStream(MessageStream):
    """A stream to a server.

    It stands also in the place of grpclib's Wrapper, which is told when a stream is lost.
    """

    def cancel(self, error: Exception) -> None:
        """Take note that the stream is lost."""
        self.end(RpcError(RpcStatus.UNAVAILABLE, str(error)))

    def eof(self) -> None:
        """Take note that the server has ended the stream, and why."""
        failure = RpcError(RpcStatus.UNAVAILABLE, "the server ended the stream")
        try:
            framing.read_answer(self._stream.headers, self._stream.trailers, bytes, None)
        except RpcError as error:
            failure = error
        self.end(failure)

    @asynccontextmanager
    async def opened(
        self,
        stream: Http2Stream,
        register: Callable[[Http2Stream], Callable[[], None]],
        *,
        path: str,
        authority: str,
        timeout: float,
    ) -> AsyncIterator["ClientStream"]:
        """Have the stream open for the length of the block; see `RpcChannel.stream`.

        Args:
            stream: not opened yet; this object must be its wrapper.
            register: makes the connection dispatch events to the stream, once it is
                open; returns what ends that.
        """
        headers = framing.request_headers(path, authority, None)
        try:
            with trio.move_on_after(timeout) as opening:
                await open_stream(self._aio, stream, headers)
        except NoAvailableStreamIDError:
            raise ConnectionUsedUp from None
        except ProtocolError as error:
            raise RpcError(RpcStatus.UNAVAILABLE, f"the connection failed: {error}") from error
        if opening.cancelled_caught:
            raise RpcError(RpcStatus.DEADLINE_EXCEEDED, f"no stream for {path} in time")
        release = register(stream)
        self._stream = stream
        stream.buffer = self
        stream.connection.flush()
        try:
            yield self
        finally:
            self.end(_ENDED)
            if stream.closable:
                stream.reset_nowait(ErrorCodes.CANCEL)
                stream.connection.flush()  # grpclib writes it only while the socket takes it
            release()


class StreamSession(Protocol):
    """What a server does with one stream."""

    def receive(self, message: bytes) -> None:
        """Take a message in; see `Receiver`."""
        ...

    async def run(self) -> None:
        """Serve the stream: write what there is to say, until it is ended or finished."""
        ...

    def finish(self) -> None:
        """Come to an end: the client sends nothing more, or the server is closing."""
        ...


StreamHandler = Callable[["ServerStream"], StreamSession]
"""A method that streams both ways: takes the stream as it begins."""


class StreamService(Protocol):
    """What the streams to one server share.

    Attributes:
        nursery: where they run.
        closing: whether new ones are refused.
        open_streams: those that go on.
        arrivals: the messages that are not complete yet.
    """

    @property
    def nursery(self) -> trio.Nursery: ...
    @property
    def closing(self) -> bool: ...
    @property
    def streams(self) -> Mapping[str, StreamHandler]: ...
    @property
    def open_streams(self) -> set["ServerStream"]: ...
    @property
    def arrivals(self) -> Arrivals: ...
    @property
    def max_message_bytes(self) -> int: ...
    @property
    def aio(self) -> RunAsyncio: ...


class ServerStream(MessageStream):
    """A stream from a client.

    Args:
        ended: called once, when the stream is done with.
        room: where a message has to fit in, until it is complete.
    """

    _session: StreamSession

    def __init__(
        self,
        service: StreamService,
        stream: Http2Stream,
        ended: Callable[[], None],
        *,
        room: Room,
    ) -> None:
        super().__init__(service.aio, service.max_message_bytes, lambda message: None)
        self._service = service
        self._stream = stream
        self._ended = ended
        self._answered = False
        self._over = False
        self._holding = Holding(room)
        stream.buffer = self

    @property
    def nursery(self) -> trio.Nursery:
        """Where tasks of the session may run; they have to end with it."""
        return self._service.nursery

    def open(self, headers: Mapping[bytes, bytes]) -> None:
        """Look at the request's headers, and begin the session."""
        path = ""
        try:
            path, _ = framing.read_request_headers(headers)
        except RpcError as error:
            self.end(error)
        if self._service.closing:
            self.end(_CLOSING)
        elif not self._holding.resize(CALL_BYTES):
            self.end(NO_ROOM)
        if self.failure is not None:
            self._close()
            return
        self._put_headers(framing.RESPONSE_HEADERS)
        self._answered = True
        self._session = self._service.streams[path](self)
        self._receive = self._session.receive
        self._service.open_streams.add(self)
        self._service.nursery.start_soon(self._run)

    def add(self, data: bytes, ack_size: int) -> None:
        """Take in what arrived; what is incomplete of it has to fit in and to go on in time."""
        grown = self._held + len(data)
        super().add(data, ack_size)
        if self.failure is not None:
            return
        if self._held < grown:
            self._service.arrivals.end(self)
        if self._held:
            self._service.arrivals.begin(self)
        if not self._holding.resize(CALL_BYTES + self._held):
            self.end(NO_ROOM)

    def expire(self) -> None:
        """End the stream, whose message has not come in time."""
        self.end(LATE)

    def end(self, failure: RpcError) -> None:
        """See `MessageStream.end`."""
        super().end(failure)
        self._service.arrivals.end(self)
        self._holding.resize(0)

    def finish(self) -> None:
        """Let the session come to an end."""
        self._session.finish()

    def eof(self) -> None:
        """Take note that the client sends nothing more."""
        if self.failure is None:
            self._session.finish()

    def cancel(self) -> None:
        """The client is gone or gave up: end the session, answer nothing."""
        self.end(_ENDED)
        self._release()

    async def _run(self) -> None:
        try:
            await self._session.run()
        except Exception:
            # One bad stream must not end the server.
            log.exception("rpc stream failed")
            self.end(RpcError(RpcStatus.INTERNAL, "internal error"))
        finally:
            self._service.open_streams.discard(self)
            self._close()

    def _close(self) -> None:
        """Tell the client why the stream ends, if it is still there."""
        if not self._over:
            trailers = framing.OK_TRAILERS
            if self.failure is not None:
                trailers = framing.error_trailers(self.failure)
                if self._answered:
                    trailers = trailers[len(framing.RESPONSE_HEADERS) :]
            self.end(_ENDED)
            # A protocol error says that the client closed the stream meanwhile.
            with suppress(ProtocolError):
                self._put_headers(trailers, end=True)
        self._release()

    def _put_headers(self, headers: list[Header], *, end: bool = False) -> None:
        self._stream._h2_connection.send_headers(self._stream.id, headers, end_stream=end)
        self._stream.connection.flush()

    def _release(self) -> None:
        if not self._over:
            self._over = True
            if self._stream.closable:
                self._stream.reset_nowait()
                self._stream.connection.flush()
            self._ended()
