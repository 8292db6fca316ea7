"""``connect drain`` and ``connect activate``: take a gateway out of service, and back."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from connect.cli.admin import AdminApi, admin_option, find_gateway, open_admin

__all__ = ["activate", "drain", "wait_until_drained"]

# Between looks at a drain that is waited for, in seconds.
_LOOK_EVERY = 0.25

_NOT_DRAINED = 1  # exit code

# What a gateway did that is neither drained nor draining, by the state it answers.
_WHY_NOT = {"active": "was activated again", "given_up": "gave the drain up at its deadline"}

_TOO_EARLY = frozenset({425})


@click.command()
@click.argument("gateway", required=False)
@admin_option
@click.option("--wait", is_flag=True, help="Wait until every connection is gone; show progress.")
@click.option("--timeout", default="60s", show_default=True, help="How long to wait, with --wait.")
@click.option("--json", "as_json", is_flag=True, help="Print what the gateway answers, as JSON.")
def drain(gateway: str | None, admin: str, wait: bool, timeout: str, as_json: bool) -> int:
    """Take a gateway out of service: it sends its workers to other gateways.

    GATEWAY is the URL of its admin API, or its id or the beginning of that, which is then
    looked up in the table of gateways; without it, the gateway at --admin is meant. Workers
    are told to reconnect elsewhere and finish what they run; `activate` takes it back.

    \b
    Exit codes:
      0  the drain has begun; with --wait, it is over
      1  with --wait: not over in time, given up by the gateway, or called off
      2  wrong usage, or there is no such gateway
    """
    from connect.protocol.durations import parse_duration

    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise click.UsageError(f"--timeout: {error}") from error
    api = find_gateway(open_admin(admin), gateway)
    answer = api.post("/drain", having="state")
    if wait:
        return _wait(api, seconds, as_json=as_json)
    print(json.dumps(answer) if as_json else f"draining {api.url}: {_progress(answer)}")
    return 0


@click.command()
@click.argument("gateway", required=False)
@admin_option
def activate(gateway: str | None, admin: str) -> int:
    """Put a drained gateway back into service, also in the midst of a drain.

    GATEWAY as for `drain`. Connections whose workers have been told to leave stay until
    these do; all others are kept.
    """
    api = find_gateway(open_admin(admin), gateway)
    api.post("/activate", having="state")
    print(f"active: {api.url}")
    return 0


def _wait(api: AdminApi, seconds: float, *, as_json: bool) -> int:
    shown = _Line()
    try:
        answer = wait_until_drained(api, seconds, tell=shown.show)
    finally:
        shown.end()
    if as_json:
        print(json.dumps(answer))
    if answer["state"] != "drained":
        why = _WHY_NOT.get(answer["state"], f"is not drained after {seconds:g} s")
        print(f"connect drain: {api.url} {why}: {_progress(answer)}", file=sys.stderr)
        return _NOT_DRAINED
    if not as_json:
        print(
            f"drained {api.url}: {answer['total']} connections in {answer['seconds']:.1f} s, "
            f"{answer['closed']} of them closed by the gateway"
        )
    return 0


def wait_until_drained(
    api: AdminApi,
    seconds: float,
    *,
    tell: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Look at a drain until it is over, given up or called off, or the time is over.

    Args:
        tell: called with the progress, in words, at each look.

    Returns:
        The last answer of ``GET /drained``; its ``state`` says which of them it was.

    Raises:
        ConfigurationError: the gateway's process has ended, or stopped answering.
    """
    deadline = clock() + seconds
    while True:
        answer = api.ask("GET", "/drained", also=_TOO_EARLY, having="state")
        tell(_progress(answer))
        if answer["state"] != "draining" or clock() >= deadline:
            return answer
        sleep(min(_LOOK_EVERY, max(0.0, deadline - clock())))


def _progress(answer: dict[str, Any]) -> str:
    if "open" not in answer:
        return "no drain"
    words = [
        f"{answer['open']} of {answer['total']} connections open",
        f"{answer['told']} told",
        f"{answer['in_flight']} requests running",
    ]
    if answer["replies_kept"]:
        words.append(f"{answer['replies_kept']} replies to be stored")
    if answer["state"] == "draining":
        words.append(f"at most {answer['seconds_left']:.0f} s to go")
    return ", ".join(words)


class _Line:
    """A line of progress on stderr: rewritten on a terminal, else written when it changes."""

    def __init__(self) -> None:
        self._last = ""
        self._terminal = sys.stderr.isatty()

    def show(self, text: str) -> None:
        if text == self._last:
            return
        self._last = text
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._terminal and self._last:
            print(file=sys.stderr)
