"""What was measured, as tables for people."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.figures import Target
from bench.machine import Machine
from bench.results import Flatness, Report, RequestRow
from bench.state_tables import state_tables

__all__ = ["figures_table", "machine_text", "print_report", "targets_table"]


def print_report(report: Report, console: Console) -> None:
    """Print all tables that the report has something for."""
    parts: list[RenderableType] = [machine_text(report.machine)]
    if report.rows:
        parts += [_requests(report.rows), _NOTES]
    if report.flatness:
        parts.append(_flatness(report.flatness))
    if report.redis_calls:
        parts.append(_redis_calls(report))
    if report.state is not None:
        parts += state_tables(report.state)
    if report.targets:
        parts.append(targets_table(report.targets))
    console.print(Group(*parts))


_NOTES = Text(
    "Redis calls: round trips of the gateway's and the executor's client, heartbeats and table "
    "refreshes included; scripts and commands (those inside scripts, too) by Redis' own "
    "counters. CPU: user and system of each process. Other CPUs: kept busy by anything else. "
    "Spin: a fixed piece of work around the row; it shows how fast the machine ran.",
    style="dim",
)


def machine_text(machine: Machine) -> Text:
    """Return the lines about the machine and its noise."""
    lines = [f"{machine.cpus} CPUs ({machine.model}), {machine.system}, {machine.python}"]
    if machine.redis:
        lines[0] += f", Redis {machine.redis}"
    for noise, when in zip(machine.noise, ("before", "after"), strict=False):
        lines.append(
            f"noise {when}: a fixed piece of work took {noise.fastest_ms:.1f} to "
            f"{noise.slowest_ms:.1f} ms (median {noise.median_ms:.1f}), load {noise.load:.2f}"
        )
    return Text("\n".join(lines))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def figures_table(title: str, *columns: str) -> Table:
    """Return a table whose first column is text."""
    table = _table(title, *columns)
    table.columns[0].justify = "left"
    return table


def _requests(rows: Iterable[RequestRow]) -> Table:
    table = _table(
        "Requests",
        "workers", "callers", "req/s", "p50 ms", "p99 ms", "Redis calls", "scripts", "commands",
        "gateway µs", "executor µs", "workers µs", "Redis µs", "other CPUs", "spin ms", "errors",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            str(row.workers),
            str(row.callers),
            f"{row.per_second:,.0f}",
            f"{row.latency_ms.p50:.2f}",
            f"{row.latency_ms.p99:.2f}",
            f"{row.round_trips:.2f}",
            f"{row.scripts:.2f}",
            f"{row.commands:.1f}",
            f"{row.cpu_us.gateway:.0f}",
            f"{row.cpu_us.executor:.0f}",
            f"{row.cpu_us.workers:.0f}",
            f"{row.cpu_us.redis:.0f}",
            f"{row.other_cpus:.2f}",
            f"{row.spin_ms:.1f}",
            ", ".join(f"{count} {name}" for name, count in row.errors.items()) or "0",
        )
    return table


def _flatness(comparisons: Iterable[Flatness]) -> Table:
    table = _table(
        "Most workers over fewest (1 is flat)",
        "callers", "workers", "req/s", "p50", "p99", "Redis calls", "commands",
        "gateway CPU", "executor CPU", "Redis CPU",
    )  # fmt: skip
    for flat in comparisons:
        figures = (
            flat.per_second, flat.p50, flat.p99, flat.round_trips, flat.commands,
            flat.cpu_gateway, flat.cpu_executor, flat.cpu_redis,
        )  # fmt: skip
        table.add_row(
            str(flat.callers),
            f"{flat.most} / {flat.fewest}",
            *(f"{figure:.2f}" for figure in figures),
        )
    return table


def _redis_calls(report: Report) -> Table:
    table = figures_table(
        "A Redis call (GET of 512 bytes)", "client", "tasks", "CPU µs", "calls/s", "ours over it"
    )
    ratios = {(found.over, found.tasks): found.ratio for found in report.client_ratios}
    for calls in report.redis_calls:
        found = ratios.get((calls.client, calls.tasks))
        table.add_row(
            calls.client,
            str(calls.tasks),
            f"{calls.cpu_us:.1f}",
            f"{calls.per_second:,.0f}",
            "" if found is None else f"{found:.3f}",
        )
    return table


def targets_table(targets: Iterable[Target]) -> Table:
    """Return a table of bounds and whether they are kept."""
    table = figures_table("Targets", "figure", "value", "bound", "")
    for target in targets:
        sign = "≤" if target.at_most else "≥"
        verdict = Text("met", "green") if target.met else Text("missed", "red")
        if target.disturbed:
            verdict.append(", disturbed", "yellow")
        table.add_row(target.name, f"{target.value:.2f}", f"{sign} {target.bound:.2f}", verdict)
    return table
