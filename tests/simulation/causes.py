"""Which failures of calls the faults excuse, and for how long after their ends.

A fault takes parts of the service away: a node, what joins two of them, or Redis. What is
told to a caller must be true of what is left:

- the store cannot be reached: Redis, or this executor's way to it, or the executor itself;
- no worker is healthy: no worker *remains*, or this executor's way to the gateways is gone, or
  Redis was away until it was asked;
- all workers are at capacity: none without a limit remains, and each that remains has been
  full while the call went on;
- the worker stopped responding: something on the request's way was gone while it was under
  way: its worker, any gateway (over which its worker may have been connected), Redis, an
  executor that was asked for it, or what joins these. Most faults that are alone cost nothing
  that a worker had before, or was given afterwards: see `sparing`. The same goes for a request
  that is leased anew.

A worker remains if nothing has happened to it, to what joins it to gateways and the API, or to
a gateway while it was ready at no other one. Gateways and workers that end in good order,
and begin again, excuse less than that: the restart of a gateway, as its drain, takes nothing
away while another gateway remains, to which nothing has happened; the restart of a worker takes
that worker away, for those who look for one, but not what it was running, which it finishes. The
restart of an executor excuses nothing. Without the API workers find no other gateway, and lose
nothing of what they have: it excuses something only amid other faults.
"""

import math
from collections.abc import Callable, Collection, Iterator

from connect.errors import Syscode
from tests.simulation.endings import within_bounds
from tests.simulation.facts import Call, Chain, Facts, node_of
from tests.simulation.faults import FaultKind
from tests.simulation.history import STORE_UNAVAILABLE, Faulty
from tests.simulation.sparing import is_alone, spares_work
from tests.simulation.store import HOST

__all__ = ["REASONS", "is_displaced", "is_excused", "may_be_lost"]

# A node that begins again, or a connection that broke and both ends know it: workers come back
# with a backoff that doubles with each failure, up to 30 s, and is drawn from all below. So it
# may be some times as long as they have tried in vain. Seconds.
_COMING_BACK = 15.0
_COMING_BACK_AT_MOST = 35.0
_COMING_BACK_PER_SECOND = 4.0

# What an end of a connection may not have noticed ends with the heartbeats: five of 10 s, and
# then the way back. After Redis was away for a minute, gateways end their connections.
_UNNOTICED = 60.0

# An executor reads the table of gateways once a second, and knows then that it could not.
_KNOWN = 1.0

# A lease of 20 s without a holder, its grace, and the time between two looks at it (5 s each).
_LEASE_RUNS_OUT = 30.0

# A request has three commands to wait for, of 5 s each: routing, cleaning up, a last look.
_COMMANDS = 15.0

_NOTICED = (FaultKind.KILL, FaultKind.RESTART, FaultKind.DRAIN, FaultKind.CUT)

# A gateway sends its workers to another one, if there is one.
_HANDED_OVER = (FaultKind.RESTART, FaultKind.DRAIN)


def is_excused(facts: Facts, call: Call) -> bool:
    """Whether what happened explains why a call failed with the reason that it gives."""
    return REASONS[call.detail](facts, call)


def _store_is_away(facts: Facts, call: Call) -> bool:
    executor = node_of(call.executor)
    for fault in _amid(facts, call, lambda fault: _COMMANDS):
        if _is_of_redis(fault) or set(fault.places) == {executor, HOST}:
            return True
        if fault.kind == FaultKind.PAUSE and executor in fault.places:
            return True
    return False


def _nobody_is_healthy(facts: Facts, call: Call) -> bool:
    return _is_confused(facts, call, patient=True) or not any(
        _remains(facts, call, worker) for worker in facts.limits
    )


def _all_are_full(facts: Facts, call: Call) -> bool:
    if all(limit is None for limit in facts.limits.values()):
        return False
    return _is_confused(facts, call) or all(
        _was_full(facts, call, worker) for worker in facts.limits if _remains(facts, call, worker)
    )


def _worker_is_away(facts: Facts, call: Call) -> bool:
    chain = facts.chain_at(call.request, call.ended)
    return is_displaced(facts, call) or may_be_lost(
        facts, call.request, chain, call.began, call.ended
    )


def may_be_lost(
    facts: Facts, request: str, chain: Chain | None, since: float, until: float
) -> bool:
    """Whether faults explain that nothing comes of a request, or that it is leased anew.

    Args:
        chain: the lease that it had at last; None if it never was leased.
        since, until: when it was under way, in seconds since the run began.
    """
    workers = {node_of(worker) for chain in facts.chains[request] for worker in chain.workers}
    executors = {node_of(other.executor) for other in facts.calls_of(request)}
    on_the_way = [fault for fault in _faults(facts) if _is_on_the_way(fault, workers, executors)]
    return any(
        fault.at <= until
        and fault.until + _until_leases_run_out(fault) >= since
        and (fault.kind not in _HANDED_OVER or _takes_all_gateways(facts, fault))
        and not _is_of_api(fault)
        and not (
            _is_untouched(chain, fault)
            and is_alone(fault, on_the_way, until)
            and spares_work(facts, fault)
        )
        for fault in on_the_way
    )


def _is_untouched(chain: Chain | None, fault: Faulty) -> bool:
    """Whether a worker had the request when a fault began, or it was leased after its end."""
    if chain is None:
        return False
    had = chain.live_at(fault.at) and min(chain.workers.values(), default=math.inf) < fault.at
    return had or chain.began > fault.until + _KNOWN


def _is_on_the_way(fault: Faulty, workers: Collection[str], executors: Collection[str]) -> bool:
    """Whether a fault was none of other workers or executors.

    Args:
        workers: that have had the request; it may have been any, where there are none.
        executors: that were asked for it.
    """
    return all(
        place in executors
        if place.startswith("ex-")
        else place in workers or not workers or not place.startswith("wk-")
        for place in fault.places
    )


REASONS: dict[str, Callable[[Facts, Call], bool]] = {
    STORE_UNAVAILABLE: _store_is_away,
    Syscode.NO_HEALTHY_CONNECTION: _nobody_is_healthy,
    Syscode.ALL_WORKERS_AT_CAPACITY: _all_are_full,
    Syscode.WORKER_STOPPED_RESPONDING: _worker_is_away,
}
"""By the reason that a call failed for: whether it is true."""


def _until_workers_are_back(fault: Faulty) -> float:
    if fault.kind not in _NOTICED:
        return _UNNOTICED
    tried = _COMING_BACK_PER_SECOND * (fault.until - fault.at)
    return min(max(_COMING_BACK, tried), _COMING_BACK_AT_MOST)


def _until_leases_run_out(fault: Faulty) -> float:
    return max(_LEASE_RUNS_OUT, _until_workers_are_back(fault))


def _faults(facts: Facts) -> Iterator[Faulty]:
    return (within_bounds(facts, fault) for fault in facts.faults)


def _amid(facts: Facts, call: Call, aftermath: Callable[[Faulty], float]) -> Iterator[Faulty]:
    """Find the faults that lasted, or were not over for long enough, during a call."""
    return (
        fault
        for fault in _faults(facts)
        if fault.at <= call.ended and fault.until + aftermath(fault) >= call.began
    )


def _is_confused(facts: Facts, call: Call, *, patient: bool = False) -> bool:
    """Whether the executor of a call may not know, or not reach, what there is.

    Args:
        patient: whether a call that begins after Redis was away waits until the records of
            those who are there are new again.
    """
    executor = node_of(call.executor)
    return any(
        not (patient and _is_alone(facts, fault, call.ended)) or call.began <= fault.until + _KNOWN
        if _is_of_redis(fault)
        else executor in fault.places and fault.kind not in (FaultKind.KILL, FaultKind.RESTART)
        for fault in _amid(facts, call, _until_workers_are_back)
    )


def _is_alone(facts: Facts, fault: Faulty, until: float) -> bool:
    """Whether nothing else happened that workers and executors have to come back from.

    After Redis was away, or while the API is, they cannot.
    """
    return not any(
        other != fault
        and (any(other.places) or _is_of_api(fault))
        and other.at <= until
        and other.until + _UNNOTICED >= fault.at
        for other in _faults(facts)
    )


def _remains(facts: Facts, call: Call, worker: str) -> bool:
    return not any(
        worker in fault.places
        or (_takes_connections(facts, fault) and not _is_elsewhere(fault, worker))
        or (_is_of_api(fault) and not _is_alone(facts, fault, call.ended))
        for fault in _amid(facts, call, _until_workers_are_back)
    )


def _is_elsewhere(fault: Faulty, worker: str) -> bool:
    """Whether a worker was connected to a gateway to which the fault did nothing."""
    return any(name == worker and gateway not in fault.places for name, gateway in fault.connected)


def _takes_connections(facts: Facts, fault: Faulty) -> bool:
    """Whether workers may have lost their connections to a gateway by this."""
    gateways = [place for place in fault.places if place in facts.gateways]
    if not gateways or any(place.startswith(("wk-", "ex-")) for place in fault.places):
        return False
    return fault.kind not in _HANDED_OVER or _takes_all_gateways(facts, fault)


def _takes_all_gateways(facts: Facts, restart: Faulty) -> bool:
    """Whether a gateway was restarted or drained, and nobody could get to another one."""
    [*restarted] = (place for place in restart.places if place in facts.gateways)
    others = (gateway for gateway in facts.gateways if gateway not in restarted)
    return bool(restarted) and not any(
        all(
            other not in fault.places and not _is_of_api(fault)
            for fault in _faults(facts)
            if fault.at <= restart.until + _until_workers_are_back(restart)
            and fault.until + _until_workers_are_back(fault) >= restart.at
        )
        for other in others
    )


def _is_of_api(fault: Faulty) -> bool:
    """Whether workers could be told of no gateway, but were well themselves."""
    return "api" in fault.places and not any(place.startswith("wk-") for place in fault.places)


def _is_of_redis(fault: Faulty) -> bool:
    return not any(fault.places)


def is_displaced(facts: Facts, call: Call) -> bool:
    """Whether another executor was asked meanwhile: the lease may name that one then.

    So may it if that one was asked before, and had no lease yet.
    """
    chain = facts.chain_at(call.request, call.ended)
    leased = call.began if chain is None else max(call.began, chain.began)
    return any(
        other.executor != call.executor
        and (
            call.began <= other.began <= call.ended
            or (call.began < leased and other.open_at(leased))
        )
        for other in facts.calls_of(call.request)
    )


def _was_full(facts: Facts, call: Call, worker: str) -> bool:
    """Whether a worker had as many requests as it may, at a time during the call."""
    limit = facts.limits[worker]
    return limit is not None and any(
        facts.most_counted(instance, call.began, call.ended) >= limit
        for instance in facts.counted
        if node_of(instance) == worker
    )
