"""What the peers of one server may have it hold, and for how long they may keep it waiting.

A request is held from its headers to its answer, a message of a stream until it is complete.
The bytes of all of them are bounded, and half of that is the most that one connection gets:
so a peer that finishes nothing leaves room for the others.
"""

from dataclasses import dataclass
from typing import Protocol

import trio

from connect.rpc.errors import RpcError, RpcStatus

__all__ = ["CALL_BYTES", "LATE", "NO_ROOM", "Arrivals", "Arriving", "Holding", "Intake", "Room"]

CALL_BYTES = 4096
"""What a call costs without its message; so the number of calls is bounded, too."""

NO_ROOM = RpcError(RpcStatus.RESOURCE_EXHAUSTED, "the server holds too much of requests already")
LATE = RpcError(RpcStatus.DEADLINE_EXCEEDED, "the message did not arrive in time")


@dataclass(frozen=True, slots=True)
class Intake:
    """The bounds of one server.

    Attributes:
        held_bytes: bytes of requests being received or carried out, half of them from one
            connection, which one request may exceed.
        arrival: seconds from the beginning of a message to its end.
        connections: connections of peers; further ones are closed at once.
    """

    held_bytes: int = 256 * 1024 * 1024
    arrival: float = 30.0
    connections: int = 2000


class Room:
    """Bytes that may be held.

    Args:
        most: bytes.
        whole: the room that this one lies in.
    """

    __slots__ = ("_whole", "held", "most")

    def __init__(self, most: int, whole: "Room | None" = None) -> None:
        self.most = most
        self.held = 0
        self._whole = whole

    def add(self, size: int) -> bool:
        """Hold so many bytes more, or fewer if below 0; False, and nothing held, if too many."""
        if size > 0 and self.held + size > self.most:
            return False
        if self._whole is not None and not self._whole.add(size):
            return False
        self.held += size
        return True


class Holding:
    """What one call or stream takes of a room."""

    __slots__ = ("_room", "_size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0

    def resize(self, size: int) -> bool:
        """Hold so many bytes from now on; False, and nothing changed, if there is no room."""
        if not self._room.add(size - self._size):
            return False
        self._size = size
        return True


class Arriving(Protocol):
    """What receives a message."""

    def expire(self) -> None:
        """Give the message up."""
        ...


class Arrivals:
    """The messages that are not complete yet, each with the time for it.

    Args:
        seconds: how long one may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadlines: dict[Arriving, float] = {}  # first in, first out
        self._some = trio.Event()

    def begin(self, arriving: Arriving) -> None:
        """Take note that a message begins, unless one of the same has begun before."""
        if arriving not in self._deadlines:
            self._deadlines[arriving] = trio.current_time() + self._seconds
            self._some.set()

    def end(self, arriving: Arriving) -> None:
        """Take note that a message is complete, or given up."""
        self._deadlines.pop(arriving, None)

    async def watch(self) -> None:
        """Have messages given up as their time is over; runs until cancelled.

        Under load this wakes once in that time, and not for each message.
        """
        while True:
            await self._some.wait()
            self._some = trio.Event()
            wake_at = trio.current_time() + self._seconds  # none is due before
            while True:
                await trio.sleep_until(wake_at)
                for arriving, deadline in list(self._deadlines.items()):
                    if deadline > trio.current_time():
                        break
                    self.end(arriving)
                    arriving.expire()
                if not self._deadlines:
                    break
                wake_at = next(iter(self._deadlines.values()))
