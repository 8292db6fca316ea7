"""``connect drain`` and ``connect activate``."""

import json
from collections.abc import Sequence

import httpx
import pytest

from connect.cli.drain import _Line, activate, drain, wait_until_drained
from connect.errors import ConfigurationError
from tests.cli.admin_apis import ADMIN, Answer, answering, progress, run


def drains(*looks: tuple[int, dict[str, object]]) -> Answer:
    """Answer POST /drain once, then each look at the drain in turn; the last one stays."""
    left = list(looks)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/drain":
            assert request.method == "POST"
            return httpx.Response(202, json=progress())
        assert request.url.path == "/drained"
        status, body = left.pop(0) if len(left) > 1 else left[0]
        return httpx.Response(status, json=body)

    return answer


OVER = (200, progress("drained", left=5, open=0, in_flight=0, seconds=4.2, seconds_left=0.0))


def test_a_drain_is_begun_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, drain, drains(OVER), [])
    assert (result.return_value, result.exception) == (0, None)
    assert result.stdout == (
        f"draining {ADMIN}: 3 of 5 connections open, 5 told, 7 requests running, "
        "at most 20 s to go\n"
    )


def test_the_answer_is_printed_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, drain, drains(OVER), ["--json"])
    assert json.loads(result.stdout) == progress()


def test_a_drain_is_waited_for_with_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [(425, progress(open=n, replies_kept=n - 1)) for n in (2, 2, 1)]
    result = run(monkeypatch, drain, drains(*looks, OVER), ["--wait"])
    assert (result.return_value, result.exception) == (0, None)
    assert result.stdout == (
        f"drained {ADMIN}: 5 connections in 4.2 s, 1 of them closed by the gateway\n"
    )
    lines = result.stderr.splitlines()
    assert [line[:24] for line in lines] == [
        "2 of 5 connections open,",
        "1 of 5 connections open,",
        "0 of 5 connections open,",
    ]
    assert "1 replies to be stored" in lines[0]


def test_the_end_of_a_drain_is_printed_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, drain, drains(OVER), ["--wait", "--json"])
    assert json.loads(result.stdout)["state"] == "drained"


@pytest.mark.parametrize(
    ("looks", "arguments", "message"),
    [
        ([(425, progress())], ["--timeout=0s"], "is not drained after 0 s: 3 of 5"),
        ([(425, {"state": "active"})], [], "was activated again: no drain"),
        (
            [(425, progress("given_up", seconds_left=0.0))],
            [],
            "gave the drain up at its deadline: 3 of 5 connections open, 5 told, "
            "7 requests running\n",
        ),
    ],
)
def test_a_drain_that_does_not_come_to_its_end_exits_1(
    monkeypatch: pytest.MonkeyPatch,
    looks: Sequence[tuple[int, dict[str, object]]],
    arguments: Sequence[str],
    message: str,
) -> None:
    result = run(monkeypatch, drain, drains(*looks), ["--wait", *arguments])
    assert result.return_value == 1
    assert message in result.stderr


def test_a_timeout_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, drain, drains(OVER), ["--wait", "--timeout=soon"])
    assert result.exception is not None
    assert "--timeout" in str(result.exception)


def test_looking_ends_at_the_deadline() -> None:
    slept: list[float] = []

    def clock() -> float:
        return 100 + sum(slept)

    answer = wait_until_drained(
        answering(drains((425, progress()))),
        0.6,
        tell=lambda text: None,
        sleep=slept.append,
        clock=clock,
    )
    assert answer["state"] == "draining"
    assert slept == pytest.approx([0.25, 0.25, 0.1])


def test_something_else_at_the_address_is_not_waited_for() -> None:
    with pytest.raises(ConfigurationError, match="is not an admin API"):
        wait_until_drained(answering(drains((200, {}))), 1, tell=lambda text: None)


def test_a_gateway_is_activated(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, str(request.url)))
        return httpx.Response(200, json={"state": "active"})

    result = run(monkeypatch, activate, answer, ["http://10.0.0.7:8290"])
    assert (result.return_value, result.stdout) == (0, "active: http://10.0.0.7:8290\n")
    assert asked == [("POST", "http://10.0.0.7:8290/activate")]


def test_progress_on_a_terminal_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    line = _Line()
    line.show("one")
    line.show("two")
    line.end()
    assert capsys.readouterr().err == "\r\x1b[Kone\r\x1b[Ktwo\n"
