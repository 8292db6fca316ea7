"""Requests that reach their worker late, or when their lease is over."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from ulid import ULID

from connect.protocol.messages.connect import v1 as pb
from connect.worker import Happening
from tests.worker.links import FakeLink
from tests.worker.work_rig import Kind, MakeRig, WorkRig, work_request

# A request that has waited in the socket while its worker was stopped, until its lease was over.

NOW = 1_764_000_000.0
OVER = str(ULID.from_timestamp(NOW - 1))


async def _take_late(make_rig: MakeRig) -> WorkRig:
    rig = make_rig(now=lambda: NOW)
    await rig.take(work_request(lease_id=OVER))
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
    await rig.take(work_request(lease_id=str(ULID.from_timestamp(NOW + 11))))

    assert (rig.running, rig.link.lease_ids) == (1, [])


async def test_a_request_whose_lease_is_about_to_end_is_asked_for_before_it_runs(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    about_to_end = str(ULID.from_timestamp(NOW + 9))
    rig = make_rig(now=lambda: NOW)
    await rig.take(work_request(lease_id=about_to_end))

    assert (rig.running, rig.link.lease_ids) == (0, [about_to_end])


async def test_what_was_on_its_way_for_long_does_not_run_for_longer_than_its_lease(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    """Nobody extends it; somebody else may be given the request once it is over."""
    rig = make_rig(now=lambda: NOW)
    await rig.take(work_request(lease_id=str(ULID.from_timestamp(NOW + 12))))
    await trio.sleep(12.1)

    assert rig.running == 0


def _grant(rig: WorkRig) -> None:
    answer = pb.WorkerRequestExtendLeaseAckData(request_id="r1", new_lease_id="lease-2")
    rig.work.leases.answered(rig.link, answer)


def _end_link(rig: WorkRig) -> FakeLink:
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
    await rig.take(work_request(lease_id=OVER))
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
    rig.work.accept(second, work_request(lease_id=OVER))
    await wait_all_tasks_blocked()
    before = second.count(Kind.WORKER_REQUEST_ACK)
    _grant(rig)
    await wait_all_tasks_blocked()

    assert (before, second.count(Kind.WORKER_REQUEST_ACK), rig.running) == (0, 1, 1)


async def test_what_comes_again_while_it_is_asked_for_is_met_with_silence_if_it_is_lost(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)
    await rig.take(work_request(lease_id=OVER))
    await rig.lose_lease()
    await wait_all_tasks_blocked()

    assert (rig.link.count(Kind.WORKER_REQUEST_ACK), rig.happened(Happening.STARTED)) == (0, [])


async def test_what_is_given_anew_while_it_is_asked_for_runs_at_once(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)
    await rig.take(work_request(lease_id=str(ULID.from_timestamp(NOW + 20))))

    assert (rig.running, rig.link.count(Kind.WORKER_REQUEST_ACK)) == (1, 1)


async def test_what_is_given_anew_runs_on_though_the_lease_before_is_refused(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = await _take_late(make_rig)
    await rig.take(work_request(lease_id=str(ULID.from_timestamp(NOW + 20))))
    refused = pb.WorkerRequestExtendLeaseAckData(request_id="r1")  # what was asked for: OVER
    rig.work.leases.answered(rig.link, refused)
    await wait_all_tasks_blocked()

    assert rig.running == 1


async def test_what_loses_its_lease_while_it_is_acknowledged_never_starts(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig()
    rig.link.blocks = True
    await rig.take(work_request())
    await rig.lose_lease()
    rig.link.unblock()
    await wait_all_tasks_blocked()

    assert rig.happened(Happening.STARTED) == []


async def test_where_leases_are_not_extended_a_late_request_runs_at_once(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(now=lambda: NOW)
    rig.link.extend_lease_interval = 0.0
    await rig.take(work_request(lease_id=OVER))

    assert rig.running == 1


async def test_what_comes_again_by_an_older_lease_does_not_cost_the_run_its_own(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(now=lambda: NOW)
    granted = str(ULID.from_timestamp(NOW + 20))
    await rig.take(work_request(lease_id=granted))
    # A forward of before, out of a gateway that stood still.
    await rig.take(work_request(lease_id=OVER))

    await trio.sleep(5.1)

    assert (rig.link.lease_ids, rig.link.count(Kind.WORKER_REQUEST_ACK)) == ([granted], 2)


async def test_what_is_given_anew_under_a_lease_that_ends_later_is_held_by_that(
    make_rig: MakeRig, autojump_clock: MockClock
) -> None:
    rig = make_rig(now=lambda: NOW + 15)  # this clock is fast: everything seems late
    await rig.take(work_request(lease_id=str(ULID.from_timestamp(NOW + 26))))
    anew = str(ULID.from_timestamp(NOW + 25 + 20))
    await rig.take(work_request(lease_id=anew))

    await trio.sleep(5.1)

    assert rig.link.lease_ids[-1] == anew
