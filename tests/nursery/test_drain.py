"""A gateway that ends: connections are told, served, stored as draining, closed."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from connect.errors import Syscode
from connect.state.records import ConnectionStatus, GatewayStatus
from tests.nursery.rig import ENV, Kind, open_rig, request_bytes


async def test_an_idle_connection_is_told_and_closed_at_once(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.nursery.start_soon(rig.gateway.drain)
        await worker.expect(Kind.GATEWAY_CLOSING)
        assert await worker.closed() == (1001, Syscode.GATEWAY_CLOSING)


async def test_a_draining_gateway_says_so_in_its_record_and_keeps_beating(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        connection.touch_in_flight("r1")
        rig.nursery.start_soon(rig.gateway.drain)
        await worker.expect(Kind.GATEWAY_CLOSING)
        [before] = await rig.store.gateways.all()
        assert before.status is GatewayStatus.DRAINING
        await trio.sleep(11)
        [after] = await rig.store.gateways.all()
        assert after.last_heartbeat_ms - before.last_heartbeat_ms >= 9_000


async def test_requests_in_flight_are_served_to_their_end_while_draining(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[bool] = []

        async def forward() -> None:
            results.append(
                await rig.gateway.forward(worker.connection_id, "r1", request_bytes("r1"))
            )

        rig.nursery.start_soon(forward)
        await worker.take_request()
        await worker.ack("r1")
        await trio.testing.wait_all_tasks_blocked()
        assert results == [True]

        rig.nursery.start_soon(rig.gateway.drain)
        await worker.expect(Kind.GATEWAY_CLOSING)
        await trio.sleep(8)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        record = await rig.store.connections.get(ENV, worker.connection_id)
        assert record is not None
        assert record.status is ConnectionStatus.READY  # until the drain is over
        await worker.reply("r1")
        await worker.expect(Kind.WORKER_REPLY_ACK)
        assert await worker.closed() == (1001, Syscode.GATEWAY_CLOSING)


async def test_work_that_does_not_end_is_cut_off_at_the_drain_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        connection.touch_in_flight("r1")
        started = trio.current_time()
        await rig.gateway.drain()
        assert trio.current_time() - started == pytest.approx(25)
        assert connection.disconnect == "GATEWAY_DRAINING"


async def test_a_forward_while_the_gateway_drains_fails_only_once_draining_is_stored(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        connection.touch_in_flight("r0")
        rig.nursery.start_soon(rig.gateway.drain)
        await worker.expect(Kind.GATEWAY_CLOSING)
        started = trio.current_time()
        assert not await rig.gateway.forward(worker.connection_id, "r1", request_bytes("r1"))
        assert trio.current_time() - started == pytest.approx(25, abs=0.5)


async def test_a_forward_awaiting_its_ack_is_released_when_the_drain_begins(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[bool] = []

        async def forward() -> None:
            results.append(
                await rig.gateway.forward(worker.connection_id, "r1", request_bytes("r1"))
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(forward)
            await worker.take_request()
            nursery.start_soon(rig.gateway.drain)
        assert results == [False]


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
        rig.nursery.start_soon(rig.gateway.drain)
        assert await peer.closed() == (1001, Syscode.GATEWAY_CLOSING)


async def test_a_store_that_is_down_does_not_stop_a_drain(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.down = True
        rig.nursery.start_soon(rig.gateway.drain)
        assert await worker.closed() == (1001, Syscode.GATEWAY_CLOSING)


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
