"""Sync of worker groups: from the code a worker brings to an app id and a sync id.

In the built-in registry an app's id is the UUIDv5 of its environment and name, so that
every gateway comes to the same one. With an outer API, `connect.nursery.registration`
asks that for both ids.
"""

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeAlias

from connect.config.functions import RegisteredFunction, parse_functions
from connect.nursery.registration import Registered
from connect.protocol.messages.connect import v1 as pb
from connect.state.hashes import group_hash
from connect.state.records import AppRecord, GroupRecord
from connect.state.store import StateStore

__all__ = ["Register", "SyncKey", "Synced", "build_group", "register_again", "sync_group"]

Register: TypeAlias = Callable[[GroupRecord, Sequence[RegisteredFunction]], Awaitable[Registered]]
"""Registers the app of a group at an outer API."""

SyncKey: TypeAlias = tuple[str, str, str]
"""What two equal ones of `Synced` have in common."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Synced:
    """A group that has its app id and sync id, and the app as it was registered."""

    group: GroupRecord
    app: AppRecord

    @property
    def key(self) -> SyncKey:
        return self.group.hash, self.group.sync_id, self.group.created_at


def build_group(
    account_id: str,
    env_id: str,
    hello: pb.WorkerConnectRequestData,
    app: pb.AppConfiguration,
    *,
    now: float,
    most_functions: int = 0,
) -> tuple[GroupRecord, Sequence[RegisteredFunction]]:
    """Work out the group of one app of a worker, without its app id and sync id.

    Args:
        now: unix time in seconds, for a group that turns out to be new.
        most_functions: how many functions it may have; 0 means any number.

    Raises:
        FunctionConfigError: the app's functions are not a valid function list.
        TooManyFunctions: they are more.
    """
    functions = parse_functions(app.functions, most=most_functions)
    observations = bytes(app.feature_observations)
    return (
        GroupRecord(
            account_id=account_id,
            env_id=env_id,
            app_name=app.app_name,
            app_version=app.app_version or "",
            sdk_language=hello.sdk_language,
            sdk_version=hello.sdk_version,
            sdk_platform=hello.platform or "",
            functions=tuple(function.slug for function in functions),
            hash=group_hash(
                account_id=account_id,
                env_id=env_id,
                sdk_language=hello.sdk_language,
                sdk_version=hello.sdk_version,
                platform=hello.platform,
                app_version=app.app_version,
                functions=app.functions,
            ),
            feature_observations_hash=(
                hashlib.sha256(observations).hexdigest() if observations else ""
            ),
            created_at=datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"),
        ),
        functions,
    )


async def sync_group(
    store: StateStore,
    group: GroupRecord,
    functions: Sequence[RegisteredFunction],
    *,
    now: float,
    register: Register | None = None,
    on_sync: Callable[[AppRecord], None] = lambda app: None,
) -> Synced:
    """Give the group its app id and sync id, registering the app if need be.

    A stored group with the same hash that is synced, with the same feature
    observations, lends its ids and its time of creation; else the app is registered anew.

    Args:
        now: unix time in seconds.
        register: registers the app; None is the built-in registry. What the app brings is
            stored in either case, for reads and invocations.
        on_sync: called with the app, registered anew or before.

    Raises:
        StoreUnavailable: the store did not answer.
        ConnectError: as `register` raises it.
    """
    stored = await store.connections.group(group.env_id, group.hash)
    if (
        stored is not None
        and stored.app_id
        and stored.sync_id
        and stored.feature_observations_hash == group.feature_observations_hash
    ):
        group = replace(
            group,
            app_id=stored.app_id,
            sync_id=stored.sync_id,
            created_at=stored.created_at or group.created_at,
        )
        app = _app(group, functions, synced_at=_unix(group.created_at))
        on_sync(app)
        return Synced(group, app)
    if register is None:
        ids = Registered(
            app_id=str(uuid.uuid5(uuid.UUID(group.env_id), group.app_name)),
            sync_id=str(uuid.uuid4()),
        )
    else:
        ids = await register(group, functions)
    group = replace(group, app_id=ids.app_id, sync_id=ids.sync_id)
    app = _app(group, functions, synced_at=now)
    await store.apps.save(group.env_id, app)
    on_sync(app)
    return Synced(group, app)


async def register_again(store: StateStore, synced: Synced) -> None:
    """Put an app back into a registry that has lost it.

    An app registered later stays: the worker of an older deploy may beat after the newer
    one's.

    Raises:
        StoreUnavailable: the store did not answer.
    """
    env_id, app = synced.group.env_id, synced.app
    stored = await store.apps.get(env_id, app.id)
    if stored is None or stored.synced_at_ms < app.synced_at_ms:
        await store.apps.save(env_id, app)


def _app(
    group: GroupRecord, functions: Sequence[RegisteredFunction], *, synced_at: float
) -> AppRecord:
    return AppRecord(
        id=group.app_id,
        name=group.app_name,
        version=group.app_version,
        sync_id=group.sync_id,
        functions=tuple(function.definition for function in functions),
        sdk_language=group.sdk_language,
        sdk_version=group.sdk_version,
        synced_at_ms=round(synced_at * 1000),
    )


def _unix(created_at: str) -> float:
    """Return the unix seconds of a group's time of creation; 0 if it cannot be read."""
    try:
        return datetime.fromisoformat(created_at).timestamp()
    except ValueError:
        return 0.0
