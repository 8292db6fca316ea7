"""Leases of requests in Redis: who may run a request now, and who waits for it."""

from dataclasses import dataclass

from ulid import ULID

from connect.settings import Timing
from connect.state.commands import Commands, Now, load_script
from connect.state.encoding import BadRecord, decode_lease
from connect.state.keys import Keys, worker_hash
from connect.state.records import LeaseRecord
from connect.state.store import AlreadyLeased, ExtendOutcome, ExtendResult, LeaseState

__all__ = ["RedisLeaseStore", "expired_by", "lease_id_at", "lease_ms"]

_LEASE = load_script("lease")
_EXTEND = load_script("extend")
_HAND_BACK = load_script("hand_back")

_OUTCOMES = {
    b"extended": ExtendOutcome.EXTENDED,
    b"current": ExtendOutcome.CURRENT,
    b"dropped": ExtendOutcome.DROPPED,
    b"not_leased": ExtendOutcome.NOT_LEASED,
    b"other_worker": ExtendOutcome.OTHER_WORKER,
    b"superseded": ExtendOutcome.SUPERSEDED,
}


def lease_id_at(expiry_ms: int) -> str:
    """Return a new lease id: a ULID whose timestamp is the lease's end in unix ms."""
    return str(ULID.from_timestamp(expiry_ms))


def lease_ms(seconds: float, timing: Timing) -> int:
    """Return the lifetime of the key of a lease of that many seconds, in ms."""
    return int((timing.longest_function + max(0.0, seconds)) * 1000)


def expired_by(lease_id: str, now_ms: int) -> bool:
    """Whether a lease is over; one whose id is no ULID is."""
    try:
        return ULID.from_str(lease_id).milliseconds <= now_ms
    except ValueError:
        return True


@dataclass(frozen=True, slots=True)
class RedisLeaseStore:
    """`LeaseStore` on Redis."""

    commands: Commands
    keys: Keys
    now: Now
    timing: Timing

    async def lease(
        self,
        env_id: str,
        request_id: str,
        *,
        executor_host: str,
        executor_port: int,
        seconds: float,
    ) -> LeaseRecord | AlreadyLeased:
        now_ms = int(self.now() * 1000)
        new_id = lease_id_at(now_ms + int(seconds * 1000))
        ours, lease_id = await self.commands.run(
            _LEASE,
            (self.keys.lease(env_id, request_id),),
            (now_ms, new_id, executor_host, executor_port, lease_ms(seconds, self.timing)),
        )
        if not ours:
            return AlreadyLeased(lease_id.decode())
        return LeaseRecord(id=new_id, executor_host=executor_host, executor_port=executor_port)

    async def extend(
        self,
        env_id: str,
        request_id: str,
        *,
        lease_id: str,
        instance_id: str,
        seconds: float,
        limited: bool,
    ) -> ExtendResult:
        keys = self.keys
        now_ms = int(self.now() * 1000)
        expiry_ms = now_ms + int(seconds * 1000)
        outcome, *rest = await self.commands.run(
            _EXTEND,
            (
                *keys.indexed_keys(env_id),
                keys.lease(env_id, request_id),
                keys.request_worker(env_id, request_id),
                keys.requests(env_id, instance_id),
                keys.capacity(env_id, instance_id),
            ),
            (
                *keys.indexed_args(env_id, now_ms),
                worker_hash(instance_id),
                lease_id,
                lease_id_at(max(0, expiry_ms)),
                expiry_ms,
                instance_id,
                int(limited),
                request_id,
                lease_ms(seconds, self.timing),
                int(self.timing.request_worker * 1000),
                int(self.timing.capacity * 1000),
            ),
        )
        return ExtendResult(_OUTCOMES[outcome], rest[0].decode() if rest else None)

    async def hand_back(
        self, env_id: str, request_id: str, *, executor: tuple[str, int], to: tuple[str, int]
    ) -> bool:
        keys = (self.keys.lease(env_id, request_id),)
        return bool(await self.commands.run(_HAND_BACK, keys, (*executor, *to)))

    async def state(self, env_id: str, request_id: str) -> LeaseState:
        try:
            lease = await self.get(env_id, request_id)
        except BadRecord:  # the scripts take such a lease for none, too
            return LeaseState.NONE
        if lease is None:
            return LeaseState.NONE
        if expired_by(lease.id, int(self.now() * 1000)):
            return LeaseState.EXPIRED
        return LeaseState.LEASED

    async def get(self, env_id: str, request_id: str) -> LeaseRecord | None:
        value = await self.commands.execute("GET", self.keys.lease(env_id, request_id))
        return None if value is None else decode_lease(value)

    async def delete(self, env_id: str, request_id: str) -> None:
        await self.commands.execute("DEL", self.keys.lease(env_id, request_id))
