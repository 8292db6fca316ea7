"""What is seen of a run: the events that the invariants are about, in order.

Each is seen where it takes effect: leases and replies in Redis, runs and acknowledgements at
the workers, calls at those who make them.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "STORE_UNAVAILABLE",
    "Assigned",
    "Began",
    "CallEnded",
    "CallEnding",
    "CallStarted",
    "Event",
    "Faulty",
    "ForwardEnded",
    "GatewayDrained",
    "History",
    "LeaseAdopted",
    "LeaseDeleted",
    "LeaseStored",
    "Leftover",
    "Missing",
    "NodeStopped",
    "NodeStopping",
    "Paused",
    "ReplyConfirmed",
    "ReplyDeleted",
    "ReplyStored",
    "RunEnded",
    "RunStarted",
    "Unassigned",
]

STORE_UNAVAILABLE = "store_unavailable"
"""The detail of a call that failed because Redis did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        at: seconds since the run began.
    """

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Began(Event):
    """The first event: what there is.

    Attributes:
        gateways: how many.
        limits: how many requests each worker runs at once, in the order of their numbers;
            None is any number.
        streams: whether gateways know the methods that stream.
    """

    gateways: int = 1
    limits: tuple[int | None, ...] = (None,)
    streams: bool = True


class CallEnding(StrEnum):
    """How a call of an executor ended."""

    ANSWERED = "answered"
    FAILED = "failed"
    CANCELLED = "cancelled"  # by the one who made it
    LOST = "lost"  # with its executor


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(Event):
    """Somebody has an executor carry out a request.

    Attributes:
        call: its number.
        executor: the executor's process.
    """

    request: str
    call: int
    executor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(Event):
    """Attributes: detail: the run that answered, or the reason for the failure."""

    request: str
    call: int
    how: CallEnding
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardEnded(Event):
    """An executor knows what became of a forward.

    Attributes:
        success: whether the worker has acknowledged it.
        sure: whether that was said, and is not only unknown.
    """

    request: str
    lease: str
    success: bool
    sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseStored(Event):
    """Redis holds this lease now; without a previous one it is not an extension.

    Attributes:
        expires: seconds since the run began.
    """

    request: str
    lease: str
    previous: str
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseDeleted(Event):
    """Attributes: node: the process that asked for it."""

    request: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned(Event):
    """A request is counted on a worker that has a limit. Attributes: worker: its instance id."""

    request: str
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unassigned(Event):
    """A request is counted on its worker no longer."""

    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyStored(Event):
    """Attributes: run: that the reply is of."""

    request: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyDeleted(Event):
    """A stored reply is cleaned up. Attributes: node: the process that asked for it."""

    request: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A function begins to run.

    Attributes:
        run: a name for it.
        worker: its instance id.
        lease: that it is under.
        connection: that the request came over.
    """

    request: str
    run: str
    worker: str
    lease: str
    connection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """Attributes: end: how, a `connect.worker.RunEnd`; empty if that is not known."""

    request: str
    run: str
    worker: str
    end: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseAdopted(Event):
    """A worker has been given an extension."""

    request: str
    worker: str
    lease: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyConfirmed(Event):
    """A worker has been told that its reply is safe. Attributes: how: by socket or by HTTP."""

    request: str
    worker: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Event):
    """A node ran nothing from `at` until a time."""

    node: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStopping(Event):
    """A node is told to come to its end in good order."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStopped(Event):
    """Attributes: crashed: whether it had no time to clean up."""

    node: str
    crashed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDrained(Event):
    """The drain of a gateway is over.

    Attributes:
        node: its name.
        beat: when it stored its heartbeat last, in seconds since the run began.
    """

    node: str
    beat: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty(Event):
    """A fault lasted from `at` until a time.

    Attributes:
        kind: a `tests.simulation.faults.FaultKind`.
        places: the hosts it was between; empty ones for Redis as a whole.
        connected: which workers were ready at which gateways when it began.
    """

    kind: str
    fault: str
    places: tuple[str, ...]
    until: float
    connected: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover(Event):
    """Something that is there at the end, and must not be."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing(Event):
    """Something that should be back after all faults, and is not."""

    what: str


class History:
    """Events as they come.

    Args:
        now: seconds since the run began.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._events: list[Event] = []

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return self._now()

    def add(self, event: Event) -> None:
        """Append an event."""
        self._events.append(event)

    def digest(self) -> str:
        """A short text that two histories share if they are the same."""
        digest = hashlib.sha256()
        for event in self._events:
            digest.update(f"{event}\n".encode())
        return digest.hexdigest()[:16]
