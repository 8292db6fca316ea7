"""What calls and streams of messages do with an HTTP/2 stream, on either side.

The streams are grpclib's, whose types are spelled out here as far as they are used:
only the bridge imports grpclib.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import TooManyStreamsError

from connect.rpc import framing
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.intake import NO_ROOM

__all__ = [
    "Event",
    "Header",
    "Http2Connection",
    "Http2Stream",
    "Inbox",
    "ReceiveBuffer",
    "RunAsyncio",
    "keep_chunk",
    "open_stream",
    "put_message",
]

Header = tuple[bytes, bytes]
T = TypeVar("T")

_TOO_LARGE = RpcError(RpcStatus.RESOURCE_EXHAUSTED, "the message is too large")


class RunAsyncio(Protocol):
    """Runs an asyncio coroutine from Trio; cancelling this cancels the coroutine."""

    def __call__(self, coroutine: Coroutine[Any, Any, T], /) -> Awaitable[T]: ...


class Event(Protocol):
    """An asyncio event."""

    def is_set(self) -> bool: ...
    def clear(self) -> None: ...
    def wait(self) -> Coroutine[Any, Any, Any]: ...


class Http2Connection(Protocol):
    """`grpclib.protocol.Connection`."""

    @property
    def write_ready(self) -> Event: ...
    @property
    def stream_close_waiter(self) -> Event: ...

    def is_closing(self) -> bool: ...
    def ack(self, stream_id: int, size: int) -> None: ...
    def flush(self) -> None: ...


class ReceiveBuffer(Protocol):
    """What takes in the data of a stream, in the place of grpclib's Buffer."""

    def add(self, data: bytes, ack_size: int) -> None: ...
    def eof(self) -> None: ...
    def unacked_size(self) -> int: ...


class Http2Stream(Protocol):
    """`grpclib.protocol.Stream`."""

    id: int
    buffer: ReceiveBuffer
    headers: list[Header] | None
    trailers: list[Header] | None

    @property
    def connection(self) -> Http2Connection: ...
    @property
    def _h2_connection(self) -> H2Connection: ...
    @property
    def closable(self) -> bool: ...
    @property
    def window_updated(self) -> Event: ...

    def init_stream(self, stream_id: int, connection: Http2Connection) -> None: ...
    def send_headers(self, headers: list[Header]) -> Coroutine[Any, Any, None]: ...
    def send_data(self, data: bytes, end_stream: bool = False) -> Coroutine[Any, Any, None]: ...
    def reset_nowait(self, error_code: ErrorCodes = ErrorCodes.NO_ERROR) -> None: ...


class Inbox:
    """Collects what a stream receives, up to a limit.

    It stands in the place of grpclib's Buffer, which makes a task wait for each chunk.

    Args:
        max_bytes: the largest message taken; of a larger one nothing is kept.
        on_end: called once, when the message is complete or refused.
        hold: asked for room for so many bytes in all; without it, nothing is kept.
    """

    __slots__ = ("_chunks", "_hold", "_most", "_on_end", "_refused", "_size", "_stream")

    def __init__(
        self,
        stream: Http2Stream,
        max_bytes: int,
        on_end: Callable[[], None],
        *,
        hold: Callable[[int], bool] = lambda size: True,
    ) -> None:
        self._stream = stream
        self._most = framing.PREFIX_BYTES + max_bytes
        self._on_end = on_end
        self._hold = hold
        self._size = 0
        self._chunks: list[bytes | bytearray] = []
        self._refused: RpcError | None = None

    def add(self, data: bytes, ack_size: int) -> None:
        self._stream.connection.ack(self._stream.id, ack_size)
        if self._refused is not None:
            return
        self._size += len(data)
        if self._size > self._most:
            self._refuse(_TOO_LARGE)
        elif not self._hold(self._size):
            self._refuse(NO_ROOM)
        else:
            keep_chunk(self._chunks, data)

    def _refuse(self, error: RpcError) -> None:
        self._refused = error
        self._chunks.clear()
        self._on_end()

    def eof(self) -> None:
        if self._refused is None:
            self._on_end()

    def unacked_size(self) -> int:
        return 0

    def message(self) -> bytes:
        """Return the message received; raise RpcError if it is not a single whole one."""
        if self._refused is not None:
            raise self._refused
        return framing.decode_message(self._chunks)


def keep_chunk(chunks: list[bytes | bytearray], data: bytes) -> None:
    """Append data, so that it costs no more than its bytes, in however small chunks it comes."""
    if not data:
        return
    if not chunks:
        chunks.append(data)
    elif isinstance(last := chunks[-1], bytearray):
        last += data
    else:
        chunks.append(bytearray(data))


async def open_stream(aio: RunAsyncio, stream: Http2Stream, headers: list[Header]) -> None:
    """Begin a stream, as soon as the server allows one more; its headers are queued only.

    Raises:
        RpcError: UNAVAILABLE if the connection is lost.
        h2.exceptions.ProtocolError: likewise, or all stream ids are used up.
    """
    connection, h2 = stream.connection, stream._h2_connection
    while True:
        if not connection.write_ready.is_set():
            await aio(connection.write_ready.wait())
        if connection.is_closing():
            raise RpcError(RpcStatus.UNAVAILABLE, "the connection is lost")
        stream_id = h2.get_next_available_stream_id()
        try:
            h2.send_headers(stream_id, headers)
        except TooManyStreamsError:
            connection.stream_close_waiter.clear()
            await aio(connection.stream_close_waiter.wait())
        else:
            stream.init_stream(stream_id, connection)
            return


def put_message(
    stream: Http2Stream, body: bytes, *, headers: list[Header] | None = None, end: bool
) -> bool:
    """Queue headers and body for sending if the peer's window takes them now.

    Args:
        headers: to be sent before the body, if any.
        end: whether the stream ends with the body.

    Returns:
        False if it does not; then nothing is queued.
    """
    h2 = stream._h2_connection
    if not stream.connection.write_ready.is_set():
        return False
    if h2.local_flow_control_window(stream.id) < len(body):
        return False
    if headers is not None:
        h2.send_headers(stream.id, headers)
    step = h2.max_outbound_frame_size
    for start in range(0, len(body), step):
        last = start + step >= len(body)
        h2.send_data(stream.id, body[start : start + step], end_stream=end and last)
    return True
