"""Which faults cost no work: what a worker runs goes on, and its reply arrives.

A fault that is alone takes a run away only if it takes its worker, or keeps the worker from
all gateways for longer than leases last. Executors may end, and so may a gateway, or send its
workers away, while another one remains; what breaks is made again within a second or two; and
what is slow is not lost. While Redis is away executors answer for leases, where gateways know the
methods that stream. Others cannot ask them, and have workers stop when a lease has two of its
intervals left.
"""

from collections.abc import Iterable

from connect.settings import Timing
from tests.simulation.facts import Facts
from tests.simulation.faults import FaultKind
from tests.simulation.history import Faulty
from tests.simulation.store import HOST

__all__ = ["is_alone", "spares_work"]

_TIMING = Timing()

# What a lease has left at least, which a worker extends in time, but for the way of its question.
_OUTLIVED = _TIMING.lease - _TIMING.extend_lease - 1.5

# For so long what happened before, or happens afterwards, may add to a fault: a lease may have
# less left, and a worker may be on its way back (see `causes`).
_APART = 30.0

_BLOCKING = (FaultKind.PARTITION, FaultKind.ONE_WAY)
_OF_REDIS = (FaultKind.REFUSING, FaultKind.HANGING, FaultKind.FORGETFUL)


def is_alone(fault: Faulty, faults: Iterable[Faulty], until: float) -> bool:
    """Whether no other one of the faults happened at about the same time.

    Args:
        until: what begins later does not count.
    """
    return not any(
        other.at <= min(fault.until + _APART, until) and other.until + _APART >= fault.at
        for other in faults
        if other != fault
    )


def spares_work(facts: Facts, fault: Faulty) -> bool:
    """Whether a fault that is alone takes nothing away that a worker has by then."""
    brief = fault.until - fault.at <= _OUTLIVED
    kinds = {place.partition("-")[0] for place in fault.places if place}
    match fault.kind:
        case FaultKind.CUT | FaultKind.SLOW | FaultKind.RESTART:
            return True
        case FaultKind.KILL:
            return kinds == {"ex"} or (kinds == {"gw"} and len(facts.gateways) > 1)
        case FaultKind.DRAIN:
            return brief or len(facts.gateways) > 1
        case FaultKind.PAUSE | FaultKind.DEAF:
            return brief or kinds == {"ex"}
        case _ if fault.kind in _OF_REDIS or (fault.kind in _BLOCKING and kinds == {"gw", HOST}):
            return facts.streams
        case _ if fault.kind in _BLOCKING:
            return brief or kinds != {"wk", "gw"}
    return False
