"""What a worker takes on, runs and gives up; no network, a clock that jumps."""

import json

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.protocol.codec import decode
from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from connect.worker import Happening, RunEnd, WorkerLimits, WorkerTiming
from tests.worker.work_rig import Kind, MakeRig, WorkRig, work_request


async def test_a_run_is_told_from_its_start_to_its_end(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(work_request())
    await rig.finish()

    (started,), (finished,) = rig.happened(Happening.STARTED), rig.happened(Happening.FINISHED)
    assert (started.request_id, started.run_id, started.function) == ("r1", "run-1", "app-f")
    assert (finished.request_id, finished.end) == ("r1", RunEnd.DONE)


async def test_a_function_that_fails_ends_in_error(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(work_request(function="gone"))

    assert rig.happened(Happening.FINISHED)[0].end is RunEnd.ERROR


async def test_a_cancelled_worker_tells_that_its_runs_have_ended(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        rig = WorkRig(nursery)
        await rig.take(work_request())
        nursery.cancel_scope.cancel()

    assert rig.happened(Happening.FINISHED)[0].end is RunEnd.CANCELLED


async def test_a_worker_runs_no_more_at_once_than_it_can(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(max_concurrency=2)
    await rig.take(*(work_request(f"r{number}") for number in range(4)))

    assert (rig.running, rig.link.count(Kind.WORKER_REQUEST_ACK)) == (2, 4)


async def test_what_waits_for_its_turn_is_run_in_the_end(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(max_concurrency=1)
    await rig.take(*(work_request(f"r{number}") for number in range(3)))
    await rig.finish()

    assert len(rig.replies) == 3


async def test_what_waits_for_its_turn_is_under_lease(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(max_concurrency=1)
    await rig.take(work_request("r1"), work_request("r2", lease_id="lease-2"))
    await trio.sleep(5.1)

    assert rig.link.lease_ids == ["lease-1", "lease-2"]


async def test_what_loses_its_lease_before_its_turn_never_starts(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(max_concurrency=1)
    await rig.take(work_request("r1"))
    await rig.take(work_request("r2"))
    await rig.lose_lease("r2")
    await rig.finish()

    assert [entry.request_id for entry in rig.happened(Happening.STARTED)] == ["r1"]


async def test_a_worker_that_holds_as_many_requests_as_it_may_stays_silent(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(limits=WorkerLimits(requests=2))
    await rig.take(*(work_request(f"r{number}") for number in range(3)))

    (ignored,) = rig.happened(Happening.REQUEST_IGNORED)
    assert (ignored.request_id, rig.link.count(Kind.WORKER_REQUEST_ACK)) == ("r2", 2)


async def test_unconfirmed_replies_count_among_the_requests_held(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(limits=WorkerLimits(requests=1))
    await rig.take(work_request("r1"))
    await rig.finish()
    await rig.take(work_request("r2"))

    assert rig.happened(Happening.REQUEST_IGNORED)[0].request_id == "r2"


async def test_a_worker_without_room_for_replies_stays_silent(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(limits=WorkerLimits(reply_bytes=1))
    await rig.take(work_request("r1"))
    await rig.finish()
    await rig.take(work_request("r2"))

    assert rig.happened(Happening.REQUEST_IGNORED)[0].request_id == "r2"


async def test_a_confirmed_reply_makes_room(make_rig: MakeRig, autojump_clock: MockClock) -> None:
    rig = make_rig(limits=WorkerLimits(requests=1))
    await rig.take(work_request("r1"))
    await rig.finish()
    rig.work.delivery.confirmed("r1")
    await rig.take(work_request("r2"))

    assert [reply.request_id for reply in rig.replies] == ["r1", "r2"]


async def test_a_worker_that_shuts_down_still_sends_its_reply_again(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(work_request())
    await rig.finish()
    rig.work.refuse()
    await rig.take(work_request())

    assert len(rig.replies) == 2


async def test_a_reply_is_sent_again_though_it_is_confirmed_while_its_request_is_acknowledged(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(work_request())
    await rig.finish()
    rig.link.blocks = True
    await rig.take(work_request(lease_id="lease-2"))
    rig.work.delivery.confirmed("r1")  # it was late for the lease before
    rig.link.unblock()
    await wait_all_tasks_blocked()

    assert (len(rig.replies), len(rig.work.delivery)) == (2, 1)
    await trio.sleep(4.9)
    assert len(rig.work.delivery) == 1
    rig.work.delivery.confirmed("r1")
    await rig.work.until_idle()


async def test_a_reply_that_no_gateway_would_take_fails_the_function(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(limits=WorkerLimits(message_bytes=300))
    rig.result = "x" * 1000
    await rig.take(work_request())
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
    await rig.take(work_request())
    await rig.finish()
    payload = rig.link.sent[-1][1]
    rig.work.delivery.confirmed("r1")

    most = len(payload) + 16 - too_many
    limited = make_rig(limits=WorkerLimits(message_bytes=most))
    limited.result = rig.result
    await limited.take(work_request())
    await limited.finish()

    assert len(encode_message(Kind.WORKER_REPLY, limited.link.sent[-1][1])) <= most
    assert (limited.replies[0].status == pb.SdkResponseStatus.ERROR) == bool(too_many)


async def test_a_reply_that_the_service_finds_too_large_fails_the_function(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    rig.result = "x" * 3000
    rig.flush_most = 2000
    await rig.take(work_request())
    await rig.finish()
    await trio.sleep(6)

    reply = decode(pb.SdkResponse, rig.flushed[0])
    assert (reply.status, reply.no_retry) == (pb.SdkResponseStatus.ERROR, True)
    assert "more than the service takes" in json.loads(reply.body)["message"]


async def test_a_lease_that_ran_out_ends_the_run_without_a_reply(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(work_request())
    await trio.sleep(20.1)

    (lost,) = rig.happened(Happening.LEASE_LOST)
    assert (rig.running, rig.replies, lost.request_id) == (0, [], "r1")


async def test_a_run_whose_lease_ran_out_is_told_as_such(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    await rig.take(work_request())
    await trio.sleep(20.1)

    assert rig.happened(Happening.FINISHED)[0].end is RunEnd.LEASE_LOST


async def test_a_refused_lease_is_told_once(make_rig: MakeRig, autojump_clock: MockClock) -> None:
    rig = make_rig()
    await rig.take(work_request())
    await rig.lose_lease()
    await wait_all_tasks_blocked()

    assert len(rig.happened(Happening.LEASE_LOST)) == 1


async def test_a_request_that_comes_again_waits_for_the_end_of_its_lost_run(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    rig.cleanup_seconds = 3.0
    await rig.take(work_request())
    await rig.lose_lease()
    await rig.take(work_request(lease_id="lease-2"))
    during = len(rig.happened(Happening.STARTED))
    await trio.sleep(3.1)

    assert (during, len(rig.happened(Happening.STARTED)), rig.running) == (1, 2, 1)


async def test_an_unconfirmed_reply_keeps_its_lease(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(timing=WorkerTiming(flush_after=100))
    await rig.take(work_request())
    await rig.finish()
    await trio.sleep(5.1)

    assert rig.link.lease_ids == ["lease-1"]


async def test_a_confirmed_reply_lets_its_lease_go(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(timing=WorkerTiming(flush_after=100))
    await rig.take(work_request())
    await rig.finish()
    rig.work.delivery.confirmed("r1")
    await trio.sleep(5.1)

    assert rig.link.lease_ids == []


async def test_a_request_that_could_not_be_acknowledged_is_not_leased(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    rig.link.ended = True
    await rig.take(work_request())
    rig.link.ended = False
    await trio.sleep(6)

    assert (rig.happened(Happening.STARTED), rig.link.sent) == ([], [])
