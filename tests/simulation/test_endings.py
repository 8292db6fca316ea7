"""Forged histories of nodes that end: in time, or too late."""

import pytest

from tests.simulation.causes import is_excused
from tests.simulation.endings import late_endings
from tests.simulation.facts import Facts
from tests.simulation.faults import FaultKind
from tests.simulation.history import (
    Began,
    CallEnded,
    CallEnding,
    CallStarted,
    Event,
    Faulty,
    NodeStopped,
    NodeStopping,
    Paused,
    RunEnded,
    RunStarted,
)

TOLD = 100.0
"""When the nodes are told to end, in seconds."""


def ending(node: str, seconds: float, *, crashed: bool = False) -> list[Event]:
    return [
        NodeStopping(at=TOLD, node=node),
        NodeStopped(at=TOLD + seconds, node=node, crashed=crashed),
    ]


def fault(*places: str, at: float, until: float, kind: FaultKind = FaultKind.HANGING) -> Event:
    node, other = (*places, "", "")[:2]
    return Faulty(at=at, kind=kind, fault="a fault", places=(node, other), until=until)


def late(*events: Event) -> list[str]:
    return [text for _, text in late_endings(Facts([Began(at=0), *events]))]


def run(until: float) -> list[Event]:
    who = {"request": "r", "run": "run-1", "worker": "wk-0.7"}
    return [RunStarted(at=90, lease="L", **who), RunEnded(at=until, **who)]


@pytest.mark.parametrize("node", ["gw-0", "ex-0"])
def test_a_drain_may_take_its_time_and_no_more(node: str) -> None:
    assert not late(*ending(node, 25.9))
    assert late(*ending(node, 26.1)) == [f"{node} took 26.1 s to end, and may take 26.0 s"]


def test_a_worker_ends_when_it_has_done_its_work() -> None:
    assert not late(*run(TOLD + 50), *ending("wk-0", 50.9))
    assert late(*run(TOLD + 50), *ending("wk-0", 51.1))


def test_the_api_ends_at_once() -> None:
    assert late(*ending("api", 1.1))


def test_a_node_that_is_killed_meanwhile_does_not_end_late() -> None:
    assert not late(*ending("gw-0", 90, crashed=True))


@pytest.mark.parametrize(("node", "most"), [("gw-0", 45), ("ex-0", 40), ("wk-0", 142)])
def test_what_is_held_up_ends_when_its_deadlines_are_over(node: str, most: float) -> None:
    redis = fault(at=50, until=400)
    assert not late(*ending(node, most - 0.1), redis)
    assert late(*ending(node, most + 0.1), redis)


@pytest.mark.parametrize("kind", [FaultKind.PAUSE, FaultKind.DEAF])
def test_who_takes_nothing_may_hold_a_gateway_up(kind: FaultKind) -> None:
    assert not late(*ending("gw-0", 30), fault("wk-1", at=90, until=130, kind=kind))


@pytest.mark.parametrize("places", [("gw-0", ""), ("ex-0", "gw-1"), ("ex-0", "redis")])
def test_a_fault_on_the_way_may_hold_a_node_up(places: tuple[str, str]) -> None:
    there = Began(at=0, gateways=2)
    assert not late(there, *ending("ex-0", 30), fault(*places, at=90, until=95))


@pytest.mark.parametrize(
    "other",
    [
        fault("ex-1", "redis", at=100, until=120),  # of another node
        fault(at=20, until=39),  # long ago
        fault(at=131, until=140),  # later
    ],
)
def test_a_fault_elsewhere_holds_nothing_up(other: Event) -> None:
    assert late(*ending("ex-0", 30), other)


def test_a_restart_is_no_reason_for_its_own_length() -> None:
    restart = fault("gw-0", at=TOLD, until=TOLD + 30.2, kind=FaultKind.RESTART)
    assert late(*ending("gw-0", 30), restart)


def test_a_node_ends_later_by_as_long_as_it_was_paused() -> None:
    paused = fault("gw-0", at=110, until=150, kind=FaultKind.PAUSE)
    pause = Paused(at=110, node="gw-0", until=150)
    elsewhere = Paused(at=100, node="gw-1", until=190)
    assert not late(*ending("gw-0", 84.9), paused, pause, elsewhere)
    assert late(*ending("gw-0", 85.1), paused, pause, elsewhere)


@pytest.mark.parametrize(("seconds", "expected"), [(45, True), (150, False)])
def test_a_restart_excuses_nothing_after_it_should_be_over(seconds: float, expected: bool) -> None:
    over = TOLD + seconds + 0.2
    call = [
        CallStarted(at=over + 1, request="r", call=1, executor="ex-0.3"),
        CallEnded(
            at=over + 2,
            request="r",
            call=1,
            how=CallEnding.FAILED,
            detail="connect_no_healthy_connection",
        ),
    ]
    restart = fault("gw-0", at=TOLD, until=over, kind=FaultKind.RESTART)
    facts = Facts([Began(at=0), *ending("gw-0", seconds), restart, *call])
    assert is_excused(facts, facts.calls[1]) is expected
