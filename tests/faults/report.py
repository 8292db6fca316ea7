"""What faults did, as a table for people and as JSON for machines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from tests.faults.run import FaultReport

__all__ = ["print_reports", "reports_json"]

_NOTES = Text(
    "Attempts: those that failed and were made again by their callers, under the same request "
    "id. Late: answered more than a lease after the time that their work takes. Amid: those that "
    "were running when a fault began that may lose no work. p99: beyond "
    "that time. Retried: from the death of a worker until what it ran was started elsewhere, "
    "median and most. Back: from the death of a gateway until all workers of ours were ready at "
    "the other, the most.",
    style="dim",
)


def reports_json(reports: Sequence[FaultReport], settings: Mapping[str, Any]) -> str:
    """Return one JSON object with everything."""
    return json.dumps(
        {"settings": dict(settings), "faults": [asdict(report) for report in reports]}, indent=2
    )


def print_reports(reports: Sequence[FaultReport], console: Console) -> None:
    """Print a row for each fault, and what does not hold below."""
    table = Table(title="Faults under load", title_justify="left")
    table.add_column("fault")
    for column in (
        "times", "sent", "answered", "failed", "attempts", "late", "amid", "again", "together",
        "p50 ms", "p99 ms", "retried s", "back s",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for report in reports:
        figures = report.figures
        table.add_row(
            report.fault,
            str(report.times),
            str(figures.sent),
            str(figures.answered),
            _by_reason(figures.failed),
            _by_reason(figures.attempts),
            str(figures.late),
            str(report.spanned),
            str(figures.run_again),
            str(len(figures.run_together)),
            f"{figures.latency_ms.p50:.0f}",
            f"{figures.latency_ms.p99:.0f}",
            _seconds(figures.retried),
            f"{max(report.back):.2f}" if report.back else "",
        )
    broken = [
        Text(f"{report.fault}: {violation}", "red")
        for report in reports
        for violation in report.violations
    ]
    console.print(Group(table, _NOTES, *broken))


def _by_reason(counts: Mapping[str, int]) -> str:
    return "\n".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "0"


def _seconds(found: Sequence[float]) -> str:
    return f"{median(found):.2f} / {max(found):.2f}" if found else ""
