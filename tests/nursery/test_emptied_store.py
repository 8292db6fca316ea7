"""The state store forgets everything, or one record: it all comes back by itself."""

import json
from collections.abc import Sequence

import trio
import trio.testing
from trio.testing import MockClock

from connect.protocol.messages.connect import v1 as pb
from connect.state.records import ConnectionStatus
from tests.nursery.rig import (
    ENV,
    FUNCTIONS,
    Kind,
    Rig,
    open_rig,
)


async def flush(rig: Rig) -> None:
    await rig.store.connections.commands.execute("FLUSHALL")


async def test_after_a_flush_a_heartbeat_brings_connection_group_app_and_limit_back(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=3)
        [group] = await rig.store.connections.groups(ENV)
        await flush(rig)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        record = await rig.store.connections.get(ENV, worker.connection_id)
        assert record is not None
        assert record.status is ConnectionStatus.READY
        assert await rig.store.connections.groups(ENV) == [group]
        assert await rig.store.capacity.limit(ENV, "worker-1") == 3
        found = await rig.store.apps.find_function(ENV, "my-app-hello")
        assert found is not None
        assert (found.app.id, found.app.sync_id) == (group.app_id, group.sync_id)
        assert next(iter(found.app.functions))["id"] == "my-app-hello"


async def test_after_a_flush_an_older_deploy_does_not_replace_the_newer_one_s_functions(
    autojump_clock: MockClock,
) -> None:
    renamed = json.dumps([json.loads(FUNCTIONS)[0] | {"id": "my-app-new"}]).encode()
    async with open_rig() as rig:
        first = await rig.worker()
        rig.nursery.start_soon(first.keep_alive)
        await trio.sleep(5)
        newer = await rig.worker(
            instance_id="newer", apps=[pb.AppConfiguration(app_name="my-app", functions=renamed)]
        )
        rig.nursery.start_soon(newer.keep_alive)
        await trio.sleep(5)
        # Of the older code, but connected last.
        latest = await rig.worker(instance_id="latest")
        await flush(rig)
        for worker in (newer, latest):
            await worker.heartbeat()
        await trio.sleep(1)
        assert await rig.store.apps.function_slugs(ENV) == ["my-app-new"]


async def test_a_flush_is_repaired_although_the_store_fails_in_between(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=3)
        await flush(rig)
        rig.outages.fail_at = ("set_limit", 1)
        await worker.heartbeat()
        await trio.sleep(2)
        assert await rig.store.capacity.limit(ENV, "worker-1") == 3
        assert await rig.store.connections.get(ENV, worker.connection_id) is not None


async def test_a_live_connection_that_somebody_deleted_comes_back(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.store.connections.delete(ENV, worker.connection_id)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert await rig.store.connections.get(ENV, worker.connection_id) is not None


async def test_a_connection_that_ends_is_not_stored_again(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        await flush(rig)
        rig.outages.delay = 0.5
        await worker.heartbeat()
        await trio.sleep(0.1)
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await connection.finished.wait()
        assert await rig.store.connections.all(ENV) == []


async def test_connections_of_one_group_share_what_their_app_registers(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        for number in range(3):
            await rig.worker(instance_id=f"w{number}")
        kept: Sequence[int] = [
            id(connection.joined.synced[0]) for connection in rig.gateway.table if connection.joined
        ]
        assert len(kept) == 3
        # The first registered the app; the others found it, and share what they found.
        assert len(set(kept)) <= 2


async def test_the_gateway_s_record_is_back_soon_after_an_outage(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.outages.down = True
        await trio.sleep(20)
        await flush(rig)
        rig.outages.down = False
        await trio.sleep(1.1)
        assert len(await rig.store.gateways.all()) == 1
