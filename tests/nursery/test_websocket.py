"""Messages in fragments: arrived whole, and held in little more than their size until then."""

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from tests.nursery.rig import ENV, Kind, Peer, Rig, open_rig

MASK = b"\x00\x00\x00\x00"
CONTINUATION, TEXT, BINARY, FINAL = 0x0, 0x1, 0x2, 0x80


async def send_pieces(worker: Peer, opcode: int, message: bytes, size: int) -> None:
    """Send a message in fragments of so many bytes, but for its end."""
    frames = []
    for start in range(0, len(message), size):
        piece = message[start : start + size]
        frames.append(bytes((CONTINUATION if start else opcode, 0x80 | len(piece))) + MASK + piece)
    await worker.stream.send_all(b"".join(frames))
    await wait_all_tasks_blocked()


async def send_end(worker: Peer) -> None:
    await worker.stream.send_all(bytes((FINAL | CONTINUATION, 0x80)) + MASK)


def pieces(rig: Rig, worker: Peer) -> int:
    """In how many pieces a message is held whose end has not come."""
    connection = rig.gateway.table.get(worker.connection_id)
    assert connection is not None
    return len(connection.socket._message_parts)


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_a_message_in_small_fragments_arrives_whole(
    size: int, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.lease("r1")
        response = pb.SdkResponse(request_id="r1", env_id=ENV, body=bytes(range(256)) * 100)
        message = encode_message(Kind.WORKER_REPLY, bytes(response))
        await send_pieces(worker, BINARY, message, size)
        assert pieces(rig, worker) <= 500
        await send_end(worker)
        await worker.expect(Kind.WORKER_REPLY_ACK)
        assert await rig.store.responses.get(ENV, "r1") == bytes(response)


async def test_empty_fragments_are_not_held(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await send_pieces(worker, BINARY, encode_message(Kind.WORKER_HEARTBEAT), 1)
        empty = bytes((CONTINUATION, 0x80)) + MASK
        await worker.stream.send_all(empty * 5000)
        await wait_all_tasks_blocked()
        assert pieces(rig, worker) <= 500
        await send_end(worker)
        await worker.expect(Kind.GATEWAY_HEARTBEAT)


async def test_a_text_message_in_small_fragments_is_refused_as_any_other(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await send_pieces(worker, TEXT, b"x" * 5000, 2)
        assert pieces(rig, worker) <= 500
        await send_end(worker)
        assert (await worker.closed())[0] == 1007
