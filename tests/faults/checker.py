"""What must hold, read from what the callers saw and from the workers' journals."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import Latency, summarize
from connect.worker import Happening, RunEnd
from connect.worker.journal_file import Overlap, find_overlaps
from tests.faults.load import Call
from tests.faults.lost import LostReply, find_lost_replies

__all__ = ["Figures", "Standstills", "check", "split_at_standstills"]

Line = Mapping[str, Any]
Standstills = Mapping[str, Sequence[tuple[float, float]]]
"""From when until when a worker was stopped, in unix seconds, by its instance id."""

# A worker that wakes up finds its lease gone, and ends the run, within this time.
_WAKING_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What became of the requests of a load.

    Attributes:
        answered: so many were in the end.
        failed: those given up, by the last reason.
        attempts: attempts that failed and were made again, by reason.
        late: answered more than a lease after the time that their work takes.
        run_again: run twice or more, one run after the other.
        run_together: run twice at the same time.
        wrong: answered with something else than their result.
        lost: replies that were acknowledged to a worker, and run for once more.
        latency_ms: of those answered, without their work.
        retried: seconds from a worker's death until what it ran was started elsewhere.
    """

    sent: int
    answered: int
    failed: Mapping[str, int]
    attempts: Mapping[str, int]
    late: int
    run_again: int
    run_together: Sequence[Overlap]
    wrong: int
    lost: Sequence[LostReply]
    latency_ms: Latency
    retried: Sequence[float]

    @property
    def violations(self) -> list[str]:
        """What does not hold, in words; empty if all does."""
        found = [
            f"{overlap.request_id} ran at the same time in {overlap.first} and in "
            f"{overlap.second}, for {overlap.seconds:.3f} s from {overlap.since:.3f}"
            for overlap in self.run_together
        ]
        if self.wrong:
            found.append(f"{self.wrong} requests got a wrong answer")
        found += [str(lost) for lost in self.lost]
        if self.sent != self.answered + sum(self.failed.values()):
            found.append(f"of {self.sent} requests, some neither answered nor failed")
        return found


def check(
    calls: Sequence[Call],
    journal: Iterable[Line],
    *,
    killed: Mapping[str, float],
    standstills: Standstills,
    lease: float,
    forgotten: Sequence[float] = (),
) -> Figures:
    """Sum up a load that is over.

    Args:
        journal: of all workers, those of each in their order.
        killed: when a worker was, in unix seconds, by its instance id.
        lease: its length in seconds; answers are late when they come later than by one
            after their work.
        forgotten: when Redis had lost all it knew, in unix seconds.
    """
    asked = {call.request_id for call in calls}
    lines = [dict(line) for line in journal if line.get("request_id") in asked]
    answered = [call for call in calls if call.answered is not None]
    took = [_beyond_work(call) for call in answered]
    starts = Counter(line["request_id"] for line in lines if line["what"] == Happening.STARTED)
    return Figures(
        sent=len(calls),
        answered=len(answered),
        failed=dict(Counter(_last_reason(call) for call in calls if call.answered is None)),
        attempts=dict(Counter(each.reason for call in calls for each in call.failed)),
        late=sum(seconds > lease for seconds in took),
        run_again=sum(count > 1 for count in starts.values()),
        run_together=find_overlaps(split_at_standstills(lines, standstills), ended=killed.get),
        wrong=sum(call.result != call.number for call in answered),
        lost=find_lost_replies(calls, lines, lease=lease, forgotten=forgotten),
        latency_ms=summarize(took or [math.nan]),
        retried=_retried(lines, killed),
    )


def split_at_standstills(lines: Iterable[Line], standstills: Standstills) -> list[dict[str, Any]]:
    """Take out of each run the time in which its worker was stopped.

    A run that was going on becomes two: until the stop, and from its end. Where it was
    ended for its lost lease as soon as the worker woke, only the first one is left: nothing
    of the function has run any more.
    """
    split: list[dict[str, Any]] = []
    open_runs: dict[tuple[str, str], float] = {}
    for line in lines:
        key = line.get("request_id", ""), line.get("instance_id", "")
        if line["what"] == Happening.STARTED:
            open_runs[key] = line["at"]
        elif line["what"] == Happening.FINISHED and key in open_runs:
            started, finished = open_runs.pop(key), line["at"]
            given_up = line.get("end") in (RunEnd.LEASE_LOST, RunEnd.CANCELLED)
            pauses = [
                (since, until)
                for since, until in standstills.get(key[1], ())
                if started < until and since < finished
            ]
            for since, until in pauses:
                split.append({**line, "at": max(since, started)})
                if given_up and finished - until < _WAKING_SECONDS:
                    break
                split.append({**line, "what": Happening.STARTED, "at": until})
            else:
                split.append(dict(line))
            continue
        split.append(dict(line))
    return split


def _beyond_work(call: Call) -> float:
    assert call.answered is not None
    return max(0.0, call.answered - call.began - call.seconds)


def _last_reason(call: Call) -> str:
    return call.failed[-1].reason if call.failed else "no answer"


def _retried(lines: Iterable[Line], killed: Mapping[str, float]) -> list[float]:
    """Seconds from a worker's death until each request that it ran was started again."""
    runs: dict[str, list[tuple[float, str]]] = defaultdict(list)
    finished = set()
    for line in lines:
        if line["what"] == Happening.STARTED:
            runs[line["request_id"]].append((line["at"], line["instance_id"]))
        elif line["what"] == Happening.FINISHED:
            finished.add((line["request_id"], line["instance_id"]))
    found: list[float] = []
    for request_id, starts in runs.items():
        for at, instance in starts:
            died = killed.get(instance)
            if died is None or (request_id, instance) in finished:
                continue
            again = min((later for later, _ in starts if later > at), default=None)
            if again is not None:
                found.append(again - died)
    return found
