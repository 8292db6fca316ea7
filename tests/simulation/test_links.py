"""Forged histories of connections: those that end well, too early, or too late."""

from collections.abc import Callable, Iterator

import pytest

from connect.protocol.lifecycle import Side
from tests.simulation.connections import (
    ConnectionEnded,
    ConnectionOpened,
    DialFailed,
    Dialled,
    Told,
)
from tests.simulation.facts import Facts
from tests.simulation.faults import FaultKind
from tests.simulation.history import (
    Began,
    Event,
    Faulty,
    NodeStopped,
    NodeStopping,
    Paused,
    RunEnded,
    RunStarted,
)
from tests.simulation.links import (
    causeless_ends,
    dials_of_lost_gateways,
    early_departures,
    silent_connections,
)

Rule = Callable[[Facts], Iterator[tuple[float, str]]]

MISSED = "CONSECUTIVE_HEARTBEATS_MISSED"
LEFT = "closed: GATEWAY_DRAINING"
SUSPECTED = f"closed: {MISSED}"
CLOSED = "closed by the gateway: 1011 connect_internal_error"


def opened(at: float = 1.0) -> Event:
    return ConnectionOpened(at=at, connection="c", worker="wk-0", gateway="gw-0")


def ended(
    at: float,
    reason: str = "UNEXPECTED",
    *,
    heard: float | None = None,
    quiet: tuple[float, float] = (0.0, 0.0),
    by: Side = Side.GATEWAY,
) -> Event:
    """The gateway tells; it has heard its worker until then, unless another time is given."""
    return ConnectionEnded(
        at=at,
        connection="c",
        worker="wk-0",
        gateway="gw-0",
        told=Told.GATEWAY,
        reason=reason,
        by=by,
        heard=at if heard is None else heard,
        quiet=quiet,
    )


def left(at: float, reason: str = LEFT, gateway: str = "gw-0") -> Event:
    """The worker tells."""
    return ConnectionEnded(
        at=at, connection="c", worker="wk-0", gateway=gateway, told=Told.WORKER, reason=reason
    )


def dialled(at: float, gateway: str = "gw-0") -> Event:
    return Dialled(at=at, worker="wk-0", gateway=gateway)


def failed(at: float, gateway: str = "gw-0") -> Event:
    return DialFailed(at=at, worker="wk-0", gateway=gateway)


def fault(at: float, until: float, *places: str, kind: FaultKind = FaultKind.PARTITION) -> Event:
    node, other = (*places, "", "")[:2]
    return Faulty(at=at, kind=kind, fault="a fault", places=(node, other), until=until)


def found(rule: Rule, *events: Event, gateways: int = 2) -> list[str]:
    return [text for _, text in rule(Facts([Began(at=0, gateways=gateways), *events]))]


# Ends and their reasons


def test_a_connection_that_ends_by_itself_ends_for_no_reason() -> None:
    assert found(causeless_ends, opened(), ended(20))


def test_a_worker_that_gives_its_gateway_up_needs_a_reason() -> None:
    assert found(causeless_ends, opened(), left(20, "the gateway left 3 heartbeats unanswered"))


def test_a_worker_that_never_joined_needs_a_reason() -> None:
    assert found(causeless_ends, NodeStopped(at=1, node="wk-0", crashed=True), ended(50))


def test_a_connection_ends_with_its_worker() -> None:
    assert not found(causeless_ends, opened(), NodeStopping(at=19, node="wk-0"), ended(20))


def test_a_connection_ends_with_its_gateway() -> None:
    stopped = NodeStopped(at=19, node="gw-0", crashed=True)
    assert not found(causeless_ends, opened(), stopped, left(20))


def test_an_end_before_it_was_opened_is_no_reason() -> None:
    assert found(causeless_ends, NodeStopping(at=0.5, node="wk-0"), opened(), ended(20))


def test_a_fault_between_both_ends_a_connection() -> None:
    assert not found(causeless_ends, opened(), fault(5, 10, "wk-0", "gw-0"), ended(60))


def test_a_fault_of_another_worker_ends_no_connection() -> None:
    assert found(causeless_ends, opened(), fault(5, 10, "wk-1", "gw-0"), ended(20))


def test_a_fault_long_ago_ends_no_connection() -> None:
    assert found(causeless_ends, opened(), fault(5, 10, "wk-0", "gw-0"), ended(71))


def test_without_redis_a_gateway_gives_connections_up() -> None:
    assert not found(causeless_ends, opened(), fault(5, 70, ""), ended(68, "STORE_UNAVAILABLE"))


def test_a_gateway_that_alone_has_no_redis_gives_connections_up() -> None:
    away = fault(5, 70, "gw-0", "redis")
    assert not found(causeless_ends, opened(), away, ended(68, "STORE_UNAVAILABLE"))


def test_redis_does_not_end_a_connection_for_other_reasons() -> None:
    assert found(causeless_ends, opened(), fault(5, 70, ""), ended(68, MISSED))


def test_a_worker_need_not_know_why_its_gateway_gave_it_up() -> None:
    away, gone = fault(5, 70, "gw-0", "redis"), left(69, CLOSED)
    assert not found(causeless_ends, opened(), away, ended(68, "STORE_UNAVAILABLE"), gone)


def test_a_gateway_that_closes_a_connection_needs_a_reason() -> None:
    assert len(found(causeless_ends, opened(), ended(68), left(69, CLOSED))) == 1


def test_a_worker_that_tells_of_a_close_that_its_gateway_knows_nothing_of_needs_a_reason() -> None:
    ends = (ended(68, "UNEXPECTED", by=Side.WORKER), left(69, CLOSED))
    assert len(found(causeless_ends, opened(), *ends)) == 2


@pytest.mark.parametrize("places", [("",), ("gw-0", "redis"), ("gw-0", "ex-0"), ("ex-0",)])
def test_a_worker_leaves_a_gateway_that_does_not_answer_for_leases(places: tuple[str, ...]) -> None:
    ends = [ended(30, MISSED, by=Side.WORKER), left(30, SUSPECTED)]
    assert not found(causeless_ends, opened(), fault(15, 28, *places), *ends)


@pytest.mark.parametrize("end", [0, 1])
def test_a_worker_must_not_suspect_a_gateway_that_is_well(end: int) -> None:
    ends = [ended(30, MISSED, by=Side.WORKER), left(30, SUSPECTED)]
    assert found(causeless_ends, opened(), fault(15, 28, "gw-1", "redis"), ends[end])


# Silence


def test_a_connection_that_is_silent_for_six_intervals_stayed_too_long() -> None:
    assert found(silent_connections, ended(80, MISSED, heard=19.9))


def test_a_connection_that_was_silent_before_it_was_heard_again_stayed_too_long() -> None:
    assert found(silent_connections, ended(90, quiet=(10, 70.1)))


def test_a_silent_connection_ends_after_five_intervals() -> None:
    assert not found(silent_connections, ended(70, MISSED, heard=19))


def test_what_comes_while_a_connection_is_closed_makes_it_no_less_silent() -> None:
    assert not found(silent_connections, ended(70, MISSED, heard=71, quiet=(20, 71)))


def test_a_connection_that_was_heard_lately_does_not_end_as_silent() -> None:
    assert found(silent_connections, ended(70, MISSED, heard=31))


def test_a_worker_may_give_up_a_gateway_that_hears_it() -> None:
    assert not found(silent_connections, ended(70, MISSED, by=Side.WORKER))


def test_a_gateway_that_stands_still_hears_nothing() -> None:
    paused = Paused(at=30, node="gw-0", until=50)
    assert not found(silent_connections, paused, ended(99, MISSED, heard=19.9))
    assert found(silent_connections, paused, ended(111, MISSED, heard=19.9))


def test_what_a_worker_tells_says_nothing_of_silence() -> None:
    assert not found(silent_connections, left(80))


# Leaving


def run(began: float, until: float, connection: str = "c") -> list[Event]:
    who = {"request": "r", "run": "run-1", "worker": "wk-0.7"}
    return [
        RunStarted(at=began, lease="L", connection=connection, **who),
        RunEnded(at=until, **who),
    ]


def test_a_worker_must_not_leave_before_its_work_is_done() -> None:
    assert found(early_departures, *run(5, 15), left(10))


def test_a_worker_must_not_leave_a_gateway_that_it_suspects_before_its_work_is_done() -> None:
    assert found(early_departures, *run(5, 15), left(10, SUSPECTED))


def test_a_worker_leaves_when_its_work_is_done() -> None:
    assert not found(early_departures, *run(5, 9), left(10))


def test_work_that_came_over_another_connection_keeps_nobody() -> None:
    assert not found(early_departures, *run(5, 15, "another"), left(10))


def test_a_connection_that_is_lost_is_not_left() -> None:
    assert not found(early_departures, *run(5, 15), left(10, "closed by the gateway: 1006"))


# Where workers go next


def test_a_worker_must_not_come_back_to_a_gateway_that_it_has_lost() -> None:
    assert found(dials_of_lost_gateways, left(80), dialled(81))


def test_a_worker_must_not_try_a_gateway_again_that_it_could_not_reach() -> None:
    assert found(dials_of_lost_gateways, failed(80), dialled(81))


def test_a_worker_goes_to_another_gateway() -> None:
    assert not found(dials_of_lost_gateways, left(80), dialled(81, "gw-1"))


def test_a_worker_may_come_back_to_the_only_gateway() -> None:
    assert not found(dials_of_lost_gateways, left(80), dialled(81), gateways=1)


def test_a_worker_may_come_back_after_a_while() -> None:
    assert not found(dials_of_lost_gateways, left(80), dialled(111))


def test_a_worker_that_began_anew_has_lost_nothing() -> None:
    stopped = NodeStopped(at=80.5, node="wk-0", crashed=True)
    assert not found(dials_of_lost_gateways, left(80), stopped, dialled(81))


def test_a_worker_may_come_back_if_the_other_gateway_is_not_well() -> None:
    assert not found(dials_of_lost_gateways, fault(70, 75, "gw-1", "redis"), left(80), dialled(81))


def test_a_worker_may_come_back_if_the_other_gateway_ends() -> None:
    ending = NodeStopping(at=80.5, node="gw-1")
    assert not found(dials_of_lost_gateways, left(80), ending, dialled(81))


def test_a_worker_may_come_back_if_it_has_lost_the_other_one_too() -> None:
    assert not found(dials_of_lost_gateways, left(70, gateway="gw-1"), left(80), dialled(81))


def test_a_worker_whose_api_is_not_well_goes_where_it_can() -> None:
    assert not found(dials_of_lost_gateways, fault(70, 75, "wk-0", "api"), left(80), dialled(81))


def test_without_redis_nobody_knows_the_other_gateways() -> None:
    assert not found(dials_of_lost_gateways, fault(70, 75, ""), left(80), dialled(81))


def test_at_first_not_all_gateways_are_there() -> None:
    assert not found(dials_of_lost_gateways, failed(0.5), dialled(1.0))
