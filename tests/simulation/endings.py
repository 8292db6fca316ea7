"""How long a node may take to end in good order, once it has been told to.

Undisturbed, gateways and executors end with their drain at the latest, and workers with what
they run. Where something holds them up, their deadlines do: what comes after a drain, each
store command and each cleanup has one, and a worker gives a reply up after a time.
"""

from collections.abc import Iterator
from dataclasses import replace

from connect.settings import Timing
from connect.worker.timing import WorkerTiming
from tests.simulation.facts import Ending, Facts, node_of
from tests.simulation.faults import FaultKind
from tests.simulation.history import Faulty

__all__ = ["late_endings", "within_bounds"]

_TIMING = Timing()
_WORKER = WorkerTiming()

# What a node does at its end when nothing holds it up, beyond its drain, in seconds.
_PROMPTLY = 1.0

# What follows a fault may hold an ending up for so long (see `causes`), in seconds.
_AFTERMATH = 60.0

# How long a node that was restarted is away, in seconds.
_AWAY = 0.2

# By kind of node: its drain, and what its deadlines allow beyond it, in seconds.
# A gateway has three cleanups for the connections that are closed last (`nursery.drain`), and one
# to remove its record. An executor has a command and a cleanup for each request that it hands
# over, all at once, and one to clean up what is left. A worker tries to deliver for as long as it
# keeps a reply, and then once more: a pause, a request, a message, and the end of a connection.
_DRAINS = {"gw": _TIMING.drain, "ex": _TIMING.drain}
_BEYOND = {
    "gw": 4 * _TIMING.cleanup,
    "ex": _TIMING.store_command + 2 * _TIMING.cleanup,
    "wk": _WORKER.reply_lifetime + _WORKER.flush_most + _WORKER.api + _WORKER.write + _WORKER.close,
    "api": _TIMING.cleanup,
}


def late_endings(facts: Facts) -> Iterator[tuple[float, str]]:
    """Find the nodes that ended later than they had to."""
    for ending in facts.endings:
        latest = _latest(facts, ending)
        if not _is_disturbed(facts, ending):
            latest = min(latest, _drained(facts, ending) + _PROMPTLY)
        if not ending.crashed and ending.over > latest:
            took, may = ending.over - ending.told, latest - ending.told
            yield latest, f"{ending.node} took {took:.1f} s to end, and may take {may:.1f} s"


def within_bounds(facts: Facts, fault: Faulty) -> Faulty:
    """Return a fault that is over when it should be: a restart that takes too long is not one."""
    for ending in facts.endings:
        if _is_of(fault, ending):
            until = min(fault.until, _latest(facts, ending) + _AWAY)
            return replace(fault, until=until)
    return fault


def _latest(facts: Facts, ending: Ending) -> float:
    """Return when a node must have ended, whatever holds it up but its own pauses."""
    paused = sum(
        max(0.0, min(pause.until, ending.over) - max(pause.at, ending.told))
        for pause in facts.pauses
        if pause.node == ending.node
    )
    return _drained(facts, ending) + _BEYOND[_kind(ending.node)] + paused


def _drained(facts: Facts, ending: Ending) -> float:
    """Return when a node's drain is over; a worker's is with the last of its runs."""
    runs = (
        run.ended
        for run in facts.runs.values()
        if node_of(run.worker) == ending.node and run.began <= ending.over
    )
    return max([ending.told + _DRAINS.get(_kind(ending.node), 0.0), *runs])


def _is_disturbed(facts: Facts, ending: Ending) -> bool:
    """Whether something may hold a node up: at itself, Redis, any gateway, or who takes nothing."""
    return any(
        fault.at <= ending.over
        and fault.until + _AFTERMATH >= ending.told
        and (
            not any(fault.places)
            or ending.node in fault.places
            or any(place in facts.gateways for place in fault.places)
            or fault.kind in (FaultKind.PAUSE, FaultKind.DEAF)
        )
        for fault in facts.faults
        if not _is_of(fault, ending)
    )


def _is_of(restart: Faulty, ending: Ending) -> bool:
    return (
        restart.kind == FaultKind.RESTART
        and ending.node in restart.places
        and ending.told == restart.at
    )


def _kind(node: str) -> str:
    return node.partition("-")[0]
