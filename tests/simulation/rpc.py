"""RPC over the simulated network, in the place of `connect.rpc.bridge`.

Calls and streams behave as those of the bridge do, with the same errors: a server that is
gone is UNAVAILABLE, one that does not answer DEADLINE_EXCEEDED; a client that gives up
cancels the handler. The channel pools, services and streams above are the real ones.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import trio

from connect.errors import MalformedMessage, StoreUnavailable
from connect.rpc import framing
from connect.rpc.bridge import RpcHandler, StreamHandler
from connect.rpc.errors import CallFailed, CallRefused, PeerUnreachable, RpcError, RpcStatus
from connect.rpc.message_stream import Receiver, StreamSession
from connect.rpc.send_queue import SendQueue
from tests.simulation.network import End, Network, Refused

__all__ = ["SimulatedBridge"]

_MAX_MESSAGE_BYTES = 8 * 1024 * 1024 + 64 * 1024

# After this long without a sign of the peer, the kernel gives a connection up.
_USER_TIMEOUT = 15.0

# For making a connection (`open_bridge`).
_DIAL_TIMEOUT = 2.0

_CLOSING = RpcError(RpcStatus.UNAVAILABLE, "the server is closing")
_LOST = RpcError(RpcStatus.UNAVAILABLE, "the connection is lost")

_BACKOFF_MIN, _BACKOFF_MAX = 0.1, 2.0


class Spawner(Protocol):
    """Starts tasks that belong to a node."""

    def spawn(
        self, nursery: trio.Nursery, function: Callable[..., Awaitable[object]], *args: object
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _Call:
    path: str
    request: bytes
    timeout: float


@dataclass(frozen=True, slots=True)
class _OpenStream:
    path: str


class SimulatedBridge:
    """The RPC of one node.

    Args:
        streams: whether its servers know methods that stream.
    """

    max_message_bytes = _MAX_MESSAGE_BYTES

    def __init__(self, network: Network, host: str, node: Spawner, *, streams: bool) -> None:
        self._network = network
        self._host = host
        self._node = node
        self._streams = streams

    def connect(self, host: str, port: int) -> "_Channel":
        return _Channel(self._network, self._host, host, port)

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
        """Serve until cancelled; then what is going on has the grace to end."""
        service = _Service(handlers, (streams or {}) if self._streams else {})

        def accept(end: End) -> None:
            self._node.spawn(service.nursery, service.serve, end)

        async with trio.open_nursery() as outside:
            with trio.CancelScope(shield=True) as finishing:  # _linger sets its deadline
                async with trio.open_nursery() as service.nursery:
                    accepting = trio.CancelScope()
                    outside.start_soon(_linger, accepting, finishing, grace)
                    stop = self._network.listen(host, port, accept)
                    try:
                        with accepting:
                            task_status.started((host, port))
                            await trio.sleep_forever()
                    finally:
                        stop()
                        service.finish()
            outside.cancel_scope.cancel()


async def _linger(accepting: trio.CancelScope, finishing: trio.CancelScope, grace: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        finishing.deadline = trio.current_time() + grace
        accepting.cancel()


class _Service:
    """What the connections to one server share."""

    nursery: trio.Nursery

    def __init__(
        self, handlers: Mapping[str, RpcHandler], streams: Mapping[str, StreamHandler]
    ) -> None:
        self._handlers = handlers
        self._streams = streams
        self._sessions: dict[StreamSession, None] = {}
        self._closing = False

    def finish(self) -> None:
        """Take nothing new, and have the sessions come to their ends."""
        self._closing = True
        for session in tuple(self._sessions):
            session.finish()

    async def serve(self, end: End) -> None:
        """Serve one call or stream."""
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
                asked = await end.receive()
                if self._closing:
                    end.put(_CLOSING)
                elif isinstance(asked, _OpenStream):
                    await self._serve_stream(end, asked.path)
                else:
                    await self._serve_call(end, asked)
        finally:
            end.close()

    async def _serve_call(self, end: End, call: _Call) -> None:
        handler = self._handlers.get(call.path)
        if handler is None:
            end.put(RpcError(RpcStatus.UNIMPLEMENTED, "no such method"))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_left, end, nursery.cancel_scope)
            answer = await _answer(handler, call)
            end.put(answer)
            nursery.cancel_scope.cancel()

    async def _serve_stream(self, end: End, path: str) -> None:
        begin = self._streams.get(path)
        if begin is None:
            end.put(RpcError(RpcStatus.UNIMPLEMENTED, "no such method"))
            return
        stream = _ServerStream(end, self.nursery)
        session = begin(stream)  # type: ignore[arg-type] # what sessions use of a ServerStream
        self._sessions[session] = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.read, session.receive, session.finish)
                await session.run()
                nursery.cancel_scope.cancel()
            if stream.failure is not None:
                end.put(stream.failure)
        finally:
            del self._sessions[session]


async def _answer(handler: RpcHandler, call: _Call) -> bytes | RpcError:
    try:
        with trio.move_on_after(call.timeout):
            return await handler(call.request)
        return RpcError(RpcStatus.DEADLINE_EXCEEDED, "the call took too long")
    except RpcError as error:
        return error
    except MalformedMessage as error:
        return RpcError(RpcStatus.INVALID_ARGUMENT, str(error))
    except StoreUnavailable:
        return RpcError(RpcStatus.UNAVAILABLE, "the state store is unavailable")


async def _cancel_when_left(end: End, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
        await end.receive()
    scope.cancel()


class _Channel:
    """Calls and streams to one peer."""

    def __init__(self, network: Network, host: str, peer_host: str, port: int) -> None:
        self._network = network
        self._host = host
        self._peer = (peer_host, port)
        self._failures = 0
        self._retry_at = -math.inf
        self._ends: dict[End, None] = {}
        self._closed = False
        self._connected = False

    async def call(self, path: str, request: bytes, *, timeout: float) -> bytes:
        with trio.move_on_after(timeout):
            end = await self._dial()
            try:
                end.put(_Call(path, request, timeout))
                answer = await end.receive()
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
                self._connected = False
                raise _LOST from None
            finally:
                self._drop(end)
            if isinstance(answer, RpcError):
                raise CallFailed(answer.status, answer.message)
            return bytes(answer)
        raise RpcError(RpcStatus.DEADLINE_EXCEEDED, f"no answer to {path} in time")

    @asynccontextmanager
    async def stream(
        self, path: str, receive: Receiver, *, timeout: float
    ) -> AsyncIterator["_Stream"]:
        end: End | None = None
        with trio.move_on_after(timeout):
            end = await self._dial()
        if end is None:
            raise CallRefused(RpcStatus.DEADLINE_EXCEEDED, f"no stream for {path} in time")
        stream = _Stream(end)
        try:
            end.put(_OpenStream(path))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.read, receive, stream.ended_by_peer)
                try:
                    yield stream
                finally:
                    nursery.cancel_scope.cancel()
        except* RpcError as errors:
            failure = errors
        else:
            return
        finally:
            self._drop(end)
        raise failure.exceptions[0]

    async def _dial(self) -> End:
        """Return an end for one call or stream.

        The real channel has one connection for all of them: while that lasts nothing is
        dialled, and what happens meanwhile leaves the caller in doubt.
        """
        if self._closed:
            raise CallRefused(RpcStatus.UNAVAILABLE, "the channel is closed")
        if trio.current_time() < self._retry_at:
            raise PeerUnreachable(
                RpcStatus.UNAVAILABLE, "cannot connect to {}:{}".format(*self._peer)
            )
        kind = RpcError if self._connected else PeerUnreachable
        try:
            with trio.fail_after(_USER_TIMEOUT if self._connected else _DIAL_TIMEOUT):
                end = await self._network.dial(self._host, *self._peer)
        except (Refused, trio.TooSlowError) as error:
            backoff = min(_BACKOFF_MIN * 2**self._failures, _BACKOFF_MAX)
            self._failures = min(self._failures + 1, 10)
            self._retry_at = trio.current_time() + backoff
            self._connected = False
            raise kind(RpcStatus.UNAVAILABLE, str(error)) from error
        self._connected = True
        end.watched = end.peer.watched = True
        self._failures = 0
        self._ends[end] = None
        return end

    def _drop(self, end: End) -> None:
        self._ends.pop(end, None)
        end.close()

    def close(self) -> None:
        self._closed = True
        for end in tuple(self._ends):
            end.fail()


class _Stream:
    """One side of a stream; see `connect.rpc.message_stream.MessageStream`."""

    def __init__(self, end: End) -> None:
        self.failure: RpcError | None = None
        self.max_message_bytes = _MAX_MESSAGE_BYTES
        self._end = end
        self._pumping = trio.CancelScope()

    async def pump(self, queue: SendQueue) -> None:
        """Write what is queued, until the queue is finished or the stream is ended."""
        with self._pumping:
            while self.failure is None:
                batch = await queue.batch()
                if batch is None:
                    break
                if batch:
                    await self._write(batch)

    def end(self, failure: RpcError) -> None:
        """End the stream for this reason, unless there was one before."""
        if self.failure is None:
            self.failure = failure
            self._pumping.cancel()

    def ended_by_peer(self) -> None:
        """The other side sends nothing more."""
        self.end(RpcError(RpcStatus.UNAVAILABLE, "the server ended the stream"))

    async def read(self, receive: Receiver, finished: Callable[[], None]) -> None:
        """Take in what arrives, until the stream ends."""
        try:
            while self.failure is None:
                arrived = await self._end.receive()
                if isinstance(arrived, RpcError):
                    self.end(arrived)
                    return
                _split(arrived, receive)
        except MalformedMessage as error:
            self.end(RpcError(RpcStatus.INVALID_ARGUMENT, str(error)))
        except RpcError as error:
            self.end(error)
        except trio.EndOfChannel:
            finished()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end(_LOST)

    async def _write(self, batch: bytes) -> None:
        try:
            await self._end.send(batch, len(batch))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end(_LOST)


class _ServerStream(_Stream):
    """A stream from a client; see `connect.rpc.message_stream.ServerStream`."""

    def __init__(self, end: End, nursery: trio.Nursery) -> None:
        super().__init__(end)
        self.nursery = nursery


def _split(batch: bytes, receive: Receiver) -> None:
    position = 0
    while position < len(batch):
        start = position + framing.PREFIX_BYTES
        end = start + int.from_bytes(batch[position + 1 : start], "big")
        receive(batch[start:end])
        position = end
