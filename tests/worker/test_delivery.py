"""Replies on their way: over connections, by HTTP, and again; a clock that jumps."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.protocol.messages.connect import v1 as pb
from connect.worker import Happening, JournalEntry, WorkerTiming
from connect.worker.delivery import Delivery, Routes
from connect.worker.errors import ConnectionFailed, ReplyTooLarge
from connect.worker.link import Link
from tests.worker.links import FakeLink

REPLY = pb.GatewayMessageType.WORKER_REPLY
TIMING = WorkerTiming(flush_first=1.0, flush_most=4.0, reply_lifetime=60.0)


class Rig:
    """A delivery whose connection and API the test controls.

    Attributes:
        api: what HTTP answers: taken, refused for good, or the reason why not now.
        most: bytes that HTTP takes.
        flush_seconds: how long HTTP takes.
        attempts: when HTTP was tried, seconds of the Trio clock from the rig's beginning.
    """

    def __init__(self, timing: WorkerTiming = TIMING, limit: int = 1000) -> None:
        self.link: FakeLink | None = FakeLink()
        self.api: bool | str = True
        self.most = 1000
        self.flush_seconds = 0.0
        self.began = trio.current_time()
        self.attempts: list[float] = []
        self.flushed: list[bytes] = []
        self.settled: list[str] = []
        self.journal: list[JournalEntry] = []
        self.delivery = Delivery(
            Routes(connection=self._route, flush=self._flush),
            limit=limit,
            timing=timing,
            jitter=lambda: 1.0,
            settled=self.settled.append,
            journal=self.journal.append,
        )

    def _route(self) -> Link | None:
        return self.link

    async def _flush(self, payload: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        self.attempts.append(trio.current_time() - self.began)
        await trio.sleep(self.flush_seconds)
        if isinstance(self.api, str):
            raise ConnectionFailed(self.api)
        if len(payload) > self.most:
            raise ReplyTooLarge("413")
        self.flushed.append(payload)
        return self.api

    async def reply(self, request_id: str = "r1", payload: bytes = b"x") -> None:
        await self.delivery.send(self.delivery.take(request_id, payload))

    def end_link(self) -> None:
        assert self.link is not None
        self.link.ended = True
        self.link = None
        self.delivery.wake()

    @property
    def told(self) -> list[Happening]:
        return [entry.what for entry in self.journal]


@pytest.fixture
async def rig(nursery: trio.Nursery) -> Rig:
    rig = Rig()
    nursery.start_soon(rig.delivery.run)
    await wait_all_tasks_blocked()
    return rig


async def test_a_reply_goes_over_the_connection(rig: Rig, autojump_clock: MockClock) -> None:
    assert rig.link
    await rig.reply()

    assert rig.link.sent == [(REPLY, b"x")]


async def test_a_confirmed_reply_is_forgotten(rig: Rig, autojump_clock: MockClock) -> None:
    await rig.reply()
    rig.delivery.confirmed("r1")
    await trio.sleep(100)

    assert (len(rig.delivery), rig.attempts, rig.settled) == (0, [], ["r1"])


async def test_a_confirmation_that_comes_twice_changes_nothing(
    rig: Rig, autojump_clock: MockClock
) -> None:
    await rig.reply()
    rig.delivery.confirmed("r1")
    rig.delivery.confirmed("r1")

    assert rig.settled == ["r1"]


async def test_a_reply_that_is_flushed_late_leaves_the_one_to_the_next_run_alone(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.flush_seconds = 3.0
    await rig.reply(payload=b"first")
    await trio.sleep(5.1)  # it is on its way by HTTP
    rig.delivery.confirmed("r1")
    await rig.reply(payload=b"second")
    await trio.sleep(3)
    before = len(rig.delivery)
    await trio.sleep(10)

    assert (before, rig.flushed) == (1, [b"first", b"second"])


async def test_a_reply_not_confirmed_in_one_interval_goes_by_http(
    rig: Rig, autojump_clock: MockClock
) -> None:
    await rig.reply()
    await trio.sleep(5.1)

    assert rig.attempts == [pytest.approx(5)]


async def test_a_reply_taken_by_http_is_settled(rig: Rig, autojump_clock: MockClock) -> None:
    await rig.reply()
    await trio.sleep(5.1)

    assert (rig.settled, rig.told[-1]) == (["r1"], Happening.REPLY_FLUSHED)


async def test_without_a_connection_a_reply_goes_by_http_at_once(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.end_link()
    await rig.reply()
    await wait_all_tasks_blocked()

    assert rig.attempts == [pytest.approx(0, abs=0.01)]


async def test_when_its_connection_ends_a_reply_goes_by_http_at_once(
    rig: Rig, autojump_clock: MockClock
) -> None:
    await rig.reply()
    await trio.sleep(1)
    rig.end_link()
    await wait_all_tasks_blocked()

    assert rig.attempts == [pytest.approx(1, abs=0.01)]


async def test_a_connection_that_ends_under_a_reply_sends_it_by_http(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    rig.link.ended = True
    await rig.reply()
    await wait_all_tasks_blocked()

    assert rig.flushed == [b"x"]


async def test_pauses_between_attempts_double_up_to_their_bound(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.api = "no answer"
    rig.end_link()
    await rig.reply()
    await trio.sleep(16)

    assert rig.attempts == [pytest.approx(at, abs=0.1) for at in (0, 1, 3, 7, 11, 15)]


async def test_when_http_fails_a_living_connection_is_tried_again(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.api = "no answer"
    await rig.reply()
    rig.end_link()
    rig.link = FakeLink("c2")
    await trio.sleep(0.5)

    assert rig.link.count(REPLY) == 1


async def test_a_reply_is_repeated_over_the_connection_while_http_fails(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    rig.api = "no answer"
    await rig.reply()
    await trio.sleep(20.5)

    assert rig.link.count(REPLY) == 1 + 4


async def test_a_reply_that_http_refuses_for_good_is_dropped(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.api = False
    rig.end_link()
    await rig.reply()
    await wait_all_tasks_blocked()

    assert (rig.journal[-1].what, rig.journal[-1].detail) == (
        Happening.REPLY_DROPPED,
        "refused by the API",
    )


async def test_a_reply_that_is_too_large_gives_way_to_a_smaller_one(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.most = 1
    await rig.delivery.send(rig.delivery.take("r1", b"large", lambda: b"s"))
    await trio.sleep(5.1)

    assert (rig.flushed, rig.settled) == ([b"s"], ["r1"])
    assert rig.told[-2:] == [Happening.REPLY_TOO_LARGE, Happening.REPLY_FLUSHED]


async def test_a_reply_that_is_too_large_and_has_no_smaller_one_is_dropped(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.most = 1
    await rig.reply(payload=b"large")
    await trio.sleep(5.1)

    assert (rig.told[-1], rig.settled) == (Happening.REPLY_DROPPED, ["r1"])


async def test_a_reply_is_dropped_when_it_could_not_be_delivered_for_too_long(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.api = "no answer"
    rig.end_link()
    await rig.reply()
    await trio.sleep(64)

    assert (rig.journal[-1].what, rig.journal[-1].detail) == (
        Happening.REPLY_DROPPED,
        "no answer",
    )


async def test_after_a_success_pauses_are_short_again(rig: Rig, autojump_clock: MockClock) -> None:
    rig.api = "no answer"
    rig.end_link()
    await rig.reply("r1")
    await trio.sleep(4)
    rig.api = True
    await trio.sleep(10)
    rig.api = "no answer"
    rig.attempts.clear()
    await rig.reply("r2")
    await trio.sleep(1.5)

    assert len(rig.attempts) == 2


async def test_all_replies_that_a_connection_leaves_behind_go_by_http(
    rig: Rig, autojump_clock: MockClock
) -> None:
    for number in range(3):
        await rig.reply(f"r{number}", b"%d" % number)
    rig.end_link()
    await trio.sleep(1)

    assert rig.flushed == [b"0", b"1", b"2"]


async def test_a_reply_that_gives_way_is_settled(autojump_clock: MockClock) -> None:
    rig = Rig(limit=10)
    await rig.reply("r1", b"x" * 8)
    await rig.reply("r2", b"x" * 8)

    assert (rig.settled, Happening.REPLY_DROPPED in rig.told) == (["r1"], True)


async def test_without_an_interval_replies_have_five_seconds(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    rig = Rig()
    rig.link = FakeLink(interval=0.0)
    nursery.start_soon(rig.delivery.run)
    await rig.reply()
    await trio.sleep(5.1)

    assert rig.attempts == [pytest.approx(5)]


async def test_a_set_time_for_confirming_counts_before_the_interval(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    rig = Rig(WorkerTiming(flush_after=2.0))
    nursery.start_soon(rig.delivery.run)
    await rig.reply()
    await trio.sleep(2.1)

    assert rig.attempts == [pytest.approx(2)]


async def test_a_reply_that_is_unknown_is_not_sent_again(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    await rig.delivery.send_again("gone")

    assert rig.link.sent == []


async def test_a_reply_that_is_kept_again_goes_by_http_if_it_is_not_confirmed_again(
    rig: Rig, autojump_clock: MockClock
) -> None:
    reply = rig.delivery.take("r1", b"x")
    await rig.delivery.send(reply)
    rig.delivery.confirmed("r1")
    await trio.sleep(10)

    await rig.delivery.answer(reply)
    await trio.sleep(4.9)
    before = list(rig.flushed)
    await trio.sleep(0.2)

    assert (before, rig.flushed) == ([], [b"x"])
