"""Replies that the state store did not take at once are kept, saved, and told to executors."""

from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.errors import StoreUnavailable
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


async def test_a_reply_that_is_never_saved_in_time_holds_up_no_others(
    autojump_clock: MockClock,
) -> None:
    """It is large, say, and the way to the store is slow."""
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.lease("r1", "r2")
        responses = rig.services.store.responses
        save = responses.save

        async def save_small(env_id: str, request_id: str, response: bytes, **how: Any) -> object:
            if request_id == "r1":
                await trio.sleep(5)
                raise StoreUnavailable("not saved in time")
            return await save(env_id, request_id, response, **how)

        responses.save = save_small  # type: ignore[method-assign,assignment] # slow for one
        await worker.reply("r1")
        await trio.sleep(12)
        rig.outages.down = True
        await worker.reply("r2")
        await wait_all_tasks_blocked()
        rig.outages.down = False
        assert await acks(worker, seconds=15) == ["r2"]
