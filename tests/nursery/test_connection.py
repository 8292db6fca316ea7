"""An open connection: forwards, acks, leases, replies, heartbeats, and its end."""

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from ulid import ULID

from connect.errors import ForwardInDoubt, Syscode
from connect.nursery.outbox import Outbox, PendingForward
from connect.protocol.lifecycle import DisconnectReason, WorkerStatus
from connect.protocol.messages.connect import v1 as pb
from connect.settings import Settings
from connect.state.records import ConnectionStatus, LeaseRecord
from tests.nursery.draining import forwarding
from tests.nursery.rig import ENV, Kind, Peer, Rig, now, open_rig, request_bytes, with_limits


async def forward(rig: Rig, worker: Peer, request_id: str, results: list[Any]) -> None:
    await forwarding(rig, worker, request_id, results)()


async def stored_status(rig: Rig, worker: Peer) -> ConnectionStatus | None:
    record = await rig.store.connections.get(ENV, worker.connection_id)
    return None if record is None else record.status


async def test_a_forward_succeeds_once_the_worker_has_acked(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[bool] = []
        rig.nursery.start_soon(forward, rig, worker, "r1", results)
        request = await worker.take_request()
        await trio.testing.wait_all_tasks_blocked()
        assert (request.request_id, results) == ("r1", [])
        await worker.ack("r1")
        await trio.testing.wait_all_tasks_blocked()
        assert results == [True]


async def test_a_forward_passes_the_request_on_byte_for_byte(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        request = request_bytes("r1", request_payload=bytes(range(256))) + b"\xfa\x01\x03new"
        rig.nursery.start_soon(rig.gateway.forward, worker.connection_id, "r1", request)
        assert await worker.expect(Kind.GATEWAY_EXECUTOR_REQUEST) == request


async def test_a_forward_to_an_unknown_connection_fails(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        assert not await rig.gateway.forward("01JD8ZK3V4P5Q6R7S8T9V0W1X2", "r1", b"")


async def test_a_forward_without_an_ack_fails_after_the_lease_and_five_seconds(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.nursery.start_soon(worker.keep_alive)
        started = trio.current_time()
        assert not await rig.gateway.forward(worker.connection_id, "r1", request_bytes("r1"))
        assert trio.current_time() - started == pytest.approx(25)


async def test_two_forwards_of_one_request_share_the_worker_s_ack(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[bool] = []
        rig.nursery.start_soon(forward, rig, worker, "r1", results)
        rig.nursery.start_soon(forward, rig, worker, "r1", results)
        await worker.take_request()
        await worker.ack("r1")
        await trio.testing.wait_all_tasks_blocked()
        assert results == [True, True]
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)  # and not the request a second time


async def test_a_forward_is_in_doubt_when_the_connection_is_lost_before_the_ack(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[object] = []
        rig.nursery.start_soon(forward, rig, worker, "r1", results)
        rig.nursery.start_soon(forward, rig, worker, "r1", results)
        await worker.take_request()
        await worker.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert results == [ForwardInDoubt, ForwardInDoubt]


async def test_a_forward_fails_when_the_worker_closes_its_socket_before_the_ack(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[object] = []
        rig.nursery.start_soon(forward, rig, worker, "r1", results)
        await worker.take_request()
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.testing.wait_all_tasks_blocked()
        assert results == [False]


async def test_a_forward_is_in_doubt_when_the_worker_pauses_and_does_not_ack_in_time(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[object] = []
        rig.nursery.start_soon(forward, rig, worker, "r1", results)
        await worker.take_request()
        await worker.send(Kind.WORKER_PAUSE)
        await trio.sleep(4.9)
        assert results == []
        assert await stored_status(rig, worker) is ConnectionStatus.DRAINING
        await trio.sleep(0.2)
        assert results == [ForwardInDoubt]


async def test_an_ack_may_cross_the_pause_of_its_worker(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[object] = []
        rig.nursery.start_soon(forward, rig, worker, "r1", results)
        await worker.take_request()
        await worker.send(Kind.WORKER_PAUSE)
        await trio.sleep(4)
        await worker.ack("r1")
        await trio.testing.wait_all_tasks_blocked()
        assert results == [True]


async def test_a_forward_fails_without_doubt_when_the_worker_pauses_and_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        results: list[object] = []
        rig.nursery.start_soon(forward, rig, worker, "r1", results)
        await worker.take_request()
        await worker.send(Kind.WORKER_PAUSE)
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.testing.wait_all_tasks_blocked()
        assert results == [False]


async def test_an_ack_that_nobody_waits_for_is_harmless(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await worker.ack("never forwarded")
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)


async def test_forwards_fail_at_once_when_the_outbox_is_full(autojump_clock: MockClock) -> None:
    async with open_rig(with_limits(outbox_messages=1)) as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        results: list[bool] = []
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(forward, rig, worker, f"r{number}", results)
            # The pump has not run yet: one waits in the outbox, two find it full.
            await trio.testing.wait_all_tasks_blocked()
            assert results == [False, False]
            await worker.ack((await worker.take_request()).request_id)
        assert results == [False, False, True]


async def test_a_reply_is_saved_acknowledged_and_pushed_to_its_executor(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        lease = await rig.store.leases.lease(
            ENV, "r1", executor_host="executor", executor_port=7, seconds=20
        )
        assert isinstance(lease, LeaseRecord)
        await worker.reply("r1", b'"done"')
        ack = pb.WorkerReplyAckData().parse(await worker.expect(Kind.WORKER_REPLY_ACK))
        assert ack.request_id == "r1"
        await trio.testing.wait_all_tasks_blocked()
        [(host, port, pushed)] = rig.pushes.pushed
        assert (host, port, pb.SdkResponse().parse(pushed).body) == ("executor", 7, b'"done"')
        assert await rig.store.responses.get(ENV, "r1") == pushed


async def test_a_lease_without_a_port_means_the_protocol_s_default_one(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.store.leases.lease(
            ENV, "r1", executor_host="executor", executor_port=0, seconds=20
        )
        await worker.reply("r1")
        await worker.expect(Kind.WORKER_REPLY_ACK)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.pushes.pushed[0][:2] == ("executor", 50053)


async def test_a_reply_whose_executor_cannot_be_told_stays_in_the_buffer(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.pushes.answer = False
        worker = await rig.worker()
        await rig.store.leases.lease(ENV, "r1", executor_host="gone", executor_port=1, seconds=20)
        await worker.reply("r1")
        await worker.expect(Kind.WORKER_REPLY_ACK)
        assert await rig.store.responses.get(ENV, "r1") is not None


async def test_a_repeated_reply_is_acknowledged_again_and_stored_once(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.lease("r1")
        await worker.reply("r1", b'"first"')
        await worker.reply("r1", b'"second"')
        await worker.expect(Kind.WORKER_REPLY_ACK)
        await worker.expect(Kind.WORKER_REPLY_ACK)
        stored = await rig.store.responses.get(ENV, "r1")
        assert stored is not None
        assert pb.SdkResponse().parse(stored).body == b'"first"'


async def test_a_reply_that_cannot_be_saved_is_not_acknowledged(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.broken = True
        await worker.reply("r1")
        await trio.testing.wait_all_tasks_blocked()
        rig.outages.broken = False
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert await rig.store.responses.get(ENV, "r1") is None


async def test_a_reply_is_kept_although_its_connection_ends_right_after_it(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.lease("r1")
        rig.outages.delay = 1
        await worker.reply("r1")
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.sleep(5)
        assert await rig.store.responses.get(ENV, "r1") is not None


async def extend(worker: Peer, request_id: str, lease_id: str) -> str | None:
    await worker.send(
        Kind.WORKER_REQUEST_EXTEND_LEASE,
        bytes(
            pb.WorkerRequestExtendLeaseData(
                request_id=request_id, env_id=ENV, function_slug="my-app-hello", lease_id=lease_id
            )
        ),
    )
    ack = pb.WorkerRequestExtendLeaseAckData().parse(
        await worker.expect(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
    )
    assert (ack.request_id, ack.function_slug) == (request_id, "my-app-hello")
    return ack.new_lease_id


async def test_a_lease_extension_brings_a_new_lease_id(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        lease = await rig.store.leases.lease(
            ENV, "r1", executor_host="e", executor_port=1, seconds=20
        )
        assert isinstance(lease, LeaseRecord)
        await trio.sleep(5)
        new = await extend(worker, "r1", lease.id)
        stored = await rig.store.leases.get(ENV, "r1")
        assert stored is not None
        assert new == stored.id != lease.id


async def test_an_extension_of_a_lease_that_is_gone_is_refused(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        assert await extend(worker, "r1", "01JD8ZK3V4P5Q6R7S8T9V0W1X2") is None


@pytest.mark.parametrize("failure", ["down", "broken"])
async def test_an_extension_is_left_unanswered_while_the_store_fails(
    autojump_clock: MockClock, failure: str
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        setattr(rig.outages, failure, True)
        await worker.send(
            Kind.WORKER_REQUEST_EXTEND_LEASE,
            bytes(
                pb.WorkerRequestExtendLeaseData(
                    request_id="r1", lease_id="01JD8ZK3V4P5Q6R7S8T9V0W1X2"
                )
            ),
        )
        await trio.testing.wait_all_tasks_blocked()
        rig.outages.down = rig.outages.broken = False
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)


async def test_a_heartbeat_is_stored_and_answered(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        before = await rig.store.connections.get(ENV, worker.connection_id)
        await trio.sleep(10)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        after = await rig.store.connections.get(ENV, worker.connection_id)
        assert before is not None
        assert after is not None
        assert after.last_heartbeat_ms - before.last_heartbeat_ms == pytest.approx(10_000, abs=50)


async def test_heartbeats_do_not_wait_for_slow_replies(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        slow = rig.services.store.responses
        original = slow.save

        async def save(*args: object) -> object:
            await trio.sleep(60)
            return await original(*args)  # type: ignore[arg-type] # passed on as it came

        slow.save = save  # type: ignore[method-assign,assignment] # one slow operation
        for number in range(50):
            await worker.reply(f"r{number}")
        await worker.heartbeat()
        started = trio.current_time()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert trio.current_time() - started < 1


async def test_a_connection_lost_from_the_store_comes_back_with_its_next_heartbeat(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.store.connections.delete(ENV, worker.connection_id)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert await stored_status(rig, worker) is ConnectionStatus.READY


async def test_a_heartbeat_of_a_limited_worker_is_one_write(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=2)
        rig.outages.calls.clear()
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert rig.outages.calls == ["refresh"]


async def test_capacity_is_kept_alive_by_heartbeats_of_limited_workers(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=2)
        key = rig.store.connections.keys.capacity(ENV, "worker-1")
        commands = rig.store.connections.commands
        await commands.execute("PEXPIRE", key, 1000)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert await commands.execute("PTTL", key) > 1000


async def test_a_worker_s_own_reason_for_closing_is_recorded_and_its_record_removed(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await connection.finished.wait()
        assert connection.disconnect is not None
        assert connection.disconnect.reason is DisconnectReason.WORKER_SHUTDOWN
        assert await stored_status(rig, worker) is None
        assert len(rig.gateway.table) == 0


async def test_a_store_that_hangs_does_not_hold_up_the_end_of_a_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        rig.outages.delay = 1000
        started = trio.current_time()
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await connection.finished.wait()
        assert trio.current_time() - started < 6


async def test_a_store_that_is_down_does_not_hold_up_the_end_of_a_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        rig.outages.down = True
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await connection.finished.wait()
        assert len(rig.gateway.table) == 0


async def test_a_text_message_closes_with_1007(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await worker.socket.send_message("text")
        assert await worker.closed() == (1007, "failed to unmarshal Protobuf")


async def test_a_message_over_the_limit_closes_with_1009_and_is_recorded_as_too_large(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        peer = await rig.dial(max_message_size=1000)
        await peer.expect(Kind.GATEWAY_HELLO)
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello()))
        await peer.expect(Kind.GATEWAY_CONNECTION_READY)
        [connection] = rig.gateway.table
        await peer.reply("r1", b"x" * 2000)
        assert (await peer.closed())[0] == 1009
        await connection.finished.wait()
        assert connection.disconnect is not None
        assert connection.disconnect.reason is DisconnectReason.MESSAGE_TOO_LARGE


async def test_an_unforeseen_failure_ends_one_connection_and_not_the_gateway(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker, other = await rig.worker(), await rig.worker(instance_id="other")
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None

        def broken(data: bytes) -> None:
            raise RuntimeError("broken for the test")

        class Broken:
            receive = staticmethod(broken)

            def __getattr__(self, name: str) -> object:
                return getattr(machine, name)

        machine = connection.machine
        connection.machine = Broken()  # type: ignore[assignment] # one method replaced
        await worker.heartbeat()
        assert await worker.closed() == (1011, Syscode.INTERNAL_ERROR)
        await other.heartbeat()
        await other.expect(Kind.GATEWAY_HEARTBEAT)


async def test_what_a_worker_says_of_itself_is_recorded_at_most_every_two_seconds(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        for pause, request_id, seen in ((0.0, "a", "a"), (1.0, "b", "a"), (1.5, "c", "c")):
            await trio.sleep(pause)
            status = pb.WorkerStatusData(in_flight_request_ids=[request_id])
            await worker.send(Kind.WORKER_STATUS, bytes(status))
            await trio.testing.wait_all_tasks_blocked()
            assert connection.worker_status is not None
            assert connection.worker_status.request_ids == (seen,)


async def test_of_what_a_worker_says_of_itself_a_bounded_part_is_kept(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        request_ids = [f"{number:0300}" for number in range(150)]
        status = pb.WorkerStatusData(in_flight_request_ids=request_ids, shutdown_requested=True)
        await worker.send(Kind.WORKER_STATUS, bytes(status))
        await trio.testing.wait_all_tasks_blocked()
        [shown] = rig.gateway.open_connections()
        assert shown.worker_status == WorkerStatus(
            at=now(), request_ids=("0" * 200,) * 100, in_flight=150, shutdown_requested=True
        )


async def test_an_unknown_kind_is_survived(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await worker.send(77, b"whatever")
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)


async def test_requests_that_a_worker_lost_are_forgotten_after_their_lease(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        results: list[bool] = []
        rig.nursery.start_soon(forward, rig, worker, "r1", results)
        await worker.take_request()
        await worker.ack("r1")
        await trio.testing.wait_all_tasks_blocked()
        assert connection.in_flight == 1
        await trio.sleep(30)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert connection.in_flight == 0


@pytest.mark.parametrize("vouched", [True, False], ids=["vouched for", "of any client"])
async def test_a_request_that_comes_when_its_lease_is_over_is_not_sent(
    autojump_clock: MockClock, vouched: bool
) -> None:
    """It has waited before a gateway that stood still, and others have it by now."""
    async with open_rig() as rig:
        worker = await rig.worker()
        over = str(ULID.from_timestamp(now() - 1))
        request = request_bytes("r1", lease_id=over)
        lease = over if vouched else None
        assert not await rig.gateway.forward(worker.connection_id, "r1", request, vouched=lease)
        assert trio.current_time() < 1
        live = str(ULID.from_timestamp(now() + 20))
        async with trio.open_nursery() as nursery:
            again = partial(rig.gateway.forward, vouched=live if vouched else None)
            request = request_bytes("r2", lease_id=live)
            nursery.start_soon(again, worker.connection_id, "r2", request)
            assert (await worker.take_request()).request_id == "r2"
            await worker.ack("r2")


async def test_a_request_whose_lease_ends_before_it_is_written_is_not_written(
    autojump_clock: MockClock,
) -> None:
    box, pending = Outbox(Settings()), PendingForward(until=trio.current_time() + 20)
    assert box.put_data(b"request", pending)
    await trio.sleep(21)
    assert box.get_nowait() is None
    assert pending.settled.is_set()
    assert not pending.success
    assert not pending.in_doubt
