"""Work that was lost and done again, though its worker could have finished it.

A worker whose connection breaks keeps what it runs, and extends the leases over its next
connection. A gateway, an executor or a way between them that breaks for less than a lease
therefore loses no work: a request whose run has begun is not given to a second worker, and
nobody says of it that the worker stopped responding. `Period.extended` names the apps of which this
holds during a fault. It explains the loss nonetheless, if

- the worker had no connection for longer than half a lease, by its own journal: the lease is
  extended four times in its length, so that another half is left for that and for a machine
  that is busy;
- the machine was so busy that this process itself came late by an eighth of a lease, or that the
  gateway took a quarter of one to acknowledge another reply of the worker over one connection:
  what the worker sends is handled in its order;
- an executor was killed, or left silent, after the run had finished: it may have taken the reply
  with it. An executor that ended before cannot have, and one that was not running neither.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from connect.worker import Happening
from tests.faults.bounds import Period, amid
from tests.faults.load import EXECUTOR_SILENT, Call
from tests.faults.presence import absences, longest_absence

__all__ = ["Around", "Busy", "Repetition", "Work"]

# Parts of a lease.
_MOST_AWAY_LEASES = 1 / 2
_MOST_LATE_LEASES = 1 / 8
_SLOW_ACK_LEASES = 1 / 4

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Repetition:
    """A request that was run again though nothing was to be lost.

    Attributes:
        first, second: the instances that ran it, one after the other.
        started, again: when each began, in unix seconds.
    """

    request_id: str
    first: str
    second: str
    started: float
    again: float

    def __str__(self) -> str:
        return (
            f"{self.request_id} was run again by {self.second} at {self.again:.3f}, though "
            f"{self.first} had run it since {self.started:.3f}, and was not away for long"
        )


@dataclass(slots=True)
class _Run:
    worker: str
    started: float
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class Busy:
    """How late this process was woken.

    Attributes:
        at: when it woke, in unix seconds.
        late: by how many seconds.
    """

    at: float
    late: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What happened around the runs.

    Attributes:
        periods: what the faults left alone, in order.
        executors_killed: when executors were, in unix seconds.
        busy: when this process woke too late.
        lease: its length in seconds.
    """

    periods: Sequence[Period]
    executors_killed: Sequence[float] = ()
    busy: Sequence[Busy] = ()
    lease: float


class Work:
    """The runs of a load's requests, and what may have lost them.

    Args:
        lines: of all workers' journals, those of each worker in their order.
    """

    def __init__(self, lines: Iterable[Line], around: Around) -> None:
        lines = list(lines)
        self._around = around
        self._away = absences(lines)
        self._runs = _runs(lines)
        self._slow = _slow_acks(lines, around.lease * _SLOW_ACK_LEASES)

    def spanned(self, call: Call) -> bool:
        """Whether a fault that loses no work began while the request ran."""
        return any(
            call.app in period.extended
            and run.started <= period.since <= (run.finished or run.started)
            for period in self._around.periods[1:]
            for run in self._runs.get(call.request_id, ())
        )

    def excuses(self, call: Call, until: float) -> bool:
        """Whether a request may have been lost before a moment: by its worker, or on its way."""
        begun = [run for run in self._runs.get(call.request_id, ()) if run.started <= until]
        return not begun or any(self._may_lose(run, until) for run in begun)

    def repetitions(self, calls: Iterable[Call]) -> list[Repetition]:
        """Find the requests that were run again for no reason, each of them once."""
        found = []
        for call in calls:
            runs = self._runs.get(call.request_id, [])
            for first, second in pairwise(runs):
                if not self._explained(call, first, second):
                    found.append(
                        Repetition(
                            call.request_id, first.worker, second.worker,
                            first.started, second.started,
                        )
                    )  # fmt: skip
                    break
        return found

    def _explained(self, call: Call, first: _Run, second: _Run) -> bool:
        periods = amid(self._around.periods, first.started, second.started)
        if any(call.app not in period.extended for period in periods):
            return True
        return self._may_lose(first, second.started) or self._reply_taken(call, first, second)

    def _may_lose(self, run: _Run, until: float) -> bool:
        lease, away = self._around.lease, self._away.get(run.worker, ())
        if longest_absence(away, run.started, until) > lease * _MOST_AWAY_LEASES:
            return True
        slow = self._slow.get(run.worker, ())
        if any(since <= until and end >= run.started for since, end in slow):
            return True
        return any(
            busy.late > lease * _MOST_LATE_LEASES and run.started <= busy.at <= until + busy.late
            for busy in self._around.busy
        )

    def _reply_taken(self, call: Call, first: _Run, second: _Run) -> bool:
        if first.finished is None:
            return False
        silent = [each.at for each in call.failed if each.reason == EXECUTOR_SILENT]
        moments = [*self._around.executors_killed, *silent]
        return any(first.finished <= moment <= second.started for moment in moments)


def _slow_acks(lines: Iterable[Line], seconds: float) -> Mapping[str, list[tuple[float, float]]]:
    """From when until when a gateway owed a worker an acknowledgement for so long, by worker."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    replied: dict[tuple[str, str, str], float] = {}
    for line in lines:
        worker = line.get("instance_id", "")
        reply = worker, line.get("request_id", ""), line.get("connection_id", "")
        if line["what"] == Happening.REPLIED:
            replied[reply] = line["at"]
        elif line["what"] == Happening.REPLY_ACKED:
            since = replied.pop(reply, line["at"])
            if line["at"] - since > seconds:
                found[worker].append((since, line["at"]))
    return found


def _runs(lines: Iterable[Line]) -> Mapping[str, list[_Run]]:
    """Each request's runs, in the order in which they began."""
    found: dict[str, list[_Run]] = defaultdict(list)
    for line in lines:
        of_request = found[line.get("request_id", "")]
        if line["what"] == Happening.STARTED:
            of_request.append(_Run(line["instance_id"], line["at"]))
        elif line["what"] == Happening.FINISHED:
            for run in reversed(of_request):
                if run.worker == line["instance_id"]:
                    run.finished = line["at"]
                    break
    for of_request in found.values():
        of_request.sort(key=lambda run: run.started)
    return found
