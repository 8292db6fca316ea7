"""The composition root: builds the service from its settings and owns its top nursery.

Roles in one process are wired together here, and only here: `nursery`, `rpc` and `api`
know each other as ports.
"""

import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
import trio
from structlog.typing import FilteringBoundLogger
from ulid import ULID

from connect.api.admin import create_admin
from connect.api.app import create_api
from connect.api.serving import bind, serve_http
from connect.errors import ConfigurationError, Syscode, SyscodeError
from connect.metrics import Metrics
from connect.nursery.garbage import ELECTION_SECONDS, collect_garbage
from connect.nursery.gateway import Gateway, GatewayAddress
from connect.nursery.listener import serve_gateway
from connect.nursery.services import Services
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.tokens import SessionTokens, SigningKeys
from connect.rpc.addresses import reachable_host
from connect.rpc.bridge import Bridge, open_bridge
from connect.rpc.channels import ChannelPool, open_channel_pool
from connect.rpc.executor import Executor
from connect.rpc.executor_streams import ExecutorStreams
from connect.rpc.gateway_service import gateway_handlers
from connect.runs.runner import Runner
from connect.settings import Role, Settings
from connect.state.collector import CollectionReport, collect
from connect.state.election import Election
from connect.state.open import open_store
from connect.state.redis_store import RedisStore
from connect.state.store import StateStore

__all__ = ["Addresses", "Service", "open_service", "serve_until_signal", "termination"]

# A backlog long enough for the reconnects after another gateway's end.
BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a service really listens; None for roles that run elsewhere."""

    api: str | None = None
    gateway: str | None = None
    gateway_rpc: str | None = None
    executor_rpc: str | None = None
    admin: str | None = None

    def as_json(self) -> dict[str, str]:
        """Return the addresses by name, without those of other roles."""
        named = {
            "api": self.api,
            "gateway": self.gateway,
            "gateway_rpc": self.gateway_rpc,
            "executor_rpc": self.executor_rpc,
            "admin": self.admin,
        }
        return {name: address for name, address in named.items() if address is not None}


class Service:
    """A running service, inside `open_service`.

    Attributes:
        addresses: where it listens.
        settings: what it was built from.
        gateway: the gateway, where that role runs here.
        accepting: the scope of accepting workers' sockets.
    """

    def __init__(self, settings: Settings, log: FilteringBoundLogger) -> None:
        self.settings = settings
        self.addresses = Addresses()
        self._log = log
        self.gateway: Gateway | None = None
        self.accepting = trio.CancelScope()
        self._stopping = False

    def note(self, **addresses: str) -> None:
        """Add addresses that are bound now, by their names in `Addresses`."""
        self.addresses = replace(self.addresses, **addresses)

    def not_ready(self) -> str | None:
        """Say why the service takes no work, or None."""
        if self._stopping:
            return "the service is stopping"
        if self.gateway is not None and self.gateway.store_away:
            return "the gateway gets no answer from the state store"
        return None

    def describe(self) -> Mapping[str, Any]:
        """Describe the gateway, for the admin API."""
        if self.gateway is None:
            return {"status": "not running here"}
        return self.gateway.describe()

    async def stop(self) -> None:
        """End in order: take no new sockets, let running requests finish, close.

        Returns when the last worker connection is gone, at most `Timing.drain` and a few
        cleanup deadlines later. Everything else of the service goes on until the block
        of `open_service` ends.
        """
        if self._stopping:
            return
        self._stopping = True
        self._log.info("stopping")
        self.accepting.cancel()
        if self.gateway is not None:
            await self.gateway.drain()


@asynccontextmanager
async def open_service(
    settings: Settings, *, now: Callable[[], float] = time.time
) -> AsyncIterator[Service]:
    """Run a service for the length of the block.

    The body begins once everything listens. When it ends, the service stops in order
    (see `Service.stop`); when it is cancelled, at once, with shielded cleanup.

    Args:
        now: unix time in seconds.

    Raises:
        ConfigurationError: a port is in use, Redis cannot be reached, a key is malformed.
    """
    log: FilteringBoundLogger = structlog.get_logger()
    service = Service(settings, log)
    metrics = Metrics()
    keys = SigningKeys(settings.tenant.signing_keys)
    tokens = SessionTokens(
        settings.tenant.session_secret or secrets.token_hex(32),
        lifetime=settings.timing.session_token,
        now=now,
    )
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.redis, settings.timing, now))
        metrics.store_round_trips.set_function(lambda: store.round_trips)
        bridge = await stack.enter_async_context(
            open_bridge(max_message_bytes=settings.limits.message_bytes + 64 * 1024)
        )
        pool = await stack.enter_async_context(
            open_channel_pool(bridge, reply_timeout=settings.timing.rpc)
        )
        parts = _Parts(service, settings, store, bridge, pool, metrics, keys, tokens, log, now)
        executor = None
        if Role.API in settings.roles or Role.EXECUTOR in settings.roles:
            executor = await stack.enter_async_context(
                Executor(store, settings=settings, now=now, bridge=bridge)
            )
            service.note(executor_rpc="{}:{}".format(*executor.address))
        serving = await stack.enter_async_context(_unwrapped_nursery())
        if Role.GATEWAY in settings.roles:
            gateway = await parts.start_gateway(serving)
            serving.start_soon(_collect_garbage, store, gateway)
        if Role.API in settings.roles and executor is not None:
            await parts.start_api(serving, executor)
        await parts.start_admin(serving)
        if settings.redis.url is None:
            log.warning("state is in memory only: it is lost when this process ends")
        yield service
        await service.stop()
        serving.cancel_scope.cancel()


@asynccontextmanager
async def _unwrapped_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery; a configuration error inside comes out as itself, not in a group."""
    refused: ConfigurationError | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except* ConfigurationError as group:
        refused = _first(group)
    if refused is not None:
        raise refused


def _first(group: BaseExceptionGroup[ConfigurationError]) -> ConfigurationError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the roles are built from."""

    service: Service
    settings: Settings
    store: StateStore
    bridge: Bridge
    pool: ChannelPool
    metrics: Metrics
    keys: SigningKeys
    tokens: SessionTokens
    log: FilteringBoundLogger
    now: Callable[[], float]

    async def start_gateway(self, serving: trio.Nursery) -> Gateway:
        settings = self.settings
        listen = settings.listen
        executors = ExecutorStreams(self.pool, reply_timeout=settings.timing.rpc)
        gateway = Gateway(
            Services(
                gateway_id=str(ULID()),
                settings=settings,
                store=self.store,
                tokens=self.tokens,
                replies=executors,
                metrics=self.metrics,
                log=self.log,
                now=self.now,
            )
        )
        bound = bind(listen.host, listen.gateway_port, "the gateway")
        bound.listen(BACKLOG)
        port = bound.getsockname()[1]
        rpc_host, rpc_port = await serving.start(
            partial(
                self.bridge.serve,
                gateway_handlers(gateway),
                streams=executors.handlers(gateway),
                host=listen.host,
                port=listen.gateway_rpc_port,
            )
        )
        advertised = listen.advertise_host or reachable_host(listen.host)
        await serving.start(
            gateway.run,
            GatewayAddress(
                hostname=socket.gethostname(),
                host=advertised,
                grpc_port=rpc_port,
                port=port,
                endpoint=_endpoint(listen.gateway_url),
            ),
        )
        self.service.gateway = gateway
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        serving.start_soon(self._accept, gateway, listener, serving)
        shown = _dialable(listen.host)
        self.service.note(
            gateway=f"ws://{shown}:{port}/v0/connect",
            gateway_rpc=f"{_dialable(rpc_host)}:{rpc_port}",
        )
        return gateway

    async def _accept(
        self, gateway: Gateway, listener: trio.SocketListener, serving: trio.Nursery
    ) -> None:
        with self.service.accepting:
            await serve_gateway(
                gateway, [listener], connections=serving, ready=self.service.not_ready
            )

    async def start_api(self, serving: trio.Nursery, executor: Executor) -> None:
        listen = self.settings.listen

        async def execute(request: pb.GatewayExecutorRequestData) -> pb.SdkResponse:
            started = trio.current_time()
            outcome = "cancelled"
            try:
                response = await executor.execute(request)
                outcome = "replied"
            except SyscodeError as error:
                outcome = error.code if error.code in frozenset(Syscode) else "other"
                raise
            finally:
                self.metrics.requests.labels(outcome).inc()
                self.metrics.request_seconds.observe(trio.current_time() - started)
            return response

        app = create_api(
            self.store,
            settings=self.settings,
            keys=self.keys,
            tokens=self.tokens,
            replies=self.pool,
            runner=Runner(self.store.apps, execute, settings=self.settings, now=self.now),
            nursery=serving,
            event_keys=self.settings.tenant.event_keys,
            ready=self.service.not_ready,
            now=self.now,
        )
        bound = bind(listen.host, listen.api_port, "the API")
        host, port = await serving.start(serve_http, app, bound)
        self.service.note(api=f"http://{_dialable(host)}:{port}")

    async def start_admin(self, serving: trio.Nursery) -> None:
        listen = self.settings.listen
        app = create_admin(
            ping=self.store.ping,
            registry=self.metrics.registry,
            gateway=self.service.describe,
            ready=self.service.not_ready,
        )
        bound = bind(listen.admin_host, listen.admin_port, "the admin API")
        host, port = await serving.start(serve_http, app, bound)
        self.service.note(admin=f"http://{_dialable(host)}:{port}")


async def _collect_garbage(store: RedisStore, gateway: Gateway) -> None:
    services = gateway.services
    env_id = services.settings.tenant.env_id
    office = Election(store, env_id, owner=services.gateway_id, seconds=ELECTION_SECONDS)

    async def make_pass(between_pages: Callable[[], Awaitable[None]]) -> CollectionReport:
        return await collect(store, env_id, between_pages=between_pages)

    await collect_garbage(services, office, make_pass)


def _dialable(host: str) -> str:
    """Return a host that a program on this machine can dial, for one listened on."""
    if host == "0.0.0.0":
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


def _endpoint(gateway_url: str | None) -> str:
    if gateway_url is None:
        return ""
    base = gateway_url.rstrip("/")
    return base if base.endswith("/v0/connect") else f"{base}/v0/connect"


async def serve_until_signal(
    settings: Settings, announce: Callable[[Addresses], None] = lambda addresses: None
) -> None:
    """Run a service until SIGINT or SIGTERM, then end it in order.

    A second signal ends the process at once.

    Args:
        announce: called with the addresses once everything listens.

    Raises:
        ConfigurationError: the service cannot start as asked.
    """
    with termination() as wait_for_signal:
        async with open_service(settings) as service:
            announce(service.addresses)
            await wait_for_signal()


@contextmanager
def termination() -> Iterator[Callable[[], Awaitable[None]]]:
    """Take SIGINT and SIGTERM for the length of the block.

    Yields:
        a function that returns with the first of them; the second exits the process.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

        async def wait_for_signal() -> None:
            number = await anext(signals)
            for again in (signal.SIGINT, signal.SIGTERM):
                signal.signal(again, _exit_at_once)
            structlog.get_logger().info("signal received", signal=signal.Signals(number).name)

        yield wait_for_signal


def _exit_at_once(number: int, frame: object) -> None:
    print("connect: second signal, exiting at once", file=sys.stderr, flush=True)
    os._exit(128 + number)
