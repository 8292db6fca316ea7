"""Routing in Redis: the two scripts that bracket a request."""

import random
from dataclasses import dataclass

from connect.settings import Timing
from connect.state.commands import Argument, Commands, Now, load_script
from connect.state.keys import Keys, worker_hash
from connect.state.leases import lease_id_at, lease_ms
from connect.state.store import (
    Acquired,
    AcquireOutcome,
    AcquireRequest,
    AlreadyLeased,
    Buffered,
    NoRoute,
    NoRouteReason,
)

__all__ = ["RedisRoutingStore"]

_ACQUIRE = load_script("acquire")
_COMPLETE = load_script("complete")

_REASONS = {
    b"capacity": NoRouteReason.ALL_AT_CAPACITY,
    b"draining": NoRouteReason.ONLY_DRAINING,
    b"unhealthy": NoRouteReason.NONE_HEALTHY,
}

# A connection counts while its last heartbeat is at most this many intervals old
# (Connect protocol, section 5).
_HEARTBEAT_INTERVALS = 2


@dataclass(frozen=True, slots=True)
class RedisRoutingStore:
    """`RoutingStore` on Redis."""

    commands: Commands
    keys: Keys
    now: Now
    timing: Timing

    async def acquire(self, request: AcquireRequest) -> AcquireOutcome:
        env_id, request_id, app_id = request.env_id, request.request_id, request.app_id
        keys, timing = self.keys, self.timing
        now_ms = int(self.now() * 1000)
        lease_id = lease_id_at(now_ms + int(request.lease_seconds * 1000))
        held_instance = request.held_instance or ""
        reply = await self.commands.run(
            _ACQUIRE,
            (
                keys.lease(env_id, request_id),
                keys.response(env_id, request_id),
                keys.request_worker(env_id, request_id),
                keys.connections(env_id),
                keys.groups(env_id),
                keys.app(env_id, app_id),
                keys.app_groups(env_id, app_id),
                keys.workers(env_id),
            ),
            (
                now_ms,
                random.getrandbits(31),
                lease_id,
                request.executor_host,
                request.executor_port,
                lease_ms(request.lease_seconds, timing),
                request.held_lease or "",
                held_instance,
                worker_hash(held_instance) if held_instance else "",
                request_id,
                app_id,
                request.function_slug,
                now_ms - int(_HEARTBEAT_INTERVALS * timing.worker_heartbeat * 1000),
                int(timing.request_worker * 1000),
                int(timing.capacity * 1000),
                keys.ready(env_id, app_id, ""),
                keys.functions_prefix(env_id),
                keys.capacity_prefix(env_id),
                keys.requests_prefix(env_id),
                len(request.gateways),
                len(request.draining_gateways),
                *request.gateways,
                *request.draining_gateways,
                *request.excluded,
            ),
        )
        match reply:
            case [b"acquired", connection_id, gateway_id, instance_id, limited]:
                return Acquired(
                    lease_id=lease_id,
                    connection_id=connection_id.decode(),
                    gateway_id=gateway_id.decode(),
                    instance_id=instance_id.decode(),
                    limited=bool(limited),
                )
            case [b"leased", other]:
                return AlreadyLeased(other.decode())
            case [b"buffered", response]:
                return Buffered(response)
            case [_, reason]:
                return NoRoute(_REASONS[reason])
        raise AssertionError(f"acquire.lua answered {reply!r}")

    async def complete(self, env_id: str, request_id: str, instance_id: str | None) -> None:
        keys = [self.keys.lease(env_id, request_id), self.keys.response(env_id, request_id)]
        args: tuple[Argument, ...] = ()
        if instance_id is not None:
            keys += (
                self.keys.capacity(env_id, instance_id),
                self.keys.requests(env_id, instance_id),
                self.keys.request_worker(env_id, request_id),
            )
            args = (request_id, instance_id, int(self.timing.capacity * 1000))
        await self.commands.run(_COMPLETE, keys, args)
