"""Pushes to executors are bounded; what is not pushed stays in the store."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.settings import Settings
from tests.nursery.rig import ENV, Peer, Rig, open_rig, with_limits
from tests.nursery.test_durable_replies import acks, counted


class Stalling:
    """Executors of which one host takes nothing until it is let go."""

    def __init__(self, stalled: str = "stalled") -> None:
        self.began: list[str] = []
        self.go_on = trio.Event()
        self._stalled = stalled

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        self.began.append(host)
        if host == self._stalled:
            await self.go_on.wait()
        return True


class Pushing:
    """A worker that replies to executors, some of which stall."""

    def __init__(self, rig: Rig, worker: Peer, executors: Stalling) -> None:
        self.rig = rig
        self.executors = executors
        self._worker = worker
        self._replies = 0

    async def reply(self, host: str, size: int = 1) -> None:
        """Have a request of the executor at this host answered, and the answer saved."""
        self._replies += 1
        request_id = f"r{self._replies}"
        await self.rig.store.leases.lease(
            ENV, request_id, executor_host=host, executor_port=7000, seconds=20
        )
        await self._worker.reply(request_id, b"x" * size)
        assert await acks(self._worker, seconds=0.1) == [request_id]
        assert await self.rig.store.responses.get(ENV, request_id) is not None
        await wait_all_tasks_blocked()


async def start_pushing(rig: Rig) -> Pushing:
    executors = Stalling()
    rig.pushes.reply = executors.reply  # type: ignore[method-assign] # stalls as told
    return Pushing(rig, await rig.worker(), executors)


def limited(**limits: int) -> Settings:
    return with_limits(**({"pushes": 100, "push_bytes": 100_000} | limits))


async def test_pushes_to_an_executor_that_stalls_are_bounded_in_number(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(limited(pushes=4)) as rig:
        pushing = await start_pushing(rig)
        for _ in range(5):
            await pushing.reply("stalled")
        assert pushing.executors.began == ["stalled"] * 2
        assert counted(rig, "push_skipped") == 3


async def test_pushes_to_an_executor_that_stalls_are_bounded_in_bytes(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(limited(push_bytes=10_000)) as rig:
        pushing = await start_pushing(rig)
        for _ in range(5):
            await pushing.reply("stalled", 2000)
        assert pushing.executors.began == ["stalled"] * 2


async def test_one_reply_is_pushed_however_large(autojump_clock: MockClock) -> None:
    async with open_rig(limited(push_bytes=1000)) as rig:
        pushing = await start_pushing(rig)
        for _ in range(2):
            await pushing.reply("stalled", 5000)
        assert pushing.executors.began == ["stalled"]


async def test_an_executor_that_stalls_leaves_room_for_the_others(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(limited(pushes=4)) as rig:
        pushing = await start_pushing(rig)
        for host in ["stalled"] * 5 + ["other"] * 5:
            await pushing.reply(host)
        assert pushing.executors.began == ["stalled"] * 2 + ["other"] * 5


async def test_all_executors_together_have_no_more_than_the_whole_room(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(limited(pushes=2)) as rig:
        pushing = await start_pushing(rig)
        rig.pushes.reply = stall  # type: ignore[method-assign] # all of them
        for host in ("a", "b", "c"):
            await pushing.reply(host)
        assert counted(rig, "push_skipped") == 1


async def stall(host: str, port: int, response: bytes) -> bool:
    await trio.sleep_forever()
    raise AssertionError


async def test_there_is_room_again_once_an_executor_has_taken_its_replies(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(limited(pushes=4)) as rig:
        pushing = await start_pushing(rig)
        for _ in range(3):
            await pushing.reply("stalled")
        pushing.executors.go_on.set()
        await wait_all_tasks_blocked()
        await pushing.reply("stalled")
        assert pushing.executors.began == ["stalled"] * 3
