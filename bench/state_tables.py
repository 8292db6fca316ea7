"""What the state store was measured to cost, as tables for people."""

from collections.abc import Iterable

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bench.state_results import (
    ConnectionMemory,
    RequestCalls,
    ScriptCost,
    StateFigures,
    StateRatio,
    StateRow,
)

__all__ = ["state_tables"]

_NOTES = Text(
    "One call at a time. Redis: CPU of the server's process; script: time within the script, "
    "by its own count; client: CPU of the calling process: medians over rounds, in µs. "
    "p50, p99: round-trip time. Of a request: acquire, save the reply, complete.",
    style="dim",
)


def state_tables(state: StateFigures) -> list[RenderableType]:
    """Return the tables that there is something for."""
    tables: list[RenderableType] = []
    if state.rows:
        tables += [
            _costs("Acquire, µs per call", ((row, row.acquire) for row in state.rows)),
            _costs("Complete, µs per call", ((row, row.complete) for row in state.rows)),
            _NOTES,
        ]
        tables.append(Text(f"Other CPUs kept busy meanwhile: {state.other_cpus:.2f}", style="dim"))
    if state.ratios:
        tables.append(_ratios(state.ratios))
    if state.calls:
        tables.append(_calls(state.calls))
    if state.memory:
        tables.append(_memory(state.memory))
    return tables


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    table.columns[0].justify = "left"
    return table


def _costs(title: str, costs: Iterable[tuple[StateRow, ScriptCost | None]]) -> Table:
    table = _table(
        title, "workers", "connections", "Redis", "script", "client", "p50", "p99", "calls"
    )
    for row, cost in costs:
        if cost is not None:
            figures = (cost.redis_us, cost.script_us, cost.client_us, cost.p50_us, cost.p99_us)
            table.add_row(
                row.load,
                f"{row.connections:,}",
                *(f"{figure:,.0f}" for figure in figures),
                f"{cost.calls:,}",
            )
    return table


def _ratios(ratios: Iterable[StateRatio]) -> Table:
    table = _table(
        "Acquire, most connections over fewest (1 is flat)",
        "workers", "connections", "Redis", "script", "client", "p50",
    )  # fmt: skip
    for found in ratios:
        table.add_row(
            found.load,
            f"{found.most:,} / {found.fewest:,}",
            *(f"{one:.2f}" for one in (found.redis, found.script, found.client, found.p50)),
        )
    return table


def _calls(calls: Iterable[RequestCalls]) -> Table:
    table = _table("Redis per request", "workers", "round trips", "scripts", "commands")
    for one in calls:
        table.add_row(
            f"{one.workers:,}",
            f"{one.round_trips:.2f}",
            f"{one.scripts:.2f}",
            f"{one.commands:.1f}",
        )
    return table


def _memory(memory: Iterable[ConnectionMemory]) -> Table:
    table = _table("Memory in Redis", "workers", "connections", "bytes per connection")
    for one in memory:
        table.add_row(one.load, f"{one.connections:,}", f"{one.bytes_each:,.0f}")
    return table
