"""Batches, room, and the turns of large messages."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.rpc.errors import RpcError
from connect.rpc.send_queue import SendQueue

LARGE = 600 * 1024


async def fill(queue: SendQueue) -> None:
    """Queue more than there is room for."""
    await queue.send(bytes(LARGE))
    await queue.send(bytes(LARGE))


async def test_messages_queued_at_the_same_time_make_one_batch() -> None:
    queue = SendQueue()
    for message in (b"a", b"b", b"c"):
        await queue.send(message)
    assert await queue.batch() == b"abc"


async def test_a_batch_ends_where_it_is_long_enough() -> None:
    queue = SendQueue()
    for _ in range(20):
        await queue.send(bytes(10_000))
    sizes = [len(await queue.batch() or b"") for _ in range(3)]
    assert sizes == [70_000, 70_000, 60_000]


async def test_the_writer_waits_for_a_message(autojump_clock: MockClock) -> None:
    queue = SendQueue()

    async def send_later() -> None:
        await trio.sleep(1)
        await queue.send(b"a")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_later)
        assert await queue.batch() == b"a"
    assert trio.current_time() == pytest.approx(1)


async def test_a_cancelled_writer_takes_nothing(autojump_clock: MockClock) -> None:
    queue = SendQueue()
    with trio.move_on_after(1):
        await queue.batch()
    await queue.send(b"a")
    assert await queue.batch() == b"a"


async def test_an_answer_in_no_hurry_waits_a_moment(autojump_clock: MockClock) -> None:
    queue = SendQueue()
    queue.answer(b"a", soon=True)
    queue.answer(b"b", soon=True)
    assert await queue.batch() == b"ab"
    assert 0 < trio.current_time() <= 0.01


async def test_an_answer_in_no_hurry_wakes_a_writer_that_waits(autojump_clock: MockClock) -> None:
    queue = SendQueue()
    async with trio.open_nursery() as nursery:
        batches: list[bytes | None] = []

        async def take() -> None:
            batches.append(await queue.batch())

        nursery.start_soon(take)
        await trio.sleep(1)
        queue.answer(b"a", soon=True)
    assert batches == [b"a"]
    assert trio.current_time() <= 1.01


async def test_an_answer_in_no_hurry_goes_with_the_next_message(autojump_clock: MockClock) -> None:
    queue = SendQueue()
    queue.answer(b"a", soon=True)
    await queue.send(b"b")
    assert await queue.batch() == b"ab"
    assert trio.current_time() == 0


async def test_of_each_large_message_one_piece_goes_in_turn_after_the_small_ones() -> None:
    queue = SendQueue()
    await queue.send_large(iter([b"A1", b"A2"]))
    await queue.send_large(iter([b"B1", b"B2"]))
    await queue.send(b"s")
    assert [await queue.batch() for _ in range(2)] == [b"sA1", b"B1"]
    await queue.send(b"t")
    assert [await queue.batch() for _ in range(2)] == [b"tA2", b"B2"]


async def test_more_large_messages_wait_for_those_before_them() -> None:
    queue = SendQueue()
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(queue.send_large, iter([b"%d" % number]))
            await wait_all_tasks_blocked()
        assert [await queue.batch() for _ in range(4)] == [b"0", b"1", b"2", b"3"]
        nursery.start_soon(queue.batch)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_withdrawn_large_message_sends_no_more_pieces() -> None:
    queue = SendQueue()
    pieces = iter([b"A1", b"A2"])
    await queue.send_large(pieces)
    await queue.batch()
    assert queue.withdraw(pieces)
    assert not queue.withdraw(pieces)
    await queue.send(b"s")
    assert await queue.batch() == b"s"


async def test_a_full_queue_makes_senders_wait_until_it_is_nearly_empty() -> None:
    queue = SendQueue()
    await fill(queue)
    sent = trio.Event()

    async def send() -> None:
        await queue.send(b"late")
        sent.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await queue.batch()
        await wait_all_tasks_blocked()
        assert not sent.is_set()
        await queue.batch()
        await wait_all_tasks_blocked()
        assert sent.is_set()


async def test_a_sender_cancelled_while_it_waits_for_room_queues_nothing(
    autojump_clock: MockClock,
) -> None:
    queue = SendQueue()
    await fill(queue)
    with trio.move_on_after(1) as waiting:
        await queue.send(b"late")
    assert waiting.cancelled_caught
    assert [len(await queue.batch() or b"") for _ in range(2)] == [LARGE, LARGE]
    await queue.send(b"next")
    assert await queue.batch() == b"next"


async def test_answers_find_room_in_a_full_queue_but_not_without_end() -> None:
    queue = SendQueue()
    await fill(queue)
    answers = 0
    while queue.answer(bytes(100_000)):
        answers += 1
        assert answers < 1000
    assert answers > 100


async def test_a_finished_queue_gives_what_it_has_and_then_none() -> None:
    queue = SendQueue()
    queue.answer(b"a", soon=True)
    await queue.send_large(iter([b"L1", b"L2"]))
    queue.finish()
    assert [await queue.batch() for _ in range(3)] == [b"aL1", b"L2", None]


async def test_finishing_wakes_the_writer() -> None:
    queue = SendQueue()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.batch)
        await wait_all_tasks_blocked()
        queue.finish()


async def test_a_closed_queue_refuses_messages() -> None:
    queue = SendQueue()
    queue.close()
    with pytest.raises(RpcError):
        await queue.send(b"a")
    with pytest.raises(RpcError):
        await queue.send_large(iter([b"a"]))
    assert queue.answer(b"a")


async def test_closing_ends_the_wait_for_room() -> None:
    queue = SendQueue()
    await fill(queue)

    async def send() -> None:
        with pytest.raises(RpcError):
            await queue.send(b"late")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        queue.close()
