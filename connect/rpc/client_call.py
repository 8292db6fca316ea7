"""One call to a server: send, await the answer."""

from collections.abc import Callable

import trio
from h2.errors import ErrorCodes
from h2.exceptions import NoAvailableStreamIDError, ProtocolError

from connect.rpc import framing
from connect.rpc.channel import ConnectionUsedUp
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.http2 import Http2Stream, Inbox, RunAsyncio, open_stream, put_message

__all__ = ["ClientCall"]


class ClientCall:
    """One call, from its headers to its end.

    It stands in the place of grpclib's Wrapper, which is told when a stream is lost.
    """

    def __init__(self, aio: RunAsyncio, max_message_bytes: int) -> None:
        self._aio = aio
        self._max_message_bytes = max_message_bytes
        self._ended = trio.Event()
        self._lost: str | None = None
        self._sending = trio.CancelScope()

    def cancel(self, error: Exception) -> None:
        """Take note that the stream is lost, unless its answer is complete."""
        if not self._ended.is_set():
            self._lost = str(error)
            self._end()

    async def run(
        self,
        stream: Http2Stream,
        register: Callable[[Http2Stream], Callable[[], None]],
        *,
        path: str,
        authority: str,
        request: bytes,
        timeout: float,
    ) -> bytes:
        """Make the call; see `RpcChannel.call`.

        Args:
            stream: not opened yet; this object must be its wrapper.
            register: makes the connection dispatch events to the stream, once it is
                open; returns what ends that.
        """
        release: Callable[[], None] | None = None
        try:
            with trio.CancelScope(deadline=trio.current_time() + timeout):
                headers = framing.request_headers(path, authority, timeout)
                await open_stream(self._aio, stream, headers)
                release = register(stream)
                inbox = stream.buffer = Inbox(stream, self._max_message_bytes, self._end)
                await self._send(stream, framing.encode_message(request))
                await self._ended.wait()
                return framing.read_answer(
                    stream.headers, stream.trailers, inbox.message, self._lost
                )
        except NoAvailableStreamIDError:
            raise ConnectionUsedUp from None
        except ProtocolError as error:
            raise RpcError(RpcStatus.UNAVAILABLE, f"the connection failed: {error}") from error
        finally:
            if release is not None:
                if stream.closable:
                    stream.reset_nowait(ErrorCodes.CANCEL)
                    stream.connection.flush()  # grpclib writes only while the socket takes it
                release()
        raise RpcError(RpcStatus.DEADLINE_EXCEEDED, f"no answer to {path} in time")

    async def _send(self, stream: Http2Stream, body: bytes) -> None:
        if put_message(stream, body, end=True):
            stream.connection.flush()
        else:
            with self._sending:  # the server may answer before it has read everything
                await self._aio(stream.send_data(body, end_stream=True))

    def _end(self) -> None:
        self._ended.set()
        self._sending.cancel()
