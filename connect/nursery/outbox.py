"""What waits to be written to one worker's socket: bounded, control before data."""

from collections import deque
from dataclasses import dataclass, field

import trio

__all__ = ["Outbox", "PendingForward"]

# Control messages are small and few (acks, heartbeats, lease acks): a worker for which
# this many wait has stopped reading.
CONTROL_LIMIT = 4096


@dataclass(slots=True, eq=False)
class PendingForward:
    """A request on its way to the worker, until the worker's ack settles it.

    Attributes:
        success: None while the worker's ack is awaited.
        waiters: how many Forward calls wait for it.
    """

    success: bool | None = None
    waiters: int = 0
    settled: trio.Event = field(default_factory=trio.Event)

    def settle(self, success: bool) -> None:
        """Decide the outcome; the first decision stays."""
        if self.success is None:
            self.success = success
            self.settled.set()


class Outbox:
    """Two queues for one writer. Producers never wait: a full queue says so.

    Args:
        max_messages: data messages that may wait.
        max_bytes: bytes of data messages that may wait; one message always may.
    """

    def __init__(self, *, max_messages: int, max_bytes: int) -> None:
        self._control: deque[bytes] = deque()
        self._data: deque[tuple[bytes, PendingForward]] = deque()
        self._data_bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._filled = trio.Event()

    def put_control(self, message: bytes) -> bool:
        """Queue a message ahead of all data; False if the worker has stopped reading."""
        if len(self._control) >= CONTROL_LIMIT:
            return False
        self._control.append(message)
        self._filled.set()
        return True

    def put_data(self, message: bytes, forward: PendingForward) -> bool:
        """Queue a request; False if as much waits already as may."""
        if len(self._data) >= self._max_messages or (
            self._data and self._data_bytes + len(message) > self._max_bytes
        ):
            return False
        self._data.append((message, forward))
        self._data_bytes += len(message)
        self._filled.set()
        return True

    def get_nowait(self) -> bytes | None:
        """Take the next message; None if there is none. Settled requests are dropped."""
        if self._control:
            return self._control.popleft()
        while self._data:
            message, forward = self._data.popleft()
            self._data_bytes -= len(message)
            if forward.success is None:
                return message
        return None

    async def get(self) -> bytes:
        """Wait for the next message and take it. Cancelled, it takes nothing."""
        while True:
            message = self.get_nowait()
            if message is not None:
                return message
            self._filled = trio.Event()
            await self._filled.wait()

    def take_control(self) -> list[bytes]:
        """Take all waiting control messages, for the last words before a close."""
        messages = list(self._control)
        self._control.clear()
        return messages
