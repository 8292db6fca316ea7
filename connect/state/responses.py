"""Replies of workers in Redis, kept until their executor has them."""

from dataclasses import dataclass

from connect.settings import Timing
from connect.state.commands import Commands, load_script
from connect.state.encoding import decode_lease, readable
from connect.state.keys import Keys
from connect.state.store import SavedResponse

__all__ = ["RedisResponseStore"]

_SAVE = load_script("save_response")


@dataclass(frozen=True, slots=True)
class RedisResponseStore:
    """`ResponseStore` on Redis."""

    commands: Commands
    keys: Keys
    timing: Timing

    async def save(self, env_id: str, request_id: str, response: bytes) -> SavedResponse:
        first, lease = await self.commands.run(
            _SAVE,
            (self.keys.response(env_id, request_id), self.keys.lease(env_id, request_id)),
            (response, int(self.timing.buffered_response * 1000)),
        )
        # The response is saved even where the lease cannot be read.
        leases = readable(decode_lease, [lease])
        return SavedResponse(first=bool(first), lease=leases[0] if leases else None)

    async def get(self, env_id: str, request_id: str) -> bytes | None:
        value: bytes | None = await self.commands.execute(
            "GET", self.keys.response(env_id, request_id)
        )
        return value

    async def delete(self, env_id: str, request_id: str) -> None:
        await self.commands.execute("DEL", self.keys.response(env_id, request_id))
