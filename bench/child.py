"""Processes that measure or are measured, talking JSON lines over their pipes.

A child says what it has to say on stdout, one JSON object a line; it is asked on stdin
likewise, and ends when stdin does. What it writes to stderr goes to the terminal.
"""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from connect.errors import ConnectError

__all__ = ["Child", "ChildFailed", "prepare_child", "start_child", "tell", "wait_to_be_asked"]

_STOP_SECONDS = 10.0
_LINE_BYTES = 16 * 1024 * 1024


class ChildFailed(ConnectError):
    """A child ended, or said nothing in time.

    Attributes:
        module: which one.
        what: what was wrong.
    """

    def __init__(self, module: str, what: str) -> None:
        super().__init__(module, what)
        self.module = module
        self.what = what

    def __str__(self) -> str:
        return f"{self.module} {self.what}"


class Child:
    """A running child, inside `start_child`."""

    def __init__(self, module: str, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.module = module
        self.pid = process.pid
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._received = bytearray()

    async def ask(self, question: dict[str, Any], *, seconds: float) -> dict[str, Any]:
        """Send a question and return the answer; see `listen`."""
        await self.say(question)
        return await self.listen(seconds=seconds)

    async def say(self, said: dict[str, Any]) -> None:
        """Send something that is not answered at once.

        Raises:
            ChildFailed: it has ended.
        """
        try:
            await self._stdin.send_all(json.dumps(said).encode() + b"\n")
        except trio.BrokenResourceError as error:
            raise ChildFailed(self.module, "has ended") from error

    async def listen(self, *, seconds: float) -> dict[str, Any]:
        """Return what the child says next.

        Cancellation loses nothing that was said.

        Raises:
            ChildFailed: it ended first, or said nothing in so many seconds.
        """
        with trio.move_on_after(seconds):
            while (end := self._received.find(b"\n")) < 0:
                chunk = await self._stdout.receive_some()
                if not chunk or len(self._received) > _LINE_BYTES:
                    raise ChildFailed(self.module, "has ended" if not chunk else "says too much")
                self._received += chunk
            line = bytes(self._received[:end])
            del self._received[: end + 1]
            said: dict[str, Any] = json.loads(line)
            return said
        raise ChildFailed(self.module, f"said nothing within {seconds:g} s")


@asynccontextmanager
async def start_child(module: str, *arguments: str) -> AsyncIterator[Child]:
    """Run ``python -m MODULE ARGUMENTS`` for the length of the block; then end or kill it."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Child(module, process)
    finally:
        assert process.stdin is not None
        with trio.move_on_after(_STOP_SECONDS, shield=True):
            await process.stdin.aclose()
            await process.wait()
        if process.returncode is None:
            process.kill()
            with trio.move_on_after(_STOP_SECONDS, shield=True):
                await process.wait()


def prepare_child() -> None:
    """Leave Ctrl-C to the parent; to be called first in a child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def tell(said: dict[str, Any]) -> None:
    """Say something to the parent."""
    print(json.dumps(said), flush=True)


async def wait_to_be_asked() -> dict[str, Any] | None:
    """Return the parent's next question; None when there will be none.

    Cancelled, the next question is lost.
    """
    line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    if not line:
        return None
    asked: dict[str, Any] = json.loads(line)
    return asked
