"""The steps of the model test: each is taken by the store and by the model, and compared."""

from dataclasses import replace

import trio
from hypothesis.stateful import RuleBasedStateMachine

from connect.settings import KeyLayout
from connect.state.collector import collect
from connect.state.keys import Keys
from connect.state.records import (
    AppRecord,
    ConnectionRecord,
    ConnectionStatus,
    GatewayRecord,
    GatewayStatus,
)
from connect.state.redis_store import RedisStore
from connect.state.store import Acquired, AcquireOutcome, NoRoute
from tests.state.blocking import BlockingCommands, run
from tests.state.harness import APP, ENV, TIMING, Harness, SettableNow, group, ulid_ms
from tests.state.model import ModelGateway, ModelLease, ModelState

__all__ = ["GROUPS", "LEASE_SECONDS", "ModelSteps"]

GROUPS = {
    "old": group("old", created_at="2025-08-04T09:00:00Z"),
    "new": group("new", created_at="2025-08-05T09:00:00Z"),
    "else": group("else", functions=("shop-other",)),
}
LEASE_SECONDS = 20.0


class ModelSteps(RuleBasedStateMachine):
    """A store and its model, and what is done to both.

    Attributes:
        held: what routing answered last, by request.
    """

    def __init__(self, commands: BlockingCommands, layout: KeyLayout) -> None:
        super().__init__()
        self.now = SettableNow()
        self.commands = commands
        run(commands.execute("FLUSHALL"))
        self.store = RedisStore(commands, now=self.now, timing=TIMING, layout=layout)
        self.keys = Keys(layout)
        self.harness = Harness(self.store, commands, self.now, self.keys)
        self.model = ModelState(TIMING, frozenset({"old", "new"}), now_ms=self.now.ms)
        self.held: dict[str, Acquired] = {}
        self.register_app()

    def register_app(self) -> None:
        run(self.store.apps.save(ENV, AppRecord(id=APP, name="shop", sync_id="sync-1")))

    async def collect(self) -> None:
        await collect(self.store, ENV, between_pages=trio.lowlevel.checkpoint)

    def store_gateway(self, gateway_id: str, status: GatewayStatus) -> None:
        """Have a gateway write its heartbeat."""
        record = GatewayRecord(
            id=gateway_id,
            status=status,
            last_heartbeat_ms=self.now.ms,
            hostname="host",
            ip="10.0.0.1",
        )
        run(self.store.gateways.upsert(record))
        self.model.gateways[gateway_id] = ModelGateway(status, self.now.ms)

    def live_gateways(self, status: GatewayStatus) -> tuple[str, ...]:
        """Read the table as an executor does."""
        oldest = self.now.ms - int(2 * TIMING.gateway_heartbeat * 1000)
        return tuple(
            gateway.id
            for gateway in run(self.store.gateways.all())
            if gateway.status is status and gateway.last_heartbeat_ms >= oldest
        )

    def record(
        self,
        id_: str,
        worker: str,
        gateway: str,
        name: str,
        status: ConnectionStatus = ConnectionStatus.READY,
    ) -> ConnectionRecord:
        return self.harness.connection(
            id_,
            instance_id=worker,
            gateway_id=gateway,
            groups={"shop": name},
            synced_groups={APP: name},
            status=status,
        )

    def set_limit(self, worker: str, limit: int) -> None:
        limit = max(limit, self.model.load(worker)) if limit else 0
        run(self.store.capacity.set_limit(ENV, worker, limit))
        if limit:
            self.model.limits[worker] = limit
        else:
            self.model.limits.pop(worker, None)

    def refresh(self, id_: str, **changes: object) -> None:
        connection = self.model.connections.get(id_)
        known = connection.record if connection else self.record(id_, "two", "gw-1", "old")
        record = replace(known, **changes)  # type: ignore[arg-type] # named by the rules
        refreshed = run(self.store.connections.refresh(ENV, record, limited=True))
        assert refreshed == (connection is not None)
        if connection:
            connection.record = record
            assert run(self.store.connections.get(ENV, id_)) == record

    def complete_for(self, request: str, instance: str | None) -> None:
        run(self.store.routing.complete(ENV, request, instance))
        self.model.complete(request, instance)

    def acquire_from_store(
        self, request: str, excluded: tuple[str, ...], held: Acquired | None = None
    ) -> AcquireOutcome:
        return run(
            self.harness.acquire(
                request,
                gateways=self.live_gateways(GatewayStatus.ACTIVE),
                draining_gateways=self.live_gateways(GatewayStatus.DRAINING),
                excluded=excluded,
                held_lease=held and held.lease_id,
                held_instance=held and held.instance_id,
                lease_seconds=LEASE_SECONDS,
            )
        )

    def check_route(
        self,
        request: str,
        excluded: tuple[str, ...],
        instance: str | None,
        outcome: AcquireOutcome,
    ) -> None:
        model = self.model
        if instance is not None:
            model.unassign(instance, request)
        candidates = model.candidates(APP, request, excluded)
        if isinstance(outcome, NoRoute):
            assert not any(model.is_sure(model.connections[id_]) for id_ in candidates)
            if model.all_sure():
                assert outcome.reason is model.reason(APP, request, excluded)
            return
        assert isinstance(outcome, Acquired)
        chosen = model.connections[outcome.connection_id].record
        if model.all_sure():
            assert outcome.connection_id in candidates
        assert outcome.connection_id not in excluded
        assert chosen.status is ConnectionStatus.READY
        assert (outcome.instance_id, outcome.gateway_id, outcome.app_name) == (
            chosen.instance_id,
            chosen.gateway_id,
            "shop",
        )
        assert outcome.limited == (chosen.instance_id in model.limits)
        if outcome.limited:
            assert model.has_room(chosen.instance_id, request)
            model.place(chosen.instance_id, request, ulid_ms(outcome.lease_id))
        model.leases[request] = ModelLease(
            outcome.lease_id,
            ulid_ms(outcome.lease_id),
            worker="" if outcome.limited else chosen.instance_id,
        )
        self.held[request] = outcome
