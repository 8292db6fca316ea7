"""What a bench of draining concludes, and the bench as a program."""

import io
import json
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.drain import drain
from bench.drain_results import (
    Cpu,
    DrainReport,
    DrainRun,
    Handover,
    Moves,
    Stay,
    follow,
    most_within,
)
from bench.drain_tables import print_drain
from bench.figures import Latency
from bench.soak_results import Load
from tests.bench.reports import make_report

MOVES = Moves(
    told=500,
    closed=490,
    joined=480,
    not_back=0,
    unready=0,
    unready_seconds=0.0,
    all_back_seconds=4.5,
    handover=Handover(median=0.1, p99=0.4, max=0.5),
)
LOAD = Load(asked=90, answered=90, errors={}, latency_ms=Latency(p50=5, p90=7, p99=9, max=11))


def _run(**changes: Any) -> DrainRun:
    fields: dict[str, Any] = {
        "connections": 2000,
        "rate": 500,
        "limit": 25.0,
        "seconds": 4.0,
        "window": 5.0,
        "overdue": 0,
        "refused": {},
        "moves": MOVES,
        "cpu": Cpu(gateway=2.0, other=4.0, api=1.0, workers=3.0, redis=0.5, others=0.5),
        "load": LOAD,
    }
    return DrainRun(**(fields | changes))


def _report(*runs: DrainRun) -> DrainReport:
    return DrainReport(machine=make_report().machine, runs=runs)


def _missed(run: DrainRun) -> list[str]:
    return [target.name.partition(": ")[2] for target in run.targets if not target.met]


def test_a_drain_at_its_pace_that_loses_nothing_meets_every_target() -> None:
    assert (_missed(_run()), len(_run().targets)) == ([], 6)


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"told": 552}, []),
        ({"told": 553}, ["told in a second"]),
        ({"closed": 553}, ["closed in a second"]),
        ({"joined": 553}, ["came in a second"]),
        ({"unready": 1}, ["workers that lost readiness"]),
        ({"not_back": 1}, ["workers not back"]),
    ],
)
def test_each_bound_of_a_paced_drain_can_be_missed(
    changes: dict[str, Any], missed: list[str]
) -> None:
    assert _missed(_run(moves=replace(MOVES, **changes))) == missed


def test_a_failed_request_misses_its_target() -> None:
    assert _missed(_run(load=replace(LOAD, errors={"StoreUnavailable": 1}))) == ["requests failed"]


def test_a_drain_without_a_pace_is_held_to_none() -> None:
    moves = replace(MOVES, told=2000, closed=2000, joined=2000, unready=100)

    assert _missed(_run(rate=None, moves=moves)) == []


@pytest.mark.parametrize(("connections", "pace"), [(2000, 500), (6250, 500), (10_000, 800)])
def test_the_pace_is_raised_where_half_of_the_time_would_not_do(
    connections: int, pace: float
) -> None:
    assert _run(connections=connections).pace == pace


@pytest.mark.parametrize(("others", "disturbed"), [(0.9, False), (1.1, True)])
def test_figures_that_something_else_can_spoil_are_marked(others: float, disturbed: bool) -> None:
    run = _run(cpu=replace(_run().cpu, others=others))

    assert {target.name: target.disturbed for target in run.targets} == {
        target.name: disturbed and "requests" not in target.name and "back" not in target.name
        for target in run.targets
    }


def test_cpu_and_rate_are_told_for_each_connection() -> None:
    run = _run()

    assert (run.per_second, run.each_us["gateway"], run.each_us["other"]) == (500, 1000, 2000)


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, False),
        ({"load": replace(LOAD, errors={"StoreUnavailable": 1})}, True),
        ({"moves": replace(MOVES, not_back=1)}, True),
        ({"moves": replace(MOVES, unready=1)}, False),
    ],
)
def test_what_is_lost_fails_the_bench_and_what_is_late_does_not(
    changes: dict[str, Any], failed: bool
) -> None:
    assert _report(_run(), _run(**changes)).failed is failed


@pytest.mark.parametrize(
    ("moments", "most"),
    [([], 0), ([5.0], 1), ([0.0, 1.0, 2.0], 1), ([0.9, 1.8, 0.0, 1.0], 3), ([3.0] * 4, 4)],
)
def test_the_busiest_second_may_begin_at_any_moment(moments: list[float], most: int) -> None:
    assert most_within(moments, 1.0) == most


def _moved(worker: str, *, told: float, back: float, ended: float) -> list[Stay]:
    return [
        Stay(worker=worker, gateway="a", ready=0.0, told=told, ended=ended),
        Stay(worker=worker, gateway="b", ready=back),
    ]


def _follow(*stays: Stay) -> Moves:
    return follow(stays, drained="a", began=100.0, handover=5.0)


def test_workers_that_came_before_they_left_were_always_ready() -> None:
    moves = _follow(
        *_moved("one", told=100.1, back=100.3, ended=100.4),
        *_moved("two", told=101.2, back=101.25, ended=101.5),
    )

    assert (moves.unready, moves.unready_seconds, moves.not_back) == (0, 0.0, 0)
    assert (moves.told, moves.closed, moves.joined) == (1, 1, 2)
    assert moves.all_back_seconds == pytest.approx(1.25)
    assert moves.handover.max == pytest.approx(0.2)


def test_a_worker_whose_connection_ended_before_the_next_was_unready_between() -> None:
    moves = _follow(*_moved("one", told=100.0, back=103.0, ended=102.0))

    assert (moves.unready, moves.unready_seconds) == (1, 1.0)


def test_a_worker_that_takes_longer_than_its_handover_is_unready_from_then_on() -> None:
    moves = _follow(*_moved("one", told=100.0, back=107.0, ended=107.1))

    assert (moves.unready, moves.unready_seconds) == (1, 2.0)


def test_a_second_connection_bridges_the_end_of_the_first() -> None:
    stays = [
        Stay(worker="one", gateway="a", ready=0.0, told=100.0, ended=102.0),
        Stay(worker="one", gateway="b", ready=101.0, ended=103.0),
        Stay(worker="one", gateway="b", ready=102.5),
    ]

    assert _follow(*stays).unready == 0


def test_a_worker_that_is_at_no_gateway_is_not_back() -> None:
    gone = Stay(worker="gone", gateway="a", ready=0.0, told=100.0, ended=101.0)
    lost = _moved("lost", told=100.0, back=101.0, ended=101.5)
    lost[1] = replace(lost[1], ended=110.0)

    assert _follow(gone, *lost).not_back == 2


def test_a_drain_of_nothing_has_moved_nobody() -> None:
    moves = _follow()

    assert (moves.told, moves.all_back_seconds, moves.handover.max) == (0, 0.0, 0.0)


def test_everything_is_printed() -> None:
    printed = io.StringIO()
    refused = {"the gateway answered 503": 3}
    print_drain(_report(_run(rate=None), _run(refused=refused)), Console(width=200, file=printed))
    text = printed.getvalue()

    assert "all at once" in text
    assert "500/s" in text
    assert "3 the gateway answered 503" in text
    assert "90 of 90" in text
    assert "2,000, 500 a second: came in a second" in text


def test_json_says_what_each_drain_came_to() -> None:
    value = json.loads(_report(_run()).to_json())

    assert [(run["pace"], run["per_second"]) for run in value["drains"]] == [(500, 500)]
    assert all(target["met"] for target in value["targets"])


@pytest.mark.parametrize("numbers", ["", "many", "10,0"])
def test_numbers_of_connections_that_are_none_are_a_usage_error(numbers: str) -> None:
    assert CliRunner().invoke(drain, ["--connections", numbers]).exit_code == 2


def test_a_server_that_cannot_be_started_is_told_in_a_line() -> None:
    result = CliRunner().invoke(drain, ["--redis-server", "/nonexistent/redis-server"])

    assert (result.exit_code, result.output.splitlines()[-1]) == (
        1,
        "Error: there is no program '/nonexistent/redis-server'",
    )


@pytest.mark.process
def test_a_short_run_drains_without_and_with_a_pace_and_prints_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "drain", "--json", "--connections=20", "--rate=10"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    # What it measures depends on the machine, and so may be that a request or a worker failed.
    assert done.returncode in (0, 1), done.stderr
    unpaced, paced = json.loads(done.stdout)["drains"]
    assert [run["connections"] for run in (unpaced, paced)] == [20, 20]
    assert all(run["load"]["asked"] > 0 for run in (unpaced, paced))
    assert 0 < paced["moves"]["told"] <= 13
    assert all(run["cpu"]["gateway"] > 0 for run in (unpaced, paced))


@pytest.mark.process
def test_ctrl_c_ends_the_bench_and_its_processes_without_a_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "drain", "--connections=5"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as bench:  # fmt: skip
        assert bench.stderr is not None
        assert "connecting" in bench.stderr.readline()
        bench.send_signal(signal.SIGINT)
        # Its end, which is that of its children's stderr, too.
        said = bench.stderr.read()
    assert (bench.returncode, said.split()) == (1, ["Aborted!"])
