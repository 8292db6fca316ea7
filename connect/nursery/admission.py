"""The limits on a gateway's connections: who may come in now, and who later.

What is known of a socket before it becomes a WebSocket is checked by
`Admission.awaiting_request` and `Admission.enter`, and refused by an HTTP status; what the
worker says of itself by `Place.admit`, and refused by closing the WebSocket. Workers take
both for a reason to try again later.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from connect.errors import LimitReached, Syscode
from connect.logs import SparseLog
from connect.metrics import Metrics
from connect.nursery.flapping import FlappingWorkers
from connect.protocol.lifecycle import Disconnect, DisconnectReason
from connect.settings import Settings

__all__ = ["Admission", "Place"]

# After how many seconds whoever is refused may try again; up to twice that, at random, so
# that they don't come together again.
_FULL_SECONDS = 5.0
_BUSY_SECONDS = 1.0

# A flapping worker that has to wait no longer than this waits within its handshake, for
# whose end the official SDKs wait ten seconds; one handshake of a worker is held so.
_HOLD_SECONDS = 4.0

# Between two lines in the log about one limit.
_LOG_SECONDS = 10.0

# Ends of connections that say nothing bad about the worker.
_INNOCENT = frozenset(
    {
        DisconnectReason.WORKER_SHUTDOWN,
        DisconnectReason.GATEWAY_DRAINING,
        DisconnectReason.GATEWAY_STOPPED,
        DisconnectReason.INTERNAL_ERROR,
        DisconnectReason.READER_STUCK,
        DisconnectReason.STORE_UNAVAILABLE,
    }
)


class Admission:
    """Counts the connections of one gateway, and refuses those beyond its limits.

    Args:
        settings: returns the settings of the moment.

    Attributes:
        elsewhere: connections that other gateways have, as far as is known.
    """

    def __init__(self, settings: Callable[[], Settings], metrics: Metrics) -> None:
        self.elsewhere = 0
        self._settings = settings
        self._refused = metrics.connections_refused
        self._places = 0
        self._handshakes = 0
        self._addresses: Counter[str] = Counter()
        self._handshakes_by_address: Counter[str] = Counter()
        self._pending = 0
        self._pending_by_address: Counter[str] = Counter()
        self._lingering = 0
        self._accounts: Counter[str] = Counter()
        self._flapping = FlappingWorkers()
        self._held: set[str] = set()
        self._tokens = float("inf")
        self._filled_at = trio.current_time()
        self._log = SparseLog(_LOG_SECONDS)
        metrics.handshakes.set_function(lambda: self._handshakes)

    @property
    def places(self) -> int:
        """How many connections there are, those in their handshakes included."""
        return self._places

    @property
    def handshakes(self) -> int:
        """How many connections there are whose workers have not joined yet."""
        return self._handshakes

    @property
    def pending(self) -> int:
        """How many sockets there are whose request is not read and answered yet."""
        return self._pending

    @contextmanager
    def awaiting_request(self, address: str | None) -> Iterator[None]:
        """Count a socket for as long as its request is read and answered.

        Args:
            address: of the socket's peer, as it is counted; None of a trusted proxy, which
                has the sockets of many.

        Raises:
            LimitReached: TOO_MANY_HANDSHAKES or ADDRESS_FULL.
        """
        limits = self._settings().limits
        if limits.pending_sockets and self._pending >= limits.pending_sockets:
            raise self._refusal(
                "pending_sockets",
                Syscode.TOO_MANY_HANDSHAKES,
                f"this gateway awaits the requests of {self._pending} sockets, its limit",
                _BUSY_SECONDS,
            )
        own = limits.pending_sockets_per_address
        here = 0 if address is None else self._pending_by_address[address]
        if own and here >= own:
            raise self._refusal(
                "pending_sockets_per_address",
                Syscode.ADDRESS_FULL,
                f"{address} has {here} sockets whose requests are awaited, "
                "the limit for one address",
                _BUSY_SECONDS,
            )
        self._pending += 1
        if address is not None:
            self._pending_by_address[address] += 1
        try:
            yield
        finally:
            self._pending -= 1
            if address is not None:
                _less(self._pending_by_address, address)

    @contextmanager
    def lingering(self) -> Iterator[bool]:
        """Count a socket that waits for its peer to close, if there is room; tell whether."""
        limit = self._settings().limits.pending_sockets
        if limit and self._lingering >= limit:
            yield False
            return
        self._lingering += 1
        try:
            yield True
        finally:
            self._lingering -= 1

    def enter(self, address: str) -> "Place":
        """Admit a socket; whoever gets a place gives it back with `Place.leave`.

        Args:
            address: as it is counted; see `connect.nursery.addresses.counted_address`.

        Raises:
            LimitReached: GATEWAY_FULL, ADDRESS_FULL, TOO_MANY_HANDSHAKES or
                HANDSHAKES_TOO_FAST.
        """
        limits = self._settings().limits
        if limits.connections and self._places >= limits.connections:
            raise self._refusal(
                "connections",
                Syscode.GATEWAY_FULL,
                f"this gateway has {self._places} connections, its limit",
                _FULL_SECONDS,
            )
        here = self._addresses[address]
        if limits.connections_per_address and here >= limits.connections_per_address:
            raise self._refusal(
                "connections_per_address",
                Syscode.ADDRESS_FULL,
                f"{address} has {here} connections to this gateway, the limit for one address",
                _FULL_SECONDS,
            )
        if limits.handshakes and self._handshakes >= limits.handshakes:
            raise self._refusal(
                "handshakes",
                Syscode.TOO_MANY_HANDSHAKES,
                f"this gateway has {self._handshakes} handshakes in progress, its limit",
                _BUSY_SECONDS,
            )
        own = limits.handshakes_per_address
        if own and (begun := self._handshakes_by_address[address]) >= own:
            raise self._refusal(
                "handshakes_per_address",
                Syscode.ADDRESS_FULL,
                f"{address} has {begun} handshakes in progress, the limit for one address",
                _BUSY_SECONDS,
            )
        rate = limits.handshakes_per_second
        if rate and not self._take_token(rate):
            raise self._refusal(
                "handshakes_per_second",
                Syscode.HANDSHAKES_TOO_FAST,
                f"this gateway begins {rate} handshakes per second, its limit",
                _BUSY_SECONDS,
            )
        self._places += 1
        self._handshakes += 1
        self._handshakes_by_address[address] += 1
        self._addresses[address] += 1
        return Place(self, address)

    def _take_token(self, rate: int) -> bool:
        """Whether one more handshake may begin now; as many as in a second may at once."""
        now = trio.current_time()
        self._tokens = min(float(rate), self._tokens + rate * (now - self._filled_at))
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _refusal(self, limit: str, code: Syscode, message: str, seconds: float) -> LimitReached:
        """Count a refusal, log it now and then, and return it.

        Args:
            limit: name of the setting; some share a code.
        """
        limit = f"limits.{limit}"
        self._refused.labels(code, limit).inc()
        self._log.warning(
            "connection refused", kind=limit, limit=limit, code=str(code), reason=message
        )
        return LimitReached(code, message, retry_after=seconds * random.uniform(1.0, 2.0))

    # For places

    async def admit(self, account_id: str, worker: str) -> None:
        settings = self._settings()
        limit = settings.limits.connections_per_account
        connected = self._accounts[account_id] + self.elsewhere
        if limit and connected >= limit:
            raise self._refusal(
                "connections_per_account",
                Syscode.ACCOUNT_FULL,
                f"the account has {connected} connections; {limit} may be",
                _FULL_SECONDS,
            )
        wait = self._flapping.wait_for(worker, settings) if settings.limits.flaps else 0.0
        if wait > _HOLD_SECONDS or (wait and worker in self._held):
            refusal = self._refusal(
                "flaps",
                Syscode.RECONNECTING_TOO_OFTEN,
                f"this worker's connections keep ending within {settings.timing.stable:g} s; "
                f"its next one may come in {wait:.1f} s",
                wait,
            )
            refusal.retry_after = wait
            raise refusal
        self._accounts[account_id] += 1
        if not wait:
            return
        self._held.add(worker)
        try:
            await trio.sleep(wait)
        except trio.Cancelled:
            self.depart(account_id)
            raise
        finally:
            self._held.discard(worker)

    def handshake_over(self, address: str) -> None:
        self._handshakes -= 1
        _less(self._handshakes_by_address, address)

    def depart(self, account_id: str) -> None:
        _less(self._accounts, account_id)

    def release(self, address: str) -> None:
        self._places -= 1
        _less(self._addresses, address)

    def note_end(self, worker: str, lived: float) -> None:
        self._flapping.note(worker, lived, self._settings())


class Place:
    """The place of one connection among those of its gateway.

    Each method may be called again; what was done is not done twice.
    """

    __slots__ = ("_account_id", "_address", "_admission", "_joined_at", "_left", "_worker")

    def __init__(self, admission: Admission, address: str) -> None:
        self._admission = admission
        self._address = address
        self._account_id: str | None = None
        self._worker = ""
        self._joined_at: float | None = None
        self._left = False

    async def admit(self, account_id: str, instance_id: str) -> None:
        """Admit the worker that has introduced itself.

        One whose connections keep ending waits here for a while, before anything is done
        for it. Cancelled, it is not admitted.

        Raises:
            LimitReached: ACCOUNT_FULL or RECONNECTING_TOO_OFTEN.
        """
        worker = f"{account_id}:{instance_id}"
        await self._admission.admit(account_id, worker)
        self._account_id, self._worker = account_id, worker

    def join(self) -> None:
        """Note that the worker has joined: its handshake is over."""
        if self._joined_at is None and not self._left:
            self._joined_at = trio.current_time()
            self._admission.handshake_over(self._address)

    def leave(self, disconnect: Disconnect | None = None) -> None:
        """Give the place back.

        Args:
            disconnect: why the connection ended; None if there was none.
        """
        if self._left:
            return
        self._left = True
        if self._joined_at is None:
            self._admission.handshake_over(self._address)
        elif disconnect is not None and disconnect.reason not in _INNOCENT:
            lived = trio.current_time() - self._joined_at
            self._admission.note_end(self._worker, lived)
        if self._account_id is not None:
            self._admission.depart(self._account_id)
        self._admission.release(self._address)


def _less(counts: Counter[str], key: str) -> None:
    """Count one less; what comes to nothing is forgotten."""
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
