"""How figures are written down."""

import io
import json

from rich.console import Console

from bench.figures import Latency
from connect.worker.journal_file import Overlap
from tests.faults.checker import Figures, check
from tests.faults.load import Call, FailedAttempt
from tests.faults.report import print_reports, reports_json
from tests.faults.run import FaultReport

OVERLAP = Overlap("r7", "w1", "w2", 100.0, 0.25)


def report(*, figures: Figures | None = None, violations: tuple[str, ...] = ()) -> FaultReport:
    return FaultReport(
        fault="kill-worker",
        seed=3,
        rate=50.0,
        seconds=6.5,
        times=2,
        moments=[(0.5, "kill worker-1.1")],
        figures=figures
        or Figures(
            sent=301,
            answered=300,
            failed={"no answer": 1},
            attempts={"connect_worker_stopped_responding": 4},
            late=5,
            run_again=6,
            run_together=[OVERLAP],
            wrong=0,
            lost=[],
            latency_ms=Latency(p50=11.0, p90=12.0, p99=1234.0, max=2000.0),
            retried=[3.0, 3.5],
        ),
        back=[1.25],
        spanned=7,
        violations=violations,
    )


def printed(*reports: FaultReport) -> str:
    console = Console(width=200, file=io.StringIO())
    print_reports(reports, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_has_all_figures_of_a_fault() -> None:
    [row] = [line for line in printed(report()).splitlines() if "kill-worker" in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == [
        "kill-worker", "2", "301", "300", "1 no answer", "4 connect_worker_stopped_responding",
        "5", "7", "6", "1", "11", "1234", "3.25 / 3.50", "1.25",
    ]  # fmt: skip


def test_violations_stand_below_the_table() -> None:
    assert "kill-worker: it hurts" in printed(report(violations=("it hurts",)))


def test_figures_of_a_check_can_be_written_as_json() -> None:
    call = Call(
        number=0, request_id="r", app="ours", seconds=0.0, began=1.0, answered=2.0, result=0,
        failed=[FailedAttempt(1.5, "why")],
    )  # fmt: skip
    figures = check([call], [], killed={}, standstills={}, lease=1.0)
    [written] = json.loads(reports_json([report(figures=figures)], {"seed": 3}))["faults"]
    assert written["figures"]["attempts"] == {"why": 1}
