"""The gateway's side of one worker connection, without any I/O.

The machine takes events (a message arrived, a deadline passed, the gateway drains)
and returns effects (send this, store that, close). It knows which message kinds mean
what in which phase; it has no clock, no socket and no store. `connect.nursery`
performs the effects.

Rules are those of the Connect protocol, sections 3 (opening a connection) and 4
(what flows on an open connection).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from ulid import ULID

from connect.errors import MalformedMessage, Syscode
from connect.protocol import envelope
from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb

__all__ = [
    "AckReceived",
    "Close",
    "ConnectionMachine",
    "DisconnectReason",
    "Effect",
    "Effects",
    "ExtendLease",
    "GATEWAY_HEARTBEAT",
    "HeartbeatReceived",
    "Join",
    "MessageIgnored",
    "Phase",
    "ReplyReceived",
    "RouteStopped",
    "Send",
    "StatusReceived",
    "StoreStatus",
    "is_ulid",
]

Kind = pb.GatewayMessageType

# WebSocket close codes (RFC 6455, section 7.4.1).
NORMAL = 1000
GOING_AWAY = 1001
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009
INTERNAL_ERROR = 1011

# How many failed status writes in a row a connection survives, however long they take.
STORE_FAILURES_TOLERATED = 2


class DisconnectReason(StrEnum):
    """Reasons to record for a closed connection (WorkerDisconnectReason, section 2)."""

    WORKER_SHUTDOWN = "WORKER_SHUTDOWN"
    UNEXPECTED = "UNEXPECTED"
    GATEWAY_DRAINING = "GATEWAY_DRAINING"
    CONSECUTIVE_HEARTBEATS_MISSED = "CONSECUTIVE_HEARTBEATS_MISSED"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"


class Phase(IntEnum):
    """How far a connection has come. A phase only ever grows."""

    HANDSHAKING = 0  # GATEWAY_HELLO is out, WORKER_CONNECT is awaited
    JOINING = 1  # credentials are checked, the worker's groups synced
    CONNECTED = 2  # joined; WORKER_READY is awaited
    READY = 3  # takes requests
    DRAINING = 4  # takes no new requests, finishes what it has
    DISCONNECTING = 5  # a close is on its way
    CLOSED = 6


@dataclass(frozen=True, slots=True)
class Send:
    """Write this message, ahead of data that waits."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Join:
    """Authenticate the worker, sync its apps, and tell the machine how that went."""

    hello: pb.WorkerConnectRequestData


@dataclass(frozen=True, slots=True)
class HeartbeatReceived:
    """Stamp the time, store status and heartbeat, answer GATEWAY_HEARTBEAT."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The connection's stored status has to become `ConnectionMachine.status`."""


@dataclass(frozen=True, slots=True)
class RouteStopped:
    """No more forwards: those whose ack is still awaited fail."""


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The worker has the request: the waiting Forward succeeds."""

    request_id: str


@dataclass(frozen=True, slots=True)
class ExtendLease:
    """Extend the lease in the store and answer with the new lease id, or none."""

    fields: envelope.ExtendLeaseFields


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """Save the reply, tell the executor, and only then acknowledge it."""

    fields: envelope.ResponseFields
    response: bytes


@dataclass(frozen=True, slots=True)
class StatusReceived:
    """What the worker says of itself; for display."""

    status: pb.WorkerStatusData


@dataclass(frozen=True, slots=True)
class MessageIgnored:
    """A message without effect, for the log."""

    kind: int
    why: str


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection with this close frame.

    Attributes:
        disconnect: the reason to record (a WorkerDisconnectReason name or a syscode).
    """

    code: int
    reason: str
    disconnect: str


Effect = (
    Send
    | Join
    | HeartbeatReceived
    | StoreStatus
    | RouteStopped
    | AckReceived
    | ExtendLease
    | ReplyReceived
    | StatusReceived
    | MessageIgnored
    | Close
)
Effects = Sequence[Effect]

# Messages without a payload never change: built once.
_HELLO = envelope.encode_message(Kind.GATEWAY_HELLO)
_CLOSING = envelope.encode_message(Kind.GATEWAY_CLOSING)
GATEWAY_HEARTBEAT = envelope.encode_message(Kind.GATEWAY_HEARTBEAT)


def is_ulid(text: str) -> bool:
    """Whether the text is a ULID in its 26-character form."""
    try:
        ULID.from_str(text)
    except (ValueError, TypeError):
        return False
    return True


class ConnectionMachine:
    """Phases and messages of one connection.

    Every method returns the effects to perform, in order. Once a `Close` has been
    returned, no method returns another.

    Attributes:
        phase: the phase in memory; never goes back.
    """

    __slots__ = ("_draining_told", "_manual_readiness", "_store_failures", "phase")

    def __init__(self) -> None:
        self.phase = Phase.HANDSHAKING
        self._manual_readiness = False
        # False while a gateway's drain has reached memory but not yet the store.
        self._draining_told = True
        self._store_failures = 0

    @property
    def status(self) -> int:
        """The ConnectionStatus that the store should show for this connection.

        While a gateway drains, the store goes on to say what it said before, until
        `drain_over` (section 4, "Watchdog and drain"): the worker gets time to
        reconnect elsewhere.
        """
        match self.phase:
            case Phase.HANDSHAKING | Phase.JOINING | Phase.CONNECTED:
                return pb.ConnectionStatus.CONNECTED
            case Phase.READY:
                return pb.ConnectionStatus.READY
            case Phase.DRAINING:
                return (
                    pb.ConnectionStatus.DRAINING
                    if self._draining_told
                    else pb.ConnectionStatus.READY
                )
            case Phase.DISCONNECTING:
                return pb.ConnectionStatus.DISCONNECTING
            case Phase.CLOSED:
                return pb.ConnectionStatus.DISCONNECTED

    @property
    def routable(self) -> bool:
        """Whether new requests may be forwarded."""
        return self.phase is Phase.READY

    @property
    def awaits_drain_write(self) -> bool:
        """Whether a Forward should wait until DRAINING is stored before it fails."""
        return self.phase is Phase.DRAINING and not self._draining_told

    # Opening

    def opened(self, *, gateway_draining: bool) -> Effects:
        """Start the handshake on a socket that has just been accepted."""
        if gateway_draining:
            return self._close(
                GOING_AWAY, Syscode.GATEWAY_CLOSING, DisconnectReason.GATEWAY_DRAINING
            )
        return (Send(_HELLO),)

    def handshake_timed_out(self) -> Effects:
        """End a connection whose WORKER_CONNECT did not come in time."""
        if self.phase is not Phase.HANDSHAKING:
            return ()
        return self._close(POLICY_VIOLATION, Syscode.HELLO_TIMEOUT)

    def joined(self, ready: pb.GatewayConnectionReadyData) -> Effects:
        """Finish the handshake: the worker is known, its apps synced, its status stored.

        Args:
            ready: the intervals to tell the worker.
        """
        if self.phase is not Phase.JOINING:
            return ()
        self.phase = Phase.CONNECTED if self._manual_readiness else Phase.READY
        return (Send(envelope.encode_message(Kind.GATEWAY_CONNECTION_READY, bytes(ready))),)

    def join_failed(
        self, code: str, *, internal: bool = False, tell: pb.SystemError | None = None
    ) -> Effects:
        """End a handshake that the gateway refuses.

        Args:
            code: the syscode to close with.
            internal: whether the failure is ours (close code 1011) or the worker's (1008).
            tell: sent as SYNC_FAILED before the close, when the user can act on it.
        """
        effects: list[Effect] = []
        if tell is not None and self.phase is Phase.JOINING:
            effects.append(Send(envelope.encode_message(Kind.SYNC_FAILED, bytes(tell))))
        effects += self._close(INTERNAL_ERROR if internal else POLICY_VIOLATION, code)
        return effects

    # Messages

    def receive(self, data: bytes) -> Effects:
        """Take one binary WebSocket message."""
        if self.phase >= Phase.DISCONNECTING:
            return self._receive_late(data)
        try:
            kind, payload = envelope.decode_message(data)
        except MalformedMessage:
            return self.not_a_message()
        if self.phase is Phase.HANDSHAKING:
            return self._receive_hello(kind, payload)
        if self.phase is Phase.JOINING:
            return (MessageIgnored(kind, "the handshake is not finished"),)
        return self._receive_open(kind, payload)

    def not_a_message(self) -> Effects:
        """Take something that is no ConnectMessage, such as a text message."""
        return self._close(
            INVALID_DATA, "failed to unmarshal Protobuf", DisconnectReason.UNEXPECTED
        )

    def _receive_hello(self, kind: int, payload: bytes) -> Effects:
        if kind != Kind.WORKER_CONNECT:
            return self._close(POLICY_VIOLATION, Syscode.HELLO_INVALID_MESSAGE)
        try:
            hello = decode(pb.WorkerConnectRequestData, payload)
        except MalformedMessage:
            return self._close(POLICY_VIOLATION, Syscode.HELLO_INVALID_PAYLOAD)
        if not is_ulid(hello.connection_id) or not hello.instance_id or not hello.apps:
            return self._close(POLICY_VIOLATION, Syscode.HELLO_INVALID_PAYLOAD)
        self._manual_readiness = hello.worker_manual_readiness_ack
        self.phase = Phase.JOINING
        return (Join(hello),)

    def _receive_open(self, kind: int, payload: bytes) -> Effects:
        match kind:
            case Kind.WORKER_HEARTBEAT:
                return (HeartbeatReceived(),)
            case Kind.WORKER_REQUEST_ACK | Kind.WORKER_REPLY | Kind.WORKER_REQUEST_EXTEND_LEASE:
                return self._receive_work(kind, payload)
            case Kind.WORKER_READY:
                return self._receive_ready()
            case Kind.WORKER_PAUSE:
                return self._receive_pause()
            case Kind.WORKER_STATUS:
                try:
                    return (StatusReceived(decode(pb.WorkerStatusData, payload)),)
                except MalformedMessage as error:
                    return (MessageIgnored(kind, str(error)),)
            case _:
                return (MessageIgnored(kind, "unknown or unexpected kind"),)

    def _receive_work(self, kind: int, payload: bytes) -> Effects:
        try:
            match kind:
                case Kind.WORKER_REQUEST_ACK:
                    return (AckReceived(envelope.read_ack(payload).request_id),)
                case Kind.WORKER_REPLY:
                    return (ReplyReceived(envelope.read_response(payload), payload),)
                case _:
                    extend = envelope.read_extend_lease(payload)
        except MalformedMessage:
            match kind:
                case Kind.WORKER_REQUEST_ACK:
                    return self._close(POLICY_VIOLATION, Syscode.ACK_INVALID_PAYLOAD)
                case Kind.WORKER_REPLY:
                    return self._close(INTERNAL_ERROR, Syscode.INTERNAL_ERROR)
                case _:
                    return self._close(POLICY_VIOLATION, Syscode.EXTEND_LEASE_INVALID_PAYLOAD)
        if not is_ulid(extend.lease_id):
            return self._close(POLICY_VIOLATION, Syscode.EXTEND_LEASE_INVALID_PAYLOAD)
        return (ExtendLease(extend),)

    def _receive_ready(self) -> Effects:
        if self.phase is Phase.CONNECTED:
            self.phase = Phase.READY
            return (StoreStatus(),)
        if self.awaits_drain_write:
            return self._close(
                GOING_AWAY, Syscode.GATEWAY_CLOSING, DisconnectReason.GATEWAY_DRAINING
            )
        return (MessageIgnored(Kind.WORKER_READY, f"the connection is {self.phase.name}"),)

    def _receive_pause(self) -> Effects:
        if self.phase is Phase.DRAINING:
            self._draining_told = True
            return (StoreStatus(),)
        self.phase = Phase.DRAINING
        return (RouteStopped(), StoreStatus())

    def _receive_late(self, data: bytes) -> Effects:
        """Keep a reply that arrives while the connection is being closed (section 4)."""
        try:
            kind, payload = envelope.decode_message(data)
            if kind == Kind.WORKER_REPLY:
                return (ReplyReceived(envelope.read_response(payload), payload),)
        except MalformedMessage:
            pass
        return ()

    # What else happens to a connection

    def gateway_draining(self) -> Effects:
        """Start draining, because the gateway does.

        A connection that has not finished its handshake is closed. One that has is told
        GATEWAY_CLOSING; its stored status stays until `drain_over`.
        """
        match self.phase:
            case Phase.HANDSHAKING | Phase.JOINING:
                return self._close(
                    GOING_AWAY, Syscode.GATEWAY_CLOSING, DisconnectReason.GATEWAY_DRAINING
                )
            case Phase.CONNECTED:
                self.phase = Phase.DRAINING
                return (RouteStopped(), Send(_CLOSING))
            case Phase.READY:
                self.phase = Phase.DRAINING
                self._draining_told = False
                return (RouteStopped(), Send(_CLOSING))
            case Phase.DRAINING:
                return (Send(_CLOSING),)
            case _:
                return ()

    def drain_over(self) -> Effects:
        """End the gateway's drain of this connection: store DRAINING, then close."""
        if self.phase >= Phase.DISCONNECTING:
            return ()
        self._draining_told = True
        return (
            StoreStatus(),
            *self._close(GOING_AWAY, Syscode.GATEWAY_CLOSING, DisconnectReason.GATEWAY_DRAINING),
        )

    def heartbeats_missed(self) -> Effects:
        """End a connection whose worker has been silent for too long."""
        return self._close(
            POLICY_VIOLATION,
            DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED,
            DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED,
        )

    def write_stalled(self) -> Effects:
        """End a connection whose worker does not read."""
        return self._close(GOING_AWAY, "write timed out", DisconnectReason.UNEXPECTED)

    def store_answered(
        self, *, failed: bool, outage: float = 0.0, tolerated: float = 0.0
    ) -> Effects:
        """Count failed status writes; too many for too long end the connection.

        The third in a row may end it (section 4), but not before the outage has lasted
        longer than is tolerated: the worker can do nothing better with its socket.

        Args:
            outage: seconds since the first of the failures in a row began.
            tolerated: seconds that these may last.
        """
        if not failed:
            self._store_failures = 0
            return ()
        self._store_failures += 1
        if self._store_failures <= STORE_FAILURES_TOLERATED or outage <= tolerated:
            return ()
        return self._close(INTERNAL_ERROR, Syscode.INTERNAL_ERROR)

    def failed(self) -> Effects:
        """End a connection in which something unforeseen went wrong on our side."""
        return self._close(INTERNAL_ERROR, Syscode.INTERNAL_ERROR)

    def socket_closed(self, code: int | None, reason: str | None) -> str:
        """Note that the socket is closed.

        Args:
            code: the close code, if a close frame was seen.
            reason: its reason.

        Returns:
            The disconnect reason to record: the worker's own, MESSAGE_TOO_LARGE for a
            close with 1009, UNEXPECTED for an empty one.
        """
        self.phase = Phase.CLOSED
        if code == TOO_BIG:
            return DisconnectReason.MESSAGE_TOO_LARGE
        return reason or DisconnectReason.UNEXPECTED

    def _close(self, code: int, reason: str, disconnect: str | None = None) -> Effects:
        if self.phase >= Phase.DISCONNECTING:
            return ()
        stopped = (RouteStopped(),) if self.phase >= Phase.READY else ()
        self.phase = Phase.DISCONNECTING
        return (*stopped, Close(code, str(reason), disconnect or str(reason)))
