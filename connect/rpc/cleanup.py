"""Cleaning up after requests, also when the state store does not answer at once.

What is left of a request, a lease and a place on its worker, holds others up for as long
as the worker extends the lease. So what cannot be cleaned up at once is tried again, in the
background.
"""

from dataclasses import dataclass, field

import structlog
import trio

from connect.errors import ConnectError, StoreUnavailable
from connect.settings import Timing
from connect.state.store import LeaseIsLive, RoutingStore

__all__ = ["Cleanup", "Completion"]

# What more there is to clean up is left to run out of itself.
_MAX_LEFT = 10_000

_LIVE = "the lease that it took over is live"

_BACKOFF_MIN = 0.25
_BACKOFF_MAX = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What is to be done about one request; see `RoutingStore.complete`."""

    env_id: str
    request_id: str
    instance_id: str | None
    executor: tuple[str, int] | None
    lease_id: str | None = None
    keep_response: bool = False
    may_run: bool = False
    vouched_until_ms: int = 0
    made_with: tuple[str, ...] = ()

    @property
    def may_be_repeated(self) -> bool:
        """Whether it leaves alone what somebody else makes of the request meanwhile."""
        return self.executor is not None or self.lease_id is not None


@dataclass(slots=True, eq=False)
class _Left:
    """A completion that is still to be done.

    Attributes:
        until: when what it is about is over of itself, on the Trio clock.
        trying: held by whoever tries it.
    """

    completion: Completion
    until: float
    trying: trio.Lock = field(default_factory=trio.Lock)


class Cleanup:
    """The completions of one executor. Have `run` run, and call `finish` at the end.

    Args:
        timing: `cleanup` and `request_worker` are used.
    """

    def __init__(self, routing: RoutingStore, timing: Timing) -> None:
        self._routing = routing
        self._timing = timing
        self._left: dict[tuple[str, str], _Left] = {}
        self._more = trio.Event()

    def __len__(self) -> int:
        return len(self._left)

    async def complete(self, completion: Completion) -> None:
        """Clean up after a request, now or as soon as the store answers.

        Waits for the store for `Timing.cleanup` at most, also when cancelled.
        """
        reason = await self._try(completion, shield=True)
        if reason:
            self.complete_later(completion, reason)

    def complete_later(self, completion: Completion, reason: str) -> None:
        """Clean up after a request in the background; `reason` says why not at once.

        What may not be repeated, or is too much to keep, is logged and left.
        """
        if not completion.may_be_repeated or len(self._left) >= _MAX_LEFT:
            log.warning("request not cleaned up", request_id=completion.request_id, reason=reason)
            return
        log.info("request not cleaned up yet", request_id=completion.request_id, reason=reason)
        until = trio.current_time() + self._timing.request_worker
        self._left[completion.env_id, completion.request_id] = _Left(completion, until)
        self._more.set()

    async def settle(self, env_id: str, request_id: str) -> None:
        """Clean up what an earlier run of the request left, before it begins anew.

        Afterwards nothing could tell the new lease from the old.

        Raises:
            StoreUnavailable: that is not possible now.
        """
        left = self._left.get((env_id, request_id))
        if left is not None:
            reason = await self._try_again(left)
            if reason == _LIVE:
                # It waits for that lease, and cleans up after it.
                self._left.pop((env_id, request_id), None)
            elif reason:
                raise StoreUnavailable(f"the request is not cleaned up yet: {reason}")

    async def run(self) -> None:
        """Do what is left, again and again; runs until cancelled."""
        while True:
            await self._clear()
            self._more = trio.Event()
            await self._more.wait()

    async def finish(self) -> None:
        """Do what is left, within `Timing.cleanup`, also when cancelled."""
        with trio.move_on_after(self._timing.cleanup, shield=True):
            await self._clear()
        for left in self._left.values():
            _give_up(left)

    async def _clear(self) -> None:
        """Try what is left, the oldest first, until nothing is."""
        backoff = _BACKOFF_MIN
        while self._left:
            key, left = next(iter(self._left.items()))
            if trio.current_time() >= left.until:
                del self._left[key]
                _give_up(left)
            elif await self._try_again(left):
                # The others may do better: not every reason is the store's.
                if self._left.get(key) is left:
                    self._left[key] = self._left.pop(key)
                await trio.sleep(backoff)
                backoff = min(2 * backoff, _BACKOFF_MAX)
            else:
                backoff = _BACKOFF_MIN

    async def _try_again(self, left: _Left) -> str:
        """Return why it is not done; empty if it is, by whomever."""
        completion = left.completion
        key = completion.env_id, completion.request_id
        async with left.trying:
            if self._left.get(key) is not left:
                return ""
            reason = await self._try(completion, shield=False)
            if not reason:
                self._left.pop(key, None)  # its time may have run out meanwhile
            return reason

    async def _try(self, completion: Completion, *, shield: bool) -> str:
        """Return why it is not done; empty if it is, or not to be done any more."""
        seconds = self._timing.cleanup
        with trio.move_on_after(seconds, shield=shield):
            try:
                done = await self._routing.complete(
                    completion.env_id,
                    completion.request_id,
                    completion.instance_id,
                    executor=completion.executor,
                    lease_id=completion.lease_id,
                    keep_response=completion.keep_response,
                    may_run=completion.may_run,
                    vouched_until_ms=completion.vouched_until_ms,
                    made_with=completion.made_with,
                )
            except LeaseIsLive:
                return _LIVE
            except ConnectError as error:
                return str(error)
            if not done and completion.lease_id is None:
                log.info("request left to another executor", request_id=completion.request_id)
            return ""
        return f"not done within {seconds:g} s"


def _give_up(left: _Left) -> None:
    log.warning(
        "request not cleaned up",
        request_id=left.completion.request_id,
        reason="the state store has not answered in time",
    )
