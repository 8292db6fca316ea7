"""Which faults cost no work, in forged histories."""

import pytest

from tests.simulation.causes import may_be_lost
from tests.simulation.facts import Facts
from tests.simulation.faults import FaultKind
from tests.simulation.history import (
    Began,
    CallStarted,
    Event,
    Faulty,
    LeaseDeleted,
    LeaseStored,
    RunStarted,
)
from tests.simulation.store import HOST

FROM, AT, TO = 100.0, 104.0, 130.0
"""When the request was leased, when the fault begins, and when it was lost; in seconds."""

BRIEF, LONG = 13.0, 14.0

REDIS = ("",)

HANDED_OVER = (FaultKind.RESTART, FaultKind.DRAIN)


def fault(kind: FaultKind, *places: str, at: float = AT, seconds: float = 0.0) -> Event:
    node, other = (*places, "", "")[:2]
    return Faulty(at=at, kind=kind, fault="a fault", places=(node, other), until=at + seconds)


def leased(at: float, lease: str) -> list[Event]:
    return [
        LeaseStored(at=at, request="r", lease=lease, previous="", expires=at + 20),
        RunStarted(at=at + 1, request="r", run=lease, worker="wk-0.1", lease=lease),
    ]


def lost(*events: Event, gateways: int = 2, streams: bool = True) -> bool:
    """Whether the events explain that the worker's request was lost."""
    began = Began(at=0, gateways=gateways, limits=(None, None), streams=streams)
    called = CallStarted(at=FROM, request="r", call=1, executor="ex-0.3")
    history = sorted([began, called, *leased(FROM, "L"), *events], key=lambda event: event.at)
    facts = Facts(history)
    return may_be_lost(facts, "r", facts.chain_at("r", TO), FROM, TO)


SPARING = [
    (FaultKind.CUT, ("wk-0", "gw-0"), 0.0),
    (FaultKind.CUT, ("gw-0", HOST), 0.0),
    (FaultKind.SLOW, ("gw-0", "wk-0"), 45.0),
    (FaultKind.KILL, ("gw-0",), 28.0),
    (FaultKind.KILL, ("ex-0",), 28.0),
    (FaultKind.RESTART, ("gw-0",), 25.0),
    (FaultKind.DRAIN, ("gw-0",), 45.0),
    (FaultKind.DEAF, ("wk-0",), BRIEF),
    (FaultKind.PAUSE, ("wk-0",), BRIEF),
    (FaultKind.PAUSE, ("gw-0",), BRIEF),
    (FaultKind.PAUSE, ("ex-0",), 45.0),
    (FaultKind.PARTITION, ("wk-0", "gw-0"), BRIEF),
    (FaultKind.ONE_WAY, ("gw-0", "wk-0"), BRIEF),
    (FaultKind.PARTITION, ("ex-0", "gw-0"), 45.0),
    (FaultKind.PARTITION, ("wk-0", "api"), 45.0),
    (FaultKind.PARTITION, ("gw-0", HOST), 45.0),
    (FaultKind.ONE_WAY, (HOST, "ex-0"), 45.0),
    (FaultKind.HANGING, REDIS, 45.0),
]


@pytest.mark.parametrize(("kind", "places", "seconds"), SPARING)
def test_work_outlives_a_fault(kind: FaultKind, places: tuple[str, ...], seconds: float) -> None:
    assert not lost(fault(kind, *places, seconds=seconds))


@pytest.mark.parametrize(
    ("kind", "places", "seconds"),
    [
        (FaultKind.KILL, ("wk-0",), 0.1),
        (FaultKind.PAUSE, ("wk-0",), LONG),
        (FaultKind.PAUSE, ("gw-0",), LONG),
        (FaultKind.PARTITION, ("wk-0", "gw-0"), LONG),
        (FaultKind.ONE_WAY, ("gw-0", "wk-0"), LONG),
    ],
)
def test_work_may_be_lost_with_its_worker(
    kind: FaultKind, places: tuple[str, ...], seconds: float
) -> None:
    assert lost(fault(kind, *places, seconds=seconds))


def test_what_a_fault_of_a_new_kind_costs_is_not_known() -> None:
    new = Faulty(at=AT, kind="flood", fault="a fault", places=("wk-0", "gw-0"), until=AT)
    assert lost(new)


def test_work_may_be_lost_with_the_only_gateway() -> None:
    assert lost(fault(FaultKind.KILL, "gw-0", seconds=0.1), gateways=1)


@pytest.mark.parametrize("places", [REDIS, ("gw-0", HOST)])
def test_redis_may_lose_work_for_whose_leases_nobody_answers(places: tuple[str, ...]) -> None:
    kind = FaultKind.PARTITION if any(places) else FaultKind.REFUSING
    assert lost(fault(kind, *places, seconds=5.0), streams=False)


@pytest.mark.parametrize(("kind", "places", "seconds"), SPARING)
def test_a_request_that_no_worker_has_yet_may_be_lost(
    kind: FaultKind, places: tuple[str, ...], seconds: float
) -> None:
    early = fault(kind, *places, at=FROM + 0.5, seconds=seconds)
    assert lost(early, gateways=1 if kind in HANDED_OVER else 2)


def test_a_request_that_is_leased_when_a_fault_is_over_is_not_lost() -> None:
    assert lost(fault(FaultKind.PAUSE, "gw-0", at=FROM - 5.9, seconds=5.0))
    assert not lost(fault(FaultKind.PAUSE, "gw-0", at=FROM - 6.1, seconds=5.0))


@pytest.mark.parametrize(("at", "expected"), [(AT - 29, True), (AT - 31, False), (TO + 1, False)])
def test_faults_together_may_cost_what_one_does_not(at: float, expected: bool) -> None:
    cut = fault(FaultKind.CUT, "wk-0", "gw-0")
    other = fault(FaultKind.CUT, "wk-0", "gw-1", at=at)
    assert lost(cut, other) is expected


def test_what_happens_to_other_workers_makes_nothing_worse() -> None:
    other = fault(FaultKind.KILL, "wk-1", at=AT + 1)
    assert not lost(fault(FaultKind.CUT, "wk-0", "gw-0"), other)


def test_a_request_that_was_over_and_is_made_again_may_be_lost() -> None:
    over = LeaseDeleted(at=AT + 0.1, request="r", node="ex-0.3")
    assert lost(fault(FaultKind.CUT, "wk-0", "gw-0"), over, *leased(AT + 0.2, "L2"))
