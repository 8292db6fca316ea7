"""Forged histories in which nothing disturbs what happens, or something does."""

from collections.abc import Callable, Iterator

import pytest

from connect.worker import RunEnd
from tests.simulation.connections import ReplyDropped, RequestIgnored
from tests.simulation.facts import Facts
from tests.simulation.faults import FaultKind
from tests.simulation.history import (
    Began,
    CallEnded,
    CallEnding,
    CallStarted,
    Event,
    Faulty,
    LeaseStored,
    NodeStopped,
    NodeStopping,
    ReplyConfirmed,
    RunEnded,
    RunStarted,
)
from tests.simulation.undisturbed import (
    late_answers,
    late_flushes,
    requests_after_a_pause,
    unacknowledged_replies,
)

Rule = Callable[[Facts], Iterator[tuple[float, str]]]

ACKED = "reply acked"
FLUSHED = "reply flushed"


def called(at: float, call: int = 1, request: str = "r") -> Event:
    return CallStarted(at=at, request=request, call=call, executor="ex-0.1")


def ended(at: float, how: CallEnding = CallEnding.ANSWERED, call: int = 1) -> Event:
    return CallEnded(at=at, request="r", call=call, how=how)


def run(
    began: float, until: float, name: str = "run-1", *, request: str = "r", end: str = "done"
) -> list[Event]:
    who = {"request": request, "run": name, "worker": "wk-0.7"}
    return [RunStarted(at=began, lease="L", **who), RunEnded(at=until, end=end, **who)]


def confirmed(at: float, how: str = ACKED) -> Event:
    return ReplyConfirmed(at=at, request="r", worker="wk-0.7", how=how)


def dropped(at: float) -> Event:
    return ReplyDropped(at=at, request="r", worker="wk-0.7", why="refused by the API")


def ignored(at: float, worker: str = "wk-0.7") -> Event:
    return RequestIgnored(at=at, request="r", worker=worker, why="shutting down")


def fault(at: float, until: float, *places: str, kind: FaultKind = FaultKind.PARTITION) -> Event:
    node, other = (*places, "", "")[:2]
    return Faulty(at=at, kind=kind, fault="a fault", places=(node, other), until=until)


def found(rule: Rule, *events: Event, limit: int | None = None) -> list[str]:
    return [text for _, text in rule(Facts([Began(at=0, limits=(limit,)), *events]))]


# Answers


def test_a_request_that_runs_and_is_answered_at_once_is_well() -> None:
    assert not found(late_answers, called(5), *run(5.1, 15), ended(15.1))


def test_a_request_must_not_wait_until_it_runs() -> None:
    assert found(late_answers, called(5), *run(6.1, 15), ended(15.1))


def test_an_answer_must_not_wait_when_the_request_has_run() -> None:
    assert found(late_answers, called(5), *run(5.1, 15), ended(16.1))


def test_a_request_must_not_run_again() -> None:
    again = run(9, 15, "run-2")
    assert found(late_answers, called(5), *run(5.1, 6), *again, ended(6.1 + 9))


def test_what_is_late_after_the_first_fault_may_be() -> None:
    troubled = fault(15.5, 16, "gw-0")
    assert not found(late_answers, called(5), *run(5.1, 15), ended(16.1), troubled)


def test_what_was_late_before_the_first_fault_must_not_be() -> None:
    assert found(late_answers, called(5), *run(5.1, 15), ended(16.1), fault(16.05, 17, "gw-0"))


def test_what_is_late_after_the_first_end_of_a_node_may_be() -> None:
    stopping = NodeStopping(at=15.5, node="ex-0")
    assert not found(late_answers, called(5), *run(5.1, 15), ended(16.1), stopping)


def test_before_all_have_found_each_other_a_request_may_wait() -> None:
    assert not found(late_answers, called(2), *run(3.5, 15), ended(15.1))


def test_a_request_that_is_given_up_is_not_answered() -> None:
    given_up = ended(20, CallEnding.CANCELLED)
    assert not found(late_answers, called(5), *run(5.1, 15), given_up)


def test_a_request_that_others_make_meanwhile_is_not_looked_at() -> None:
    twice = [called(5), called(7, 2)]
    assert not found(late_answers, *twice, *run(5.1, 6), ended(8), ended(8, call=2))


def test_a_request_waits_for_what_a_worker_runs_for_nobody() -> None:
    nobodys = run(4, 8, "run-0", request="left")
    events = [*nobodys, called(5), *run(8, 15), ended(15.1)]
    assert not found(late_answers, *events, limit=1)
    assert found(late_answers, *events, limit=2)


# Acknowledgements


def test_a_reply_that_is_acknowledged_at_once_is_well() -> None:
    events = [called(5), *run(5.1, 15), ended(15.1), confirmed(15.2)]
    assert not found(unacknowledged_replies, *events)


@pytest.mark.parametrize(
    "heard", [[], [confirmed(16.1)], [confirmed(15.5, FLUSHED)], [dropped(15.5)]]
)
def test_a_reply_must_be_acknowledged_at_once_over_the_socket(heard: list[Event]) -> None:
    events = [called(5), *run(5.1, 15), ended(15.1), *heard]
    assert found(unacknowledged_replies, *events)


def test_an_acknowledgement_after_the_first_fault_may_be_late() -> None:
    events = [called(5), *run(5.1, 15), ended(15.1), fault(15.5, 16, "gw-0")]
    assert not found(unacknowledged_replies, *events)


# Flushes


@pytest.mark.parametrize("settled", [confirmed(20.9, FLUSHED), confirmed(15.1), dropped(20.9)])
def test_a_reply_is_settled_in_time(settled: Event) -> None:
    assert not found(late_flushes, *run(5, 15), settled)


def test_a_reply_must_be_flushed_in_time() -> None:
    assert found(late_flushes, *run(5, 15), confirmed(21.1, FLUSHED))


def test_a_fault_between_worker_and_gateway_holds_no_flush_up() -> None:
    assert found(late_flushes, *run(5, 15), fault(14, 40, "wk-0", "gw-0"), confirmed(40))


@pytest.mark.parametrize(
    "places", [("wk-0", "api"), ("wk-0",), ("api",), ("api", "redis"), ("", "")]
)
def test_a_fault_on_the_way_of_a_flush_may_hold_it_up(places: tuple[str, ...]) -> None:
    assert not found(late_flushes, *run(5, 15), fault(14, 18, *places), confirmed(30, FLUSHED))


@pytest.mark.parametrize("end", [RunEnd.CANCELLED, RunEnd.LEASE_LOST, ""])
def test_a_run_without_a_reply_has_none_to_flush(end: str) -> None:
    assert not found(late_flushes, *run(5, 15, end=end))


def test_a_worker_that_is_gone_flushes_nothing() -> None:
    stopped = NodeStopped(at=18, node="wk-0", crashed=True)
    assert not found(late_flushes, *run(5, 15), stopped)


@pytest.mark.parametrize(("at", "late"), [(25.9, False), (26.1, True)])
def test_a_reply_that_answers_its_request_once_more_is_flushed_later(at: float, late: bool) -> None:
    again = LeaseStored(at=20, request="r", lease="L2", previous="", expires=40)
    assert bool(found(late_flushes, *run(5, 15), again, confirmed(at, FLUSHED))) is late


def test_a_request_that_another_worker_is_given_delays_no_flush() -> None:
    again = LeaseStored(at=20, request="r", lease="L2", previous="", expires=40)
    other = RunStarted(at=20.1, request="r", run="run-2", worker="wk-1.3", lease="L2")
    assert found(late_flushes, *run(5, 15), again, other, confirmed(25.9, FLUSHED))


# A worker that pauses


def test_a_worker_that_is_stopped_must_be_given_nothing() -> None:
    assert found(requests_after_a_pause, NodeStopping(at=10, node="wk-0"), ignored(11.1))


def test_what_is_on_its_way_as_a_worker_is_stopped_arrives() -> None:
    assert not found(requests_after_a_pause, NodeStopping(at=10, node="wk-0"), ignored(10.9))


def test_a_worker_may_ignore_requests_for_other_reasons() -> None:
    assert not found(requests_after_a_pause, NodeStopping(at=10, node="wk-1"), ignored(11.1))


def test_a_gateway_that_cannot_hear_a_worker_may_give_it_requests() -> None:
    events = [NodeStopping(at=10, node="wk-0"), ignored(11.1)]
    assert not found(requests_after_a_pause, *events, fault(9, 11, "wk-0", "gw-0"))


def test_its_own_restart_does_not_keep_a_worker_from_being_heard() -> None:
    events = [NodeStopping(at=10, node="wk-0"), ignored(11.1)]
    assert found(requests_after_a_pause, *events, fault(10, 12, "wk-0", kind=FaultKind.RESTART))
