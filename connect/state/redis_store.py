"""The state store over anything that answers Redis commands."""

from connect.settings import KeyLayout, Timing
from connect.state.apps import RedisAppStore
from connect.state.capacity import RedisCapacityStore
from connect.state.commands import Commands, Now
from connect.state.connections import RedisConnectionStore
from connect.state.gateways import RedisGatewayStore
from connect.state.keys import Keys
from connect.state.leases import RedisLeaseStore
from connect.state.responses import RedisResponseStore
from connect.state.routing import RedisRoutingStore

__all__ = ["RedisStore"]


class RedisStore:
    """Implements `connect.state.store.StateStore`.

    Beside what the port says, methods can raise `commands.CommandError` when the server
    refuses a command, and those that read one record `encoding.BadRecord`.

    Args:
        commands: a Redis client, or the embedded server.
        now: tells the time in unix seconds; the scripts never ask the server for it.
        layout: how keys are named.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        now: Now,
        timing: Timing,
        layout: KeyLayout = KeyLayout.CONNECT,
    ) -> None:
        keys = Keys(layout)
        self._commands = commands
        self.connections = RedisConnectionStore(commands, keys, now, timing)
        self.leases = RedisLeaseStore(commands, keys, now, timing)
        self.capacity = RedisCapacityStore(commands, keys, now, timing)
        self.responses = RedisResponseStore(commands, keys, timing)
        self.gateways = RedisGatewayStore(commands, keys)
        self.apps = RedisAppStore(commands, keys)
        self.routing = RedisRoutingStore(commands, keys, now, timing)

    async def ping(self) -> None:
        await self._commands.execute("PING")

    @property
    def round_trips(self) -> int:
        return self._commands.round_trips

    @property
    def unreachable_since(self) -> float | None:
        return self._commands.unreachable_since
