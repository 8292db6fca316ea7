"""Leases that are extended in time, and given up in time; a clock that jumps."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from ulid import ULID

from connect.protocol.messages.connect import v1 as pb
from connect.worker import Happening, JournalEntry
from connect.worker.leases import Leases
from connect.worker.link import Link
from tests.worker.links import FakeLink, make_request


def _answer(lease_id: str | None) -> pb.WorkerRequestExtendLeaseAckData:
    return pb.WorkerRequestExtendLeaseAckData(request_id="r1", new_lease_id=lease_id)


class Rig:
    """Leases on a connection that the test may change."""

    def __init__(self) -> None:
        self.link: FakeLink | None = FakeLink()
        self.journal: list[JournalEntry] = []
        self.leases = Leases(route=self._route, journal=self.journal.append)

    def _route(self) -> Link | None:
        return self.link

    def change_link(self, link: FakeLink | None) -> None:
        self.link = link
        self.leases.wake()


async def _extended_by_another(rig: Rig) -> FakeLink:
    """Another connection takes over; its gateway extends the lease at once, and 5 s later."""
    second = FakeLink("c2")
    rig.change_link(second)
    await trio.sleep(1)
    rig.leases.answered(second, _answer("lease-2"))
    await trio.sleep(5)
    rig.leases.answered(second, _answer("lease-3"))
    return second


@pytest.fixture
async def rig(nursery: trio.Nursery) -> Rig:
    rig = Rig()
    nursery.start_soon(rig.leases.run)
    await wait_all_tasks_blocked()
    return rig


async def test_a_lease_is_first_extended_after_one_interval(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    rig.leases.hold(make_request(), rig.link)

    await trio.sleep(4.9)
    before = rig.link.lease_ids
    await trio.sleep(0.2)

    assert (before, rig.link.lease_ids) == ([], ["lease-1"])


async def test_a_lease_is_extended_once_per_interval(rig: Rig, autojump_clock: MockClock) -> None:
    assert rig.link
    rig.leases.hold(make_request(), rig.link)

    await trio.sleep(15.1)

    assert len(rig.link.lease_ids) == 3


async def test_extensions_that_fall_due_close_together_are_sent_together(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    rig.leases.hold(make_request("r1"), rig.link)
    await trio.sleep(1)
    rig.leases.hold(make_request("r2", lease_id="lease-2"), rig.link)

    await trio.sleep(4.1)

    assert rig.link.lease_ids == ["lease-1", "lease-2"]


async def test_a_released_lease_is_not_extended(rig: Rig, autojump_clock: MockClock) -> None:
    assert rig.link
    lease = rig.leases.hold(make_request(), rig.link)
    rig.leases.release(lease)

    await trio.sleep(30)

    assert rig.link.lease_ids == []


async def test_releasing_a_lease_leaves_its_successor_alone(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    first = rig.leases.hold(make_request(), rig.link)
    rig.leases.release(first)
    rig.leases.hold(make_request(lease_id="lease-2"), rig.link)
    rig.leases.release(first)

    await trio.sleep(6)

    assert rig.link.lease_ids == ["lease-2"]


async def test_a_new_connection_is_asked_at_once(rig: Rig, autojump_clock: MockClock) -> None:
    assert rig.link
    rig.leases.hold(make_request(), rig.link)
    await trio.sleep(1)
    second = FakeLink("c2")

    rig.change_link(second)
    await wait_all_tasks_blocked()

    assert second.lease_ids == ["lease-1"]


async def test_without_a_connection_leases_wait_for_one(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    rig.leases.hold(make_request(), rig.link)
    rig.change_link(None)
    await trio.sleep(7)
    second = FakeLink("c2")

    rig.change_link(second)
    await wait_all_tasks_blocked()

    assert second.lease_ids == ["lease-1"]


async def test_a_connection_that_ends_is_asked_nothing_more(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    for number in range(3):
        rig.leases.hold(make_request(f"r{number}"), rig.link)
    rig.link.ended = True

    await trio.sleep(6)

    assert rig.link.sent == []


async def test_the_next_extension_asks_with_the_new_lease_id(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    rig.leases.hold(make_request(), rig.link)
    await trio.sleep(5.1)

    rig.leases.answered(rig.link, _answer("lease-2"))
    await trio.sleep(5)

    assert rig.link.lease_ids == ["lease-1", "lease-2"]


async def test_a_refused_lease_cancels_what_runs_under_it(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    lease = rig.leases.hold(make_request(), rig.link)
    await trio.sleep(5.1)

    rig.leases.answered(rig.link, _answer(None))

    assert (lease.lost, lease.scope.cancel_called) == (True, True)


async def test_a_refused_lease_is_not_asked_for_again(rig: Rig, autojump_clock: MockClock) -> None:
    assert rig.link
    rig.leases.hold(make_request(), rig.link)
    await trio.sleep(5.1)
    rig.leases.answered(rig.link, _answer(None))

    await trio.sleep(20)

    assert rig.link.lease_ids == ["lease-1"]


async def test_the_loss_of_a_lease_is_told(rig: Rig, autojump_clock: MockClock) -> None:
    assert rig.link
    rig.leases.hold(make_request(), rig.link)
    await trio.sleep(5.1)

    rig.leases.answered(rig.link, _answer(None))

    (entry,) = rig.journal
    assert (entry.what, entry.request_id) == (Happening.LEASE_LOST, "r1")


async def test_an_answer_about_an_unknown_lease_changes_nothing(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.leases.answered(FakeLink(), _answer(None))

    assert rig.journal == []


@pytest.mark.parametrize("lease_id", [None, "lease-1b"])
async def test_an_answer_from_when_the_request_was_held_before_changes_nothing(
    rig: Rig, autojump_clock: MockClock, lease_id: str | None
) -> None:
    assert rig.link
    before = rig.leases.hold(make_request(), rig.link)
    await trio.sleep(5.1)
    rig.leases.release(before)
    lease = rig.leases.hold(make_request(lease_id="lease-2"), rig.link)

    rig.leases.answered(rig.link, _answer(lease_id))

    assert (lease.lost, lease.lease_id) == (False, "lease-2")


async def test_a_lease_that_nobody_extends_is_lost_after_four_intervals(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    lease = rig.leases.hold(make_request(), rig.link)
    await trio.sleep(19.9)
    before = lease.lost
    await trio.sleep(0.2)

    assert (before, lease.lost) == (False, True)


async def test_an_answer_makes_a_lease_last_from_when_it_was_asked_for(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    lease = rig.leases.hold(make_request(), rig.link)
    await trio.sleep(7)

    rig.leases.answered(rig.link, _answer("lease-2"))

    assert lease.scope.deadline - trio.current_time() == pytest.approx(18)


async def test_one_answer_to_two_questions_counts_for_the_first(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    lease = rig.leases.hold(make_request(), rig.link)
    await trio.sleep(11)

    rig.leases.answered(rig.link, _answer("lease-2"))

    assert lease.scope.deadline - trio.current_time() == pytest.approx(14)


async def test_an_answer_over_the_connection_before_counts_from_the_question_put_there(
    rig: Rig, autojump_clock: MockClock
) -> None:
    first = rig.link
    assert first
    lease = rig.leases.hold(make_request(), first)
    await trio.sleep(7)
    rig.change_link(FakeLink("c2"))
    await trio.sleep(1)

    rig.leases.answered(first, _answer("lease-2"))

    assert lease.scope.deadline - trio.current_time() == pytest.approx(17)


async def test_of_two_questions_left_open_on_the_connection_before_the_first_counts(
    rig: Rig, autojump_clock: MockClock
) -> None:
    first = rig.link
    assert first
    lease = rig.leases.hold(make_request(), first)
    await trio.sleep(11)
    rig.change_link(FakeLink("c2"))
    await trio.sleep(1)

    rig.leases.answered(first, _answer("lease-2"))

    assert lease.scope.deadline - trio.current_time() == pytest.approx(13)


async def test_a_refusal_over_the_connection_before_does_not_end_what_the_next_one_extends(
    rig: Rig, autojump_clock: MockClock
) -> None:
    first = rig.link
    assert first
    lease = rig.leases.hold(make_request(), first)
    await trio.sleep(11)  # asked twice
    second = await _extended_by_another(rig)

    rig.leases.answered(first, _answer(None))  # of lease-1
    await trio.sleep(5)

    assert (lease.lost, second.lease_ids) == (False, ["lease-1", "lease-2", "lease-3"])


async def test_a_late_refusal_over_a_connection_that_is_asked_again_ends_nothing(
    rig: Rig, autojump_clock: MockClock
) -> None:
    first = rig.link
    assert first
    lease = rig.leases.hold(make_request(), first)
    await trio.sleep(6)  # asked, while its gateway stands still
    second = await _extended_by_another(rig)
    second.ended = True
    rig.change_link(first)
    await trio.sleep(1)

    rig.leases.answered(first, _answer(None))  # of lease-1
    rig.leases.answered(first, _answer("lease-4"))
    await trio.sleep(5)

    assert (lease.lost, first.lease_ids) == (False, ["lease-1", "lease-3", "lease-4"])


async def test_of_a_connection_that_is_asked_again_the_answer_to_the_last_question_counts(
    rig: Rig, autojump_clock: MockClock
) -> None:
    first = rig.link
    assert first
    lease = rig.leases.hold(make_request(), first)
    await trio.sleep(6)
    rig.change_link(FakeLink("c2"))
    await trio.sleep(1)
    rig.change_link(first)
    await trio.sleep(1)

    rig.leases.answered(first, _answer("lease-2"))
    rig.leases.answered(first, _answer(None))

    assert lease.lost


async def test_a_refusal_of_the_lease_before_does_not_end_what_was_given_anew(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    lease = rig.leases.hold(make_request(), rig.link)
    await trio.sleep(6)
    rig.leases.hold(make_request(lease_id="lease-9"), rig.link)

    rig.leases.answered(rig.link, _answer(None))  # of lease-1
    await trio.sleep(5)

    assert (lease.lost, rig.link.lease_ids) == (False, ["lease-1", "lease-9"])


async def test_what_was_given_anew_ends_by_a_refusal_of_its_own(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    lease = rig.leases.hold(make_request(), rig.link)
    await trio.sleep(6)
    rig.leases.hold(make_request(lease_id="lease-9"), rig.link)
    rig.leases.answered(rig.link, _answer(None))  # of lease-1
    await trio.sleep(5)

    rig.leases.answered(rig.link, _answer(None))

    assert lease.lost


async def test_questions_that_are_never_answered_do_not_count_for_ever(
    rig: Rig, autojump_clock: MockClock
) -> None:
    first = rig.link
    assert first
    lease = rig.leases.hold(make_request(), first)
    await trio.sleep(16)  # asked three times
    rig.leases.hold(make_request(lease_id="lease-9"), first)
    rig.leases.answered(first, _answer("lease-10"))
    await trio.sleep(5)

    rig.leases.answered(first, _answer("lease-11"))

    assert lease.scope.deadline - trio.current_time() == pytest.approx(19)


async def test_a_late_answer_over_the_connection_before_brings_no_older_lease(
    rig: Rig, autojump_clock: MockClock
) -> None:
    first = rig.link
    assert first
    lease = rig.leases.hold(make_request(), first)
    await trio.sleep(6)
    second = FakeLink("c2")
    rig.change_link(second)
    await trio.sleep(1)
    latest = str(ULID.from_timestamp(1_764_000_030))
    rig.leases.answered(second, _answer(latest))

    rig.leases.answered(first, _answer(str(ULID.from_timestamp(1_764_000_020))))

    assert lease.lease_id == latest


async def test_a_gateway_that_answers_not_within_an_interval_is_suspected(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    rig.leases.hold(make_request(), rig.link)
    await trio.sleep(9.9)
    before = rig.link.suspected
    await trio.sleep(0.2)

    assert (before, rig.link.suspected) == (False, True)


async def test_one_answer_that_is_missing_does_not_count_for_ever(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    rig.leases.hold(make_request(), rig.link)
    await trio.sleep(10.1)
    rig.link.suspected = False
    rig.leases.answered(rig.link, _answer("lease-2"))
    await trio.sleep(5)

    assert (len(rig.link.lease_ids), rig.link.suspected) == (3, False)


async def test_without_extensions_a_lease_is_never_held_for_lost(
    rig: Rig, autojump_clock: MockClock
) -> None:
    link = FakeLink(interval=0.0)
    rig.change_link(link)
    lease = rig.leases.hold(make_request(), link)

    await trio.sleep(1000)

    assert (lease.lost, link.sent) == (False, [])


async def test_a_request_that_comes_again_is_held_under_its_new_lease(
    rig: Rig, autojump_clock: MockClock
) -> None:
    assert rig.link
    first = rig.leases.hold(make_request(), rig.link)
    second = rig.leases.hold(make_request(lease_id="lease-9"), rig.link)

    assert (second is first, first.lease_id) == (True, "lease-9")
