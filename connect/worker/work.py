"""The requests that a worker is running, and the replies it still owes.

Requests belong to the worker, not to the connection they came over: they survive its
loss, their leases are extended over the next one, and so are their replies sent.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import trio
from ulid import ULID

from connect import __version__
from connect.protocol.messages.connect import v1 as pb
from connect.worker.app import App
from connect.worker.call import Outcome, call_function, refusal
from connect.worker.delivery import Delivery, Routes
from connect.worker.journal import Happening, Journal, JournalEntry, RunEnd
from connect.worker.leases import HeldLease, Leases
from connect.worker.link import Link
from connect.worker.replies import Reply
from connect.worker.request import Request, write_ack, write_response
from connect.worker.timing import WorkerLimits, WorkerTiming

__all__ = ["SDK_LANGUAGE", "SDK_VERSION", "Work"]

SDK_LANGUAGE = "python"
SDK_VERSION = f"connect-{__version__}"

# The version of the call's contract in which steps have hashed ids.
_REQUEST_VERSION = 1

# With fewer intervals of the extensions left, a lease is asked for before anything runs under it.
_ENOUGH_INTERVALS = 2

# What the envelope may add to a reply: kind, tag and length.
_ENVELOPE_BYTES = 16

_ENDS = {
    pb.SdkResponseStatus.DONE: RunEnd.DONE,
    pb.SdkResponseStatus.ERROR: RunEnd.ERROR,
    pb.SdkResponseStatus.NOT_COMPLETED: RunEnd.NOT_COMPLETED,
}


@dataclass(slots=True, eq=False)
class _InFlight:
    """A request being run.

    Attributes:
        link: the connection that it came over; while it is asked for, came over last.
        asking: its lease is being asked for, before anything runs under it.
        ended: set when nothing of it runs any more.
    """

    request: Request
    link: Link
    lease: HeldLease
    asking: bool = False
    ended: trio.Event = field(default_factory=trio.Event)


class Work:
    """All requests of one worker.

    How many it is given is the gateway's to limit, by the concurrency that the worker
    told it (Connect protocol, section 3). Were it given more, as after a loss of state, the
    rest waits here, under lease.

    Args:
        nursery: where requests run.
        apps: by name.
        routes: the ways that replies can go.
        max_concurrency: how many requests run at once; None is any number.
        limits: of what is held.
        timing: deadlines.
        jitter: a number from 0 to 1, for pauses.
        journal: called with everything that happens.
        now: unix seconds.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        apps: Mapping[str, App],
        *,
        routes: Routes,
        max_concurrency: int | None,
        limits: WorkerLimits,
        timing: WorkerTiming,
        jitter: Callable[[], float],
        journal: Journal,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._nursery = nursery
        self._now = now
        self._apps = apps
        self._limits = limits
        self._journal = journal
        self._slots: AbstractAsyncContextManager[object] = nullcontext()
        if max_concurrency is not None:
            self._slots = trio.Semaphore(max_concurrency)
        self.leases = Leases(route=routes.connection, journal=journal)
        self.delivery = Delivery(
            routes,
            limit=limits.reply_bytes,
            timing=timing,
            jitter=jitter,
            settled=self._settled,
            journal=journal,
        )
        self._in_flight: dict[str, _InFlight] = {}
        self._refusing = False
        self._changed = trio.Event()

    async def run(self) -> None:
        """Extend leases and deliver replies until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.leases.run)
            nursery.start_soon(self.delivery.run)

    def refuse(self) -> None:
        """Stay silent to requests from now on; those in flight go on."""
        self._refusing = True

    @property
    def request_ids(self) -> tuple[str, ...]:
        """The requests in flight."""
        return tuple(self._in_flight)

    def accept(self, link: Link, request: Request) -> None:
        """Take a request: acknowledge and run it in a task of its own.

        For an app that it does not know, while it refuses, and while it holds as much as it
        may, the worker stays silent, so that the gateway tries another one (Connect
        protocol, section 4). A request that is in flight already is only acknowledged
        again, or when its lease is granted, where that is still being asked for; one that is
        done has its reply sent again. One whose lease was lost runs again when nothing of its
        last run is left.
        """
        request_id = request.request_id
        known = self._in_flight.get(request_id)
        if known is not None and known.asking and not known.lease.refused:
            known.link = link
            self.leases.hold(request, link, left=self._left(request))
            if self._has_enough_left(link, request):
                known.lease.answered.set()  # by being given anew
        elif known is not None and known.lease.lost:
            self._nursery.start_soon(self._accept_later, known, link, request)
        elif known is not None:
            self.leases.hold(request, link, left=self._left(request))
            self._nursery.start_soon(self._acknowledge, link, request)
        elif (silence := self._silence(request)) is not None:
            self._note(Happening.REQUEST_IGNORED, link, request, detail=silence)
        elif (reply := self.delivery.get(request_id)) is not None:
            self.leases.hold(request, link, left=self._left(request))
            self._nursery.start_soon(self._answer_again, link, request, reply)
        else:
            self._note(Happening.REQUEST, link, request)
            lease = self.leases.hold(request, link, left=self._left(request))
            flight = _InFlight(request, link, lease)
            self._in_flight[request_id] = flight
            self._nursery.start_soon(self._serve, flight)

    def link_changed(self) -> None:
        """A connection has begun or ended: leases and replies may have to go elsewhere."""
        self.leases.wake()
        self.delivery.wake()
        self._notify()

    async def until_idle(self) -> None:
        """Return once no request is in flight and every reply is settled."""
        while self._in_flight or len(self.delivery):
            await self._changed.wait()

    async def until_done_with(self, link: Link) -> None:
        """Return once what came over this connection is done and what went is confirmed."""
        while self.delivery.waiting_on(link) or any(
            flight.link is link for flight in self._in_flight.values()
        ):
            await self._changed.wait()

    def _silence(self, request: Request) -> str | None:
        """Why a request that is not in flight is met with silence; None if it is not."""
        if request.app_name not in self._apps:
            return f"unknown app {request.app_name!r}"
        if self.delivery.has(request.request_id):
            return None
        if self._refusing:
            return "shutting down"
        held = len(self._in_flight) + len(self.delivery)
        if held >= self._limits.requests or self.delivery.full:
            return f"{held} requests and unconfirmed replies are held already"
        return None

    async def _accept_later(self, known: _InFlight, link: Link, request: Request) -> None:
        await known.ended.wait()
        self.accept(link, request)

    async def _serve(self, flight: _InFlight) -> None:
        request, outcome = flight.request, None
        try:
            if await self._is_ours(flight):
                outcome = await self._run(flight)
            if outcome is not None:
                payload = self._response(request, outcome)
                smaller = partial(_write_too_large, request, len(payload))
                reply = self.delivery.take(request.request_id, payload, smaller)
        finally:
            del self._in_flight[request.request_id]
            if outcome is None:
                self.leases.release(flight.lease)
            flight.ended.set()
            self._notify()
        if outcome is not None:
            await self.delivery.send(reply)
            self._notify()

    async def _is_ours(self, flight: _InFlight) -> bool:
        """Acknowledge a request, if it is this worker's to run; return whether it is.

        A late one's lease is asked for first: a worker that was stopped finds the requests
        that have waited for it, and somebody else may have been given them meanwhile. Asked
        rather than dropped: if it is the clock here that is wrong, it costs a moment.
        """
        request, lease, link = flight.request, flight.lease, flight.link
        if link.extend_lease_interval <= 0 or self._has_enough_left(link, request):
            # Not acknowledged is not accepted: the gateway gives it to another worker.
            return await self._acknowledge(link, request)
        flight.asking = True
        granted = await self.leases.confirm(lease)
        flight.asking = False
        if granted:
            # Nobody else is given it now, though the acknowledgement should reach nobody.
            await self._acknowledge(flight.link, request)
            return True
        self._note(Happening.REQUEST_IGNORED, flight.link, request, detail="its lease is over")
        return False

    def _has_enough_left(self, link: Link, request: Request) -> bool:
        return self._left(request) > _ENOUGH_INTERVALS * link.extend_lease_interval

    def _left(self, request: Request) -> float:
        """Seconds until its lease runs out: its id is a ULID of that moment."""
        try:
            return ULID.from_str(request.lease_id).milliseconds / 1000 - self._now()
        except ValueError:
            return math.inf

    async def _run(self, flight: _InFlight) -> Outcome | None:
        """Run the function; None if its lease was lost, so that there is nothing to tell."""
        request, lease = flight.request, flight.lease
        outcome: Outcome | None = None
        with lease.scope:
            # It may have been lost while the acknowledgement was written.
            await trio.lowlevel.checkpoint_if_cancelled()
            async with self._slots:
                self._note(Happening.STARTED, flight.link, request, detail=lease.lease_id)
                try:
                    outcome = await self._call(request)
                finally:
                    end = self._end_of(lease, outcome)
                    self._note(Happening.FINISHED, flight.link, request, end=end)
        if not lease.lost:
            return outcome
        if not lease.refused:
            detail = "it ran out, and no gateway has extended it"
            self._note(Happening.LEASE_LOST, flight.link, request, detail=detail)
        return None

    def _end_of(self, lease: HeldLease, outcome: Outcome | None) -> RunEnd:
        if lease.lost:
            return RunEnd.LEASE_LOST
        return RunEnd.CANCELLED if outcome is None else _ENDS[pb.SdkResponseStatus(outcome.status)]

    async def _call(self, request: Request) -> Outcome:
        function = self._apps[request.app_name].functions.get(request.function_slug)
        if function is None:
            return refusal(f"app {request.app_name} has no function {request.function_slug!r}")
        return await call_function(function, request.payload)

    def _response(self, request: Request, outcome: Outcome) -> bytes:
        payload = _write(request, outcome)
        if len(payload) <= self._limits.message_bytes - _ENVELOPE_BYTES:
            return payload
        return _write_too_large(request, len(payload), self._limits.message_bytes)

    async def _acknowledge(self, link: Link, request: Request) -> bool:
        return await link.send(pb.GatewayMessageType.WORKER_REQUEST_ACK, write_ack(request))

    async def _answer_again(self, link: Link, request: Request, reply: Reply) -> None:
        if not await self._acknowledge(link, request) or request.request_id in self._in_flight:
            return
        if not self.delivery.has(request.request_id):  # a connection before has confirmed it
            self.leases.hold(request, link, left=self._left(request))
        await self.delivery.answer(reply)

    def _settled(self, request_id: str) -> None:
        self.leases.release_request(request_id)
        self._notify()

    def _note(
        self,
        what: Happening,
        link: Link,
        request: Request,
        *,
        end: RunEnd | None = None,
        detail: str = "",
    ) -> None:
        self._journal(
            JournalEntry(
                what=what,
                connection_id=link.id,
                request_id=request.request_id,
                run_id=request.run_id,
                function=request.function_slug,
                end=end,
                detail=detail,
            )
        )

    def _notify(self) -> None:
        """Wake those who wait for a change."""
        self._changed.set()
        self._changed = trio.Event()


def _write(request: Request, outcome: Outcome) -> bytes:
    return write_response(
        request,
        status=outcome.status,
        body=outcome.body,
        no_retry=outcome.no_retry,
        retry_after=outcome.retry_after,
        sdk_version=f"{SDK_LANGUAGE}:{SDK_VERSION}",
        request_version=_REQUEST_VERSION,
    )


def _write_too_large(request: Request, size: int, most: int | None = None) -> bytes:
    """The reply in place of one of this many bytes; `most` is what a message may have, if known."""
    bound = "more than the service takes" if most is None else f"and a message {most} at most"
    return _write(request, refusal(f"the reply has {size} bytes, {bound}"))
