"""Signals to the service as a process, at its beginning and at its end."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from connect.harness import FREE_PORTS, RunningProcess, start_process, start_service
from tests.process.test_cli import CONNECT

pytestmark = pytest.mark.process


@asynccontextmanager
async def starting(command: str) -> AsyncIterator[RunningProcess]:
    """A service that starts and waits for its Redis, which never answers."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"redis://127.0.0.1:{listener.socket.getsockname()[1]}"
    async with (
        listener,
        start_process([*CONNECT, command, *FREE_PORTS, f"--redis-url={url}"]) as process,
    ):
        with trio.fail_after(30):
            redis = await listener.accept()
        async with redis:
            yield process


@pytest.mark.parametrize("command", ["serve", "dev"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_it_starts_cancels_the_start(
    number: signal.Signals, command: str
) -> None:
    async with starting(command) as process:
        with trio.fail_after(3):  # connecting gives up after 5 s
            assert await process.stop(number) == 0
        assert "Traceback" not in process.output


async def test_a_second_signal_while_it_starts_exits_at_once() -> None:
    async with starting("serve") as process:
        # Both at the same time, or the first might have ended it before the second comes.
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        with trio.fail_after(3):
            # Either may be the second.
            assert await process.stop(signal.SIGCONT) in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        assert "connect: second signal, exiting at once" in process.output


async def test_a_hangup_while_it_starts_is_answered_once_it_runs() -> None:
    async with start_process([*CONNECT, "serve", *FREE_PORTS]) as process:
        with trio.fail_after(30):
            while not _takes_hangups(process):
                await trio.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        await process.wait_for_output("reloaded")
        assert await process.stop() == 0


async def test_hangups_while_it_ends_change_nothing() -> None:
    async with start_service("--log-level=info") as service:
        service.send_signal(signal.SIGTERM)
        await service.wait_for_output("signal received")
        with trio.fail_after(30):
            while service.process.poll() is None:
                service.send_signal(signal.SIGHUP)
                await trio.sleep(0.005)
        assert await service.wait() == 0


def _takes_hangups(process: RunningProcess) -> bool:
    """Tell whether a process handles SIGHUP, by what the system says of it."""
    status = Path(f"/proc/{process.process.pid}/status").read_text(encoding="ascii")
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (signal.SIGHUP - 1) & 1)
