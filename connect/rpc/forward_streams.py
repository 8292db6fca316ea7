"""An executor's side of its streams to gateways: forwards out, outcomes and replies in.

One stream per gateway, opened when it is first needed. Until it is open, and for a
gateway that does not know the method, forwards go as calls of their own.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog
import trio

from connect.errors import MalformedMessage
from connect.protocol.codec import decode
from connect.protocol.envelope import read_response
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import frames
from connect.rpc.background import open_background
from connect.rpc.channels import ChannelPool
from connect.rpc.errors import CallRefused, RpcError, RpcStatus
from connect.rpc.message_stream import ClientStream
from connect.rpc.methods import STREAM_V1
from connect.rpc.pieces import Pieces
from connect.rpc.send_queue import SendQueue

__all__ = ["ForwardStreams", "ReplyTaker", "open_forward_streams"]

# After a gateway said that it does not know the method, and after other failures.
_UNKNOWN_METHOD_SECONDS = 60.0
_BACKOFF_MIN = 0.25
_BACKOFF_MAX = 15.0

# Leases that one gateway may have extended here at the same time.
_MAX_EXTENSIONS = 10_000

# Streams at the same time; further gateways get calls.
_MAX_STREAMS = 512

log = structlog.get_logger(__name__)

Address = tuple[str, int]


class ReplyTaker(Protocol):
    """The requests of this executor that are in progress."""

    def deliver(self, request_id: str, response: bytes) -> bool:
        """Take a reply; see `connect.rpc.executor_service.ReplyTable.deliver`."""
        ...

    async def extend_lease(self, request: pb.ExtendLeaseRequest) -> frames.LeaseAnswer:
        """Extend a worker's lease for a gateway that has lost the store, or vouch for it."""
        ...


@dataclass(slots=True, eq=False)
class _Gateway:
    """What is known of the stream to one gateway.

    Attributes:
        link: the open stream; None while there is none.
        scope: of the task that opens a stream and serves it; None while there is none.
        retry_at: when to open the next one at the earliest.
        failures: in a row.
    """

    link: "_Link | None" = None
    scope: trio.CancelScope | None = None
    retry_at: float = -float("inf")
    failures: int = 0


class ForwardStreams:
    """Streams to gateways, one each; made by `open_forward_streams`."""

    def __init__(
        self,
        channels: ChannelPool,
        nursery: trio.Nursery,
        replies: ReplyTaker,
        *,
        address: Address,
        open_timeout: float,
        max_message_bytes: int,
    ) -> None:
        self._channels = channels
        self._nursery = nursery
        self._replies = replies
        self._address = address
        self._open_timeout = open_timeout
        self._max_message_bytes = max_message_bytes
        self._gateways: dict[Address, _Gateway] = {}

    def __len__(self) -> int:
        return sum(gateway.link is not None for gateway in self._gateways.values())

    async def forward(
        self, host: str, port: int, connection_id: str, request: bytes, *, timeout: float
    ) -> bool:
        """Ask a gateway to forward a request to one of its connections.

        Args:
            request: a serialized GatewayExecutorRequestData.
            timeout: seconds; the gateway answers within its lease duration + 5 s
                (Connect protocol, section 4).

        Returns:
            Whether the worker acknowledged the request.

        Raises:
            RpcError: whether the worker has the request is unknown: the gateway did not
                answer, or says so by ABORTED.
            CallRefused: the worker does not have it.

        Cancelling it withdraws the forward; the worker may have the request nonetheless.
        """
        gateway = self._gateways.get((host, port))
        if gateway is not None and gateway.link is not None:
            link = gateway.link
            if len(request) <= self._max_message_bytes:
                return await link.forward(connection_id, request, timeout)
        else:
            self._open(host, port)
        return await self._channels.forward(host, port, connection_id, request, timeout=timeout)

    def keep_only(self, addresses: Collection[Address]) -> None:
        """Close the streams to gateways that are not at one of these addresses any more.

        One with forwards in progress stays until they have their outcomes.
        """
        for address, gateway in list(self._gateways.items()):
            idle = gateway.link is None or not gateway.link.in_progress
            if idle and address not in addresses:
                del self._gateways[address]
                if gateway.scope is not None:
                    gateway.scope.cancel()

    def reopen(self) -> None:
        """Open the streams anew that have been lost.

        Without one a gateway that loses the state store cannot ask about the leases of the
        requests that it got from here.
        """
        for host, port in tuple(self._gateways):
            self._open(host, port)

    def _open(self, host: str, port: int) -> None:
        gateway = self._gateways.get((host, port))
        if gateway is None:
            if len(self._gateways) >= _MAX_STREAMS:
                return
            gateway = self._gateways[host, port] = _Gateway()
        if gateway.scope is None and trio.current_time() >= gateway.retry_at:
            gateway.scope = trio.CancelScope()
            self._nursery.start_soon(self._open_and_serve, gateway, gateway.scope, host, port)

    async def _open_and_serve(
        self, gateway: _Gateway, scope: trio.CancelScope, host: str, port: int
    ) -> None:
        """Open a stream and serve it to its end; then note when to try again."""
        try:
            with scope:
                await self._serve(gateway, host, port)
        except RpcError as error:
            seconds = min(_BACKOFF_MIN * 2**gateway.failures, _BACKOFF_MAX)
            if error.status is RpcStatus.UNIMPLEMENTED:
                seconds = _UNKNOWN_METHOD_SECONDS
            gateway.failures = min(gateway.failures + 1, 10)
            gateway.retry_at = trio.current_time() + seconds
            log.info("stream to the gateway ended", gateway=f"{host}:{port}", reason=str(error))
        finally:
            gateway.scope = None

    async def _serve(self, gateway: _Gateway, host: str, port: int) -> None:
        def opened() -> None:
            gateway.link = link
            gateway.failures = 0

        link = _Link(self._replies, self._max_message_bytes, self._nursery, opened)
        try:
            async with self._channels.stream(
                host, port, STREAM_V1, link.receive, timeout=self._open_timeout
            ) as stream:
                await link.run(stream, self._address, self._open_timeout)
        finally:
            gateway.link = None
            link.close()


@dataclass(slots=True, eq=False)
class _Pending:
    """A forward whose outcome is awaited: `success`, or `error`."""

    settled: trio.Event
    success: bool = False
    error: RpcError | None = None


class _Link:
    """One stream to one gateway.

    Args:
        nursery: where leases are extended, for the gateway to be told.
        opened: called once, when the gateway has answered.
    """

    def __init__(
        self,
        replies: ReplyTaker,
        max_message_bytes: int,
        nursery: trio.Nursery,
        opened: Callable[[], None],
    ) -> None:
        self._replies = replies
        self._nursery = nursery
        self._extending = 0
        self._opened = opened
        self._opening = trio.CancelScope()
        self._queue = SendQueue()
        self._pieces = Pieces(max_message_bytes)
        self._forwards: dict[int, _Pending] = {}
        self._last_forward = 0

    @property
    def in_progress(self) -> int:
        """How many forwards await their outcomes."""
        return len(self._forwards)

    async def run(self, stream: ClientStream, address: Address, open_timeout: float) -> None:
        """Announce the address, then write what there is to say until the stream ends.

        Raises:
            RpcError: always, with the reason for the end.
        """
        self._opening.deadline = trio.current_time() + open_timeout
        await self._queue.send(frames.hello_frame(*address))
        with self._opening:
            await stream.pump(self._queue)
        raise stream.failure or RpcError(
            RpcStatus.DEADLINE_EXCEEDED, "the gateway does not answer on the stream"
        )

    def close(self) -> None:
        """Fail the forwards in progress: what becomes of them is unknown."""
        self._queue.close()
        error = RpcError(RpcStatus.UNAVAILABLE, "the stream to the gateway is lost")
        for pending in self._forwards.values():
            if not pending.settled.is_set():
                pending.error = error
                pending.settled.set()

    async def forward(self, connection_id: str, request: bytes, timeout: float) -> bool:
        """Forward a request; see `ForwardStreams.forward`."""
        number = self._last_forward = frames.next_id(self._last_forward)
        pending = self._forwards[number] = _Pending(trio.Event())
        pieces: Iterator[bytes] | None = None
        queued = False
        try:
            with trio.move_on_after(timeout):
                if len(request) <= frames.PIECE_BYTES:
                    await self._queue.send(frames.forward_frame(number, connection_id, request))
                else:
                    pieces = frames.forward_frames(number, connection_id, request)
                    await self._queue.send_large(pieces)
                queued = True
                await pending.settled.wait()
        finally:
            del self._forwards[number]
            cut_short = pieces is not None and self._queue.withdraw(pieces)
            if queued and (cut_short or not pending.settled.is_set()):
                self._queue.answer(frames.withdraw_frame(number))
        if pending.error is not None:
            raise pending.error
        if not pending.settled.is_set():
            raise RpcError(RpcStatus.DEADLINE_EXCEEDED, "no outcome of the forward in time")
        return pending.success

    def receive(self, message: bytes) -> None:
        """Take a frame in; see `connect.rpc.message_stream.Receiver`."""
        frame = frames.read_gateway_frame(message)
        kind = frame.kind
        if kind == frames.REPLY:
            self._reply(frame)
        elif kind == frames.OUTCOME:
            pending = self._forwards.get(frame.id)
            if pending is not None and not pending.settled.is_set():
                pending.success = frame.success
                if frame.status:
                    pending.error = _refusal(_status(frame.status), frame.message)
                pending.settled.set()
        elif kind == frames.EXTEND:
            # One that is left out is asked for again.
            if self._extending < _MAX_EXTENSIONS:
                self._extending += 1
                request = decode(pb.ExtendLeaseRequest, frame.data)
                self._nursery.start_soon(self._extend_lease, frame.id, request)
        elif kind == frames.GATEWAY_HELLO:
            self._opening.deadline = float("inf")
            self._opened()

    async def _extend_lease(self, number: int, request: pb.ExtendLeaseRequest) -> None:
        try:
            answer = await self._replies.extend_lease(request)
        except Exception:  # the last resort: the gateway asks again
            log.exception("lease not extended", request_id=request.request_id)
        else:
            self._queue.answer(frames.extended_frame(number, answer))
        finally:
            self._extending -= 1

    def _reply(self, frame: frames.GatewayFrame) -> None:
        number = frame.id
        taken = False
        try:
            complete = self._pieces.add(number, frame.data, more=frame.more)
            if complete is None:
                return
            taken = self._deliver(complete[1])
        except RpcError as error:
            log.warning("reply not taken", reason=str(error))
        # The gateway is in no hurry to hear this: it goes with the next forward.
        if not self._queue.answer(frames.receipt_frame(number, taken=taken), soon=True):
            raise RpcError(RpcStatus.RESOURCE_EXHAUSTED, "the gateway does not read its stream")

    def _deliver(self, response: bytes) -> bool:
        try:
            request_id = read_response(response).request_id
        except MalformedMessage as error:
            log.warning("reply not taken", reason=str(error))
            return False
        return self._replies.deliver(request_id, response)


def _refusal(status: RpcStatus, message: str) -> RpcError:
    """A gateway that refuses has forwarded nothing, unless it is in doubt, or at fault itself."""
    if status in (RpcStatus.ABORTED, RpcStatus.INTERNAL, RpcStatus.UNKNOWN):
        return RpcError(status, message)
    return CallRefused(status, message)


def _status(number: int) -> RpcStatus:
    try:
        return RpcStatus(number)
    except ValueError:
        return RpcStatus.UNKNOWN


@asynccontextmanager
async def open_forward_streams(
    channels: ChannelPool,
    replies: ReplyTaker,
    *,
    address: Address,
    gateways: Callable[[], Collection[Address]],
    follow_interval: float,
    open_timeout: float,
    max_message_bytes: int,
) -> AsyncIterator[ForwardStreams]:
    """Open streams as they are needed, all closed when the block ends.

    Args:
        channels: what the streams go over, and forwards that have none.
        replies: who takes the replies that come on the streams.
        address: host and port of this executor, as in its leases.
        gateways: the addresses of all gateways there are; a stream to another is closed.
        follow_interval: seconds between two looks at them.
        open_timeout: seconds for opening a stream, the gateway's answer included.
        max_message_bytes: the largest message; larger ones go as calls of their own.
    """
    async with open_background() as nursery:
        streams = ForwardStreams(
            channels,
            nursery,
            replies,
            address=address,
            open_timeout=open_timeout,
            max_message_bytes=max_message_bytes,
        )

        async def follow() -> None:
            while True:
                await trio.sleep(follow_interval)
                streams.keep_only(gateways())
                streams.reopen()

        nursery.start_soon(follow)
        yield streams
