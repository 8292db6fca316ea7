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
    readable,
)
from connect.state.keys import Keys, worker_hash
from connect.state.records import ConnectionRecord, ConnectionStatus, GroupRecord

__all__ = ["RedisConnectionStore"]

_UPSERT = load_script("upsert_connection")
_REFRESH = load_script("refresh_connection")
_DELETE = load_script("delete_connection")

# Entries asked for at once when many are read, so that no command blocks Redis for long.
_PAGE = 500


@dataclass(frozen=True, slots=True)
class RedisConnectionStore:
    """`ConnectionStore` on Redis."""

    commands: Commands
    keys: Keys
    now: Now
    timing: Timing

    async def upsert(
        self, env_id: str, connection: ConnectionRecord, groups: Sequence[GroupRecord] = ()
    ) -> None:
        all_hashes = {*connection.groups.values(), *connection.synced_groups.values()}
        await self.commands.run(
            _UPSERT,
            self._script_keys(env_id),
            (
                *self._head(env_id, connection),
                self.keys.group_prefix(env_id),
                self.keys.app_prefix(env_id),
                json.dumps(sorted(all_hashes)),
                json.dumps(list(connection.synced_groups.items())),
                json.dumps([_group_argument(group) for group in groups]),
            ),
        )

    async def refresh(self, env_id: str, connection: ConnectionRecord) -> bool:
        args = self._head(env_id, connection)
        for app_id, group_hash in connection.synced_groups.items():
            args += (app_id, group_hash)
        stored = await self.commands.run(_REFRESH, self._script_keys(env_id), args)
        return bool(stored)

    async def delete(self, env_id: str, connection_id: str) -> bool:
        keys = self.keys
        deleted = await self.commands.run(
            _DELETE,
            self._script_keys(env_id),
            (
                connection_id,
                keys.group_prefix(env_id),
                keys.app_prefix(env_id),
                keys.ready_prefix(env_id),
                keys.app_groups_prefix(env_id),
                keys.functions_prefix(env_id),
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

    def _script_keys(self, env_id: str) -> tuple[str, str, str]:
        keys = self.keys
        return keys.connections(env_id), keys.groups(env_id), keys.workers(env_id)

    def _head(self, env_id: str, connection: ConnectionRecord) -> tuple[Argument, ...]:
        """Return the arguments that upsert and refresh share."""
        garbage = int((self.now() - self.timing.garbage_after) * 1000)
        return (
            connection.id,
            encode_connection(connection),
            int(connection.status is ConnectionStatus.READY),
            connection.last_heartbeat_ms,
            worker_hash(connection.instance_id),
            self.keys.ready_prefix(env_id),
            self.keys.app_groups_prefix(env_id),
            self.keys.functions_prefix(env_id),
            garbage,
        )

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
