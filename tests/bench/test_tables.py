"""The tables for people."""

import io

from rich.console import Console

from bench.results import Report
from bench.tables import print_report
from tests.bench.reports import make_calls, make_report, make_row, make_state


def printed(report: Report) -> str:
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as capture:
        print_report(report, console)
    return capture.get()


def line_with(text: str, output: str) -> list[str]:
    (line,) = (line for line in output.splitlines() if text in line)
    return line.replace("│", " ").split()


def test_row_of_requests_shows_rate_latency_calls_and_cpu() -> None:
    output = printed(make_report(make_row(123, 16)))
    assert " ".join(line_with("123", output)) == (
        "123 16 1,000 2.00 4.00 3.00 3.00 20.0 500 400 300 100 0.10 4.0 0"
    )


def test_failed_requests_are_shown_by_what_they_failed_of() -> None:
    output = printed(make_report(make_row(errors={"StoreUnavailable": 2})))
    assert "2 StoreUnavailable" in output


def test_ratio_of_clients_stands_at_the_other_client() -> None:
    output = printed(make_report(calls=(make_calls("connect", 5.0), make_calls("redis-py", 100.0))))
    assert line_with("100.0", output)[-1] == "0.050"


def test_comparison_of_worker_counts_is_shown() -> None:
    output = printed(make_report(make_row(1), make_row(100, requests=2500)))
    assert line_with("100 / 1", output)[:5] == ["16", "100", "/", "1", "0.50"]


def test_target_says_whether_it_is_met() -> None:
    output = printed(make_report(make_row(round_trips_gateway=9.0)))
    assert line_with("worst row", output)[-4:] == ["11.00", "≤", "3.20", "missed"]


def test_target_says_whether_it_may_be_due_to_something_else() -> None:
    output = printed(make_report(make_row(1, other_cpus=0.9), make_row(100)))
    assert line_with("requests/s", output)[-2:] == ["met,", "disturbed"]


def test_state_shows_what_acquire_and_complete_cost() -> None:
    output = printed(make_report(state=make_state()))
    lines = [line.replace("│", " ").split() for line in output.splitlines() if "1,000" in line]
    assert lines[0] == ["with", "room", "1,000", "60", "40", "90", "150", "300", "1,500"]
    assert lines[1] == ["with", "room", "1,000", "30", "10", "70", "100", "200", "1,500"]


def test_load_under_which_nothing_is_acquired_has_no_cost_of_completing() -> None:
    output = printed(make_report(state=make_state()))
    assert output.count("all busy") == 1


def test_state_shows_growth_calls_and_memory() -> None:
    output = printed(make_report(state=make_state()))
    assert line_with("1,000 / 1", output)[-4:] == ["1.20", "1.33", "1.00", "1.50"]
    assert line_with("31.0", output) == ["100", "3.00", "3.00", "31.0"]
    assert line_with("1,052", output)[-2:] == ["10,000", "1,052"]


def test_report_without_measurements_has_no_tables() -> None:
    assert printed(make_report()).splitlines()[0].startswith("2 CPUs (a model)")
    assert "┃" not in printed(make_report())
