"""``connect gateways``."""

import json
from typing import Any

import httpx
import pytest

from connect.cli.gateways import gateways
from tests.cli.admin_apis import run

ALIVE: dict[str, Any] = {
    "id": "01JAAA", "status": "active", "alive": True, "group": "default", "hostname": "gw-1",
    "connections": 3, "last_heartbeat_at": "2025-11-24T16:00:00.000Z", "heartbeat_age": 2.6,
    "version": "1.0", "admin": "http://10.0.0.7:8290",
}  # fmt: skip
DEAD = ALIVE | {"id": "01JBBB", "alive": False, "heartbeat_age": 1200.0}
BARE = ALIVE | {
    "alive": False, "heartbeat_age": None, "group": "", "hostname": "", "version": "", "admin": "",
}  # fmt: skip


def show(monkeypatch: pytest.MonkeyPatch, data: list[dict[str, Any]], *arguments: str) -> str:
    """Run the command; return what it printed."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("GET", "/gateways")
        return httpx.Response(200, json={"data": data})

    result = run(monkeypatch, gateways, answer, arguments)
    assert (result.return_value, result.exception) == (0, None)
    return result.stdout


def test_gateways_are_shown_in_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    head, row = show(monkeypatch, [ALIVE]).splitlines()
    assert head.split() == [
        "GATEWAY", "STATUS", "ALIVE", "BEAT", "CONNECTIONS", "GROUP", "HOST", "VERSION", "ADMIN",
    ]  # fmt: skip
    assert row.split() == [
        "01JAAA", "active", "yes", "3s", "3", "default", "gw-1", "1.0", "http://10.0.0.7:8290",
    ]  # fmt: skip


def test_a_gateway_that_died_is_told_from_one_that_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = show(monkeypatch, [ALIVE, DEAD]).splitlines()[1:]
    assert [row.split()[:4] for row in rows] == [
        ["01JAAA", "active", "yes", "3s"],
        ["01JBBB", "active", "no", "1200s"],
    ]


def test_what_a_record_does_not_say_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    row = show(monkeypatch, [BARE]).splitlines()[1]
    assert row.split() == ["01JAAA", "active", "no", "-", "3", "-", "-", "-", "-"]


def test_no_gateways_are_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(monkeypatch, []) == "no gateways\n"


def test_json_is_what_the_api_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(show(monkeypatch, [DEAD], "--json")) == {"data": [DEAD]}
