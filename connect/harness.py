"""Starting the service, and programs around it, as processes: for integration tests and benches.

::

    async with start_service("--redis-url", url) as service:
        async with httpx.AsyncClient(base_url=service.addresses["api"]) as client:
            ...
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from connect.errors import ConnectError

__all__ = ["FREE_PORTS", "ProcessFailed", "RunningProcess", "RunningService", "start_process",
           "start_service"]  # fmt: skip

# Everything on loopback, on ports that the system picks.
FREE_PORTS = (
    "--host=127.0.0.1",
    "--api-port=0",
    "--gateway-port=0",
    "--gateway-rpc-port=0",
    "--executor-rpc-port=0",
    "--admin-port=0",
)


class ProcessFailed(ConnectError):
    """A process ended, or was not ready in time.

    Attributes:
        command: what was started.
        output: the end of what it wrote.
    """

    def __init__(self, command: Sequence[str], what: str, output: str) -> None:
        super().__init__(command, what, output)
        self.command = tuple(command)
        self.what = what
        self.output = output

    def __str__(self) -> str:
        return f"{' '.join(self.command)}: {self.what}\n{self.output}"


@dataclass(slots=True)
class RunningProcess:
    """A process and the file that its output goes to."""

    command: tuple[str, ...]
    process: trio.Process
    output_path: Path

    @property
    def output(self) -> str:
        """What it has written so far, to stdout and stderr together."""
        return self.output_path.read_text(encoding="utf-8", errors="replace")

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; a process that is gone gets none."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def wait(self) -> int:
        """Wait until it ends; return its exit code (negative: the signal that ended it)."""
        return await self.process.wait()

    async def wait_for_output(self, text: str, *, seconds: float = 30.0) -> str:
        """Wait until it has written the text; return all its output.

        Raises:
            ProcessFailed: it ended before, or did not write it in time.
        """
        with trio.move_on_after(seconds):
            while text not in self.output:
                if self.process.poll() is not None and text not in self.output:
                    raise self._failed(f"ended with {self.process.returncode}")
                await trio.sleep(0.02)
            return self.output
        raise self._failed(f"did not write {text!r} within {seconds} s")

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 40.0) -> int:
        """Signal it and wait for its end; kill it if that takes too long.

        Returns:
            Its exit code.
        """
        self.send_signal(number)
        with trio.move_on_after(seconds):
            return await self.process.wait()
        self.process.kill()
        return await self.process.wait()

    def _failed(self, what: str) -> ProcessFailed:
        return ProcessFailed(self.command, what, self.output[-4000:])


@dataclass(slots=True)
class RunningService(RunningProcess):
    """A service process.

    Attributes:
        addresses: where it listens, by the names of `connect.app.Addresses`.
    """

    addresses: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def start_process(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> AsyncIterator[RunningProcess]:
    """Start a process for the length of the block; it is stopped, or killed, at its end.

    Args:
        environment: variables to set besides those of this process.
    """
    with tempfile.TemporaryDirectory(prefix="connect-") as folder:
        output_path = Path(folder) / "output"
        with output_path.open("wb") as output:
            process = await trio.lowlevel.open_process(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | dict(environment or {}),
            )
        running = RunningProcess(tuple(command), process, output_path)
        try:
            yield running
        finally:
            with trio.CancelScope(shield=True):  # bounded: stop() kills
                if process.returncode is None:
                    await running.stop(seconds=10.0)


@asynccontextmanager
async def start_service(
    *arguments: str,
    command: str = "serve",
    environment: Mapping[str, str] | None = None,
    seconds: float = 30.0,
) -> AsyncIterator[RunningService]:
    """Start ``python -m connect`` on free loopback ports for the length of the block.

    Args:
        arguments: further arguments; later ones win over `FREE_PORTS`.
        command: the subcommand.
        environment: variables to set besides those of this process.
        seconds: how long it may take until everything listens.

    Raises:
        ProcessFailed: it ended, or was not ready in time.
    """
    with tempfile.TemporaryDirectory(prefix="connect-") as folder:
        address_file = Path(folder) / "addresses.json"
        line = [sys.executable, "-m", "connect", command, *FREE_PORTS]
        line += [f"--address-file={address_file}", *arguments]
        async with start_process(line, environment=environment) as running:
            with trio.move_on_after(seconds):
                while not address_file.exists():
                    if running.process.poll() is not None:
                        raise running._failed(f"ended with {running.process.returncode}")
                    await trio.sleep(0.02)
            if not address_file.exists():
                raise running._failed(f"not ready within {seconds} s")
            addresses = json.loads(address_file.read_text(encoding="utf-8"))
            yield RunningService(running.command, running.process, running.output_path, addresses)
