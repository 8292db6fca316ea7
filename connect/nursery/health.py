"""What a gateway knows of its state store: whether it answers.

Whoever finds the store away says so; from then on status writes and replies don't queue
for it, and one probe asks until it answers. So an outage costs no deadlines, and its end
no burst: connections write again each at its own time.

Without a connection, the store is as good as away before anybody's deadline is over. That
counts for handshakes alone: what else is asked waits for the next connection.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog
import trio

from connect.errors import ConnectError, StoreUnavailable

__all__ = ["StoreAway", "StoreHealth"]

# Between two probes, in seconds: the first comes soon, as most outages are short.
_PROBE_MIN = 0.05
_PROBE_MAX = 1.0


class StoreAway(StoreUnavailable):
    """The state store is known not to answer; it has not been asked again."""


class StoreHealth:
    """Whether the state store answers, as far as this gateway has seen.

    Args:
        unreachable_since: returns since when there has been no connection to the store, on
            the Trio clock; None while there is one (`StateStore.unreachable_since`).

    Attributes:
        returned_at: when the store answered again after it was away, on the Trio clock.
    """

    def __init__(self, unreachable_since: Callable[[], float | None] = lambda: None) -> None:
        self.returned_at = -float("inf")
        self._unreachable_since = unreachable_since
        self._away_since: float | None = None
        self._why = ""
        self._lost = trio.Event()
        self._returned = trio.Event()

    @property
    def away(self) -> bool:
        """Whether the last one who asked got no answer."""
        return self._away_since is not None

    @property
    def away_for(self) -> float:
        """Seconds since the store was found away, or was lost; 0 while it answers."""
        found = 0.0 if self._away_since is None else trio.current_time() - self._away_since
        return max(found, self.unreachable_for)

    @property
    def unreachable_for(self) -> float:
        """Seconds since there has been no connection to the store; 0 while there is one."""
        since = self._unreachable_since()
        return 0.0 if since is None else trio.current_time() - since

    def failed(self, error: StoreUnavailable | None = None) -> None:
        """Note that the store did not answer; it is away since its connection was lost, if so.

        Args:
            error: what whoever asked was told, for the log; None if there was no need to ask.
        """
        if self._away_since is None:
            self._why = "there is no connection to it" if error is None else str(error)
            self._away_since = trio.current_time() - self.unreachable_for
            self._returned = trio.Event()
            self._lost.set()

    def answered(self) -> None:
        """Note that the store did answer."""
        if self._away_since is not None:
            structlog.get_logger().info("the state store answers again", away=self.away_for)
            self._away_since = None
            self.returned_at = trio.current_time()
            self._lost = trio.Event()
            self._returned.set()

    @contextmanager
    def attempt(self, *, patience: float = 0.0) -> Iterator[None]:
        """Note what becomes of the block, which asks the store.

        Args:
            patience: the block is not entered while the store has been away, or without
                a connection, for this many seconds or more. Without patience only what
                was asked before counts, so that nothing is refused for a connection that
                is about to be made again.

        Raises:
            StoreAway: instead of entering the block.
            StoreUnavailable: as the block raised it.
        """
        if self.away_for >= patience if patience else self.away:
            self.failed()  # others are to know, and the probe to ask
            raise StoreAway("the state store does not answer")
        try:
            yield
        except StoreUnavailable as error:
            self.failed(error)
            raise
        self.answered()

    async def wait_returned(self) -> None:
        """Return once the store answers; at once while it does."""
        if self.away:
            await self._returned.wait()

    async def watch(self, probe: Callable[[], Awaitable[object]]) -> None:
        """Probe the store while it is away; runs until cancelled.

        Args:
            probe: asks the store; raises StoreUnavailable when that does not answer.
        """
        while True:
            await self._lost.wait()
            structlog.get_logger().warning("the state store does not answer", reason=self._why)
            pause = _PROBE_MIN
            while self.away:
                with trio.move_on_after(pause):
                    await self._returned.wait()  # somebody else may be answered first
                    break
                pause = min(2 * pause, _PROBE_MAX)
                try:
                    await probe()
                except StoreUnavailable:
                    continue
                except ConnectError:
                    pass  # a refusal is an answer
                self.answered()
