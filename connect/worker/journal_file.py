"""A worker's journal as a file of JSON lines, whole up to the moment in which it is killed.

Each entry is one line, written by one system call to a file opened for appending, and
nothing waits in this process: what has happened is in the file when its code goes on. So
several workers, also of several processes, may write to one file. Against the loss of the
whole machine it does not guard: nothing is synced to the disk.

::

    {"at": 1763800000.123456, "what": "started", "instance_id": "w-1", "request_id": "01K…",
     "run_id": "01K…", "function": "shop-order", "connection_id": "01K…", "detail": "01K…"}

A ``finished`` line also says how, in ``end`` (see `connect.worker.RunEnd`).
"""

import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from connect.errors import ConfigurationError
from connect.worker.journal import Happening, Journal, JournalEntry

__all__ = ["JournalFile", "Overlap", "find_overlaps", "read_journal"]

_log = structlog.get_logger("connect.worker")

# What stands in place of entries that could not be written.
_GAP = "entries lost"


class JournalFile:
    """A journal file, open for appending; a context manager that closes it.

    An entry that cannot be written, as on a full disk, does not stop the worker: it is
    logged, and the next one that can be comes after a line that counts those lost.

    Args:
        path: created unless it is there; the end of a line that a crash has cut is made up.
        now: unix seconds.

    Raises:
        ConfigurationError: the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, now: Callable[[], float]) -> None:
        self._now = now
        self._lost = 0
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"the journal {os.fspath(path)} cannot be opened: {error.strerror}"
            ) from error
        self._torn = _ends_amid_a_line(self._file)

    def __enter__(self) -> "JournalFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def of(self, instance_id: str) -> Journal:
        """Make the journal of one worker, to be given to it.

        Args:
            instance_id: that of the worker; it stands in each of its lines.
        """

        def write(entry: JournalEntry) -> None:
            self._append(_line(entry, instance_id, self._now()))

        return write

    def _append(self, line: str) -> None:
        if self._lost:
            gap = json.dumps({"at": self._now(), "what": _GAP, "count": self._lost})
            line = f"{gap}\n{line}"
        data = (f"\n{line}\n" if self._torn else f"{line}\n").encode()
        try:
            written = os.write(self._file, data)
        except OSError as error:
            self._count_lost(str(error))
        else:
            if written < len(data):
                self._torn = True
                self._count_lost("the disk is full")
            else:
                self._torn, self._lost = False, 0

    def _count_lost(self, why: str) -> None:
        if not self._lost:
            _log.error("journal entries are being lost", error=why)
        self._lost += 1


@dataclass(frozen=True, slots=True)
class Overlap:
    """A request that ran twice at the same time.

    Attributes:
        first, second: the instances that ran it, in order of their start.
        since: when the second one started, unix seconds.
        seconds: how long both ran; infinite where neither has finished.
    """

    request_id: str
    first: str
    second: str
    since: float
    seconds: float


@dataclass(slots=True)
class _Run:
    instance: str
    started: float
    finished: float


def read_journal(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a journal, also while it is being written: a line that was cut is left out."""
    lines = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines


def find_overlaps(
    lines: Iterable[dict[str, Any]], *, ended: Callable[[str], float | None] = lambda instance: None
) -> list[Overlap]:
    """Find the requests that ran twice at the same time, in journals of one machine.

    Args:
        lines: of all workers' journals, those of each worker in their order.
        ended: when an instance was killed, in unix seconds, or None: what it had not
            finished then has run until then. Otherwise such a run counts as going on.
    """
    runs: dict[str, list[_Run]] = defaultdict(list)
    for line in lines:
        request_id, instance = line.get("request_id", ""), line.get("instance_id", "")
        if line["what"] == Happening.STARTED:
            end = ended(instance)
            finished = math.inf if end is None else end
            runs[request_id].append(_Run(instance, line["at"], finished))
        elif line["what"] == Happening.FINISHED:
            for run in reversed(runs[request_id]):
                if run.instance == instance:
                    run.finished = line["at"]
                    break
    return [overlap for request_id, each in runs.items() for overlap in _overlaps(request_id, each)]


def _overlaps(request_id: str, runs: list[_Run]) -> Iterable[Overlap]:
    """The runs of one request that began before another had ended."""
    runs.sort(key=lambda run: run.started)
    last: _Run | None = None
    for run in runs:
        if last is not None and run.started < last.finished:
            seconds = min(run.finished, last.finished) - run.started
            yield Overlap(request_id, last.instance, run.instance, run.started, seconds)
        if last is None or run.finished > last.finished:
            last = run


def _line(entry: JournalEntry, instance_id: str, at: float) -> str:
    fields = {
        "at": round(at, 6),
        "what": entry.what.value,
        "instance_id": instance_id,
        "request_id": entry.request_id,
        "run_id": entry.run_id,
        "function": entry.function,
        "connection_id": entry.connection_id,
        "end": entry.end.value if entry.end else "",
        "detail": entry.detail,
    }
    return json.dumps({name: value for name, value in fields.items() if value != ""})


def _ends_amid_a_line(file: int) -> bool:
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"
