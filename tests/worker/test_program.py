"""``connect worker`` as a process, at a service that is one."""

import json
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from click.testing import CliRunner

from connect.cli.worker import allow_descriptors, worker
from connect.errors import ConfigurationError
from connect.harness import RunningProcess, RunningService, start_process, start_service
from connect.worker import App, Context, read_journal

# What the processes serve, by ``tests.worker.test_program:app``.
app = App("prog")


@app.function("sleep", retries=0)
async def sleep(ctx: Context) -> str:
    """Sleep for so many seconds."""
    await trio.sleep(ctx.event.data["seconds"])
    return "slept"


@asynccontextmanager
async def running(
    service: RunningService, *arguments: str, ready: str = "connected "
) -> AsyncIterator[RunningProcess]:
    line = [sys.executable, "-m", "connect", "worker", "tests.worker.test_program:app"]
    async with start_process([*line, f"--url={service.addresses['api']}", *arguments]) as process:
        await process.wait_for_output(ready)
        yield process


async def invoke(service: RunningService, seconds: float) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=service.addresses["api"], timeout=60) as client:
        body = {"function": "prog-sleep", "data": {"seconds": seconds}, "timeout": 50}
        answer: dict[str, Any] = (await client.post("/v0/invoke", json=body)).json()
        return answer


async def until_told(journal: Path, what: str) -> dict[str, Any]:
    """The first line of this kind."""
    with trio.fail_after(20):
        while True:
            found = [line for line in read_journal(journal) if line["what"] == what]
            if found:
                return found[0]
            await trio.sleep(0.02)


@pytest.mark.process
async def test_a_program_holds_as_many_connections_as_it_is_told(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    arguments = ("--connections=5", "--connect-rate=100", "--instance-id=w")
    async with (
        start_service("--log-level=warning") as service,
        running(
            service, *arguments, f"--journal={journal}", ready="all workers are connected"
        ) as process,
    ):
        code = await process.stop()

    lines = [line for line in read_journal(journal) if line["what"] == "connected"]
    ids = {line["instance_id"] for line in lines}
    assert (code, ids) == (0, {f"w-{number}" for number in range(1, 6)})


@pytest.mark.process
async def test_a_program_that_is_told_to_end_finishes_what_it_runs(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    answers: list[dict[str, Any]] = []
    async with (
        start_service("--log-level=warning") as service,
        running(service, f"--journal={journal}") as process,
        trio.open_nursery() as nursery,
    ):

        async def ask() -> None:
            answers.append(await invoke(service, 1.0))

        nursery.start_soon(ask)
        await until_told(journal, "started")
        code = await process.stop()

    told = [line["what"] for line in read_journal(journal)]
    order = ["started", "shutting down", "finished", "reply acked", "disconnected"]
    assert (code, answers[0]["result"]) == (0, "slept")
    assert [what for what in told if what in order] == order


@pytest.mark.process
async def test_what_a_killed_program_was_running_is_in_its_journal(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    async with (
        start_service("--log-level=warning") as service,
        running(service, f"--journal={journal}") as process,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(invoke, service, 30.0)
        await until_told(journal, "started")
        await process.stop(signal.SIGKILL)
        nursery.cancel_scope.cancel()

    assert [line["what"] for line in read_journal(journal)][-1] == "started"


@pytest.mark.process
async def test_a_program_that_stood_still_for_longer_than_a_lease_gives_its_work_up(
    tmp_path: Path,
) -> None:
    journal = tmp_path / "journal"
    async with (
        start_service("--log-level=warning", "--set=timing.lease=1s") as service,
        running(service, f"--journal={journal}") as process,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(invoke, service, 30.0)
        await until_told(journal, "started")
        process.send_signal(signal.SIGSTOP)
        await trio.sleep(2.0)
        process.send_signal(signal.SIGCONT)
        finished = await until_told(journal, "finished")
        nursery.cancel_scope.cancel()

    assert finished["end"] == "lease lost"


@pytest.mark.process
async def test_logs_can_be_read_by_machines() -> None:
    async with (
        start_service("--log-level=warning") as service,
        running(service, "--log-format=json", ready='"connected"') as process,
    ):
        (line,) = [one for one in process.output.splitlines() if '"connected"' in one]

    assert json.loads(line)["level"] == "info"


@pytest.mark.process
async def test_a_refused_program_says_why_in_a_line_and_ends() -> None:
    line = [sys.executable, "-m", "connect", "worker", "--log-level=error", "--connections=3"]
    async with (
        start_service("--log-level=warning", "--signing-key=signkey-test-00ff") as service,
        start_process([*line, f"--url={service.addresses['api']}"]) as process,
    ):
        code = await process.wait()
        (told,) = process.output.splitlines()

    assert (code, "the service refuses this worker: " in told) == (2, True)


def test_a_journal_that_cannot_be_opened_is_told() -> None:
    result = CliRunner().invoke(worker, ["--journal", "/nonexistent/journal"])

    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception) == (
        "the journal /nonexistent/journal cannot be opened: No such file or directory"
    )


class _Limits:
    """Stands for the limits of open files that the system has set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.now = (soft, hard)
        monkeypatch.setattr(resource, "getrlimit", lambda which: self.now)
        monkeypatch.setattr(resource, "setrlimit", self._set)

    def _set(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        self.now = limits


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        (1024, 4096, 2000),
        (1024, resource.RLIM_INFINITY, 2000),
        (3000, 4096, 3000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    ],
)
def test_the_limit_of_open_files_is_raised_where_it_is_too_low(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, after: int
) -> None:
    limits = _Limits(monkeypatch, soft, hard)

    allow_descriptors(2000)

    assert limits.now == (after, hard)


def test_more_open_files_than_the_system_allows_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _Limits(monkeypatch, 1024, 1500)

    with pytest.raises(ConfigurationError, match="2000 open files are needed, and 1500"):
        allow_descriptors(2000)
