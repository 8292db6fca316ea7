"""Heartbeats: a small write that touches status and time of a connection, nothing else."""

import json
from dataclasses import replace
from typing import Any

import pytest

from connect.state.records import ConnectionRecord, ConnectionStatus, WorkerAttributes
from tests.state.harness import APP, ENV, GROUP, TIMING, Harness, group

# As Go's encoder orders the fields, with one that we don't know.
GO_RECORD = (
    '{"id":"c1","gateway_id":"gw-1","instance_id":"worker-c1",'
    '"all_worker_groups":{"shop":"hash-1"},"synced_worker_groups":{"app-1":"hash-1"},'
    '"status":1,"last_heartbeat_at":{"seconds":1754299990,"nanos":123456789},'
    '"sdk_language":"js","sdk_version":"3.1.4",'
    '"attributes":{"cpu_cores":8,"mem_bytes":9007199254740991,"os":"linux \\u003c\\"}{\\\\"},'
    '"theirs":[1e400,0.10,9223372036854775807,{"status":7,"last_heartbeat_at":[]},null,true]}'
)


async def store(harness: Harness, stored: str) -> ConnectionRecord:
    """Put JSON in the place of a connection, and return the connection with a heartbeat."""
    record = await harness.connect("c1")
    await harness.commands.execute("HSET", harness.keys.connections(ENV), "c1", stored)
    harness.now.seconds += 1.25
    return replace(record, last_heartbeat_ms=harness.now.ms)


async def stored(harness: Harness) -> str:
    value: bytes = await harness.commands.execute("HGET", harness.keys.connections(ENV), "c1")
    return value.decode()


async def refresh(harness: Harness, record: ConnectionRecord, **options: bool) -> bool:
    return await harness.store.connections.refresh(ENV, record, **options)


async def test_refresh_changes_status_and_time_in_their_places(harness: Harness) -> None:
    record = await store(harness, GO_RECORD)
    assert await refresh(harness, replace(record, status=ConnectionStatus.DRAINING))
    assert await stored(harness) == GO_RECORD.replace('"status":1,', '"status":2,').replace(
        '{"seconds":1754299990,"nanos":123456789}', '{"seconds":1754300001,"nanos":250000000}'
    )


async def test_refresh_leaves_out_a_status_of_zero(harness: Harness) -> None:
    record = await store(harness, GO_RECORD)
    await refresh(harness, replace(record, status=ConnectionStatus.CONNECTED))
    fields = json.loads(await stored(harness))
    assert "status" not in fields
    assert fields["theirs"][3] == {"status": 7, "last_heartbeat_at": []}


async def test_refresh_adds_what_was_left_out(harness: Harness) -> None:
    record = await store(harness, '{"id":"c1"}')
    await refresh(harness, record)
    assert await stored(harness) == (
        '{"id":"c1","status":1,"last_heartbeat_at":{"seconds":1754300001,"nanos":250000000}}'
    )


async def test_refresh_leaves_out_a_heartbeat_that_never_was(harness: Harness) -> None:
    record = await store(harness, '{"last_heartbeat_at":{"seconds":7},"id":"c1"}')
    await refresh(harness, replace(record, last_heartbeat_ms=0))
    assert await stored(harness) == '{"id":"c1","status":1}'


async def test_refresh_reads_json_with_spaces(harness: Harness) -> None:
    spaced = ' { "status" : 1 , "id" : "c1" , "list" : [ 1 , "]" ] , "last" : false } '
    record = await store(harness, spaced)
    await refresh(harness, record)
    assert json.loads(await stored(harness)) == {
        "id": "c1",
        "status": 1,
        "list": [1, "]"],
        "last": False,
        "last_heartbeat_at": {"seconds": 1_754_300_001, "nanos": 250_000_000},
    }


async def test_refresh_keeps_one_of_fields_that_are_there_twice(harness: Harness) -> None:
    record = await store(harness, '{"status":2,"id":"c1","status":3}')
    await refresh(harness, replace(record, last_heartbeat_ms=0))
    assert await stored(harness) == '{"status":1,"id":"c1"}'


@pytest.mark.parametrize("broken", ["{not json", "7", "[]", "{}", '{"status":1}'])
async def test_refresh_of_a_record_that_cannot_be_read_says_so(
    harness: Harness, broken: str
) -> None:
    record = await store(harness, broken)
    assert not await refresh(harness, record)
    assert await stored(harness) == broken


async def test_refresh_keeps_what_the_argument_says_otherwise(harness: Harness) -> None:
    attributes = WorkerAttributes(cpu_cores=8, mem_bytes=2**53 - 1, os="linux")
    record = await harness.connect("c1", attributes=attributes, sdk_version="1.0")
    await refresh(harness, replace(record, sdk_version="2.0", attributes=WorkerAttributes()))
    assert await harness.store.connections.get(ENV, "c1") == record


async def test_refresh_takes_one_round_trip(harness: Harness) -> None:
    record = await harness.connect("c1", limit=1)
    await refresh(harness, record, limited=True)
    before = harness.store.round_trips
    await refresh(harness, record, limited=True)
    assert harness.store.round_trips - before == 1


@pytest.mark.parametrize(("limited", "seconds"), [(True, TIMING.capacity), (False, 5.0)])
async def test_refresh_keeps_the_capacity_of_limited_workers_alive(
    harness: Harness, limited: bool, seconds: float
) -> None:
    record = await harness.connect("c1", limit=2)
    await harness.store.capacity.assign(ENV, "worker-c1", "r1")
    keys = [harness.keys.capacity(ENV, "worker-c1"), harness.keys.requests(ENV, "worker-c1")]
    for key in keys:
        await harness.commands.execute("PEXPIRE", key, 5000)
    await refresh(harness, record, limited=limited)
    ttls = [await harness.ttl(key) for key in keys]
    assert ttls == pytest.approx([seconds] * 2, abs=2)


async def test_refresh_finds_that_a_full_worker_is_so_no_more(harness: Harness) -> None:
    """Others may have un-assigned its requests without touching our indexes."""
    record = await harness.connect("c1", limit=1)
    await harness.store.capacity.assign(ENV, "worker-c1", "theirs")
    await harness.commands.execute("DEL", harness.keys.requests(ENV, "worker-c1"))
    await refresh(harness, record)
    assert await harness.commands.execute("EXISTS", harness.keys.busy(ENV)) == 0


async def test_refresh_indexes_a_connection_that_lost_its_worker(harness: Harness) -> None:
    record = await harness.connect("c1")
    workers = harness.keys.workers(ENV)
    await harness.commands.execute("DEL", workers)
    await refresh(harness, record)
    assert await harness.commands.execute("HKEYS", workers) == [b"c1"]


# Writes that come too late


@pytest.mark.parametrize("method", ["upsert", "refresh"])
async def test_late_write_for_a_deleted_connection_changes_nothing(
    harness: Harness, method: str
) -> None:
    record = await harness.connect("c1")
    await harness.store.connections.delete(ENV, "c1")
    before = sorted(await harness.commands.execute("KEYS", "*"))
    write: Any = getattr(harness.store.connections, method)
    assert await write(ENV, record) is False
    assert sorted(await harness.commands.execute("KEYS", "*")) == before


async def test_upsert_that_its_delete_overtook_changes_nothing(
    harness: Harness,
) -> None:
    assert not await harness.store.connections.delete(ENV, "c1")
    assert not await harness.store.connections.upsert(ENV, harness.connection("c1"))


async def test_handshake_clears_the_tombstone(harness: Harness) -> None:
    record = await harness.connect("c1")
    await harness.store.connections.delete(ENV, "c1")
    assert await harness.store.connections.upsert(ENV, record, [group()], fresh=True)
    assert await harness.store.connections.upsert(ENV, record, [group()])
    assert await harness.store.connections.get(ENV, "c1") == record


async def test_tombstone_lives_five_minutes(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.store.connections.delete(ENV, "c1")
    assert await harness.ttl(harness.keys.tombstone(ENV, "c1")) == pytest.approx(300, abs=2)


# Groups without connections


async def test_group_keeps_its_creation_time_while_its_worker_reconnects(
    harness: Harness,
) -> None:
    await harness.connect("c1")
    await harness.store.connections.delete(ENV, "c1")
    await harness.connect("c2", group_record=group(created_at="2026-01-01T00:00:00Z"))
    assert await harness.store.connections.group(ENV, GROUP) == group()
    assert await harness.commands.execute("HVALS", harness.keys.app_groups(ENV, APP)) == [
        group().created_at.encode()
    ]
    assert await harness.commands.execute("EXISTS", harness.keys.created(ENV, GROUP)) == 0


async def test_creation_time_of_an_empty_group_is_kept_for_an_hour(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.store.connections.delete(ENV, "c1")
    assert await harness.ttl(harness.keys.created(ENV, GROUP)) == pytest.approx(3600, abs=2)


async def test_sync_of_an_empty_group_is_not_taken_over(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.store.connections.delete(ENV, "c1")
    unsynced = group(app_id="", sync_id="")
    await harness.connect("c2", group_record=unsynced, synced_groups={})
    assert await harness.store.connections.group(ENV, GROUP) == unsynced


# A connection that is stored anew with other groups


async def test_connection_leaves_the_places_that_it_has_no_more(harness: Harness) -> None:
    await harness.connect("c1")
    other = group("hash-2", app_id="app-2", app_name="other")
    await harness.connect("c1", group_record=other, gateway_id="gw-2", instance_id="w-2")
    connections = harness.store.connections
    assert await connections.groups(ENV) == [other]
    assert await connections.all(ENV, APP) == await connections.of_group(ENV, GROUP) == []
    for key in (
        harness.keys.ready(ENV, APP, GROUP, "gw-1"),
        harness.keys.group_gateways(ENV, APP, GROUP),
        harness.keys.app_groups(ENV, APP),
        harness.keys.functions(ENV, GROUP),
        harness.keys.known(ENV, APP),
        harness.keys.worker_connections(ENV, "worker-c1"),
    ):
        assert await harness.commands.execute("EXISTS", key) == 0
