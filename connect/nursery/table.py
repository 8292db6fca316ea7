"""The connections of one gateway, by id: where forwards find them."""

from collections.abc import Iterator

from connect.nursery.connection import Connection

__all__ = ["ConnectionTable"]


class ConnectionTable:
    """Connections whose workers have joined, by connection id, and who has which id.

    An id is had from before a worker joins until its connection is cleaned up.
    """

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._holders: dict[str, list[Connection]] = {}  # the last is to have it

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._connections.values()))

    def get(self, connection_id: str) -> Connection | None:
        """Return the connection with this id, if it is here and its worker has joined."""
        return self._connections.get(connection_id)

    def has(self, connection_id: str) -> bool:
        """Whether a connection has this id: one that joins, is here, or is cleaned up just now."""
        return connection_id in self._holders

    async def claim(self, connection: Connection) -> None:
        """Have the connection's id to itself; end whoever has it, and wait for its cleanup.

        A worker may dial again with the id it has before its old socket is known to be
        dead, or twice at once; what the old connection removes from the store must not be
        the new one's. The last to claim an id has it. Give it back with `release`, even if
        cancelled here.
        """
        holders = self._holders.setdefault(connection.id, [])
        earlier = tuple(holders)
        holders.append(connection)
        for other in earlier:
            other.apply(other.machine.replaced())
        for other in earlier:
            await other.finished.wait()

    def enter(self, connection: Connection) -> None:
        """Make a joined connection known, which has its id to itself."""
        self._connections[connection.id] = connection

    def leave(self, connection: Connection) -> None:
        """Let forwards no longer find a connection; harmless for one that never joined."""
        if self._connections.get(connection.id) is connection:
            del self._connections[connection.id]

    def release(self, connection: Connection) -> None:
        """Give back the id of a connection that is cleaned up; harmless for one without."""
        holders = self._holders.get(connection.id, [])
        if connection in holders:
            holders.remove(connection)
        if not holders:
            self._holders.pop(connection.id, None)
