"""Which failures of attempts a fault explains, in records that are made up."""

import pytest

from connect.errors import Syscode
from tests.faults.bounds import Period, unexplained
from tests.faults.faults import ALL_APPS
from tests.faults.load import (
    EXECUTOR_ABSENT,
    EXECUTOR_ENDED,
    EXECUTOR_SILENT,
    WORKER_FAILED,
    Call,
    FailedAttempt,
)

UNHEALTHY = str(Syscode.NO_HEALTHY_CONNECTION)
STOPPED = str(Syscode.WORKER_STOPPED_RESPONDING)
OURS = frozenset({"ours"})


def call(*failed: tuple[float, str], began: float = 100.0, app: str = "ours") -> Call:
    return Call(
        number=0,
        request_id="r1",
        app=app,
        seconds=0.5,
        began=began,
        answered=120.0,
        result=0,
        failed=[FailedAttempt(at, reason) for at, reason in failed],
    )


def test_no_worker_is_healthy_for_no_reason_while_one_is_spared() -> None:
    found = unexplained([call((101.0, UNHEALTHY))], [Period(since=90.0, spared=OURS)])
    assert found == [f"1 attempts for 'ours' failed for no reason with: {UNHEALTHY}"]


def test_the_worker_of_another_app_explains_nothing() -> None:
    spared = Period(since=90.0, spared=OURS)
    assert unexplained([call((101.0, UNHEALTHY), app="official")], [spared]) == []


def test_no_worker_is_healthy_while_none_is_spared() -> None:
    assert unexplained([call((101.0, UNHEALTHY))], [Period(since=90.0)]) == []


@pytest.mark.parametrize(("taken", "given_back"), [(100.5, 110.0), (95.0, 100.5)])
def test_a_fault_at_any_time_of_an_attempt_explains_it(taken: float, given_back: float) -> None:
    periods = [
        Period(since=90.0, spared=OURS),
        Period(since=taken),
        Period(since=given_back, spared=OURS),
    ]
    assert unexplained([call((101.0, UNHEALTHY))], periods) == []


def test_a_fault_that_was_over_before_an_attempt_explains_nothing() -> None:
    periods = [Period(since=90.0), Period(since=101.5, spared=OURS)]
    failed = call((101.0, UNHEALTHY), (102.0, UNHEALTHY), (103.0, UNHEALTHY))
    [found] = unexplained([failed], periods)
    assert found.startswith("1 attempts")


@pytest.mark.parametrize(("extended", "count"), [(OURS, 1), (frozenset(), 0)])
def test_workers_must_not_stop_where_leases_are_to_be_extended(
    extended: frozenset[str], count: int
) -> None:
    period = Period(since=90.0, extended=extended)
    assert len(unexplained([call((104.0, STOPPED))], [period])) == count


@pytest.mark.parametrize(("lost", "count"), [(False, 1), (True, 0)])
def test_a_worker_may_stop_nonetheless_if_it_has_lost_the_request(lost: bool, count: int) -> None:
    period = Period(since=90.0, extended=OURS)
    stopped = call((104.0, STOPPED))
    assert len(unexplained([stopped], [period], lost=lambda *_: lost)) == count


@pytest.mark.parametrize("reason", [EXECUTOR_ENDED, EXECUTOR_ABSENT])
@pytest.mark.parametrize(("killed", "count"), [(False, 1), (True, 0)])
def test_executors_end_only_where_one_is_killed(killed: bool, count: int, reason: str) -> None:
    period = Period(since=90.0, kills_executor=killed)
    assert len(unexplained([call((101.0, reason))], [period])) == count


@pytest.mark.parametrize("app", ["ours", "official"])
@pytest.mark.parametrize("extended", [frozenset(), ALL_APPS])
def test_only_the_official_sdk_may_fail_a_request_and_only_where_it_is_cut_off(
    extended: frozenset[str], app: str
) -> None:
    failed = call((101.0, WORKER_FAILED), app=app)
    period = Period(since=90.0, extended=extended)
    explained = app == "official" and not extended
    assert (unexplained([failed], [period]) == []) is explained


@pytest.mark.parametrize("reason", [EXECUTOR_SILENT, "StoreUnavailable"])
def test_what_is_about_time_is_never_held_against_a_fault(reason: str) -> None:
    period = Period(since=90.0, spared=OURS, extended=OURS)
    assert unexplained([call((101.0, reason))], [period]) == []


@pytest.mark.parametrize("reason", ["request_too_long", "RpcError", "what else"])
def test_no_fault_explains_any_other_reason(reason: str) -> None:
    assert len(unexplained([call((101.0, reason))], [Period(since=90.0)])) == 1
