"""From WORKER_CONNECT to a stored connection: authenticate, group, sync.

The order of the checks and the syscode of each failure are those of the Connect
protocol, section 3.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import trio

from connect.config.faults import FunctionConfigError, FunctionFault, TooManyFunctions, quoted
from connect.config.functions import RegisteredFunction
from connect.errors import ConnectError, StoreUnavailable, Syscode, SyscodeError
from connect.nursery.admission import Place
from connect.nursery.comparison import tell_differences
from connect.nursery.registration import WorkerSync
from connect.nursery.services import Services
from connect.nursery.sync import Register, Synced, build_group, sync_group
from connect.protocol.durations import format_duration
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.tokens import Session
from connect.state.records import ConnectionRecord, ConnectionStatus, GroupRecord, WorkerAttributes

__all__ = ["Joined", "connection_ready", "join", "publish"]


# A handshake waits for a store that has not been away for longer than this, in seconds:
# a connection to it that broke is made again in less.
STORE_PATIENCE = 2.0

# What is left of a handshake that the store has failed is taken back for at least this
# long, in seconds.
_UNDO_MIN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A worker that has passed the handshake.

    Attributes:
        synced: the group and the app of each app name.
        limit: how many requests the worker runs at once; 0 means any number.
        manual_readiness: whether the worker says by WORKER_READY when it takes requests.
    """

    account_id: str
    env_id: str
    connection: ConnectionRecord
    synced: Sequence[Synced]
    limit: int
    manual_readiness: bool

    @property
    def limited(self) -> bool:
        """Whether the worker bounds how many requests it runs."""
        return self.limit > 0

    @property
    def groups(self) -> Sequence[GroupRecord]:
        """The worker groups that the connection is in."""
        return [synced.group for synced in self.synced]


async def join(
    services: Services, hello: pb.WorkerConnectRequestData, session: Session, place: Place
) -> Joined:
    """Check a WORKER_CONNECT, store the connection as CONNECTED, sync its groups.

    Cancelled or failed half-way, it removes the connection record again.

    Args:
        session: what the worker's token says.

    Raises:
        SyscodeError: the worker is refused, with the syscode to close with.
        LimitReached: the account or the worker may come in later.
        SyncRefused: the registration API refuses an app (to be told by SYNC_FAILED).
        FunctionConfigError: a function definition is wrong (to be told by SYNC_FAILED).
        RegistrationUnavailable: the registration API has not registered an app within
            `Timing.register`.
        StoreUnavailable: the store did not answer, or has been away for a while.
    """
    limits = services.settings.limits
    allowed = min(session.apps_per_connection, limits.apps_hard_cap)
    if len(hello.apps) > allowed:
        raise SyscodeError(Syscode.TOO_MANY_APPS, f"more than {allowed} apps on one connection")
    await place.admit(session.account_id, hello.instance_id)
    built = _build_groups(session, hello, now=services.now(), most=limits.functions_per_app)
    register = _register(services, hello)
    connection = _record(services, hello, {group.app_name: group.hash for group, _ in built})
    limit = max(0, hello.max_worker_concurrency or 0)
    with services.health.attempt(patience=STORE_PATIENCE):
        synced = await _store(services, session.env_id, connection, limit, built, register)
    return Joined(
        account_id=session.account_id,
        env_id=session.env_id,
        connection=replace(
            connection, synced_groups={each.group.app_id: each.group.hash for each in synced}
        ),
        # Connections of one group hold one copy of what its app registers.
        synced=[services.synced.setdefault(each.key, each) for each in synced],
        limit=limit,
        manual_readiness=hello.worker_manual_readiness_ack,
    )


async def _store(
    services: Services,
    env_id: str,
    connection: ConnectionRecord,
    limit: int,
    built: Sequence[tuple[GroupRecord, Sequence[RegisteredFunction]]],
    register: Register | None,
) -> list[Synced]:
    """Store connection and limit, and sync the groups; on failure, undo the first."""
    store = services.store
    began = trio.current_time()
    try:
        # What is observed belongs to a sync: stored with that, it can be compared until then.
        groups = [replace(group, feature_observations_hash="") for group, _ in built]
        # The worker is here: this id is in use, whatever became of it before.
        await store.connections.upsert(env_id, connection, groups, fresh=True)
        await store.capacity.set_limit(env_id, connection.instance_id, limit)
        return [
            await sync_group(
                store,
                group,
                functions,
                now=services.now(),
                register=register,
                on_sync=partial(tell_differences, services),
            )
            for group, functions in built
        ]
    except BaseException as error:
        timing = services.settings.timing
        within = timing.cleanup
        if isinstance(error, StoreUnavailable):
            # The worker has waited for the store, and is not to wait for it twice.
            left = began + timing.store_command - trio.current_time()
            within = min(within, max(left, _UNDO_MIN))
        await _undo(services, env_id, connection.id, within)
        raise


async def _undo(services: Services, env_id: str, connection_id: str, within: float) -> None:
    """Remove the connection again; shielded, for so many seconds.

    What cannot be removed, as the store is not reached, is left to be collected.
    """
    if services.health.unreachable_for >= STORE_PATIENCE:
        return
    with trio.move_on_after(within, shield=True), suppress(ConnectError):
        await services.store.connections.delete(env_id, connection_id)


def _register(services: Services, hello: pb.WorkerConnectRequestData) -> Register | None:
    """Say how this worker's apps are registered, if not here."""
    if services.registration is None:
        return None
    deadline = trio.current_time() + services.settings.timing.register
    return partial(services.registration.register, worker=WorkerSync.of(hello, deadline=deadline))


async def publish(services: Services, joined: Joined) -> None:
    """Store the connection again, synced, and READY unless its worker wants to say so.

    From here on executors route to it: whoever holds the connection must know it, and
    keep a Forward that comes now until the worker has been told that it is ready.

    Raises:
        StoreUnavailable: the store did not answer.
    """
    status = ConnectionStatus.CONNECTED if joined.manual_readiness else ConnectionStatus.READY
    connection = replace(
        joined.connection, status=status, last_heartbeat_ms=round(services.now() * 1000)
    )
    await services.store.connections.upsert(joined.env_id, connection, joined.groups)


def _build_groups(
    session: Session, hello: pb.WorkerConnectRequestData, *, now: float, most: int
) -> list[tuple[GroupRecord, Sequence[RegisteredFunction]]]:
    """Work out the groups of all apps of a worker.

    Raises:
        FunctionConfigError: with the faults of all apps.
        SyscodeError: an app's functions are too many, or have no canonical form.
    """
    built = []
    faults: list[FunctionFault] = []
    for app in hello.apps:
        try:
            built.append(
                build_group(
                    session.account_id,
                    session.env_id,
                    hello,
                    app,
                    now=now,
                    most_functions=most,
                )
            )
        except FunctionConfigError as error:
            name = quoted(app.app_name) if len(hello.apps) > 1 else ""
            faults += [replace(fault, app=name) for fault in error.faults]
        except TooManyFunctions as error:
            raise SyscodeError(
                Syscode.TOO_MANY_FUNCTIONS, f"app {app.app_name!r} brings {error}"
            ) from error
        except ValueError as error:  # JSON that has no canonical form
            raise SyscodeError(
                Syscode.INVALID_FUNCTION_CONFIG, f"app {app.app_name!r}: {error}"
            ) from error
    if faults:
        raise FunctionConfigError(faults)
    return built


def _record(
    services: Services, hello: pb.WorkerConnectRequestData, groups: Mapping[str, str]
) -> ConnectionRecord:
    attributes = hello.system_attributes
    return ConnectionRecord(
        id=hello.connection_id,
        gateway_id=services.gateway_id,
        instance_id=hello.instance_id,
        groups=groups,
        status=ConnectionStatus.CONNECTED,
        last_heartbeat_ms=round(services.now() * 1000),
        sdk_language=hello.sdk_language,
        sdk_version=hello.sdk_version,
        attributes=WorkerAttributes(
            cpu_cores=attributes.cpu_cores, mem_bytes=attributes.mem_bytes, os=attributes.os
        ),
    )


def connection_ready(services: Services) -> pb.GatewayConnectionReadyData:
    """Build the answer that tells a worker its intervals."""
    timing = services.settings.timing
    return pb.GatewayConnectionReadyData(
        heartbeat_interval=format_duration(timing.worker_heartbeat),
        extend_lease_interval=format_duration(timing.extend_lease),
        status_interval=format_duration(timing.status_interval),
    )
