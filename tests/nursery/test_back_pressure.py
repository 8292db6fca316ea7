"""Bounds on what waits for one worker, and on what one worker sends."""

from typing import Any

import pytest
import trio
import trio_websocket
from trio.testing import MockClock, wait_all_tasks_blocked
from ulid import ULID

from connect.errors import ForwardInDoubt
from connect.nursery.outbox import CONTROL_BYTES, Outbox, PendingForward
from connect.nursery.slots import StoreSlots
from connect.protocol.envelope import encode_message
from connect.protocol.lifecycle import DisconnectReason
from connect.protocol.messages.connect import v1 as pb
from tests.nursery.draining import another_gateway, connection_of, forwarding
from tests.nursery.rig import Kind, Peer, Rig, open_rig, request_bytes, with_limits, with_timing


def outbox(messages: int = 8, size: int = 800) -> Outbox:
    return Outbox(with_limits(outbox_messages=messages, outbox_bytes=size))


def store_slots(tasks: int) -> StoreSlots:
    limits = with_limits(store_tasks_per_connection=tasks, store_bytes_per_connection=100)
    return StoreSlots(limits.limits)


def put(box: Outbox, size: int = 1) -> bool:
    return box.put_data(b"x" * size, PendingForward())


def drain(box: Outbox, count: int) -> None:
    for _ in range(count):
        assert box.get_nowait() is not None


async def test_at_the_high_mark_requests_are_refused_until_the_low_mark() -> None:
    box = outbox()
    assert [put(box) for _ in range(9)] == [True] * 8 + [False]
    drain(box, 5)
    assert not put(box)
    drain(box, 1)  # a quarter is left
    assert put(box)


async def test_bytes_have_their_marks_too() -> None:
    box = outbox()
    assert [put(box, 200) for _ in range(5)] == [True] * 4 + [False]
    drain(box, 2)
    assert not put(box, 200)
    drain(box, 1)
    assert put(box, 200)


async def test_a_large_request_is_taken_by_an_empty_queue_alone() -> None:
    box = outbox()
    assert put(box, 5000)
    assert not put(box)
    drain(box, 1)
    assert put(box, 5000)


async def test_control_messages_are_bounded_in_bytes() -> None:
    box = outbox()
    message = b"x" * (CONTROL_BYTES // 4)
    assert [box.put_control(message) for _ in range(5)] == [True] * 4 + [False]
    drain(box, 1)
    assert box.put_control(message)


async def test_last_words_take_the_control_messages_bytes_along() -> None:
    box = outbox()
    box.put_control(b"x" * CONTROL_BYTES)
    assert len(box.take_control()) == 1
    assert box.put_control(b"y")


async def test_while_a_write_takes_long_no_request_is_taken(mock_clock: MockClock) -> None:
    box = outbox()
    box.write_begins()
    mock_clock.jump(2.4)
    assert put(box)
    mock_clock.jump(0.1)
    assert (box.stalled, put(box)) == (True, False)
    box.write_ended()
    assert put(box)


# What a worker sends


@pytest.mark.parametrize("sizes", [[0, 0, 0, 0], [100, 0], [150]])
async def test_at_the_high_mark_of_tasks_or_bytes_there_is_no_room(sizes: list[int]) -> None:
    slots = store_slots(4)
    for size in sizes:
        slots.take(size)
    assert slots.full


async def test_there_is_room_again_when_half_of_both_is_left() -> None:
    slots = store_slots(4)
    for size in (30, 30, 30, 30):
        slots.take(size)
    states = []
    for _ in range(4):
        slots.release(30)
        states.append(slots.full)
    assert states == [True, True, False, False]


async def test_whoever_waits_is_woken_by_each_task_that_is_done(autojump_clock: MockClock) -> None:
    slots = store_slots(1)
    slots.take(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slots.wait_release)
        await wait_all_tasks_blocked()
        slots.release(1)
    assert not slots.full


# One connection among others


async def full_pipe(rig: Rig, worker: Peer) -> None:
    """Fill what lies between gateway and worker, which reads nothing."""
    connection = rig.gateway.table.get(worker.connection_id)
    assert connection is not None
    stuck = trio.Event()

    async def send_nothing(message: str | bytes) -> None:
        stuck.set()
        await trio.sleep_forever()

    connection.socket.send_message = send_nothing  # type: ignore[method-assign] # a full pipe
    rig.nursery.start_soon(rig.gateway.forward, worker.connection_id, "r0", request_bytes("r0"))
    await stuck.wait()


async def forward(rig: Rig, worker: Peer, request_id: str) -> tuple[bool, float]:
    """Forward a request; return whether it was acked, and after how many seconds."""
    started = trio.current_time()
    acked = await rig.gateway.forward(worker.connection_id, request_id, request_bytes(request_id))
    return acked, trio.current_time() - started


async def test_a_worker_that_stops_reading_is_closed_at_the_write_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await full_pipe(rig, worker)
        await trio.sleep(4.9)
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        assert not connection.ending
        await trio.sleep(0.2)
        assert connection.disconnect is not None
        assert connection.disconnect.reason is DisconnectReason.WRITE_STALLED


async def test_nothing_is_written_after_a_message_that_was_cut(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = connection_of(rig, worker)
        await full_pipe(rig, worker)
        written: list[object] = []

        async def note(*words: object) -> None:
            written.append(words)

        connection.outbox.put_control(b"last words")
        connection.apply(connection.machine.heartbeats_missed())
        connection.socket.send_message = note  # type: ignore[method-assign,assignment] # there is room again
        connection.socket.aclose = note  # type: ignore[method-assign,assignment] # watched
        await connection.finished.wait()
        assert connection.disconnect is not None
        assert connection.disconnect.reason is DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED
        assert written == []


async def test_of_the_requests_for_a_worker_that_stops_reading_only_the_sent_are_in_doubt(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        outcomes: dict[str, list[Any]] = {name: [] for name in ("sent", "cut", "waiting")}
        rig.nursery.start_soon(forwarding(rig, worker, "sent", outcomes["sent"]))
        await worker.take_request()

        async def send_nothing(message: str | bytes) -> None:
            await trio.sleep_forever()

        socket = connection_of(rig, worker).socket
        socket.send_message = send_nothing  # type: ignore[method-assign] # a full pipe
        for name in ("cut", "waiting"):
            rig.nursery.start_soon(forwarding(rig, worker, name, outcomes[name]))
            await wait_all_tasks_blocked()
        await trio.sleep(6)
        assert outcomes == {"sent": [ForwardInDoubt], "cut": [False], "waiting": [False]}


def read_slowly(rig: Rig, worker: Peer, seconds: float) -> list[bytes]:
    """Have every message to a worker take so long; return what will have been written."""
    written: list[bytes] = []
    socket = connection_of(rig, worker).socket
    write = socket.send_message

    async def slowly(message: str | bytes) -> None:
        await trio.sleep(seconds)
        assert isinstance(message, bytes)
        written.append(message)
        await write(message)

    socket.send_message = slowly  # type: ignore[method-assign] # a pipe that is almost full
    return written


async def test_of_what_waits_when_a_connection_ends_only_the_write_that_goes_on_is_ended(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = connection_of(rig, worker)
        written = read_slowly(rig, worker, 4)
        outcomes: list[list[Any]] = [[], [], []]
        for number, outcome in enumerate(outcomes):
            rig.nursery.start_soon(forwarding(rig, worker, f"r{number}", outcome))
            await wait_all_tasks_blocked()
        started = trio.current_time()
        connection.apply(connection.machine.heartbeats_missed())
        await connection.finished.wait()
        await wait_all_tasks_blocked()
        assert trio.current_time() - started == pytest.approx(4)
        assert len(written) == 1
        assert outcomes == [[ForwardInDoubt], [False], [False]]


async def test_control_messages_that_wait_when_a_connection_ends_share_one_write_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = connection_of(rig, worker)
        written = read_slowly(rig, worker, 4)
        for _ in range(12):
            connection.outbox.put_control(encode_message(Kind.GATEWAY_HEARTBEAT, b""))
        await wait_all_tasks_blocked()
        started = trio.current_time()
        connection.apply(connection.machine.heartbeats_missed())
        await connection.finished.wait()
        assert trio.current_time() - started == pytest.approx(4 + 5)
        assert len(written) == 2


async def test_a_worker_that_reads_slowly_does_not_keep_a_drain_beyond_its_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_timing(drain=5, cleanup=5)) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        connection = connection_of(rig, worker)
        read_slowly(rig, worker, 4)
        for _ in range(12):
            connection.outbox.put_control(encode_message(Kind.GATEWAY_HEARTBEAT, b""))
        started = trio.current_time()
        await rig.gateway.drain()
        assert connection.finished.is_set()
        assert trio.current_time() - started <= 5 + 4 + 5


class Gate(trio.abc.Stream):
    """A stream that takes nothing until it is opened."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.opened = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.opened.wait()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.opened.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_a_request_that_waits_for_a_stalled_pong_is_not_written_once_it_is_let_go(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = connection_of(rig, worker)
        assert connection.stream is not None
        gate = connection.stream._stream = Gate(connection.stream._stream)
        outcome: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.socket.ping)  # the library's pong is stuck from now on
            await trio.sleep(3)
            nursery.start_soon(forwarding(rig, worker, "r1", outcome))
            while not connection.ending:
                await trio.sleep(0.5)
            gate.opened.set()
            with pytest.raises(trio_websocket.ConnectionClosed):
                await worker.take_request()
            nursery.cancel_scope.cancel()
        assert outcome == [False]


async def test_a_write_that_ends_as_it_is_given_up_has_left(autojump_clock: MockClock) -> None:
    box, forward = outbox(), PendingForward()
    box.put_data(b"x", forward)
    box.get_nowait()
    with box.write_begins() as scope:
        box.give_up_writing()
    forward.settle(False, in_doubt=True)
    assert (scope.cancelled_caught, forward.in_doubt, box.cut) == (False, True, True)


async def test_a_forward_to_a_worker_that_stops_reading_fails_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await full_pipe(rig, worker)
        await trio.sleep(2.5)
        assert await forward(rig, worker, "r1") == (False, 0)


async def test_what_waits_behind_a_write_that_stalls_is_let_go_with_the_next_forward(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await full_pipe(rig, worker)
        results: list[tuple[bool, float]] = []

        async def wait_behind() -> None:
            results.append(await forward(rig, worker, "r1"))

        rig.nursery.start_soon(wait_behind)
        await trio.sleep(3)
        await forward(rig, worker, "r2")
        await wait_all_tasks_blocked()
        assert results == [(False, 3.0)]


async def test_a_worker_that_stops_reading_slows_no_other(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        stuck, other = await rig.worker(instance_id="stuck"), await rig.worker(instance_id="b")
        await full_pipe(rig, stuck)
        results: list[tuple[bool, float]] = []

        async def to_other() -> None:
            results.append(await forward(rig, other, "r1"))

        rig.nursery.start_soon(to_other)
        await other.take_request()
        await other.ack("r1")
        await other.heartbeat()
        await other.expect(Kind.GATEWAY_HEARTBEAT)
        assert results == [(True, 0.0)]


async def test_forwards_beyond_the_mark_fail_at_once(autojump_clock: MockClock) -> None:
    async with open_rig(with_limits(outbox_messages=2)) as rig:
        worker = await rig.worker()
        await full_pipe(rig, worker)
        for number in (1, 2):
            rig.nursery.start_soon(forward, rig, worker, f"r{number}")
        await wait_all_tasks_blocked()
        assert await forward(rig, worker, "r3") == (False, 0)


async def test_large_replies_pause_the_reading_from_their_worker_alone(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(store_bytes_per_connection=1000)) as rig:
        flooding, other = await rig.worker(instance_id="a"), await rig.worker(instance_id="b")
        rig.outages.delay = 4
        for number in range(3):
            await flooding.reply(f"r{number}", b"x" * 600)
        await flooding.heartbeat()
        await other.heartbeat()
        started = trio.current_time()
        await other.expect(Kind.GATEWAY_HEARTBEAT)
        assert trio.current_time() - started <= 2
        connection = rig.gateway.table.get(flooding.connection_id)
        assert connection is not None
        assert connection.store_slots.full
        kinds = [(await flooding.receive())[0] for _ in range(4)]
        assert sorted(kinds) == [*[Kind.WORKER_REPLY_ACK] * 3, Kind.GATEWAY_HEARTBEAT]


async def test_large_lease_extensions_pause_the_reading_from_their_worker(
    autojump_clock: MockClock,
) -> None:
    """Their texts are held until the store has answered, however long a worker makes them."""
    async with open_rig(with_limits(store_bytes_per_connection=1000)) as rig:
        worker = await rig.worker()
        rig.outages.delay = 2
        for number in range(3):
            extend = pb.WorkerRequestExtendLeaseData(
                request_id=f"r{number}" + 600 * "x", lease_id=str(ULID())
            )
            await worker.send(Kind.WORKER_REQUEST_EXTEND_LEASE, bytes(extend))
        await wait_all_tasks_blocked()
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        assert connection.store_slots.full
        for _ in range(3):
            await worker.expect(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
        assert not connection.store_slots.full
