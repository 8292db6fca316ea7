"""The WebSocket of a worker: the library's, where that would fail by what the worker sends."""

from typing import Any

import trio
import trio_websocket
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Pong, Request, TextMessage
from wsproto.handshake import H11Handshake

__all__ = ["WorkerSocket", "wrap_worker_stream"]

# A message is kept in so many pieces, and one more for so many bytes. Ordinary ones have less.
_PIECES = 256
_PIECE_BYTES = 256

# What stands in for each socket's own one once that is done: it has no events.
_DONE = H11Handshake(ConnectionType.SERVER)


class WorkerSocket(trio_websocket.WebSocketConnection):
    """A WebSocket that answers nothing more once its close frame is out (RFC 6455, section 5.5.1).

    The library would answer pings and faulty frames that cross it, which wsproto refuses; then
    its reader would be gone, and with it what else crosses the close frame.

    It holds a message in little more than its size, however small its fragments are: the library
    would keep each as an object of its own, which is some twenty times as much, and empty ones
    without end.
    """

    async def _handle_message_event(self, event: BytesMessage | TextMessage) -> None:
        pieces: list[Any] = self._message_parts
        if len(pieces) > _PIECES + self._message_size // _PIECE_BYTES:
            pieces[:] = [event.data[:0].join(pieces)]
        await super()._handle_message_event(event)

    async def _send(self, event: Event) -> None:
        closing = self._wsproto.state in (ConnectionState.LOCAL_CLOSING, ConnectionState.CLOSED)
        if closing and isinstance(event, Pong | CloseConnection):
            await trio.lowlevel.checkpoint()
        else:
            await super()._send(event)

    async def _accept(
        self, request: Request, subprotocol: str | None, extra_headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Accept the upgrade, and drop what was parsed for it: 2 kB in each connection."""
        await super()._accept(request, subprotocol, extra_headers)
        self._wsproto.handshake = _DONE


async def wrap_worker_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    *,
    max_message_size: int,
    receive_buffer_size: int = 4096,
) -> trio_websocket.WebSocketRequest:
    """Do as `trio_websocket.wrap_server_stream` does, for a `WorkerSocket`.

    Args:
        nursery: where the socket's reader lives.
        max_message_size: of a message, in bytes; larger ones close the socket with 1009.
        receive_buffer_size: bytes that are read at once.

    Returns:
        The upgrade request, to be accepted. Cancelled, it leaves the reader in the nursery.
    """
    socket = WorkerSocket(
        stream,
        WSConnection(ConnectionType.SERVER),
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
    )
    nursery.start_soon(socket._reader_task)
    return await socket._get_request()
