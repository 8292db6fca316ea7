"""A worker that pauses and shuts down: nothing new goes to it, what it has is served."""

import trio
import trio.testing
from trio.testing import MockClock

from connect.protocol.lifecycle import DisconnectReason, Side
from connect.protocol.messages.connect import v1 as pb
from connect.state.records import ConnectionStatus, LeaseRecord
from tests.nursery.draining import connection_of, start_request, stored_status
from tests.nursery.rig import ENV, Kind, open_rig, request_bytes


async def test_a_paused_worker_gets_nothing_new(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await worker.send(Kind.WORKER_PAUSE)
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        assert not await rig.gateway.forward(worker.connection_id, "r1", request_bytes("r1"))
        assert trio.current_time() == started
        assert await stored_status(rig, worker) is ConnectionStatus.DRAINING


async def test_a_paused_worker_is_not_stored_as_ready_again_by_its_heartbeats(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await worker.send(Kind.WORKER_PAUSE)
        for _ in range(3):
            await trio.sleep(10)
            await worker.heartbeat()
            await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert await stored_status(rig, worker) is ConnectionStatus.DRAINING


async def test_extensions_and_replies_of_a_paused_worker_are_served(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        lease = await rig.store.leases.lease(
            ENV, "r1", executor_host="executor", executor_port=7, seconds=20
        )
        assert isinstance(lease, LeaseRecord)
        await start_request(rig, worker, "r1")
        await worker.send(Kind.WORKER_PAUSE)
        extend = pb.WorkerRequestExtendLeaseData(request_id="r1", env_id=ENV, lease_id=lease.id)
        await worker.send(Kind.WORKER_REQUEST_EXTEND_LEASE, bytes(extend))
        payload = await worker.expect(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
        assert pb.WorkerRequestExtendLeaseAckData().parse(payload).new_lease_id
        await worker.reply("r1", b'"done"')
        await worker.expect(Kind.WORKER_REPLY_ACK)
        assert await rig.store.responses.get(ENV, "r1") is not None


async def test_a_worker_that_shuts_down_is_gone_from_the_store_with_its_own_reason(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = connection_of(rig, worker)
        await worker.send(Kind.WORKER_PAUSE)
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await connection.finished.wait()
        assert await stored_status(rig, worker) is None
        [closed] = rig.gateway.closed_connections()
        assert closed.disconnect.reason is DisconnectReason.WORKER_SHUTDOWN
        assert (closed.disconnect.by, closed.disconnect.code) == (Side.WORKER, 1000)
