"""The lease of one request, as an executor sees it that waits for the reply."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import trio

from connect.errors import ConnectError
from connect.state.encoding import BadRecord
from connect.state.leases import expired_by
from connect.state.records import LeaseRecord

__all__ = ["LeaseReader", "LeaseWatch"]


class LeaseReader(Protocol):
    async def get(self, env_id: str, request_id: str) -> LeaseRecord | None: ...


class LeaseWatch:
    """Tells whether anybody still runs the request.

    Args:
        lasts: seconds for which a lease is extended; a worker does so in a quarter of them.
        now: unix seconds.
    """

    def __init__(
        self,
        leases: LeaseReader,
        env_id: str,
        request_id: str,
        *,
        lasts: float,
        now: Callable[[], float],
    ) -> None:
        self._leases = leases
        self._env_id = env_id
        self._request_id = request_id
        self._lasts = lasts
        self._now = now
        # The lease as it was found at the last look, and since when.
        self._seen = ""
        self._seen_at = -math.inf

    async def is_over(self) -> bool | None:
        """Return whether the lease is expired or gone; None if that cannot be known now.

        Also one that stays the same for as long as it lasts is over, though its end may be
        hours away: the clock has been set back since.

        Cancelling it loses nothing.
        """
        lease: LeaseRecord | None = None
        try:
            with suppress(BadRecord):  # the scripts take it for none, too
                lease = await self._leases.get(self._env_id, self._request_id)
        except ConnectError:
            return None
        if lease is None or expired_by(lease.id, int(self._now() * 1000)):
            return True
        if lease.id != self._seen:
            self._seen, self._seen_at = lease.id, trio.current_time()
        return trio.current_time() - self._seen_at >= self._lasts
