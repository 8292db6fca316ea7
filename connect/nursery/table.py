"""The connections of one gateway, by id: where forwards find them."""

from collections.abc import Iterator

from connect.nursery.connection import Connection

__all__ = ["ConnectionTable"]


class ConnectionTable:
    """Connections whose workers have joined, by connection id."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._connections.values()))

    def get(self, connection_id: str) -> Connection | None:
        """Return the connection with this id, if it is here."""
        return self._connections.get(connection_id)

    async def make_room(self, connection_id: str) -> None:
        """End a connection that has this id already; return when it is cleaned up.

        A worker may dial again with the id it has before its old socket is known to be
        dead; what the old connection removes from the store must not be the new one's.
        """
        old = self._connections.get(connection_id)
        if old is not None:
            old.apply(old.machine.replaced())
            await old.finished.wait()

    def enter(self, connection: Connection) -> None:
        """Make a joined connection known."""
        assert connection.joined is not None
        self._connections[connection.joined.connection.id] = connection

    def leave(self, connection: Connection) -> None:
        """Forget a connection; harmless for one that never joined."""
        if connection.joined is None:
            return
        connection_id = connection.joined.connection.id
        if self._connections.get(connection_id) is connection:
            del self._connections[connection_id]
