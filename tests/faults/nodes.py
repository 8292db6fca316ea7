"""Processes that are killed, stopped, continued and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import trio

from connect.errors import ConnectError
from connect.harness import RunningProcess

__all__ = ["ExecutorGone", "ExecutorProcess", "Node", "start_executor"]

P = TypeVar("P", bound=RunningProcess)

_START_SECONDS = 30.0
_EXIT_SECONDS = 40.0
_PIPE_BYTES = 65536
# Questions that may wait for an executor that reads none.
_MOST_WAITING = 4096


class ExecutorGone(ConnectError):
    """An executor's process has ended, or takes no more questions."""


class Node(Generic[P]):
    """A place for a process, which is started and ended any number of times.

    Args:
        name: for people and the journal; an incarnation's is ``NAME.1``, ``NAME.2``…
        start: starts an incarnation, given its name.
        nursery: keeps the process; its end kills it.
        logs: folder that the output of ended incarnations is kept in.

    Attributes:
        killed: when each incarnation was, by name, in unix seconds.
        frozen: from when until when each incarnation stood still, by name.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[str], AbstractAsyncContextManager[P]],
        *,
        nursery: trio.Nursery,
        logs: Path,
    ) -> None:
        self.name = name
        self.killed: dict[str, float] = {}
        self.frozen: dict[str, list[tuple[float, float]]] = {}
        self._open = start
        self._nursery = nursery
        self._logs = logs
        self._incarnation = 0
        self._running: P | None = None
        self._ended = trio.Event()

    @property
    def incarnation(self) -> str:
        """The name of the process that was started last."""
        return f"{self.name}.{self._incarnation}"

    @property
    def incarnations(self) -> list[str]:
        """The names of all processes that were started so far."""
        return [f"{self.name}.{number}" for number in range(1, self._incarnation + 1)]

    @property
    def up(self) -> bool:
        """Whether there is a process, be it one that stands still."""
        return self._running is not None

    @property
    def running(self) -> P:
        """The process.

        Raises:
            ExecutorGone: there is none now.
        """
        if self._running is None:
            raise ExecutorGone(f"{self.name} is not running")
        return self._running

    async def start(self) -> None:
        """Start the next incarnation and return when it is ready."""
        self._incarnation += 1
        self._ended = trio.Event()
        self._running = await self._nursery.start(self._keep, self._ended)

    async def kill(self) -> float:
        """SIGKILL it; return when it was gone, in unix seconds."""
        await self._end(signal.SIGKILL)
        self.killed[self.incarnation] = time.time()
        return self.killed[self.incarnation]

    async def terminate(self) -> int:
        """SIGTERM it, and wait for its end; return its exit code."""
        return await self._end(signal.SIGTERM)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP it, and SIGCONT it after so many seconds."""
        with self.standing_still():
            await trio.sleep(seconds)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """SIGSTOP it, and SIGCONT it at the end of the block."""
        running, since = self.running, time.time()
        running.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            running.send_signal(signal.SIGCONT)
            self.frozen.setdefault(self.incarnation, []).append((since, time.time()))

    async def _end(self, number: signal.Signals) -> int:
        running, self._running = self.running, None
        code = await running.stop(number, seconds=_EXIT_SECONDS)
        self._ended.set()
        return code

    async def _keep(
        self, ended: trio.Event, *, task_status: trio.TaskStatus[P] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with self._open(self.incarnation) as running:
            log = self._logs / f"{self.incarnation}.log"
            try:
                task_status.started(running)
                await ended.wait()
            finally:
                # Whatever still runs at the end of all has nothing to finish.
                if running.process.returncode is None:
                    running.process.kill()
                log.write_text(running.output, encoding="utf-8")


class ExecutorProcess(RunningProcess):
    """A process of `tests.faults.executor_process`, made by `start_executor`."""

    def __init__(self, command: tuple[str, ...], process: trio.Process, output_path: Path) -> None:
        super().__init__(command, process, output_path)
        self._questions, self._waiting = trio.open_memory_channel[bytes](_MOST_WAITING)
        self._answers: dict[int, dict[str, Any] | None] = {}
        self._answered: dict[int, trio.Event] = {}
        self._asked = 0
        self._gone = False

    async def execute(self, fields: Mapping[str, str], payload: Any) -> dict[str, Any]:
        """Have a request executed; return what the process says of it.

        Raises:
            ExecutorGone: the process ended first, or has taken no questions for long.

        Cancelling it leaves the request to the executor.
        """
        self._asked += 1
        number, answered = self._asked, trio.Event()
        question = {"ask": number, "request": dict(fields), "payload": payload}
        if self._gone:
            raise ExecutorGone("the executor has ended")
        try:
            self._questions.send_nowait(json.dumps(question).encode() + b"\n")
        except trio.WouldBlock as error:
            raise ExecutorGone("the executor takes no questions") from error
        self._answered[number] = answered
        try:
            await answered.wait()
        finally:
            del self._answered[number]
        answer = self._answers.pop(number, None)
        if answer is None:
            raise ExecutorGone("the executor has ended")
        return answer

    async def talk(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Pass questions and answers on until the process ends."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read(task_status)
                nursery.cancel_scope.cancel()
        finally:
            self._gone = True
            for answered in self._answered.values():
                answered.set()

    async def _write(self) -> None:
        assert self.process.stdin is not None
        try:
            async for question in self._waiting:
                await self.process.stdin.send_all(question)
        except trio.BrokenResourceError:
            pass  # it has ended, which the reader sees, too

    async def _read(self, task_status: trio.TaskStatus[None]) -> None:
        assert self.process.stdout is not None
        rest = b""
        while chunk := await self.process.stdout.receive_some(_PIPE_BYTES):
            *lines, rest = (rest + bytes(chunk)).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "ready" in said:
                    task_status.started()
                elif said["ask"] in self._answered:
                    self._answers[said["ask"]] = said
                    self._answered[said["ask"]].set()


@asynccontextmanager
async def start_executor(
    *arguments: str, redis_url: str, output: Path
) -> AsyncIterator[ExecutorProcess]:
    """Start an executor for the length of the block; it is killed at its end.

    Args:
        arguments: those of `tests.faults.executor_process`.
        output: file for what it logs.
    """
    command = [sys.executable, "-m", "tests.faults.executor_process", *arguments]
    with output.open("wb") as file:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            env=os.environ | {"CONNECT_REDIS_URL": redis_url},
        )
    running = ExecutorProcess(tuple(command), process, output)
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(_START_SECONDS):
                await nursery.start(running.talk)
            yield running
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.move_on_after(_EXIT_SECONDS, shield=True):
            await process.wait()
