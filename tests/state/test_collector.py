"""Garbage collection: what goes, what stays, and what a heartbeat saves."""

import json
from dataclasses import replace
from typing import Any

import pytest
import trio

from connect.errors import StoreUnavailable
from connect.state.collector import CollectionReport, collect
from connect.state.commands import Commands, Script
from connect.state.election import Election
from connect.state.encoding import encode_connection, encode_group
from connect.state.records import (
    AppRecord,
    ConnectionStatus,
    GatewayRecord,
    GatewayStatus,
)
from connect.state.redis_store import RedisStore
from connect.state.store import Acquired, NoRoute
from tests.state.harness import APP, ENV, GROUP, TIMING, Harness, group

OLD = TIMING.garbage_after + 1


def gateway(harness: Harness, gateway_id: str) -> GatewayRecord:
    return GatewayRecord(
        id=gateway_id,
        status=GatewayStatus.ACTIVE,
        last_heartbeat_ms=harness.now.ms,
        hostname="host",
        ip="10.0.0.1",
    )


async def leftovers(harness: Harness) -> list[str]:
    """Return the names of all keys of the environment that have no lifetime."""
    keys = await harness.commands.execute("KEYS", f"{{{ENV}}}:*")
    return sorted([key.decode() for key in keys if await harness.ttl(key.decode()) < 0])


def counts(report: CollectionReport) -> tuple[int, int, int, int]:
    return report.connections, report.groups, report.index_entries, report.bad_records


async def test_a_connection_without_heartbeats_is_removed_with_all_its_indexes(
    harness: Harness,
) -> None:
    await harness.connect("c1", limit=3)
    await harness.connect("c2", status=ConnectionStatus.DRAINING)
    harness.now.seconds += OLD
    report = await collect(harness.store, ENV)
    assert counts(report)[:2] == (2, 0)
    assert await leftovers(harness) == []


async def test_a_connection_that_beats_stays_routable(harness: Harness) -> None:
    record = await harness.connect("c1")
    await harness.connect("c2")
    harness.now.seconds += OLD
    await harness.store.connections.refresh(ENV, replace(record, last_heartbeat_ms=harness.now.ms))
    report = await collect(harness.store, ENV)
    assert report.connections == 1
    outcome = await harness.acquire()
    assert getattr(outcome, "connection_id", None) == "c1"


async def test_a_pass_over_a_healthy_store_changes_nothing(harness: Harness) -> None:
    for number in range(5):
        await harness.connect(f"c{number}", limit=number)
    before = await leftovers(harness)
    report = await collect(harness.store, ENV)
    assert counts(report) == (0, 0, 0, 0)
    assert await leftovers(harness) == before


async def test_a_heartbeat_that_comes_during_the_pass_saves_the_connection(
    harness: Harness,
) -> None:
    record = await harness.connect("c1")
    harness.now.seconds += OLD
    late = LateHeartbeat(harness.commands)
    store = RedisStore(late, now=harness.now, timing=TIMING, layout=harness.keys.layout)

    async def beat() -> None:
        await harness.store.connections.refresh(
            ENV, replace(record, last_heartbeat_ms=harness.now.ms)
        )

    late.before_removal = beat
    report = await collect(store, ENV)
    assert report.connections == 0
    assert await harness.store.connections.get(ENV, "c1") is not None


class LateHeartbeat:
    """Commands that let something happen just before a connection is removed."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self.execute = commands.execute
        self.before_removal = trio.lowlevel.checkpoint

    @property
    def round_trips(self) -> int:
        return self._commands.round_trips

    @property
    def unreachable_since(self) -> float | None:
        return self._commands.unreachable_since

    async def run(self, script: Script, keys: object, args: object = ()) -> object:
        if script.name == "collect_connection":
            await self.before_removal()
        return await self._commands.run(script, keys, args)  # type: ignore[arg-type] # passed on


async def test_a_collected_connection_that_lives_after_all_can_come_back(
    harness: Harness,
) -> None:
    record = await harness.connect("c1")
    harness.now.seconds += OLD
    await collect(harness.store, ENV)
    alive = replace(record, last_heartbeat_ms=harness.now.ms)
    assert await harness.store.connections.upsert(ENV, alive, [group()])
    assert getattr(await harness.acquire(), "connection_id", None) == "c1"


async def test_a_group_keeps_its_time_of_creation_when_it_is_collected_and_comes_back(
    harness: Harness,
) -> None:
    await harness.connect("c1")
    harness.now.seconds += OLD
    await collect(harness.store, ENV)
    await harness.connect("c2", group_record=group(created_at="2030-01-01T00:00:00Z"))
    stored = await harness.store.connections.group(ENV, GROUP)
    assert stored is not None
    assert stored.created_at == group().created_at


async def test_dead_gateways_are_removed_and_live_ones_stay(harness: Harness) -> None:
    await harness.store.gateways.upsert(gateway(harness, "dead"))
    harness.now.seconds += OLD
    await harness.store.gateways.upsert(gateway(harness, "alive"))
    await harness.commands.execute("HSET", harness.keys.gateways(), "bad", "{")
    report = await collect(harness.store, ENV)
    assert (report.gateways, report.bad_ids) == (1, ["gateway bad"])
    assert [g.id for g in await harness.store.gateways.all()] == ["alive"]


async def test_a_bad_record_is_reported_and_taken_out_of_indexes_only(harness: Harness) -> None:
    await harness.connect("good")
    bad = await harness.connect("bad")
    await harness.commands.execute("HSET", harness.keys.connections(ENV), "bad", "{ not JSON")
    report = await collect(harness.store, ENV)
    assert (report.connections, report.bad_ids) == (0, ["connection bad"])
    assert report.index_entries >= 4  # group, app, place and worker
    assert [c.id for c in await harness.store.connections.of_group(ENV, GROUP)] == ["good"]
    stored = await harness.commands.execute("HGET", harness.keys.connections(ENV), "bad")
    assert stored == b"{ not JSON"
    again = await collect(harness.store, ENV)
    assert (again.index_entries, again.bad_records) == (0, 1)
    assert bad.id == "bad"


@pytest.mark.parametrize("escape", ["\\ud800", "\\uDFFF"])
async def test_a_record_with_half_a_surrogate_pair_in_it_is_bad(
    harness: Harness, escape: str
) -> None:
    stored = encode_connection(harness.connection("c1")).replace(APP, escape)
    await harness.commands.execute("HSET", harness.keys.connections(ENV), "c1", stored)
    assert (await collect(harness.store, ENV)).bad_ids == ["connection c1"]


async def test_a_record_with_an_unknown_status_is_bad_while_it_beats_and_garbage_after(
    harness: Harness,
) -> None:
    record = await harness.connect("c1")
    key = harness.keys.connections(ENV)
    fields = json.loads(await harness.commands.execute("HGET", key, record.id))
    await harness.commands.execute("HSET", key, "c1", json.dumps(fields | {"status": 77}))
    assert (await collect(harness.store, ENV)).bad_records == 1
    harness.now.seconds += OLD
    assert (await collect(harness.store, ENV)).connections == 1


async def test_what_stands_for_connections_that_are_gone_is_removed(harness: Harness) -> None:
    for number in range(4):
        await harness.connect(f"c{number}", limit=1)
    # As another implementation deletes them, which knows nothing of our indexes.
    await harness.commands.execute("HDEL", harness.keys.connections(ENV), "c0", "c1", "c2", "c3")
    report = await collect(harness.store, ENV)
    assert (report.connections, report.groups) == (0, 1)
    assert report.index_entries >= 16
    assert await leftovers(harness) == []


async def test_full_workers_whose_connections_are_gone_are_forgotten(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await harness.acquire("req-1")
    await harness.acquire("req-2")  # finds the worker full
    await harness.commands.execute("HDEL", harness.keys.connections(ENV), "c1")
    harness.now.seconds += TIMING.request_worker + OLD
    await collect(harness.store, ENV)
    assert await leftovers(harness) == []


async def test_a_group_that_no_connection_is_in_is_removed(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.commands.execute(
        "HSET", harness.keys.groups(ENV), "empty",
        await harness.commands.execute("HGET", harness.keys.groups(ENV), GROUP),
    )  # fmt: skip
    await harness.commands.execute("HSET", harness.keys.app_groups(ENV, APP), "unknown", "x")
    report = await collect(harness.store, ENV)
    assert report.groups == 2
    assert [g.hash for g in await harness.store.connections.groups(ENV)] == [GROUP]
    assert await harness.commands.execute("HKEYS", harness.keys.app_groups(ENV, APP)) == [
        GROUP.encode()
    ]


async def test_a_bad_group_is_reported_and_stays(harness: Harness) -> None:
    await harness.commands.execute("HSET", harness.keys.groups(ENV), "g1", "[]")
    report = await collect(harness.store, ENV)
    assert (report.groups, report.bad_ids) == (0, ["group g1"])
    assert await harness.commands.execute("HEXISTS", harness.keys.groups(ENV), "g1") == 1


async def test_indexes_of_registered_apps_are_looked_through_though_no_group_is_left(
    harness: Harness,
) -> None:
    await harness.store.apps.save(ENV, AppRecord(id=APP, name="shop", sync_id="s"))
    await harness.commands.execute("SADD", harness.keys.app(ENV, APP), "gone")
    report = await collect(harness.store, ENV)
    assert report.index_entries == 1
    assert await harness.store.apps.get(ENV, APP) is not None


async def write_foreign(harness: Harness, connection_id: str, **changes: Any) -> None:
    """Store a connection and its group as another implementation does, without our indexes."""
    record = harness.connection(connection_id, **changes)
    keys = harness.keys
    for command, key, *values in (
        ("HSET", keys.connections(ENV), record.id, encode_connection(record)),
        ("HSET", keys.groups(ENV), GROUP, encode_group(group())),
        ("SADD", keys.app(ENV, APP), record.id),
        ("SADD", keys.group(ENV, GROUP), record.id),
    ):
        await harness.commands.execute(command, key, *values)


async def remove_records(harness: Harness, *more: str) -> None:
    """Delete connections and groups, and more keys, as another implementation does."""
    keys = harness.keys
    await harness.commands.execute("DEL", keys.connections(ENV))
    await harness.commands.execute("DEL", keys.groups(ENV))
    for key in more:
        await harness.commands.execute("DEL", key)


@pytest.mark.parametrize("limit", [0, 1])
async def test_indexes_of_a_foreign_app_are_found_when_nothing_else_is_left_of_it(
    harness: Harness, limit: int
) -> None:
    await write_foreign(harness, "c1")
    await harness.store.capacity.set_limit(ENV, "worker-c1", limit)
    assert isinstance(await harness.acquire(), Acquired)
    await remove_records(harness, harness.keys.app(ENV, APP), harness.keys.group(ENV, GROUP))
    await harness.store.routing.complete(ENV, "req-1", "worker-c1")
    await collect(harness.store, ENV)
    assert await leftovers(harness) == []


@pytest.mark.parametrize("synced", [{APP: GROUP}, {}])
async def test_lists_of_ours_are_found_without_the_records_of_what_they_list(
    harness: Harness, synced: dict[str, str]
) -> None:
    await harness.connect("c1", limit=1, synced_groups=synced)
    await remove_records(harness)
    await collect(harness.store, ENV)
    assert await leftovers(harness) == []


async def test_places_of_a_group_that_never_had_a_record_are_found(harness: Harness) -> None:
    await write_foreign(harness, "c1")
    await harness.commands.execute("DEL", harness.keys.groups(ENV))
    assert isinstance(await harness.acquire(), NoRoute)
    await remove_records(harness, harness.keys.app(ENV, APP), harness.keys.group(ENV, GROUP))
    await collect(harness.store, ENV)
    assert await leftovers(harness) == []


async def test_listed_connection_of_another_app_leaves_no_index_behind(harness: Harness) -> None:
    await write_foreign(harness, "c1", synced_groups={"app-2": GROUP})
    assert isinstance(await harness.acquire(), NoRoute)
    await remove_records(harness, harness.keys.app(ENV, APP), harness.keys.group(ENV, GROUP))
    await collect(harness.store, ENV)
    assert await leftovers(harness) == []


async def test_connection_of_another_worker_than_before_leaves_nothing_behind(
    harness: Harness,
) -> None:
    record = await harness.connect("c1", limit=1)
    moved = replace(record, instance_id="worker-else")
    assert await harness.store.connections.refresh(ENV, moved)
    await harness.store.connections.delete(ENV, "c1")
    assert await leftovers(harness) == []


async def test_places_of_a_gateway_whose_id_is_no_text_are_looked_through(
    harness: Harness,
) -> None:
    await harness.connect("c1")
    place = harness.keys.ready(ENV, APP, GROUP, "gw-").encode() + b"\xff"
    await harness.commands.execute("ZADD", place, harness.now.ms, "gone")
    listed = harness.keys.group_gateways(ENV, APP, GROUP)
    await harness.commands.execute("SADD", listed, b"gw-\xff")
    report = await collect(harness.store, ENV)
    assert report.index_entries == 1
    assert await harness.commands.execute("SMEMBERS", listed) == [b"gw-1"]


async def test_a_gateway_that_is_listed_for_no_place_is_taken_off_the_list(
    harness: Harness,
) -> None:
    await harness.connect("c1")
    listed = harness.keys.group_gateways(ENV, APP, GROUP)
    await harness.commands.execute("SADD", listed, b"\xff", "gone")
    await collect(harness.store, ENV)
    assert await harness.commands.execute("SMEMBERS", listed) == [b"gw-1"]


async def test_what_others_list_for_an_app_that_nobody_routed_to_stays(harness: Harness) -> None:
    """Their index comes before their record, maybe."""
    keys = [harness.keys.app(ENV, "app-2"), harness.keys.group(ENV, "theirs")]
    for key in keys:
        await harness.commands.execute("SADD", key, "c9")
    assert counts(await collect(harness.store, ENV)) == (0, 0, 0, 0)
    assert await leftovers(harness) == sorted(keys)


async def test_an_indexed_app_is_listed_as_long_as_it_has_an_index(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.connect("c2", group_record=group("else", app_id="app-2", functions=("other",)))
    listed = []
    for connection_id in ("c1", "c2"):
        apps = await harness.commands.execute("SMEMBERS", harness.keys.indexed_apps(ENV))
        listed.append(sorted(apps))
        await collect(harness.store, ENV)
        await harness.store.connections.delete(ENV, connection_id)
    assert listed == [[b"app-1", b"app-2"], [b"app-2"]]
    assert await leftovers(harness) == []


async def test_only_some_bad_ids_are_reported(harness: Harness) -> None:
    for number in range(25):
        await harness.commands.execute("HSET", harness.keys.connections(ENV), f"c{number}", "x")
    report = await collect(harness.store, ENV)
    assert (report.bad_records, len(report.bad_ids)) == (25, 10)


async def test_many_connections_are_collected_in_pages_with_pauses(harness: Harness) -> None:
    for number in range(700):
        await harness.connect(f"c{number}")
    harness.now.seconds += OLD
    pauses = 0

    async def between_pages() -> None:
        nonlocal pauses
        pauses += 1
        await trio.lowlevel.checkpoint()

    report = await collect(harness.store, ENV, between_pages=between_pages)
    assert report.connections == 700
    assert pauses > 0
    assert await leftovers(harness) == []


async def test_what_the_pause_raises_ends_the_pass(harness: Harness) -> None:
    for number in range(600):
        await harness.commands.execute("HSET", harness.keys.connections(ENV), f"c{number}", "x")

    async def between_pages() -> None:
        raise StoreUnavailable("ended by the test")

    with pytest.raises(StoreUnavailable):
        await collect(harness.store, ENV, between_pages=between_pages)


async def test_a_pass_that_is_cut_off_is_finished_by_the_next(harness: Harness) -> None:
    for number in range(50):
        await harness.connect(f"c{number}")
    harness.now.seconds += OLD
    late = LateHeartbeat(harness.commands)
    with trio.CancelScope() as scope:
        removals = 0

        async def cut_off() -> None:
            nonlocal removals
            removals += 1
            if removals == 20:
                scope.cancel()
            await trio.lowlevel.checkpoint()

        late.before_removal = cut_off
        layout = harness.keys.layout
        await collect(RedisStore(late, now=harness.now, timing=TIMING, layout=layout), ENV)
    assert scope.cancelled_caught
    report = await collect(harness.store, ENV)
    assert report.connections == 31
    assert await leftovers(harness) == []


async def test_one_candidate_is_elected(harness: Harness) -> None:
    first = Election(harness.store, ENV, owner="first", seconds=60)
    second = Election(harness.store, ENV, owner="second", seconds=60)
    assert (await first.stand(), await second.stand()) == (True, False)
    assert (await first.keep(), await second.keep()) == (True, False)


async def test_the_office_lasts_as_long_as_it_is_kept_for(harness: Harness) -> None:
    office = Election(harness.store, ENV, owner="first", seconds=60)
    key = f"{harness.keys.index_prefix(ENV)}collector"
    await office.stand()
    assert 55 < await harness.ttl(key) <= 60
    assert await office.keep(1800)
    assert 1700 < await harness.ttl(key) <= 1800
    await harness.commands.execute("DEL", key)
    assert not await office.keep()
    assert await Election(harness.store, ENV, owner="second", seconds=60).stand()
