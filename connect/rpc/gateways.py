"""The gateways as an executor knows them: a table re-read in the background."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from connect.errors import ConnectError
from connect.rpc.methods import DEFAULT_GATEWAY_PORT
from connect.settings import Timing
from connect.state.records import GatewayRecord, GatewayStatus
from connect.state.store import GatewayStore

__all__ = ["GatewayTable", "LiveGateways"]

# How long a gateway that cannot be connected to gets no requests: as long as it takes to try
# again to connect after a few failures.
_LEFT_OUT_SECONDS = 1.0

# The least time between two reads of the table, however many requests ask for one.
_LOOK_AGAIN_SECONDS = 0.1

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LiveGateways:
    """Ids of the gateways that are alive: heartbeat at most two intervals old."""

    active: tuple[str, ...]
    draining: tuple[str, ...]


class GatewayTable:
    """Which gateways are alive, and where their RPC is reached.

    Args:
        store: where gateways keep their records.
        timing: `gateway_refresh`, `gateway_heartbeat` and `worker_heartbeat` are used.
        now: unix seconds.
    """

    def __init__(self, store: GatewayStore, *, timing: Timing, now: Callable[[], float]) -> None:
        self._store = store
        self._interval = timing.gateway_refresh
        self._longest_silence = 2 * timing.gateway_heartbeat
        self._now = now
        self._gateways: dict[str, GatewayRecord] = {}
        self._read_at = -float("inf")
        self._reads = 0
        self._reading = trio.Lock()
        self._outage = False
        self._recovery_seconds = timing.worker_heartbeat
        self._recovered_at = -float("inf")
        self._left_out: dict[str, float] = {}
        self._any_alive = False

    @property
    def recovering(self) -> bool:
        """Whether the store has been away, or the clock been set, until a moment ago.

        Gateways and connections that could not write their heartbeats, or whose records are
        lost or seem old, then appear again one after the other, within a heartbeat of the
        workers.
        """
        return self._outage or (trio.current_time() - self._recovered_at < self._recovery_seconds)

    @property
    def leaves_out(self) -> bool:
        """Whether a gateway is left out just now.

        If it is gone, its workers appear at another one within moments.
        """
        return any(map(self._is_left_out, self._gateways))

    def leave_out(self, gateway_id: str) -> None:
        """Give a gateway that cannot be connected to no requests for a moment.

        A gateway that died is believed to be alive until its heartbeat is old.
        """
        self._left_out[gateway_id] = trio.current_time() + _LEFT_OUT_SECONDS

    def _is_left_out(self, gateway_id: str) -> bool:
        return self._left_out.get(gateway_id, -float("inf")) > trio.current_time()

    def live(self) -> LiveGateways:
        """Return the gateways that may get requests now (Connect protocol, section 5)."""
        live = [gateway for gateway in self._alive() if not self._is_left_out(gateway.id)]
        return LiveGateways(
            tuple(g.id for g in live if g.status is GatewayStatus.ACTIVE),
            tuple(g.id for g in live if g.status is GatewayStatus.DRAINING),
        )

    def _alive(self) -> list[GatewayRecord]:
        oldest_ms = (self._now() - self._longest_silence) * 1000
        return [g for g in self._gateways.values() if g.last_heartbeat_ms >= oldest_ms]

    def address(self, gateway_id: str) -> tuple[str, int] | None:
        """Return host and port of the gateway's RPC, None if it is not in the table."""
        gateway = self._gateways.get(gateway_id)
        return None if gateway is None else _address(gateway)

    def addresses(self) -> frozenset[tuple[str, int]]:
        """Return host and port of the RPC of every gateway in the table."""
        return frozenset(map(_address, self._gateways.values()))

    async def refresh(self) -> None:
        """Read the table; while the store does not tell it, the last one stays."""
        async with self._reading:
            await self._read()

    async def look_again(self) -> None:
        """Read the table as it is now, or a moment later if it was read just before.

        For what a request misses: a gateway that has just started, say. Requests that ask
        at the same time share one read.
        """
        reads = self._reads
        async with self._reading:
            if self._reads == reads:
                await trio.sleep_until(self._read_at + _LOOK_AGAIN_SECONDS)
                await self._read()

    async def run(self) -> None:
        """Read the table again and again; runs until cancelled."""
        while True:
            await trio.sleep(self._interval)
            await self.refresh()

    async def _read(self) -> None:
        self._read_at = trio.current_time()
        self._reads += 1
        try:
            gateways = await self._store.all()
        except ConnectError as error:
            if not self._outage:
                log.warning("gateway table not refreshed", reason=str(error))
            self._outage = True
            return
        if self._outage:
            log.info("gateway table refreshed again")
            self._recovered_at = trio.current_time()
        self._outage = False
        self._gateways = {gateway.id: gateway for gateway in gateways}
        any_alive = bool(self._alive())
        if self._gateways and self._any_alive and not any_alive:
            log.warning("the heartbeats of all gateways are old at once: was the clock set?")
            self._recovered_at = trio.current_time()
        self._any_alive = any_alive
        self._left_out = {
            gateway_id: until
            for gateway_id, until in self._left_out.items()
            if self._is_left_out(gateway_id)
        }


def _address(gateway: GatewayRecord) -> tuple[str, int]:
    return gateway.ip, gateway.grpc_port or DEFAULT_GATEWAY_PORT
