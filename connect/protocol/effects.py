"""What the connection machine asks of whoever runs it."""

from collections.abc import Sequence
from dataclasses import dataclass

from connect.protocol import envelope
from connect.protocol.lifecycle import Disconnect, Phase, PhaseReason
from connect.protocol.messages.connect import v1 as pb

__all__ = [
    "AckReceived",
    "Close",
    "Effect",
    "Effects",
    "ExtendLease",
    "HeartbeatReceived",
    "Join",
    "MessageIgnored",
    "PhaseChanged",
    "ReplyReceived",
    "RouteStopped",
    "Send",
    "StatusReceived",
    "StoreStatus",
]


@dataclass(frozen=True, slots=True)
class Send:
    """Write this message, ahead of data that waits."""

    message: bytes


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """The connection has come further; for its history. A `Close` says so by itself."""

    phase: Phase
    reason: PhaseReason


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
    """End the connection, with a close frame of its code and detail.

    Forwards whose ack is still awaited fail once DISCONNECTING is stored (section 4).
    """

    disconnect: Disconnect


Effect = (
    Send
    | PhaseChanged
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
