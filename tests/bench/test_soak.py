"""What a soak concludes, and the soak as a program."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.figures import Latency
from bench.soak import print_soak, soak
from bench.soak_results import Idle, Load, Sample, SoakReport
from tests.bench.reports import make_report

IDLE = Idle(
    connections=2000,
    connection_bytes=36_000.0,
    worker_bytes=60_000.0,
    seconds=30.0,
    gateway_cpu=0.06,
    workers_cpu=0.05,
    redis_cpu=0.02,
    heartbeats=6000,
)
LOAD = Load(asked=100, answered=100, errors={}, latency_ms=Latency(p50=1, p90=2, p99=3, max=4))


def _sample(at: float, **changes: int) -> Sample:
    flat = {
        "memory": 100_000_000,
        "tasks": 10_000,
        "descriptors": 2020,
        "connections": 2000,
        "lost": 1,
        "keys": 2100,
        "store_memory": 5_000_000,
        "executor_memory": 50_000_000,
        "executor_descriptors": 20,
    }
    return Sample(at=at, **(flat | changes))


def _report(*samples: Sample, idle: Idle = IDLE, load: Load = LOAD) -> SoakReport:
    flat = samples or tuple(_sample(at) for at in range(100))
    return SoakReport(machine=make_report().machine, idle=idle, load=load, samples=flat)


def _broken(report: SoakReport) -> list[str]:
    return [target.name for target in report.targets if not target.met]


def test_a_flat_soak_keeps_every_bound() -> None:
    report = _report()

    assert (_broken(report), report.met) == ([], True)


MEMORIES = {
    "memory": "memory over the window",
    "executor_memory": "executor's memory over the window",
    "store_memory": "Redis' memory over the window",
}


@pytest.mark.parametrize("what", MEMORIES)
@pytest.mark.parametrize(("last", "breaks"), [(1.049, False), (1.06, True)])
def test_memory_may_move_by_five_percent(what: str, last: float, breaks: bool) -> None:
    growing = [_sample(at, **{what: round(100e6 * (last if at >= 90 else 1))}) for at in range(100)]

    broken = _broken(_report(*growing))

    assert broken == ([MEMORIES[what]] if breaks else [])


def test_memory_that_comes_back_has_grown_meanwhile() -> None:
    bulging = [
        _sample(at, memory=120_000_000 if 40 <= at < 50 else 100_000_000) for at in range(100)
    ]

    assert _report(*bulging).memory_growth() == 1.2


def test_one_sample_off_is_no_growth_of_memory() -> None:
    noisy = [_sample(at, memory=200_000_000 if at == 55 else 100_000_000) for at in range(100)]

    assert _report(*noisy).met


COUNTS = {
    "tasks": "tasks",
    "descriptors": "descriptors",
    "keys": "keys",
    "executor_descriptors": "executor's descriptors",
}


@pytest.mark.parametrize("what", COUNTS)
def test_what_only_ever_grows_breaks_its_bound(what: str) -> None:
    growing = [_sample(at, **{what: 1000 + at}) for at in range(100)]

    assert _broken(_report(*growing)) == [f"{COUNTS[what]} more at the end"]


@pytest.mark.parametrize(("keys", "broken"), [(99, []), (106, ["keys more at the end"])])
def test_each_guest_that_has_gone_leaves_a_key_for_a_while(keys: int, broken: list[str]) -> None:
    growing = [_sample(at, keys=2000 + (keys if at >= 90 else 0)) for at in range(100)]

    report = replace(_report(*growing), settings={"guests_per_second": 1.0})

    assert _broken(report) == broken


@pytest.mark.parametrize("what", COUNTS)
def test_what_comes_and_goes_does_not_grow(what: str) -> None:
    moving = [_sample(at, **{what: 1000 + at % 9}) for at in range(100)]

    assert _report(*moving).met


def test_a_connection_that_takes_too_much_memory_breaks_its_bound() -> None:
    report = _report(idle=replace(IDLE, connection_bytes=40_001.0))

    assert _broken(report) == ["bytes per idle connection"]


def test_a_lost_connection_breaks_its_bound() -> None:
    report = _report(_sample(0), _sample(1, connections=1999), _sample(2))

    assert _broken(report) == ["connections, the fewest"]


def test_a_connection_that_ended_and_came_back_breaks_its_bound() -> None:
    report = _report(_sample(0), _sample(1, lost=2), _sample(2, lost=2))

    assert _broken(report) == ["connections lost"]


def test_a_failed_request_breaks_its_bound() -> None:
    report = _report(load=replace(LOAD, answered=99, errors={"connect_internal_error": 1}))

    assert _broken(report) == ["requests failed"]


def test_requests_that_were_not_made_break_their_bound() -> None:
    assert _broken(_report(load=replace(LOAD, answered=94))) == [
        "requests answered, of those asked for"
    ]


@pytest.mark.parametrize(("samples", "parts"), [(1, 1), (7, 7), (25, 10)])
def test_the_window_has_ten_parts_where_it_has_samples_for_them(samples: int, parts: int) -> None:
    report = _report(*(_sample(at) for at in range(samples)))

    assert (len(report.parts), sum(len(part) for part in report.parts)) == (parts, samples)


def test_the_cpu_of_a_heartbeat_is_told() -> None:
    assert IDLE.heartbeat_us == pytest.approx(300)


def test_json_says_whether_the_bounds_are_kept() -> None:
    value = json.loads(_report().to_json())

    assert (value["met"], len(value["samples"]), value["idle"]["connections"]) == (True, 100, 2000)


def test_a_broken_bound_is_shown() -> None:
    console = Console(record=True, width=120)

    print_soak(_report(load=replace(LOAD, answered=0)), console)

    assert "broken" in console.export_text()


def test_a_soak_without_connections_is_a_usage_error() -> None:
    assert CliRunner().invoke(soak, ["--connections=0"]).exit_code == 2


def test_a_server_that_cannot_be_started_is_told_in_a_line() -> None:
    result = CliRunner().invoke(soak, ["--redis-server", "/nonexistent/redis-server"])

    assert (result.exit_code, result.output.splitlines()[-1]) == (
        1,
        "Error: there is no program '/nonexistent/redis-server'",
    )


@pytest.mark.process
def test_a_short_soak_measures_and_prints_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "soak", "--json", "--connections=20", "--rate=20",
         "--seconds=2", "--warm-seconds=0.5", "--idle-seconds=1", "--sample-seconds=0.2",
         "--guests-per-second=0.01", "--slow=0.05"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    kept = {target["name"]: target["met"] for target in report["targets"]}
    # So few connections say nothing about the memory of one, nor so short a time about growth.
    for name in ("bytes per idle connection", *MEMORIES.values()):
        assert kept.pop(name) in (True, False)
    assert kept == dict.fromkeys(kept, True), done.stderr
    assert done.returncode == (0 if report["met"] else 1)
