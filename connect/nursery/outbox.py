"""What waits to be written to one worker's socket: bounded, control before data."""

import math
from collections import deque
from dataclasses import dataclass, field

import trio

from connect.settings import Settings

__all__ = ["Outbox", "PendingForward"]

# Control messages are small and few (acks, heartbeats, lease acks): a worker for which
# this many wait, or so many bytes of them, has stopped reading.
CONTROL_LIMIT = 4096
CONTROL_BYTES = 4 * 1024 * 1024

# A full queue takes requests again when this part of its bounds is left.
LOW_WATER = 0.25


@dataclass(slots=True, eq=False)
class PendingForward:
    """A request on its way to the worker, until the worker's ack settles it.

    Attributes:
        until: when the request's lease is over, on the Trio clock: others may have it then.
        success: None while the worker's ack is awaited.
        in_doubt: of one without success, whether the worker may run the request.
        waiters: how many Forward calls wait for it.
        sent: whether its message has left the outbox; the worker may have it then.
    """

    until: float = math.inf
    success: bool | None = None
    in_doubt: bool = False
    waiters: int = 0
    sent: bool = False
    settled: trio.Event = field(default_factory=trio.Event)

    def settle(self, success: bool, *, in_doubt: bool = False) -> None:
        """Decide the outcome; the first decision stays.

        Args:
            in_doubt: whether a worker that has the request may run it.
        """
        if self.success is None:
            self.success = success
            self.in_doubt = in_doubt and self.sent
            self.settled.set()


class Outbox:
    """Two queues for one writer. Producers never wait: a full queue says so.

    A queue is there only while something waits in it: most connections are idle mostly.

    Args:
        settings: read whenever they count: `Limits.outbox_messages` and `Limits.outbox_bytes`,
            the data messages and their bytes that may wait (one message always may), and
            `Timing.write`, the time for one write; after half of it no more requests are taken.

    Attributes:
        cut: whether a message may have been written in part only: what were written after
            it, the worker would take for the rest of it.
    """

    __slots__ = (
        "_control", "_control_bytes", "_data", "_data_bytes", "_filled", "_full", "_settings",
        "_write_began", "_writing", "_written", "cut",
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._control: deque[bytes] | None = None
        self._data: deque[tuple[bytes, PendingForward]] | None = None
        self._data_bytes = 0
        self._control_bytes = 0
        self._full = False
        self._write_began = float("inf")
        self._writing: trio.CancelScope | None = None
        self._written: PendingForward | None = None
        self.cut = False
        self._filled = trio.Event()

    def put_control(self, message: bytes) -> bool:
        """Queue a message ahead of all data; False if the worker has stopped reading."""
        if self._control is None:
            self._control = deque()
        elif len(self._control) >= CONTROL_LIMIT or self._control_bytes >= CONTROL_BYTES:
            return False
        self._control.append(message)
        self._control_bytes += len(message)
        self._filled.set()
        return True

    @property
    def stalled(self) -> bool:
        """Whether a write takes so long that the worker seems not to read."""
        return trio.current_time() - self._write_began >= self._settings.timing.write / 2

    def write_begins(self) -> trio.CancelScope:
        """Note that a message is being written from now on.

        Returns:
            The scope to write it in: shielded, with the write deadline, and cut by
            `give_up_writing`.
        """
        self._write_began = trio.current_time()
        deadline = self._write_began + self._settings.timing.write
        self._writing = trio.CancelScope(deadline=deadline, shield=True)
        return self._writing

    def write_ended(self) -> None:
        """Note that it is written."""
        self._write_began = float("inf")
        self._writing = self._written = None

    def write_cut(self) -> None:
        """Note that it is not written whole: the worker will never have it.

        Only who wrote it can tell, once its write has been cancelled.
        """
        self.cut = True
        if self._written is not None:
            self._written.sent = False

    def give_up_writing(self) -> None:
        """Have nothing more written, and the write that goes on, if one does, cancelled.

        Whether its message has left all the same, that write knows when it has ended.
        """
        self.cut = True
        if self._writing is not None:
            self._writing.cancel()

    def put_data(self, message: bytes, forward: PendingForward) -> bool:
        """Queue a request; False if the worker does not keep up.

        Once as much waits as may, no more is taken until a quarter of that is left.
        """
        limits = self._settings.limits
        waiting = len(self._data) if self._data else 0
        if waiting >= limits.outbox_messages or (
            waiting and self._data_bytes + len(message) > limits.outbox_bytes
        ):
            self._full = True
        if self._full or self.stalled:
            return False
        if self._data is None:
            self._data = deque()
        self._data.append((message, forward))
        self._data_bytes += len(message)
        self._filled.set()
        return True

    def get_nowait(self) -> bytes | None:
        """Take the next message; None if there is none.

        Settled requests are dropped, and those fail whose lease is over: they have waited
        here, or before a gateway that stood still.
        """
        if self._control:
            control = self._control.popleft()
            self._control_bytes -= len(control)
            return control
        self._control = None
        limits = self._settings.limits
        while self._data:
            message, forward = self._data.popleft()
            self._data_bytes -= len(message)
            if (
                len(self._data) <= limits.outbox_messages * LOW_WATER
                and self._data_bytes <= limits.outbox_bytes * LOW_WATER
            ):
                self._full = False
            if forward.until <= trio.current_time():
                forward.settle(False)
            if forward.success is None:
                forward.sent = True
                self._written = forward
                return message
        self._data = None
        return None

    async def get(self) -> bytes:
        """Wait for the next message and take it. Cancelled, it takes nothing.

        Not even what waits already: whoever writes is to stop when its connection ends.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            message = self.get_nowait()
            if message is not None:
                return message
            self._filled = trio.Event()
            await self._filled.wait()

    def take_control(self) -> list[bytes]:
        """Take all waiting control messages, for the last words before a close."""
        messages = list(self._control or ())
        self._control = None
        self._control_bytes = 0
        return messages
