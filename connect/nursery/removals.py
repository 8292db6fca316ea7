"""What the cleanup of connections could not remove from the store: removed once it answers."""

from collections.abc import Callable

import trio

from connect.errors import ConnectError, StoreUnavailable
from connect.nursery.services import Services

__all__ = ["Removals"]

# So many are kept; beyond that, the oldest are left to be collected as garbage.
_MOST = 10_000

# Between two attempts of which the first failed, in seconds.
_AGAIN = 0.25

_LEFT = "connection left in the store to be collected"


class Removals:
    """The connections of one gateway that have ended and may still be stored.

    Executors would go on finding them, as long as their last heartbeats are young enough:
    each costs a request one of its attempts.

    Args:
        has: whether a connection of this gateway has an id (again).
    """

    def __init__(self, services: Services, has: Callable[[str], bool]) -> None:
        self._services = services
        self._has = has
        self._due: dict[tuple[str, str], None] = {}
        self._added = trio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, env_id: str, connection_id: str) -> None:
        """Have a connection removed later."""
        self._due[env_id, connection_id] = None
        if len(self._due) > _MOST:
            del self._due[next(iter(self._due))]
        self._added.set()

    async def run(self) -> None:
        """Remove what is due, one after the other, while the store answers; until cancelled."""
        services = self._services
        while True:
            await self._added.wait()
            while self._due:
                await services.health.wait_returned()
                env_id, connection_id = next(iter(self._due))
                try:
                    with services.health.attempt():
                        await self._remove(env_id, connection_id)
                except StoreUnavailable:
                    await trio.sleep(_AGAIN)
                    continue
                except ConnectError as error:
                    services.log.warning(_LEFT, connection_id=connection_id, error=str(error))
                except Exception:  # the last resort: one record stays, the gateway goes on
                    services.log.exception(_LEFT, connection_id=connection_id)
                self._due.pop((env_id, connection_id), None)
            self._added = trio.Event()

    async def _remove(self, env_id: str, connection_id: str) -> None:
        """Remove a connection, unless its worker has come back with its id, here or elsewhere."""
        connections = self._services.store.connections
        stored = await connections.get(env_id, connection_id)
        if self._has(connection_id):
            return
        if stored is None or stored.gateway_id == self._services.gateway_id:
            await connections.delete(env_id, connection_id)
