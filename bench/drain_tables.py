"""What draining was measured to do, as tables for people."""

from collections.abc import Mapping, Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from bench.drain_results import DrainReport, DrainRun
from bench.tables import figures_table, machine_text, targets_table

__all__ = ["print_drain"]

_NOTES = Text(
    "Drained: until the last connection was gone; back: until the last worker was ready at the "
    "other gateway. Told, closed, came: the most in any one second. Handover: from "
    "GATEWAY_CLOSING to the next ready connection. Unready: workers without a READY "
    "connection meanwhile, and the longest such time. Overdue: closed by the gateway. "
    "CPU: user and system of each process, heartbeats and requests included.",
    style="dim",
)


def print_drain(report: DrainReport, console: Console) -> None:
    """Print a report as tables."""
    console.print(
        Group(
            machine_text(report.machine),
            _drains(report.runs),
            _workers(report.runs),
            _cpu(report.runs),
            _NOTES,
            targets_table(report.targets),
        )
    )


def _named(run: DrainRun) -> tuple[str, str]:
    return f"{run.connections:,}", "all at once" if run.pace is None else f"{run.pace:,.0f}/s"


def _drains(runs: Sequence[DrainRun]) -> Table:
    table = figures_table(
        "Drains",
        "connections", "pace", "drained s", "per second", "back s", "told", "closed", "came",
        "overdue", "other CPUs",
    )  # fmt: skip
    for run in runs:
        moves = run.moves
        table.add_row(
            *_named(run),
            f"{run.seconds:.1f}",
            f"{run.per_second:,.0f}",
            f"{moves.all_back_seconds:.1f}",
            f"{moves.told:,}",
            f"{moves.closed:,}",
            f"{moves.joined:,}",
            f"{run.overdue:,}",
            f"{run.other_cpus:.2f}",
        )
    return table


def _workers(runs: Sequence[DrainRun]) -> Table:
    table = figures_table(
        "Workers and requests",
        "connections", "pace", "handover p50", "p99", "max s", "unready", "longest s",
        "attempts failed", "requests", "failed", "p50", "p99 ms",
    )  # fmt: skip
    for run in runs:
        moves, load = run.moves, run.load
        table.add_row(
            *_named(run),
            f"{moves.handover.median:.2f}",
            f"{moves.handover.p99:.2f}",
            f"{moves.handover.max:.2f}",
            f"{moves.unready:,}",
            f"{moves.unready_seconds:.1f}",
            _counted(run.refused),
            f"{load.answered} of {load.asked}",
            _counted(load.errors),
            f"{load.latency_ms.p50:.1f}",
            f"{load.latency_ms.p99:.1f}",
        )
    return table


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "0"


def _cpu(runs: Sequence[DrainRun]) -> Table:
    table = figures_table(
        "CPU per connection, µs",
        "connections", "pace", "gateway drained", "other gateway", "API", "workers", "Redis",
    )  # fmt: skip
    for run in runs:
        used = run.each_us
        names = ("gateway", "other", "api", "workers", "redis")
        table.add_row(*_named(run), *(f"{used[name]:,.0f}" for name in names))
    return table
