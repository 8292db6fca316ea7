"""Replies that nobody has confirmed yet, within a bound of bytes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from connect.worker.link import Link

__all__ = ["Replies", "Reply"]


@dataclass(slots=True, eq=False)
class Reply:
    """One reply on its way.

    Attributes:
        payload: the bytes of an SDKResponse.
        since: when it was made, in seconds of the Trio clock.
        link: the connection it went over last; None if there was none.
        sent: when it went over that, in seconds of the Trio clock.
        smaller: makes what is to be sent instead, should it be too large; None of a reply
            that was made by it.
    """

    request_id: str
    payload: bytes
    since: float
    link: Link | None = None
    sent: float = 0.0
    smaller: Callable[[], bytes] | None = None

    def due(self, after: float) -> float:
        """When to send it another way; at once if no living connection can confirm it.

        Args:
            after: seconds that a connection has for confirming it.
        """
        if self.link is None or self.link.ended:
            return self.since
        return self.sent + after


class Replies:
    """Keeps replies until they are confirmed; the oldest give way when space runs out.

    Args:
        limit: bytes of payload to hold at most.
        dropped: called with each reply that gives way.
    """

    def __init__(self, limit: int, dropped: Callable[[Reply], None]) -> None:
        self._limit = limit
        self._dropped = dropped
        self._held: dict[str, Reply] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Reply]:
        """The replies of the moment, the oldest first; they may be removed meanwhile."""
        return iter(tuple(self._held.values()))

    @property
    def full(self) -> bool:
        """Whether there is no room for a further one."""
        return self._bytes >= self._limit

    def add(self, reply: Reply) -> None:
        """Keep a reply, in place of an earlier one to the same request.

        A reply larger than the limit is kept alone, so that it can be delivered.
        """
        self.remove(reply.request_id)
        while self._held and self._bytes + len(reply.payload) > self._limit:
            oldest = next(iter(self._held.values()))
            self.remove(oldest.request_id)
            self._dropped(oldest)
        self._held[reply.request_id] = reply
        self._bytes += len(reply.payload)

    def shrink(self, reply: Reply) -> bool:
        """Put what is smaller in the place of a reply's payload; return whether there is such."""
        if reply.smaller is None:
            return False
        payload, reply.smaller = reply.smaller(), None
        if self._held.get(reply.request_id) is reply:
            self._bytes += len(payload) - len(reply.payload)
        reply.payload = payload
        return True

    def get(self, request_id: str) -> Reply | None:
        """The reply to a request, if it is here."""
        return self._held.get(request_id)

    def remove(self, request_id: str) -> Reply | None:
        """Forget a reply; returns it if it was there."""
        reply = self._held.pop(request_id, None)
        if reply is not None:
            self._bytes -= len(reply.payload)
        return reply

    def next_due(self, after: float, now: float) -> Reply | None:
        """One that is due, else the one that falls due next; see `Reply.due`."""
        soonest, soonest_due = None, math.inf
        for reply in self._held.values():
            due = reply.due(after)
            if due <= now:
                return reply
            if due < soonest_due:
                soonest, soonest_due = reply, due
        return soonest

    def waiting_on(self, link: Link) -> bool:
        """Whether a reply written to this connection is unconfirmed."""
        return any(reply.link is link for reply in self._held.values())
