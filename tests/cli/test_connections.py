"""``connect connections``."""

import json
from typing import Any

import httpx
import pytest

from connect.cli.connections import connections, layout
from tests.cli.admin_apis import run

OPEN: dict[str, Any] = {
    "id": "01J", "instance_id": "worker-1", "apps": ["mail", "shop"], "sdk": "py 0.5",
    "status": "READY", "phase": "READY", "opened_at": "2025-11-24T16:00:00.000Z",
    "heartbeat_age": 3.4, "in_flight": 2, "transitions": [],
}  # fmt: skip
CLOSED: dict[str, Any] = {
    "id": "01J", "instance_id": "worker-1", "apps": ["shop"], "sdk": "py 0.5",
    "status": "DISCONNECTED", "reason": "WRITE_STALLED", "detail": "write timed out",
    "by": "gateway", "code": None, "opened_at": "2025-11-24T16:00:00.000Z",
    "closed_at": "2025-11-24T16:00:07.500Z", "in_flight": 1, "transitions": [],
}  # fmt: skip


def show(
    monkeypatch: pytest.MonkeyPatch, data: list[dict[str, Any]], *arguments: str, more: int = 0
) -> tuple[str, str]:
    """Run the command; return what it asked for and what it printed."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return httpx.Response(200, json={"data": data, "matching": len(data) + more})

    result = run(monkeypatch, connections, answer, arguments)
    assert (result.return_value, result.exception) == (0, None)
    return asked[0], result.stdout


def test_open_connections_are_shown_in_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    asked, shown = show(monkeypatch, [OPEN])
    head, row = shown.splitlines()
    assert asked == "/connections?limit=100"
    assert head.split() == [
        "CONNECTION", "INSTANCE", "APPS", "STATUS", "OPENED", "BEAT", "RUNNING",
    ]  # fmt: skip
    assert row.split()[:4] == ["01J", "worker-1", "mail,shop", "READY"]
    assert row.split()[-2:] == ["3s", "2"]


def test_closed_connections_are_shown_with_their_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, shown = show(monkeypatch, [CLOSED], "--closed")
    head, row = shown.splitlines()
    assert asked == "/connections/closed?limit=100"
    assert head.split()[-4:] == ["CLOSED", "LASTED", "UNREPLIED", "DETAIL"]
    assert row.split()[:5] == ["01J", "worker-1", "shop", "WRITE_STALLED", "gateway"]
    assert row.endswith("7.5s    1          write timed out")


def test_a_connection_that_never_joined_has_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = CLOSED | {"id": "", "instance_id": "", "apps": [], "detail": CLOSED["reason"]}
    _, shown = show(monkeypatch, [refused], "--closed")
    assert shown.splitlines()[1].split()[:3] == ["-", "-", "-"]


def test_filters_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, _ = show(
        monkeypatch,
        [],
        "--closed",
        "--limit=5",
        "--app=shop",
        "--instance=w",
        "--reason=UNEXPECTED",
    )
    assert asked == "/connections/closed?app=shop&instance=w&reason=UNEXPECTED&limit=5"


def test_no_connections_are_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(monkeypatch, [])[1] == "no connections\n"


def test_that_there_are_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _, shown = show(monkeypatch, [OPEN], more=4)
    assert shown.splitlines()[-1] == "(1 of 5; --limit shows more)"


def test_none_of_those_there_are_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(monkeypatch, [], "--limit=0", more=7)[1] == "(0 of 7; --limit shows more)\n"


def test_json_is_what_the_api_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    _, shown = show(monkeypatch, [OPEN], "--json")
    assert json.loads(shown) == {"data": [OPEN], "matching": 1}


@pytest.mark.parametrize("arguments", [["--reason=UNEXPECTED"], ["--closed", "--status=READY"]])
def test_a_filter_of_the_other_kind_is_refused(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError("asked")

    result = run(monkeypatch, connections, answer, arguments)
    assert result.exception is not None
    assert "--closed" in str(result.exception) or "closed ones" in str(result.exception)


def test_texts_of_workers_are_cut_and_cannot_steer_the_terminal() -> None:
    assert layout([["a\x1b[31m", "b"], ["x" * 60, "c"]]) == (
        "a?[31m" + " " * 34 + "  b\n" + "x" * 39 + "…  c"
    )
