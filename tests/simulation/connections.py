"""What becomes of workers' connections, and of what goes over them: events, and who notes them."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from connect.nursery.connection import Connection
from connect.nursery.history import ConnectionHistory
from connect.nursery.stream import WorkerStream
from connect.protocol.lifecycle import ClosedConnection, Phase, Side
from connect.worker.journal import Happening, JournalEntry
from tests.simulation.history import Event, History
from tests.simulation.network import ByteStream

__all__ = [
    "ConnectionEnded",
    "ConnectionJournal",
    "ConnectionOpened",
    "DialFailed",
    "Dialled",
    "NotedConnections",
    "ReplyDropped",
    "RequestIgnored",
    "Told",
]


class Told(StrEnum):
    """Who tells that a connection has ended."""

    GATEWAY = "gateway"
    WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialled(Event):
    """A worker goes to a gateway. Attributes: worker, gateway: the names of their nodes."""

    worker: str
    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DialFailed(Event):
    """A gateway could not be reached. Attributes: worker, gateway: the names of their nodes."""

    worker: str
    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened(Event):
    """A worker's connection is ready, as it has been told.

    Attributes:
        connection: its id.
        worker, gateway: the names of their nodes.
    """

    connection: str
    worker: str
    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEnded(Event):
    """One side is done with a connection; of a gateway `at` is when it decided so.

    Attributes:
        connection: its id; empty if its worker had not joined.
        worker, gateway: the names of their nodes.
        told: which side it is.
        reason: as it gives it.
        by: who ended it, as a gateway says; None if a worker tells.
        heard: when the gateway had read anything of it last, in seconds since the run began.
        quiet: from when until when it had read nothing for the longest time before that.
    """

    connection: str
    worker: str
    gateway: str
    told: Told
    reason: str
    by: Side | None = None
    heard: float = 0.0
    quiet: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestIgnored(Event):
    """A worker stays silent to a request. Attributes: worker: its instance id."""

    request: str
    worker: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyDropped(Event):
    """A worker tries no longer to deliver a reply. Attributes: worker: its instance id."""

    request: str
    worker: str
    why: str


class NotedConnections(ConnectionHistory):
    """A gateway's memory of its connections that have ended; each is noted as it comes in.

    Args:
        gateway: the name of its node.
        since: how long ago something was, in seconds, from its unix time.
        alive: whether the node has not been killed.
    """

    def __init__(
        self,
        limit: int,
        gateway: str,
        history: History,
        *,
        since: Callable[[float], float],
        alive: Callable[[], bool],
    ) -> None:
        super().__init__(limit)
        self._gateway = gateway
        self._noted = history
        self._since = since
        self._alive = alive

    def add(self, connection: Connection) -> ClosedConnection | None:
        closed = super().add(connection)
        if closed is None or not self._alive():
            return closed
        assert isinstance(connection.stream, WorkerStream)
        stream = connection.stream._stream
        assert isinstance(stream, ByteStream)
        decided = next(one for one in closed.transitions if one.phase is Phase.DISCONNECTING)
        self._noted.add(
            ConnectionEnded(
                at=round(self._noted.now - self._since(decided.at), 3),
                connection=closed.id,
                worker=stream.peer_host,
                gateway=self._gateway,
                told=Told.GATEWAY,
                reason=str(closed.disconnect.reason),
                by=closed.disconnect.by,
                heard=round(stream.heard, 3),
                quiet=(round(stream.quiet[0], 3), round(stream.quiet[1], 3)),
            )
        )
        return closed


class ConnectionJournal:
    """Notes what a worker's journal says of its connections, and of what it leaves undone.

    Args:
        worker: the name of its node.
        instance: its instance id.
    """

    def __init__(self, worker: str, instance: str, history: History) -> None:
        self._worker = worker
        self._instance = instance
        self._history = history
        self._gateways: dict[str, str] = {}

    def write(self, entry: JournalEntry) -> None:
        """Note an entry, if it is one of those."""
        now, request, detail = self._history.now, entry.request_id, entry.detail
        match entry.what:
            case Happening.CONNECTED:
                gateway = self._gateways[entry.connection_id] = detail
                self._history.add(
                    ConnectionOpened(
                        at=now,
                        connection=entry.connection_id,
                        worker=self._worker,
                        gateway=gateway,
                    )
                )
            case Happening.DISCONNECTED:
                self._history.add(
                    ConnectionEnded(
                        at=now,
                        connection=entry.connection_id,
                        worker=self._worker,
                        gateway=self._gateways.pop(entry.connection_id),
                        told=Told.WORKER,
                        reason=detail,
                    )
                )
            case Happening.REQUEST_IGNORED:
                self._history.add(
                    RequestIgnored(at=now, request=request, worker=self._instance, why=detail)
                )
            case Happening.REPLY_DROPPED:
                self._history.add(
                    ReplyDropped(at=now, request=request, worker=self._instance, why=detail)
                )
