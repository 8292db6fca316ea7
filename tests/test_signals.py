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
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.signals import ServiceSignals, take_signals, termination

pytestmark = pytest.mark.usefixtures("own_handlers")

ENDING = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def signals() -> ServiceSignals:
    """Signals that are taken and kept."""
    taken = take_signals()
    taken.keep()
    return taken


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes that the process would have been ended at once with."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


class TestBeforeAnythingIsBegun:
    @pytest.mark.parametrize("number", ENDING)
    def test_a_signal_exits_with_code_0(self, number: signal.Signals) -> None:
        take_signals()
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(number)
        assert ended.value.code == 0

    def test_another_one_exits_at_once(self, exits: list[int]) -> None:
        take_signals()
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert exits == [128 + signal.SIGINT]

    async def test_a_hangup_is_kept(self) -> None:
        taken = take_signals()
        signal.raise_signal(signal.SIGHUP)
        with taken.received(), trio.fail_after(5):
            assert await taken.wait_for_hangup()


class TestStart:
    @pytest.mark.parametrize("number", ENDING)
    async def test_a_signal_cancels_it(
        self, number: signal.Signals, signals: ServiceSignals
    ) -> None:
        with signals.received(), trio.fail_after(5):
            signal.raise_signal(number)
            await trio.sleep_forever()

    async def test_a_signal_from_before_it_cancels_it(self, signals: ServiceSignals) -> None:
        signal.raise_signal(signal.SIGTERM)
        reached = False
        with signals.received():
            await trio.lowlevel.checkpoint()
            reached = True
        assert not reached

    async def test_a_second_signal_exits_at_once_although_nobody_waits_for_any(
        self, signals: ServiceSignals, exits: list[int], capfd: pytest.CaptureFixture[str]
    ) -> None:
        with signals.received():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
        assert exits == [128 + signal.SIGINT]
        assert capfd.readouterr().err == "connect: second signal, exiting at once\n"

    async def test_an_error_comes_out_of_it(self, signals: ServiceSignals) -> None:
        with pytest.raises(ValueError, match="of the start"), signals.received():
            raise ValueError("of the start")


class TestRunning:
    @pytest.mark.parametrize("number", ENDING)
    async def test_a_signal_cancels_nothing_and_is_told_to_who_waits(
        self, number: signal.Signals, signals: ServiceSignals
    ) -> None:
        with capture_logs() as logs, signals.received():
            signals.started()
            signal.raise_signal(number)
            with trio.fail_after(5):
                await signals.wait_for_end()
            await trio.lowlevel.checkpoint()
            assert logs == [
                {"event": "signal received", "signal": number.name, "log_level": "info"}
            ]

    async def test_a_second_signal_exits_at_once(
        self, signals: ServiceSignals, exits: list[int]
    ) -> None:
        with signals.received():
            signals.started()
            signal.raise_signal(signal.SIGINT)
            await signals.wait_for_end()
            signal.raise_signal(signal.SIGTERM)
        assert exits == [128 + signal.SIGTERM]

    async def test_it_can_end_by_itself_as_by_a_signal(self, signals: ServiceSignals) -> None:
        with signals.received():
            signals.started()
            signals.end()
            with trio.fail_after(5):
                await signals.wait_for_end()

    async def test_its_own_end_is_no_second_signal(
        self, signals: ServiceSignals, exits: list[int]
    ) -> None:
        with signals.received():
            signals.started()
            signal.raise_signal(signal.SIGTERM)
            signals.end()
        assert exits == []


class TestHangup:
    async def test_one_that_comes_while_nobody_waits_is_kept(self, signals: ServiceSignals) -> None:
        with signals.received():
            signal.raise_signal(signal.SIGHUP)
            await trio.lowlevel.checkpoint()
            with trio.fail_after(5):
                assert await signals.wait_for_hangup()

    async def test_each_is_told_once(
        self, signals: ServiceSignals, autojump_clock: MockClock
    ) -> None:
        with signals.received():
            signal.raise_signal(signal.SIGHUP)
            await signals.wait_for_hangup()
            with trio.move_on_after(5) as waited:
                await signals.wait_for_hangup()
            assert waited.cancelled_caught
            signal.raise_signal(signal.SIGHUP)
            with trio.fail_after(5):
                assert await signals.wait_for_hangup()

    async def test_one_at_the_end_is_ignored(self, signals: ServiceSignals) -> None:
        with signals.received():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    @pytest.mark.parametrize("gone", [False, True])
    async def test_a_terminal_that_has_gone_is_told_apart(
        self, gone: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        controller, terminal = pty.openpty()
        try:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: terminal))
            signals = take_signals()
            with signals.received():
                if gone:
                    os.close(controller)
                signal.raise_signal(signal.SIGHUP)
                assert await signals.wait_for_hangup() is not gone
        finally:
            os.close(terminal)
            if not gone:
                os.close(controller)

    @pytest.mark.parametrize("stdin", [None, io.StringIO()])
    async def test_a_process_without_a_terminal_has_none_to_lose(
        self, stdin: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", stdin)
        signals = take_signals()
        with signals.received():
            signal.raise_signal(signal.SIGHUP)
            assert await signals.wait_for_hangup()


@pytest.mark.parametrize("number", ENDING)
async def test_a_worker_ends_by_either_signal(number: signal.Signals) -> None:
    with capture_logs(), termination() as wait_for_signal:
        signal.raise_signal(number)
        await wait_for_signal()


async def test_a_second_signal_ends_a_worker_at_once(exits: list[int]) -> None:
    with capture_logs(), termination() as wait_for_signal:
        signal.raise_signal(signal.SIGTERM)
        await wait_for_signal()
        signal.raise_signal(signal.SIGTERM)
    assert exits == [128 + signal.SIGTERM]
