"""One worker connection: a nursery whose cancel scope ties its tasks together.

Reader, pump, watchdog and, while its status is being written, the writer of that live and
die together. Whoever ends the connection says why; the first reason wins. After that,
routing to it has stopped before anything else happens; then the last words go out and the
state is cleaned up, shielded, with deadlines; see `connect.nursery.closing`.
"""

import logging
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio
import trio_websocket
from ulid import ULID

from connect.errors import ConnectError, ForwardInDoubt
from connect.nursery.admission import Place
from connect.nursery.forwards import Forwards
from connect.nursery.handshake import Joined
from connect.nursery.health import StoreAway
from connect.nursery.outbox import Outbox
from connect.nursery.running import RunningRequest
from connect.nursery.services import Services
from connect.nursery.slots import StoreSlots
from connect.nursery.stream import WorkerStream
from connect.nursery.sync import register_again
from connect.protocol import machine as m
from connect.protocol.envelope import read_request
from connect.protocol.lifecycle import Transition, WorkerStatus
from connect.protocol.messages.connect import v1 as pb
from connect.state.records import ConnectionRecord, ConnectionStatus

__all__ = ["Connection"]

# Room for a forward's ack beyond the lease (Connect protocol, section 4, Forward).
FORWARD_GRACE = 5.0

# Between WORKER_STATUS messages that are recorded (section 4).
STATUS_SPACING = 2.0

# What is kept of one: a worker chooses its request ids' number and length, in characters.
_MOST_IDS = 100
_LONGEST_ID = 200

# How long the ack of a request that is on the wire is waited for once its gateway drains:
# the worker may run it already, and whoever got it next would run it again.
ACK_GRACE = 1.0

# A heartbeat is answered at the latest after this, although its write is not done.
ANSWER_WITHIN = 1.0

# The first pause before a status write that failed is tried again; it doubles up to half a
# heartbeat interval. Each pause is cut at random, so that after an outage the connections of
# a gateway spread their writes over that time.
RETRY_MIN = 0.25


class Connection:
    """The gateway's end of one worker's WebSocket.

    Args:
        socket: an accepted WebSocket whose reader task runs outside of this object.
        services: the gateway's surroundings.
        background: a nursery that outlives the connection, for replies being saved.
        place: the connection's place among those of its gateway.
        stream: what is below the socket, if its writes are to be watched.

    Attributes:
        joined: what the handshake made of the worker; None before.
        id: the connection id that the worker gave; "" before.
        forwards: requests on their way to the worker.
        finished: set when everything is cleaned up.
        opened: set when the worker has been told that it is ready, or never will be.
        changed: set when the connection ends or has nothing in flight any more; whoever
            waits for it puts a new one in its place.
        drain_stored: set once a Forward need not wait for DRAINING to be stored.
        disconnect: why the connection ended, once it has.
        transitions: every phase so far, in order.
    """

    # An attribute more than Python keeps without a dictionary would cost 1.3 kB.
    __slots__ = (
        "_extending", "_failing_since", "_heartbeats_to_answer", "_in_flight", "_nursery",
        "_status_at", "_status_due", "_told", "_unanswered_since", "_writing_status",
        "background", "changed", "disconnect", "drain_stored", "finished", "forwards",
        "hello_received", "id", "joined", "last_heartbeat", "log", "machine", "opened", "outbox",
        "place", "services", "socket", "store_slots", "stream", "transitions", "worker_status",
    )  # fmt: skip

    def __init__(
        self,
        socket: trio_websocket.WebSocketConnection,
        services: Services,
        background: trio.Nursery,
        place: Place,
        stream: WorkerStream | None = None,
    ) -> None:
        self.socket = socket
        self.services = services
        self.background = background
        self.place = place
        self.stream = stream
        limits = services.settings.limits
        self.machine = m.ConnectionMachine(most_apps=limits.apps_hard_cap)
        self.outbox = Outbox(services.settings)
        self.store_slots = StoreSlots(limits)
        self.forwards = Forwards(self.outbox)
        self.joined: Joined | None = None
        self.id = ""
        self.finished = trio.Event()
        self.changed = trio.Event()
        self.drain_stored = trio.Event()
        self.disconnect: m.Disconnect | None = None
        self.transitions: list[Transition] = []
        self.last_heartbeat = trio.current_time()
        self.hello_received = trio.Event()
        self.opened = trio.Event()
        self.worker_status: WorkerStatus | None = None
        self.log = services.log
        self._status_at = -STATUS_SPACING
        self._heartbeats_to_answer = 0
        self._unanswered_since = 0.0
        self._failing_since: float | None = None
        self._nursery: trio.Nursery | None = None
        self._status_due = False
        self._writing_status = False
        self._in_flight: dict[str, RunningRequest] = {}
        self._extending: dict[str, trio.Lock] = {}
        self._told: frozenset[str] = frozenset()
        self._note(m.Phase.HANDSHAKING, m.PhaseReason.SOCKET_ACCEPTED)

    # Life

    @property
    def ending(self) -> bool:
        """Whether somebody has decided to end this connection."""
        return self.disconnect is not None

    def attach(self, nursery: trio.Nursery) -> None:
        """Take the nursery whose cancel scope ties the connection's tasks together."""
        self._nursery = nursery
        if self.ending:
            nursery.cancel_scope.cancel()

    def end(self, disconnect: m.Disconnect) -> None:
        """End the connection; only the first call counts.

        Args:
            disconnect: what to record. With a close code of the gateway's, a close frame
                is sent.
        """
        if self.ending:
            return
        self.disconnect = disconnect
        self._note(m.Phase.DISCONNECTING, disconnect.reason)
        if self.services.health.away:
            self._fail_forwards()  # DISCONNECTING will hardly be stored
        self.opened.set()
        self.changed.set()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _note(self, phase: m.Phase, reason: m.PhaseReason | m.DisconnectReason) -> None:
        self.transitions.append(Transition(phase, self.services.now(), reason))

    def apply(self, effects: m.Effects) -> None:
        """Perform those effects that need no waiting.

        The reader performs the others: joining, and whatever stores data.
        """
        for effect in effects:
            match effect:
                case m.Send(message):
                    if not self.outbox.put_control(message):
                        self.apply(self.machine.write_stalled())
                case m.AckReceived(request_id):
                    self._acknowledged(request_id)
                case m.HeartbeatReceived():
                    self._take_heartbeat()
                case m.StoreStatus():
                    self._write_status_soon()
                case m.PhaseChanged(phase, reason):
                    self._note(phase, reason)
                case m.RouteStopped():
                    self.forwards.fail_unsent()
                    if len(self.forwards) and self._nursery is not None:
                        self._nursery.start_soon(self._fail_forwards_later)
                case m.StatusReceived(status):
                    self._note_status(status)
                case m.MessageIgnored(kind, why):
                    self._log_once("message ignored", kind=kind, why=why)
                case m.Close(disconnect):
                    self.end(disconnect)
                case _:
                    raise AssertionError(f"not an effect to apply here: {effect!r}")

    def _note_status(self, status: pb.WorkerStatusData) -> None:
        if trio.current_time() - self._status_at < STATUS_SPACING:
            return
        self._status_at = trio.current_time()
        request_ids = status.in_flight_request_ids
        shown = (request_id[:_LONGEST_ID] for request_id in request_ids[:_MOST_IDS])
        self.worker_status = WorkerStatus(
            at=self.services.now(),
            request_ids=tuple(shown),
            in_flight=len(request_ids),
            shutdown_requested=status.shutdown_requested,
        )

    # Logs

    def _log_once(self, event: str, **values: object) -> None:
        """Log what a worker may do with each message: after the first time, for debugging only."""
        level = logging.DEBUG if event in self._told else logging.INFO
        self._told |= {event}
        self.log.log(level, event, **values)

    # Forwarding

    async def forward(self, request_id: str, request: bytes, *, vouched: str | None = None) -> bool:
        """Send a request to the worker and wait for its ack.

        Args:
            request_id: the request's id; a second Forward of one that is on its way
                waits for the same ack.
            request: GatewayExecutorRequestData, passed on unopened.
            vouched: the lease that its executor answers for when the store cannot; None if
                it does not.

        Returns:
            True once the worker has acked. False if the connection takes no requests,
            stops doing so before the ack, or no ack comes within the lease + 5 s; also if
            the lease is over before the request is sent: others may have it by then.
            Cancelled, the request may still reach the worker.

        Raises:
            ForwardInDoubt: the request was sent, and the connection broke or was given up
                before the ack, or its worker paused and did not ack: it may run it.
        """
        timing = self.services.settings.timing
        with trio.move_on_after(timing.lease + FORWARD_GRACE):
            await self.opened.wait()
            if self.ending or not self.machine.routable:
                # The re-route must find DRAINING stored, or it would come back here.
                if self.machine.awaits_drain_write:
                    await self.drain_stored.wait()
                return False
            lease_id = read_request(request).lease_id if vouched is None else vouched
            until = self._lease_end(lease_id)
            pending = self.forwards.enter(request_id, request, until=until)
            if pending is None:
                return False
            try:
                await pending.settled.wait()
            finally:
                self.forwards.leave(request_id, pending)
            if pending.in_doubt:
                raise ForwardInDoubt("the request was sent, and its ack did not come")
            if vouched is not None and (running := self.running(request_id)):
                running.lease_id = vouched
                running.vouch()
            return bool(pending.success)
        return False

    def _lease_end(self, lease_id: str) -> float:
        """Return when a lease is over, on the Trio clock; never if that is no lease id."""
        try:
            ends = ULID.from_str(lease_id).milliseconds / 1000
        except ValueError:
            return math.inf
        return trio.current_time() + ends - self.services.now()

    def _fail_forwards(self) -> None:
        """Fail the forwards that await their ack, as the connection ends."""
        assert self.disconnect is not None
        # A worker that closes its socket by itself has acked what it took. One that was told
        # to leave may ack it over its next connection: the official SDK does.
        left = self.disconnect.by is m.Side.WORKER and not self.machine.gateway_drains
        self.forwards.fail_all(in_doubt=not left)

    async def _fail_forwards_later(self) -> None:
        """Fail what a worker that pauses has been sent, and has not acked for a while.

        Ack and pause may cross: a worker need not have said that it takes a request before
        it says that it takes no more. It may also have stood still since; so it is in doubt.
        """
        await trio.sleep(self.services.settings.timing.write)
        self.forwards.fail_all(in_doubt=True)

    def _acknowledged(self, request_id: str) -> None:
        if self.forwards.acknowledge(request_id):
            self.touch_in_flight(request_id)
        else:
            self._log_once("ack for a request that nobody forwards", request_id=request_id)

    # Requests that the worker runs

    @property
    def in_flight(self) -> int:
        """How many requests the worker has acked and not replied to."""
        return len(self._in_flight)

    @property
    def idle(self) -> bool:
        """Whether the worker runs no request, and none is on its way."""
        return not self._in_flight and not len(self.forwards)

    def runs(self, request_id: str) -> bool:
        """Whether the worker has acked the request, and may still run it."""
        running = self._in_flight.get(request_id)
        return running is not None and self._may_last(running)

    def running(self, request_id: str) -> RunningRequest | None:
        """Return what is known of a request that the worker runs, or has lost lately."""
        return self._in_flight.get(request_id)

    @asynccontextmanager
    async def extending(self, request_id: str) -> AsyncIterator[None]:
        """Have the lease of a request to oneself; who comes first is first."""
        lock = self._extending.setdefault(request_id, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._extending.pop(request_id, None)

    def touch_in_flight(self, request_id: str) -> RunningRequest:
        """Note that the worker runs the request, for as long as its lease lasts."""
        now, timing = trio.current_time(), self.services.settings.timing
        running = self._in_flight.get(request_id)
        if running is None:
            running = self._in_flight[request_id] = RunningRequest(now, now)
        running.asked, running.until = now, now + timing.lease + timing.lease_grace
        return running

    def forget_in_flight(self, request_id: str) -> None:
        """Note that the worker no longer runs the request."""
        self._in_flight.pop(request_id, None)
        if not self._in_flight:
            self.changed.set()

    def _forget_lost_requests(self) -> None:
        """Drop requests whose lease must be over: the worker lost them."""
        lost = [id_ for id_, running in self._in_flight.items() if not self._may_last(running)]
        for request_id in lost:
            self.forget_in_flight(request_id)

    def _may_last(self, running: RunningRequest) -> bool:
        """Whether its lease may be live: without the store, none is known to end."""
        now, health = trio.current_time(), self.services.health
        return (
            running.until >= now
            or health.away
            or now < health.returned_at + self.services.settings.timing.lease
        )

    # State

    def record(self) -> ConnectionRecord:
        """Build the record that the store should hold now."""
        assert self.joined is not None
        age = trio.current_time() - self.last_heartbeat
        return replace(
            self.joined.connection,
            status=ConnectionStatus(int(self.machine.status)),
            last_heartbeat_ms=round((self.services.now() - age) * 1000),
        )

    async def store_status(self) -> bool:
        """Write status and heartbeat once; count a failure, never raise one.

        Returns:
            Whether they are stored.
        """
        record = self.record()
        started = trio.current_time()
        try:
            with self.services.health.attempt():
                await self._write_status(record)
        except ConnectError as error:
            if not isinstance(error, StoreAway):
                self.services.metrics.store_failures.labels("status").inc()
            if self._failing_since is None:
                self._failing_since = started
                self.services.warn_unstored(self.log, "status not stored", error)
            self.apply(
                self.machine.store_answered(
                    failed=True,
                    outage=trio.current_time() - self._failing_since,
                    tolerated=self.services.settings.timing.store_outage,
                )
            )
            return False
        self._failing_since = None
        self.apply(self.machine.store_answered(failed=False))
        if record.status is ConnectionStatus.DRAINING:
            self.drain_stored.set()
        return True

    async def _write_status(self, record: ConnectionRecord) -> None:
        """Refresh the stored connection, or store one that is lost anew, with all its own."""
        joined = self.joined
        assert joined is not None
        store = self.services.store
        env_id = joined.env_id
        if await store.connections.refresh(env_id, record, limited=joined.limited) or self.ending:
            return
        self.services.warn(self.log, "the store has lost the connection")
        # The connection last: while it is missing, the next attempt begins here again.
        for synced in joined.synced:
            await register_again(store, synced)
        if joined.limited:
            await store.capacity.set_limit(env_id, record.instance_id, joined.limit)
        # With the status of the moment: draining may have begun meanwhile.
        if self.ending or await store.connections.upsert(env_id, self.record(), joined.groups):
            return
        if not self.ending:
            # Somebody deleted it, such as the gateway of a socket that this one replaced.
            await store.connections.upsert(env_id, self.record(), joined.groups, fresh=True)

    def _write_status_soon(self) -> None:
        """Have the status written: by a task of its own, or by the one that is at it.

        A task that waited for the next time would take memory in every idle connection.
        """
        self._status_due = True
        if self._writing_status or self.ending or self._nursery is None:
            return
        self._writing_status = True
        self._nursery.start_soon(self._write_statuses)

    async def _write_statuses(self) -> None:
        """Write the status until no write is due, and answer heartbeats.

        What is written is always the state of the moment, so that heartbeats that come
        faster than the store answers need one write between them. A write that failed is
        tried again, without waiting for the next heartbeat.
        """
        retry_max = max(RETRY_MIN, self.services.settings.timing.worker_heartbeat / 2)
        pause = RETRY_MIN
        while self._status_due:
            self._status_due = False
            stored = await self.store_status()
            self._answer_heartbeats()
            if not stored:
                self._status_due = True
                await trio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, retry_max)
        self._writing_status = False

    def _take_heartbeat(self) -> None:
        self.last_heartbeat = trio.current_time()
        if not self._heartbeats_to_answer:
            self._unanswered_since = self.last_heartbeat
        self._heartbeats_to_answer += 1
        self._forget_lost_requests()
        self._write_status_soon()
        if self._failing_since is not None:
            # The worker can do nothing about it, and is to keep its socket.
            self._answer_heartbeats()

    def _answer_heartbeats(self) -> None:
        answers, self._heartbeats_to_answer = self._heartbeats_to_answer, 0
        for _ in range(answers):
            self.apply((m.Send(m.GATEWAY_HEARTBEAT),))

    def answer_late_heartbeats(self) -> None:
        """Answer heartbeats whose write takes longer than it should."""
        if (
            self._heartbeats_to_answer
            and trio.current_time() - self._unanswered_since >= ANSWER_WITHIN
        ):
            self._answer_heartbeats()

    # Ending

    def end_stalled_write(self) -> None:
        """End the connection if a write to its socket takes longer than it may.

        `pump` does that for its own; this sees those of the WebSocket library, too.
        """
        if self.stream is None:
            return
        if trio.current_time() - self.stream.write_began > self.services.settings.timing.write:
            self.write_stalled()

    def write_stalled(self) -> None:
        """End the connection without a close frame, for which there is no room on the wire."""
        self.outbox.give_up_writing()
        self.machine.write_stalled()
        self.end(m.Disconnect(m.DisconnectReason.WRITE_STALLED, "write timed out"))

    async def hand_over(self) -> None:
        """Store DRAINING, and release the Forwards that wait for it; see `Drain`.

        Returns when it is stored, or has failed to be.
        """
        joined = self.joined
        assert joined is not None
        effects = self.machine.hand_over()
        try:
            with self.services.health.attempt():
                await self.services.store.connections.refresh(joined.env_id, self.record())
        except ConnectError as error:
            self.services.warn_unstored(self.log, "DRAINING not stored", error)
            self.apply(effects)  # later, then
        finally:
            self.drain_stored.set()

    def release_forwards(self) -> None:
        """Fail the Forwards that wait, now that the store shows that the connection ends."""
        self._fail_forwards()
        self.drain_stored.set()

    def finish(self) -> None:
        """Note that everything is cleaned up, or that no more can be done."""
        assert self.disconnect is not None
        self.release_forwards()
        self._note(m.Phase.CLOSED, self.disconnect.reason)
        self.finished.set()
