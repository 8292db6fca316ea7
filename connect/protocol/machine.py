"""The gateway's side of one worker connection, without any I/O.

The machine takes events (a message arrived, a deadline passed, the gateway drains)
and returns effects (send this, store that, close). It knows which message kinds mean
what in which phase; it has no clock, no socket and no store. `connect.nursery`
performs the effects.

Rules are those of the Connect protocol, sections 3 (opening a connection) and 4
(what flows on an open connection).
"""

from dataclasses import replace

from ulid import ULID

from connect.errors import MalformedMessage, Syscode
from connect.protocol import envelope
from connect.protocol.codec import decode
from connect.protocol.effects import (
    AckReceived,
    Close,
    Effect,
    Effects,
    ExtendLease,
    HeartbeatReceived,
    Join,
    MessageIgnored,
    PhaseChanged,
    ReplyReceived,
    RouteStopped,
    Send,
    StatusReceived,
    StoreStatus,
)
from connect.protocol.hello import read_hello
from connect.protocol.lifecycle import (
    Disconnect,
    DisconnectReason,
    Phase,
    PhaseReason,
    Side,
    socket_disconnect,
)
from connect.protocol.messages.connect import v1 as pb
from connect.settings import Limits

__all__ = [
    "AckReceived",
    "Close",
    "ConnectionMachine",
    "Disconnect",
    "DisconnectReason",
    "Effect",
    "Effects",
    "ExtendLease",
    "GATEWAY_HEARTBEAT",
    "HeartbeatReceived",
    "Join",
    "MessageIgnored",
    "Phase",
    "PhaseChanged",
    "PhaseReason",
    "ReplyReceived",
    "RouteStopped",
    "Send",
    "Side",
    "StatusReceived",
    "StoreStatus",
    "is_ulid",
]

Kind = pb.GatewayMessageType

# WebSocket close codes (RFC 6455, section 7.4.1).
GOING_AWAY = 1001
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013  # registered later, by IANA

# Those of a worker with which nothing is wrong: normal closure, going away, none given.
_IN_ORDER = frozenset({1000, GOING_AWAY, 1005})

# How many failed status writes in a row a connection survives, however long they take.
STORE_FAILURES_TOLERATED = 2

# A worker's status names each request that it runs.
_MOST_STATUS_FIELDS = 10_000

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

    Args:
        most_apps: how many apps a worker can be allowed; of more, one is read beyond that.

    Attributes:
        phase: the phase in memory; never goes back.
    """

    __slots__ = (
        "_gateway_drains", "_manual_readiness", "_most_apps", "_shown", "_store_failures", "phase",
    )  # fmt: skip

    def __init__(self, *, most_apps: int = Limits().apps_hard_cap) -> None:
        self.phase = Phase.HANDSHAKING
        self._most_apps = most_apps
        self._manual_readiness = False
        self._gateway_drains = False
        # The status that the store goes on to show while a drain has reached memory only.
        self._shown: pb.ConnectionStatus | None = None
        self._store_failures = 0

    @property
    def status(self) -> int:
        """The ConnectionStatus that the store should show for this connection.

        While a gateway drains, the store goes on to say what it said before, until
        `hand_over` or `drain_over` (section 4, "Watchdog and drain"): the worker gets
        time to reconnect elsewhere.
        """
        match self.phase:
            case Phase.HANDSHAKING | Phase.JOINING | Phase.CONNECTED:
                return pb.ConnectionStatus.CONNECTED
            case Phase.READY:
                return pb.ConnectionStatus.READY
            case Phase.DRAINING:
                return pb.ConnectionStatus.DRAINING if self._shown is None else self._shown
            case Phase.DISCONNECTING:
                return pb.ConnectionStatus.DISCONNECTING
            case Phase.CLOSED:
                return pb.ConnectionStatus.DISCONNECTED

    @property
    def routable(self) -> bool:
        """Whether new requests may be forwarded."""
        return self.phase is Phase.READY

    @property
    def gateway_drains(self) -> bool:
        """Whether the worker has been told to leave, because the gateway drains."""
        return self._gateway_drains

    @property
    def awaits_drain_write(self) -> bool:
        """Whether a Forward should wait until DRAINING is stored before it fails."""
        return self.phase is Phase.DRAINING and self._gateway_drains

    # Opening

    def opened(self, *, gateway_draining: bool) -> Effects:
        """Start the handshake on a socket that has just been accepted."""
        if gateway_draining:
            return self._close_for_drain()
        return (Send(_HELLO),)

    def handshake_timed_out(self) -> Effects:
        """End a connection whose WORKER_CONNECT did not come in time."""
        if self.phase is not Phase.HANDSHAKING:
            return ()
        return self._close(
            POLICY_VIOLATION, Syscode.HELLO_TIMEOUT, DisconnectReason.HANDSHAKE_TIMEOUT
        )

    def join_timed_out(self) -> Effects:
        """End a connection whose worker could not be joined in time; that is our side's doing."""
        if self.phase is not Phase.JOINING:
            return ()
        return self._close(
            INTERNAL_ERROR, Syscode.INTERNAL_ERROR, DisconnectReason.HANDSHAKE_TIMEOUT
        )

    def joined(self, ready: pb.GatewayConnectionReadyData) -> Effects:
        """Finish the handshake: the worker is known, its apps synced, its status stored.

        Args:
            ready: the intervals to tell the worker.
        """
        if self.phase is not Phase.JOINING:
            return ()
        phase = Phase.CONNECTED if self._manual_readiness else Phase.READY
        return (
            self._advance(phase, PhaseReason.JOINED),
            Send(envelope.encode_message(Kind.GATEWAY_CONNECTION_READY, bytes(ready))),
        )

    def join_refused(self, code: str, *, tell: pb.SystemError | None = None) -> Effects:
        """End a handshake that the gateway refuses.

        Args:
            code: the syscode to close with.
            tell: sent as SYNC_FAILED before the close, when the user can act on it.
        """
        effects: list[Effect] = []
        if tell is not None and self.phase is Phase.JOINING:
            effects.append(Send(envelope.encode_message(Kind.SYNC_FAILED, bytes(tell))))
        effects += self._close(POLICY_VIOLATION, code, DisconnectReason.HANDSHAKE_REFUSED)
        return effects

    def join_failed(self, reason: DisconnectReason) -> Effects:
        """End a handshake that fails on our side; the worker learns no more than that.

        Args:
            reason: what to record.
        """
        return self._close(INTERNAL_ERROR, Syscode.INTERNAL_ERROR, reason)

    def limit_reached(self, code: str, *, tell: pb.SystemError) -> Effects:
        """End a handshake because of a limit: the worker may try again later.

        Args:
            code: the syscode to close with.
            tell: the reason and a hint when to come again. It is sent as SYNC_FAILED, by which
                every SDK fails the attempt and makes another; of close reasons, some give
                up at those they don't know.
        """
        if self.phase is not Phase.JOINING:
            return ()
        told = Send(envelope.encode_message(Kind.SYNC_FAILED, bytes(tell)))
        return (told, *self._close(TRY_AGAIN_LATER, code, DisconnectReason.LIMIT_REACHED))

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
            INVALID_DATA, "failed to unmarshal Protobuf", DisconnectReason.INVALID_MESSAGE
        )

    def _receive_hello(self, kind: int, payload: bytes) -> Effects:
        if kind != Kind.WORKER_CONNECT:
            return self._refuse_hello(Syscode.HELLO_INVALID_MESSAGE)
        try:
            hello = read_hello(payload, self._most_apps)
        except MalformedMessage as error:
            # The syscode alone would not tell the operator what is wrong.
            why = MessageIgnored(kind, str(error))
            return (why, *self._refuse_hello(Syscode.HELLO_INVALID_PAYLOAD))
        if not is_ulid(hello.connection_id) or not hello.instance_id or not hello.apps:
            return self._refuse_hello(Syscode.HELLO_INVALID_PAYLOAD)
        self._manual_readiness = hello.worker_manual_readiness_ack
        return (self._advance(Phase.JOINING, PhaseReason.WORKER_CONNECT), Join(hello))

    def _refuse_hello(self, code: Syscode) -> Effects:
        return self._close(POLICY_VIOLATION, code, DisconnectReason.HANDSHAKE_REFUSED)

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
                    status = decode(pb.WorkerStatusData, payload, most_fields=_MOST_STATUS_FIELDS)
                    return (StatusReceived(status),)
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
                    return self._refuse_work(POLICY_VIOLATION, Syscode.ACK_INVALID_PAYLOAD)
                case Kind.WORKER_REPLY:
                    return self._refuse_work(INTERNAL_ERROR, Syscode.INTERNAL_ERROR)
                case _:
                    return self._refuse_work(POLICY_VIOLATION, Syscode.EXTEND_LEASE_INVALID_PAYLOAD)
        if not is_ulid(extend.lease_id):
            return self._refuse_work(POLICY_VIOLATION, Syscode.EXTEND_LEASE_INVALID_PAYLOAD)
        return (ExtendLease(extend),)

    def _refuse_work(self, code: int, syscode: Syscode) -> Effects:
        return self._close(code, syscode, DisconnectReason.INVALID_MESSAGE)

    def _receive_ready(self) -> Effects:
        if self.phase is Phase.CONNECTED:
            return (self._advance(Phase.READY, PhaseReason.WORKER_READY), StoreStatus())
        if self._gateway_drains:
            return self._close_for_drain()
        return (MessageIgnored(Kind.WORKER_READY, f"the connection is {self.phase.name}"),)

    def _receive_pause(self) -> Effects:
        if self.phase is Phase.DRAINING:
            self._shown = None
            return (StoreStatus(),)
        moved = self._advance(Phase.DRAINING, PhaseReason.WORKER_PAUSE)
        return (moved, RouteStopped(), StoreStatus())

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
        GATEWAY_CLOSING; its stored status stays until `hand_over` or `drain_over`.
        """
        match self.phase:
            case Phase.HANDSHAKING | Phase.JOINING:
                return self._close_for_drain()
            case Phase.CONNECTED | Phase.READY:
                self._gateway_drains = True
                self._shown = pb.ConnectionStatus(self.status)
                moved = self._advance(Phase.DRAINING, PhaseReason.GATEWAY_DRAINING)
                return (moved, Send(_CLOSING))
            case Phase.DRAINING:
                self._gateway_drains = True
                return (Send(_CLOSING),)
            case _:
                return ()

    def hand_over(self) -> Effects:
        """Let the store say DRAINING: the worker has had time to reconnect elsewhere."""
        if self.phase is not Phase.DRAINING:
            return ()
        self._shown = None
        return (StoreStatus(),)

    def drain_over(self) -> Effects:
        """End the gateway's drain of this connection, whose DRAINING is stored: close it."""
        return self._close_for_drain()

    def heartbeats_missed(self) -> Effects:
        """End a connection whose worker has been silent for too long."""
        return self._close(
            POLICY_VIOLATION,
            str(DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED),
            DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED,
        )

    def write_stalled(self) -> Effects:
        """End a connection whose worker does not read."""
        return self._close(GOING_AWAY, "write timed out", DisconnectReason.WRITE_STALLED)

    def reader_stuck(self) -> Effects:
        """End a connection from which nothing more can be taken up; that is our side's doing."""
        return self._close(INTERNAL_ERROR, Syscode.INTERNAL_ERROR, DisconnectReason.READER_STUCK)

    def replaced(self) -> Effects:
        """End a connection whose worker has dialled again with the same id."""
        return self._close(
            POLICY_VIOLATION, "replaced by a newer connection", DisconnectReason.REPLACED
        )

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
        return self._close(
            INTERNAL_ERROR, Syscode.INTERNAL_ERROR, DisconnectReason.STORE_UNAVAILABLE
        )

    def failed(self) -> Effects:
        """End a connection in which something unforeseen went wrong on our side."""
        return self._close(INTERNAL_ERROR, Syscode.INTERNAL_ERROR, DisconnectReason.INTERNAL_ERROR)

    def socket_closed(self, code: int | None, reason: str | None) -> Disconnect:
        """Note that the socket is closed.

        Args:
            code: the close code, if a close frame was seen.
            reason: its reason.

        Returns:
            What to record; see `socket_disconnect`. A worker that was told to leave, and leaves in
            order, need not say why: the official SDK does not.
        """
        self.phase = Phase.CLOSED
        end = socket_disconnect(code, reason)
        if self._gateway_drains and code in _IN_ORDER and not end.detail:
            return replace(end, reason=DisconnectReason.GATEWAY_DRAINING)
        return end

    def _advance(self, phase: Phase, reason: PhaseReason) -> PhaseChanged:
        self.phase = phase
        return PhaseChanged(phase, reason)

    def _close_for_drain(self) -> Effects:
        return self._close(GOING_AWAY, Syscode.GATEWAY_CLOSING, DisconnectReason.GATEWAY_DRAINING)

    def _close(self, code: int, detail: str, reason: DisconnectReason) -> Effects:
        if self.phase >= Phase.DISCONNECTING:
            return ()
        self.phase = Phase.DISCONNECTING
        return (Close(Disconnect(reason, str(detail), Side.GATEWAY, code)),)
