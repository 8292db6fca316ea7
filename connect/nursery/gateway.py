"""A gateway: the worker connections of this process, and their way into the state.

`Gateway.run` owns every connection. The RPC service reaches workers through
`Gateway.forward`; the composition root ends it with `Gateway.drain`.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import trio
import trio_websocket

from connect import __version__
from connect.errors import ConnectError, ForwardInDoubt, Syscode
from connect.nursery.admission import Admission, Place
from connect.nursery.closing import clean_up
from connect.nursery.connection import ANSWER_WITHIN, Connection
from connect.nursery.drain import Drain
from connect.nursery.handshake import STORE_PATIENCE
from connect.nursery.history import ConnectionHistory, open_connection
from connect.nursery.pump import pump
from connect.nursery.pushes import Pushes
from connect.nursery.reader import read
from connect.nursery.removals import Removals
from connect.nursery.replies import ReplyKeeper
from connect.nursery.services import Services
from connect.nursery.stream import WorkerStream
from connect.nursery.table import ConnectionTable
from connect.nursery.watchdog import watch
from connect.protocol.lifecycle import (
    ClosedConnection,
    Disconnect,
    DisconnectReason,
    DrainProgress,
    DrainState,
    OpenConnection,
)
from connect.state.records import GatewayRecord, GatewayStatus

__all__ = ["Gateway", "GatewayAddress"]

# The pause before a heartbeat of the gateway that was not stored is tried again, in seconds.
BEAT_AGAIN = 1.0

# How long a drain waits for the gateway's record to say so before it goes on, in seconds.
_MARK_WITHIN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAddress:
    """Where this gateway is reached.

    Attributes:
        hostname: name of this machine, for people.
        host: name or address that executors dial.
        grpc_port: port of its RPC.
        port: port of its WebSocket listener.
        endpoint: its public WebSocket URL; "" to derive one from each request.
        admin: base URL of the maintenance API of its process.
    """

    hostname: str
    host: str
    grpc_port: int
    port: int
    endpoint: str = ""
    admin: str = ""


class Gateway:
    """Holds worker connections and forwards requests to them.

    Attributes:
        table: the joined connections.
        admission: the limits on connections.
        history: the connections that have ended.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.table = ConnectionTable()
        self.admission = Admission(lambda: services.settings, services.metrics)
        self.history = ConnectionHistory(services.settings.limits.closed_connections)
        self._drain: Drain | None = None
        self._started_at = services.now()
        self._record: GatewayRecord | None = None
        self._background: trio.Nursery | None = None
        self._serving: dict[Connection, None] = {}
        self._unstored = False
        self._keeper = ReplyKeeper(services)
        self._removals = Removals(services, self.table.has)
        services.metrics.connections.set_function(lambda: len(self.table))
        services.metrics.store_away.set_function(lambda: float(services.health.away))
        services.metrics.draining.set_function(lambda: float(self.draining))

    @property
    def pushes(self) -> Pushes:
        """The room for replies on their way to executors, to be shared by the process."""
        return self._keeper.pushes

    @property
    def draining(self) -> bool:
        """Whether the gateway takes no new connections, and sends away those it has."""
        return self._drain is not None

    @property
    def store_away(self) -> bool:
        """Whether the state store does not answer this gateway, or is out of its reach."""
        health = self.services.health
        return health.away or health.unreachable_for >= STORE_PATIENCE

    async def run(
        self,
        address: GatewayAddress,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep the gateway's record fresh and own its background work; until cancelled.

        The record is removed at the end, shielded, with a deadline. `started()` comes
        once the gateway is known to executors, or the store has failed to answer once.
        """
        services = self.services
        self._record = GatewayRecord(
            id=services.gateway_id,
            status=GatewayStatus.STARTING,
            last_heartbeat_ms=0,
            hostname=address.hostname,
            ip=address.host,
            grpc_port=address.grpc_port,
            port=address.port,
            group=services.settings.gateway_group,
            endpoint=address.endpoint,
            admin=address.admin,
            version=__version__,
        )
        try:
            async with trio.open_nursery() as background:
                self._background = background
                background.start_soon(services.health.watch, self._probe)
                background.start_soon(self._keeper.run)
                background.start_soon(self._removals.run)
                background.start_soon(self._look_at_connections)
                self._mark(GatewayStatus.ACTIVE)
                stored = await self._beat()
                task_status.started()
                interval = services.settings.timing.gateway_heartbeat
                while True:
                    await self._wait_to_beat(interval if stored else min(interval, BEAT_AGAIN))
                    # A draining gateway goes on beating: it still works.
                    stored = await self._beat()
        finally:
            with trio.move_on_after(services.settings.timing.cleanup, shield=True):
                try:
                    await services.store.gateways.delete(services.gateway_id)
                except ConnectError as error:
                    services.log.warning("gateway not removed from the store", error=str(error))

    async def _wait_to_beat(self, seconds: float) -> None:
        """Wait so long, but no longer than until a store that is away is back.

        Executors take a gateway for dead that did not beat for long, be it that it could not.
        """
        if not self.services.health.away:
            await trio.sleep(seconds)
        else:
            with trio.move_on_after(seconds):
                await self.services.health.wait_returned()

    async def _probe(self) -> None:
        """Ask the store for something that only one which takes writes can do."""
        services = self.services
        await services.store.responses.delete(services.settings.tenant.env_id, services.gateway_id)

    async def _look_at_connections(self) -> None:
        """Do each second what needs no task of its own in every connection."""
        while True:
            await trio.sleep(ANSWER_WITHIN)
            for connection in self.table:
                connection.answer_late_heartbeats()
                connection.end_stalled_write()

    def _mark(self, status: GatewayStatus) -> None:
        """Have the gateway's record say so, from the next beat on."""
        assert self._record is not None
        self._record = replace(self._record, status=status)

    async def _beat(self) -> bool:
        """Store the gateway's record; return whether that succeeded, never raise."""
        assert self._record is not None
        self._record = replace(
            self._record,
            last_heartbeat_ms=round(self.services.now() * 1000),
            connections=len(self.table),
        )
        try:
            await self.services.store.gateways.upsert(self._record)
        except ConnectError as error:
            self.services.metrics.store_failures.labels("gateway").inc()
            if not self._unstored:
                self.services.log.warning("gateway heartbeat not stored", error=str(error))
            self._unstored = True
            return False
        self._unstored = False
        await self._count_elsewhere()
        return True

    async def _count_elsewhere(self) -> None:
        """Learn how many connections other gateways have, for the limit of the account.

        Those of a draining gateway are on their way elsewhere, some of them to this one.
        """
        services = self.services
        if not services.settings.limits.connections_per_account:
            return
        with suppress(ConnectError):
            oldest_ms = (services.now() - 2 * services.settings.timing.gateway_heartbeat) * 1000
            self.admission.elsewhere = sum(
                gateway.connections
                for gateway in await services.store.gateways.all()
                if gateway.id != services.gateway_id
                and gateway.status is GatewayStatus.ACTIVE
                and gateway.last_heartbeat_ms >= oldest_ms
            )

    async def serve_socket(
        self,
        socket: trio_websocket.WebSocketConnection,
        place: Place | None = None,
        stream: WorkerStream | None = None,
    ) -> None:
        """Serve one accepted WebSocket until its connection has ended.

        Args:
            place: its place in `admission`, which is given back; a new one when None.
            stream: what is below it; without it, nobody sees writes of the library's own.

        Cancelled, the connection is still cleaned up, within `Timing.cleanup`.
        """
        services = self.services
        assert self._background is not None, "the gateway is not running"
        place = self.admission.enter("") if place is None else place
        connection = Connection(socket, services, self._background, place, stream)
        services.metrics.connections_opened.inc()
        self._serving[connection] = None
        try:
            connection.apply(connection.machine.opened(gateway_draining=self.draining))
            async with trio.open_nursery() as nursery:
                connection.attach(nursery)
                nursery.start_soon(pump, connection)
                nursery.start_soon(watch, connection)
                # Read in this task: a task fewer for each connection saves memory.
                await read(connection, self.table, self._keeper)
        except Exception:  # the last resort: one connection ends, not the gateway
            connection.log.exception("unforeseen failure in a connection")
            connection.apply(connection.machine.failed())
        finally:
            self.table.leave(connection)
            removed = False
            try:
                removed = await clean_up(connection, self._keeper)
            finally:
                self.table.release(connection)
                if connection.joined is not None and not removed:
                    self._removals.add(connection.joined.env_id, connection.id)
                self._serving.pop(connection, None)
                place.leave(connection.disconnect)
                self._remember(connection)

    def _remember(self, connection: Connection) -> None:
        closed = self.history.add(connection)
        if closed is None:
            return
        end = closed.disconnect
        self.services.metrics.connections_closed.labels(_reason_label(end)).inc()
        connection.log.info(
            "worker disconnected", reason=str(end.reason), detail=end.detail, by=str(end.by)
        )

    async def forward(
        self, connection_id: str, request_id: str, request: bytes, *, vouched: str | None = None
    ) -> bool:
        """Forward a request to the worker behind a connection; see `Connection.forward`."""
        connection = self.table.get(connection_id)
        metrics = self.services.metrics
        if connection is None:
            metrics.forwards.labels("unknown_connection").inc()
            return False
        started = trio.current_time()
        try:
            success = await connection.forward(request_id, request, vouched=vouched)
        except ForwardInDoubt:
            metrics.forwards.labels("in_doubt").inc()
            raise
        if success:
            metrics.forward_seconds.observe(trio.current_time() - started)
        metrics.forwards.labels("acked" if success else "failed").inc()
        return success

    async def drain(self) -> None:
        """Drain the gateway, or join the drain that goes on; return when it is over.

        That is at most `Timing.drain` and a few cleanup deadlines after its beginning.
        Cancelled, the drain goes on by itself.
        """
        await self.start_drain().over.wait()

    def start_drain(self) -> Drain:
        """Begin to send every connection away; harmless while that goes on already.

        New sockets are closed with 1001. Each connection is told GATEWAY_CLOSING and
        served until its worker leaves it, at most until `Timing.drain` is over; see
        `Drain`. The gateway goes on beating: it still works.
        """
        assert self._background is not None, "the gateway is not running"
        if self._drain is None:
            self._drain = Drain(self.services, self._serving, self._keeper)
            self._mark(GatewayStatus.DRAINING)
            self.services.log.info("draining", connections=len(self.table))
            self._background.start_soon(self._run_drain, self._drain)
        return self._drain

    async def _run_drain(self, drain: Drain) -> None:
        with trio.move_on_after(_MARK_WITHIN):
            await self._beat()
        await drain.run()
        if self._drain is not drain:
            self.services.log.info("drain called off")
        elif drain.progress().state is DrainState.DRAINED:
            self.services.log.info("drained")

    async def activate(self) -> bool:
        """Take connections again, and close no more of those there are.

        Connections that have been told GATEWAY_CLOSING stay open until their workers leave
        them; phases never go back. The gateway's record is tried to be stored at once, and
        goes on being refreshed anyway.

        Returns:
            Whether there was a drain to give up.
        """
        drain, self._drain = self._drain, None
        if drain is None:
            return False
        drain.give_up()
        self.services.log.info("active again", connections=len(self.table))
        self._mark(GatewayStatus.ACTIVE)
        await self._beat()
        return True

    def drain_progress(self) -> DrainProgress | None:
        """Say how far the drain has come; None if there is none."""
        return None if self._drain is None else self._drain.progress()

    def open_connections(self) -> Iterator[OpenConnection]:
        """Describe the connections of workers that have joined, the oldest first."""
        return map(open_connection, self.table)

    def closed_connections(self) -> Iterator[ClosedConnection]:
        """Return what is remembered of connections that have ended, the latest first."""
        return iter(self.history)

    def describe(self) -> Mapping[str, Any]:
        """Describe the gateway for the admin API, as JSON-able values."""
        record = self._record
        return {
            "id": self.services.gateway_id,
            "status": str(record.status) if record else str(GatewayStatus.STARTING),
            "group": self.services.settings.gateway_group,
            "version": __version__,
            "store_away": self.store_away,
            "connections": len(self.table),
            "replies_kept": len(self._keeper),
            "in_flight": sum(connection.in_flight for connection in self.table),
            "started_at_ms": round(self._started_at * 1000),
        }


def _reason_label(end: Disconnect) -> str:
    """Keep metric labels few, and as telling as they can be: a syscode says most."""
    refused = end.reason in (
        DisconnectReason.HANDSHAKE_REFUSED,
        DisconnectReason.INVALID_MESSAGE,
        DisconnectReason.LIMIT_REACHED,
    )
    return end.detail if refused and end.detail in frozenset(Syscode) else str(end.reason)
