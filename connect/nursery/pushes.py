"""Replies on their way to executors: as many at a time as a process may hold for them.

A reply is in the store before it is pushed, and its executor polls. So a push is skipped,
rather than waited for, when executors that don't take theirs leave no room.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from connect.metrics import Metrics
from connect.nursery.services import ReplySender
from connect.settings import Limits, Settings

__all__ = ["Pushes"]


@dataclass(slots=True)
class _Load:
    """What is being pushed, to one executor or to all."""

    pushes: int = 0
    bytes: int = 0

    def fits(self, size: int, *, pushes: int, push_bytes: int) -> bool:
        """Whether one more fits these bounds; one alone always fits that of bytes."""
        return self.pushes < pushes and (not self.pushes or self.bytes + size <= push_bytes)


class Pushes:
    """The pushes of one process, within `Limits.pushes` and `Limits.push_bytes`.

    One executor gets half of the room: when it stalls, the others are still told. This is
    itself a `ReplySender`: the worker API pushes what is flushed through that of its gateway.

    Args:
        replies: what pushes them.
    """

    def __init__(self, replies: ReplySender, *, settings: Settings, metrics: Metrics) -> None:
        self._replies = replies
        self._settings = settings
        self._metrics = metrics
        self._all = _Load()
        self._by_executor: dict[tuple[str, int], _Load] = {}

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        """Push an SDKResponse to an executor, best effort.

        Cancelled, the executor may have it.

        Returns:
            Whether the executor took it; False, at once, if there is no room.
        """
        with self._room(host, port, len(response)) as fits:
            if not fits:
                self._metrics.replies.labels("push_skipped").inc()
                return False
            return await self._replies.reply(host, port, response)

    @contextmanager
    def _room(self, host: str, port: int, size: int) -> Iterator[bool]:
        executor = host, port
        own = self._by_executor.get(executor) or _Load()
        if not self._fits(self._settings.limits, own, size):
            yield False
            return
        self._by_executor[executor] = own
        for load in (self._all, own):
            load.pushes += 1
            load.bytes += size
        try:
            yield True
        finally:
            for load in (self._all, own):
                load.pushes -= 1
                load.bytes -= size
            if not own.pushes:
                del self._by_executor[executor]

    def _fits(self, limits: Limits, own: _Load, size: int) -> bool:
        pushes, push_bytes = limits.pushes, limits.push_bytes
        if not self._all.fits(size, pushes=pushes, push_bytes=push_bytes):
            return False
        return own.fits(size, pushes=max(1, pushes // 2), push_bytes=push_bytes // 2)
