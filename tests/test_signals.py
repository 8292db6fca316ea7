"""The signals that a service's process answers."""

import io
import os
import pty
import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from connect.signals import hangups, termination


async def test_a_hangup_asks_for_a_reload() -> None:
    with hangups() as wait_for_hangup:
        signal.raise_signal(signal.SIGHUP)
        assert await wait_for_hangup()


async def test_a_hangup_that_comes_while_nobody_waits_is_kept() -> None:
    with hangups() as wait_for_hangup:
        signal.raise_signal(signal.SIGHUP)
        await trio.lowlevel.checkpoint()
        with trio.fail_after(5):
            await wait_for_hangup()


@pytest.mark.parametrize("gone", [False, True])
async def test_a_terminal_that_has_gone_is_told_apart(
    gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller, terminal = pty.openpty()
    try:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: terminal))
        with hangups() as wait_for_hangup:
            if gone:
                os.close(controller)
            signal.raise_signal(signal.SIGHUP)
            assert await wait_for_hangup() is not gone
    finally:
        os.close(terminal)
        if not gone:
            os.close(controller)


@pytest.mark.parametrize("stdin", [None, io.StringIO()])
async def test_a_process_without_a_terminal_has_none_to_lose(
    stdin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with hangups() as wait_for_hangup:
        signal.raise_signal(signal.SIGHUP)
        assert await wait_for_hangup()


async def test_either_signal_ends_it() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
        with termination() as wait_for_signal:
            signal.raise_signal(number)
            await wait_for_signal()
        for each, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(each, handler)
