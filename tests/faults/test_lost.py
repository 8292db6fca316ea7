"""Which acknowledged replies count as lost, in journals that are made up."""

from typing import Any

import pytest
from ulid import ULID

from tests.faults.checker import check
from tests.faults.load import Call, FailedAttempt
from tests.faults.lost import find_lost_replies

LEASE = 2.0
BEGAN = 1_764_000_000.0  # unix seconds; times below count from then


def call(*failed: tuple[float, str], answered: float | None = 9.0) -> Call:
    return Call(
        number=0,
        request_id="r1",
        app="ours",
        seconds=0.5,
        began=BEGAN,
        answered=None if answered is None else BEGAN + answered,
        result=0,
        failed=[FailedAttempt(BEGAN + at, reason) for at, reason in failed],
    )


def line(at: float, what: str, instance: str = "w1", detail: str = "") -> dict[str, Any]:
    request = {"instance_id": instance, "request_id": "r1"}
    return {"at": BEGAN + at, "what": what, "detail": detail, **request}


def leased(at: float, what: str, instance: str = "w1", *, granted: float) -> dict[str, Any]:
    lease_id = str(ULID.from_timestamp(BEGAN + granted + LEASE))
    return line(at, what, instance, lease_id)


def lost(calls: Call, *journal: dict[str, Any], forgotten: tuple[float, ...] = ()) -> list[str]:
    moments = [BEGAN + at for at in forgotten]
    found = find_lost_replies([calls], journal, lease=LEASE, forgotten=moments)
    return [f"{each.worker} {each.again}" for each in found]


RUN = (leased(0.1, "started", granted=0.05), line(1.0, "finished"))
ACKED = line(1.1, "reply acked")
AGAIN = leased(5.0, "started", "w2", granted=4.9)


@pytest.mark.parametrize("how", ["reply acked", "reply flushed"])
def test_a_run_after_the_acknowledgement_is_a_loss(how: str) -> None:
    assert lost(call(), *RUN, line(1.1, how), AGAIN) == ["w1 w2"]


def test_an_acknowledged_reply_without_an_answer_is_a_loss() -> None:
    assert lost(call(answered=None), *RUN, ACKED) == ["w1 "]


def test_an_acknowledged_reply_that_was_answered_is_none() -> None:
    assert lost(call(), *RUN, ACKED) == []


def test_a_run_after_a_reply_that_nobody_acknowledged_is_none() -> None:
    assert lost(call(), *RUN, line(1.1, "replied"), AGAIN) == []


def test_a_failure_after_the_acknowledgement_makes_the_loss_no_smaller() -> None:
    failed = call((4.5, "connect_worker_stopped_responding"))
    assert lost(failed, *RUN, ACKED, AGAIN) == ["w1 w2"]


def test_a_reply_under_a_lease_that_ran_out_may_be_dropped() -> None:
    assert lost(call(), *RUN, line(2.1, "reply acked"), AGAIN) == []


def test_a_reply_under_an_extended_lease_is_owed() -> None:
    extended = leased(1.5, "lease extended", granted=1.5)
    assert lost(call(), RUN[0], extended, line(2.1, "reply acked"), AGAIN) == ["w1 w2"]


def test_a_reply_beside_a_later_run_may_be_dropped() -> None:
    other = leased(0.5, "started", "w2", granted=0.4)
    third = leased(5.0, "started", "w3", granted=4.9)
    assert lost(call(), *RUN, other, ACKED, third) == []


@pytest.mark.parametrize("at", [0.5, 1.9])
def test_a_reply_that_the_executor_had_given_up_may_be_dropped(at: float) -> None:
    failed = call((at, "connect_worker_stopped_responding"))
    assert lost(failed, *RUN, ACKED, AGAIN) == []


def test_a_run_whose_lease_was_granted_before_is_no_loss() -> None:
    under_way = leased(1.2, "started", "w2", granted=1.0)
    assert lost(call(), *RUN, ACKED, under_way) == []


@pytest.mark.parametrize("reason", ["the executor ended", "the executor is silent"])
def test_a_reply_may_be_lost_with_the_executor_that_was_asked(reason: str) -> None:
    assert lost(call((1.5, reason)), *RUN, ACKED, AGAIN) == []


def test_a_silent_executor_may_go_on_and_take_the_reply_later() -> None:
    assert lost(call((0.5, "the executor is silent")), *RUN, ACKED, AGAIN) == []


@pytest.mark.parametrize(("sent", "expected"), [(1.02, []), (1.08, ["w1 w2"])])
def test_an_executor_may_take_a_reply_and_end_before_its_worker_reads_of_it(
    sent: float, expected: list[str]
) -> None:
    replied = line(sent, "replied")
    assert lost(call((1.05, "the executor ended")), *RUN, replied, ACKED, AGAIN) == expected


def test_a_reply_waits_for_the_executor_that_is_asked_after_one_that_ended() -> None:
    assert lost(call((0.5, "the executor ended")), *RUN, ACKED, AGAIN) == ["w1 w2"]


def test_a_reply_stays_owed_while_no_executor_runs() -> None:
    away = call((0.5, "the executor ended"), (1.5, "no executor runs"))
    assert lost(away, *RUN, ACKED, AGAIN) == ["w1 w2"]


@pytest.mark.parametrize(("emptied", "expected"), [(3.0, []), (0.5, ["w1 w2"])])
def test_a_reply_may_be_lost_with_all_of_redis(emptied: float, expected: list[str]) -> None:
    assert lost(call(), *RUN, ACKED, AGAIN, forgotten=(emptied,)) == expected


def test_who_is_never_answered_may_have_lost_the_reply_with_all_of_redis() -> None:
    assert lost(call(answered=None), *RUN, ACKED, forgotten=(3.0,)) == []


def test_an_acknowledgement_without_a_run_owes_nothing() -> None:
    assert lost(call(), ACKED, AGAIN) == []


def test_a_lease_that_has_no_time_in_its_id_proves_nothing() -> None:
    assert lost(call(), line(0.1, "started", detail="?"), ACKED, AGAIN) == []


def test_a_loss_is_a_violation() -> None:
    figures = check([call()], [*RUN, ACKED, AGAIN], killed={}, standstills={}, lease=LEASE)
    assert figures.violations == [
        "the reply of w1 to r1 was acknowledged at 1764000001.100, and w2 ran it again"
    ]


def test_the_violation_says_if_nobody_ran_it_again() -> None:
    [found] = find_lost_replies([call(answered=None)], [*RUN, ACKED], lease=LEASE)
    assert str(found).endswith("and its caller was never answered")
