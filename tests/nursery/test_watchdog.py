"""Deadlines of a connection: each ends that one, on time, with a reason of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from connect.errors import Syscode
from connect.protocol.lifecycle import DisconnectReason
from connect.state.records import ConnectionStatus
from tests.nursery.draining import connection_of
from tests.nursery.rig import ENV, Kind, Peer, Rig, open_rig, request_bytes, with_limits


@asynccontextmanager
async def bystander(rig: Rig) -> AsyncIterator[Peer]:
    """Another worker, which beats as it should and has to be connected at the end."""
    other = await rig.worker(instance_id="bystander")
    rig.nursery.start_soon(other.keep_alive)
    yield other
    connection = rig.gateway.table.get(other.connection_id)
    assert connection is not None
    assert not connection.ending


async def reasons(rig: Rig) -> list[DisconnectReason]:
    """Return why connections have ended, the latest first."""
    await trio.testing.wait_all_tasks_blocked()
    return [closed.disconnect.reason for closed in rig.gateway.closed_connections()]


async def test_a_worker_that_stops_beating_is_closed_after_five_intervals(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig, bystander(rig):
        worker = await rig.worker()
        started = trio.current_time()
        assert (await worker.closed())[1] == "CONSECUTIVE_HEARTBEATS_MISSED"
        assert trio.current_time() - started == pytest.approx(50, abs=0.1)
        assert await rig.store.connections.get(ENV, worker.connection_id) is None
        assert await reasons(rig) == [DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED]


async def test_the_last_heartbeat_counts_not_the_number_of_them(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        for _ in range(3):
            await trio.sleep(49)
            await worker.heartbeat()
        beaten = trio.current_time()
        await worker.closed()
        assert trio.current_time() - beaten == pytest.approx(50, abs=0.1)


async def test_a_worker_that_beats_stays(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, bystander(rig):
        await trio.sleep(1000)


async def test_a_gateway_that_stood_still_hears_its_workers_before_it_judges_them(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await trio.sleep(1)
        autojump_clock.jump(60)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        rig.nursery.start_soon(worker.keep_alive)
        await trio.sleep(100)
        assert await reasons(rig) == []


async def test_a_worker_that_is_silent_after_its_gateway_stood_still_is_closed_an_interval_later(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await trio.sleep(1)
        autojump_clock.jump(60)
        started = trio.current_time()
        assert (await worker.closed())[1] == "CONSECUTIVE_HEARTBEATS_MISSED"
        assert trio.current_time() - started == pytest.approx(10, abs=0.1)


async def test_a_worker_that_says_nothing_is_closed_at_the_handshake_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig, bystander(rig):
        peer = await rig.dial()
        started = trio.current_time()
        assert await peer.closed() == (1008, Syscode.HELLO_TIMEOUT)
        assert trio.current_time() - started == pytest.approx(5, abs=0.1)
        assert await reasons(rig) == [DisconnectReason.HANDSHAKE_TIMEOUT]


async def test_a_worker_that_the_store_does_not_let_join_is_closed_in_time(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig, bystander(rig):
        rig.outages.delay = 1000
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        started = trio.current_time()
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello()))
        assert await peer.closed() == (1011, Syscode.INTERNAL_ERROR)
        # The deadline, and the one for undoing what was stored.
        assert trio.current_time() - started == pytest.approx(35, abs=0.1)
        rig.outages.delay = 0
        assert await reasons(rig) == [DisconnectReason.HANDSHAKE_TIMEOUT]


async def stop_reading(rig: Rig, worker: Peer) -> None:
    """Let writes to the worker's socket hang, as they do with a full pipe."""

    async def stuck(message: bytes) -> None:
        await trio.sleep_forever()

    connection = rig.gateway.table.get(worker.connection_id)
    assert connection is not None
    connection.socket.send_message = stuck  # type: ignore[method-assign,assignment] # a full pipe


async def test_a_worker_that_does_not_read_is_closed_at_the_write_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig, bystander(rig):
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        await stop_reading(rig, worker)
        started = trio.current_time()
        assert not await rig.gateway.forward(worker.connection_id, "r1", request_bytes("r1"))
        assert trio.current_time() - started == pytest.approx(5)
        await connection.finished.wait()
        assert await reasons(rig) == [DisconnectReason.WRITE_STALLED]


class FullPipe(trio.abc.Stream):
    """A stream whose peer sends and doesn't read."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_a_worker_that_pings_and_does_not_read_is_closed_at_the_write_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig, bystander(rig):
        worker = await rig.worker()
        connection = connection_of(rig, worker)
        assert connection.stream is not None
        connection.stream._stream = FullPipe(connection.stream._stream)
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.socket.ping)  # its pong is written by the library
            await connection.finished.wait()
            nursery.cancel_scope.cancel()
        assert 5 <= trio.current_time() - started <= 6.1
        assert await reasons(rig) == [DisconnectReason.WRITE_STALLED]


async def test_a_worker_for_which_too_many_answers_wait_is_closed_before_the_write_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig, bystander(rig):
        worker = await rig.worker()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        await stop_reading(rig, worker)
        started = trio.current_time()
        while not connection.ending:
            await worker.heartbeat()
            await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() - started < 5
        assert connection.disconnect is not None
        assert connection.disconnect.reason is DisconnectReason.WRITE_STALLED


@asynccontextmanager
async def slow_saves(seconds: float) -> AsyncIterator[tuple[Rig, Peer]]:
    """A worker of whose replies one is saved at a time, which takes so long."""
    async with open_rig(with_limits(store_tasks_per_connection=1)) as rig, bystander(rig):
        responses = rig.services.store.responses
        save = responses.save

        async def save_slowly(*args: object, **options: object) -> object:
            await trio.sleep(seconds)
            return await save(*args, **options)  # type: ignore[arg-type] # passed on as it came

        responses.save = save_slowly  # type: ignore[method-assign,assignment] # one slow operation
        yield rig, await rig.worker()


async def test_a_connection_whose_reader_is_stuck_is_closed_at_its_deadline(
    autojump_clock: MockClock,
) -> None:
    async with slow_saves(1000) as (rig, worker):
        started = trio.current_time()
        for number in range(3):
            await worker.reply(f"r{number}")
        assert await worker.closed() == (1011, Syscode.INTERNAL_ERROR)
        assert trio.current_time() - started == pytest.approx(10, abs=0.1)
        assert await reasons(rig) == [DisconnectReason.READER_STUCK]


async def test_a_reader_that_pauses_and_goes_on_is_not_stuck(autojump_clock: MockClock) -> None:
    async with slow_saves(9) as (rig, worker):
        for number in range(5):
            await worker.reply(f"r{number}")
        for _ in range(5):
            await worker.expect(Kind.WORKER_REPLY_ACK)
        assert await reasons(rig) == []


async def test_a_worker_is_not_blamed_for_heartbeats_that_a_slow_store_keeps_from_being_read(
    autojump_clock: MockClock,
) -> None:
    async with slow_saves(9) as (rig, worker):
        for number in range(10):
            await worker.reply(f"r{number}")
        rig.nursery.start_soon(worker.keep_alive)
        for _ in range(9):  # the last is read when the heartbeats are
            await worker.expect(Kind.WORKER_REPLY_ACK)
        assert trio.current_time() > 80
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert await reasons(rig) == []


async def test_silence_counts_from_the_end_of_a_pause_on_as_it_did_before(
    autojump_clock: MockClock,
) -> None:
    async with slow_saves(9) as (_, worker):
        await trio.sleep(30)
        for number in range(10):
            await worker.reply(f"r{number}")
        paused = 81.0  # all but the first wait for the one before
        assert (await worker.closed())[1] == "CONSECUTIVE_HEARTBEATS_MISSED"
        assert trio.current_time() == pytest.approx(50 + paused, abs=0.1)


async def test_a_heartbeat_ends_what_a_pause_excuses(autojump_clock: MockClock) -> None:
    async with slow_saves(9) as (_, worker):
        for number in range(4):
            await worker.reply(f"r{number}")
        await worker.heartbeat()
        while (await worker.receive())[0] != Kind.GATEWAY_HEARTBEAT:
            pass
        beaten = trio.current_time()
        assert beaten == pytest.approx(27, abs=0.1)
        await worker.closed()
        assert trio.current_time() - beaten == pytest.approx(50, abs=0.1)


async def test_what_the_watchdog_closes_is_stored_as_disconnecting_before_it_is_removed(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        statuses: list[ConnectionStatus] = []
        connections = rig.services.store.connections
        refresh = connections.refresh

        async def note(env_id: str, record: object, **options: object) -> bool:
            statuses.append(record.status)  # type: ignore[attr-defined] # a ConnectionRecord
            return await refresh(env_id, record, **options)  # type: ignore[arg-type] # passed on

        connections.refresh = note  # type: ignore[method-assign,assignment] # one method watched
        rig.outages.calls.clear()
        await worker.closed()
        await trio.testing.wait_all_tasks_blocked()
        assert statuses == [ConnectionStatus.DISCONNECTING]
        assert rig.outages.calls[-1] == "delete"
