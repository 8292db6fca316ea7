"""One call that a client makes: read, hand to its handler, answer."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

import structlog
import trio
from h2.exceptions import ProtocolError

from connect.errors import MalformedMessage, StoreUnavailable, SyscodeError
from connect.rpc import framing
from connect.rpc.errors import RpcError, RpcStatus, rpc_error
from connect.rpc.http2 import Header, Http2Stream, Inbox, RunAsyncio, put_message
from connect.rpc.intake import CALL_BYTES, LATE, NO_ROOM, Arrivals, Holding, Room

__all__ = ["CLOSING", "CallService", "RpcHandler", "ServerCall"]

RpcHandler = Callable[[bytes], Awaitable[bytes]]
"""A unary method: takes the request's bytes, returns the reply's, may raise RpcError."""

CLOSING = RpcError(RpcStatus.UNAVAILABLE, "the server is closing")

# How long a client may take to make room for a reply that exceeds its window.
_REPLY_WRITE_SECONDS = 30.0

log = structlog.get_logger(__name__)


class CallService(Protocol):
    """What the calls to one server share.

    Attributes:
        nursery: where handlers run.
        closing: whether new calls are refused.
        arrivals: the messages that are not complete yet.
    """

    @property
    def nursery(self) -> trio.Nursery: ...
    @property
    def closing(self) -> bool: ...
    @property
    def arrivals(self) -> Arrivals: ...
    @property
    def handlers(self) -> Mapping[str, RpcHandler]: ...
    @property
    def max_message_bytes(self) -> int: ...
    @property
    def aio(self) -> RunAsyncio: ...


class ServerCall:
    """One call, from its headers to its end.

    Args:
        ended: called once, when the stream is done with.
        room: where its message has to fit in, until then.
    """

    def __init__(
        self,
        service: CallService,
        stream: Http2Stream,
        ended: Callable[[], None],
        *,
        room: Room,
    ) -> None:
        self._service = service
        self._stream = stream
        self._ended = ended
        self._scope = trio.CancelScope()
        self._path = ""
        self._handler: RpcHandler | None = None
        self._over = False
        self._holding = Holding(room)
        self._inbox = Inbox(stream, service.max_message_bytes, self._received, hold=self._hold)
        stream.buffer = self._inbox

    def open(self, headers: Mapping[bytes, bytes]) -> None:
        """Look at the request's headers; the message follows."""
        try:
            self._path, timeout = framing.read_request_headers(headers)
        except RpcError as error:
            self._refuse(error)
            return
        self._handler = self._service.handlers.get(self._path)
        if self._handler is None:
            self._refuse(RpcError(RpcStatus.UNIMPLEMENTED, "no such method"))
        elif not self._hold(0):
            self._refuse(NO_ROOM)
        else:
            self._service.arrivals.begin(self)
            if timeout is not None:
                self._scope.deadline = trio.current_time() + timeout

    def cancel(self) -> None:
        """The client is gone or gave up: cancel the handler, answer nothing."""
        self._end()
        self._scope.cancel()

    def expire(self) -> None:
        """Refuse the call, whose message has not come in time."""
        self._refuse(LATE)

    def _hold(self, message_bytes: int) -> bool:
        return self._holding.resize(CALL_BYTES + message_bytes)

    def _received(self) -> None:
        self._service.arrivals.end(self)
        if self._over or self._handler is None:
            return
        if self._service.closing:
            self._refuse(CLOSING)
            return
        try:
            message = self._inbox.message()
        except RpcError as error:
            self._refuse(error)
        else:
            self._service.nursery.start_soon(self._run, self._handler, message)

    async def _run(self, handler: RpcHandler, message: bytes) -> None:
        reply: bytes | None = None
        error = CLOSING
        try:
            with self._scope:
                reply = await handler(message)
            if self._scope.cancelled_caught:
                error = RpcError(RpcStatus.DEADLINE_EXCEEDED, "the call took too long")
        except RpcError as raised:
            error = raised
        except MalformedMessage as raised:
            error = RpcError(RpcStatus.INVALID_ARGUMENT, str(raised))
        except SyscodeError as raised:
            error = rpc_error(raised)
        except StoreUnavailable:
            error = RpcError(RpcStatus.UNAVAILABLE, "the state store is unavailable")
        except Exception:
            # One bad call must not end the server.
            log.exception("rpc handler failed", method=self._path)
            error = RpcError(RpcStatus.INTERNAL, "internal error")
        finally:
            if reply is None:  # also when the server's grace is over, and this is cancelled
                self._refuse(error)
        if reply is not None:
            await self._answer(reply)

    async def _answer(self, reply: bytes) -> None:
        if self._over:
            return
        stream, body = self._stream, framing.encode_message(reply)
        # A protocol error says that the client closed the stream meanwhile.
        with suppress(ProtocolError):
            try:
                if put_message(stream, body, headers=framing.RESPONSE_HEADERS, end=False):
                    self._put_trailers(framing.OK_TRAILERS)
                    return
                # What does not fit waits for the client, until that gives up or is lost.
                self._scope = trio.CancelScope(deadline=trio.current_time() + _REPLY_WRITE_SECONDS)
                with self._scope:
                    await self._service.aio(stream.send_headers(framing.RESPONSE_HEADERS))
                    await self._service.aio(stream.send_data(body))
                    if not self._over:
                        self._put_trailers(framing.OK_TRAILERS)
            finally:
                self._end()

    def _refuse(self, error: RpcError) -> None:
        """Answer with an error, and nothing else."""
        if not self._over:
            with suppress(ProtocolError):
                self._put_trailers(framing.error_trailers(error))
            self._end()

    def _put_trailers(self, headers: list[Header]) -> None:
        self._stream._h2_connection.send_headers(self._stream.id, headers, end_stream=True)
        self._stream.connection.flush()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._holding.resize(0)
            self._service.arrivals.end(self)
            if self._stream.closable:
                self._stream.reset_nowait()
            self._ended()
