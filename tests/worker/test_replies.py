"""The buffer of unconfirmed replies, and the pauses between attempts to connect."""

from connect.worker import WorkerTiming
from connect.worker.replies import Replies, Reply
from connect.worker.timing import backoff


class _Link:
    id = "c1"

    def __init__(self, *, ended: bool = False) -> None:
        self.ended = ended

    async def send(self, kind: int, payload: bytes = b"") -> bool:
        return not self.ended


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


def test_a_reply_is_removed_once() -> None:
    replies, _ = _replies()
    replies.add(Reply("a", b"1", 0))

    assert (replies.remove("a") is None, replies.remove("a") is None) == (False, True)


def test_replies_are_due_when_old_or_on_no_living_connection() -> None:
    replies, _ = _replies()
    alive = _Link()
    replies.add(Reply("old", b"", 0, alive))
    replies.add(Reply("young", b"", 9, alive))
    replies.add(Reply("unsent", b"", 9))
    replies.add(Reply("lost", b"", 9, _Link(ended=True)))

    assert [reply.request_id for reply in replies.due(10, 5)] == ["old", "unsent", "lost"]


def test_backoff_doubles_up_to_its_bound() -> None:
    timing = WorkerTiming(backoff_first=1, backoff_most=5)

    assert [backoff(timing, failures, 0) for failures in (1, 2, 3, 4, 9999)] == [1, 2, 4, 5, 5]


def test_jitter_takes_off_up_to_half_of_a_pause() -> None:
    timing = WorkerTiming(backoff_first=1)

    assert backoff(timing, 1, 1) == 0.5
