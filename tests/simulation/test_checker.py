"""Forged histories: each invariant refuses what it is there for, and nothing else."""

from collections.abc import Sequence

import pytest

from tests.simulation.checker import INVARIANTS, Violation, check
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
    ForwardEnded,
    GatewayDrained,
    History,
    LeaseAdopted,
    LeaseDeleted,
    LeaseStored,
    Leftover,
    NodeStopped,
    Paused,
    ReplyConfirmed,
    ReplyDeleted,
    ReplyStored,
    RunEnded,
    RunStarted,
    Unassigned,
)

STOPPED = "connect_worker_stopped_responding"
CAPACITY = "connect_all_workers_at_capacity"
UNHEALTHY = "connect_no_healthy_connection"


def called(at: float, call: int = 1, *, request: str = "r", executor: str = "ex-0") -> Event:
    return CallStarted(at=at, request=request, call=call, executor=executor)


def ended(
    at: float, how: CallEnding, detail: str = "", call: int = 1, *, request: str = "r"
) -> Event:
    return CallEnded(at=at, request=request, call=call, how=how, detail=detail)


def answered(at: float, run: str = "run-1", call: int = 1, *, request: str = "r") -> Event:
    return ended(at, CallEnding.ANSWERED, run, call, request=request)


def failed(at: float, why: str, call: int = 1) -> Event:
    return ended(at, CallEnding.FAILED, why, call)


def lost(at: float, call: int = 1) -> Event:
    return ended(at, CallEnding.LOST, "", call)


def leased(at: float, lease: str = "L1", *, previous: str = "", expires: float = 0.0) -> Event:
    return LeaseStored(
        at=at, request="r", lease=lease, previous=previous, expires=expires or at + 20
    )


def began(at: float, run: str = "run-1", worker: str = "wk-0.1", lease: str = "L1") -> Event:
    return RunStarted(at=at, request="r", run=run, worker=worker, lease=lease)


def finished(at: float, run: str = "run-1", worker: str = "wk-0.1") -> Event:
    return RunEnded(at=at, request="r", run=run, worker=worker)


def forwarded(at: float, lease: str = "L1", *, success: bool, sure: bool = True) -> Event:
    return ForwardEnded(at=at, request="r", lease=lease, success=success, sure=sure)


def stored(at: float, run: str = "run-1") -> Event:
    return ReplyStored(at=at, request="r", run=run)


def taken(at: float, node: str = "ex-0") -> Sequence[Event]:
    return (
        LeaseDeleted(at=at, request="r", node=node),
        ReplyDeleted(at=at, request="r", node=node),
    )


def confirmed(at: float, worker: str = "wk-0.1") -> Event:
    return ReplyConfirmed(at=at, request="r", worker=worker, how="reply acked")


def faulty(at: float, until: float, *places: str, kind: FaultKind = FaultKind.HANGING) -> Event:
    """A fault; of Redis as a whole, unless other places are given."""
    return Faulty(at=at, kind=kind, fault="a fault", places=places or ("", ""), until=until)


def there_are(*limits: int | None, gateways: int = 1) -> Event:
    """So many gateways, and workers with these limits."""
    return Began(at=0, gateways=gateways, limits=limits)


def assigned(at: float, request: str = "r", worker: str = "wk-0.1") -> Event:
    return Assigned(at=at, request=request, worker=worker)


def found(*events: Event) -> set[str]:
    return {violation.invariant for violation in check(events)}


# A request as it should go.
WELL = (
    there_are(None),
    called(1),
    leased(1.1),
    began(1.2),
    forwarded(1.3, success=True),
    leased(6, "L2", previous="L1"),
    LeaseAdopted(at=6.1, request="r", worker="wk-0.1", lease="L2"),
    finished(8),
    stored(8.1),
    confirmed(8.2),
    *taken(8.3),
    answered(8.4),
)


def test_a_request_as_it_should_go_is_well() -> None:
    assert check(WELL) == []


def test_a_violation_says_when_and_what() -> None:
    violation = Violation("nothing is left", 12.5, "the key x")
    assert str(violation) == "nothing is left, at 12.500 s: the key x"


# Each request answered exactly once, or failed with its reason


def test_a_call_without_an_outcome_is_refused() -> None:
    assert found(called(1)) == {"every call ends once"}


def test_a_call_with_two_outcomes_is_refused() -> None:
    assert found(*WELL, answered(9)) == {"every call ends once"}


def test_an_answer_of_no_run_is_refused() -> None:
    assert found(*WELL[:-1], answered(8.4, "run-7")) == {"answers are of the request"}


def test_the_answer_to_another_request_is_refused() -> None:
    other = (called(9, 2, request="other"), answered(10, call=2, request="other"))
    assert found(*WELL, *other) == {"answers are of the request"}


def test_two_answers_to_one_executor_at_a_time_are_refused() -> None:
    second = (called(2, 2), began(9, "run-2", lease="L2"), finished(9.5, "run-2"))
    assert "callers get one answer" in found(*WELL, *second, answered(10, "run-2", 2))


def test_one_answer_for_two_callers_is_well() -> None:
    assert not found(*WELL, called(2, 2), answered(8.4, call=2))


def test_a_failure_without_a_reason_is_refused() -> None:
    assert found(faulty(0, 1), called(1), failed(2, "")) == {"failures have causes"}


def test_a_failure_with_a_reason_that_nobody_gives_is_refused() -> None:
    assert found(faulty(0, 1), called(1), failed(2, "request_too_long")) == {"failures have causes"}


def test_a_failure_without_a_fault_is_refused() -> None:
    assert found(called(1), failed(2, UNHEALTHY)) == {"failures have causes"}


def test_an_executor_that_another_one_replaced_may_miss_the_reply() -> None:
    late = (called(2, 2, executor="ex-1"), answered(8.4, call=2), failed(20, STOPPED))
    assert not found(*WELL[:-1], *late)


# What a worker has goes on

ANEW = (finished(22), leased(23, "L3"), began(23.1, "run-2", "wk-1.2", "L3"))


def test_work_that_is_given_to_another_for_no_reason_is_refused() -> None:
    assert found(*WELL[:4], *ANEW, answered(30, "run-2")) == {"work is not lost"}


def test_work_that_is_given_to_another_after_a_short_break_is_refused() -> None:
    cut = faulty(3, 3, "wk-0", "gw-0", kind=FaultKind.CUT)
    assert found(cut, *WELL[:4], *ANEW, answered(30, "run-2")) == {"work is not lost"}


def test_work_is_given_to_another_if_its_worker_is_killed() -> None:
    killed = faulty(3, 3, "wk-0", kind=FaultKind.KILL)
    assert not found(killed, *WELL[:4], *ANEW, answered(30, "run-2"))


def test_what_no_worker_has_is_given_to_another() -> None:
    assert not found(*WELL[:3], *ANEW, answered(30, "run-2"))


def test_work_is_given_to_another_if_its_caller_has_left() -> None:
    left = ended(3, CallEnding.CANCELLED)
    assert not found(*WELL[:4], left, called(20, 2), *ANEW, answered(30, "run-2", 2))


def test_a_request_that_was_answered_may_be_made_again() -> None:
    assert not found(*WELL, called(20, 2), *ANEW, answered(30, "run-2", 2))


# No two workers hold a live lease for it


def test_two_workers_with_one_lease_are_refused() -> None:
    other = LeaseAdopted(at=7, request="r", worker="wk-1.2", lease="L2")
    assert found(*WELL, other) == {"one worker holds a lease"}


def test_a_worker_that_is_given_the_extension_of_anothers_lease_is_refused() -> None:
    events = (
        *WELL[:4],
        forwarded(2, success=False),
        leased(2.1, "L3"),
        began(2.2, "run-2", "wk-1.2", "L3"),
        leased(6, "L4", previous="L3"),
        LeaseAdopted(at=6.1, request="r", worker="wk-0.1", lease="L4"),
    )
    assert "one worker holds a lease" in found(*events)


def test_a_lease_that_nobody_granted_is_refused() -> None:
    stranger = LeaseAdopted(at=7, request="r", worker="wk-0.1", lease="L9")
    assert found(*WELL, stranger) == {"leases are granted"}


def second_run(at: float, until: float, *, forward: Event | None = None) -> list[Event]:
    """The request as it should go, but for a second run of it under another lease.

    Its worker was killed, for all that others know.
    """
    killed = faulty(4, 4, "wk-0", kind=FaultKind.KILL)
    events = [*WELL[:4], killed, forward or forwarded(1.3, success=True)]
    events += [leased(at, "L3"), began(at, "run-2", "wk-1.2", "L3"), finished(8), stored(8.1)]
    return [*events, finished(until, "run-2", "wk-1.2"), *taken(until), answered(until)]


def test_two_runs_at_once_are_refused() -> None:
    assert found(*second_run(5, 9)) == {"nothing runs twice at once"}


def test_two_runs_one_after_the_other_are_well() -> None:
    assert not found(*second_run(8, 9))


@pytest.mark.parametrize("sure", [True, False])
def test_a_run_counts_though_its_forward_failed(sure: bool) -> None:
    events = second_run(5, 9, forward=forwarded(4, success=False, sure=sure))
    assert found(*events) == {"nothing runs twice at once"}


def test_a_worker_that_is_paused_runs_nothing() -> None:
    pause = Paused(at=4.9, node="wk-0", until=8)
    assert not found(*second_run(5, 9), pause)


@pytest.mark.parametrize("node", ["gw-1", "ex-0"])
def test_a_worker_may_not_go_on_because_somebody_has_lost_redis(node: str) -> None:
    events = (*second_run(5, 9), faulty(2, 6, node, "redis", kind=FaultKind.PARTITION))
    assert found(*events) == {"nothing runs twice at once"}


def test_a_worker_that_was_killed_runs_nothing() -> None:
    killed = NodeStopped(at=4.5, node="wk-0", crashed=True)
    assert not found(*second_run(5, 9), killed)


def test_a_run_whose_caller_has_left_is_one_like_any_other() -> None:
    events = [
        *WELL[:5],
        ended(3, CallEnding.CANCELLED),
        LeaseDeleted(at=3, request="r", node="ex-0"),
        *(called(4, 2), leased(4.1, "L3"), began(4.2, "run-2", "wk-1.2", "L3")),
        *(finished(6), finished(7, "run-2", "wk-1.2"), answered(7, "run-2", 2)),
    ]
    assert found(*events) == {"nothing runs twice at once"}


# No worker has more requests than it may

LIMITED = there_are(2)


def test_more_requests_counted_than_a_worker_may_have_are_refused() -> None:
    events = [assigned(number, f"r-{number}") for number in (1, 2, 3)]
    assert found(LIMITED, *events) == {"workers keep their limits"}


def test_as_many_requests_as_a_worker_may_have_are_well() -> None:
    first, second, third = (assigned(number, f"r-{number}") for number in (1, 2, 3))
    assert not found(LIMITED, first, second, Unassigned(at=3, request="r-1"), third)


def test_a_request_that_goes_to_another_worker_counts_there_alone() -> None:
    both = there_are(1, 1)
    events = (assigned(1), assigned(2, worker="wk-1.2"), assigned(3, "other", "wk-0.1"))
    assert not found(both, *events)
    assert found(both, *events, assigned(4, "third", "wk-1.2")) == {"workers keep their limits"}


def test_the_place_of_a_request_whose_lease_ran_out_is_anothers() -> None:
    events = (there_are(1), assigned(1), leased(1))
    assert not found(*events, assigned(21.5, "other"))
    assert found(*events, assigned(20.5, "other")) == {"workers keep their limits"}


def test_the_place_of_a_request_whose_extended_lease_ran_out_is_anothers() -> None:
    extended = leased(6, "L2", previous="L1", expires=26)
    events = (there_are(1), assigned(1), leased(1), extended)
    assert not found(*events, assigned(26.5, "other"))
    assert found(*events, assigned(25.5, "other")) == {"workers keep their limits"}


def test_a_request_that_is_extended_late_counts_again() -> None:
    late = leased(27, "L3", previous="L2", expires=47)
    events = (there_are(1), assigned(1), leased(1), leased(6, "L2", previous="L1", expires=26))
    assert found(*events, late, assigned(28, "other")) == {"workers keep their limits"}


def held(at: float, request: str, *, ends: float | None = None) -> list[Event]:
    lease = f"of {request}"
    events: list[Event] = [
        LeaseStored(at=at, request=request, lease=lease, previous="", expires=at + 20),
        RunStarted(at=at, request=request, run=f"run of {request}", worker="wk-0.1", lease=lease),
    ]
    if ends is not None:
        run = f"run of {request}"
        events.append(RunEnded(at=ends, request=request, run=run, worker="wk-0.1"))
    return events


def test_more_requests_held_and_run_than_a_worker_may_have_are_refused() -> None:
    violations = check([there_are(1), *held(1, "a"), *held(2, "b")])
    assert [violation.text for violation in violations] == [
        "2 requests held by wk-0.1 at once, which may have 1",
        "2 requests run by wk-0.1 at once, which may have 1",
    ]


def test_more_requests_held_that_wait_to_run_are_refused() -> None:
    adopted = LeaseAdopted(at=7, request="b", worker="wk-0.1", lease="of b")
    leases = [event for event in held(2, "b") if isinstance(event, LeaseStored)]
    [violation] = check([there_are(1), *held(1, "a"), *leases, adopted])
    assert violation.text == "2 requests held by wk-0.1 at once, which may have 1"


def test_requests_held_one_after_the_other_are_well() -> None:
    assert not found(there_are(1), *held(1, "a", ends=2), *held(2, "b", ends=3))


def test_a_request_given_up_is_not_held_but_runs() -> None:
    given_up = LeaseDeleted(at=1.5, request="a", node="ex-0")
    [violation] = check([there_are(1), *held(1, "a"), given_up, *held(2, "b")])
    assert violation.text == "2 requests run by wk-0.1 at once, which may have 1"


def test_a_worker_without_a_limit_may_have_any_number() -> None:
    assert not found(there_are(None), *held(1, "a"), *held(2, "b"), assigned(1), assigned(2, "c"))


# A reply that was acked is never lost


def test_a_confirmation_before_the_reply_is_stored_is_refused() -> None:
    events = [event for event in WELL if not isinstance(event, ReplyStored | ReplyConfirmed)]
    assert found(*events, confirmed(8.05)) == {"confirmed replies are stored"}


def test_whoever_has_no_lease_any_more_may_be_told_anything() -> None:
    assert not found(*WELL, confirmed(30))


def test_a_worker_may_be_told_late_of_its_reply_under_the_lease_before() -> None:
    given_up = LeaseDeleted(at=2, request="r", node="ex-0")
    before = (leased(1), began(1.1), given_up, finished(3), leased(3.1, "L2"))
    again = began(5, "run-2", lease="L2")
    late = found(*before, confirmed(4), again, finished(6, "run-2"))
    assert "confirmed replies are stored" not in late
    assert "confirmed replies are stored" in found(*before, again, confirmed(6))


def test_a_worker_that_stood_still_may_be_told_so_as_its_next_run_begins() -> None:
    given_up = LeaseDeleted(at=2, request="r", node="ex-0")
    before = (leased(1), began(1.1), given_up, finished(3), leased(4, "L2"))
    events = (*before, confirmed(9), began(9, "run-2", lease="L2"), finished(10, "run-2"))
    assert "confirmed replies are stored" not in found(*events)


def test_a_worker_may_be_told_that_the_reply_of_another_is_safe() -> None:
    assert not found(*WELL[:4], *WELL[4:], confirmed(7, "wk-1.2"))


def test_a_reply_that_takes_the_place_of_another_is_refused() -> None:
    assert found(*WELL[:-4], stored(8.15), *WELL[-4:]) == {"replies are stored once"}


def test_a_reply_in_the_place_of_one_that_was_deleted_is_well() -> None:
    assert not found(*WELL, stored(9), ReplyDeleted(at=9.1, request="r", node="ex-0"))


def test_a_request_that_is_leased_again_though_its_reply_is_there_is_refused() -> None:
    again = (*WELL[:-3], lost(8.25), called(40, 2, executor="ex-1"), leased(40.1, "L3"))
    deleted = ReplyDeleted(at=50, request="r", node="ex-1")
    answer = answered(50.1, call=2)
    assert found(*again, deleted, answer) == {"replies are not made again"}


def test_a_request_whose_reply_is_deleted_is_leased_again() -> None:
    assert not found(*WELL, leased(8.5, "L3"))


def test_a_request_whose_reply_has_run_out_is_leased_again() -> None:
    assert not found(*WELL[:-3], leased(8.1 + 60, "L3"), answered(70))


def test_a_lease_is_extended_though_the_reply_is_there() -> None:
    assert not found(*WELL[:-3], leased(8.25, "L3", previous="L2"), *WELL[-3:])


def test_a_call_that_fails_though_the_reply_is_there_is_refused() -> None:
    assert found(faulty(0, 9), *WELL[:-1], failed(8.4, STOPPED)) == {"stored replies arrive"}


def test_a_reply_after_the_end_of_the_lease_may_be_too_late() -> None:
    events = (called(1), leased(1.1), began(1.2), finished(22), stored(22), confirmed(22.1))
    assert not found(faulty(0, 25), *events, failed(26, STOPPED))


def test_a_reply_waits_for_whoever_asks_again_after_an_outage() -> None:
    events = (*WELL[:-3], failed(8.25, STORE_UNAVAILABLE), called(9, 2), *taken(9.1))
    assert not found(faulty(0, 9), *events, answered(9.2, call=2))


def test_a_reply_that_is_not_there_any_more_after_an_outage_is_refused() -> None:
    events = (*WELL[:-1], failed(8.4, STORE_UNAVAILABLE))
    assert found(faulty(0, 9), *events) == {"stored replies arrive"}


def test_a_reply_waits_for_the_executor_that_replaces_a_lost_one() -> None:
    events = (*WELL[:-3], lost(8.25), called(9, 2, executor="ex-1"), failed(30, STOPPED, 2))
    assert found(faulty(0, 9), *events) == {"stored replies arrive"}


def test_a_reply_may_be_lost_with_the_executor_that_took_it() -> None:
    events = (*WELL[:-1], lost(8.4), called(9, 2, executor="ex-1"), failed(30, STOPPED, 2))
    assert not found(faulty(0, 9), *events)


def test_a_reply_does_not_wait_for_an_executor_without_redis_for_ever() -> None:
    events = (*WELL[:-3], failed(70, STOPPED))
    assert not found(faulty(0, 69), *events)


def test_a_reply_does_not_wait_for_ever() -> None:
    events = (*WELL[:-3], lost(8.25), called(80, 2, executor="ex-1"), failed(110, UNHEALTHY, 2))
    gone = faulty(75, 109, "wk-0", kind=FaultKind.PAUSE)
    assert not found(faulty(0, 60), gone, *events)


# A gateway that drains is there


def test_a_drain_without_a_heartbeat_is_refused() -> None:
    drained = GatewayDrained(at=40, node="gw-0", beat=28)
    restarted = faulty(15, 40, "gw-0", kind=FaultKind.RESTART)
    elsewhere = faulty(20, 40, "gw-1")
    assert found(drained, restarted, elsewhere) == {"draining gateways beat"}


def test_a_drain_with_a_heartbeat_a_while_ago_is_well() -> None:
    assert found(GatewayDrained(at=40, node="gw-0", beat=30)) == set()


@pytest.mark.parametrize("places", [(), ("gw-0", "redis"), ("gw-0", "")])
def test_a_gateway_may_miss_heartbeats_that_nothing_can_take(places: tuple[str, ...]) -> None:
    assert found(GatewayDrained(at=40, node="gw-0", beat=28), faulty(28, 35, *places)) == set()


# Nothing is left


def test_what_is_left_is_refused() -> None:
    assert found(*WELL, Leftover(at=99, what="3 tasks")) == {"nothing is left"}


@pytest.mark.parametrize("name", INVARIANTS)
def test_nothing_is_wrong_with_an_empty_history(name: str) -> None:
    assert name not in found()


# Histories


def test_histories_of_the_same_events_have_the_same_digest() -> None:
    one, other = History(lambda: 0.0), History(lambda: 0.0)
    for event in WELL:
        one.add(event)
        other.add(event)
    assert one.digest() == other.digest()


def test_one_event_more_makes_another_digest() -> None:
    history = History(lambda: 0.0)
    before = history.digest()
    history.add(WELL[0])
    assert history.digest() != before
