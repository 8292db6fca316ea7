"""A worker's deadlines and limits."""

from dataclasses import dataclass

__all__ = ["WorkerLimits", "WorkerTiming", "backoff"]


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
        backoff_first: bound of the pause after one failed attempt to connect; it doubles
            with each further one, and the pause is drawn from all below it.
        backoff_most: what that bound grows to.
        retry_after_most: as much of the time that the API asks to wait before the next
            attempt, or a gateway before the next one there, is waited; the pause of above
            comes on top of it.
        stable: a connection that lived this long makes earlier failures forgotten.
        exclude: a gateway group that failed is avoided for this long.
        flush_after: a reply unacknowledged for this long is sent by HTTP; None means
            the gateway's interval of lease extension.
        flush_first, flush_most: bounds of the pause after a reply could not be sent by
            HTTP either, as those for connecting.
        reply_lifetime: a reply that could not be delivered in this time is dropped.
    """

    api: float = 5.0
    open: float = 5.0
    handshake: float = 10.0
    write: float = 5.0
    close: float = 2.0
    heartbeat_misses: int = 3
    backoff_first: float = 0.5
    backoff_most: float = 30.0
    retry_after_most: float = 60.0
    stable: float = 10.0
    exclude: float = 60.0
    flush_after: float | None = None
    flush_first: float = 0.5
    flush_most: float = 10.0
    reply_lifetime: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """Bounds on what a worker holds.

    Attributes:
        requests: requests in flight and replies unconfirmed, together; a worker that has
            as many stays silent to further requests, so that others get them.
        reply_bytes: of unconfirmed replies; with more, the oldest give way.
        message_bytes: the largest message that is sent, envelope and all; a function whose
            result makes a larger one fails. Gateways close connections over what they find
            too large; a function fails that made a reply which the API then refuses, too.
    """

    requests: int = 10_000
    reply_bytes: int = 64 * 1024 * 1024
    message_bytes: int = 8 * 1024 * 1024


def backoff(first: float, most: float, failures: int, fraction: float) -> float:
    """Seconds to pause after so many failures in a row: exponential, with full jitter.

    Args:
        first, most: the bound after one failure, and what it may grow to, in seconds.
        failures: 1 or more.
        fraction: the jitter, from 0 to 1: the part of the bound that is waited.
    """
    # The exponent is bounded so that the power stays a number.
    return fraction * min(most, first * 2.0 ** min(failures - 1, 60))
