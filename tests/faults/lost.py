"""Replies that were acknowledged to their worker, and yet got lost on their way.

A worker that is told that its reply is safe (by its connection: REPLY_ACKED, or over HTTP:
REPLY_FLUSHED) forgets it. From then on the service owes it to the caller. Callers ask again
until they have an answer, so that a lost reply does not show as a missing one: the request is
given to a worker again, and that one answers. So a reply is lost if, after its
acknowledgement, a lease of the same request was granted and a run began under it, or the
caller was never answered.

Not lost are replies that the service does not owe, or has handed out:

- The worker did not hold the request when it was told. Its lease, by the time in the lease's
  id, was over; or another worker had begun to run the request meanwhile; or an executor had
  told the caller of a failure since the run began, or did within a second of the
  acknowledgement, and so had given the lease up before. Late replies are acknowledged as well,
  so that their workers forget them, and dropped.
- The run that followed was granted before the acknowledgement, and was already on its way.
- An executor may have taken the reply whose caller never had it: it was killed or stopped, and
  the attempt that went on when the reply was acknowledged ended without a word of it; or its
  caller had turned away from it before, as it was silent for too long, and it went on
  nonetheless. Replies are kept until an executor has one, not until its caller has. It has one
  as soon as the worker has sent it, and may be killed before the worker has read the
  acknowledgement; one that was killed before the worker sent it takes none.
- Redis lost all it knew between the acknowledgement and the run.

The journals of the official SDK's workers tell of no acknowledgements: nothing is found there.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ulid import ULID

from connect.worker import Happening
from tests.faults.load import (
    EXECUTOR_ABSENT,
    EXECUTOR_ENDED,
    EXECUTOR_LOST,
    EXECUTOR_SILENT,
    Call,
)

__all__ = ["LostReply", "find_lost_replies"]

_ACKNOWLEDGED = (Happening.REPLY_ACKED, Happening.REPLY_FLUSHED)
_UNDER_LEASE = (Happening.STARTED, Happening.LEASE_EXTENDED)

# An executor that gives a request up cleans up first, and then tells it.
_TELLING_SECONDS = 1.0

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LostReply:
    """A reply that its worker was told is safe.

    Attributes:
        worker: its instance id.
        acknowledged: when, in unix seconds.
        again: the worker that ran the request again; empty if its caller was never answered.
    """

    request_id: str
    worker: str
    acknowledged: float
    again: str

    def __str__(self) -> str:
        what = f"{self.again} ran it again" if self.again else "its caller was never answered"
        return (
            f"the reply of {self.worker} to {self.request_id} was acknowledged at "
            f"{self.acknowledged:.3f}, and {what}"
        )


def find_lost_replies(
    calls: Iterable[Call], lines: Iterable[Line], *, lease: float, forgotten: Sequence[float] = ()
) -> list[LostReply]:
    """Find the acknowledged replies that got lost, at most one for each request.

    Args:
        lines: of all workers' journals, those of each worker in their order.
        lease: its length in seconds.
        forgotten: when Redis had lost all it knew, in unix seconds.
    """
    by_request: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_request[line.get("request_id", "")].append(line)
    found = []
    for call in calls:
        of_request = sorted(by_request[call.request_id], key=lambda line: float(line["at"]))
        for number, line in enumerate(of_request):
            if line["what"] in _ACKNOWLEDGED and _is_owed(call, line, of_request[:number]):
                lost = _lost(call, line, of_request[number + 1 :], lease, forgotten)
                if lost is not None:
                    found.append(lost)
                    break
    return found


def _is_owed(call: Call, acknowledged: Line, before: Sequence[Line]) -> bool:
    """Whether the worker held the request, and nobody has turned away from it."""
    at, worker = acknowledged["at"], acknowledged["instance_id"]
    starts = [line for line in before if line["what"] == Happening.STARTED]
    if not starts or starts[-1]["instance_id"] != worker:
        return False
    leases = [
        _end_of_lease(line)
        for line in before
        if line["instance_id"] == worker and line["what"] in _UNDER_LEASE
    ]
    if max(leases, default=-math.inf) <= at:
        return False
    sent = [
        line["at"]
        for line in before
        if line["instance_id"] == worker and line["what"] == Happening.REPLIED
    ]
    for attempt in call.failed:
        if attempt.reason == EXECUTOR_ABSENT:
            continue  # nobody was asked
        if attempt.reason == EXECUTOR_ENDED and sent and sent[-1] <= attempt.at <= at:
            return False
        told = attempt.reason not in EXECUTOR_LOST
        if told and starts[-1]["at"] <= attempt.at <= at + _TELLING_SECONDS:
            return False
        if attempt.at >= at:
            return told
        if attempt.reason == EXECUTOR_SILENT:
            return False
    return True


def _lost(
    call: Call, acknowledged: Line, after: Iterable[Line], lease: float, forgotten: Sequence[float]
) -> LostReply | None:
    request_id, at = call.request_id, acknowledged["at"]
    for line in after:
        if line["what"] != Happening.STARTED or _end_of_lease(line) - lease <= at:
            continue
        if any(at <= moment <= line["at"] for moment in forgotten):
            return None
        return LostReply(request_id, acknowledged["instance_id"], at, line["instance_id"])
    if call.answered is None and not any(at <= moment for moment in forgotten):
        return LostReply(request_id, acknowledged["instance_id"], at, "")
    return None


def _end_of_lease(line: Line) -> float:
    """When the lease ends that a line names, in unix seconds: its id is a ULID of that."""
    try:
        return ULID.from_str(line.get("detail", "")).timestamp
    except ValueError:
        return -math.inf
