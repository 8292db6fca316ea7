"""Buffered responses, gateways, and the registry of apps."""

import json

import pytest

from connect.state.records import AppRecord, GatewayRecord, GatewayStatus, LeaseRecord
from connect.state.store import FunctionLocation, SavedResponse
from tests.state.harness import ENV, TIMING, Harness


def gateway(gateway_id: str) -> GatewayRecord:
    return GatewayRecord(
        id=gateway_id,
        status=GatewayStatus.ACTIVE,
        last_heartbeat_ms=1_754_300_000_123,
        hostname="host",
        ip="10.0.0.1",
        grpc_port=50052,
    )


def app(app_id: str, *slugs: str) -> AppRecord:
    functions = tuple({"id": slug, "triggers": [], "n": 1.5} for slug in slugs)
    return AppRecord(id=app_id, name=app_id, sync_id="s", functions=functions, synced_at_ms=5)


async def test_first_response_wins(harness: Harness) -> None:
    store = harness.store.responses
    assert await store.save(ENV, "r1", b"first") == SavedResponse(first=True, lease=None)
    assert await store.save(ENV, "r1", b"second") == SavedResponse(first=False, lease=None)
    assert await store.get(ENV, "r1") == b"first"


async def test_response_is_kept_for_a_minute(harness: Harness) -> None:
    await harness.store.responses.save(ENV, "r1", b"")
    ttl = await harness.ttl(harness.keys.response(ENV, "r1"))
    assert ttl == pytest.approx(TIMING.buffered_response, abs=2)


async def test_any_bytes_of_8_mib_survive_being_saved(harness: Harness) -> None:
    response = bytes(range(256)) * 4096 * 8
    await harness.store.responses.save(ENV, "r1", response)
    assert await harness.store.responses.get(ENV, "r1") == response


async def test_saving_names_the_executor_to_tell(harness: Harness) -> None:
    lease = await harness.store.leases.lease(
        ENV, "r1", executor_host="10.0.0.1", executor_port=50053, seconds=20
    )
    assert isinstance(lease, LeaseRecord)
    saved = await harness.store.responses.save(ENV, "r1", b"reply")
    assert saved == SavedResponse(first=True, lease=lease)


async def test_response_is_saved_though_the_lease_cannot_be_read(harness: Harness) -> None:
    await harness.commands.execute("SET", harness.keys.lease(ENV, "r1"), "{not json")
    saved = await harness.store.responses.save(ENV, "r1", b"reply")
    assert saved == SavedResponse(first=True, lease=None)


async def test_deleting_a_response_may_be_repeated(harness: Harness) -> None:
    await harness.store.responses.save(ENV, "r1", b"reply")
    for _ in range(2):
        await harness.store.responses.delete(ENV, "r1")
    assert await harness.store.responses.get(ENV, "r1") is None


async def test_gateways_are_listed_until_deleted(harness: Harness) -> None:
    store = harness.store.gateways
    for gateway_id in ("g1", "g2", "g1"):
        await store.upsert(gateway(gateway_id))
    assert sorted(record.id for record in await store.all()) == ["g1", "g2"]
    for _ in range(2):
        await store.delete("g1")
    assert await store.all() == [gateway("g2")]


async def test_store_that_answers_is_reachable(harness: Harness) -> None:
    await harness.store.ping()
    assert harness.store.unreachable_since is None


async def test_unreadable_gateway_hides_no_other(harness: Harness) -> None:
    await harness.store.gateways.upsert(gateway("g1"))
    bad = json.dumps({"id": "g2", "status": "asleep"})
    await harness.commands.execute("HSET", harness.keys.gateways(), "g2", bad)
    assert await harness.store.gateways.all() == [gateway("g1")]


async def test_saved_app_can_be_read(harness: Harness) -> None:
    await harness.store.apps.save(ENV, app("b", "b-1"))
    await harness.store.apps.save(ENV, app("a"))
    assert await harness.store.apps.get(ENV, "b") == app("b", "b-1")
    assert await harness.store.apps.get(ENV, "c") is None
    assert await harness.store.apps.all(ENV) == [app("a"), app("b", "b-1")]


async def test_function_leads_to_its_app_in_one_round_trip(harness: Harness) -> None:
    await harness.store.apps.save(ENV, app("a", "a-1", "a-2"))
    await harness.store.apps.find_function(ENV, "a-1")
    before = harness.store.round_trips
    found = await harness.store.apps.find_function(ENV, "a-2")
    assert found == FunctionLocation(app("a", "a-1", "a-2"), "a-2")
    assert harness.store.round_trips - before == 1


async def test_unknown_function_leads_nowhere(harness: Harness) -> None:
    assert await harness.store.apps.find_function(ENV, "a-1") is None


async def test_slug_that_the_app_no_longer_has_leads_nowhere(harness: Harness) -> None:
    await harness.store.apps.save(ENV, app("a", "a-1", "a-2"))
    await harness.store.apps.save(ENV, app("a", "a-2", "a-3"))
    assert await harness.store.apps.function_slugs(ENV) == ["a-2", "a-3"]
    assert await harness.store.apps.find_function(ENV, "a-1") is None


async def test_slug_that_moved_to_another_app_stays_there(harness: Harness) -> None:
    await harness.store.apps.save(ENV, app("a", "shared"))
    await harness.store.apps.save(ENV, app("b", "shared"))
    await harness.store.apps.save(ENV, app("a"))
    found = await harness.store.apps.find_function(ENV, "shared")
    assert found is not None
    assert found.app.id == "b"


async def test_ping_returns_when_the_store_answers(harness: Harness) -> None:
    before = harness.store.round_trips
    await harness.store.ping()
    assert harness.store.round_trips > before  # one for every master
