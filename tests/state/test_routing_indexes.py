"""Routing with our indexes lost, lacking or wrong: no connection becomes unreachable."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from connect.state.encoding import encode_connection
from connect.state.records import ConnectionStatus
from connect.state.store import Acquired, NoRoute, NoRouteReason
from tests.state.harness import APP, ENV, GROUP, SLUG, Harness, group

NONE_HEALTHY = NoRoute(NoRouteReason.NONE_HEALTHY)
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


async def test_worker_without_index_counts_as_unlimited(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await drop_indexes(harness)
    assert not (await acquired(harness)).limited


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
    await harness.connect("c1")
    await harness.commands.execute("HDEL", harness.keys.connections(ENV), "c1")
    assert await harness.acquire() == NONE_HEALTHY
    for command, key in (
        ("ZCARD", harness.keys.ready(ENV, APP, GROUP)),
        ("SCARD", harness.keys.app(ENV, APP)),
        ("HLEN", harness.keys.workers(ENV)),
    ):
        assert await harness.commands.execute(command, key) == 0


async def test_ready_index_is_put_right_where_the_connection_is_not_ready(
    harness: Harness,
) -> None:
    record = replace(await harness.connect("c1"), status=ConnectionStatus.DRAINING)
    ready = harness.keys.ready(ENV, APP, GROUP)
    connections = harness.keys.connections(ENV)
    await harness.commands.execute("HSET", connections, "c1", encode_connection(record))
    assert await harness.acquire() == ONLY_DRAINING
    assert await harness.commands.execute("ZCARD", ready) == 0


async def test_ready_index_is_put_right_where_the_heartbeat_is_older(harness: Harness) -> None:
    await harness.connect("c1", last_heartbeat_ms=1000)
    ready = harness.keys.ready(ENV, APP, GROUP)
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
    await harness.commands.execute("HSET", harness.keys.connections(ENV), "c1", stored)
    assert {(await acquired(harness, f"r{i}")).connection_id for i in range(8)} == {"c2"}


async def drop_indexes(harness: Harness) -> None:
    for key in await harness.commands.execute("KEYS", "*:ix:*"):
        await harness.commands.execute("DEL", key)
