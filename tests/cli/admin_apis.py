"""Maintenance APIs that answer as tests tell them, for commands that ask some."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from connect.cli.admin import AdminApi

ADMIN = "http://127.0.0.1:8290"

Answer = Callable[[httpx.Request], httpx.Response]


def answering(answer: Answer, url: str = ADMIN) -> AdminApi:
    """Return an API whose requests are answered by a function."""
    return AdminApi(httpx.Client(transport=httpx.MockTransport(answer)), url)


def run(
    monkeypatch: pytest.MonkeyPatch,
    command: click.Command,
    answer: Answer,
    arguments: Sequence[str],
) -> Result:
    """Run a command whose API is answered by a function."""
    assert command.callback is not None
    module = sys.modules[command.callback.__module__]
    monkeypatch.setattr(module, "open_admin", lambda url: answering(answer, url))
    return CliRunner().invoke(command, list(arguments), standalone_mode=False)


def progress(state: str = "draining", **changes: Any) -> dict[str, Any]:
    known = {
        "state": state, "total": 5, "told": 5, "left": 2, "closed": 1, "open": 3, "in_flight": 7,
        "replies_kept": 0, "seconds": 1.25, "seconds_left": 20.0,
    }  # fmt: skip
    return known | changes
