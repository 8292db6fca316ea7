"""A gateway's side of the streams from executors: forwards in, outcomes and replies out.

Which stream a reply belongs to is told by the lease: every executor announces on its
streams the address that it writes into leases.
"""

from collections.abc import Callable
from typing import Protocol

import structlog
import trio

from connect.errors import ForwardInDoubt, MalformedMessage, StoreUnavailable
from connect.protocol.envelope import read_request
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import frames
from connect.rpc.bridge import StreamHandler
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.gateway_service import Forwarder
from connect.rpc.intake import NO_ROOM, Holding, Room
from connect.rpc.message_stream import ServerStream
from connect.rpc.methods import STREAM_V1
from connect.rpc.pieces import Pieces
from connect.rpc.send_queue import SendQueue

__all__ = ["ExecutorStreams", "ReplyChannels"]

# Forwards that one stream may have in progress, and their bytes.
_MAX_FORWARDS = 10_000
_MAX_FORWARD_BYTES = 256 * 1024 * 1024

# Bytes of the forwards of all streams. Those that are not complete yet count, here and above.
_MAX_BYTES = 1024 * 1024 * 1024

_LOST = RpcError(RpcStatus.UNAVAILABLE, "the stream is lost")
_NOT_READ = RpcError(RpcStatus.RESOURCE_EXHAUSTED, "the executor does not read its stream")

log = structlog.get_logger(__name__)


class ReplyChannels(Protocol):
    """What is needed of `connect.rpc.channels.ChannelPool`."""

    async def reply(self, host: str, port: int, response: bytes) -> bool: ...


class ExecutorStreams:
    """The streams that executors have to this gateway, by the addresses they announced.

    Args:
        fallback: for executors that have no stream.
        reply_timeout: seconds for pushing one reply on a stream (`Timing.rpc`).
    """

    def __init__(self, fallback: ReplyChannels, *, reply_timeout: float) -> None:
        self._fallback = fallback
        self._reply_timeout = reply_timeout
        self._sessions: dict[tuple[str, int], list[_Session]] = {}
        self._room = Room(_MAX_BYTES)

    def __len__(self) -> int:
        return sum(map(len, self._sessions.values()))

    def handlers(self, forwarder: Forwarder) -> dict[str, StreamHandler]:
        """Return the methods of ConnectGateway that stream, for `Bridge.serve`."""

        def begin(stream: ServerStream) -> _Session:
            return _Session(stream, forwarder, self._enter, self._leave, self._room)

        return {STREAM_V1: begin}

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        """Push a worker's reply to the executor at this address, best effort.

        It goes on the newest stream that was announced with the address; without one, or
        if that breaks, as a call of its own.

        Args:
            response: a serialized SDKResponse.

        Returns:
            Whether the executor took it. Any failure is False: executors also find
            the reply in the response buffer.
        """
        sessions = self._sessions.get((host, port))
        if sessions and len(response) <= sessions[-1].max_message_bytes:
            try:
                with trio.move_on_after(self._reply_timeout):
                    return await sessions[-1].reply(response)
            except RpcError as error:
                log.info("reply not pushed", executor=f"{host}:{port}", reason=str(error))
            else:
                log.info("reply not pushed", executor=f"{host}:{port}", reason="no receipt in time")
                return False
        return await self._fallback.reply(host, port, response)

    async def extend_lease(self, request: pb.ExtendLeaseRequest, *, timeout: float) -> str | None:
        """Have the executor that waits for a request extend its lease, or vouch for it.

        Which one that is the state store knows, which cannot be asked: all are asked. Who has
        asked the store, or has given the request to another worker, is right at once; who
        vouches, once nobody else has said otherwise, as more than one executor may wait for
        the request.

        Args:
            timeout: seconds.

        Returns:
            The lease id to hold from now on; None if the lease is lost.

        Raises:
            StoreUnavailable: no executor that has a stream waits for the request, or none
                has said so in time.
        """
        found: frames.LeaseAnswer | None = None
        written = bytes(request)
        with trio.move_on_after(timeout) as scope:
            async with trio.open_nursery() as nursery:

                async def ask(session: _Session) -> None:
                    nonlocal found
                    answer = await session.extend_lease(written)
                    decides = answer.lease_id != request.lease_id
                    if answer.in_progress and (decides or found is None):
                        found = answer
                        if decides:
                            scope.cancel()

                for sessions in self._sessions.values():
                    nursery.start_soon(ask, sessions[-1])
        if found is None:
            raise StoreUnavailable("no executor answers for the lease")
        return found.lease_id or None

    def _enter(self, session: "_Session") -> None:
        self._sessions.setdefault(session.address, []).append(session)
        log.info("executor connected", executor="{}:{}".format(*session.address))

    def _leave(self, session: "_Session") -> None:
        sessions = self._sessions.get(session.address, [])
        if session in sessions:
            sessions.remove(session)
            if not sessions:
                del self._sessions[session.address]
            log.info("executor disconnected", executor="{}:{}".format(*session.address))


class _Receipt:
    """What an executor says to a reply: None while that is unknown."""

    __slots__ = ("came", "taken")

    def __init__(self) -> None:
        self.came = trio.Event()
        self.taken: bool | None = None

    def settle(self, taken: bool | None) -> None:
        if not self.came.is_set():
            self.taken = taken
            self.came.set()


class _Question:
    """An extension of a lease that an executor has been asked for."""

    __slots__ = ("answer", "answered")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer = frames.LeaseAnswer(in_progress=False)

    def settle(self, answer: frames.LeaseAnswer) -> None:
        self.answer = answer
        self.answered.set()


class _Session:
    """One stream of one executor."""

    def __init__(
        self,
        stream: ServerStream,
        forwarder: Forwarder,
        enter: Callable[["_Session"], None],
        leave: Callable[["_Session"], None],
        room: Room,
    ) -> None:
        own_room = Room(_MAX_FORWARD_BYTES, room)
        self.address = ("", 0)
        self.max_message_bytes = stream.max_message_bytes
        self._stream = stream
        self._forwarder = forwarder
        self._enter = enter
        self._leave = leave
        self._queue = SendQueue()
        self._pieces = Pieces(stream.max_message_bytes, Holding(own_room).resize)
        self._forwards: dict[int, trio.CancelScope] = {}
        self._forward_bytes = 0
        self._forwards_held = Holding(own_room)
        self._receipts: dict[int, _Receipt] = {}
        self._last_reply = 0
        self._questions: dict[int, _Question] = {}
        self._last_question = 0
        self._closing = False

    # The stream's life

    async def run(self) -> None:
        """Write what there is to say, until the stream is ended or finished."""
        try:
            await self._stream.pump(self._queue)
        finally:
            self._closing = True
            self._leave(self)
            self._queue.close()
            self._pieces.close()
            for scope in self._forwards.values():
                scope.cancel()
            for receipt in self._receipts.values():
                receipt.settle(None)
            for question in self._questions.values():
                question.answered.set()

    def finish(self) -> None:
        """Take no more forwards, and end when those in progress have their outcomes."""
        self._closing = True
        self._leave(self)
        if not self._forwards:
            self._queue.finish()

    # What arrives

    def receive(self, message: bytes) -> None:
        """Take a frame in; see `connect.rpc.message_stream.Receiver`."""
        frame = frames.read_executor_frame(message)
        kind = frame.kind
        if kind == frames.EXECUTOR_HELLO:
            self._hello(frame)
        elif not self.address[0]:
            raise MalformedMessage("ExecutorFrame", "the first frame is not a hello")
        elif kind == frames.FORWARD:
            self._forward(frame)
        elif kind == frames.WITHDRAW:
            self._pieces.drop(frame.id)
            scope = self._forwards.get(frame.id)
            if scope is not None:
                scope.cancel()
        elif kind == frames.RECEIPT:
            receipt = self._receipts.get(frame.id)
            if receipt is not None:
                receipt.settle(frame.success)
        elif kind == frames.EXTENDED:
            question = self._questions.get(frame.id)
            if question is not None:
                question.settle(frames.LeaseAnswer(frame.success, _lease_id(frame.data)))

    def _hello(self, frame: frames.ExecutorFrame) -> None:
        if self.address[0]:
            raise MalformedMessage("ExecutorFrame", "a second hello")
        if not frame.host or not 0 < frame.port < 65536:
            raise MalformedMessage("ExecutorFrame", "host and port are no address")
        self.address = (frame.host, frame.port)
        self._answer(frames.welcome_frame())
        if not self._closing:
            self._enter(self)

    def _forward(self, frame: frames.ExecutorFrame) -> None:
        number = frame.id
        if number < 1:
            raise MalformedMessage("ExecutorFrame", "a forward without an id")
        if number in self._forwards:
            raise MalformedMessage("ExecutorFrame", "the id of a forward in progress")
        try:
            complete = self._pieces.add(
                number, frame.data, more=frame.more, head=frame.connection_id
            )
            if complete is None:
                return
            connection_id, request = complete
            self._check(connection_id, request)
        except RpcError as error:
            self._answer(frames.refusal_frame(number, error))
        else:
            self._forwards[number] = trio.CancelScope()
            self._forward_bytes += len(request)
            self._stream.nursery.start_soon(self._carry_out, number, connection_id, request)

    def _check(self, connection_id: str, request: bytes) -> None:
        if self._closing:
            raise RpcError(RpcStatus.UNAVAILABLE, "the gateway is closing")
        _check_id("connection_id", connection_id)
        if len(self._forwards) >= _MAX_FORWARDS:
            raise RpcError(RpcStatus.RESOURCE_EXHAUSTED, "too many forwards are in progress")
        if not self._forwards_held.resize(self._forward_bytes + len(request)):
            raise NO_ROOM

    # What is done about it

    async def _carry_out(self, number: int, connection_id: str, request: bytes) -> None:
        """Forward one request, and say what became of it, unless it is withdrawn."""
        try:
            with self._forwards[number]:
                try:
                    success = await self._try_forward(connection_id, request)
                except RpcError as refusal:
                    self._answer(frames.refusal_frame(number, refusal))
                else:
                    # The reply may come within a moment of success, and go with it.
                    frame = frames.outcome_frame(number, success=success)
                    self._answer(frame, soon=success)
        finally:
            del self._forwards[number]
            self._forward_bytes -= len(request)
            self._forwards_held.resize(self._forward_bytes)
            if self._closing and not self._forwards:
                self._queue.finish()

    async def _try_forward(self, connection_id: str, request: bytes) -> bool:
        try:
            fields = read_request(request)
            _check_id("data.request_id", fields.request_id)
            return await self._forwarder.forward(
                connection_id, fields.request_id, request, vouched=fields.lease_id
            )
        except RpcError:
            raise
        except MalformedMessage as error:
            raise RpcError(RpcStatus.INVALID_ARGUMENT, str(error)) from error
        except ForwardInDoubt as error:
            raise RpcError(RpcStatus.ABORTED, str(error)) from error
        except StoreUnavailable as error:
            raise RpcError(RpcStatus.UNAVAILABLE, "the state store is unavailable") from error
        except Exception as error:
            # One bad request must not end the gateway.
            log.exception("forward failed", connection_id=connection_id)
            raise RpcError(RpcStatus.INTERNAL, "internal error") from error

    def _answer(self, frame: bytes, *, soon: bool = False) -> None:
        if not self._queue.answer(frame, soon=soon):
            self._stream.end(_NOT_READ)

    async def reply(self, response: bytes) -> bool:
        """Push a reply, and wait for the executor's receipt.

        Returns:
            Whether somebody waited for it.

        Raises:
            RpcError: the stream ended before the receipt came.

        Cancelled, it may arrive nonetheless.
        """
        number = self._last_reply = frames.next_id(self._last_reply)
        receipt = self._receipts[number] = _Receipt()
        try:
            if len(response) <= frames.PIECE_BYTES:
                await self._queue.send(frames.reply_frame(number, response))
            else:
                await self._queue.send_large(frames.reply_frames(number, response))
            await receipt.came.wait()
        finally:
            del self._receipts[number]
        if receipt.taken is None:
            raise _LOST
        return receipt.taken

    async def extend_lease(self, request: bytes) -> frames.LeaseAnswer:
        """Ask the executor to extend a lease; a stream that ends does not answer for it.

        Args:
            request: an ExtendLeaseRequest, written already.

        Cancelled, the lease may be extended nonetheless.
        """
        number = self._last_question = frames.next_id(self._last_question)
        question = self._questions[number] = _Question()
        try:
            await self._queue.send(frames.extend_frame(number, request))
            await question.answered.wait()
        except RpcError:  # the stream has ended
            pass
        finally:
            del self._questions[number]
        return question.answer


def _lease_id(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedMessage("ExecutorFrame", "the lease id is not UTF-8") from error


def _check_id(name: str, value: str) -> None:
    if not value:
        raise RpcError(RpcStatus.INVALID_ARGUMENT, f"{name} is empty")
