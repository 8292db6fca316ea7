"""How many requests each worker runs, in Redis."""

from dataclasses import dataclass

from connect.settings import Timing
from connect.state.commands import Argument, Commands, Now, load_script
from connect.state.keys import Keys, worker_hash
from connect.state.store import Assignment

__all__ = ["RedisCapacityStore"]

_SET_LIMIT = load_script("set_limit")
_ASSIGN = load_script("assign")
_UNASSIGN = load_script("unassign")
_LOAD = load_script("load")
_REFRESH = load_script("refresh_capacity")

_ASSIGNMENTS = {
    b"assigned": Assignment.ASSIGNED,
    b"unlimited": Assignment.UNLIMITED,
    b"full": Assignment.AT_CAPACITY,
}


@dataclass(frozen=True, slots=True)
class RedisCapacityStore:
    """`CapacityStore` on Redis."""

    commands: Commands
    keys: Keys
    now: Now
    timing: Timing

    async def set_limit(self, env_id: str, instance_id: str, limit: int) -> None:
        await self.commands.run(
            _SET_LIMIT,
            (*self.keys.indexed_keys(env_id), *self._worker_keys(env_id, instance_id)),
            (*self._worker_args(env_id, instance_id), limit, self._lifetime),
        )

    async def limit(self, env_id: str, instance_id: str) -> int | None:
        value = await self.commands.execute("GET", self.keys.capacity(env_id, instance_id))
        return None if value is None else int(value)

    async def assign(self, env_id: str, instance_id: str, request_id: str) -> Assignment:
        outcome = await self.commands.run(
            _ASSIGN,
            (
                *self.keys.indexed_keys(env_id),
                *self._worker_keys(env_id, instance_id),
                self.keys.request_worker(env_id, request_id),
            ),
            (
                *self._worker_args(env_id, instance_id),
                request_id,
                instance_id,
                int(self.timing.request_worker * 1000),
                self._lifetime,
            ),
        )
        return _ASSIGNMENTS[outcome]

    async def unassign(self, env_id: str, instance_id: str, request_id: str) -> bool:
        done = await self.commands.run(
            _UNASSIGN,
            (
                *self.keys.indexed_keys(env_id),
                *self._worker_keys(env_id, instance_id),
                self.keys.request_worker(env_id, request_id),
            ),
            (
                *self._worker_args(env_id, instance_id),
                request_id,
                instance_id,
                self._lifetime,
            ),
        )
        return bool(done)

    async def load(self, env_id: str, instance_id: str) -> int:
        count = await self.commands.run(
            _LOAD, (self.keys.requests(env_id, instance_id),), (int(self.now() * 1000),)
        )
        return int(count)

    async def refresh(self, env_id: str, instance_id: str) -> None:
        await self.commands.run(_REFRESH, self._worker_keys(env_id, instance_id), (self._lifetime,))

    def _worker_keys(self, env_id: str, instance_id: str) -> tuple[str, str]:
        return self.keys.capacity(env_id, instance_id), self.keys.requests(env_id, instance_id)

    def _worker_args(self, env_id: str, instance_id: str) -> tuple[Argument, ...]:
        now_ms = int(self.now() * 1000)
        return *self.keys.indexed_args(env_id, now_ms), worker_hash(instance_id)

    @property
    def _lifetime(self) -> int:
        return int(self.timing.capacity * 1000)
