"""A connection of a gateway that drains: told, served, handed over, left or closed."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from connect.errors import ForwardInDoubt, Syscode
from connect.protocol.lifecycle import DisconnectReason, Side
from connect.protocol.messages.connect import v1 as pb
from connect.state.records import ConnectionStatus, GatewayStatus, LeaseRecord
from tests.nursery.draining import (
    another_gateway,
    connection_of,
    forwarding,
    start_request,
    stored_status,
)
from tests.nursery.rig import ENV, Kind, open_rig, request_bytes, with_limits, with_timing


async def test_a_connection_is_served_until_its_worker_leaves_it(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        drain = rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        await trio.sleep(8)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        await worker.socket.aclose(1000, "GATEWAY_DRAINING")
        left = trio.current_time()
        await drain.over.wait()
        assert trio.current_time() == pytest.approx(left, abs=0.1)
        assert drain.progress().closed == 0


async def test_a_worker_that_was_told_to_leave_and_leaves_without_a_word_does_not_flap(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(flaps=1)) as rig:
        waited = 0.0
        for _ in range(4):
            began = trio.current_time()
            worker = await rig.worker()
            waited += trio.current_time() - began
            rig.gateway.start_drain()
            await worker.expect(Kind.GATEWAY_CLOSING)
            await worker.socket.aclose(1000, "")
            await rig.gateway.activate()
        ends = {
            (closed.disconnect.reason, closed.disconnect.by)
            for closed in rig.gateway.closed_connections()
        }
        assert ends == {(DisconnectReason.GATEWAY_DRAINING, Side.WORKER)}
        assert waited == 0.0


async def test_a_connection_that_its_worker_does_not_leave_is_closed_after_25_seconds(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        rig.nursery.start_soon(worker.keep_alive)
        started = trio.current_time()
        rig.gateway.start_drain()
        assert await worker.closed() == (1001, Syscode.GATEWAY_CLOSING)
        assert trio.current_time() - started == pytest.approx(25, abs=0.1)


async def test_an_idle_connection_is_closed_soon_when_there_is_no_other_gateway(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        started = trio.current_time()
        rig.gateway.start_drain()
        assert await worker.closed() == (1001, Syscode.GATEWAY_CLOSING)
        assert trio.current_time() - started == pytest.approx(3, abs=0.1)


async def test_a_connection_whose_last_request_ends_is_closed_then_when_there_is_no_other_gateway(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await start_request(rig, worker, "r1")
        started = trio.current_time()
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        await trio.sleep(10)
        await worker.reply("r1")
        await worker.expect(Kind.WORKER_REPLY_ACK)
        await worker.closed()
        assert trio.current_time() - started == pytest.approx(10, abs=0.1)


async def test_a_gateway_that_is_the_last_one_left_closes_idle_connections(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.nursery.start_soon(lambda: another_gateway(rig, until=7))
        worker = await rig.worker()
        rig.nursery.start_soon(worker.keep_alive)
        started = trio.current_time()
        rig.gateway.start_drain()
        await worker.closed()
        # Its last heartbeat was at 5 s, and is too old after two intervals more.
        assert trio.current_time() - started == pytest.approx(16, abs=1.5)


async def test_a_draining_gateway_says_so_in_its_record_and_keeps_beating(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection_of(rig, worker).touch_in_flight("r1")
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        [before] = await rig.store.gateways.all()
        assert before.status is GatewayStatus.DRAINING
        await trio.sleep(11)
        [after] = await rig.store.gateways.all()
        assert after.status is GatewayStatus.DRAINING
        assert after.last_heartbeat_ms - before.last_heartbeat_ms >= 9_000


async def test_acks_extensions_replies_and_heartbeats_are_served_while_draining(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        lease = await rig.store.leases.lease(
            ENV, "r1", executor_host="executor", executor_port=7, seconds=20
        )
        assert isinstance(lease, LeaseRecord)
        results: list[bool] = []
        rig.nursery.start_soon(forwarding(rig, worker, "r1", results))
        await worker.take_request()
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        await worker.ack("r1")
        await trio.sleep(8)
        assert results == [True]
        extend = pb.WorkerRequestExtendLeaseData(request_id="r1", env_id=ENV, lease_id=lease.id)
        await worker.send(Kind.WORKER_REQUEST_EXTEND_LEASE, bytes(extend))
        payload = await worker.expect(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
        assert pb.WorkerRequestExtendLeaseAckData().parse(payload).new_lease_id
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        await worker.reply("r1")
        await worker.expect(Kind.WORKER_REPLY_ACK)
        assert await worker.closed() == (1001, Syscode.GATEWAY_CLOSING)


async def test_work_that_does_not_end_is_cut_off_at_the_drain_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = connection_of(rig, worker)
        connection.touch_in_flight("r1")
        started = trio.current_time()
        await rig.gateway.drain()
        assert trio.current_time() - started == pytest.approx(25, abs=0.1)
        assert connection.disconnect is not None
        assert connection.disconnect.reason is DisconnectReason.GATEWAY_DRAINING


async def test_a_connection_stays_stored_as_ready_until_it_is_handed_over(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        await trio.sleep(4.5)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert await stored_status(rig, worker) is ConnectionStatus.READY
        await trio.sleep(1)
        assert await stored_status(rig, worker) is ConnectionStatus.DRAINING
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert await stored_status(rig, worker) is ConnectionStatus.DRAINING


async def test_a_forward_while_the_gateway_drains_fails_only_once_draining_is_stored(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        started = trio.current_time()
        assert not await rig.gateway.forward(worker.connection_id, "r1", request_bytes("r1"))
        assert trio.current_time() - started == pytest.approx(5, abs=0.1)
        assert await stored_status(rig, worker) is ConnectionStatus.DRAINING


async def test_a_forward_that_waits_for_draining_is_released_when_the_worker_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        results: list[bool] = []
        rig.nursery.start_soon(forwarding(rig, worker, "r1", results))
        await trio.testing.wait_all_tasks_blocked()
        assert results == []
        await worker.socket.aclose(1000, "GATEWAY_DRAINING")
        await trio.testing.wait_all_tasks_blocked()
        assert results == [False]


async def test_a_forward_whose_request_has_left_may_be_acked_for_a_second_more(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[object] = []
        rig.nursery.start_soon(forwarding(rig, worker, "acked", results))
        await worker.take_request()
        rig.nursery.start_soon(forwarding(rig, worker, "silent", results))
        await worker.take_request()
        started = trio.current_time()
        rig.gateway.start_drain()
        await trio.sleep(0.5)
        await worker.ack("acked")
        await trio.testing.wait_all_tasks_blocked()
        assert results == [True]
        await trio.sleep(0.6)
        assert results == [True, ForwardInDoubt]
        assert trio.current_time() - started < 1.2


async def test_a_forward_is_in_doubt_when_a_worker_that_was_told_leaves_before_its_ack(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[object] = []
        rig.nursery.start_soon(forwarding(rig, worker, "r1", results))
        await worker.take_request()
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        await worker.socket.aclose(1000, "GATEWAY_DRAINING")
        await trio.testing.wait_all_tasks_blocked()
        assert results == [ForwardInDoubt]


async def test_a_forward_whose_request_has_not_left_fails_when_the_drain_begins(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        send = connection_of(rig, worker).socket.send_message

        async def slow(message: str | bytes) -> None:
            await trio.sleep(2)
            await send(message)

        connection_of(rig, worker).socket.send_message = slow  # type: ignore[method-assign] # slow
        results: list[bool] = []
        rig.nursery.start_soon(forwarding(rig, worker, "first", results))
        await trio.testing.wait_all_tasks_blocked()
        rig.nursery.start_soon(forwarding(rig, worker, "second", results))
        await trio.testing.wait_all_tasks_blocked()
        rig.gateway.start_drain()
        await trio.sleep(0.1)
        assert results == [False]
        assert (await worker.take_request()).request_id == "first"
        await worker.expect(Kind.GATEWAY_CLOSING)  # and not the second


async def test_a_new_socket_is_closed_while_the_gateway_drains(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.gateway.drain()
        peer = await rig.dial()
        assert await peer.closed() == (1001, Syscode.GATEWAY_CLOSING)


async def test_a_handshake_in_progress_is_closed_when_the_drain_begins(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        started = trio.current_time()
        rig.gateway.start_drain()
        assert await peer.closed() == (1001, Syscode.GATEWAY_CLOSING)
        assert trio.current_time() == started


async def test_a_paused_worker_is_drained_as_others_are(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await worker.send(Kind.WORKER_PAUSE)
        await trio.testing.wait_all_tasks_blocked()
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        # DRAINING is stored already: there is nothing to wait for.
        started = trio.current_time()
        assert not await rig.gateway.forward(worker.connection_id, "r1", request_bytes("r1"))
        assert trio.current_time() == started
        assert await worker.closed() == (1001, Syscode.GATEWAY_CLOSING)


@pytest.mark.parametrize("outage", ["down", "hanging"])
async def test_a_store_that_does_not_answer_does_not_stop_a_drain(
    autojump_clock: MockClock, outage: str
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        if outage == "down":
            rig.outages.down = True
        else:
            rig.outages.delay = 1000
        started = trio.current_time()
        rig.nursery.start_soon(worker.keep_alive)
        await rig.gateway.drain()
        assert trio.current_time() - started < 25 + 2 * 5 + 1


async def test_the_drain_deadline_holds_though_the_handover_would_be_later(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_timing(drain=2.0)) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        started = trio.current_time()
        rig.gateway.start_drain()
        await worker.closed()
        assert trio.current_time() - started == pytest.approx(2, abs=0.1)


async def test_a_gateway_that_ends_removes_its_record(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        assert [gateway.status for gateway in await rig.store.gateways.all()] == [
            GatewayStatus.ACTIVE
        ]
    assert await rig.store.gateways.all() == []


async def test_a_gateway_survives_a_store_that_is_down(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.outages.down = True
        await trio.sleep(30)
        rig.outages.down = False
        await trio.sleep(6)
        assert len(await rig.store.gateways.all()) == 1
        rig.outages.down = True


async def test_a_gateway_describes_itself(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.worker()
        described = rig.gateway.describe()
        assert (described["status"], described["connections"]) == ("active", 1)
        assert described["store_away"] is False


async def test_a_gateway_that_is_cut_off_from_the_store_says_so(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.outages.unreachable_since = trio.current_time()
        await trio.sleep(2)
        assert rig.gateway.describe()["store_away"] is True
