"""Whether faults were where they can hold something up."""

from tests.simulation.facts import Facts
from tests.simulation.faults import FaultKind
from tests.simulation.history import Faulty

__all__ = ["is_disturbed", "of_redis"]


def is_disturbed(
    facts: Facts, span: tuple[float, float], *links: tuple[str, str], restarts: bool = True
) -> bool:
    """Whether a fault was at one end of a link, or between its two, at a time within a span.

    Args:
        span: its first and its last moment, in seconds since the run began.
        restarts: whether those count, too, in which a node ends in good order.
    """
    return any(
        _lasted(fault, *span) and any(_touches(fault, link) for link in links)
        for fault in facts.faults
        if restarts or fault.kind != FaultKind.RESTART
    )


def of_redis(facts: Facts, since: float, until: float) -> bool:
    """Whether Redis as a whole was in trouble at a time within a span."""
    return any(_lasted(fault, since, until) and not any(fault.places) for fault in facts.faults)


def _lasted(fault: Faulty, since: float, until: float) -> bool:
    return fault.at <= until and fault.until >= since


def _touches(fault: Faulty, link: tuple[str, str]) -> bool:
    places = {place for place in fault.places if place}
    return bool(places) and places <= set(link)
