"""What nothing disturbs goes the straight way, and at once: fallbacks hide no broken path.

The service has a second way for much: polling beside pushes, HTTP beside the connection, the next
worker beside one that is silent. With the first way broken all requests would still be answered,
only later. So here is what must hold where nothing stands in the way.
"""

import math
from collections.abc import Iterator

from connect.settings import Timing
from connect.worker import RunEnd
from tests.simulation.connections import ReplyDropped, RequestIgnored
from tests.simulation.facts import Call, Facts, Run, Span, most_at_once, node_of
from tests.simulation.history import (
    CallEnding,
    NodeStopped,
    NodeStopping,
    ReplyConfirmed,
    RunEnded,
)
from tests.simulation.store import HOST
from tests.simulation.trouble import is_disturbed, of_redis

__all__ = [
    "late_answers",
    "late_flushes",
    "requests_after_a_pause",
    "unacknowledged_replies",
]

_TIMING = Timing()

# What takes no time but that of messages takes this long at most, in seconds.
_AT_ONCE = 1.0

# What workers and nodes take to find each other after their start. Seconds since the run began.
_FOUND = 3.0

# For so long after a worker could not reach the API, a flush may wait: for the answer to the last
# one, the pause after it, and a connection that was given one more chance. Seconds.
_FLUSHED_AGAIN = 25.0

# So long after a fault a gateway may have yet to hear what a worker has told it, in seconds.
_HEARD = 10.0

_SOCKET = "reply acked"

# Ends of a run of which there is a reply to be delivered.
_REPLYING = frozenset({RunEnd.DONE, RunEnd.ERROR, RunEnd.NOT_COMPLETED})

Findings = Iterator[tuple[float, str]]


def late_answers(facts: Facts) -> Findings:
    """Until the first fault a request runs at once, once, and is answered when it has run.

    One for which no worker is counted to have room fails, and runs not at all; on a worker that
    still runs something for a caller who has left, it waits until that is over.
    """
    until = _first_trouble(facts)
    for call, runs in _plain_calls(facts, until):
        first = runs[0]
        if first.began > call.began + _AT_ONCE and not _waits_its_turn(facts, call, first):
            waited = first.began - call.began
            yield first.began, f"{call.request} waited for {waited:.3f} s until it ran"
        if len(runs) > 1:
            yield runs[1].began, f"{call.request} ran again undisturbed"
        answered_by = first.ended + _AT_ONCE
        if call.ended > answered_by < until:
            late = call.ended - first.ended
            yield answered_by, f"{call.request} was answered {late:.3f} s after it had run"


def unacknowledged_replies(facts: Facts) -> Findings:
    """Until the first fault a worker is told at once that its reply is safe, over its socket."""
    until = _first_trouble(facts)
    for call, runs in _plain_calls(facts, until):
        run = runs[0]
        if run.ended + _AT_ONCE >= until:
            continue
        how = [
            event.how if isinstance(event, ReplyConfirmed) else event.why
            for event in _settlements(facts, run)
            if event.at <= run.ended + _AT_ONCE
        ]
        if {*how} != {_SOCKET}:
            told = " and ".join(how) or "nothing"
            yield run.ended + _AT_ONCE, f"of the reply to {call.request} was heard: {told}"


def late_flushes(facts: Facts) -> Findings:
    """A reply that no connection confirms goes by HTTP, if the API and Redis are well.

    That is done as soon as a worker would extend a lease once more, and takes a moment. If
    its request is leased again, it may be given that, answer with what it has, and wait anew.
    """
    for run in facts.runs.values():
        by = _flushed_by(facts, run)
        if (
            not _has_reply(facts, run)
            or _ends_before(facts, run, by)
            or is_disturbed(
                facts,
                (run.ended - _FLUSHED_AGAIN, by),
                (node_of(run.worker), "api"),
                (HOST, "api"),
            )
            or of_redis(facts, run.ended - _FLUSHED_AGAIN, by)
        ):
            continue
        settled = (event.at for event in _settlements(facts, run) if event.at >= run.ended)
        if min(settled, default=math.inf) > by:
            yield by, f"{run.worker} has not delivered the reply of {run.name}, nor flushed it"


def _flushed_by(facts: Facts, run: Run) -> float:
    """Return when the reply of a run must be delivered, or flushed."""
    by = run.ended + _TIMING.extend_lease + _AT_ONCE
    for chain in facts.chains[run.request]:
        elsewhere = chain.workers.keys() - {run.worker}
        if run.ended < chain.began <= by and not elsewhere:
            by = chain.began + _TIMING.extend_lease + _AT_ONCE
    return by


def requests_after_a_pause(facts: Facts) -> Findings:
    """A worker that has said that it pauses is given no requests, if gateways can hear it."""
    for event in facts.events:
        if not isinstance(event, RequestIgnored):
            continue
        worker = node_of(event.worker)
        told = _told_to_end(facts, worker, event.at)
        if told is None or event.at <= told + _AT_ONCE:
            continue
        ways = ((worker, gateway) for gateway in facts.gateways)
        if not is_disturbed(facts, (told - _HEARD, event.at), *ways, restarts=False):
            late = event.at - told
            yield event.at, f"{worker} was given {event.request} {late:.3f} s after it was stopped"


def _told_to_end(facts: Facts, node: str, at: float) -> float | None:
    """Return when a node was told to end, for the last time until then."""
    told = (
        event.at
        for event in facts.events
        if isinstance(event, NodeStopping) and event.node == node and event.at <= at
    )
    return max(told, default=None)


def _has_reply(facts: Facts, run: Run) -> bool:
    return any(
        isinstance(event, RunEnded) and event.run == run.name and event.end in _REPLYING
        for event in facts.events
    )


def _ends_before(facts: Facts, run: Run, by: float) -> bool:
    """Whether the worker of a run ended before a time."""
    return any(
        isinstance(event, NodeStopped)
        and event.node == node_of(run.worker)
        and run.began <= event.at <= by
        for event in facts.events
    )


def _settlements(facts: Facts, run: Run) -> Iterator[ReplyConfirmed | ReplyDropped]:
    """Find what a worker was told of the replies to the request of a run."""
    return (
        event
        for event in facts.events
        if isinstance(event, ReplyConfirmed | ReplyDropped)
        and (event.request, event.worker) == (run.request, run.worker)
    )


def _plain_calls(facts: Facts, until: float) -> Iterator[tuple[Call, list[Run]]]:
    """Find the first calls of requests that ran and were not given up, with their runs."""
    for request in dict.fromkeys(call.request for call in facts.calls.values()):
        call, *later = facts.calls_of(request)
        if call.began < _FOUND or any(other.began <= call.ended for other in later):
            continue
        gone = call.how in (CallEnding.CANCELLED, CallEnding.LOST) and call.ended < until
        runs = [run for run in facts.runs_of(request) if run.began <= min(call.ended, until)]
        if runs and not gone:
            yield call, runs


def _waits_its_turn(facts: Facts, call: Call, run: Run) -> bool:
    """Whether a worker ran as many requests as it may, when it was given one more."""
    limit = facts.limits[node_of(run.worker)]
    before = [
        Span(max(other.began, call.began), other.ended)
        for other in facts.runs.values()
        if other.worker == run.worker and other.began < run.began and other.ended > call.began
    ]
    return limit is not None and most_at_once(before)[0] >= limit


def _first_trouble(facts: Facts) -> float:
    """Return when anything went wrong, or any node was told to end, for the first time."""
    ends = (event.at for event in facts.events if isinstance(event, NodeStopped | NodeStopping))
    return min([*(fault.at for fault in facts.faults), *ends], default=math.inf)
