"""What must hold of every history. Pure: a history in, violations out."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

from tests.simulation.causes import REASONS, is_displaced, is_excused, may_be_lost
from tests.simulation.endings import late_endings
from tests.simulation.facts import Call, Facts, Run, Span, StoredReply, most_at_once, node_of
from tests.simulation.faults import FaultKind
from tests.simulation.history import (
    STORE_UNAVAILABLE,
    CallEnding,
    Event,
    GatewayDrained,
    LeaseAdopted,
    Leftover,
    Missing,
    ReplyConfirmed,
    RunStarted,
)
from tests.simulation.links import (
    causeless_ends,
    dials_of_lost_gateways,
    early_departures,
    silent_connections,
)
from tests.simulation.undisturbed import (
    late_answers,
    late_flushes,
    requests_after_a_pause,
    unacknowledged_replies,
)

__all__ = ["INVARIANTS", "Overlap", "Violation", "check", "overlaps"]

# How long a reply is kept for its executor (`Timing.buffered_response`), in seconds.
_KEPT = 60.0

# After so long without a heartbeat nobody counts on a gateway (two of `Timing.gateway_heartbeat`),
# and a while in which a beat is on its way. Seconds.
_LONGEST_SILENCE = 11.0

# What is told in this order happens in it, but at one moment.
_MOMENT = 0.01


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be.

    Attributes:
        invariant: its name in `INVARIANTS`.
        at: when, in seconds since the run began.
    """

    invariant: str
    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}, at {self.at:.3f} s: {self.text}"


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two runs of one request at the same time.

    Attributes:
        seconds: how long; pauses of a worker, in which it runs nothing, don't count.
    """

    first: Run
    second: Run
    seconds: float


Findings = Iterator[tuple[float, str]]


def check(history: Iterable[Event]) -> list[Violation]:
    """Return what is wrong with a history, in the order of `INVARIANTS`."""
    facts = Facts(history)
    return [
        Violation(name, at, text) for name, find in INVARIANTS.items() for at, text in find(facts)
    ]


def overlaps(facts: Facts) -> Iterator[Overlap]:
    """Find the requests that ran twice at the same time."""
    for request in dict.fromkeys(run.request for run in facts.runs.values()):
        for first, second in combinations(facts.runs_of(request), 2):
            begin, end = second.began, min(first.ended, second.ended)
            seconds = end - begin - _paused(facts, first, begin, end)
            if seconds > _MOMENT:
                yield Overlap(first, second, seconds)


def _paused(facts: Facts, run: Run, begin: float, end: float) -> float:
    return sum(
        max(0.0, min(pause.until, end) - max(pause.at, begin))
        for pause in facts.pauses
        if pause.node == node_of(run.worker)
    )


# Each request answered exactly once, or failed with its reason


def _every_call_ends_once(facts: Facts) -> Findings:
    for call in facts.calls.values():
        if call.endings != 1:
            yield call.began, f"{_name(call)} has {call.endings} outcomes"


def _answers_are_of_the_request(facts: Facts) -> Findings:
    for call in _calls_that(facts, CallEnding.ANSWERED):
        run = facts.runs.get(call.detail)
        if run is None or run.request != call.request:
            yield call.ended, f"{_name(call)} was answered by {call.detail or 'nothing'}"


def _callers_get_one_answer(facts: Facts) -> Findings:
    """Whoever calls while a request is in progress gets the answer that the others get."""
    answered = list(_calls_that(facts, CallEnding.ANSWERED))
    for first, second in combinations(answered, 2):
        together = first.began < second.ended and second.began < first.ended
        same = first.request == second.request and first.executor == second.executor
        if together and same and first.detail != second.detail:
            text = f"{_name(first)} got {first.detail}, {_name(second)} {second.detail}"
            yield second.ended, text


def _failures_have_causes(facts: Facts) -> Findings:
    for call in _calls_that(facts, CallEnding.FAILED):
        if call.detail not in REASONS:
            yield call.ended, f"{_name(call)} failed with {call.detail or 'no reason'}"
        elif not is_excused(facts, call):
            yield call.ended, f"{_name(call)} failed with {call.detail} for no reason"


def _work_is_not_lost(facts: Facts) -> Findings:
    """What a worker was leased is leased anew only if its reply, its caller or itself is gone.

    Unlike a failure, it would not be seen by the callers.
    """
    for request, chains in facts.chains.items():
        for lost, new in pairwise(chains):
            if not lost.workers or any(
                lost.began <= reply.stored <= new.began for reply in facts.replies[request]
            ):
                continue
            given_up = any(
                call.how is CallEnding.CANCELLED and lost.began <= call.ended <= new.began
                for call in facts.calls_of(request)
            )
            if not given_up and not may_be_lost(facts, request, lost, lost.began, new.began):
                who = " and ".join(lost.workers)
                yield new.began, f"{request}, which {who} had, is leased anew for no reason"


# No two workers hold a live lease for it


def _one_worker_holds_a_lease(facts: Facts) -> Findings:
    for request, chains in facts.chains.items():
        for chain in chains:
            if len(chain.workers) > 1:
                who = " and ".join(chain.workers)
                yield chain.began, f"{who} hold the lease of {request}"


def _leases_are_granted(facts: Facts) -> Findings:
    for event in facts.events:
        if isinstance(event, RunStarted | LeaseAdopted) and event.lease not in facts.chain_of:
            yield event.at, f"{event.worker} holds {event.lease}, which nobody granted"


def _nothing_runs_twice_at_once(facts: Facts) -> Findings:
    for overlap in overlaps(facts):
        first, second = overlap.first, overlap.second
        yield (
            second.began,
            f"{first.request} ran on {first.worker} ({first.name}) and {second.worker} "
            f"({second.name}) for {overlap.seconds:.3f} s",
        )


# No worker has more requests than it may


def _workers_keep_their_limits(facts: Facts) -> Findings:
    """A worker with a limit never has more requests at once: as counted, as held, as run.

    Counted: assigned to it in Redis, and not un-assigned. Held: under a lease that is live,
    from the first sign that the worker has it (it runs, or is told of an extension) until its
    run ends. Run: its function is running, be it for a caller who has left.

    The protocol exempts two. A request that nobody cleans up after is counted until its lease
    runs out; though it stays assigned, its place is another's then, and it is extended no more
    while the worker is full. And what has lost its lease, as its caller left or its executor
    gave it up, is not held any more, though the worker may not know it yet: so a worker may
    have more than its limit in its memory. What is more waits there, and does not run.
    """
    for worker in dict.fromkeys((*facts.counted, *facts.workers)):
        limit = facts.limits.get(node_of(worker))
        if limit is None:
            continue
        runs = [run for run in facts.runs.values() if run.worker == worker]
        found = {
            "counted on": facts.counted.get(worker, []),
            "held by": [*facts.held_by(worker)],
            "run by": [Span(run.began, run.ended) for run in runs],
        }
        for how, spans in found.items():
            most, at = most_at_once(spans)
            if most > limit:
                yield at, f"{most} requests {how} {worker} at once, which may have {limit}"


# A reply that was acked is never lost


def _confirmed_replies_are_stored(facts: Facts) -> Findings:
    """The worker whose lease is live is told that its reply is safe once it is stored."""
    for event in facts.events:
        if not isinstance(event, ReplyConfirmed):
            continue
        chain = facts.chain_at(event.request, event.at)
        if chain is None or not chain.live_at(event.at):
            continue  # nobody waits for it
        if chain.workers.get(event.worker, math.inf) >= event.at:
            # For another's, or it is of a lease that this worker had before: one that stood
            # still reads it, and the request that came again, in one moment.
            continue
        # A confirmation may be on its way while the request, which is over, is made once more.
        runs = (run for run in facts.runs_of(event.request) if run.worker == event.worker)
        began = min([chain.began, *(run.began for run in runs)])
        if not any(began <= reply.stored <= event.at for reply in facts.replies[event.request]):
            yield event.at, f"{event.worker} was told that its reply to {event.request} is safe"


def _replies_are_stored_once(facts: Facts) -> Findings:
    for replies in facts.replies.values():
        for first, second in pairwise(replies):
            if second.stored < min(first.deleted, first.stored + _KEPT):
                yield second.stored, f"the reply to {first.request} is overwritten"


def _replies_are_not_made_again(facts: Facts) -> Findings:
    """Whoever asks for a request gets the reply that is stored; no worker is leased it again.

    No fault excuses it: one script looks for the reply, and leases.
    """
    for request, chains in facts.chains.items():
        for chain in chains:
            for reply in facts.replies[request]:
                until = min(reply.deleted, reply.stored + _KEPT)
                if reply.stored < chain.began < until:
                    text = f"{request} is leased again, though the reply of {reply.run} is stored"
                    yield chain.began, text


def _stored_replies_arrive(facts: Facts) -> Findings:
    for replies in facts.replies.values():
        for reply in replies:
            chain = facts.chain_at(reply.request, reply.stored)
            if chain is None or not chain.live_at(reply.stored):
                continue  # too late
            call = _who_should_get(facts, reply)
            if call is None or is_displaced(facts, call) or call.ended > reply.stored + _KEPT:
                continue
            if call.how is CallEnding.FAILED and not _may_ask_again(call, reply):
                text = f"{_name(call)} failed with {call.detail}; {reply.run} had replied"
                yield call.ended, text


def _may_ask_again(call: Call, reply: StoredReply) -> bool:
    """Whether nobody could be reached, and the reply waits for whoever asks next."""
    return call.detail == STORE_UNAVAILABLE and reply.deleted > call.ended


def _who_should_get(facts: Facts, reply: StoredReply) -> Call | None:
    """Return the call that waits for a reply, or the next one if that was lost on the way."""
    last: Call | None = None
    for call in facts.calls_of(reply.request):
        if not call.open_at(reply.stored) and (last is None or call.began < last.ended):
            continue
        if last is not None and call.began > reply.stored + _KEPT:
            break
        last = call
        if call.how is CallEnding.LOST:
            if reply.by == call.executor:
                return None  # it was taken, and lost with the one who took it
        elif not _may_ask_again(call, reply):
            break
    return last


# A gateway that drains is there, and ends


def _draining_gateways_beat(facts: Facts) -> Findings:
    """Whoever looks for a gateway that drains finds it alive until it is done.

    Redis, the way to it, and the gateway itself excuse a heartbeat that is not stored.
    """
    for event in facts.events:
        if not isinstance(event, GatewayDrained) or event.at - event.beat <= _LONGEST_SILENCE:
            continue
        if not any(
            fault.at <= event.at
            and fault.until >= event.beat
            and (event.node in fault.places or not any(fault.places))
            for fault in facts.faults
            if fault.kind not in (FaultKind.RESTART, FaultKind.DRAIN)
        ):
            silent = event.at - event.beat
            yield event.at, f"{event.node} drained for {silent:.1f} s without a heartbeat"


# Nothing is left


def _nothing_is_left(facts: Facts) -> Findings:
    for event in facts.events:
        if isinstance(event, Leftover):
            yield event.at, event.what


# Everything comes back


def _everything_comes_back(facts: Facts) -> Findings:
    for event in facts.events:
        if isinstance(event, Missing):
            yield event.at, event.what


def _calls_that(facts: Facts, ended: CallEnding) -> Iterator[Call]:
    return (call for call in facts.calls.values() if call.how is ended)


def _name(call: Call) -> str:
    return f"{call.request} (call {call.number} of {call.executor})"


INVARIANTS: dict[str, Callable[[Facts], Findings]] = {
    "every call ends once": _every_call_ends_once,
    "answers are of the request": _answers_are_of_the_request,
    "callers get one answer": _callers_get_one_answer,
    "failures have causes": _failures_have_causes,
    "work is not lost": _work_is_not_lost,
    "one worker holds a lease": _one_worker_holds_a_lease,
    "leases are granted": _leases_are_granted,
    "nothing runs twice at once": _nothing_runs_twice_at_once,
    "workers keep their limits": _workers_keep_their_limits,
    "confirmed replies are stored": _confirmed_replies_are_stored,
    "replies are stored once": _replies_are_stored_once,
    "replies are not made again": _replies_are_not_made_again,
    "stored replies arrive": _stored_replies_arrive,
    "draining gateways beat": _draining_gateways_beat,
    "nodes end in time": late_endings,
    "undisturbed requests are answered at once": late_answers,
    "undisturbed replies are acknowledged": unacknowledged_replies,
    "replies are flushed in time": late_flushes,
    "workers that pause are given nothing": requests_after_a_pause,
    "connections end for a reason": causeless_ends,
    "silent connections end": silent_connections,
    "connections stay until their work is done": early_departures,
    "workers avoid gateways that they have lost": dials_of_lost_gateways,
    "nothing is left": _nothing_is_left,
    "everything comes back": _everything_comes_back,
}
