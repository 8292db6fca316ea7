"""The byte stream below a worker's WebSocket: how much is read at a time."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from connect.nursery.stream import STRANGER_BYTES, WorkerStream
from tests.nursery.rig import open_rig


async def received(stream: WorkerStream) -> list[int]:
    """Read to the end; return the lengths of the pieces."""
    pieces = []
    while data := await stream.receive_some(65536):
        pieces.append(len(data))
    return pieces


@pytest.mark.parametrize("prefix", [0, 10_000])
async def test_a_worker_that_has_not_joined_is_read_in_small_pieces(prefix: int) -> None:
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    stream = WorkerStream(trio.StapledStream(ours, theirs), b"x" * prefix)
    await ours.send_all(b"x" * (20_000 - prefix))
    await ours.aclose()
    pieces = await received(stream)
    assert sum(pieces) == 20_000
    assert max(pieces) == STRANGER_BYTES


@pytest.mark.parametrize("prefix", [0, 10_000])
async def test_a_worker_that_has_joined_is_read_as_it_comes(prefix: int) -> None:
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    stream = WorkerStream(trio.StapledStream(ours, theirs), b"x" * prefix)
    stream.joined = True
    await ours.send_all(b"x" * (20_000 - prefix))
    await ours.aclose()
    assert await received(stream) == ([10_000, 10_000] if prefix else [20_000])


async def test_a_worker_counts_as_joined_once_it_is_ready(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.dial()
        await rig.worker()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(stream.joined for stream in rig.streams) == [False, True]
