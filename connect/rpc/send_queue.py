"""What waits to be written to one stream: joined into batches, bounded, small before large."""

from collections import deque
from collections.abc import Iterator

import trio

from connect.rpc.errors import CallRefused, RpcStatus

__all__ = ["SendQueue"]

# Small messages wait outside when so many bytes wait in the queue, until it is down
# to a quarter.
_HIGH_WATER = 1024 * 1024
_LOW_WATER = _HIGH_WATER // 4

# Who makes more answers wait here than these bytes does not read them.
_OVERFLOW = 16 * 1024 * 1024

# Large messages being sent at the same time, a piece of each in turn.
_LARGE_AT_ONCE = 4

# What a batch comes to at least, while there is so much.
_BATCH_BYTES = 64 * 1024

# How long a message that is in no hurry waits for others to go with.
_LINGER_SECONDS = 0.005


class SendQueue:
    """Messages from many tasks for one writer, which takes many at a time.

    Small messages keep their order. Of large ones, whose pieces are written when it
    is their turn, one piece goes with every batch: neither holds up the other.
    """

    def __init__(self) -> None:
        self._small: deque[bytes] = deque()
        self._small_bytes = 0
        self._large: deque[Iterator[bytes]] = deque()
        self._room = trio.lowlevel.ParkingLot()
        self._large_room = trio.lowlevel.ParkingLot()
        self._writer = trio.lowlevel.ParkingLot()
        self._parked: trio.CancelScope | None = None
        self._due = float("inf")
        self._finished = False
        self._closed = False

    async def send(self, message: bytes) -> None:
        """Queue a message; wait for room first, if need be.

        Returns before the message is written. Cancelled, it queues nothing.

        Raises:
            RpcError: UNAVAILABLE if the queue is closed.
        """
        while self._small_bytes > _HIGH_WATER and not self._closed:
            await self._room.park()
        self._check_open()
        self._put(message)
        self._hurry()

    async def send_large(self, pieces: Iterator[bytes]) -> None:
        """Queue a message that goes out in pieces; see `send`."""
        while len(self._large) >= _LARGE_AT_ONCE and not self._closed:
            await self._large_room.park()
        self._check_open()
        self._large.append(pieces)
        self._hurry()

    def answer(self, message: bytes, *, soon: bool = False) -> bool:
        """Queue a message that answers one of the other side, without waiting.

        Args:
            soon: it may wait a few milliseconds for others to go with.

        Returns:
            False if the other side has stopped reading its answers.
        """
        if self._closed:
            return True
        if self._small_bytes > _OVERFLOW:
            return False
        self._put(message)
        if not soon:
            self._hurry()
        elif self._due == float("inf"):
            self._due = trio.current_time() + _LINGER_SECONDS
            if self._parked is not None:
                self._parked.deadline = self._due
        return True

    def withdraw(self, pieces: Iterator[bytes]) -> bool:
        """Write no more pieces of a large message; return whether there were more."""
        if pieces not in self._large:
            return False
        self._large.remove(pieces)
        self._large_room.unpark_all()
        return True

    def finish(self) -> None:
        """Let `batch` return None once everything queued is taken."""
        self._finished = True
        self._hurry()

    def close(self) -> None:
        """Drop what is queued, and refuse whoever waits for room or comes later."""
        self._closed = True
        self._small.clear()
        self._large.clear()
        self._room.unpark_all()
        self._large_room.unpark_all()

    async def batch(self) -> bytes | None:
        """Wait for messages and take many, joined; None when there will be none.

        For one task, the writer. Cancelled, it takes nothing.
        """
        while self._due > -float("inf") and self._due > trio.current_time():
            with trio.CancelScope(deadline=self._due) as self._parked:
                try:
                    await self._writer.park()
                finally:
                    self._parked = None
        messages: list[bytes] = []
        taken = 0
        while self._small and taken < _BATCH_BYTES:
            message = self._small.popleft()
            messages.append(message)
            taken += len(message)
        self._small_bytes -= taken
        if taken and self._room and self._small_bytes <= _LOW_WATER:
            self._room.unpark_all()
        while self._large:
            pieces = self._large.popleft()
            piece = next(pieces, None)
            if piece is not None:
                messages.append(piece)
                self._large.append(pieces)
                break
            self._large_room.unpark_all()
        if not self._small and not self._large and not self._finished:
            self._due = float("inf")
        if messages:
            return messages[0] if len(messages) == 1 else b"".join(messages)
        return None if self._finished else b""

    def _check_open(self) -> None:
        if self._closed:
            raise CallRefused(RpcStatus.UNAVAILABLE, "the stream is ended")

    def _put(self, message: bytes) -> None:
        self._small.append(message)
        self._small_bytes += len(message)

    def _hurry(self) -> None:
        self._due = -float("inf")
        if self._parked is not None:
            self._writer.unpark_all()
