"""Routing with our indexes lost, lacking or wrong: no connection becomes unreachable."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from connect.state.encoding import encode_connection
from connect.state.records import ConnectionRecord, ConnectionStatus
from connect.state.store import Acquired, NoRoute, NoRouteReason
from tests.state.harness import APP, ENV, GROUP, SLUG, TIMING, Harness, group

NONE_HEALTHY = NoRoute(NoRouteReason.NONE_HEALTHY)
ALL_AT_CAPACITY = NoRoute(NoRouteReason.ALL_AT_CAPACITY)
ONLY_DRAINING = NoRoute(NoRouteReason.ONLY_DRAINING)


async def acquired(harness: Harness, request_id: str = "req-1", **changes: object) -> Acquired:
    outcome = await harness.acquire(request_id, **changes)
    assert isinstance(outcome, Acquired)
    return outcome


async def test_newer_group_is_preferred_without_our_indexes_too(harness: Harness) -> None:
    await harness.connect("c-old", group_record=group("old", created_at="2025-08-04T09:00:00Z"))
    await harness.connect("c-new", group_record=group("new", created_at="2025-08-05T09:00:00Z"))
    await drop_indexes(harness)
    counts = Counter([(await acquired(harness, f"r{i}")).connection_id for i in range(300)])
    assert 0 < counts["c-old"] < 60


async def test_every_connection_is_reachable_without_our_indexes(harness: Harness) -> None:
    """The reference gateway writes none of them."""
    for number in range(10):
        await harness.connect(f"c{number}")
    await drop_indexes(harness)
    chosen = {(await acquired(harness, f"r{i}")).connection_id for i in range(200)}
    assert len(chosen) == 10


async def test_connection_without_index_on_a_draining_gateway_is_used(harness: Harness) -> None:
    await harness.connect("c1", gateway_id="gw-2")
    await drop_indexes(harness)
    await acquired(harness, draining_gateways=("gw-2",))


async def test_capacity_of_a_worker_without_index_counts(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await drop_indexes(harness)
    assert (await acquired(harness)).limited
    assert await harness.acquire("other") == ALL_AT_CAPACITY


async def test_connections_without_index_are_asked_for_once(harness: Harness) -> None:
    for number in range(3):
        await harness.connect(f"c{number}")
    await drop_indexes(harness)
    assert await round_trips_of_acquire(harness) == 2
    assert await round_trips_of_acquire(harness) == 1


async def test_many_connections_without_index_are_asked_for_by_and_by(harness: Harness) -> None:
    """Only the last of them is a candidate, and it is found whatever the others are."""
    for number in range(600):
        await harness.connect(f"c{number}", gateway_id="gw-dead")
    await harness.connect("good")
    await drop_indexes(harness)
    for i in range(3):
        assert (await acquired(harness, f"r{i}")).connection_id == "good"


async def test_asking_for_connections_without_index_ends(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(600):
        await harness.connect(f"c{number}", gateway_id="gw-dead")
    await drop_indexes(harness)
    monkeypatch.setattr("connect.state.routing._QUESTIONS", 2)
    assert await harness.acquire() == NONE_HEALTHY


async def test_heartbeat_restores_lost_indexes(harness: Harness) -> None:
    record = await harness.connect("c1", limit=1)
    await drop_indexes(harness)
    await harness.store.connections.refresh(ENV, record)
    assert (await acquired(harness)).limited
    app_groups = harness.keys.app_groups(ENV, APP)
    functions = harness.keys.functions(ENV, GROUP)
    assert await harness.commands.execute("HKEYS", app_groups) == [GROUP.encode()]
    assert await harness.commands.execute("SMEMBERS", functions) == [SLUG.encode()]


async def test_connection_gone_from_the_map_is_removed_from_the_indexes(
    harness: Harness,
) -> None:
    """The reference implementation deletes without touching our indexes."""
    await harness.connect("c1")
    await harness.commands.execute("HDEL", harness.keys.connections(ENV), "c1")
    assert await harness.acquire() == NONE_HEALTHY
    for key in (
        harness.keys.ready(ENV, APP, GROUP, "gw-1"),
        harness.keys.group_gateways(ENV, APP, GROUP),
        harness.keys.app(ENV, APP),
        harness.keys.known(ENV, APP),
        harness.keys.workers(ENV),
        harness.keys.worker_connections(ENV, "worker-c1"),
    ):
        assert await harness.commands.execute("EXISTS", key) == 0


async def test_connection_that_another_took_the_place_of_is_found(harness: Harness) -> None:
    """Their numbers are the same, so only the one that is gone tells of the new one."""
    await harness.connect("c1")
    await write_foreign(harness, harness.connection("c2"))
    for command, key in (
        ("HDEL", harness.keys.connections(ENV)),
        ("SREM", harness.keys.app(ENV, APP)),
    ):
        await harness.commands.execute(command, key, "c1")
    assert (await acquired(harness)).connection_id == "c2"


async def test_connection_lost_from_the_apps_set_is_put_back(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.commands.execute("DEL", harness.keys.app(ENV, APP))
    await acquired(harness)
    assert await harness.commands.execute("SMEMBERS", harness.keys.app(ENV, APP)) == [b"c1"]


async def test_connection_indexed_for_an_app_that_it_left_is_taken_out(harness: Harness) -> None:
    record = await harness.connect("c1")
    await harness.commands.execute("DEL", harness.keys.app(ENV, APP))
    await store_json(harness, "c1", encode_connection(replace(record, synced_groups={})))
    assert await harness.acquire() == NONE_HEALTHY
    assert await harness.commands.execute("EXISTS", harness.keys.known(ENV, APP)) == 0


async def test_listed_connection_of_another_app_is_no_candidate(harness: Harness) -> None:
    await harness.connect("c1", group_record=group(app_id="app-2"))
    await harness.commands.execute("SADD", harness.keys.app(ENV, APP), "c1")
    assert await harness.acquire() == NONE_HEALTHY
    assert await round_trips_of_acquire(harness) == 1


async def test_listed_id_without_connection_is_taken_off_the_list(harness: Harness) -> None:
    await harness.connect("c1")
    app = harness.keys.app(ENV, APP)
    await harness.commands.execute("SADD", app, "gone")
    assert await round_trips_of_acquire(harness) == 1
    assert await harness.commands.execute("SMEMBERS", app) == [b"c1"]


async def test_heartbeat_of_a_foreign_connection_is_noticed(harness: Harness) -> None:
    record = harness.connection("c1")
    await harness.connect("other", gateway_id="gw-dead")
    await write_foreign(harness, record)
    await acquired(harness, "r1")
    for number in range(2, 5):
        harness.now.seconds += 2 * TIMING.worker_heartbeat
        await write_foreign(harness, replace(record, last_heartbeat_ms=harness.now.ms))
        harness.now.seconds += 1
        await acquired(harness, f"r{number}")


async def test_foreign_connection_becomes_a_candidate_within_a_second(harness: Harness) -> None:
    record = harness.connection("c1", status=ConnectionStatus.CONNECTED)
    await harness.connect("other", gateway_id="gw-dead")
    await write_foreign(harness, record)
    assert await harness.acquire() == NONE_HEALTHY
    await write_foreign(harness, replace(record, status=ConnectionStatus.READY))
    harness.now.seconds += 1
    await acquired(harness)


async def test_foreign_connection_without_heartbeats_is_read_less_often(harness: Harness) -> None:
    await harness.connect("other", gateway_id="gw-dead")
    await write_foreign(harness, harness.connection("c1", last_heartbeat_ms=0))
    assert await harness.acquire() == NONE_HEALTHY
    due = await harness.commands.execute("ZSCORE", harness.keys.known(ENV, APP), "c1")
    assert float(due) == harness.now.ms + 60_000


async def test_foreign_connection_that_is_gone_is_dropped_when_its_time_comes(
    harness: Harness,
) -> None:
    await harness.connect("other")
    await write_foreign(harness, harness.connection("c1"))
    await acquired(harness, excluded=("c1",))
    await harness.commands.execute("HDEL", harness.keys.connections(ENV), "c1")
    await harness.commands.execute("SREM", harness.keys.app(ENV, APP), "c1")
    harness.now.seconds += 2 * TIMING.worker_heartbeat + 1
    await harness.store.connections.refresh(ENV, harness.connection("other"))
    await acquired(harness, "r2")
    known = harness.keys.known(ENV, APP)
    assert await harness.commands.execute("ZRANGE", known, 0, -1) == [b"other"]


async def test_request_unassigned_by_others_makes_room(harness: Harness) -> None:
    """The reference implementation does so without touching our indexes."""
    await harness.connect("c1", limit=1)
    await harness.store.capacity.assign(ENV, "worker-c1", "theirs")
    assert await harness.acquire() == ALL_AT_CAPACITY
    await harness.commands.execute("ZREM", harness.keys.requests(ENV, "worker-c1"), "theirs")
    await acquired(harness)


async def test_request_assigned_by_others_takes_room(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    requests = harness.keys.requests(ENV, "worker-c1")
    await harness.commands.execute("ZADD", requests, int(harness.now.seconds) + 60, "theirs")
    assert await harness.acquire() == ALL_AT_CAPACITY


async def test_full_connection_gone_from_the_map_is_dropped(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await harness.store.capacity.assign(ENV, "worker-c1", "other")
    await harness.commands.execute("HDEL", harness.keys.connections(ENV), "c1")
    assert await harness.acquire() == NONE_HEALTHY


async def test_gone_connection_of_a_worker_is_forgotten_when_the_worker_moves(
    harness: Harness,
) -> None:
    for connection_id in ("c1", "c2"):
        await harness.connect(connection_id, limit=1, instance_id="same")
    await harness.commands.execute("HDEL", harness.keys.connections(ENV), "c1")
    await harness.store.capacity.assign(ENV, "same", "other")
    members = await harness.commands.execute(
        "SMEMBERS", harness.keys.worker_connections(ENV, "same")
    )
    assert members == [b"c2"]


async def test_ready_index_is_put_right_where_the_connection_is_not_ready(
    harness: Harness,
) -> None:
    record = replace(await harness.connect("c1"), status=ConnectionStatus.DRAINING)
    await store_json(harness, "c1", encode_connection(record))
    assert await harness.acquire() == ONLY_DRAINING
    ready = harness.keys.ready(ENV, APP, GROUP, "gw-1")
    assert await harness.commands.execute("ZCARD", ready) == 0


async def test_ready_index_is_put_right_where_the_heartbeat_is_older(harness: Harness) -> None:
    await harness.connect("c1", last_heartbeat_ms=1000)
    ready = harness.keys.ready(ENV, APP, GROUP, "gw-1")
    await harness.commands.execute("ZADD", ready, harness.now.ms, "c1")
    assert await harness.acquire() == NONE_HEALTHY
    assert float(await harness.commands.execute("ZSCORE", ready, "c1")) == 1000


@pytest.mark.parametrize(
    "stored",
    [
        "{not json",
        "null",
        "[]",
        json.dumps({"id": "c1", "status": 1, "synced_worker_groups": None}),
        json.dumps({"id": "c1", "status": 1, "gateway_id": None, "last_heartbeat_at": None}),
    ],
)
async def test_unreadable_connection_hides_no_other(harness: Harness, stored: str) -> None:
    await harness.connect("c1")
    await harness.connect("c2")
    await store_json(harness, "c1", stored)
    assert {(await acquired(harness, f"r{i}")).connection_id for i in range(8)} == {"c2"}


async def round_trips_of_acquire(harness: Harness) -> int:
    await harness.acquire("warm-up", app_id="app-none")  # loads the script
    before = harness.store.round_trips
    await harness.acquire(f"r{before}")
    return harness.store.round_trips - before


async def store_json(harness: Harness, connection_id: str, stored: str) -> None:
    await harness.commands.execute("HSET", harness.keys.connections(ENV), connection_id, stored)


async def write_foreign(harness: Harness, record: ConnectionRecord) -> None:
    """Store a connection as the reference implementation does, without our indexes."""
    await store_json(harness, record.id, encode_connection(record))
    for key in (harness.keys.app(ENV, APP), harness.keys.group(ENV, GROUP)):
        await harness.commands.execute("SADD", key, record.id)


async def drop_indexes(harness: Harness) -> None:
    for key in await harness.commands.execute("KEYS", "*:ix:*"):
        await harness.commands.execute("DEL", key)
