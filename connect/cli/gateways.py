"""``connect gateways``: all gateways, and which of them are alive."""

import json
from collections.abc import Sequence
from typing import Any

import click

from connect.cli.admin import admin_option, open_admin
from connect.cli.connections import layout

__all__ = ["gateways"]

_HEAD = ("GATEWAY", "STATUS", "ALIVE", "BEAT", "CONNECTIONS", "GROUP", "HOST", "VERSION", "ADMIN")


@click.command()
@admin_option
@click.option("--json", "as_json", is_flag=True, help="Print what the service answers, as JSON.")
def gateways(admin: str, as_json: bool) -> int:
    """Show all gateways, and which of them are alive.

    The record of a gateway that died stays, with the status it had, until it is collected:
    one is alive whose last heartbeat (BEAT) is at most two intervals old.
    """
    answer = open_admin(admin).get("/gateways", having="data")
    if as_json:
        print(json.dumps(answer, indent=2))
        return 0
    found = answer["data"]
    print(layout([_HEAD, *map(_row, found)]) if found else "no gateways")
    return 0


def _row(one: dict[str, Any]) -> Sequence[str]:
    age = one["heartbeat_age"]
    return (
        one["id"],
        one["status"],
        "yes" if one["alive"] else "no",
        "-" if age is None else f"{age:.0f}s",
        str(one["connections"]),
        one["group"] or "-",
        one["hostname"] or "-",
        one["version"] or "-",
        one["admin"] or "-",
    )
