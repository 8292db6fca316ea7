"""What a worker takes on, runs and gives up; no network, a clock that jumps."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from ulid import ULID

from connect.protocol.codec import decode
from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from connect.worker import App, Context, Happening, JournalEntry, RunEnd, WorkerLimits, WorkerTiming
from connect.worker.delivery import Routes
from connect.worker.errors import ReplyTooLarge
from connect.worker.request import Request
from connect.worker.work import Work
from tests.worker.links import FakeLink
from tests.worker.payloads import make_payload

Kind = pb.GatewayMessageType


def _request(request_id: str = "r1", *, lease_id: str = "lease-1", function: str = "f") -> Request:
    return Request(
        request_id=request_id,
        app_name="app",
        function_slug=f"app-{function}",
        payload=make_payload(),
        run_id="run-1",
        lease_id=lease_id,
    )


class Rig:
    """Work on one connection; ``app-f`` waits to be released, and notes what it does."""

    def __init__(self, nursery: trio.Nursery, **options: Any) -> None:
        self.link = FakeLink()
        self.journal: list[JournalEntry] = []
        self.release = trio.Event()
        self.cleanup_seconds = 0.0
        self.result: object = "done"
        self.running = 0
        self.flush_most: int | None = None
        self.flushed: list[bytes] = []
        app = App("app")
        app.function("f")(self._function)
        settings: dict[str, Any] = {
            "max_concurrency": None,
            "limits": WorkerLimits(),
            "timing": WorkerTiming(),
        }
        self.work = Work(
            nursery,
            {"app": app},
            routes=Routes(connection=lambda: self.link, flush=self._flush),
            jitter=lambda: 1.0,
            journal=self.journal.append,
            **(settings | options),
        )
        nursery.start_soon(self.work.run)

    async def _flush(self, payload: bytes) -> bool:
        assert self.flush_most is not None, "nothing is to go by HTTP"
        if len(payload) > self.flush_most:
            raise ReplyTooLarge("413")
        self.flushed.append(payload)
        return True

    async def _function(self, ctx: Context) -> object:
        self.running += 1
        try:
            await self.release.wait()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.cleanup_seconds)
            self.running -= 1
        return self.result

    async def take(self, *requests: Request) -> None:
        for request in requests:
            self.work.accept(self.link, request)
        await wait_all_tasks_blocked()

    async def finish(self) -> None:
        self.release.set()
        await wait_all_tasks_blocked()

    async def lose_lease(self, request_id: str = "r1") -> None:
        """Have its next extension refused."""
        await trio.sleep(5.1)
        answer = pb.WorkerRequestExtendLeaseAckData(request_id=request_id)
        self.work.leases.answered(self.link, answer)

    def happened(self, what: Happening) -> list[JournalEntry]:
        return [entry for entry in self.journal if entry.what == what]

    @property
    def replies(self) -> list[pb.SdkResponse]:
        return [
            decode(pb.SdkResponse, payload)
            for kind, payload in self.link.sent
            if kind == Kind.WORKER_REPLY
        ]


MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig(nursery: trio.Nursery) -> MakeRig:
    def make(**options: Any) -> Rig:
        return Rig(nursery, **options)

    return make


async def test_a_run_is_told_from_its_start_to_its_end(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(_request())
    await rig.finish()

    (started,), (finished,) = rig.happened(Happening.STARTED), rig.happened(Happening.FINISHED)
    assert (started.request_id, started.run_id, started.function) == ("r1", "run-1", "app-f")
    assert (finished.request_id, finished.end) == ("r1", RunEnd.DONE)


async def test_a_function_that_fails_ends_in_error(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(_request(function="gone"))

    assert rig.happened(Happening.FINISHED)[0].end is RunEnd.ERROR


async def test_a_cancelled_worker_tells_that_its_runs_have_ended(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery)
        await rig.take(_request())
        nursery.cancel_scope.cancel()

    assert rig.happened(Happening.FINISHED)[0].end is RunEnd.CANCELLED


async def test_a_worker_runs_no_more_at_once_than_it_can(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(max_concurrency=2)
    await rig.take(*(_request(f"r{number}") for number in range(4)))

    assert (rig.running, rig.link.count(Kind.WORKER_REQUEST_ACK)) == (2, 4)


async def test_what_waits_for_its_turn_is_run_in_the_end(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(max_concurrency=1)
    await rig.take(*(_request(f"r{number}") for number in range(3)))
    await rig.finish()

    assert len(rig.replies) == 3


async def test_what_waits_for_its_turn_is_under_lease(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(max_concurrency=1)
    await rig.take(_request("r1"), _request("r2", lease_id="lease-2"))
    await trio.sleep(5.1)

    assert rig.link.lease_ids == ["lease-1", "lease-2"]


async def test_what_loses_its_lease_before_its_turn_never_starts(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(max_concurrency=1)
    await rig.take(_request("r1"))
    await rig.take(_request("r2"))
    await rig.lose_lease("r2")
    await rig.finish()

    assert [entry.request_id for entry in rig.happened(Happening.STARTED)] == ["r1"]


async def test_a_worker_that_holds_as_many_requests_as_it_may_stays_silent(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(limits=WorkerLimits(requests=2))
    await rig.take(*(_request(f"r{number}") for number in range(3)))

    (ignored,) = rig.happened(Happening.REQUEST_IGNORED)
    assert (ignored.request_id, rig.link.count(Kind.WORKER_REQUEST_ACK)) == ("r2", 2)


async def test_unconfirmed_replies_count_among_the_requests_held(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(limits=WorkerLimits(requests=1))
    await rig.take(_request("r1"))
    await rig.finish()
    await rig.take(_request("r2"))

    assert rig.happened(Happening.REQUEST_IGNORED)[0].request_id == "r2"


async def test_a_worker_without_room_for_replies_stays_silent(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(limits=WorkerLimits(reply_bytes=1))
    await rig.take(_request("r1"))
    await rig.finish()
    await rig.take(_request("r2"))

    assert rig.happened(Happening.REQUEST_IGNORED)[0].request_id == "r2"


async def test_a_confirmed_reply_makes_room(make_rig: MakeRig, autojump_clock: MockClock) -> None:
    rig = make_rig(limits=WorkerLimits(requests=1))
    await rig.take(_request("r1"))
    await rig.finish()
    rig.work.delivery.confirmed("r1")
    await rig.take(_request("r2"))

    assert [reply.request_id for reply in rig.replies] == ["r1", "r2"]


async def test_a_worker_that_shuts_down_still_sends_its_reply_again(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(_request())
    await rig.finish()
    rig.work.refuse()
    await rig.take(_request())

    assert len(rig.replies) == 2


async def test_a_reply_that_no_gateway_would_take_fails_the_function(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(limits=WorkerLimits(message_bytes=300))
    rig.result = "x" * 1000
    await rig.take(_request())
    await rig.finish()

    (reply,) = rig.replies
    assert (reply.status, reply.no_retry) == (pb.SdkResponseStatus.ERROR, True)
    assert "and a message 300 at most" in json.loads(reply.body)["message"]


@pytest.mark.parametrize("too_many", [0, 1])
async def test_what_a_message_may_have_is_with_its_envelope(
    make_rig: MakeRig, autojump_clock: MockClock, too_many: int
) -> None:
    rig = make_rig()
    rig.result = "x" * 3000
    await rig.take(_request())
    await rig.finish()
    payload = rig.link.sent[-1][1]
    rig.work.delivery.confirmed("r1")

    most = len(payload) + 16 - too_many
    limited = make_rig(limits=WorkerLimits(message_bytes=most))
    limited.result = rig.result
    await limited.take(_request())
    await limited.finish()

    assert len(encode_message(Kind.WORKER_REPLY, limited.link.sent[-1][1])) <= most
    assert (limited.replies[0].status == pb.SdkResponseStatus.ERROR) == bool(too_many)


async def test_a_reply_that_the_service_finds_too_large_fails_the_function(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    rig.result = "x" * 3000
    rig.flush_most = 2000
    await rig.take(_request())
    await rig.finish()
    await trio.sleep(6)

    reply = decode(pb.SdkResponse, rig.flushed[0])
    assert (reply.status, reply.no_retry) == (pb.SdkResponseStatus.ERROR, True)
    assert "more than the service takes" in json.loads(reply.body)["message"]


async def test_a_lease_that_ran_out_ends_the_run_without_a_reply(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(_request())
    await trio.sleep(20.1)

    (lost,) = rig.happened(Happening.LEASE_LOST)
    assert (rig.running, rig.replies, lost.request_id) == (0, [], "r1")


async def test_a_run_whose_lease_ran_out_is_told_as_such(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(_request())
    await trio.sleep(20.1)

    assert rig.happened(Happening.FINISHED)[0].end is RunEnd.LEASE_LOST


async def test_a_refused_lease_is_told_once(make_rig: MakeRig, autojump_clock: MockClock) -> None:
    rig = make_rig()
    await rig.take(_request())
    await rig.lose_lease()
    await wait_all_tasks_blocked()

    assert len(rig.happened(Happening.LEASE_LOST)) == 1


async def test_a_request_that_comes_again_waits_for_the_end_of_its_lost_run(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    rig.cleanup_seconds = 3.0
    await rig.take(_request())
    await rig.lose_lease()
    await rig.take(_request(lease_id="lease-2"))
    during = len(rig.happened(Happening.STARTED))
    await trio.sleep(3.1)

    assert (during, len(rig.happened(Happening.STARTED)), rig.running) == (1, 2, 1)


async def test_an_unconfirmed_reply_keeps_its_lease(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(timing=WorkerTiming(flush_after=100))
    await rig.take(_request())
    await rig.finish()
    await trio.sleep(5.1)

    assert rig.link.lease_ids == ["lease-1"]


async def test_a_confirmed_reply_lets_its_lease_go(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(timing=WorkerTiming(flush_after=100))
    await rig.take(_request())
    await rig.finish()
    rig.work.delivery.confirmed("r1")
    await trio.sleep(5.1)

    assert rig.link.lease_ids == []


async def test_a_request_that_could_not_be_acknowledged_is_not_leased(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    rig.link.ended = True
    await rig.take(_request())
    rig.link.ended = False
    await trio.sleep(6)

    assert (rig.happened(Happening.STARTED), rig.link.sent) == ([], [])


# A request that has waited in the socket while its worker was stopped, until its lease was over.

NOW = 1_764_000_000.0
OVER = str(ULID.from_timestamp(NOW - 1))


async def _take_late(make_rig: MakeRig) -> Rig:
    rig = make_rig(now=lambda: NOW)
    await rig.take(_request(lease_id=OVER))
    return rig


async def test_a_request_whose_lease_is_over_is_asked_for_before_it_runs(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)

    assert (rig.link.lease_ids, rig.running, rig.link.count(Kind.WORKER_REQUEST_ACK)) == (
        [OVER],
        0,
        0,
    )


async def test_a_request_whose_lease_is_over_runs_once_that_is_extended(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)
    answer = pb.WorkerRequestExtendLeaseAckData(request_id="r1", new_lease_id="lease-2")
    rig.work.leases.answered(rig.link, answer)
    await wait_all_tasks_blocked()

    assert (rig.running, rig.link.count(Kind.WORKER_REQUEST_ACK)) == (1, 1)


async def test_a_request_that_is_somebody_elses_by_now_is_met_with_silence(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)
    await rig.lose_lease()
    await wait_all_tasks_blocked()

    assert (rig.running, rig.link.count(Kind.WORKER_REQUEST_ACK)) == (0, 0)
    assert [entry.detail for entry in rig.happened(Happening.REQUEST_IGNORED)] == [
        "its lease is over"
    ]


async def test_a_request_whose_lease_nobody_extends_in_time_does_not_run(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)
    await trio.sleep(21)

    assert (rig.happened(Happening.STARTED), rig.work.request_ids) == ([], ())


async def test_a_request_whose_lease_lasts_runs_at_once(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(now=lambda: NOW)
    await rig.take(_request(lease_id=str(ULID.from_timestamp(NOW + 11))))

    assert (rig.running, rig.link.lease_ids) == (1, [])


async def test_a_request_whose_lease_is_about_to_end_is_asked_for_before_it_runs(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    about_to_end = str(ULID.from_timestamp(NOW + 9))
    rig = make_rig(now=lambda: NOW)
    await rig.take(_request(lease_id=about_to_end))

    assert (rig.running, rig.link.lease_ids) == (0, [about_to_end])


async def test_what_was_on_its_way_for_long_does_not_run_for_longer_than_its_lease(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    """Nobody extends it; somebody else may be given the request once it is over."""
    rig = make_rig(now=lambda: NOW)
    await rig.take(_request(lease_id=str(ULID.from_timestamp(NOW + 12))))
    await trio.sleep(12.1)

    assert rig.running == 0


def _grant(rig: Rig) -> None:
    answer = pb.WorkerRequestExtendLeaseAckData(request_id="r1", new_lease_id="lease-2")
    rig.work.leases.answered(rig.link, answer)


def _end_link(rig: Rig) -> FakeLink:
    """Its connection ends, and there is another."""
    rig.link.ended = True
    rig.link = FakeLink("c2")
    rig.work.link_changed()
    return rig.link


async def test_what_was_granted_over_the_next_connection_runs_though_its_ack_reaches_nobody(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)
    second = _end_link(rig)
    await wait_all_tasks_blocked()
    _grant(rig)
    await wait_all_tasks_blocked()

    assert (second.lease_ids, rig.running) == ([OVER], 1)


async def test_a_lease_that_could_not_be_asked_for_is_asked_for_over_the_next_connection(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(now=lambda: NOW)
    rig.link.ended = True
    await rig.take(_request(lease_id=OVER))
    second = _end_link(rig)
    await wait_all_tasks_blocked()
    _grant(rig)
    await wait_all_tasks_blocked()

    assert (second.lease_ids, rig.running) == ([OVER], 1)


async def test_what_comes_again_while_it_is_asked_for_is_acknowledged_once_it_is_granted(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)
    second = FakeLink("c2")
    rig.work.accept(second, _request(lease_id=OVER))
    await wait_all_tasks_blocked()
    before = second.count(Kind.WORKER_REQUEST_ACK)
    _grant(rig)
    await wait_all_tasks_blocked()

    assert (before, second.count(Kind.WORKER_REQUEST_ACK), rig.running) == (0, 1, 1)


async def test_what_comes_again_while_it_is_asked_for_is_met_with_silence_if_it_is_lost(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)
    await rig.take(_request(lease_id=OVER))
    await rig.lose_lease()
    await wait_all_tasks_blocked()

    assert (rig.link.count(Kind.WORKER_REQUEST_ACK), rig.happened(Happening.STARTED)) == (0, [])


async def test_what_is_given_anew_while_it_is_asked_for_runs_at_once(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)
    await rig.take(_request(lease_id=str(ULID.from_timestamp(NOW + 20))))

    assert (rig.running, rig.link.count(Kind.WORKER_REQUEST_ACK)) == (1, 1)


async def test_what_loses_its_lease_while_it_is_acknowledged_never_starts(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    rig.link.blocks = True
    await rig.take(_request())
    await rig.lose_lease()
    rig.link.unblock()
    await wait_all_tasks_blocked()

    assert rig.happened(Happening.STARTED) == []


async def test_where_leases_are_not_extended_a_late_request_runs_at_once(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(now=lambda: NOW)
    rig.link.extend_lease_interval = 0.0
    await rig.take(_request(lease_id=OVER))

    assert rig.running == 1
