"""Outages of Redis that only a gateway, or everybody, notices: executors answer for leases."""

from dataclasses import replace

import pytest

from tests.simulation.faults import Fault, FaultKind
from tests.simulation.history import CallEnded, CallEnding
from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import Plan, simulate
from tests.simulation.store import HOST

_PLAN = MUTATIONS["a gateway without Redis vouches for leases of its own accord"].plan

# All cut off from Redis for two leases.
_OUTAGES = {
    "its gateway alone": (("gw-0", HOST), ("gw-1", HOST)),
    "everybody": (("gw-0", HOST), ("gw-1", HOST), ("ex-0", HOST)),
}


def plan(seed: int, links: tuple[tuple[str, str], ...]) -> Plan:
    begin = _PLAN(seed).faults[0].at
    return replace(
        _PLAN(seed),
        faults=tuple(
            Fault(kind=FaultKind.PARTITION, at=begin, seconds=40.0, node=node, other=other)
            for node, other in links
        ),
    )


@pytest.mark.parametrize("links", _OUTAGES.values(), ids=_OUTAGES)
@pytest.mark.parametrize("seed", range(5))
def test_work_goes_on_while_redis_is_away(links: tuple[tuple[str, str], ...], seed: int) -> None:
    outcome = simulate(plan(seed, links))
    assert not outcome.violations
    ends = {event.how for event in outcome.history if isinstance(event, CallEnded)}
    assert ends == {CallEnding.ANSWERED}


@pytest.mark.parametrize("seed", range(5))
def test_where_gateway_and_executor_are_cut_off_from_each_other_nothing_runs_twice(
    seed: int,
) -> None:
    links = (("gw-0", HOST), ("gw-1", HOST), ("ex-0", "gw-0"), ("ex-0", "gw-1"))
    assert not simulate(plan(seed, links)).violations
