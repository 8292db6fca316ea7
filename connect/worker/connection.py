"""One WebSocket connection to a gateway, from the worker's side.

Connect protocol, sections 3 and 4. Reader and heartbeats live in one nursery under one
cancel scope; whoever ends the connection says why, and the first reason counts.
"""

from dataclasses import dataclass
from enum import StrEnum

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.utilities import LocalProtocolError

from connect.errors import MalformedMessage, Syscode
from connect.protocol.codec import decode
from connect.protocol.durations import parse_duration
from connect.protocol.envelope import decode_message, encode_message, read_ack
from connect.protocol.messages.connect import v1 as pb
from connect.worker.errors import ConnectionFailed, WorkerError
from connect.worker.journal import Happening, Journal, JournalEntry
from connect.worker.refusal import asked_in_data
from connect.worker.request import read_request
from connect.worker.timing import WorkerTiming
from connect.worker.work import Work

__all__ = ["Connection", "DisconnectReason"]

Kind = pb.GatewayMessageType

# By these the gateway says that this worker would fail in the same way again.
_HOPELESS = frozenset(
    {
        Syscode.HELLO_INVALID_PAYLOAD,
        Syscode.TOO_MANY_APPS,
        Syscode.TOO_MANY_FUNCTIONS,
        Syscode.INVALID_FUNCTION_CONFIG,
    }
)

# And by these that it may come in later; so may whoever is told when.
_LATER = frozenset({Syscode.ACCOUNT_FULL, Syscode.RECONNECTING_TOO_OFTEN})


class DisconnectReason(StrEnum):
    """Why a worker closes a connection; travels as the close reason (WorkerDisconnectReason)."""

    WORKER_SHUTDOWN = "WORKER_SHUTDOWN"
    GATEWAY_DRAINING = "GATEWAY_DRAINING"
    CONSECUTIVE_HEARTBEATS_MISSED = "CONSECUTIVE_HEARTBEATS_MISSED"


@dataclass(frozen=True, slots=True)
class _Intervals:
    """What the gateway told in GATEWAY_CONNECTION_READY; seconds, 0 meaning off."""

    heartbeat: float
    extend_lease: float
    status: float


class Connection:
    """A connection: `open` it, then `run` it.

    Args:
        socket: an open WebSocket; it is closed by `run`.
        connection_id: from the worker API.
        gateway_group: the group of its gateway.
        work: told of requests, of answers, and when the connection ends.

    Attributes:
        leaving: set when another connection is needed: the gateway is closing or
            suspected, or this connection has ended. A suspected gateway that answers
            leaves another event here.
        closing: the gateway has announced that it is closing.
        suspected: the gateway owes the answer to a lease extension for longer than there
            may be time for; another one is to be asked before the lease is over.
    """

    def __init__(
        self,
        socket: WebSocketConnection,
        *,
        connection_id: str,
        gateway_group: str,
        work: Work,
        timing: WorkerTiming,
        journal: Journal,
    ) -> None:
        self._socket = socket
        self._id = connection_id
        self.gateway_group = gateway_group
        self._work = work
        self._timing = timing
        self._journal = journal
        self._intervals = _Intervals(0, 0, 0)
        self._unanswered: list[float] = []
        self._scope = trio.CancelScope()
        self._end_reason: str | None = None
        self._close_reason: DisconnectReason | None = None
        self._writing = trio.Lock()
        self._torn = False
        self._pausing = False
        self.leaving = trio.Event()
        self.closing = False
        self.suspected = False

    @property
    def id(self) -> str:
        return self._id

    @property
    def ended(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._end_reason is not None

    @property
    def extend_lease_interval(self) -> float:
        """Seconds between lease extensions, as the gateway told; 0 if off."""
        return self._intervals.extend_lease

    async def open(self, hello: pb.WorkerConnectRequestData) -> None:
        """Introduce the worker, and wait until the gateway is ready for it.

        Cancellation leaves the socket open; its owner closes it.

        Raises:
            WorkerError: the gateway refuses this worker's functions or what it says.
            ConnectionFailed: anything else went wrong; another attempt may succeed, after
                the time that the gateway told if it told any.
        """
        with trio.move_on_after(self._timing.handshake):
            while True:
                kind, payload = await self._receive()
                if kind == Kind.GATEWAY_HELLO:
                    await self.send(Kind.WORKER_CONNECT, bytes(hello))
                elif kind == Kind.GATEWAY_CONNECTION_READY:
                    self._intervals = self._read_intervals(payload)
                    return
                elif kind == Kind.SYNC_FAILED:
                    raise self._refusal(payload)
                elif kind == Kind.GATEWAY_CLOSING:
                    raise self._failure("the gateway is closing")
                else:
                    self._ignore(kind, "during the handshake")
        raise self._failure(f"not ready within {self._timing.handshake:g} s")

    async def run(self) -> None:
        """Serve the connection until it ends, then close the socket.

        Where neither side meant to end it, and where a message was cut, nothing is said any
        more: its owner drops it.

        Cancellation closes it too, as a shutdown, within the deadline for closing.
        """
        self._note(Happening.CONNECTED, self.gateway_group)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._keep_alive)
                    await self._read()
        finally:
            if not self.ended:
                self._close_reason = DisconnectReason.WORKER_SHUTDOWN
                self._end("cancelled")
            if self._close_reason is not None and not self._torn:
                with trio.move_on_after(self._timing.close, shield=True):
                    await self._socket.aclose(1000, self._close_reason.value)
            self._note(Happening.DISCONNECTED, self._end_reason or "")

    async def send(self, kind: int, payload: bytes = b"") -> bool:
        """Write a message.

        Cancellation does not interrupt it: half a message would ruin the connection. A
        gateway that does not take it within the deadline for writing is given up.

        Returns:
            False when the connection has ended, before or thereby.
        """
        if self.ended:
            return False
        with trio.move_on_after(self._timing.write, shield=True):
            async with self._writing:
                return await self._write(encode_message(kind, payload))
        self._end(f"the gateway took no message for {self._timing.write:g} s")
        return False

    async def _write(self, message: bytes) -> bool:
        """As `send`; a message that was cut is the last."""
        if self.ended or self._torn:
            return False
        try:
            await self._socket.send_message(message)
        except (ConnectionClosed, LocalProtocolError):
            self._end(self._why_closed())
            return False
        except trio.Cancelled:
            # What came after it would be taken for its end.
            self._torn = True
            raise
        return True

    async def pause(self) -> None:
        """Tell the gateway to send no more requests."""
        self._pausing = True
        await self.send(Kind.WORKER_PAUSE)

    def close(self, reason: DisconnectReason) -> None:
        """End the connection of our own will, with code 1000 and this reason."""
        if not self.ended:
            self._close_reason = reason
            self._end(f"closed: {reason}")

    def suspect(self) -> None:
        """Seek another connection; this one serves where there is none."""
        if not self.suspected and not self.ended:
            self.suspected = True
            self.leaving.set()
            self._note(Happening.GATEWAY_SUSPECTED, "it does not answer for leases")
            self._work.link_changed()

    def _trust(self) -> None:
        """The gateway answers for leases."""
        if self.suspected:
            self.suspected = False
            if not self.closing and not self.ended:
                self.leaving = trio.Event()
            self._work.link_changed()

    async def _receive(self) -> tuple[int, bytes]:
        """The next message of the handshake."""
        try:
            data = await self._socket.get_message()
        except ConnectionClosed:
            closed = self._socket.closed
            code = "" if closed is None else closed.reason or ""
            if code in _HOPELESS:
                raise WorkerError("the gateway refuses this worker", code=code) from None
            raise self._failure(self._why_closed()) from None
        try:
            return _decode(data)
        except MalformedMessage as error:
            raise self._failure(str(error)) from error

    def _refusal(self, payload: bytes) -> WorkerError | ConnectionFailed:
        try:
            error = decode(pb.SystemError, payload)
        except MalformedMessage as malformed:
            return WorkerError(
                f"the gateway refuses the functions, and gives no reason: {malformed}"
            )
        asked = asked_in_data(error.data or b"")
        if error.code in _LATER or asked is not None:
            reason = f"the gateway refuses for now: {error.message} ({error.code})"
            return self._failure(reason, retry_after=asked)
        return WorkerError(f"the gateway refuses the functions: {error.message}", code=error.code)

    def _failure(self, reason: str, *, retry_after: float | None = None) -> ConnectionFailed:
        return ConnectionFailed(reason, gateway_group=self.gateway_group, retry_after=retry_after)

    def _read_intervals(self, payload: bytes) -> _Intervals:
        try:
            ready = decode(pb.GatewayConnectionReadyData, payload)
            return _Intervals(
                heartbeat=parse_duration(ready.heartbeat_interval or "0"),
                extend_lease=parse_duration(ready.extend_lease_interval or "0"),
                status=parse_duration(ready.status_interval or "0"),
            )
        except (MalformedMessage, ValueError) as error:
            raise self._failure(f"the gateway told no intervals: {error}") from error

    async def _read(self) -> None:
        while True:
            try:
                data = await self._socket.get_message()
            except ConnectionClosed:
                self._end(self._why_closed())
                return
            try:
                self._dispatch(*_decode(data))
            except MalformedMessage as error:
                self._note(Happening.MESSAGE_IGNORED, str(error))

    def _dispatch(self, kind: int, payload: bytes) -> None:
        if kind == Kind.GATEWAY_EXECUTOR_REQUEST:
            self._work.accept(self, read_request(payload))
        elif kind == Kind.WORKER_REQUEST_EXTEND_LEASE_ACK:
            self._trust()
            self._work.leases.answered(self, decode(pb.WorkerRequestExtendLeaseAckData, payload))
        elif kind == Kind.WORKER_REPLY_ACK:
            # Its only field is that of an acknowledgement.
            self._work.delivery.confirmed(read_ack(payload).request_id)
        elif kind == Kind.GATEWAY_HEARTBEAT:
            self._unanswered.clear()
        elif kind == Kind.GATEWAY_CLOSING:
            if not self.closing:
                self.closing = True
                self.leaving.set()
                self._note(Happening.GATEWAY_CLOSING)
        else:
            self._ignore(kind, "on an open connection")

    async def _keep_alive(self) -> None:
        """Beat and tell the status, each once per interval, after the first; 0 is never."""
        told = (
            (self._intervals.heartbeat, self._beat),
            (self._intervals.status, self._tell_status),
        )
        acts = {act: interval for interval, act in told if interval > 0}
        due = {act: trio.current_time() + interval for act, interval in acts.items()}
        while due:
            act = min(due, key=due.__getitem__)
            await trio.sleep_until(due[act])
            due[act] = trio.current_time() + acts[act]
            await act()

    async def _beat(self) -> None:
        missed = len(self._unanswered)
        if missed >= self._timing.heartbeat_misses:
            self._close_reason = DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED
            self._end(f"the gateway left {missed} heartbeats unanswered")
            return
        self._unanswered.append(trio.current_time())
        await self.send(Kind.WORKER_HEARTBEAT)

    async def _tell_status(self) -> None:
        status = pb.WorkerStatusData(
            in_flight_request_ids=list(self._work.request_ids), shutdown_requested=self._pausing
        )
        await self.send(Kind.WORKER_STATUS, bytes(status))

    def _why_closed(self) -> str:
        closed = self._socket.closed
        if closed is None:
            return "the connection is gone"
        return f"closed by the gateway: {closed.code} {closed.reason or ''}".rstrip()

    def _end(self, reason: str) -> None:
        if self._end_reason is None:
            self._end_reason = reason
            self.leaving.set()
            self._scope.cancel()
            self._work.link_changed()

    def _ignore(self, kind: int, when: str) -> None:
        self._note(Happening.MESSAGE_IGNORED, f"kind {kind} {when}")

    def _note(self, what: Happening, detail: str = "") -> None:
        self._journal(JournalEntry(what=what, connection_id=self._id, detail=detail))


def _decode(data: str | bytes) -> tuple[int, bytes]:
    if isinstance(data, str):
        raise MalformedMessage("ConnectMessage", "a text message")
    return decode_message(data)
