"""Replies that nobody has confirmed yet, within a bound of bytes."""

from collections.abc import Callable
from dataclasses import dataclass

from connect.worker.link import Link

__all__ = ["Replies", "Reply"]


@dataclass(slots=True)
class Reply:
    """One reply on its way.

    Attributes:
        payload: the bytes of an SDKResponse.
        since: when it was made, in seconds of the Trio clock.
        link: the connection it goes over, or went over; None if there was none.
    """

    request_id: str
    payload: bytes
    since: float
    link: Link | None = None


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

    def get(self, request_id: str) -> Reply | None:
        return self._held.get(request_id)

    def remove(self, request_id: str) -> Reply | None:
        """Forget a reply; returns it if it was there."""
        reply = self._held.pop(request_id, None)
        if reply is not None:
            self._bytes -= len(reply.payload)
        return reply

    def waiting_on(self, link: Link) -> bool:
        """Whether a reply written to this connection is unconfirmed."""
        return any(reply.link is link for reply in self._held.values())

    def older_than(self, now: float, age: float) -> list[Reply]:
        return [reply for reply in self._held.values() if now - reply.since >= age]

    def due(self, now: float, after: float) -> list[Reply]:
        """Replies that no connection will confirm: too old, or written to none that lives."""
        return [
            reply
            for reply in self._held.values()
            if now - reply.since >= after or reply.link is None or reply.link.ended
        ]
