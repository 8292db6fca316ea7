"""Connections and worker groups in Redis."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from connect.settings import Timing
from connect.state.commands import Argument, Commands, Now, Reply, load_script
from connect.state.encoding import (
    decode_connection,
    decode_group,
    encode_connection,
    encode_group,
    encode_heartbeat,
    readable,
)
from connect.state.keys import Keys, worker_hash
from connect.state.records import ConnectionRecord, GroupRecord

__all__ = ["RedisConnectionStore"]

_UPSERT = load_script("upsert_connection")
_REFRESH = load_script("refresh_connection")
_DELETE = load_script("delete_connection")

# Entries asked for at once when many are read, so that no command blocks Redis for long.
_PAGE = 500

# How long late writes for a deleted connection come to nothing.
_TOMBSTONE_MS = 5 * 60 * 1000

# How long a group that lost its last connection keeps its time of creation.
_CREATED_MS = 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class RedisConnectionStore:
    """`ConnectionStore` on Redis."""

    commands: Commands
    keys: Keys
    now: Now
    timing: Timing

    async def upsert(
        self,
        env_id: str,
        connection: ConnectionRecord,
        groups: Sequence[GroupRecord] = (),
        *,
        fresh: bool = False,
    ) -> bool:
        keys = self.keys
        stored = await self.commands.run(
            _UPSERT,
            (*keys.indexed_keys(env_id), keys.tombstone(env_id, connection.id)),
            (
                *self._head(env_id, connection),
                encode_connection(connection),
                int(fresh),
                self._read_again_at(connection),
                keys.group_prefix(env_id),
                keys.app_prefix(env_id),
                _CREATED_MS,
                json.dumps([_group_argument(group) for group in groups]),
            ),
        )
        return bool(stored)

    async def refresh(
        self, env_id: str, connection: ConnectionRecord, *, limited: bool = False
    ) -> bool:
        keys = self.keys
        status = int(connection.status)
        stored = await self.commands.run(
            _REFRESH,
            (
                *keys.indexed_keys(env_id),
                keys.capacity(env_id, connection.instance_id),
                keys.requests(env_id, connection.instance_id),
            ),
            (
                *self._head(env_id, connection),
                status or "",
                encode_heartbeat(connection.last_heartbeat_ms),
                self._read_again_at(connection),
                int(self.timing.capacity * 1000) if limited else "",
            ),
        )
        return bool(stored)

    async def delete(self, env_id: str, connection_id: str) -> bool:
        keys = self.keys
        deleted = await self.commands.run(
            _DELETE,
            (*keys.indexed_keys(env_id), keys.tombstone(env_id, connection_id)),
            (
                *keys.indexed_args(env_id, int(self.now() * 1000)),
                connection_id,
                keys.group_prefix(env_id),
                keys.app_prefix(env_id),
                _TOMBSTONE_MS,
                _CREATED_MS,
            ),
        )
        return bool(deleted)

    async def get(self, env_id: str, connection_id: str) -> ConnectionRecord | None:
        value = await self.commands.execute("HGET", self.keys.connections(env_id), connection_id)
        return None if value is None else decode_connection(value)

    async def all(self, env_id: str, app_id: str | None = None) -> list[ConnectionRecord]:
        if app_id is not None:
            return await self._listed_in(env_id, self.keys.app(env_id, app_id))
        return readable(decode_connection, await self._values(self.keys.connections(env_id)))

    async def group(self, env_id: str, group_hash: str) -> GroupRecord | None:
        value = await self.commands.execute("HGET", self.keys.groups(env_id), group_hash)
        return None if value is None else decode_group(value)

    async def groups(self, env_id: str) -> list[GroupRecord]:
        return readable(decode_group, await self._values(self.keys.groups(env_id)))

    async def of_group(self, env_id: str, group_hash: str) -> list[ConnectionRecord]:
        return await self._listed_in(env_id, self.keys.group(env_id, group_hash))

    def _head(self, env_id: str, connection: ConnectionRecord) -> tuple[Argument, ...]:
        """Return the arguments that upsert and refresh share."""
        return (
            *self.keys.indexed_args(env_id, int(self.now() * 1000)),
            connection.id,
            worker_hash(connection.instance_id),
        )

    def _read_again_at(self, connection: ConnectionRecord) -> int:
        """Return when routing looks at the record again, unless heartbeats come (unix ms)."""
        return connection.last_heartbeat_ms + int(self.timing.garbage_after * 1000)

    async def _listed_in(self, env_id: str, index: str) -> list[ConnectionRecord]:
        ids: set[bytes] = set()
        async for page in self._pages("SSCAN", index):
            ids.update(page)
        wanted = sorted(ids)
        values: list[bytes | None] = []
        for start in range(0, len(wanted), _PAGE):
            page = wanted[start : start + _PAGE]
            values += await self.commands.execute("HMGET", self.keys.connections(env_id), *page)
        return readable(decode_connection, values)

    async def _values(self, hash_key: str) -> list[bytes]:
        """Return the values of a hash, in the order of its fields."""
        fields: dict[bytes, bytes] = {}
        async for page in self._pages("HSCAN", hash_key):
            fields.update(zip(page[::2], page[1::2], strict=True))
        return [value for _, value in sorted(fields.items())]

    async def _pages(self, scan: str, key: str) -> AsyncIterator[list[bytes]]:
        cursor: Reply = b"0"
        while True:
            cursor, page = await self.commands.execute(scan, key, cursor, "COUNT", _PAGE)
            yield page
            if int(cursor) == 0:
                return


def _group_argument(group: GroupRecord) -> dict[str, str]:
    return {
        "hash": group.hash,
        "json": encode_group(group, mergeable=False),
        "created_at": group.created_at,
        "app_id": group.app_id,
        "sync_id": group.sync_id,
        "feature_observations_hash": group.feature_observations_hash,
    }
