"""Replies that the state store did not take at once are kept, saved, and told to executors."""

from trio.testing import MockClock

from tests.nursery.rig import open_rig
from tests.nursery.test_durable_replies import acks, assigned, forwarded


async def test_a_reply_whose_save_was_not_answered_is_pushed_all_the_same(
    autojump_clock: MockClock,
) -> None:
    """The executor may be cut off from the store, where the reply is."""
    async with open_rig() as rig:
        worker = await rig.worker()
        await assigned(rig)
        await forwarded(rig, worker)
        rig.outages.unanswered = {"save"}
        await worker.reply("r1", b'"done"')
        assert await acks(worker, seconds=5) == ["r1"]
        assert [(host, port) for host, port, _ in rig.pushes.pushed] == [("10.0.0.1", 7000)]
