"""Which failures the faults excuse, in forged histories: what is told must be true."""

import pytest

from tests.simulation.causes import is_excused
from tests.simulation.facts import Facts
from tests.simulation.faults import FaultKind
from tests.simulation.history import (
    STORE_UNAVAILABLE,
    Assigned,
    Began,
    CallEnded,
    CallEnding,
    CallStarted,
    Event,
    Faulty,
    LeaseStored,
    RunStarted,
)

STOPPED = "connect_worker_stopped_responding"
CAPACITY = "connect_all_workers_at_capacity"
UNHEALTHY = "connect_no_healthy_connection"

FROM, TO = 100.0, 130.0
"""When the call began and ended, in seconds."""

LINKS = (FaultKind.PARTITION, FaultKind.ONE_WAY, FaultKind.CUT, FaultKind.SLOW)
OF_REDIS = (FaultKind.REFUSING, FaultKind.HANGING, FaultKind.FORGETFUL)


def fault(kind: FaultKind, *places: str, at: float = 110, until: float = 112) -> Event:
    node, other = (*places, "", "")[:2]
    return Faulty(at=at, kind=kind, fault="a fault", places=(node, other), until=until)


def excused(
    why: str,
    *events: Event,
    limits: tuple[int | None, ...] = (None, None),
    gateways: int = 2,
    worker: str = "wk-0.1",
    streams: bool = True,
) -> bool:
    """Whether the failure of a call is, whose request that worker had."""
    history = (
        Began(at=0, gateways=gateways, limits=limits, streams=streams),
        CallStarted(at=FROM, request="r", call=1, executor="ex-0.3"),
        LeaseStored(at=FROM, request="r", lease="L", previous="", expires=FROM + 20),
        *((RunStarted(at=FROM, request="r", run="1", worker=worker, lease="L"),) if worker else ()),
        CallEnded(at=TO, request="r", call=1, how=CallEnding.FAILED, detail=why),
        *events,
    )
    facts = Facts(history)
    return is_excused(facts, facts.calls[1])


@pytest.mark.parametrize("why", [STOPPED, CAPACITY, UNHEALTHY, STORE_UNAVAILABLE])
def test_nothing_is_excused_without_a_fault(why: str) -> None:
    assert not excused(why)


@pytest.mark.parametrize("why", [UNHEALTHY, STORE_UNAVAILABLE])
@pytest.mark.parametrize("kind", OF_REDIS)
def test_redis_excuses_that_nobody_is_found(why: str, kind: FaultKind) -> None:
    assert excused(why, fault(kind))


@pytest.mark.parametrize("why", [STOPPED, CAPACITY, UNHEALTHY, STORE_UNAVAILABLE])
@pytest.mark.parametrize("kind", FaultKind)
def test_no_fault_excuses_what_comes_long_after(why: str, kind: FaultKind) -> None:
    assert not excused(why, fault(kind, "gw-0", at=30, until=35), gateways=1)


@pytest.mark.parametrize("why", [STOPPED, CAPACITY, UNHEALTHY, STORE_UNAVAILABLE])
@pytest.mark.parametrize("node", ["gw-0", "ex-0"])
def test_a_restart_excuses_nothing_while_another_remains(why: str, node: str) -> None:
    assert not excused(why, fault(FaultKind.RESTART, node))


@pytest.mark.parametrize("why", [STOPPED, UNHEALTHY])
def test_the_restart_of_the_only_gateway_excuses_what_needs_one(why: str) -> None:
    assert excused(why, fault(FaultKind.RESTART, "gw-0"), gateways=1, worker="")


@pytest.mark.parametrize("why", [STOPPED, UNHEALTHY])
@pytest.mark.parametrize("kind", [FaultKind.RESTART, FaultKind.KILL, FaultKind.PAUSE])
def test_a_restart_while_the_other_gateway_is_away_is_a_loss_of_all(
    why: str, kind: FaultKind
) -> None:
    other = fault(kind, "gw-1", at=90, until=109)
    assert excused(why, fault(FaultKind.RESTART, "gw-0"), other)


@pytest.mark.parametrize("why", [STOPPED, CAPACITY, UNHEALTHY, STORE_UNAVAILABLE])
def test_a_drain_excuses_nothing_while_another_gateway_remains(why: str) -> None:
    assert not excused(why, fault(FaultKind.DRAIN, "gw-0"))


@pytest.mark.parametrize("why", [STOPPED, UNHEALTHY])
def test_the_drain_of_the_only_gateway_excuses_what_needs_one(why: str) -> None:
    long = fault(FaultKind.DRAIN, "gw-0", until=125)
    assert excused(why, long, gateways=1)


# The API


@pytest.mark.parametrize("why", [STOPPED, CAPACITY, UNHEALTHY, STORE_UNAVAILABLE])
@pytest.mark.parametrize("places", [("api",), ("api", "redis")])
def test_the_api_alone_excuses_nothing(why: str, places: tuple[str, ...]) -> None:
    away = fault(FaultKind.PARTITION if places[1:] else FaultKind.KILL, *places)
    assert not excused(why, away, limits=(1, 1))


def test_without_the_api_workers_do_not_come_back() -> None:
    lost = fault(FaultKind.KILL, "gw-0", at=60, until=61)
    assert not excused(UNHEALTHY, lost)
    assert excused(UNHEALTHY, lost, fault(FaultKind.KILL, "api", at=59, until=95))


@pytest.mark.parametrize("why", [STOPPED, UNHEALTHY])
@pytest.mark.parametrize("kind", [FaultKind.RESTART, FaultKind.DRAIN])
def test_without_the_api_workers_find_no_other_gateway(why: str, kind: FaultKind) -> None:
    away = fault(FaultKind.KILL, "api", at=90, until=109)
    assert excused(why, fault(kind, "gw-0"), away)


# The store cannot be reached


@pytest.mark.parametrize("kind", LINKS)
def test_the_way_to_the_store_excuses_that_it_is_not_reached(kind: FaultKind) -> None:
    assert excused(STORE_UNAVAILABLE, fault(kind, "redis", "ex-0"))


@pytest.mark.parametrize("places", [("redis", "gw-0"), ("ex-1", "redis"), ("ex-0", "gw-0")])
def test_the_ways_of_others_to_the_store_excuse_nothing(places: tuple[str, str]) -> None:
    assert not excused(STORE_UNAVAILABLE, fault(FaultKind.PARTITION, *places))


@pytest.mark.parametrize(("node", "expected"), [("ex-0", True), ("ex-1", False), ("gw-0", False)])
def test_a_paused_executor_may_miss_the_answers_of_the_store(node: str, expected: bool) -> None:
    assert excused(STORE_UNAVAILABLE, fault(FaultKind.PAUSE, node)) is expected


# No worker is healthy


@pytest.mark.parametrize("kind", [FaultKind.KILL, FaultKind.RESTART, FaultKind.PAUSE])
def test_a_worker_that_is_away_is_no_excuse_while_another_remains(kind: FaultKind) -> None:
    assert not excused(UNHEALTHY, fault(kind, "wk-0"))


@pytest.mark.parametrize("kind", [FaultKind.KILL, FaultKind.RESTART, FaultKind.PAUSE])
def test_no_worker_is_healthy_when_all_are_away(kind: FaultKind) -> None:
    assert excused(UNHEALTHY, fault(kind, "wk-0"), fault(FaultKind.CUT, "gw-1", "wk-1"))


@pytest.mark.parametrize("kind", [FaultKind.KILL, FaultKind.PAUSE])
def test_all_workers_may_be_at_the_gateway_that_is_away(kind: FaultKind) -> None:
    assert excused(UNHEALTHY, fault(kind, "gw-0"))


def test_an_executor_may_not_reach_gateways_that_others_reach() -> None:
    assert excused(UNHEALTHY, fault(FaultKind.PARTITION, "ex-0", "gw-0"))
    assert not excused(UNHEALTHY, fault(FaultKind.PARTITION, "ex-1", "gw-0"))


@pytest.mark.parametrize(("until", "expected"), [(90, True), (80, False)])
def test_workers_come_back_soon_after_a_short_time(until: float, expected: bool) -> None:
    assert excused(UNHEALTHY, fault(FaultKind.KILL, "gw-0", at=until - 2, until=until)) is expected


@pytest.mark.parametrize(("until", "expected"), [(70, True), (60, False)])
def test_workers_that_have_tried_for_long_pause_for_longer(until: float, expected: bool) -> None:
    long = fault(FaultKind.KILL, "gw-0", at=until - 20, until=until)
    assert excused(UNHEALTHY, long) is expected


def test_a_broken_connection_may_go_unnoticed_for_longer() -> None:
    assert excused(UNHEALTHY, fault(FaultKind.PAUSE, "gw-0", at=40, until=45))


# All workers are at capacity


def full(worker: str, count: int) -> list[Event]:
    return [Assigned(at=90, request=f"{worker} {n}", worker=f"{worker}.7") for n in range(count)]


def test_workers_may_be_full() -> None:
    assert excused(CAPACITY, *full("wk-0", 1), *full("wk-1", 2), limits=(1, 2))


@pytest.mark.parametrize("limits", [(1, 3), (1, None)])
def test_a_worker_with_room_is_not_at_capacity(limits: tuple[int | None, ...]) -> None:
    assert not excused(CAPACITY, *full("wk-0", 1), *full("wk-1", 2), limits=limits)


def test_a_worker_that_is_away_has_no_room() -> None:
    away = fault(FaultKind.KILL, "wk-1")
    assert excused(CAPACITY, *full("wk-0", 1), away, limits=(1, None))


def test_workers_without_limits_are_never_at_capacity() -> None:
    assert not excused(CAPACITY, fault(FaultKind.KILL, "wk-1"), limits=(None, None))


# The worker stopped responding


@pytest.mark.parametrize("kind", [FaultKind.KILL, FaultKind.PAUSE])
def test_the_worker_that_has_it_may_be_lost(kind: FaultKind) -> None:
    assert excused(STOPPED, fault(kind, "wk-0", until=125))


@pytest.mark.parametrize("kind", [FaultKind.KILL, FaultKind.PAUSE])
def test_the_loss_of_another_worker_excuses_nothing(kind: FaultKind) -> None:
    assert not excused(STOPPED, fault(kind, "wk-1"))


def test_any_worker_may_have_had_it_that_nobody_ran() -> None:
    assert excused(STOPPED, fault(FaultKind.KILL, "wk-1"), worker="")


def test_a_worker_that_ends_in_good_order_finishes_first() -> None:
    assert not excused(STOPPED, fault(FaultKind.RESTART, "wk-0"))


@pytest.mark.parametrize("kind", [FaultKind.PARTITION, FaultKind.ONE_WAY])
def test_what_joins_the_worker_may_be_gone(kind: FaultKind) -> None:
    assert excused(STOPPED, fault(kind, "gw-1", "wk-0", until=125))


@pytest.mark.parametrize("kind", LINKS)
def test_what_joins_a_worker_may_have_a_request_lost_that_it_had_not(kind: FaultKind) -> None:
    assert excused(STOPPED, fault(kind, "gw-1", "wk-0"), worker="")


@pytest.mark.parametrize("kind", LINKS)
def test_what_joins_another_worker_excuses_nothing(kind: FaultKind) -> None:
    assert not excused(STOPPED, fault(kind, "gw-1", "wk-1"))


@pytest.mark.parametrize(("node", "expected"), [("gw-0", True), ("ex-0", True), ("ex-1", False)])
def test_what_is_on_the_way_may_be_killed(node: str, expected: bool) -> None:
    assert excused(STOPPED, fault(FaultKind.KILL, node), worker="") is expected


def test_the_only_gateway_may_be_killed() -> None:
    assert excused(STOPPED, fault(FaultKind.KILL, "gw-0"), gateways=1)


def test_an_executor_that_was_asked_before_is_on_the_way() -> None:
    before = CallStarted(at=60, request="r", call=2, executor="ex-1.4")
    assert excused(STOPPED, before, fault(FaultKind.KILL, "ex-1", at=98, until=99.5))


def test_another_executor_that_is_asked_meanwhile_takes_the_lease() -> None:
    other = CallStarted(at=110, request="r", call=2, executor="ex-1.4")
    assert excused(STOPPED, other)
    assert not excused(UNHEALTHY, other)


@pytest.mark.parametrize(("leased", "expected"), [(FROM - 1, False), (FROM + 4, True)])
def test_another_executor_that_was_asked_before_may_take_the_lease_later(
    leased: float, expected: bool
) -> None:
    history = (
        Began(at=0, gateways=1, limits=(None,)),
        CallStarted(at=FROM - 2, request="r", call=2, executor="ex-1.4"),
        LeaseStored(at=leased, request="r", lease="L", previous="", expires=leased + 20),
        CallStarted(at=FROM, request="r", call=1, executor="ex-0.3"),
        CallEnded(at=FROM + 9, request="r", call=2, how=CallEnding.ANSWERED, detail="run-1"),
        CallEnded(at=TO, request="r", call=1, how=CallEnding.FAILED, detail=STOPPED),
    )
    facts = Facts(history)
    assert is_excused(facts, facts.calls[1]) is expected


@pytest.mark.parametrize("kind", OF_REDIS)
def test_whoever_asks_after_redis_was_away_waits_for_the_workers(kind: FaultKind) -> None:
    assert excused(UNHEALTHY, fault(kind, at=70, until=FROM - 0.9))
    assert not excused(UNHEALTHY, fault(kind, at=70, until=FROM - 1.1))


@pytest.mark.parametrize("kind", OF_REDIS)
def test_workers_may_be_full_for_a_while_after_redis_was_away(kind: FaultKind) -> None:
    assert excused(CAPACITY, fault(kind, at=70, until=FROM - 20), limits=(1, 1))


def _killed(*connected: tuple[str, str]) -> Event:
    places = ("gw-0", "")
    return Faulty(
        at=95, kind=FaultKind.KILL, fault="a fault", places=places, until=97, connected=connected
    )


@pytest.mark.parametrize("why", [UNHEALTHY, CAPACITY])
def test_a_gateway_takes_no_worker_that_was_at_another_one(why: str) -> None:
    workers = ("wk-0", "gw-0"), ("wk-1", "gw-1")
    assert not excused(why, _killed(*workers), limits=(1, 1))


@pytest.mark.parametrize("why", [UNHEALTHY, CAPACITY])
@pytest.mark.parametrize("connected", [(("wk-0", "gw-0"), ("wk-1", "gw-0")), (("wk-0", "gw-0"),)])
def test_a_gateway_takes_the_workers_that_were_there_or_on_their_way(
    connected: tuple[tuple[str, str], ...], why: str
) -> None:
    assert excused(why, _killed(*connected), limits=(1, 1))


@pytest.mark.parametrize("node", ["ex-0", "wk-0", "gw-0"])
def test_who_comes_back_takes_longer_after_redis_was_away(node: str) -> None:
    away = fault(FaultKind.REFUSING, at=70, until=FROM - 2)
    assert excused(UNHEALTHY, away, fault(FaultKind.RESTART, node, at=75, until=76))
