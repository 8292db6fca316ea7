"""A worker's deadlines and limits."""

from dataclasses import dataclass

__all__ = ["WorkerTiming", "backoff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTiming:
    """Durations in seconds. The gateway tells its own intervals when a connection is ready.

    Attributes:
        api: for one request to the worker API.
        open: from dialling the gateway to an open WebSocket.
        handshake: from the open WebSocket to GATEWAY_CONNECTION_READY.
        write: for one message to leave.
        close: for the closing handshake.
        heartbeat_misses: unanswered heartbeats before the connection is given up (a count).
        backoff_first, backoff_most: bounds of the pause before connecting again.
        stable: a connection that lived this long makes earlier failures forgotten.
        flush_after: a reply unacknowledged for this long is sent by HTTP; None means
            the gateway's interval of lease extension.
        flush_every: how often replies are looked through for that.
        reply_lifetime: a reply that could not be delivered in this time is dropped.
    """

    api: float = 5.0
    open: float = 5.0
    handshake: float = 10.0
    write: float = 5.0
    close: float = 2.0
    heartbeat_misses: int = 3
    backoff_first: float = 0.25
    backoff_most: float = 30.0
    stable: float = 10.0
    flush_after: float | None = None
    flush_every: float = 0.5
    reply_lifetime: float = 120.0


def backoff(timing: WorkerTiming, failures: int, fraction: float) -> float:
    """Seconds to pause after so many failures in a row.

    Args:
        failures: 1 or more.
        fraction: the jitter, from 0 to 1; it takes off up to half.
    """
    # The exponent is bounded so that the power stays a number.
    most = min(timing.backoff_most, timing.backoff_first * 2.0 ** min(failures - 1, 60))
    return most * (1 - fraction / 2)
