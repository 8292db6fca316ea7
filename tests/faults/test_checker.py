"""What the checker finds in journals that are made up."""

from typing import Any

import pytest

from tests.faults.checker import Figures, check, split_at_standstills
from tests.faults.load import Call, FailedAttempt


def call(
    request_id: str = "r1",
    *,
    answered: float | None = 100.5,
    result: object = 0,
    failed: tuple[str, ...] = (),
) -> Call:
    return Call(
        number=0,
        request_id=request_id,
        app="ours",
        seconds=0.5,
        began=100.0,
        answered=answered,
        result=result,
        failed=[FailedAttempt(100.2, reason) for reason in failed],
    )


def line(at: float, what: str, instance: str = "w1", **more: object) -> dict[str, Any]:
    return {"at": at, "what": what, "instance_id": instance, "request_id": "r1", **more}


def found(
    *calls: Call,
    journal: tuple[dict[str, Any], ...] = (),
    killed: dict[str, float] | None = None,
    standstills: dict[str, list[tuple[float, float]]] | None = None,
) -> Figures:
    return check(
        calls or (call(),),
        journal,
        killed=killed or {},
        standstills=standstills or {},
        lease=2.0,
    )


RUN = (line(100.1, "started"), line(100.4, "finished", end="done"))


def test_one_run_and_its_answer_violate_nothing() -> None:
    assert found(journal=RUN).violations == []


def test_runs_at_the_same_time_are_a_violation() -> None:
    other = (line(100.2, "started", "w2"), line(100.6, "finished", "w2", end="done"))
    [violation] = found(journal=(*RUN, *other)).violations
    assert violation == "r1 ran at the same time in w1 and in w2, for 0.200 s from 100.200"


def test_runs_one_after_the_other_are_counted() -> None:
    other = (line(100.4, "started", "w2"), line(100.6, "finished", "w2", end="done"))
    figures = found(journal=(*RUN, *other))
    assert (figures.run_again, figures.violations) == (1, [])


def test_runs_of_other_loads_do_not_count() -> None:
    other = [{**each, "request_id": "r0"} for each in RUN]
    assert found(journal=(*RUN, *other, *other)).run_again == 0


def test_a_wrong_answer_is_a_violation() -> None:
    assert found(call(result="?")).violations == ["1 requests got a wrong answer"]


def test_what_was_given_up_has_its_last_reason() -> None:
    figures = found(call(answered=None, failed=("first", "last")))
    assert (figures.failed, figures.attempts) == ({"last": 1}, {"first": 1, "last": 1})


@pytest.mark.parametrize(("answered", "late"), [(102.4, 0), (102.6, 1)])
def test_answers_are_late_beyond_a_lease_and_their_work(answered: float, late: int) -> None:
    assert found(call(answered=answered)).late == late


def test_the_work_is_no_part_of_the_latency() -> None:
    assert found(call(answered=100.75)).latency_ms.max == pytest.approx(250)


def test_a_run_of_a_killed_worker_ends_with_it() -> None:
    again = (line(100.3, "started", "w2"), line(100.4, "finished", "w2", end="done"))
    figures = found(journal=(RUN[0], *again), killed={"w1": 100.2})
    assert not figures.run_together
    [retried] = figures.retried
    assert retried == pytest.approx(0.1)


def test_what_a_killed_worker_had_finished_is_not_retried() -> None:
    again = (line(100.6, "started", "w2"), line(100.7, "finished", "w2", end="done"))
    assert found(journal=(*RUN, *again), killed={"w1": 100.5}).retried == []


LOST = (line(100.1, "started"), line(105.01, "finished", end="lease lost"))
RERUN = (line(104.0, "started", "w2"), line(105.5, "finished", "w2", end="done"))


def test_a_run_that_is_given_up_on_waking_ended_with_the_stop() -> None:
    figures = found(journal=(*LOST, *RERUN), standstills={"w1": [(101.0, 105.0)]})
    assert figures.run_together == []


def test_a_run_that_goes_on_after_waking_is_a_violation() -> None:
    done = (LOST[0], line(105.2, "finished", end="done"))
    figures = found(journal=(*done, *RERUN), standstills={"w1": [(101.0, 105.0)]})
    assert [overlap.since for overlap in figures.run_together] == [105.0]


def test_a_run_given_up_long_after_waking_is_a_violation() -> None:
    slow = (LOST[0], line(106.5, "finished", end="lease lost"))
    figures = found(journal=(*slow, *RERUN), standstills={"w1": [(101.0, 105.0)]})
    assert len(figures.run_together) == 1


def test_a_standstill_between_runs_changes_nothing() -> None:
    assert split_at_standstills(RUN, {"w1": [(90.0, 95.0)]}) == list(RUN)
