"""``connect connections``: the connections of a gateway, open and closed."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from connect.cli.admin import admin_option, find_gateway, open_admin

__all__ = ["connections", "layout"]

_LONGEST_CELL = 40

_OPEN = ("CONNECTION", "INSTANCE", "APPS", "STATUS", "OPENED", "BEAT", "RUNNING")
_CLOSED = (
    "CONNECTION", "INSTANCE", "APPS", "REASON", "BY", "CLOSED", "LASTED", "UNREPLIED", "DETAIL",
)  # fmt: skip


@click.command()
@click.argument("gateway", required=False)
@admin_option
@click.option("--closed", is_flag=True, help="Those that have ended, the latest first.")
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True,
              help="How many to show.")  # fmt: skip
@click.option("--app", help="Only those of this app.")
@click.option("--instance", help="Only those of this instance id.")
@click.option("--status", help="Only those of this status, such as READY.")
@click.option("--reason", help="With --closed: only those that ended so, such as WRITE_STALLED.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every phase of each.")
def connections(
    gateway: str | None,
    admin: str,
    closed: bool,
    limit: int,
    app: str | None,
    instance: str | None,
    status: str | None,
    reason: str | None,
    as_json: bool,
) -> int:
    """Show the connections of a gateway.

    GATEWAY is the URL of its admin API, or its id or the beginning of that; without it,
    the gateway at --admin is meant.
    """
    if reason is not None and not closed:
        raise click.UsageError("--reason is for --closed")
    if status is not None and closed:
        raise click.UsageError("--status is for open connections; closed ones have a --reason")
    given = {"app": app, "instance": instance, "status": status, "reason": reason}
    query: dict[str, str | int] = {k: v for k, v in given.items() if v is not None}
    api = find_gateway(open_admin(admin), gateway)
    path = "/connections/closed" if closed else "/connections"
    answer = api.get(path, query | {"limit": limit}, having="matching")
    if as_json:
        print(json.dumps(answer, indent=2))
        return 0
    found = answer["data"]
    if not answer["matching"]:
        print("no connections")
    if found:
        rows = [_closed_row(one) if closed else _open_row(one) for one in found]
        print(layout([_CLOSED if closed else _OPEN, *rows]))
    if answer["matching"] > len(found):
        print(f"({len(found)} of {answer['matching']}; --limit shows more)")
    return 0


def _open_row(one: dict[str, Any]) -> Sequence[str]:
    return (
        one["id"],
        one["instance_id"],
        ",".join(one["apps"]),
        one["status"],
        _clock(one["opened_at"]),
        f"{one['heartbeat_age']:.0f}s",
        str(one["in_flight"]),
    )


def _closed_row(one: dict[str, Any]) -> Sequence[str]:
    lasted = (_moment(one["closed_at"]) - _moment(one["opened_at"])).total_seconds()
    return (
        one["id"] or "-",
        one["instance_id"] or "-",
        ",".join(one["apps"]) or "-",
        one["reason"],
        one["by"],
        _clock(one["closed_at"]),
        f"{lasted:.1f}s",
        str(one["in_flight"]),
        "" if one["detail"] == one["reason"] else one["detail"],
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _clock(text: str) -> str:
    """Return a moment of the API in the time of this machine."""
    return _moment(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def layout(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines of aligned columns; long cells are cut, odd characters shown."""
    shown = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    )


def _cell(text: str) -> str:
    """Return what is printed of a text that a worker may have chosen."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable if len(printable) <= _LONGEST_CELL else f"{printable[: _LONGEST_CELL - 1]}…"
