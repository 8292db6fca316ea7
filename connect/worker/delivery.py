"""Brings replies to the service until somebody confirms them: by connection, else by HTTP."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from connect.protocol.messages.connect import v1 as pb
from connect.worker.errors import ConnectionFailed, ReplyTooLarge
from connect.worker.journal import Happening, Journal, JournalEntry
from connect.worker.link import Link
from connect.worker.replies import Replies, Reply
from connect.worker.timing import WorkerTiming, backoff

__all__ = ["Delivery", "Routes"]

# Until a reply is sent by HTTP, where the gateway told no interval to go by; seconds.
_FLUSH_AFTER = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The ways that a reply can go.

    Attributes:
        connection: the connection to send over now, if there is one.
        flush: sends a reply by HTTP: True when it was taken, False when it never will be;
            raises ReplyTooLarge when a smaller one may be, ConnectionFailed when it may be
            later.
    """

    connection: Callable[[], Link | None]
    flush: Callable[[bytes], Awaitable[bool]]


class Delivery:
    """The replies of one worker on their way (Connect protocol, section 4, WORKER_REPLY).

    A reply goes over the connection of the moment. One that is not confirmed in time, or
    whose connection has ended, goes by HTTP; where that fails, over the connection of that
    moment again; and so on.

    Args:
        limit: bytes of unconfirmed replies to hold.
        jitter: a number from 0 to 1, for pauses.
        settled: called with the id of each request whose reply is confirmed or given up.
        journal: called with what happens.
    """

    def __init__(
        self,
        routes: Routes,
        *,
        limit: int,
        timing: WorkerTiming,
        jitter: Callable[[], float],
        settled: Callable[[str], None],
        journal: Journal,
    ) -> None:
        self._routes = routes
        self._timing = timing
        self._jitter = jitter
        self._settled = settled
        self._journal = journal
        self._replies = Replies(limit, self._gave_way)
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def full(self) -> bool:
        """Whether there is no room for further replies."""
        return self._replies.full

    def has(self, request_id: str) -> bool:
        """Whether a reply to this request is on its way."""
        return self.get(request_id) is not None

    def get(self, request_id: str) -> Reply | None:
        """The reply to this request that is on its way."""
        return self._replies.get(request_id)

    def waiting_on(self, link: Link) -> bool:
        """Whether a reply written to this connection is unconfirmed."""
        return self._replies.waiting_on(link)

    def wake(self) -> None:
        """Look again: a connection has ended, and will confirm nothing any more."""
        self._changed.set()
        self._changed = trio.Event()

    def take(
        self, request_id: str, payload: bytes, smaller: Callable[[], bytes] | None = None
    ) -> Reply:
        """Keep a reply until it is confirmed; `send` it then.

        Args:
            payload: the bytes of an SDKResponse.
            smaller: makes those that are sent instead, should these be too large for the
                service; None drops the reply then.
        """
        reply = Reply(request_id, payload, trio.current_time(), smaller=smaller)
        self._keep(reply)
        return reply

    async def send(self, reply: Reply) -> None:
        """Send a reply over the connection of the moment; without one, `run` will flush it.

        Cancellation does not interrupt the write.
        """
        link = self._routes.connection()
        reply.link, reply.sent = link, trio.current_time()
        kind = pb.GatewayMessageType.WORKER_REPLY
        if link is not None and await link.send(kind, reply.payload):
            self._note(Happening.REPLIED, reply)
        else:
            self.wake()

    async def send_again(self, request_id: str) -> None:
        """Send the reply to a request once more, if it is not confirmed meanwhile."""
        reply = self._replies.get(request_id)
        if reply is not None:
            await self.send(reply)

    async def answer(self, reply: Reply) -> None:
        """Send a reply once more, as its request has come again.

        Was it confirmed since, that may have been for the request as it was given before: it is
        kept again.
        """
        held = self.get(reply.request_id)
        if held is None:
            self._keep(reply)
        await self.send(held or reply)

    def confirmed(self, request_id: str) -> None:
        """A gateway has saved the reply to this request."""
        reply = self._replies.get(request_id)
        if reply is not None:
            self._settle(reply, Happening.REPLY_ACKED)

    async def run(self) -> None:
        """Send what no connection confirms another way, until cancelled."""
        failures = 0
        while True:
            reply = await self._next_due()
            try:
                if await self._routes.flush(reply.payload):
                    self._settle(reply, Happening.REPLY_FLUSHED)
                else:
                    self._settle(reply, Happening.REPLY_DROPPED, "refused by the API")
                failures = 0
            except ReplyTooLarge as refused:
                failures = 0
                if self._replies.shrink(reply):
                    self._note(Happening.REPLY_TOO_LARGE, reply, str(refused))
                else:
                    self._settle(reply, Happening.REPLY_DROPPED, str(refused))
            except ConnectionFailed as failure:
                failures += 1
                await self._fall_back(str(failure))
                first, most = self._timing.flush_first, self._timing.flush_most
                await trio.sleep(backoff(first, most, failures, self._jitter()))

    async def _next_due(self) -> Reply:
        while True:
            changed, after = self._changed, self._after()
            reply = self._replies.next_due(after, trio.current_time())
            due = math.inf if reply is None else reply.due(after)
            if reply is not None and due <= trio.current_time():
                return reply
            with trio.CancelScope(deadline=due):
                await changed.wait()

    async def _fall_back(self, reason: str) -> None:
        """HTTP fails: give up what is too old, and send the rest that is due by connection."""
        now, after = trio.current_time(), self._after()
        for reply in self._replies:
            if now - reply.since >= self._timing.reply_lifetime:
                self._settle(reply, Happening.REPLY_DROPPED, reason)
            elif reply.due(after) <= now and self._routes.connection() is not None:
                await self.send_again(reply.request_id)

    def _after(self) -> float:
        if self._timing.flush_after is not None:
            return self._timing.flush_after
        link = self._routes.connection()
        return (0.0 if link is None else link.extend_lease_interval) or _FLUSH_AFTER

    def _keep(self, reply: Reply) -> None:
        """Keep a reply, as one that is made now and about to be sent."""
        reply.since = reply.sent = trio.current_time()
        reply.link = self._routes.connection()
        self._replies.add(reply)
        if len(self._replies) == 1:  # with others, it falls due after them
            self.wake()

    def _settle(self, reply: Reply, what: Happening, detail: str = "") -> None:
        """Forget a reply, if it is not settled already; the request may have another since."""
        if self._replies.get(reply.request_id) is reply:
            self._replies.remove(reply.request_id)
            self._note(what, reply, detail)
            self._settled(reply.request_id)

    def _gave_way(self, reply: Reply) -> None:
        self._note(Happening.REPLY_DROPPED, reply, "no room for more unconfirmed replies")
        self._settled(reply.request_id)

    def _note(self, what: Happening, reply: Reply, detail: str = "") -> None:
        self._journal(
            JournalEntry(
                what=what,
                connection_id="" if reply.link is None else reply.link.id,
                request_id=reply.request_id,
                detail=detail,
            )
        )
