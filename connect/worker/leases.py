"""The leases of the requests that a worker holds: extended in time, or given up in time.

A lease lasts four of the intervals that the gateway told. Nobody else gets the request
while it lasts, and somebody else may once it is over: so a worker whose lease nobody has
extended for that long, be it stopped or cut off, must not go on when it wakes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import trio
from ulid import ULID

from connect.protocol.messages.connect import v1 as pb
from connect.worker.journal import Happening, Journal, JournalEntry
from connect.worker.link import Link
from connect.worker.request import Request, write_extension

__all__ = ["HeldLease", "Leases"]

# Connect protocol, section 4, Timing constants: extend every lease/4.
_INTERVALS = 4

# With no more of them left, a request has been on its way for long: its lease may be an old one.
_FEW_INTERVALS = 2

# Extensions that fall due within this part of an interval are sent together.
_TOGETHER = 0.25

_EXTEND = pb.GatewayMessageType.WORKER_REQUEST_EXTEND_LEASE


@dataclass(slots=True, eq=False)
class HeldLease:
    """The lease of one request, from its arrival until its reply is confirmed.

    Attributes:
        lease_id: the one to ask with; it changes with each extension.
        link: the connection that was asked last, or else that the request came over.
        asked: when, in seconds of the Trio clock.
        asked_before: when this connection was asked the time before, if it was.
        asked_elsewhere: when the oldest question was put that a connection before may answer,
            or that is outdated.
        questions: how often anybody was asked.
        unanswered: how often this connection was asked without an answer.
        outdated: how many questions it has not answered that were put before those, by
            another lease id than the one that is held, as far as is known.
        open_elsewhere: how many questions connections before have not answered.
        waiting: nothing was answered since it was asked.
        scope: what runs under it; cancelled when the lease is lost.
        answered: set once a gateway has said whether it extends it.
        refused: the gateway does not extend it.
    """

    request: Request
    lease_id: str
    link: Link
    asked: float
    asked_before: float = -math.inf
    asked_elsewhere: float = -math.inf
    questions: int = 0
    unanswered: int = 0
    outdated: int = 0
    open_elsewhere: dict[Link, int] = field(default_factory=dict)
    waiting: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    answered: trio.Event = field(default_factory=trio.Event)
    refused: bool = False

    @property
    def lost(self) -> bool:
        """Whether the work under it must not go on."""
        return self.refused or self.scope.cancel_called

    @property
    def oldest_open(self) -> float:
        """When the question was put that the next answer over `link` may be to, at the earliest.

        With several open, it may be the answer to the one before the last.
        """
        return self.asked if self.unanswered <= 1 else self.asked_before

    def outdate(self) -> None:
        """It is held by another id from now on than this connection was asked by."""
        if self.unanswered:
            self._note_open()
            self.outdated += self.unanswered
            self.unanswered = 0

    def move(self, link: Link) -> None:
        """Have another connection asked; what it has not answered before is outdated."""
        self._note_open()
        left_open = self.outdated + self.unanswered
        self.outdated, self.unanswered = self.open_elsewhere.pop(link, 0), 0
        if left_open:
            self.open_elsewhere[self.link] = left_open
        self.asked_before, self.link = -math.inf, link

    def take_answer(self, link: Link) -> bool:
        """An answer has come over a connection; return whether it is to the id that is held.

        A gateway answers the questions about one lease in order.
        """
        if link is not self.link:
            left_open = self.open_elsewhere.pop(link, 0)
            if left_open > 1:
                self.open_elsewhere[link] = left_open - 1
            return False
        self.waiting = False
        if self.outdated:
            self.outdated -= 1
            return False
        return True

    def _note_open(self) -> None:
        self.open_elsewhere = {
            link: count for link, count in self.open_elsewhere.items() if not link.ended
        }
        if not self.open_elsewhere and not self.outdated:
            self.asked_elsewhere = self.oldest_open

    def last_until(self, since: float) -> None:
        """The lease was asked for at a time, and granted since: it lasts from then."""
        interval, over = self.link.extend_lease_interval, self.scope.deadline
        if interval > 0:
            until = since + _INTERVALS * interval
            self.scope.deadline = until if over == math.inf else max(until, over)


class Leases:
    """All leases of one worker.

    Args:
        route: the connection to ask over now, if there is one.
        journal: called with what happens.
    """

    def __init__(self, *, route: Callable[[], Link | None], journal: Journal) -> None:
        self._route = route
        self._journal = journal
        self._held: dict[str, HeldLease] = {}
        self._changed = trio.Event()

    def hold(self, request: Request, link: Link, *, left: float = math.inf) -> HeldLease:
        """Begin to extend the lease of a request that has just come over a connection.

        One that is held already is held under the new lease id. But a request that comes late
        may be from before the lease that is held: by its id no gateway would extend any more.

        Args:
            left: seconds that are left of it, by the clock here; no more than a whole lease
                counts. A request may have been on its way for long.
        """
        now = trio.current_time()
        lease = self._held.get(request.request_id)
        late = left <= _FEW_INTERVALS * link.extend_lease_interval
        if lease is None:
            lease = HeldLease(request, request.lease_id, link, now)
            self._held[request.request_id] = lease
            self.wake()
        elif not (late and _ends_before(request.lease_id, lease.lease_id)):
            if request.lease_id != lease.lease_id:
                lease.outdate()
            lease.lease_id = request.lease_id
        lease.last_until(now - max(0.0, _INTERVALS * link.extend_lease_interval - left))
        return lease

    def release(self, lease: HeldLease) -> None:
        """Extend it no longer."""
        if self._held.get(lease.request.request_id) is lease:
            del self._held[lease.request.request_id]

    def release_request(self, request_id: str) -> None:
        """Extend the lease of this request no longer, if it is held."""
        self._held.pop(request_id, None)

    def wake(self) -> None:
        """Look again: there is a new lease, or another connection."""
        self._changed.set()
        self._changed = trio.Event()

    def answered(self, link: Link, answer: pb.WorkerRequestExtendLeaseAckData) -> None:
        """Adopt a request's new lease id; without one the lease is lost, and its work ends.

        An answer that comes before anything was asked is to a question from when the worker
        had the request before, under another lease: it changes nothing. Nor does a refusal over
        another connection than the one that was asked last, or of what this one was asked before:
        a gateway that stood still is asked by a lease id from before those that another one has
        given out meanwhile. Was the lease refused that is held, the next answer says so, too, or
        it runs out.

        Args:
            link: the connection that the answer came over.
        """
        lease = self._held.get(answer.request_id)
        if lease is None or not lease.questions:
            return
        here = lease.take_answer(link)
        if not answer.new_lease_id:
            if here:
                self._refused(lease)
            return
        lease.answered.set()
        if here:
            lease.last_until(lease.oldest_open)
            lease.unanswered = max(0, lease.unanswered - 1)
        else:
            lease.last_until(lease.asked_elsewhere)
        if here or not _ends_before(answer.new_lease_id, lease.lease_id):
            if link is not lease.link and answer.new_lease_id != lease.lease_id:
                lease.outdate()
            lease.lease_id = answer.new_lease_id
        self._note(Happening.LEASE_EXTENDED, lease, answer.new_lease_id)

    def _refused(self, lease: HeldLease) -> None:
        lease.refused = True
        lease.answered.set()
        self.release(lease)
        self._note(Happening.LEASE_LOST, lease, "the gateway does not extend it")
        lease.scope.cancel()

    async def confirm(self, lease: HeldLease) -> bool:
        """Ask for a lease before anything runs under it; return whether it is granted.

        Where the connection ends, `run` asks over the next one. Without an answer, while it
        could last, it is not granted. Cancelled, it may be granted nonetheless.

        Args:
            lease: of a connection that told an interval.
        """
        with trio.move_on_after(_INTERVALS * lease.link.extend_lease_interval):
            await self._ask(lease, lease.link)
            await lease.answered.wait()
        return lease.answered.is_set() and not lease.lost

    async def run(self) -> None:
        """Extend the leases, each once per interval, until cancelled.

        Those that were asked for over another connection are asked for again at once.
        """
        while True:
            changed, link = self._changed, self._route()
            if not self._held or link is None or link.extend_lease_interval <= 0:
                await changed.wait()
                continue
            interval = link.extend_lease_interval
            # A new lease falls due after those that are held: it need not wake this task.
            await self._wait(min(self._due(lease, link) for lease in self._held.values()), link)
            together = trio.current_time() + _TOGETHER * interval
            for lease in tuple(self._held.values()):
                if self._due(lease, link) <= together and not await self._ask(lease, link):
                    break

    def _due(self, lease: HeldLease, link: Link) -> float:
        if lease.link is not link:
            return -math.inf
        return lease.asked + link.extend_lease_interval

    async def _wait(self, due: float, link: Link) -> None:
        """Until a time, or until another connection is to be asked."""
        with trio.CancelScope(deadline=due):
            while self._route() is link:
                await self._changed.wait()

    async def _ask(self, lease: HeldLease, link: Link) -> bool:
        """Ask for an extension; return whether the connection still lives.

        One that has not answered since it was asked the last time, an interval ago, may never:
        there is time yet to ask over another.
        """
        now = trio.current_time()
        if lease.link is link:
            if lease.waiting:
                link.suspect()
            else:
                lease.outdated = 0  # what it owed came at once, and the rest will never come
            lease.asked_before = lease.asked
        else:
            lease.move(link)
        lease.unanswered += 1
        lease.asked, lease.waiting = now, True
        lease.questions += 1
        return await link.send(_EXTEND, write_extension(lease.request, lease.lease_id))

    def _note(self, what: Happening, lease: HeldLease, detail: str) -> None:
        self._journal(
            JournalEntry(
                what=what,
                connection_id=lease.link.id,
                request_id=lease.request.request_id,
                run_id=lease.request.run_id,
                detail=detail,
            )
        )


def _ends_before(lease_id: str, other: str) -> bool:
    """Whether one lease ends before another: their ids are ULIDs of these moments."""
    try:
        return ULID.from_str(lease_id).milliseconds < ULID.from_str(other).milliseconds
    except ValueError:
        return False
