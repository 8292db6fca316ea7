"""What a gateway remembers of connections: every phase with reason and time, the typed end."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from connect.protocol.lifecycle import DisconnectReason, Phase, PhaseReason, Side
from tests.nursery.rig import START, Kind, open_rig, with_limits


async def test_each_phase_of_a_connection_is_kept_with_reason_and_time(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(worker_manual_readiness_ack=True)
        await trio.sleep(1)
        await worker.send(Kind.WORKER_READY)
        await trio.sleep(1)
        await worker.send(Kind.WORKER_PAUSE)
        await trio.sleep(1)
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.testing.wait_all_tasks_blocked()
        [closed] = rig.gateway.closed_connections()
        assert [(step.phase, step.reason) for step in closed.transitions] == [
            (Phase.HANDSHAKING, PhaseReason.SOCKET_ACCEPTED),
            (Phase.JOINING, PhaseReason.WORKER_CONNECT),
            (Phase.CONNECTED, PhaseReason.JOINED),
            (Phase.READY, PhaseReason.WORKER_READY),
            (Phase.DRAINING, PhaseReason.WORKER_PAUSE),
            (Phase.DISCONNECTING, DisconnectReason.WORKER_SHUTDOWN),
            (Phase.CLOSED, DisconnectReason.WORKER_SHUTDOWN),
        ]
        seconds = [round(step.at - START) for step in closed.transitions]
        assert seconds == [0, 0, 0, 1, 2, 3, 3]


async def test_a_closed_connection_is_described(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        connection.touch_in_flight("r1")
        await worker.socket.aclose(1000, "had enough")
        await trio.testing.wait_all_tasks_blocked()
        [closed] = rig.gateway.closed_connections()
        assert (closed.id, closed.instance_id) == (worker.connection_id, "worker-1")
        assert (closed.apps, closed.sdk, closed.in_flight) == (("my-app",), "py 0.5.0", 1)
        end = closed.disconnect
        assert (end.reason, end.detail) == (DisconnectReason.WORKER_CLOSED, "had enough")
        assert (end.by, end.code) == (Side.WORKER, 1000)


async def test_a_socket_that_is_lost_is_remembered_as_unexpected(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await worker.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        [closed] = rig.gateway.closed_connections()
        assert closed.disconnect.reason is DisconnectReason.UNEXPECTED
        assert closed.disconnect.by is Side.NETWORK


async def test_a_refused_handshake_is_remembered_with_its_syscode(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        await peer.send(Kind.WORKER_HEARTBEAT)
        await peer.closed()
        await trio.testing.wait_all_tasks_blocked()
        [closed] = rig.gateway.closed_connections()
        assert closed.disconnect.reason is DisconnectReason.HANDSHAKE_REFUSED
        assert closed.disconnect.detail == "connect_worker_hello_invalid_msg"
        assert (closed.id, closed.instance_id, closed.apps) == ("", "", ())


async def test_a_replaced_connection_is_remembered_as_such(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        first = await rig.worker()
        second = await rig.worker(connection_id=first.connection_id)
        assert (await first.closed())[0] == 1008
        [closed] = rig.gateway.closed_connections()
        assert closed.disconnect.reason is DisconnectReason.REPLACED
        assert rig.gateway.table.get(second.connection_id) is not None


async def test_connections_cut_off_by_the_end_of_the_gateway_are_remembered_as_such(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await rig.worker()
        gateway = rig.gateway
    [closed] = gateway.closed_connections()
    assert closed.disconnect.reason is DisconnectReason.GATEWAY_STOPPED


async def test_only_the_last_connections_are_remembered_the_latest_first(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(closed_connections=3)) as rig:
        for number in range(5):
            worker = await rig.worker(instance_id=f"worker-{number}")
            await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
            await trio.testing.wait_all_tasks_blocked()
        remembered = [closed.instance_id for closed in rig.gateway.closed_connections()]
        assert remembered == ["worker-4", "worker-3", "worker-2"]
        assert len(rig.gateway.history) == 3


async def test_texts_that_workers_choose_are_cut(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(instance_id="x" * 1_000, sdk_version="y" * 1_000)
        await worker.socket.aclose()
        await trio.testing.wait_all_tasks_blocked()
        [closed] = rig.gateway.closed_connections()
        assert (len(closed.instance_id), len(closed.sdk)) == (200, 200)


async def test_an_open_connection_is_described(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        connection.touch_in_flight("r1")
        await trio.sleep(4)
        [shown] = rig.gateway.open_connections()
        assert (shown.id, shown.instance_id) == (worker.connection_id, "worker-1")
        assert (shown.phase, shown.status, shown.in_flight) == (Phase.READY, "READY", 1)
        assert shown.heartbeat_age == pytest.approx(4, abs=0.1)
        assert [step.phase for step in shown.transitions][-1] is Phase.READY


async def test_the_end_of_connections_is_counted_by_syscode_where_there_is_one(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await worker.socket.aclose(1000, "had enough")
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        await peer.send(Kind.WORKER_HEARTBEAT)
        await peer.closed()
        await trio.testing.wait_all_tasks_blocked()
        [family] = rig.services.metrics.connections_closed.collect()
        counted = {
            sample.labels["reason"]: sample.value
            for sample in family.samples
            if sample.name.endswith("_total")
        }
        assert counted == {"WORKER_CLOSED": 1, "connect_worker_hello_invalid_msg": 1}
