"""Whatever happens in whatever order, the store does what the plain model says."""

from dataclasses import replace
from enum import Enum, auto

import fakeredis
import pytest
import redis
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from connect.settings import KeyLayout
from connect.state.encoding import encode_connection, encode_group
from connect.state.records import (
    ConnectionStatus,
    GatewayStatus,
    LeaseRecord,
)
from connect.state.store import (
    AlreadyLeased,
    Buffered,
    ExtendOutcome,
)
from tests.state.blocking import BlockingCommands, run
from tests.state.harness import APP, ENV, ulid_ms
from tests.state.model import ModelConnection, ModelLease
from tests.state.model_steps import GROUPS, LEASE_SECONDS, ModelSteps
from tests.support.redis_server import RedisServer

SOME = ("r1", "r2", "r3", "r4")
OTHERS = ("r5", "r6", "r7", "r8")
REQUESTS = st.sampled_from(SOME + OTHERS)
CONNECTIONS = st.sampled_from(["c1", "c2", "c3", "c4", "c5"])
FOREIGN = st.sampled_from([1, 2])
GATEWAYS = st.sampled_from(["gw-1", "gw-2"])
LIMITS = {"one": 1, "single": 1, "two": 2, "free": 0}
WORKERS = st.sampled_from(["one", "single", "two", "one", "single", "two", "free"])
LONG_SECONDS = 61.0  # after which routing has read every foreign connection again
NONE: frozenset[str] = frozenset()
SERVING = st.sampled_from(["old", "new", "old", "new", "else"])


class Ending(Enum):
    """How the connections that are left at the end come to it."""

    DELETED = auto()
    DEAD = auto()  # no heartbeats any more
    VANISHED = auto()  # another implementation drops all records, and the registry is lost


class StoreMachine(ModelSteps):
    """Plays every operation against the store and the model."""

    def __init__(self, commands: BlockingCommands, layout: KeyLayout) -> None:
        super().__init__(commands, layout)
        self.ending = Ending.DELETED
        self.foreign = {1: "f1", 2: "f2"}

    # Connections

    @initialize(
        workers=st.lists(WORKERS, min_size=2, max_size=4),
        ending=st.sampled_from(Ending),
        data=st.data(),
    )
    def begin(self, workers: list[str], ending: Ending, data: st.DataObject) -> None:
        self.ending = ending
        for gateway in ("gw-1", "gw-2"):
            self.change_gateway(gateway, "active")
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
        stored, stored_group = encode_connection(record), encode_group(GROUPS["old"])
        run(self.commands.execute("HSET", self.keys.connections(ENV), id_, stored))
        run(self.commands.execute("HSETNX", self.keys.groups(ENV), "old", stored_group))
        for key in (self.keys.app(ENV, APP), self.keys.group(ENV, "old")):
            run(self.commands.execute("SADD", key, id_))
        self.model.connections[id_] = ModelConnection(
            record, foreign=True, settled_at=self.now.ms + int(LONG_SECONDS * 1000)
        )

    @rule(number=FOREIGN)
    def foreign_delete(self, number: int) -> None:
        id_ = self.foreign[number]
        self.foreign[number] += "+"  # a new connection has a new id
        run(self.commands.execute("HDEL", self.keys.connections(ENV), id_))
        for key in (self.keys.app(ENV, APP), self.keys.group(ENV, "old")):
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
        for id_, gateway in self.model.gateways.items():
            if gateway.beats:
                self.store_gateway(id_, gateway.status)

    @rule(seconds=st.sampled_from([1.0, 20.0, LONG_SECONDS, 301.0, 721.0]))
    def pass_time_with_heartbeats(self, seconds: float, silent: frozenset[str] = NONE) -> None:
        self.pass_time(seconds)
        for id_, connection in list(self.model.connections.items()):
            if id_ in silent:
                continue
            if connection.foreign:
                record = replace(connection.record, last_heartbeat_ms=self.now.ms)
                stored = encode_connection(record)
                run(self.commands.execute("HSET", self.keys.connections(ENV), id_, stored))
                connection.record = record
                if seconds <= LONG_SECONDS:
                    connection.settled_at = self.now.ms + int(LONG_SECONDS * 1000)
            else:
                self.heartbeat(id_)

    @rule(
        gateway=GATEWAYS,
        state=st.sampled_from(["active", "active", "active", "draining", "dead", "gone"]),
    )
    def change_gateway(self, gateway: str, state: str) -> None:
        """A dead gateway stays in the table; one that stops takes itself out of it."""
        if state == "gone":
            run(self.store.gateways.delete(gateway))
            self.model.gateways.pop(gateway, None)
        elif state != "dead":
            self.store_gateway(gateway, GatewayStatus(state))
        elif gateway in self.model.gateways:
            self.model.gateways[gateway].beats = False

    @rule(
        silent=st.frozensets(CONNECTIONS),
        silent_foreign=st.frozensets(FOREIGN),
        seconds=st.sampled_from([0.0, 299.0, 301.0]),
    )
    def collect_garbage(
        self, silent: frozenset[str], silent_foreign: frozenset[int], seconds: float
    ) -> None:
        """Let some connections die, and gateways that are dead, and collect the garbage."""
        foreign = {self.foreign[number] for number in silent_foreign}
        self.pass_time_with_heartbeats(seconds, silent | foreign)
        trio.run(self.collect)
        self.model.collect()
        stored = run(self.store.connections.all(ENV))
        assert {record.id for record in stored} == self.model.connections.keys()
        gateways = run(self.store.gateways.all())
        assert {gateway.id for gateway in gateways} == self.model.gateways.keys()

    @rule()
    def lose_everything(self) -> None:
        """FLUSHALL; then every connection of ours reappears with its next heartbeat."""
        run(self.commands.execute("FLUSHALL"))
        self.register_app()
        for id_, gateway in list(self.model.gateways.items()):
            del self.model.gateways[id_]
            if gateway.beats:
                self.store_gateway(id_, gateway.status)
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
        """Nothing is left once all is over, however it ends, and the garbage is collected."""
        for request, instance in list(self.model.mapping.items()):
            self.complete_for(request, instance)
        for request in list(self.model.leases):
            self.complete_for(request, None)
        for worker in LIMITS:  # nothing has expired meanwhile
            assert run(self.store.capacity.load(ENV, worker)) == 0
        if self.ending is not Ending.DEAD:
            for number in self.foreign:
                self.foreign_delete(number)
        if self.ending is Ending.DELETED:
            for id_ in list(self.model.connections):
                self.disconnect(id_)
        elif self.ending is Ending.VANISHED:
            run(self.commands.execute("DEL", self.keys.connections(ENV)))
            run(self.commands.execute("DEL", self.keys.groups(ENV)))
            run(self.commands.execute("DEL", self.keys.apps(ENV)))
        self.now.seconds += 1000
        trio.run(self.collect)
        registry = f"{{{ENV}}}:registry:".encode()
        for key in run(self.commands.execute("KEYS", "*")):
            assert key.startswith(registry) or run(self.commands.execute("PTTL", key)) > 0, key


def play(client: redis.Redis, layout: KeyLayout, examples: int) -> None:
    class Playing(StoreMachine):
        def __init__(self) -> None:
            super().__init__(BlockingCommands(client), layout)

    run_state_machine_as_test(
        Playing, settings=settings(max_examples=examples, stateful_step_count=40)
    )


@pytest.mark.parametrize("layout", KeyLayout)
def test_embedded_store_does_what_the_model_says(layout: KeyLayout) -> None:
    play(fakeredis.FakeStrictRedis(protocol=2), layout, 40)


@pytest.mark.parametrize("layout", KeyLayout)
def test_store_on_redis_does_what_the_model_says(
    shared_server: RedisServer, layout: KeyLayout
) -> None:
    client = redis.Redis(port=shared_server.port, protocol=2)
    try:
        play(client, layout, 100)
    finally:
        client.close()
