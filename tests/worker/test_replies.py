"""The buffer of unconfirmed replies, and the pauses between attempts to connect."""

import pytest

from connect.worker.replies import Replies, Reply
from connect.worker.timing import backoff


class _Link:
    id = "c1"
    extend_lease_interval = 5.0

    def __init__(self, *, ended: bool = False) -> None:
        self.ended = ended

    async def send(self, kind: int, payload: bytes = b"") -> bool:
        return not self.ended

    def suspect(self) -> None:
        raise AssertionError("replies suspect nobody")


def _replies(limit: int = 10) -> tuple[Replies, list[str]]:
    dropped: list[str] = []
    return Replies(limit, lambda reply: dropped.append(reply.request_id)), dropped


def test_the_oldest_reply_gives_way() -> None:
    replies, dropped = _replies(limit=10)
    for name in "abc":
        replies.add(Reply(name, b"12345", 0))

    assert (dropped, len(replies)) == (["a"], 2)


def test_a_reply_to_the_same_request_takes_the_place_of_the_first() -> None:
    replies, dropped = _replies(limit=10)
    replies.add(Reply("a", b"1234567890", 0))
    replies.add(Reply("a", b"12345", 0))
    replies.add(Reply("b", b"12345", 0))

    assert (dropped, len(replies)) == ([], 2)


def test_a_reply_larger_than_the_limit_is_kept_alone() -> None:
    replies, dropped = _replies(limit=10)
    replies.add(Reply("a", b"1", 0))
    replies.add(Reply("b", b"1" * 11, 0))

    assert (dropped, len(replies)) == (["a"], 1)


def test_a_reply_that_is_made_smaller_makes_room() -> None:
    replies, dropped = _replies(limit=10)
    large = Reply("a", b"1234567890", 0, smaller=lambda: b"1")
    replies.add(large)
    replies.shrink(large)
    replies.add(Reply("b", b"123456789", 0))

    assert (dropped, large.payload, replies.full) == ([], b"1", True)


def test_a_reply_that_was_forgotten_makes_no_room_when_it_is_made_smaller() -> None:
    replies, _ = _replies(limit=10)
    large = Reply("a", b"1234567890", 0, smaller=lambda: b"1")
    replies.add(large)
    replies.remove("a")
    replies.add(Reply("b", b"1234567890", 0))
    replies.shrink(large)

    assert replies.full


def test_a_reply_is_made_smaller_once() -> None:
    replies, _ = _replies()
    large = Reply("a", b"12", 0, smaller=lambda: b"1")

    assert (replies.shrink(large), replies.shrink(large)) == (True, False)


def test_a_reply_is_removed_once() -> None:
    replies, _ = _replies()
    replies.add(Reply("a", b"1", 0))

    assert (replies.remove("a") is None, replies.remove("a") is None) == (False, True)


def test_a_reply_on_a_living_connection_falls_due_when_it_is_not_confirmed_in_time() -> None:
    reply = Reply("a", b"", 1, _Link(), sent=3)

    assert reply.due(5) == 8


@pytest.mark.parametrize("link", [None, _Link(ended=True)])
def test_a_reply_that_no_connection_can_confirm_is_due_at_once(link: _Link | None) -> None:
    assert Reply("a", b"", 1, link, sent=3).due(5) == 1


def test_the_oldest_reply_that_is_due_comes_first() -> None:
    replies, _ = _replies()
    for name, sent in (("young", 9), ("old", 1), ("older", 0)):
        replies.add(Reply(name, b"", 0, _Link(), sent=sent))

    due = replies.next_due(5, now=10)

    assert due is not None
    assert due.request_id == "old"


def test_while_none_is_due_the_next_one_is_told() -> None:
    replies, _ = _replies()
    for name, sent in (("a", 9), ("b", 7), ("c", 8)):
        replies.add(Reply(name, b"", 0, _Link(), sent=sent))

    due = replies.next_due(5, now=10)

    assert due is not None
    assert due.request_id == "b"


def test_the_buffer_is_full_at_its_limit() -> None:
    replies, _ = _replies(limit=10)
    replies.add(Reply("a", b"123456789", 0))
    before = replies.full
    replies.add(Reply("b", b"1", 0))

    assert (before, replies.full) == (False, True)


def test_the_bound_of_a_pause_doubles_up_to_its_most() -> None:
    assert [backoff(1, 5, failures, 1) for failures in (1, 2, 3, 4, 9999)] == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(("fraction", "pause"), [(0, 0), (0.25, 1), (1, 4)])
def test_a_pause_is_drawn_from_all_below_its_bound(fraction: float, pause: float) -> None:
    assert backoff(1, 60, 3, fraction) == pause
