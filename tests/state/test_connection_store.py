"""Connections, worker groups and their indexes."""

import json
from dataclasses import replace

import pytest

from connect.state.encoding import encode_group
from connect.state.records import ConnectionRecord, ConnectionStatus
from tests.state.harness import APP, ENV, GROUP, Harness, group


def ids(records: list[ConnectionRecord]) -> list[str]:
    return sorted(record.id for record in records)


async def test_upserted_connection_can_be_read(harness: Harness) -> None:
    record = await harness.connect("c1")
    assert await harness.store.connections.get(ENV, "c1") == record


async def test_unknown_connection_and_group_are_none(harness: Harness) -> None:
    assert await harness.store.connections.get(ENV, "c1") is None
    assert await harness.store.connections.group(ENV, GROUP) is None


async def test_upsert_lists_the_connection_by_group_and_by_synced_app(harness: Harness) -> None:
    await harness.connect("c1")
    store = harness.store.connections
    assert ids(await store.all(ENV)) == ["c1"]
    assert ids(await store.all(ENV, APP)) == ["c1"]
    assert ids(await store.of_group(ENV, GROUP)) == ["c1"]


async def test_unsynced_connection_is_in_its_group_but_not_in_an_app(harness: Harness) -> None:
    await harness.connect("c1", synced_groups={})
    assert ids(await harness.store.connections.of_group(ENV, GROUP)) == ["c1"]
    assert await harness.store.connections.all(ENV, APP) == []


async def test_environments_are_apart(harness: Harness) -> None:
    await harness.connect("c1")
    assert await harness.store.connections.all("env-2") == []


async def test_upserted_groups_can_be_read(harness: Harness) -> None:
    other = group("hash-2", functions=())
    await harness.store.connections.upsert(ENV, harness.connection("c1"), [group(), other])
    assert await harness.store.connections.group(ENV, "hash-2") == other
    assert await harness.store.connections.groups(ENV) == [group(), other]


async def test_group_without_creation_time_is_stored_with_an_empty_one(harness: Harness) -> None:
    await harness.connect("c1", group_record=group(created_at=""))
    stored = await harness.commands.execute("HGET", harness.keys.groups(ENV), GROUP)
    assert json.loads(stored)["created_at"] == ""


async def test_stored_group_keeps_its_creation_time(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.connect("c2", group_record=group(created_at="2026-01-01T00:00:00Z"))
    stored = await harness.store.connections.group(ENV, GROUP)
    assert stored == group()


async def test_stored_group_takes_what_a_sync_sets(harness: Harness) -> None:
    await harness.connect("c1", group_record=group(app_id="", sync_id=""), synced_groups={})
    synced = group(feature_observations_hash="seen")
    await harness.connect("c1", group_record=synced)
    assert await harness.store.connections.group(ENV, GROUP) == synced


async def test_stored_group_keeps_its_sync_when_stored_again_without(harness: Harness) -> None:
    await harness.connect("c1", group_record=group(feature_observations_hash="seen"))
    await harness.connect("c2", group_record=group(app_id="", sync_id=""), synced_groups={})
    stored = await harness.store.connections.group(ENV, GROUP)
    assert stored == group(feature_observations_hash="seen")


async def test_unchanged_group_keeps_fields_that_others_wrote(harness: Harness) -> None:
    text = json.dumps(json.loads(encode_group(group())) | {"theirs": []})
    await harness.commands.execute("HSET", harness.keys.groups(ENV), GROUP, text)
    await harness.connect("c1")
    stored = await harness.commands.execute("HGET", harness.keys.groups(ENV), GROUP)
    assert stored == text.encode()


async def test_unreadable_group_is_replaced(harness: Harness) -> None:
    await harness.commands.execute("HSET", harness.keys.groups(ENV), GROUP, "{not json")
    await harness.connect("c1")
    assert await harness.store.connections.group(ENV, GROUP) == group()


async def test_refresh_overwrites_status_and_heartbeat(harness: Harness) -> None:
    record = await harness.connect("c1")
    changed = replace(record, status=ConnectionStatus.DRAINING, last_heartbeat_ms=5)
    assert await harness.store.connections.refresh(ENV, changed)
    assert await harness.store.connections.get(ENV, "c1") == changed


async def test_refresh_never_creates_a_connection(harness: Harness) -> None:
    assert not await harness.store.connections.refresh(ENV, harness.connection("c1"))
    assert await harness.commands.execute("KEYS", "*") == []


@pytest.mark.parametrize("method", ["upsert", "refresh"])
async def test_indexes_follow_the_status(harness: Harness, method: str) -> None:
    record = await harness.connect("c1")
    place = (ENV, APP, GROUP, "gw-1")
    ready, draining = harness.keys.ready(*place), harness.keys.draining(*place)
    write = getattr(harness.store.connections, method)
    await write(ENV, replace(record, status=ConnectionStatus.DRAINING))
    assert await harness.commands.execute("ZCARD", ready) == 0
    assert await harness.commands.execute("ZCARD", draining) == 1
    await write(ENV, replace(record, status=ConnectionStatus.DISCONNECTING))
    assert await harness.commands.execute("EXISTS", ready, draining) == 0
    await write(ENV, record)
    assert float(await harness.commands.execute("ZSCORE", ready, "c1")) == harness.now.ms


@pytest.mark.parametrize("stored", [None, "{not json", json.dumps({"hash": GROUP})])
async def test_refresh_survives_a_missing_or_bad_group(
    harness: Harness, stored: str | None
) -> None:
    record = await harness.connect("c1")
    await harness.commands.execute("HDEL", harness.keys.groups(ENV), GROUP)
    await harness.commands.execute("DEL", harness.keys.app_groups(ENV, APP))
    if stored is not None:
        await harness.commands.execute("HSET", harness.keys.groups(ENV), GROUP, stored)
    assert await harness.store.connections.refresh(ENV, record)


async def test_delete_of_the_last_connection_leaves_nothing_of_it(harness: Harness) -> None:
    await harness.connect("c1")
    assert await harness.store.connections.delete(ENV, "c1")
    assert sorted(await harness.commands.execute("KEYS", "*")) == [
        harness.keys.created(ENV, GROUP).encode(),
        harness.keys.tombstone(ENV, "c1").encode(),
    ]


async def test_delete_keeps_a_group_that_has_other_connections(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.connect("c2")
    await harness.store.connections.delete(ENV, "c1")
    store = harness.store.connections
    assert ids(await store.all(ENV, APP)) == ids(await store.of_group(ENV, GROUP)) == ["c2"]
    assert await store.group(ENV, GROUP) == group()


async def test_delete_of_an_unsynced_connection_forgets_its_synced_group(
    harness: Harness,
) -> None:
    await harness.connect("c1", synced_groups={})
    app_groups = harness.keys.app_groups(ENV, APP)
    await harness.commands.execute("HSET", app_groups, GROUP, "")
    await harness.store.connections.delete(ENV, "c1")
    assert await harness.commands.execute("EXISTS", app_groups) == 0


async def test_delete_may_be_repeated(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.store.connections.delete(ENV, "c1")
    assert not await harness.store.connections.delete(ENV, "c1")


async def test_delete_of_an_unreadable_connection_removes_it(harness: Harness) -> None:
    await harness.commands.execute("HSET", harness.keys.connections(ENV), "c1", "{not json")
    assert await harness.store.connections.delete(ENV, "c1")
    assert await harness.commands.execute("KEYS", "*") == [
        harness.keys.tombstone(ENV, "c1").encode()
    ]


async def test_index_skips_ids_whose_connection_is_gone(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.connect("c2")
    await harness.commands.execute("HDEL", harness.keys.connections(ENV), "c1")
    assert ids(await harness.store.connections.all(ENV, APP)) == ["c2"]
    assert ids(await harness.store.connections.of_group(ENV, GROUP)) == ["c2"]


async def test_one_bad_record_hides_no_other(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.commands.execute("HSET", harness.keys.connections(ENV), "bad", "{not json")
    await harness.commands.execute("HSET", harness.keys.groups(ENV), "bad", "[]")
    assert ids(await harness.store.connections.all(ENV)) == ["c1"]
    assert await harness.store.connections.groups(ENV) == [group()]


async def test_many_connections_are_read_in_pages(harness: Harness) -> None:
    for number in range(1200):
        await harness.store.connections.upsert(ENV, harness.connection(f"c{number}"))
    assert len(await harness.store.connections.all(ENV)) == 1200
    assert len(await harness.store.connections.all(ENV, APP)) == 1200
