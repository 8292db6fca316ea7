"""Whatever happens in whatever order, the store does what the plain model says."""

from dataclasses import replace

import fakeredis
import redis
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from connect.state.collector import collect
from connect.state.encoding import encode_connection, encode_group
from connect.state.keys import Keys
from connect.state.records import (
    AppRecord,
    ConnectionRecord,
    ConnectionStatus,
    LeaseRecord,
)
from connect.state.redis_store import RedisStore
from connect.state.store import (
    Acquired,
    AcquireOutcome,
    AlreadyLeased,
    Buffered,
    ExtendOutcome,
    NoRoute,
)
from tests.state.blocking import BlockingCommands, run
from tests.state.harness import APP, ENV, TIMING, Harness, SettableNow, group, ulid_ms
from tests.state.model import ModelConnection, ModelLease, ModelState
from tests.support.redis_server import RedisServer

SOME = ("r1", "r2", "r3", "r4")
OTHERS = ("r5", "r6", "r7", "r8")
REQUESTS = st.sampled_from(SOME + OTHERS)
CONNECTIONS = st.sampled_from(["c1", "c2", "c3", "c4", "c5"])
FOREIGN = st.sampled_from([1, 2])
GATEWAYS = st.sampled_from(["gw-1", "gw-2"])
LIMITS = {"one": 1, "single": 1, "two": 2, "free": 0}
WORKERS = st.sampled_from(["one", "single", "two", "one", "single", "two", "free"])
GROUPS = {
    "old": group("old", created_at="2025-08-04T09:00:00Z"),
    "new": group("new", created_at="2025-08-05T09:00:00Z"),
    "else": group("else", functions=("shop-other",)),
}
LONG_SECONDS = 61.0  # after which routing has read every foreign connection again
LEASE_SECONDS = 20.0
SERVING = st.sampled_from(["old", "new", "old", "new", "else"])


class StoreMachine(RuleBasedStateMachine):
    """Plays every operation against the store and the model."""

    def __init__(self, commands: BlockingCommands) -> None:
        super().__init__()
        self.now = SettableNow()
        self.commands = commands
        run(commands.execute("FLUSHALL"))
        self.store = RedisStore(commands, now=self.now, timing=TIMING)
        self.harness = Harness(self.store, commands, self.now, Keys())
        self.model = ModelState(TIMING, frozenset({"old", "new"}), now_ms=self.now.ms)
        self.model.active.update(("gw-1", "gw-2"))
        self.held: dict[str, Acquired] = {}
        self.foreign = {1: "f1", 2: "f2"}
        self.register_app()

    def register_app(self) -> None:
        run(self.store.apps.save(ENV, AppRecord(id=APP, name="shop", sync_id="sync-1")))

    # Connections

    @initialize(workers=st.lists(WORKERS, min_size=2, max_size=4), data=st.data())
    def begin(self, workers: list[str], data: st.DataObject) -> None:
        for number, worker in enumerate(workers, 1):
            self.connect(f"c{number}", worker, data.draw(GATEWAYS), data.draw(SERVING))

    @rule(id_=CONNECTIONS, worker=WORKERS, gateway=GATEWAYS, name=SERVING)
    def connect(self, id_: str, worker: str, gateway: str, name: str) -> None:
        record = self.record(id_, worker, gateway, name)
        assert run(self.store.connections.upsert(ENV, record, [GROUPS[name]], fresh=True))
        self.model.deleted.discard(id_)
        self.model.connections[id_] = ModelConnection(record)
        self.set_limit(worker, LIMITS[worker])

    @rule(id_=CONNECTIONS)
    def write_late(self, id_: str) -> None:
        known = self.model.connections.get(id_)
        record = known.record if known else self.record(id_, "two", "gw-1", "old")
        written = run(self.store.connections.upsert(ENV, record, [GROUPS["old"], GROUPS["new"]]))
        assert written == (id_ not in self.model.deleted)
        if written:
            self.model.connections[id_] = ModelConnection(record)

    @rule(id_=CONNECTIONS)
    def heartbeat(self, id_: str) -> None:
        self.refresh(id_, last_heartbeat_ms=self.now.ms)

    @rule(
        id_=CONNECTIONS,
        status=st.sampled_from(
            [ConnectionStatus.READY, ConnectionStatus.DRAINING, ConnectionStatus.DISCONNECTING]
        ),
    )
    def change_status(self, id_: str, status: ConnectionStatus) -> None:
        self.refresh(id_, status=status, last_heartbeat_ms=self.now.ms)

    @rule(id_=CONNECTIONS, late=st.booleans())
    def disconnect(self, id_: str, late: bool = False) -> None:
        deleted = run(self.store.connections.delete(ENV, id_))
        assert deleted == (id_ in self.model.connections)
        self.model.connections.pop(id_, None)
        self.model.deleted.add(id_)
        if late:
            self.heartbeat(id_)
            self.write_late(id_)

    @rule(worker=WORKERS, limit=st.integers(0, 3))
    def change_limit(self, worker: str, limit: int) -> None:
        self.set_limit(worker, max(limit, self.model.load(worker)) if limit else 0)

    # What the reference implementation does

    @rule(number=FOREIGN, worker=WORKERS, gateway=GATEWAYS, status=st.sampled_from([0, 1, 2]))
    def foreign_write(self, number: int, worker: str, gateway: str, status: int) -> None:
        id_ = self.foreign[number]
        known = self.model.connections.get(id_)
        if known:
            record = replace(known.record, last_heartbeat_ms=self.now.ms)
            record = replace(record, status=ConnectionStatus(status))
        else:
            record = self.record(id_, worker, gateway, "old", status=ConnectionStatus(status))
        run(self.commands.execute("HSET", f"{{{ENV}}}:conns", id_, encode_connection(record)))
        stored_group = encode_group(GROUPS["old"])
        run(self.commands.execute("HSETNX", f"{{{ENV}}}:groups", "old", stored_group))
        for key in (f"{{{ENV}}}:app:{APP}", f"{{{ENV}}}:group:old"):
            run(self.commands.execute("SADD", key, id_))
        self.model.connections[id_] = ModelConnection(
            record, foreign=True, settled_at=self.now.ms + int(LONG_SECONDS * 1000)
        )

    @rule(number=FOREIGN)
    def foreign_delete(self, number: int) -> None:
        id_ = self.foreign[number]
        self.foreign[number] += "+"  # a new connection has a new id
        run(self.commands.execute("HDEL", f"{{{ENV}}}:conns", id_))
        for key in (f"{{{ENV}}}:app:{APP}", f"{{{ENV}}}:group:old"):
            run(self.commands.execute("SREM", key, id_))
        self.model.connections.pop(id_, None)

    # Requests

    @rule(requests=st.sampled_from([SOME, OTHERS]))
    def acquire_all(self, requests: tuple[str, ...]) -> None:
        for request in requests:
            self.acquire(request, [])

    @rule(
        seconds=st.sampled_from([0.0, 20.0, 721.0]),
        beat=st.booleans(),
        extend=st.booleans(),
        limits=st.lists(WORKERS, max_size=2),
    )
    def let_full_workers_be(
        self, seconds: float, beat: bool, extend: bool, limits: list[str]
    ) -> None:
        """Fill the workers, let something happen to what they run, fill them again."""
        self.pass_time_with_heartbeats(0.0)
        self.acquire_all(SOME)
        if extend:
            self.extend_all()
        (self.pass_time_with_heartbeats if beat else self.pass_time)(seconds)
        for worker in limits:
            self.set_limit(worker, LIMITS[worker] + 1)
        self.acquire_all(OTHERS)
        if extend:
            self.extend_all()

    def extend_all(self) -> None:
        for request in sorted(self.held.keys() & self.model.leases.keys()):
            lease, held = self.model.leases[request], self.held[request]
            self.extend_lease(request, lease.id, held.instance_id, LEASE_SECONDS)

    @rule()
    def complete_all(self) -> None:
        for request in sorted(self.held):
            self.complete(request)

    @rule(request=REQUESTS, excluded=st.lists(CONNECTIONS, max_size=2, unique=True))
    def acquire(self, request: str, excluded: list[str]) -> None:
        outcome = self.acquire_from_store(request, tuple(excluded))
        if (response := self.model.responses.get(request)) is not None:
            assert outcome == Buffered(response)
        elif self.model.is_live(request):
            assert outcome == AlreadyLeased(self.model.leases[request].id)
        else:
            instance = self.model.mapping.get(request)
            self.check_route(request, tuple(excluded), instance, outcome)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def route_again(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted(self.held)))
        held = self.held[request]
        excluded = (held.connection_id,)
        outcome = self.acquire_from_store(request, excluded, held)
        lease = self.model.leases.get(request)
        if (response := self.model.responses.get(request)) is not None:
            assert outcome == Buffered(response)
        elif lease and lease.id != held.lease_id and self.model.is_live(request):
            assert outcome == AlreadyLeased(lease.id)
        else:
            self.check_route(request, excluded, held.instance_id, outcome)

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), worker=WORKERS, seconds=st.sampled_from([LEASE_SECONDS, 0.0]))
    def extend(self, data: st.DataObject, worker: str, seconds: float) -> None:
        request = data.draw(st.sampled_from(sorted(self.model.leases)))
        lease, held = self.model.leases[request], self.held.get(request)
        given = data.draw(st.sampled_from([lease.id, lease.previous or lease.id]))
        instance = held.instance_id if held else worker
        self.extend_lease(request, given, instance, seconds)

    def extend_lease(self, request: str, given: str, instance: str, seconds: float) -> None:
        lease = self.model.leases[request]
        limited = instance in self.model.limits
        expires = self.now.ms + int(seconds * 1000)
        expected = self.model.extend(request, given, instance, expires)
        result = run(
            self.store.leases.extend(
                ENV,
                request,
                lease_id=given,
                instance_id=instance,
                seconds=seconds,
                limited=limited,
            )
        )
        assert result.outcome is expected
        if expected is ExtendOutcome.EXTENDED:
            assert result.lease_id is not None
            lease.id = result.lease_id
        elif expected is ExtendOutcome.CURRENT:
            assert result.lease_id == lease.id

    @rule(request=REQUESTS)
    def lease(self, request: str) -> None:
        outcome = run(
            self.store.leases.lease(
                ENV, request, executor_host="h", executor_port=1, seconds=LEASE_SECONDS
            )
        )
        if self.model.is_live(request):
            assert outcome == AlreadyLeased(self.model.leases[request].id)
        else:
            assert isinstance(outcome, LeaseRecord)
            self.model.leases[request] = ModelLease(outcome.id, ulid_ms(outcome.id))

    @rule(request=REQUESTS, worker=WORKERS)
    def assign(self, request: str, worker: str) -> None:
        if self.model.mapping.get(request, worker) == worker:
            expected = self.model.assign(worker, request)
            assert run(self.store.capacity.assign(ENV, worker, request)) is expected

    @rule(request=REQUESTS, worker=WORKERS)
    def unassign(self, request: str, worker: str) -> None:
        expected = self.model.unassign(worker, request)
        assert run(self.store.capacity.unassign(ENV, worker, request)) == expected

    @rule(request=REQUESTS, sender=WORKERS | st.just(""), running=st.booleans())
    def save(self, request: str, sender: str, running: bool) -> None:
        response = f"reply {self.store.round_trips}".encode()
        saved = run(
            self.store.responses.save(ENV, request, response, instance_id=sender, running=running)
        )
        expected = self.model.save(request, response, sender, running=running)
        refused = saved.refused.name.lower() if saved.refused else "again"
        assert ("first" if saved.first else refused) == expected

    @rule(request=REQUESTS)
    def complete(self, request: str) -> None:
        held = self.held.pop(request, None)
        self.complete_for(request, held.instance_id if held else None)
        assert run(self.store.leases.get(ENV, request)) is None

    # The world

    @rule(seconds=st.sampled_from([0.5, 5.0, 20.0, 20.001, LONG_SECONDS]))
    def pass_time(self, seconds: float) -> None:
        self.now.seconds += seconds
        self.model.now_ms = self.now.ms

    @rule(seconds=st.sampled_from([1.0, 20.0, LONG_SECONDS, 301.0, 721.0]))
    def pass_time_with_heartbeats(self, seconds: float) -> None:
        self.pass_time(seconds)
        for id_, connection in list(self.model.connections.items()):
            if connection.foreign:
                record = replace(connection.record, last_heartbeat_ms=self.now.ms)
                stored = encode_connection(record)
                run(self.commands.execute("HSET", f"{{{ENV}}}:conns", id_, stored))
                connection.record = record
                if seconds <= LONG_SECONDS:
                    connection.settled_at = self.now.ms + int(LONG_SECONDS * 1000)
            else:
                self.heartbeat(id_)

    @rule(gateway=GATEWAYS, state=st.sampled_from(["active", "active", "draining", "dead"]))
    def change_gateway(self, gateway: str, state: str) -> None:
        self.model.active.discard(gateway)
        self.model.draining.discard(gateway)
        if state != "dead":
            getattr(self.model, state).add(gateway)

    @rule()
    def lose_everything(self) -> None:
        """FLUSHALL; then every connection of ours reappears with its next heartbeat."""
        run(self.commands.execute("FLUSHALL"))
        self.register_app()
        ours = [c.record for c in self.model.connections.values() if not c.foreign]
        self.held.clear()
        for part in ("connections", "deleted", "limits", "requests", "mapping", "leases"):
            getattr(self.model, part).clear()
        self.model.responses.clear()
        self.model.abandoned.clear()
        for lost in ours:
            record = replace(lost, last_heartbeat_ms=self.now.ms)
            groups = [GROUPS[record.synced_groups[APP]]]
            assert not run(self.store.connections.refresh(ENV, record, limited=True))
            assert run(self.store.connections.upsert(ENV, record, groups))
            self.model.connections[record.id] = ModelConnection(record)
            self.set_limit(record.instance_id, LIMITS[record.instance_id])

    # What must always hold

    @invariant()
    def loads_are_right_and_within_limits(self) -> None:
        for worker in LIMITS:
            load = run(self.store.capacity.load(ENV, worker))
            assert load == self.model.load(worker)
            assert load <= self.model.limits.get(worker, load)

    @invariant()
    def leases_are_right(self) -> None:
        for request in [*self.model.leases, "r1"]:
            state = run(self.store.leases.state(ENV, request))
            assert state is self.model.lease_state(request)

    def teardown(self) -> None:
        """Nothing is left once all is over and the garbage is collected."""
        for request, instance in list(self.model.mapping.items()):
            self.complete_for(request, instance)
        for request in list(self.model.leases):
            self.complete_for(request, None)
        self.now.seconds += 1000
        self.model.now_ms = self.now.ms
        for worker in LIMITS:
            assert run(self.store.capacity.load(ENV, worker)) == 0
        for number in self.foreign:
            self.foreign_delete(number)
        for id_ in list(self.model.connections):
            self.disconnect(id_)
        trio.run(self.collect)
        registry = f"{{{ENV}}}:registry:".encode()
        for key in run(self.commands.execute("KEYS", "*")):
            assert key.startswith(registry) or run(self.commands.execute("PTTL", key)) > 0, key

    # Steps of these

    async def collect(self) -> None:
        await collect(self.store, ENV, between_pages=trio.lowlevel.checkpoint)

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
                gateways=tuple(sorted(self.model.active)),
                draining_gateways=tuple(sorted(self.model.draining)),
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
            model.assign(chosen.instance_id, request)
        model.leases[request] = ModelLease(
            outcome.lease_id,
            ulid_ms(outcome.lease_id),
            worker="" if outcome.limited else chosen.instance_id,
        )
        self.held[request] = outcome


def play(client: redis.Redis, examples: int) -> None:
    class Playing(StoreMachine):
        def __init__(self) -> None:
            super().__init__(BlockingCommands(client))

    run_state_machine_as_test(
        Playing, settings=settings(max_examples=examples, stateful_step_count=40)
    )


def test_embedded_store_does_what_the_model_says() -> None:
    play(fakeredis.FakeStrictRedis(protocol=2), 50)


def test_store_on_redis_does_what_the_model_says(shared_server: RedisServer) -> None:
    client = redis.Redis(port=shared_server.port, protocol=2)
    try:
        play(client, 100)
    finally:
        client.close()
