"""What a report concludes from its rows, and its JSON."""

import json

import pytest

from bench.figures import Latency, Target
from bench.results import RowPlan, least_disturbed, rows_text
from tests.bench.reports import make_calls, make_report, make_row


def test_row_is_read_as_workers_by_callers() -> None:
    assert RowPlan.parse(" 100x16 ") == RowPlan(workers=100, callers=16)


@pytest.mark.parametrize("text", ["", "10", "x", "0x1", "1x0", "-1x2", "1x2x3", "axb"])
def test_row_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not WORKERSxCALLERS"):
        RowPlan.parse(text)


def test_rows_are_written_as_they_are_read() -> None:
    assert rows_text([RowPlan(1, 1), RowPlan(100, 16)]) == "1x1,100x16"


def test_most_workers_are_compared_with_fewest_for_each_number_of_callers() -> None:
    slow = Latency(p50=3.0, p90=4.0, p99=8.0, max=9.0)
    report = make_report(
        make_row(100, 16, latency_ms=slow, requests=2500),
        make_row(10, 16),
        make_row(1, 16),
        make_row(1, 1),
    )
    (flat,) = report.flatness
    assert (flat.callers, flat.fewest, flat.most) == (16, 1, 100)
    assert (flat.per_second, flat.p50, flat.p99, flat.commands) == (0.5, 1.5, 2.0, 1.0)


def test_round_with_most_requests_is_kept() -> None:
    fast = make_row(requests=6000)
    assert least_disturbed([make_row(), fast, make_row()]) == fast


def test_requests_that_failed_in_another_round_are_not_lost() -> None:
    worse = make_row(requests=4000, errors={"StoreUnavailable": 2})
    assert least_disturbed([make_row(), worse]).errors == {"StoreUnavailable": 2}


def test_rates_are_marked_where_something_else_kept_the_machine_busy() -> None:
    targets = make_report(make_row(1, other_cpus=0.9), make_row(100)).targets
    disturbed = {target.name.partition(",")[0] for target in targets if target.disturbed}
    assert disturbed == {"p50", "requests/s"}


def test_client_ratio_compares_medians_with_the_same_tasks() -> None:
    report = make_report(
        calls=(
            make_calls("connect", 10.0),
            make_calls("redis-py", 200.0),
            make_calls("other", 1, 2),
        )
    )
    (found,) = report.client_ratios
    assert (found.over, found.tasks, found.ratio) == ("redis-py", 16, 0.05)


def test_target_of_round_trips_is_judged_by_the_worst_row() -> None:
    report = make_report(make_row(), make_row(10, 1, round_trips_gateway=4.0))
    (target,) = report.targets
    assert (target.value, target.met) == (6.0, False)


def test_figures_that_hardly_change_with_workers_meet_their_targets() -> None:
    targets = make_report(make_row(1), make_row(100, requests=4500)).targets
    assert len(targets) == 6
    assert all(target.met for target in targets)


def test_client_ratio_has_a_target_with_many_tasks_only() -> None:
    calls = [
        make_calls(client, cpu, tasks)
        for client, cpu in (("connect", 30.0), ("redis-py", 200.0))
        for tasks in (1, 16)
    ]
    (target,) = make_report(calls=tuple(calls)).targets
    assert not target.met
    assert "16 tasks" in target.name


def test_target_of_at_least_is_missed_below() -> None:
    target = Target(name="requests/s", value=0.5, bound=0.8, at_most=False)
    assert not target.met


def test_json_holds_every_table_and_the_machine() -> None:
    report = make_report(
        make_row(1),
        make_row(10, errors={"connect_no_healthy_connection": 2}),
        calls=(make_calls("connect", 10.0), make_calls("redis-py", 200.0)),
    )
    read = json.loads(report.to_json())
    assert set(read) == {
        "machine", "settings", "requests", "flatness", "redis_calls", "client_ratios", "state",
        "targets",
    }  # fmt: skip
    assert read["machine"]["noise"][0]["median_ms"] == 4.5
    assert read["requests"][1]["errors"] == {"connect_no_healthy_connection": 2}


def test_json_has_the_sums_of_a_row() -> None:
    (row,) = json.loads(make_report(make_row()).to_json())["requests"]
    assert (row["per_second"], row["round_trips"], row["cpu_us"]["total"]) == (1000.0, 3.0, 1300.0)
