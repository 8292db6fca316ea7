"""What a worker sends while the gateway closes its socket: replies count to the last."""

import struct
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.nursery.connection import Connection
from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from tests.nursery.draining import another_gateway, connection_of, start_request
from tests.nursery.rig import ENV, Kind, Peer, Rig, open_rig, with_limits, with_timing

TEXT, BINARY, CLOSE, PING = 0x81, 0x82, 0x88, 0x89


async def send_raw(worker: Peer, data: bytes, opcode: int = BINARY) -> None:
    """Send a message as a worker does that has not seen the close frame yet."""
    assert len(data) < 126  # more would need another head
    head = struct.pack("!BB4x", opcode, 0x80 | len(data))  # masked by zeros
    await worker.stream.send_all(head + data)


def reply_message(request_id: str, body: bytes = b'"late"') -> bytes:
    reply = pb.SdkResponse(
        request_id=request_id, env_id=ENV, status=pb.SdkResponseStatus(1), body=body
    )
    return encode_message(Kind.WORKER_REPLY, bytes(reply))


async def closing(rig: Rig, worker: Peer) -> Connection:
    """Have the gateway close a worker's socket, and the worker not answer that yet."""

    async def unanswered(event: object) -> None:
        await trio.sleep_forever()

    worker.socket._send = unanswered  # type: ignore[method-assign] # no close frame of its own
    connection = connection_of(rig, worker)
    rig.gateway.start_drain()
    while not connection.ending:
        await trio.sleep(0.01)
    await wait_all_tasks_blocked()
    return connection


async def stored(rig: Rig, request_id: str) -> bytes | None:
    kept = await rig.store.responses.get(ENV, request_id)
    return None if kept is None else pb.SdkResponse().parse(kept).body


async def test_a_reply_that_crosses_the_close_frame_is_stored_and_pushed(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_timing(drain=5)) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        await rig.lease("r1")
        await start_request(rig, worker, "r1")
        connection = await closing(rig, worker)
        await send_raw(worker, reply_message("r1"))
        await wait_all_tasks_blocked()
        assert not connection.finished.is_set()
        assert await stored(rig, "r1") == b'"late"'
        assert [push[:2] for push in rig.pushes.pushed] == [("10.0.0.1", 50053)]


async def test_a_ping_that_crosses_the_close_frame_is_not_answered_and_costs_no_reply(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_timing(drain=5)) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        await rig.lease("r1")
        await start_request(rig, worker, "r1")
        connection = await closing(rig, worker)
        await send_raw(worker, b"hi", PING)
        await send_raw(worker, reply_message("r1"))
        await wait_all_tasks_blocked()
        assert await stored(rig, "r1") == b'"late"'
        closed = trio.current_time()
        await send_raw(worker, struct.pack("!H", 1000), CLOSE)
        await connection.finished.wait()
        assert trio.current_time() == pytest.approx(closed)


async def test_a_message_that_is_too_large_and_crosses_the_close_frame_ends_nothing_else(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_timing(drain=5)) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        connection = await closing(rig, worker)
        connection.socket._max_message_size = 10
        await send_raw(worker, b"x" * 11)
        await connection.finished.wait()
        assert len(rig.gateway.history) == 1


async def test_several_replies_that_cross_the_close_frame_are_all_stored(
    autojump_clock: MockClock,
) -> None:
    names = [f"r{number}" for number in range(8)]
    async with open_rig(with_timing(drain=5)) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        await rig.lease(*names)
        await closing(rig, worker)
        for name in names:
            await send_raw(worker, reply_message(name))
        await wait_all_tasks_blocked()
        assert [await stored(rig, name) for name in names] == [b'"late"'] * 8


@pytest.mark.parametrize(
    ("data", "opcode"),
    [
        (encode_message(Kind.WORKER_HEARTBEAT), BINARY),
        (encode_message(Kind.WORKER_READY), BINARY),
        (b"not a message", BINARY),
        (b"a text", TEXT),
    ],
    ids=["heartbeat", "ready", "garbage", "text"],
)
async def test_what_else_crosses_the_close_frame_changes_nothing(
    data: bytes, opcode: int, autojump_clock: MockClock
) -> None:
    async with open_rig(with_timing(drain=5)) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        await rig.lease("r1")
        connection = await closing(rig, worker)
        before = list(connection.transitions)
        await send_raw(worker, data, opcode)
        await send_raw(worker, reply_message("r1"))
        await wait_all_tasks_blocked()
        assert connection.transitions == before
        assert await stored(rig, "r1") == b'"late"'


async def test_a_drain_is_over_when_the_last_replies_are_saved(autojump_clock: MockClock) -> None:
    async with open_rig(with_timing(drain=5)) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        await rig.lease("r1")
        connection = await closing(rig, worker)
        await trio.sleep(4)
        rig.outages.delay = 4
        await send_raw(worker, reply_message("r1"))
        await connection.finished.wait()
        assert await stored(rig, "r1") is None
        await rig.gateway.drain()
        assert await stored(rig, "r1") == b'"late"'


async def test_a_store_that_does_not_keep_up_delays_no_close(autojump_clock: MockClock) -> None:
    timing = with_timing(drain=5).timing
    async with open_rig(replace(with_limits(store_tasks_per_connection=2), timing=timing)) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        await rig.lease("r1", "r2", "r3")
        connection = await closing(rig, worker)
        rig.outages.delay = 1
        for name in ("r1", "r2", "r3"):
            await send_raw(worker, reply_message(name))
        await worker.stream.aclose()
        await connection.finished.wait()
        await trio.sleep(2)
        assert [await stored(rig, name) for name in ("r1", "r2", "r3")] == [b'"late"'] * 2 + [None]


async def test_replies_of_a_worker_that_was_refused_are_not_taken(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await rig.lease("r1")
        peer = await rig.dial()
        await peer.send(Kind.WORKER_READY)  # instead of WORKER_CONNECT
        await send_raw(peer, reply_message("r1"))
        assert (await peer.closed())[0] == 1008
        await wait_all_tasks_blocked()
        assert await stored(rig, "r1") is None
        assert len(rig.gateway.history) == 1
