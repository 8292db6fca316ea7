"""A gateway: the worker connections of this process, and their way into the state.

`Gateway.run` owns every connection. The RPC service reaches workers through
`Gateway.forward`; the composition root ends it with `Gateway.drain`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import trio
import trio_websocket

from connect import __version__
from connect.errors import StoreUnavailable, Syscode
from connect.nursery.connection import ANSWER_WITHIN, Connection
from connect.nursery.pump import pump
from connect.nursery.reader import read
from connect.nursery.replies import ReplyKeeper
from connect.nursery.services import Services
from connect.nursery.table import ConnectionTable
from connect.nursery.watchdog import watch
from connect.protocol.machine import DisconnectReason
from connect.state.records import GatewayRecord, GatewayStatus

__all__ = ["Gateway", "GatewayAddress"]

# The pause before a heartbeat of the gateway that was not stored is tried again, in seconds.
BEAT_AGAIN = 1.0

_REASONS = frozenset(Syscode) | frozenset(DisconnectReason)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAddress:
    """Where this gateway is reached.

    Attributes:
        hostname: name of this machine, for people.
        host: name or address that executors dial.
        grpc_port: port of its RPC.
        port: port of its WebSocket listener.
        endpoint: its public WebSocket URL; "" to derive one from each request.
    """

    hostname: str
    host: str
    grpc_port: int
    port: int
    endpoint: str = ""


class Gateway:
    """Holds worker connections and forwards requests to them.

    Attributes:
        table: the joined connections.
        draining: whether the gateway is coming to its end.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.table = ConnectionTable()
        self.draining = False
        self._started_at = services.now()
        self._record: GatewayRecord | None = None
        self._background: trio.Nursery | None = None
        self._serving: set[Connection] = set()
        self._unstored = False
        self._keeper = ReplyKeeper(services)
        services.metrics.connections.set_function(lambda: len(self.table))
        services.metrics.store_away.set_function(lambda: float(services.health.away))

    @property
    def store_away(self) -> bool:
        """Whether the state store does not answer this gateway."""
        return self.services.health.away

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
            version=__version__,
        )
        try:
            async with trio.open_nursery() as background:
                self._background = background
                background.start_soon(services.health.watch, self._probe)
                background.start_soon(self._keeper.run)
                background.start_soon(self._answer_late_heartbeats)
                stored = await self._beat(GatewayStatus.ACTIVE)
                task_status.started()
                interval = services.settings.timing.gateway_heartbeat
                while True:
                    await trio.sleep(interval if stored else min(interval, BEAT_AGAIN))
                    # A draining gateway goes on beating: it still works.
                    stored = await self._beat()
        finally:
            with trio.move_on_after(services.settings.timing.cleanup, shield=True):
                try:
                    await services.store.gateways.delete(services.gateway_id)
                except StoreUnavailable as error:
                    services.log.warning("gateway not removed from the store", error=str(error))

    async def _probe(self) -> None:
        """Ask the store for something that only one which takes writes can do."""
        services = self.services
        await services.store.responses.delete(services.settings.tenant.env_id, services.gateway_id)

    async def _answer_late_heartbeats(self) -> None:
        while True:
            await trio.sleep(ANSWER_WITHIN)
            for connection in self.table:
                connection.answer_late_heartbeats()

    async def _beat(self, status: GatewayStatus | None = None) -> bool:
        """Store the gateway's record; return whether that succeeded."""
        record = self._record
        assert record is not None
        self._record = replace(
            record,
            status=status or record.status,
            last_heartbeat_ms=round(self.services.now() * 1000),
            connections=len(self.table),
        )
        try:
            await self.services.store.gateways.upsert(self._record)
        except StoreUnavailable as error:
            self.services.metrics.store_failures.labels("gateway").inc()
            if not self._unstored:
                self.services.log.warning("gateway heartbeat not stored", error=str(error))
            self._unstored = True
            return False
        self._unstored = False
        return True

    async def serve_socket(self, socket: trio_websocket.WebSocketConnection) -> None:
        """Serve one accepted WebSocket until its connection has ended.

        Cancelled, the connection is still cleaned up, within `Timing.cleanup`.
        """
        services = self.services
        assert self._background is not None, "the gateway is not running"
        connection = Connection(socket, services, self._background)
        services.metrics.connections_opened.inc()
        self._serving.add(connection)
        try:
            connection.apply(connection.machine.opened(gateway_draining=self.draining))
            async with trio.open_nursery() as nursery:
                connection.attach(nursery.cancel_scope)
                nursery.start_soon(pump, connection)
                nursery.start_soon(watch, connection)
                nursery.start_soon(read, connection, self.table, self._keeper, nursery)
        finally:
            self.table.leave(connection)
            await connection.clean_up()
            self._serving.discard(connection)
            reason = connection.disconnect or ""
            services.metrics.connections_closed.labels(_reason_label(reason)).inc()
            connection.log.info("worker disconnected", reason=reason)

    async def forward(self, connection_id: str, request_id: str, request: bytes) -> bool:
        """Forward a request to the worker behind a connection; see `Connection.forward`."""
        connection = self.table.get(connection_id)
        metrics = self.services.metrics
        if connection is None:
            metrics.forwards.labels("unknown_connection").inc()
            return False
        started = trio.current_time()
        success = await connection.forward(request_id, request)
        if success:
            metrics.forward_seconds.observe(trio.current_time() - started)
        metrics.forwards.labels("acked" if success else "failed").inc()
        return success

    async def drain(self) -> None:
        """Bring every connection to its end; return when the last is gone.

        New sockets are closed with 1001. Each connection is told GATEWAY_CLOSING and
        keeps being served until it has nothing in flight or `Timing.drain` is over, and as
        long is waited for the store to take the replies that are kept.
        Cancelled, connections not yet closed are left to whoever ends the gateway.
        """
        self.draining = True
        deadline = trio.current_time() + self.services.settings.timing.drain
        with trio.move_on_after(self.services.settings.timing.cleanup):
            await self._beat(GatewayStatus.DRAINING)
        async with trio.open_nursery() as nursery:
            for connection in tuple(self._serving):
                nursery.start_soon(connection.drain, deadline)
        with trio.move_on_at(deadline):
            await self._keeper.wait_empty()
        if kept := len(self._keeper):
            self.services.log.warning("replies not saved, left to be flushed", count=kept)

    def describe(self) -> Mapping[str, Any]:
        """Describe the gateway for the admin API, as JSON-able values."""
        record = self._record
        return {
            "id": self.services.gateway_id,
            "status": str(record.status) if record else str(GatewayStatus.STARTING),
            "group": self.services.settings.gateway_group,
            "version": __version__,
            "connections": len(self.table),
            "replies_kept": len(self._keeper),
            "in_flight": sum(connection.in_flight for connection in self.table),
            "started_at_ms": round(self._started_at * 1000),
        }


def _reason_label(reason: str) -> str:
    """Keep metric labels few: a worker can send any text as its close reason."""
    return reason if reason in _REASONS else "other"
