"""Garbage collection: what nobody's heartbeat keeps alive any more is removed.

A pass walks over one environment's connections, groups, apps and workers, and over the
table of gateways, in pages (HSCAN, SSCAN, ZSCAN) with a pause after each; the scripts that
remove something look at it again first, so that a heartbeat which comes meanwhile saves its
connection. Nothing is found by scanning the keyspace, which requests fill: every index is
reached from the records, the registry, and the sets of those apps and groups for which there
are indexes. So nothing of ours stays when another implementation takes the records away; what
it wrote itself beside them, and no script of ours has met, is not ours to look for.

Leases, responses, mappings, capacities and tombstones have lifetimes of their own. A record
that cannot be read is counted and reported, and taken out of the indexes; itself it stays,
for people to look at.

The environment is that of the one configured tenant. Passes of several environments over
the gateways they share do not disturb each other.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from connect.state.commands import Argument, Commands, Script, load_script
from connect.state.encoding import BadRecord, decode_connection, decode_gateway, decode_group
from connect.state.redis_store import RedisStore

__all__ = ["CollectionReport", "collect", "pause"]

_CONNECTION = load_script("collect_connection")
_MEMBERS = load_script("collect_members")
_WORKERS = load_script("collect_workers")
_PLACE = load_script("collect_place")
_GROUP = load_script("collect_group")
_APP = load_script("collect_app")
_BUSY = load_script("collect_busy")
_GATEWAY = load_script("collect_gateway")

# Entries asked for at once, and looked at by one script: less than a millisecond of Redis.
_PAGE = 100

# Registered apps are read with their functions, which may be long.
_APPS_PAGE = 10

# Between two pages, in seconds.
_PAUSE = 0.005

# How long the time of creation of a group is kept that a pass removes.
_CREATED_TTL_MS = 3_600_000


@dataclass(slots=True)
class CollectionReport:
    """What one pass did.

    Attributes:
        connections, gateways: removed, as their heartbeats were too old.
        groups: removed, as they had no connections; those that went with the last of
            their connections are not counted.
        index_entries: removed, as what they stood for was gone.
        bad_records: records that could not be read; they stay.
        bad_ids: some of their ids, for the log.
        seconds: how long the pass took.
    """

    connections: int = 0
    gateways: int = 0
    groups: int = 0
    index_entries: int = 0
    bad_records: int = 0
    bad_ids: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def note_bad(self, what: str, record_id: str) -> None:
        """Count a record that cannot be read."""
        self.bad_records += 1
        if len(self.bad_ids) < 10:
            self.bad_ids.append(f"{what} {record_id}")


async def pause() -> None:
    """Let others have Redis for a moment: what a pass does after each page."""
    await trio.sleep(_PAUSE)


async def collect(
    store: RedisStore, env_id: str, *, between_pages: Callable[[], Awaitable[None]] = pause
) -> CollectionReport:
    """Collect the garbage of one environment, and gateways that are dead.

    Two passes at the same time do no harm; see `connect.state.election` for having one.

    Args:
        between_pages: awaited after each page; what it raises ends the pass.

    Raises:
        StoreUnavailable: the store did not answer; another pass goes on from there.
        Cancelled, a pass leaves everything consistent, too.
    """
    started = trio.current_time()
    collecting = _Pass(store, env_id, between_pages)
    await collecting.connections()
    await collecting.groups()
    await collecting.groups_without_record()
    await collecting.apps()
    await collecting.workers()
    await collecting.gateways()
    collecting.report.seconds = trio.current_time() - started
    return collecting.report


class _Pass:
    """One pass: its report so far, and the apps and groups met on the way."""

    def __init__(
        self, store: RedisStore, env_id: str, between_pages: Callable[[], Awaitable[None]]
    ) -> None:
        connections = store.connections
        self._commands = connections.commands
        self._keys = connections.keys
        self._now = connections.now
        self._garbage_after = connections.timing.garbage_after
        self._env_id = env_id
        self._between_pages = between_pages
        self._apps: set[str] = set()
        self._groups: set[str] = set()
        self.report = CollectionReport()

    async def connections(self) -> None:
        """Remove connections whose heartbeat is too old."""
        keys, env_id = self._keys, self._env_id
        async for page in self._pages("HSCAN", keys.connections(env_id)):
            for field_name, value in zip(page[::2], page[1::2], strict=True):
                connection_id = field_name.decode(errors="replace")
                readable = True
                try:
                    record = decode_connection(value)
                except BadRecord:
                    readable = False
                else:
                    self._apps.update(record.synced_groups)
                    if record.last_heartbeat_ms > self._oldest_ms:
                        continue
                removed = await self._run(
                    _CONNECTION,
                    field_name,
                    keys.group_prefix(env_id),
                    keys.app_prefix(env_id),
                    _CREATED_TTL_MS,
                    self._oldest_ms,
                )
                if removed == 1:
                    self.report.connections += 1
                elif not readable:
                    self.report.note_bad("connection", connection_id)

    async def groups(self) -> None:
        """Take lost connections out of groups, and remove groups that have none."""
        keys, env_id = self._keys, self._env_id
        async for page in self._pages("HSCAN", keys.groups(env_id)):
            for field_name, value in zip(page[::2], page[1::2], strict=True):
                group_hash = field_name.decode(errors="replace")
                self._groups.add(group_hash)
                try:
                    app_id = decode_group(value).app_id
                except BadRecord:
                    self.report.note_bad("group", group_hash)
                    await self._sweep("SSCAN", keys.group(env_id, group_hash))
                    continue
                if app_id:
                    self._apps.add(app_id)
                await self._sweep("SSCAN", keys.group(env_id, group_hash))
                self.report.groups += await self._collect_group(group_hash, "")

    async def groups_without_record(self) -> None:
        """Take lost connections out of the groups whose record others removed."""
        keys, env_id = self._keys, self._env_id
        async for page in self._pages("SSCAN", keys.indexed_groups(env_id)):
            for member in page:
                group_hash = member.decode(errors="replace")
                if group_hash not in self._groups:
                    await self._sweep("SSCAN", keys.group(env_id, group_hash))
                    await self._collect_group(group_hash, "")

    async def apps(self) -> None:
        """Take what is gone out of the indexes of every app that is registered, used or indexed."""
        registry = self._keys.apps(self._env_id)
        async for page in self._pages("HSCAN", registry, count=_APPS_PAGE):
            self._apps.update(name.decode(errors="replace") for name in page[::2])
        async for page in self._pages("SSCAN", self._keys.indexed_apps(self._env_id)):
            self._apps.update(name.decode(errors="replace") for name in page)
        for app_id in sorted(self._apps):
            await self._collect_app(app_id)

    async def workers(self) -> None:
        """Forget workers whose connections are gone."""
        keys, env_id = self._keys, self._env_id
        async for page in self._pages("HSCAN", keys.workers(env_id)):
            self.report.index_entries += await self._run(_WORKERS, *page[::2])
        async for page in self._pages("ZSCAN", keys.busy(env_id)):
            self.report.index_entries += await self._run(_BUSY, *page[::2])

    async def gateways(self) -> None:
        """Remove gateways whose heartbeat is too old."""
        table = self._keys.gateways()
        async for page in self._pages("HSCAN", table):
            for field_name, value in zip(page[::2], page[1::2], strict=True):
                try:
                    gateway = decode_gateway(value)
                except BadRecord:
                    self.report.note_bad("gateway", field_name.decode(errors="replace"))
                    continue
                if gateway.last_heartbeat_ms <= self._oldest_ms:
                    self.report.gateways += await self._commands.run(
                        _GATEWAY, (table,), (field_name, self._oldest_ms)
                    )

    async def _collect_app(self, app_id: str) -> None:
        keys, env_id = self._keys, self._env_id
        await self._sweep("SSCAN", keys.app(env_id, app_id))
        await self._sweep("ZSCAN", keys.known(env_id, app_id))
        async for page in self._pages("HSCAN", keys.app_groups(env_id, app_id)):
            for field_name in page[::2]:
                group_hash = field_name.decode(errors="replace")
                listed = keys.group_gateways(env_id, app_id, group_hash)
                async for gateways in self._pages("SSCAN", listed):
                    for gateway in gateways:
                        await self._collect_place(app_id, group_hash, gateway)
                self.report.groups += await self._collect_group(group_hash, app_id)
        await self._run(_APP, app_id, more_keys=(keys.app(env_id, app_id),))

    async def _collect_place(self, app_id: str, group_hash: str, gateway: bytes) -> None:
        keys, env_id = self._keys, self._env_id
        place = app_id, group_hash, gateway
        # An id that others wrote need not be UTF-8: it goes back as it came.
        gateway_id = gateway.decode(errors="surrogateescape")
        listed_for_nothing = True
        for name in (keys.ready, keys.full, keys.draining):
            key = name(env_id, app_id, group_hash, gateway_id).encode(errors="surrogateescape")
            async for page in self._pages("ZSCAN", key):
                listed_for_nothing = False
                self.report.index_entries += await self._run(_PLACE, *place, *page[::2])
        if listed_for_nothing:
            await self._run(_PLACE, *place)

    async def _collect_group(self, group_hash: str, app_id: str) -> bool:
        """Remove a group without connections, and return whether it is one."""
        members = self._keys.group(self._env_id, group_hash)
        removed = await self._run(_GROUP, group_hash, app_id, _CREATED_TTL_MS, more_keys=(members,))
        return removed == 1

    async def _sweep(self, scan: str, index: str) -> None:
        """Take ids of lost connections out of a set or sorted set."""
        remove, step = ("ZREM", 2) if scan == "ZSCAN" else ("SREM", 1)
        keys = (self._keys.connections(self._env_id), index)
        async for page in self._pages(scan, index):
            self.report.index_entries += await self._commands.run(
                _MEMBERS, keys, (remove, *page[::step])
            )

    @property
    def _oldest_ms(self) -> int:
        """The last heartbeat up to which its sender is garbage, in unix ms."""
        return int((self._now() - self._garbage_after) * 1000)

    async def _run(self, script: Script, *args: Argument, more_keys: Sequence[str] = ()) -> int:
        """Run a script that includes indexes."""
        keys, env_id = self._keys, self._env_id
        result: int = await self._commands.run(
            script,
            (*keys.indexed_keys(env_id), *more_keys),
            (*keys.indexed_args(env_id, int(self._now() * 1000)), *args),
        )
        return result

    def _pages(self, scan: str, key: str | bytes, *, count: int = _PAGE) -> "_Pages":
        return _Pages(self._commands, self._between_pages, scan, key, count)


class _Pages:
    """The pages of a scan, with a pause between what is asked of Redis.

    Not a generator, so that it can be left in the middle.
    """

    def __init__(
        self,
        commands: Commands,
        between_pages: Callable[[], Awaitable[None]],
        scan: str,
        key: str | bytes,
        count: int,
    ) -> None:
        self._commands = commands
        self._between_pages = between_pages
        self._scan = scan
        self._key = key
        self._count = count
        self._cursor: bytes | None = None
        self._pages: deque[list[bytes]] = deque()

    def __aiter__(self) -> "_Pages":
        return self

    async def __anext__(self) -> list[bytes]:
        while not self._pages:
            if self._cursor is not None:
                if int(self._cursor) == 0:
                    raise StopAsyncIteration
                await self._between_pages()
            self._cursor, found = await self._commands.execute(
                self._scan, self._key, self._cursor or b"0", "COUNT", self._count
            )
            # A small collection comes whole, whatever was asked for.
            step = 2 * self._count
            self._pages.extend(found[i : i + step] for i in range(0, len(found), step))
        return self._pages.popleft()
