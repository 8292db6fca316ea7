"""What the contract tests work with: a store over either server, and a clock they set."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from ulid import ULID

from connect.settings import Timing
from connect.state.commands import Commands, Script
from connect.state.keys import Keys
from connect.state.records import ConnectionRecord, ConnectionStatus, GroupRecord
from connect.state.redis_store import RedisStore
from connect.state.store import AcquireOutcome, AcquireRequest

ENV = "env-1"
APP = "app-1"
GROUP = "hash-1"
SLUG = "shop-charge"
TIMING = Timing()
START = 1_754_300_000.0  # unix seconds


@dataclass
class SettableNow:
    """A clock in unix seconds that stands still until a test moves it."""

    seconds: float = START

    def __call__(self) -> float:
        return self.seconds

    @property
    def ms(self) -> int:
        return int(self.seconds * 1000)


@dataclass
class Harness:
    """A store, the commands under it, and its clock."""

    store: RedisStore
    commands: Commands
    now: SettableNow
    keys: Keys

    async def ttl(self, key: str) -> float:
        """Return the seconds until the key expires; below 0 if it never does."""
        ms: int = await self.commands.execute("PTTL", key)
        return ms / 1000

    def connection(self, connection_id: str, **changes: Any) -> ConnectionRecord:
        """Return a READY connection of one worker of APP, its heartbeat just now."""
        record = ConnectionRecord(
            id=connection_id,
            gateway_id="gw-1",
            instance_id=f"worker-{connection_id}",
            groups={"shop": GROUP},
            synced_groups={APP: GROUP},
            status=ConnectionStatus.READY,
            last_heartbeat_ms=self.now.ms,
        )
        return replace(record, **changes)

    async def connect(
        self,
        connection_id: str,
        *,
        limit: int = 0,
        group_record: GroupRecord | None = None,
        **changes: Any,
    ) -> ConnectionRecord:
        """Store a connection with its group, as a gateway would."""
        chosen = group_record or group()
        changes.setdefault("groups", {chosen.app_name: chosen.hash})
        changes.setdefault("synced_groups", {chosen.app_id: chosen.hash})
        record = self.connection(connection_id, **changes)
        await self.store.connections.upsert(ENV, record, [chosen])
        await self.store.capacity.set_limit(ENV, record.instance_id, limit)
        return record

    async def acquire(self, request_id: str = "req-1", **changes: Any) -> AcquireOutcome:
        """Route a request for SLUG over the live gateway gw-1."""
        return await self.store.routing.acquire(replace(acquire_request(request_id), **changes))


def acquire_request(request_id: str) -> AcquireRequest:
    return AcquireRequest(
        env_id=ENV,
        request_id=request_id,
        app_id=APP,
        function_slug=SLUG,
        executor_host="10.0.0.1",
        executor_port=50053,
        lease_seconds=20.0,
        gateways=("gw-1",),
    )


def group(group_hash: str = GROUP, **changes: Any) -> GroupRecord:
    """Return a synced group of APP that serves SLUG."""
    record = GroupRecord(
        account_id="acct-1",
        env_id=ENV,
        app_name="shop",
        hash=group_hash,
        created_at="2025-08-04T09:00:00.123456789Z",
        functions=(SLUG,),
        app_id=APP,
        sync_id="sync-1",
    )
    return replace(record, **changes)


def ulid_ms(ulid: str) -> int:
    """Return the unix milliseconds in a ULID."""
    return ULID.from_str(ulid).milliseconds


def own_script(text: str) -> Script:
    """Return a script of a test's own."""
    return Script("own", text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
