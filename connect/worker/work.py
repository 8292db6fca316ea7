"""The requests that a worker is running, and the replies it still owes.

Requests belong to the worker, not to the connection they came over: they survive its
loss, their leases are extended over the next one, and so are their replies sent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from connect import __version__
from connect.protocol.messages.connect import v1 as pb
from connect.worker.app import App
from connect.worker.call import Outcome, call_function, refusal
from connect.worker.journal import Happening, Journal, JournalEntry
from connect.worker.link import Link
from connect.worker.replies import Replies, Reply
from connect.worker.request import Request, write_ack, write_extension, write_response

__all__ = ["SDK_LANGUAGE", "SDK_VERSION", "Work"]

SDK_LANGUAGE = "python"
SDK_VERSION = f"connect-{__version__}"

# The version of the call's contract in which steps have hashed ids.
_REQUEST_VERSION = 1


@dataclass(slots=True)
class _InFlight:
    """A request being run; ``lease_id`` changes with each extension."""

    request: Request
    link: Link
    lease_id: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Work:
    """All requests of one worker.

    How many run at once is the gateway's to limit, by the concurrency that the worker
    told it (Connect protocol, section 3); each one accepted runs at once.

    Args:
        nursery: where requests run.
        apps: by name.
        route: the connection to send over now, if there is one.
        reply_bytes: how many bytes of unconfirmed replies to hold.
        journal: called with everything that happens.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        apps: Mapping[str, App],
        *,
        route: Callable[[], Link | None],
        reply_bytes: int,
        journal: Journal,
    ) -> None:
        self._nursery = nursery
        self._apps = apps
        self._route = route
        self._journal = journal
        self._replies = Replies(reply_bytes, self._gave_way)
        self._in_flight: dict[str, _InFlight] = {}
        self._refusing = False
        self._changed = trio.Event()

    def refuse(self) -> None:
        """Stay silent to requests from now on; those in flight go on."""
        self._refusing = True

    @property
    def request_ids(self) -> tuple[str, ...]:
        """The requests in flight."""
        return tuple(self._in_flight)

    def accept(self, link: Link, request: Request) -> None:
        """Take a request: acknowledge and run it in a task of its own.

        For an app that it does not know, and while it refuses, the worker stays silent,
        so that the gateway tries another one (Connect protocol, section 4). A request
        that is in flight already is only acknowledged again; one that is done has its
        reply sent again.
        """
        known = self._in_flight.get(request.request_id)
        if self._refusing and known is None:
            self._note(Happening.REQUEST_IGNORED, link, request.request_id, "shutting down")
        elif request.app_name not in self._apps:
            reason = f"unknown app {request.app_name!r}"
            self._note(Happening.REQUEST_IGNORED, link, request.request_id, reason)
        elif known is not None:
            known.lease_id = request.lease_id
            self._nursery.start_soon(self._acknowledge, link, request)
        elif self._replies.get(request.request_id) is not None:
            self._nursery.start_soon(self._answer_again, link, request)
        else:
            self._note(Happening.REQUEST, link, request.request_id, request.function_slug)
            flight = _InFlight(request, link, request.lease_id)
            self._in_flight[request.request_id] = flight
            self._nursery.start_soon(self._serve, flight)

    def lease_answered(self, link: Link, answer: pb.WorkerRequestExtendLeaseAckData) -> None:
        """Adopt a request's new lease id; without one the lease is lost, and the call ends."""
        flight = self._in_flight.get(answer.request_id)
        if flight is None:
            return
        if answer.new_lease_id:
            flight.lease_id = answer.new_lease_id
            self._note(Happening.LEASE_EXTENDED, link, answer.request_id, str(answer.new_lease_id))
        else:
            self._note(Happening.LEASE_LOST, link, answer.request_id)
            flight.scope.cancel()

    def reply_acked(self, link: Link, request_id: str) -> None:
        """A reply has been saved; forget it."""
        if self._replies.remove(request_id) is not None:
            self._note(Happening.REPLY_ACKED, link, request_id)
            self._notify()

    async def extend_leases(self, link: Link) -> None:
        """Ask for longer leases on all requests in flight, over this connection."""
        for flight in list(self._in_flight.values()):
            extension = write_extension(flight.request, flight.lease_id)
            kind = pb.GatewayMessageType.WORKER_REQUEST_EXTEND_LEASE
            if not await link.send(kind, extension):
                return

    def replies_due(self, after: float) -> list[Reply]:
        """Replies to deliver another way.

        Args:
            after: seconds that a connection has for confirming one.
        """
        return self._replies.due(trio.current_time(), after)

    def give_up_replies(self, age: float, reason: str) -> None:
        """Forget the replies that could not be delivered for so many seconds."""
        for reply in self._replies.older_than(trio.current_time(), age):
            self.reply_settled(reply, Happening.REPLY_DROPPED, reason)

    def reply_settled(self, reply: Reply, happening: Happening, detail: str = "") -> None:
        """A reply was delivered another way, or given up."""
        if self._replies.remove(reply.request_id) is not None:
            self._note(happening, reply.link, reply.request_id, detail)
            self._notify()

    async def until_idle(self) -> None:
        """Return once no request is in flight and every reply is settled."""
        while self._in_flight or len(self._replies):
            await self._changed.wait()

    async def until_done_with(self, link: Link) -> None:
        """Return once what came over this connection is done and what went is confirmed."""
        while self._replies.waiting_on(link) or any(
            flight.link is link for flight in self._in_flight.values()
        ):
            await self._changed.wait()

    async def _serve(self, flight: _InFlight) -> None:
        request = flight.request
        try:
            # Not acknowledged is not accepted: the gateway gives it to another worker.
            if not await self._acknowledge(flight.link, request):
                return
            outcome = None
            with flight.scope:
                outcome = await self._call(request)
            if outcome is None or flight.scope.cancel_called:
                return
            payload = _response(request, outcome)
            reply = Reply(request.request_id, payload, trio.current_time(), flight.link)
            self._replies.add(reply)
        finally:
            del self._in_flight[request.request_id]
            self._notify()
        await self._send_reply(reply)

    async def _call(self, request: Request) -> Outcome:
        function = self._apps[request.app_name].functions.get(request.function_slug)
        if function is None:
            return refusal(f"app {request.app_name} has no function {request.function_slug!r}")
        return await call_function(function, request.payload)

    async def _acknowledge(self, link: Link, request: Request) -> bool:
        return await link.send(pb.GatewayMessageType.WORKER_REQUEST_ACK, write_ack(request))

    async def _answer_again(self, link: Link, request: Request) -> None:
        if await self._acknowledge(link, request):
            reply = self._replies.get(request.request_id)
            if reply is not None:
                await self._send_reply(reply)

    async def _send_reply(self, reply: Reply) -> None:
        link = self._route()
        reply.link = link
        kind = pb.GatewayMessageType.WORKER_REPLY
        if link is not None and await link.send(kind, reply.payload):
            self._note(Happening.REPLIED, link, reply.request_id)
        self._notify()

    def _gave_way(self, reply: Reply) -> None:
        detail = "no room for more unconfirmed replies"
        self._note(Happening.REPLY_DROPPED, reply.link, reply.request_id, detail)

    def _note(self, what: Happening, link: Link | None, request_id: str, detail: str = "") -> None:
        connection_id = "" if link is None else link.id
        self._journal(
            JournalEntry(
                what=what, connection_id=connection_id, request_id=request_id, detail=detail
            )
        )

    def _notify(self) -> None:
        """Wake those who wait for a change."""
        self._changed.set()
        self._changed = trio.Event()


def _response(request: Request, outcome: Outcome) -> bytes:
    return write_response(
        request,
        status=outcome.status,
        body=outcome.body,
        no_retry=outcome.no_retry,
        retry_after=outcome.retry_after,
        sdk_version=f"{SDK_LANGUAGE}:{SDK_VERSION}",
        request_version=_REQUEST_VERSION,
    )
