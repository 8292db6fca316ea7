"""Workers whose connections keep ending soon after they began."""

from dataclasses import dataclass

import trio

from connect.settings import Settings

__all__ = ["FlappingWorkers"]

# How many workers are remembered; of more, the one that flapped the longest ago is forgotten.
_WORKERS = 10_000

# The first delay; it doubles with each further flap.
_FIRST_DELAY = 0.5


@dataclass(frozen=True, slots=True)
class _Flaps:
    """Attributes: count: those not forgotten yet; last: when the last one was (Trio clock)."""

    count: float
    last: float


class FlappingWorkers:
    """Remembers connections that ended young, by worker, and puts the next ones off.

    So many flaps as `Limits.flaps` are free; from then on each doubles the delay of the next
    connection, up to `Timing.flapping_delay`. One flap is forgotten every `Timing.stable`,
    so a worker that stays connected is soon as good as new, and one that has left is forgotten.
    """

    def __init__(self) -> None:
        self._flaps: dict[str, _Flaps] = {}
        self._swept = 0.0  # when those that count for nothing were dropped (Trio clock)

    def __len__(self) -> int:
        """How many workers are remembered."""
        return len(self._flaps)

    def note(self, worker: str, lived: float, settings: Settings) -> None:
        """Take note of a connection's end.

        Args:
            lived: for how many seconds the worker was connected.
        """
        if lived >= settings.timing.stable:
            return
        now = trio.current_time()
        self._sweep(now, settings)
        count = self._count(self._flaps.pop(worker, None), settings)
        self._flaps[worker] = _Flaps(count + 1.0, now)  # the last in order, too
        if len(self._flaps) > _WORKERS:
            del self._flaps[next(iter(self._flaps))]

    def wait_for(self, worker: str, settings: Settings) -> float:
        """Return how many seconds the worker's next connection is put off from now."""
        self._sweep(trio.current_time(), settings)
        flaps = self._flaps.get(worker)
        if flaps is None:
            return 0.0
        beyond = flaps.count - settings.limits.flaps
        if beyond <= 0:
            return 0.0
        # The exponent is bounded so that the power stays a number.
        longest = settings.timing.flapping_delay
        delay: float = min(longest, _FIRST_DELAY * 2.0 ** min(beyond - 1.0, 60.0))
        return max(0.0, flaps.last + delay - trio.current_time())

    def _sweep(self, now: float, settings: Settings) -> None:
        """Drop the workers whose flaps are all forgotten, once every `Timing.stable`."""
        if now - self._swept < settings.timing.stable:
            return
        self._swept = now
        self._flaps = {
            worker: flaps
            for worker, flaps in self._flaps.items()
            if self._count(flaps, settings) > 0
        }

    def _count(self, flaps: _Flaps | None, settings: Settings) -> float:
        """Return how many flaps are left of those remembered."""
        if flaps is None:
            return 0.0
        stable = settings.timing.stable
        if stable <= 0:
            return 0.0
        forgotten = (trio.current_time() - flaps.last) / stable
        return max(0.0, flaps.count - forgotten)
