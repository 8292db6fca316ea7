"""What a gateway remembers of connections, and shows of those that are open."""

from collections import deque
from collections.abc import Iterator

import trio

from connect.nursery.connection import Connection
from connect.protocol.lifecycle import ClosedConnection, OpenConnection
from connect.state.records import ConnectionStatus

__all__ = ["ConnectionHistory", "open_connection"]

# Workers choose the texts that are remembered of them: their length and number are bounded.
_LONGEST_TEXT = 200
_MOST_APPS = 10


class ConnectionHistory:
    """The last connections that have ended.

    Args:
        limit: how many are remembered; older ones are forgotten.
    """

    def __init__(self, limit: int) -> None:
        self._closed: deque[ClosedConnection] = deque(maxlen=limit)

    def __len__(self) -> int:
        return len(self._closed)

    def __iter__(self) -> Iterator[ClosedConnection]:
        """The latest first."""
        return iter(tuple(reversed(self._closed)))

    def add(self, connection: Connection) -> ClosedConnection | None:
        """Remember a connection that has ended; None if it has not."""
        disconnect = connection.disconnect
        if disconnect is None:
            return None
        instance_id, apps, sdk = _worker(connection)
        closed = ClosedConnection(
            id=connection.id,
            instance_id=instance_id,
            apps=apps,
            sdk=sdk,
            disconnect=disconnect,
            in_flight=connection.in_flight,
            transitions=tuple(connection.transitions),
        )
        self._closed.append(closed)
        return closed


def open_connection(connection: Connection) -> OpenConnection:
    """Describe a connection as it is now."""
    instance_id, apps, sdk = _worker(connection)
    return OpenConnection(
        id=connection.id,
        instance_id=instance_id,
        apps=apps,
        sdk=sdk,
        phase=connection.machine.phase,
        status=ConnectionStatus(int(connection.machine.status)).name,
        heartbeat_age=trio.current_time() - connection.last_heartbeat,
        in_flight=connection.in_flight,
        transitions=tuple(connection.transitions),
        worker_status=connection.worker_status,
    )


def _worker(connection: Connection) -> tuple[str, tuple[str, ...], str]:
    """Return instance id, app names and SDK, as far as they are known."""
    joined = connection.joined
    if joined is None:
        return "", (), ""
    record = joined.connection
    apps = tuple(name[:_LONGEST_TEXT] for name in sorted(record.groups)[:_MOST_APPS])
    sdk = f"{record.sdk_language} {record.sdk_version}".strip()
    return record.instance_id[:_LONGEST_TEXT], apps, sdk[:_LONGEST_TEXT]
