"""One fault alone, while requests longer than a lease run: each is run once, and answered."""

import random
from dataclasses import replace

import pytest

from tests.simulation.facts import Facts
from tests.simulation.faults import Fault, FaultKind
from tests.simulation.history import CallEnding
from tests.simulation.run import Plan, make_plan, simulate
from tests.simulation.store import HOST
from tests.simulation.world import Shape

# Shorter than what a lease has left at least, and longer than a lease with its grace.
_BRIEF = 13.0
_LONG = 40.0

_WORKER = (("wk-0", "gw-0"), ("gw-0", "wk-0"))
_OTHERS = (
    *(("ex-0", "gw-0"), ("gw-0", "ex-0")),
    *(("gw-0", HOST), (HOST, "gw-0"), ("ex-0", HOST), (HOST, "ex-0")),
    *(("wk-0", "api"), ("api", "wk-0")),
)
_BLOCKING = (FaultKind.PARTITION, FaultKind.ONE_WAY)
_OF_REDIS = (FaultKind.REFUSING, FaultKind.HANGING, FaultKind.FORGETFUL)

# (kind, places, seconds, gateways)
_FAULTS: list[tuple[FaultKind, tuple[str, ...], float, int]] = [
    *((FaultKind.CUT, link, 0.0, 1) for link in (_WORKER[0], *_OTHERS[::2])),
    *((FaultKind.SLOW, link, _LONG, 1) for link in (*_WORKER, *_OTHERS)),
    *((kind, link, _BRIEF, 1) for kind in _BLOCKING for link in _WORKER),
    *((kind, link, _LONG, 1) for kind in _BLOCKING for link in _OTHERS),
    *((kind, (), _LONG, 1) for kind in _OF_REDIS),
    *((FaultKind.PAUSE, (node,), _BRIEF, 1) for node in ("gw-0", "wk-0")),
    (FaultKind.PAUSE, ("ex-0",), _LONG, 1),
    (FaultKind.KILL, ("gw-0",), _LONG, 2),
    (FaultKind.KILL, ("ex-0",), _LONG, 1),
    *((FaultKind.RESTART, (node,), 0.2, 1) for node in ("gw-0", "ex-0", "wk-0")),
    (FaultKind.RESTART, ("gw-0",), 0.2, 2),
    (FaultKind.DRAIN, ("gw-0",), _BRIEF, 1),
    (FaultKind.DRAIN, ("gw-0",), _LONG, 2),
    (FaultKind.DEAF, ("wk-0",), _BRIEF, 1),
    *((kind, ("api",), _LONG, 1) for kind in (FaultKind.KILL, FaultKind.PAUSE)),
    (FaultKind.RESTART, ("api",), 0.2, 1),
    (FaultKind.PARTITION, ("api", HOST), _LONG, 1),
]


def plan(
    seed: int, kind: FaultKind, places: tuple[str, ...], seconds: float, gateways: int
) -> Plan:
    """Draw requests that are all under way when the fault begins."""
    rng = random.Random(f"{seed} single")
    drawn = make_plan(seed)
    begin = rng.uniform(12, 16)
    node, other = (*places, "", "")[:2]
    return replace(
        drawn,
        shape=Shape(gateways=gateways, executors=1, concurrency=(None, None)),
        streams=True,
        faults=(Fault(kind=kind, at=begin, seconds=seconds, node=node, other=other),),
        demands=tuple(
            replace(
                demand,
                request=f"single-{number}",
                at=rng.uniform(2, begin - 0.5),
                seconds=rng.choice((rng.uniform(15, 20), rng.uniform(25, 40))),
                patience=None,
                twice_after=None,
            )
            for number, demand in enumerate(drawn.demands[:12])
        ),
    )


@pytest.mark.parametrize(
    ("kind", "places", "seconds", "gateways"),
    _FAULTS,
    ids=[f"{kind} {'-'.join(places)} {gateways}" for kind, places, _, gateways in _FAULTS],
)
@pytest.mark.parametrize("seed", range(2))
def test_what_runs_is_answered_having_run_once(
    seed: int, kind: FaultKind, places: tuple[str, ...], seconds: float, gateways: int
) -> None:
    made = plan(seed, kind, places, seconds, gateways)
    outcome = simulate(made)
    facts = Facts(outcome.history)
    assert not outcome.violations
    requests = [demand.request for demand in made.demands]
    calls = [call for request in requests for call in facts.calls_of(request)]
    assert not [call for call in calls if call.how is CallEnding.FAILED]
    assert [call.request for call in calls if call.how is CallEnding.ANSWERED] == requests
    assert [len(facts.runs_of(request)) for request in requests] == [1] * len(requests)
