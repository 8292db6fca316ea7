"""Replies of workers in Redis, kept until their executor has them."""

from dataclasses import dataclass

from connect.settings import Timing
from connect.state.commands import Commands, load_script
from connect.state.encoding import decode_lease, readable
from connect.state.keys import Keys
from connect.state.store import RefusedResponse, SavedResponse

__all__ = ["RedisResponseStore"]

_SAVE = load_script("save_response")

_REFUSED = {b"late": RefusedResponse.LATE, b"foreign": RefusedResponse.FOREIGN}


@dataclass(frozen=True, slots=True)
class RedisResponseStore:
    """`ResponseStore` on Redis."""

    commands: Commands
    keys: Keys
    timing: Timing

    async def save(
        self,
        env_id: str,
        request_id: str,
        response: bytes,
        *,
        instance_id: str = "",
        running: bool = True,
    ) -> SavedResponse:
        keys = self.keys
        outcome, lease = await self.commands.run(
            _SAVE,
            (
                keys.response(env_id, request_id),
                keys.lease(env_id, request_id),
                keys.request_worker(env_id, request_id),
                keys.abandoned(env_id, request_id),
            ),
            (response, int(self.timing.buffered_response * 1000), instance_id, int(running)),
        )
        # The response is saved even where the lease cannot be read.
        leases = readable(decode_lease, [lease])
        return SavedResponse(
            first=outcome == b"first",
            lease=leases[0] if leases else None,
            refused=_REFUSED.get(outcome),
        )

    async def get(self, env_id: str, request_id: str) -> bytes | None:
        value: bytes | None = await self.commands.execute(
            "GET", self.keys.response(env_id, request_id)
        )
        return value

    async def delete(self, env_id: str, request_id: str) -> None:
        await self.commands.execute("DEL", self.keys.response(env_id, request_id))
