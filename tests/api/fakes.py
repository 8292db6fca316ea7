"""What the tests of the HTTP API share: a store in memory, and the API around it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import trio
from starlette.applications import Starlette
from trio.testing import wait_all_tasks_blocked

from connect.api import create_api
from connect.errors import StoreUnavailable
from connect.metrics import Metrics
from connect.protocol.tokens import SessionTokens, SigningKeys
from connect.runs import Runner
from connect.settings import Settings
from connect.state.records import (
    ConnectionRecord,
    GatewayRecord,
    GatewayStatus,
    GroupRecord,
    LeaseRecord,
)
from connect.state.store import RefusedResponse, SavedResponse, StateStore
from tests.runs.fakes import START, Apps, Handler, Reply, Worker, function, now

KEY = "signkey-test-12345678"
KEYS = SigningKeys([KEY])
NO_KEYS = SigningKeys([])
TOKENS = SessionTokens("secret", lifetime=300, now=now)
AUTHORIZED = {"authorization": f"Bearer {KEY}"}


def gateway(gateway_id: str = "gw-1", **fields: Any) -> GatewayRecord:
    """Return a gateway that is active and alive at the start of a test's clock."""
    known: dict[str, Any] = {
        "id": gateway_id,
        "status": GatewayStatus.ACTIVE,
        "last_heartbeat_ms": int(START * 1000),
        "hostname": "host",
        "ip": "10.0.0.1",
        "port": 8289,
        "group": "default",
    }
    return GatewayRecord(**(known | fields))


@dataclass
class Store:
    """The parts of a state store that the API uses, in memory.

    Attributes:
        down: every method raises StoreUnavailable.
        slow: seconds that a ping takes.
        over: whether nobody waits for replies any more.
        holder: the instance id of the worker that has every request; empty if unknown.
    """

    all_gateways: list[GatewayRecord] = field(default_factory=lambda: [gateway()])
    all_connections: list[ConnectionRecord] = field(default_factory=list)
    all_groups: dict[str, GroupRecord] = field(default_factory=dict)
    saved: dict[tuple[str, str], bytes] = field(default_factory=dict)
    lease: LeaseRecord | None = None
    registered: Apps = field(default_factory=lambda: Apps(function()))
    down: bool = False
    broken: bool = False
    slow: float = 0.0
    over: bool = False
    holder: str = ""

    @property
    def gateways(self) -> "Store":
        return self

    @property
    def connections(self) -> "_Connections":
        return _Connections(self)

    @property
    def responses(self) -> "Store":
        return self

    @property
    def apps(self) -> Apps:
        return self.registered

    def check(self) -> None:
        if self.down:
            raise StoreUnavailable("no answer")
        if self.broken:
            raise RuntimeError("a secret detail")

    async def all(self) -> list[GatewayRecord]:
        await trio.lowlevel.checkpoint()
        self.check()
        return self.all_gateways

    async def save(
        self,
        env_id: str,
        request_id: str,
        response: bytes,
        *,
        instance_id: str = "",
        running: bool = True,
    ) -> SavedResponse:
        await trio.lowlevel.checkpoint()
        self.check()
        if self.over and not running:
            return SavedResponse(first=False, lease=None, refused=RefusedResponse.LATE)
        if instance_id and self.holder not in ("", instance_id):
            return SavedResponse(first=False, lease=self.lease, refused=RefusedResponse.FOREIGN)
        first = (env_id, request_id) not in self.saved
        self.saved.setdefault((env_id, request_id), response)
        return SavedResponse(first, self.lease)

    async def ping(self) -> None:
        await trio.sleep(self.slow)
        self.check()


class _Connections:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def all(self, env_id: str, app_id: str | None = None) -> list[ConnectionRecord]:
        await trio.lowlevel.checkpoint()
        self._store.check()
        found = self._store.all_connections
        return [one for one in found if app_id is None or app_id in one.synced_groups]

    async def group(self, env_id: str, group_hash: str) -> GroupRecord | None:
        await trio.lowlevel.checkpoint()
        return self._store.all_groups.get(group_hash)

    async def of_group(self, env_id: str, group_hash: str) -> list[ConnectionRecord]:
        await trio.lowlevel.checkpoint()
        found = self._store.all_connections
        return [one for one in found if group_hash in one.groups.values()]


class Replies:
    """Keeps the replies that were pushed; `works` says whether they arrive."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, int, bytes]] = []
        self.given_up_at: list[float] = []
        self.works = True
        self.broken = False
        self.takes = 0.0

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        if self.broken:
            raise RuntimeError("a secret detail")
        try:
            await trio.sleep(self.takes)
        except trio.Cancelled:
            self.given_up_at.append(trio.current_time())
            raise
        self.pushed.append((host, port, response))
        return self.works


@dataclass
class Api:
    """An API around a store in memory, and a client of it."""

    app: Starlette
    client: httpx.AsyncClient
    store: Store
    replies: Replies
    worker: Worker
    runner: Runner
    nursery: trio.Nursery
    metrics: Metrics


@asynccontextmanager
async def open_api(
    store: Store | None = None,
    *,
    script: Iterable[Reply] | Handler = (),
    settings: Settings | None = None,
    keys: SigningKeys = NO_KEYS,
    **options: Any,
) -> AsyncIterator[Api]:
    """Open an API for the length of the block; runs that events started end with it."""
    store = store or Store()
    settings = settings or Settings()
    replies, worker, metrics = Replies(), Worker(script), Metrics()
    runner = Runner(
        store.registered, worker.execute, settings=settings, now=now, jitter=lambda: 0.0
    )
    async with trio.open_nursery() as nursery:
        app = create_api(
            cast(StateStore, store),
            settings=settings,
            keys=keys,
            tokens=TOKENS,
            replies=replies,
            metrics=metrics,
            runner=runner,
            nursery=nursery,
            now=now,
            **options,
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api:8288") as client:
            yield Api(app, client, store, replies, worker, runner, nursery, metrics)
            await wait_all_tasks_blocked()  # flushed replies are on their way
        nursery.cancel_scope.cancel()
