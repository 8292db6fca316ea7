"""Which work counts as lost for no reason, in journals that are made up."""

from typing import Any

import pytest

from tests.faults.bounds import Period
from tests.faults.load import Call, FailedAttempt
from tests.faults.repeated import Around, Busy, Work

LEASE = 4.0
OURS = frozenset({"ours"})
BEFORE = Period(since=90.0, extended=OURS)
FAULT = Period(since=105.0, extended=OURS)


def call(*failed: tuple[float, str], app: str = "ours") -> Call:
    return Call(
        number=0, request_id="r1", app=app, seconds=5.0, began=100.0, answered=120.0, result=0,
        failed=[FailedAttempt(at, reason) for at, reason in failed],
    )  # fmt: skip


def line(at: float, what: str, instance: str = "w1") -> dict[str, Any]:
    return {"at": at, "what": what, "instance_id": instance, "request_id": "r1"}


def link(at: float, what: str) -> dict[str, Any]:
    return {"at": at, "what": what, "instance_id": "w1", "connection_id": "c"}


FIRST = line(101.0, "started")
AGAIN = (line(112.0, "started", "w2"), line(117.0, "finished", "w2"))


def away(seconds: float) -> list[dict[str, Any]]:
    """The journal of a worker that lost its connection when the fault began."""
    lost = [link(95.0, "connected"), link(105.0, "disconnected")]
    return [*lost, FIRST, link(105.0 + seconds, "connected")]


def work(
    *journal: dict[str, Any],
    periods: tuple[Period, ...] = (BEFORE, FAULT),
    killed: tuple[float, ...] = (),
    busy: tuple[Busy, ...] = (),
) -> Work:
    around = Around(periods=periods, executors_killed=killed, busy=busy, lease=LEASE)
    return Work(journal, around)


def test_a_run_after_a_short_absence_is_a_repetition() -> None:
    [found] = work(*away(1.9), *AGAIN).repetitions([call()])
    assert str(found) == (
        "r1 was run again by w2 at 112.000, though w1 had run it since 101.000, and was not "
        "away for long"
    )


def test_a_run_after_a_long_absence_is_none() -> None:
    assert work(*away(2.1), *AGAIN).repetitions([call()]) == []


def test_a_single_run_is_none() -> None:
    assert work(*away(1.0), line(106.0, "finished")).repetitions([call()]) == []


def test_a_run_amid_a_fault_that_may_lose_work_is_none() -> None:
    periods = (BEFORE, Period(since=105.0), Period(since=110.0, extended=OURS))
    assert work(FIRST, *AGAIN, periods=periods).repetitions([call()]) == []


def test_a_run_of_an_app_whose_leases_may_run_out_is_none() -> None:
    assert work(FIRST, *AGAIN).repetitions([call(app="official")]) == []


@pytest.mark.parametrize(("late", "count"), [(0.4, 1), (0.6, 0)])
def test_a_machine_that_is_busy_may_lose_work(late: float, count: int) -> None:
    busy = (Busy(108.0, late),)
    assert len(work(FIRST, *AGAIN, busy=busy).repetitions([call()])) == count


def ack(at: float, what: str, connection: str = "c") -> dict[str, Any]:
    return {**line(at, what), "request_id": "r2", "connection_id": connection}


@pytest.mark.parametrize(("seconds", "count"), [(0.9, 1), (1.1, 0)])
def test_a_gateway_that_is_slow_to_acknowledge_may_lose_work(seconds: float, count: int) -> None:
    slow = (ack(106.0, "replied"), ack(106.0 + seconds, "reply acked"))
    assert len(work(FIRST, *slow, *AGAIN).repetitions([call()])) == count


def test_a_reply_that_another_gateway_acknowledged_tells_of_no_slowness() -> None:
    moved = (ack(106.0, "replied"), ack(109.0, "reply acked", "d"))
    assert len(work(FIRST, *moved, *AGAIN).repetitions([call()])) == 1


def test_a_gateway_that_was_slow_before_loses_nothing() -> None:
    slow = (ack(98.0, "replied"), ack(100.0, "reply acked"))
    assert len(work(FIRST, *slow, *AGAIN).repetitions([call()])) == 1


def test_a_machine_that_was_busy_before_loses_nothing() -> None:
    busy = (Busy(100.5, 3.0),)
    assert len(work(FIRST, *AGAIN, busy=busy).repetitions([call()])) == 1


@pytest.mark.parametrize(("killed", "count"), [(105.5, 1), (107.0, 0), (113.0, 1)])
def test_an_executor_may_take_along_the_reply_of_a_run_that_is_over(
    killed: float, count: int
) -> None:
    done = (FIRST, line(106.0, "finished"))
    assert len(work(*done, *AGAIN, killed=(killed,)).repetitions([call()])) == count


def test_an_executor_takes_no_reply_of_a_run_that_goes_on() -> None:
    assert len(work(FIRST, *AGAIN, killed=(107.0,)).repetitions([call()])) == 1


def test_a_silent_executor_may_have_taken_the_reply() -> None:
    silent = call((107.0, "the executor is silent"))
    assert work(FIRST, line(106.0, "finished"), *AGAIN).repetitions([silent]) == []


@pytest.mark.parametrize(("seconds", "excused"), [(1.9, False), (2.1, True)])
def test_a_worker_that_was_away_for_long_may_have_lost_a_request(
    seconds: float, excused: bool
) -> None:
    assert work(*away(seconds)).excuses(call(), 110.0) is excused


def test_a_request_that_no_worker_had_begun_may_be_lost_on_its_way() -> None:
    assert work(*away(1.0)).excuses(call(), 100.5)


def test_the_absence_of_a_worker_that_began_later_excuses_nothing() -> None:
    journal = [line(100.2, "started", "w2"), *away(30.0)]
    assert not work(*journal).excuses(call(), 100.5)


@pytest.mark.parametrize(("finished", "spanned"), [(104.0, False), (106.0, True)])
def test_a_run_that_a_fault_fell_into_is_counted(finished: float, spanned: bool) -> None:
    assert work(FIRST, line(finished, "finished")).spanned(call()) is spanned


def test_the_time_before_all_faults_is_none() -> None:
    early = Period(since=101.5, extended=OURS)
    assert not work(FIRST, line(106.0, "finished"), periods=(early,)).spanned(call())
