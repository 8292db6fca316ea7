"""How much of what one worker sends may be on its way into the state store."""

import trio

from connect.settings import Limits

__all__ = ["StoreSlots"]


class StoreSlots:
    """Counts tasks and bytes, with a high and a low water mark, for one reader.

    Args:
        limits: read whenever they count: at `Limits.store_tasks_per_connection` or
            `Limits.store_bytes_per_connection` there is no room, until half is left of both.
    """

    __slots__ = (
        "_bytes", "_excused", "_full", "_limits", "_paused_at", "_released", "_tasks",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tasks = 0
        self._bytes = 0
        self._full = False
        self._paused_at: float | None = None
        self._excused = 0.0
        self._released: trio.Event | None = None  # there only while somebody waits

    @property
    def full(self) -> bool:
        """Whether nothing more should be taken in now."""
        return self._full

    @property
    def pausing(self) -> bool:
        """Whether the reader waits for room, and there is none."""
        return self._full and self._paused_at is not None

    @property
    def paused(self) -> float:
        """For how many seconds the reader has waited for room since `forget_pauses`."""
        if self._paused_at is None:
            return self._excused
        return self._excused + trio.current_time() - self._paused_at

    def forget_pauses(self) -> None:
        """Count the seconds of `paused` anew."""
        self._excused = 0.0

    def take(self, size: int) -> None:
        """Count a task that holds so many bytes; one may pass the mark, so take none when full."""
        self._tasks += 1
        self._bytes += size
        limits = self._limits
        if (
            self._tasks >= limits.store_tasks_per_connection
            or self._bytes >= limits.store_bytes_per_connection
        ):
            self._full = True

    def release(self, size: int) -> None:
        """Count a task less."""
        self._tasks -= 1
        self._bytes -= size
        limits = self._limits
        if (
            self._tasks <= limits.store_tasks_per_connection // 2
            and self._bytes <= limits.store_bytes_per_connection // 2
        ):
            self._full = False
        if self._released is not None:
            self._released.set()
            self._released = None

    async def wait_room(self, patience: float) -> bool:
        """Return once there is room; for the reader alone.

        Args:
            patience: seconds to wait for each task to be done.

        Returns:
            Whether there is room. False: there is none, and for so long no task was done.
        """
        self._paused_at = trio.current_time()
        try:
            while self._full:
                with trio.move_on_after(patience) as scope:
                    await self.wait_release()
                if scope.cancelled_caught:
                    return False
            return True
        finally:
            self._excused, self._paused_at = self.paused, None

    async def wait_release(self) -> None:
        """Return when the next task is done."""
        if self._released is None:
            self._released = trio.Event()
        await self._released.wait()
