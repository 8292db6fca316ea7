"""What the bench of function definitions concludes, and the bench as a program."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.cue import cue, largest_definition, print_cue
from bench.cue_results import CueReport, Evaluation, Run, Runs
from tests.bench.reports import make_report


def _runs(command: str, *seconds: float) -> Runs:
    return Runs(command=command, runs=[Run(seconds=each, cpu=each / 2) for each in seconds])


def _report(**changes: Any) -> CueReport:
    fields: dict[str, Any] = {
        "machine": make_report().machine,
        "evaluation": Evaluation(
            name="a.cue", size=1000, took_ms=[30.0, 4.0, 6.0, 5.0], cpu_ms=42.0
        ),
        "files": _runs("functions check DIRECTORY", 5.0, 4.0, 9.0),
        "number": 1000,
        "help": _runs("--help", 0.2),
        "one": _runs("functions check FILE", 0.4),
        "other_cpus": 0.1,
    }
    return CueReport(**(fields | changes))


def _missed(report: CueReport) -> list[str]:
    return [target.name for target in report.targets if not target.met]


def test_medians_count_and_not_the_first_evaluation() -> None:
    report = _report()
    assert [target.value for target in report.targets] == [5.5, 5.0, 0.2, 0.4]
    assert _missed(report) == []
    assert (report.evaluation.first_ms, report.evaluation.each_cpu_ms) == (30.0, 10.5)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (
            {"evaluation": Evaluation(name="a", size=1, took_ms=[21.0], cpu_ms=1.0)},
            "largest definition evaluated, ms",
        ),
        ({"files": _runs("", 11.0)}, "1,000 files checked, s"),
        ({"help": _runs("", 0.6)}, "--help, s"),
        ({"one": _runs("", 1.1)}, "functions check of one file, s"),
    ],
)
def test_what_takes_too_long_misses_its_target(changes: dict[str, Any], name: str) -> None:
    assert _missed(_report(**changes)) == [name]


def test_fewer_files_are_held_to_the_same_pace() -> None:
    assert _missed(_report(number=400)) == ["1,000 files checked, s"]


def test_figures_of_a_busy_machine_are_marked() -> None:
    assert not any(target.disturbed for target in _report().targets)
    assert all(target.disturbed for target in _report(other_cpus=0.9).targets)


def test_everything_is_printed() -> None:
    printed = io.StringIO()
    print_cue(_report(), Console(width=160, file=printed))
    text = printed.getvalue()
    assert "evaluate a.cue (1000 bytes)" in text
    assert "functions check DIRECTORY of 1,000 files" in text
    assert "Other CPUs kept busy meanwhile: 0.10" in text


def test_the_largest_case_with_a_value_is_measured(tmp_path: Path) -> None:
    for name, size in (("small", 10), ("large", 20), ("wrong", 30)):
        (tmp_path / f"{name}.cue").write_text("x" * size)
        if name != "wrong":
            (tmp_path / f"{name}.want.json").write_text("{}")
    assert largest_definition(tmp_path).name == "large.cue"


def test_no_files_are_a_usage_error() -> None:
    assert CliRunner().invoke(cue, ["--files", "0"]).exit_code == 2


@pytest.mark.process
def test_a_short_run_measures_everything_and_prints_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "cue", "--json", "--files=3", "--repeat=1"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["evaluation"]["took_ms"]) == 50
    files, shown, one = report["commands"]
    assert (len(files["runs"]), len(shown["runs"]), len(one["runs"])) == (1, 3, 3)
    assert all(runs["cpu"] > 0 for runs in report["commands"])
    assert len(report["targets"]) == 4
