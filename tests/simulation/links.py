"""When connections may end, when they must, and where their workers go next."""

from collections.abc import Iterator

from connect.protocol.lifecycle import DisconnectReason, Side
from connect.settings import Timing
from connect.worker.timing import WorkerTiming
from tests.simulation.connections import (
    ConnectionEnded,
    ConnectionOpened,
    DialFailed,
    Dialled,
    Told,
)
from tests.simulation.facts import Facts
from tests.simulation.history import NodeStopped, NodeStopping
from tests.simulation.store import HOST
from tests.simulation.trouble import is_disturbed, of_redis

__all__ = [
    "causeless_ends",
    "dials_of_lost_gateways",
    "early_departures",
    "silent_connections",
]

_TIMING = Timing()
_WORKER = WorkerTiming()

_INTERVAL = _TIMING.worker_heartbeat
_SILENCE = _TIMING.heartbeat_misses * _INTERVAL

# What an end of a connection may not have noticed ends with the heartbeats, and then its peer has
# yet to learn of it. Seconds from the end of a fault.
_UNNOTICED = 60.0

# Of gateways' ends the moment is known to the millisecond.
_MOMENT = 0.01

# A worker that has not joined holds a connection for so long at most, in seconds.
_HANDSHAKE = _TIMING.handshake + _TIMING.join

# After the drain that had a worker leave, its old connection may last; so much of
# `WorkerTiming.exclude` is left in any case, in seconds.
_AVOIDED = _WORKER.exclude - _TIMING.drain - 5.0

# By then all gateways have been started, and are known. Seconds since the run began.
_FOUND = 3.0

# How long before it is counted on a gateway must have been well, in seconds.
_WELL = 60.0

# What Redis may have a gateway do: what it cannot store it cannot take up.
_OF_REDIS = (DisconnectReason.STORE_UNAVAILABLE, DisconnectReason.READER_STUCK)

# How a worker tells that it has closed a connection that it still had.
_OF_ITS_OWN_WILL = "closed:"

# How a worker tells that its gateway has sent a close frame.
_BY_THE_GATEWAY = "closed by the gateway:"

Findings = Iterator[tuple[float, str]]


def causeless_ends(facts: Facts) -> Findings:
    """A connection lasts until one of its ends stops, or a fault is at one of them, or between.

    Without Redis for `Timing.store_outage`, a gateway cannot vouch for it any more. And a worker
    leaves a gateway that does not answer for leases: for which this needs Redis, or executors.
    A worker need not know why its gateway has closed a connection: the gateway's own end is judged.
    """
    opened = {e.connection: e.at for e in facts.events if isinstance(e, ConnectionOpened)}
    by_gateway = {e.connection for e in _ends(facts) if e.by is Side.GATEWAY}
    for event in _ends(facts):
        if event.reason.startswith(_BY_THE_GATEWAY) and event.connection in by_gateway:
            continue
        since = opened.get(event.connection, event.at - _HANDSHAKE)
        if _stopped(facts, (event.worker, event.gateway), since, event.at + _MOMENT):
            continue
        span = (event.at - _UNNOTICED, event.at + _MOMENT)
        if is_disturbed(facts, span, (event.worker, event.gateway)):
            continue
        outage = (event.at - _TIMING.store_outage - _UNNOTICED, event.at)
        if any(reason in event.reason for reason in _OF_REDIS) and (
            of_redis(facts, *outage) or is_disturbed(facts, outage, (event.gateway, HOST))
        ):
            continue
        # It is left once its work is done, which may take long.
        if _is_suspicion(event) and _holds_up_leases(facts, event.gateway, since, event.at):
            continue
        yield event.at, f"{_name(event)} ended for no reason: {event.reason}"


def _is_suspicion(event: ConnectionEnded) -> bool:
    """Whether a worker has left a gateway that it suspects to be cut off from the others."""
    missed = DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED
    if event.told is Told.WORKER:
        return event.reason == f"{_OF_ITS_OWN_WILL} {missed}"
    return event.by is Side.WORKER and event.reason == missed


def _holds_up_leases(facts: Facts, gateway: str, since: float, until: float) -> bool:
    """Whether Redis, an executor, or a gateway's way to them was in trouble within a span."""
    executors = {place for fault in facts.faults for place in fault.places if place[:3] == "ex-"}
    ways = ((gateway, other) for other in (HOST, *sorted(executors)))
    return of_redis(facts, since, until) or is_disturbed(facts, (since, until), *ways)


def silent_connections(facts: Facts) -> Findings:
    """A gateway ends a connection of which nothing comes: not before its time, and not long after.

    While a gateway stands still it reads nothing; and then it gives workers an interval longer.
    """
    for event in _ends(facts):
        if event.told is not Told.GATEWAY:
            continue
        for since, until in (event.quiet, (event.heard, event.at)):
            silent = until - since
            if silent - _stood_still(facts, event.gateway, since, until) > _SILENCE + _INTERVAL:
                yield until, f"{_name(event)} was silent for {silent:.1f} s, and stayed"
        missed = event.reason == DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED
        silent = event.at - (event.heard if event.heard <= event.at else event.quiet[0])
        if missed and event.by is Side.GATEWAY and silent < _SILENCE - _INTERVAL:
            yield event.at, f"{_name(event)} ended as silent, and was so for {silent:.1f} s"


def _stood_still(facts: Facts, gateway: str, since: float, until: float) -> float:
    """Return for how long a gateway ran nothing within a span, with what it adds for it."""
    return sum(
        min(pause.until, until) - max(pause.at, since) + _INTERVAL
        for pause in facts.pauses
        if pause.node == gateway and since <= pause.until and pause.at <= until
    )


def early_departures(facts: Facts) -> Findings:
    """A worker leaves a gateway of its own will when it has done what came from there."""
    for event in _ends(facts):
        if event.told is not Told.WORKER or not event.reason.startswith(_OF_ITS_OWN_WILL):
            continue
        for run in facts.runs.values():
            if run.connection == event.connection and run.began <= event.at < run.ended:
                yield event.at, f"{_name(event)} was left while {run.name} of it went on"


def dials_of_lost_gateways(facts: Facts) -> Findings:
    """A worker that has lost a gateway goes to another one, if there is one that is well."""
    for event in facts.events:
        if not isinstance(event, Dialled) or event.at < _FOUND:
            continue
        worker, gateway = event.worker, event.gateway
        lost = _lost(facts, worker, gateway, event.at)
        if lost is None or event.at > lost + _AVOIDED:
            continue
        span = (lost - _WELL, event.at)
        if of_redis(facts, *span) or is_disturbed(facts, span, (worker, "api"), (HOST, "api")):
            continue
        others = (other for other in facts.gateways if other != gateway)
        if any(_is_well(facts, worker, other, span) for other in others):
            ago = event.at - lost
            yield event.at, f"{worker} went to {gateway}, which it had lost {ago:.3f} s before"


def _lost(facts: Facts, worker: str, gateway: str, at: float) -> float | None:
    """Return when a worker lost a gateway last, or could not reach it, before a time."""
    lost: float | None = None
    for event in facts.events:
        if event.at > at:
            continue
        match event:
            case NodeStopped() if event.node == worker:
                lost = None  # the next one of its name has lost nothing
            case ConnectionEnded(told=Told.WORKER) | DialFailed() if (
                event.worker == worker and event.gateway == gateway
            ):
                lost = event.at
            case _:
                pass
    return lost


def _is_well(facts: Facts, worker: str, gateway: str, span: tuple[float, float]) -> bool:
    """Whether nothing has happened to a gateway, nor to a worker's way to it."""
    return not (
        is_disturbed(facts, span, (worker, gateway), (gateway, HOST))
        or _stopped(facts, (gateway,), *span)
        or any(
            isinstance(event, ConnectionEnded | DialFailed)
            and (event.worker, event.gateway) == (worker, gateway)
            and span[0] <= event.at <= span[1]
            for event in facts.events
        )
    )


def _stopped(facts: Facts, nodes: tuple[str, ...], since: float, until: float) -> bool:
    """Whether one of these nodes was told to end, or ended, within a span."""
    return any(
        isinstance(event, NodeStopping | NodeStopped)
        and event.node in nodes
        and since <= event.at <= until
        for event in facts.events
    )


def _ends(facts: Facts) -> Iterator[ConnectionEnded]:
    return (event for event in facts.events if isinstance(event, ConnectionEnded))


def _name(event: ConnectionEnded) -> str:
    return f"the connection of {event.worker} to {event.gateway} ({event.told} tells)"
