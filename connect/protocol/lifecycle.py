"""The life of connections as data: phases, reasons, transitions, what is shown of them.

Status names and the first five disconnect reasons are those of the Connect protocol
(section 2); the others tell apart what the protocol calls by other words or by none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

__all__ = [
    "ClosedConnection",
    "Disconnect",
    "DisconnectReason",
    "DrainProgress",
    "DrainState",
    "OpenConnection",
    "Phase",
    "PhaseReason",
    "Side",
    "Transition",
    "WorkerStatus",
    "socket_disconnect",
]

# WebSocket close codes (RFC 6455, section 7.4.1).
_PROTOCOL_ERROR = 1002
_ABNORMAL = 1006
_INVALID_DATA = 1007
_TOO_BIG = 1009


class Phase(IntEnum):
    """How far a connection has come. A phase only ever grows."""

    HANDSHAKING = 0  # GATEWAY_HELLO is out, WORKER_CONNECT is awaited
    JOINING = 1  # credentials are checked, the worker's groups synced
    CONNECTED = 2  # joined; WORKER_READY is awaited
    READY = 3  # takes requests
    DRAINING = 4  # takes no new requests, finishes what it has
    DISCONNECTING = 5  # a close is on its way, the stored state is cleaned up
    CLOSED = 6  # DISCONNECTED: nothing of it is left in the store


class PhaseReason(StrEnum):
    """What made an open connection go on to its next phase."""

    SOCKET_ACCEPTED = "SOCKET_ACCEPTED"
    WORKER_CONNECT = "WORKER_CONNECT"
    JOINED = "JOINED"
    WORKER_READY = "WORKER_READY"
    WORKER_PAUSE = "WORKER_PAUSE"
    GATEWAY_DRAINING = "GATEWAY_DRAINING"


class DisconnectReason(StrEnum):
    """Why a connection ended."""

    # Of the protocol (WorkerDisconnectReason, section 2).
    WORKER_SHUTDOWN = "WORKER_SHUTDOWN"
    UNEXPECTED = "UNEXPECTED"  # the socket is gone without a reason
    GATEWAY_DRAINING = "GATEWAY_DRAINING"
    CONSECUTIVE_HEARTBEATS_MISSED = "CONSECUTIVE_HEARTBEATS_MISSED"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"

    # Of this gateway.
    WORKER_CLOSED = "WORKER_CLOSED"  # the worker gave a reason of its own words
    HANDSHAKE_TIMEOUT = "HANDSHAKE_TIMEOUT"
    HANDSHAKE_REFUSED = "HANDSHAKE_REFUSED"
    LIMIT_REACHED = "LIMIT_REACHED"  # too many connections, or too often
    INVALID_MESSAGE = "INVALID_MESSAGE"
    WRITE_STALLED = "WRITE_STALLED"  # the worker does not read
    READER_STUCK = "READER_STUCK"  # what the worker sent could not be taken up
    REPLACED = "REPLACED"  # by a newer connection with the same id
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    REGISTRATION_UNAVAILABLE = "REGISTRATION_UNAVAILABLE"  # of apps, at an API
    INTERNAL_ERROR = "INTERNAL_ERROR"
    GATEWAY_STOPPED = "GATEWAY_STOPPED"  # without a drain, or cut short in one


class Side(StrEnum):
    """Who ended a connection."""

    GATEWAY = "gateway"
    WORKER = "worker"
    NETWORK = "network"  # no close frame was seen


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The end of a connection.

    Attributes:
        reason: the typed reason.
        detail: the words that came with it: a syscode, or what the worker gave.
        by: who ended it.
        code: the WebSocket close code; None where there was no close frame, and none
            is to be sent.
    """

    reason: DisconnectReason
    detail: str = ""
    by: Side = Side.GATEWAY
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A phase that a connection went into.

    Attributes:
        at: unix time in seconds.
    """

    phase: Phase
    at: float
    reason: PhaseReason | DisconnectReason


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """What a worker has last said of itself by WORKER_STATUS (Connect protocol, section 4).

    Attributes:
        at: when, in unix seconds.
        request_ids: of the requests that it runs; some of them, if they are many or long.
        in_flight: how many they are.
        shutdown_requested: whether it is about to leave.
    """

    at: float
    request_ids: Sequence[str]
    in_flight: int
    shutdown_requested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenConnection:
    """What a gateway shows of a connection that is open.

    Attributes:
        id: the connection id; "" before WORKER_CONNECT.
        status: name of the ConnectionStatus that the store should show.
        heartbeat_age: seconds since the last heartbeat, or since the socket was accepted.
        in_flight: requests that the worker has acked and not replied to.
        transitions: every phase so far, in order.
        worker_status: None until the worker has sent one.
    """

    id: str
    instance_id: str
    apps: Sequence[str]
    sdk: str
    phase: Phase
    status: str
    heartbeat_age: float
    in_flight: int
    transitions: Sequence[Transition]
    worker_status: WorkerStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedConnection:
    """What a gateway keeps of a connection that has ended.

    Attributes:
        in_flight: requests that the worker had acked and not replied to over this connection;
            it may do so over its next one.
        transitions: every phase, in order: the first when the socket was accepted, the
            last when nothing of it was left in the store.
    """

    id: str
    instance_id: str
    apps: Sequence[str]
    sdk: str
    disconnect: Disconnect
    in_flight: int
    transitions: Sequence[Transition]


class DrainState(StrEnum):
    """What has become of a gateway's drain."""

    DRAINING = "draining"
    DRAINED = "drained"  # every connection is gone
    GIVEN_UP = "given_up"  # its time is over, and there are connections left


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainProgress:
    """How far a gateway's drain has come.

    Attributes:
        over: whether it waits no longer.
        total: connections when it began.
        told: how many have been sent GATEWAY_CLOSING.
        left: how many are gone, closed by their workers or by the gateway.
        closed: how many of these the gateway has closed.
        open: connections that are still open.
        in_flight: requests that their workers still run.
        replies_kept: replies that wait for the state store.
        seconds: since it began, or that it took.
        seconds_left: until it waits no longer, whatever is left.
    """

    over: bool
    total: int
    told: int
    left: int
    closed: int
    open: int
    in_flight: int
    replies_kept: int
    seconds: float
    seconds_left: float

    @property
    def state(self) -> DrainState:
        """What has become of the drain so far."""
        if not self.over:
            return DrainState.DRAINING
        return DrainState.GIVEN_UP if self.open else DrainState.DRAINED


# What a worker may give as its reason, and be taken at its word.
_OF_WORKERS = {
    str(reason): reason
    for reason in (
        DisconnectReason.WORKER_SHUTDOWN,
        DisconnectReason.UNEXPECTED,
        DisconnectReason.GATEWAY_DRAINING,
        DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED,
        DisconnectReason.MESSAGE_TOO_LARGE,
    )
}


def socket_disconnect(code: int | None, reason: str | None) -> Disconnect:
    """Say what the close of a socket means that the gateway has not asked for.

    The worker's reason is recorded as given, an empty one as UNEXPECTED (section 4). The
    WebSocket library closes by itself what is too large or breaks the WebSocket protocol.

    Args:
        code: the close code, if a close frame was seen.
        reason: its reason.
    """
    detail = reason or ""
    if code is None or code == _ABNORMAL:
        return Disconnect(DisconnectReason.UNEXPECTED, detail, Side.NETWORK)
    if code == _TOO_BIG:
        return Disconnect(DisconnectReason.MESSAGE_TOO_LARGE, detail, Side.GATEWAY, code)
    if code in (_PROTOCOL_ERROR, _INVALID_DATA):
        return Disconnect(DisconnectReason.INVALID_MESSAGE, detail, Side.GATEWAY, code)
    if not detail:
        return Disconnect(DisconnectReason.UNEXPECTED, "", Side.WORKER, code)
    known = _OF_WORKERS.get(detail, DisconnectReason.WORKER_CLOSED)
    return Disconnect(known, detail, Side.WORKER, code)
