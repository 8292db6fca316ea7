"""Routing in Redis: the two scripts that bracket a request."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from connect.settings import Timing
from connect.state.commands import Argument, Commands, Now, Reply, load_script
from connect.state.keys import Keys, worker_hash
from connect.state.leases import lease_id_at, lease_ms
from connect.state.store import (
    Abandoned,
    Acquired,
    AcquireOutcome,
    AcquireRequest,
    AlreadyLeased,
    Buffered,
    LeaseIsLive,
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

# How often the script may ask for workers' hashes within one acquire: for the 256
# connections of each answer, and for the worker that has the request already.
_QUESTIONS = 64


@dataclass(frozen=True, slots=True)
class RedisRoutingStore:
    """`RoutingStore` on Redis."""

    commands: Commands
    keys: Keys
    now: Now
    timing: Timing

    async def acquire(self, request: AcquireRequest) -> AcquireOutcome:
        held_instance = request.held_instance or ""
        adopted: list[str] = []
        for _ in range(_QUESTIONS):
            reply = await self._acquire(request, held_instance, adopted)
            match reply:
                case [b"acquired", lease_id, connection, gateway, instance, limited, app_name]:
                    return Acquired(
                        lease_id=lease_id.decode(),
                        connection_id=connection.decode(),
                        gateway_id=gateway.decode(),
                        instance_id=instance.decode(),
                        limited=bool(limited),
                        app_name=app_name.decode(),
                    )
                case [b"leased", lease_id, host, port, first]:
                    before = (host.decode(errors="replace"), int(port)) if host else None
                    return AlreadyLeased(lease_id.decode(), before, first.decode(errors="replace"))
                case [b"abandoned", over_ms]:
                    return Abandoned(over_ms / 1000)
                case [b"buffered", response]:
                    return Buffered(response)
                case [b"none", reason]:
                    return NoRoute(_REASONS[reason])
                case [b"assigned", instance]:
                    held_instance = instance.decode()
                case [b"unknown", *unknown]:
                    adopted = []
                    for connection, instance in zip(unknown[::2], unknown[1::2], strict=True):
                        adopted += (connection, worker_hash(instance.decode()))
                case _:
                    raise AssertionError(f"acquire.lua answered {reply!r}")
        # Connections come faster than they are indexed.
        return NoRoute(NoRouteReason.NONE_HEALTHY)

    async def _acquire(
        self, request: AcquireRequest, held_instance: str, adopted: Sequence[Argument]
    ) -> Reply:
        env_id, request_id = request.env_id, request.request_id
        keys, timing = self.keys, self.timing
        now_ms = int(self.now() * 1000)
        return await self.commands.run(
            _ACQUIRE,
            (
                *keys.indexed_keys(env_id),
                keys.lease(env_id, request_id),
                keys.response(env_id, request_id),
                keys.request_worker(env_id, request_id),
                keys.app(env_id, request.app_id),
                keys.abandoned(env_id, request_id),
            ),
            (
                *keys.indexed_args(env_id, now_ms),
                random.getrandbits(31),
                request.lease_id or lease_id_at(now_ms + int(request.lease_seconds * 1000)),
                request.executor_host,
                request.executor_port,
                lease_ms(request.lease_seconds, timing),
                request.held_lease or "",
                held_instance,
                worker_hash(held_instance) if held_instance else "",
                request_id,
                request.app_id,
                request.function_slug,
                now_ms - int(_HEARTBEAT_INTERVALS * timing.worker_heartbeat * 1000),
                now_ms - int(timing.garbage_after * 1000),
                int(timing.request_worker * 1000),
                int(timing.capacity * 1000),
                len(request.gateways),
                len(request.draining_gateways),
                len(request.excluded),
                *request.gateways,
                *request.draining_gateways,
                *request.excluded,
                *adopted,
            ),
        )

    async def complete(
        self,
        env_id: str,
        request_id: str,
        instance_id: str | None,
        *,
        executor: tuple[str, int] | None = None,
        lease_id: str | None = None,
        keep_response: bool = False,
        may_run: bool = False,
        vouched_until_ms: int = 0,
        made_with: Sequence[str] = (),
    ) -> bool:
        how: tuple[Argument, ...] = (
            *(executor or ("", 0)),
            int(self.timing.buffered_response * 1000),
            int(keep_response),
            lease_id or "",
            int(may_run),
            vouched_until_ms,
            int(self.timing.lease * 1000),
            " ".join(made_with),
        )
        for _ in range(_QUESTIONS):
            match await self._complete(env_id, request_id, instance_id, how):
                case [b"done"]:
                    return True
                case [b"taken"]:
                    return False
                case [b"live"]:
                    raise LeaseIsLive("a lease that was taken over is not over yet")
                case [b"assigned", instance]:
                    instance_id = instance.decode()
                case reply:
                    raise AssertionError(f"complete.lua answered {reply!r}")
        raise AssertionError("complete.lua asks for a worker that it was given")

    async def _complete(
        self,
        env_id: str,
        request_id: str,
        instance_id: str | None,
        how: Sequence[Argument],
    ) -> Reply:
        keys = self.keys
        script_keys = [
            *keys.indexed_keys(env_id),
            keys.lease(env_id, request_id),
            keys.response(env_id, request_id),
            keys.request_worker(env_id, request_id),
            keys.abandoned(env_id, request_id),
        ]
        args: list[Argument] = [
            *keys.indexed_args(env_id, int(self.now() * 1000)),
            request_id,
            *how,
        ]
        if instance_id is not None:
            script_keys += (
                keys.capacity(env_id, instance_id),
                keys.requests(env_id, instance_id),
            )
            args += (instance_id, worker_hash(instance_id), int(self.timing.capacity * 1000))
        return await self.commands.run(_COMPLETE, script_keys, args)
