"""The composition root: builds the service from its settings and owns its top nursery.

Roles in one process are wired together here, and only here: `nursery`, `rpc` and `api`
know each other as ports.
"""

import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog
import trio
from structlog.typing import FilteringBoundLogger
from ulid import ULID

from connect.api.admin import create_admin
from connect.api.app import create_api
from connect.api.registration import RegistrationClient, open_registration_client
from connect.api.serving import bind, serve_http
from connect.config.defined import DefinedFunctions
from connect.errors import ConfigurationError, Syscode, SyscodeError
from connect.metrics import Metrics
from connect.nursery.comparison import compare_stored
from connect.nursery.garbage import ELECTION_SECONDS, collect_garbage
from connect.nursery.gateway import Gateway, GatewayAddress
from connect.nursery.health import StoreHealth
from connect.nursery.listener import serve_gateway
from connect.nursery.pushes import Pushes
from connect.nursery.registration import Registration
from connect.nursery.services import Services
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.tokens import SessionTokens, SigningKeys
from connect.reloading import Given, Read, Reloadable, reload_on_hangup
from connect.rpc.addresses import reachable_host
from connect.rpc.bridge import Bridge, open_bridge
from connect.rpc.channels import ChannelPool, open_channel_pool
from connect.rpc.executor import Executor
from connect.rpc.executor_streams import ExecutorStreams
from connect.rpc.gateway_service import gateway_handlers
from connect.runs.runner import Runner
from connect.service import Addresses, Service
from connect.settings import Role, Settings
from connect.signals import ServiceSignals
from connect.state.collector import CollectionReport, collect
from connect.state.election import Election
from connect.state.open import open_store
from connect.state.redis_store import RedisStore
from connect.state.store import StateStore

__all__ = [
    "Addresses",
    "Service",
    "open_service",
    "reload_until_signal",
    "serve_until_signal",
]

# A backlog long enough for the reconnects after another gateway's end.
BACKLOG = 4096


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    functions: DefinedFunctions | None = None,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Service]:
    """Run a service for the length of the block.

    The body begins once everything listens. When it ends, the service stops in order
    (see `Service.stop`), the admin listener last; when it is cancelled, at once, with
    shielded cleanup.

    Args:
        functions: the definitions that it offers and compares registered functions with.
        now: unix time in seconds.

    Raises:
        ConfigurationError: a port is in use, Redis cannot be reached, a key is malformed.
    """
    log: FilteringBoundLogger = structlog.get_logger()
    metrics = Metrics()
    random_secret = secrets.token_hex(32)
    keys = SigningKeys(settings.tenant.signing_keys)
    tokens = SessionTokens(
        settings.tenant.session_secret or random_secret,
        accepted=settings.tenant.accepted_session_secrets,
        lifetime=settings.timing.session_token,
        now=now,
    )

    def swap_keys(new: Settings) -> None:
        secret, accepted = new.tenant.session_secret, new.tenant.accepted_session_secrets
        # A faulty secret is to be noticed before the keys are swapped.
        SessionTokens(secret or random_secret, accepted=accepted, lifetime=0, now=now)
        keys.replace(new.tenant.signing_keys)
        tokens.replace(secret or random_secret, accepted)

    async def compare(ids: Collection[str]) -> None:
        env_id = settings.tenant.env_id
        await compare_stored(store.apps, env_id, reloads.functions, ids, log=log)

    reloads = Reloadable(
        settings,
        functions or DefinedFunctions(),
        swap_keys=swap_keys,
        metrics=metrics,
        log=log,
        now=now,
        compare=compare,
    )
    settings = reloads.settings
    service = Service(reloads, log)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.redis, settings.timing, now))
        metrics.store_round_trips.set_function(lambda: store.round_trips)
        metrics.tasks.set_function(lambda: trio.lowlevel.current_statistics().tasks_living)
        # Whoever watches the service sees it until nothing else of it is left.
        watched = await stack.enter_async_context(_unwrapped_nursery())
        admin = bind(settings.listen.admin_host, settings.listen.admin_port, "the admin API")
        stack.callback(admin.close)
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
            service.executor = executor
            service.note(executor_rpc="{}:{}".format(*executor.address))
        client = None
        if Role.GATEWAY in settings.roles and settings.tenant.register_url is not None:
            client = await stack.enter_async_context(
                open_registration_client(
                    settings.tenant.register_url, connections=settings.limits.registrations
                )
            )
        serving = await stack.enter_async_context(_unwrapped_nursery())
        pushes = Pushes(pool, settings=settings, metrics=metrics)
        if Role.GATEWAY in settings.roles:
            gateway = await parts.start_gateway(serving, client, admin=_admin_url(settings, admin))
            pushes = gateway.pushes
            serving.start_soon(_collect_garbage, store, gateway)
        if Role.API in settings.roles and executor is not None:
            await parts.start_api(serving, executor, pushes)
        await parts.start_admin(watched, admin)
        if settings.redis.url is None:
            log.warning("state is in memory only: it is lost when this process ends")
        yield service
        await service.stop()


@asynccontextmanager
async def _unwrapped_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery whose tasks are cancelled when the block ends.

    A configuration error inside comes out as itself, not in a group.
    """
    refused: ConfigurationError | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
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

    async def start_gateway(
        self, serving: trio.Nursery, client: RegistrationClient | None, *, admin: str
    ) -> Gateway:
        settings = self.settings
        listen = settings.listen
        registration = None
        if client is not None:
            registration = Registration(
                client,
                at_once=settings.limits.registrations,
                development=not settings.tenant.signing_keys,
            )
        executors = ExecutorStreams(self.pool, reply_timeout=settings.timing.rpc)
        gateway = Gateway(
            Services(
                gateway_id=str(ULID()),
                settings=settings,
                store=self.store,
                tokens=self.tokens,
                replies=executors,
                executors=executors,
                metrics=self.metrics,
                log=self.log,
                now=self.now,
                health=StoreHealth(lambda: self.store.unreachable_since),
                registration=registration,
                defined=lambda: self.service.reloads.functions,
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
                admin=admin,
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

    async def start_api(self, serving: trio.Nursery, executor: Executor, pushes: Pushes) -> None:
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

        runner = Runner(self.store.apps, execute, settings=self.settings, now=self.now)
        self.service.runner = runner
        app = create_api(
            self.store,
            settings=self.settings,
            keys=self.keys,
            tokens=self.tokens,
            replies=pushes,
            metrics=self.metrics,
            runner=runner,
            nursery=serving,
            event_keys=self.settings.tenant.event_keys,
            ready=self.service.not_ready,
            defined=lambda: self.service.reloads.functions,
            now=self.now,
        )
        bound = bind(listen.host, listen.api_port, "the API")
        serve = partial(serve_http, app, bound, deadline=lambda: self.service.deadline)
        host, port = await serving.start(serve)
        self.service.note(api=f"http://{_dialable(host)}:{port}")

    async def start_admin(self, watched: trio.Nursery, bound: socket.socket) -> None:
        service = self.service
        app = create_admin(
            settings=self.settings,
            ping=self.store.ping,
            registry=self.metrics.registry,
            gateway=service.gateway,
            gateways=self.store.gateways.all,
            ready=service.not_ready,
            stopping=lambda: service.stopping,
            reloads=service.reloads,
            now=self.now,
        )
        host, port = await watched.start(serve_http, app, bound)
        self.service.note(admin=f"http://{_dialable(host)}:{port}")


async def _collect_garbage(store: RedisStore, gateway: Gateway) -> None:
    services = gateway.services
    env_id = services.settings.tenant.env_id
    office = Election(store, env_id, owner=services.gateway_id, seconds=ELECTION_SECONDS)

    async def make_pass(between_pages: Callable[[], Awaitable[None]]) -> CollectionReport:
        return await collect(store, env_id, between_pages=between_pages)

    await collect_garbage(services, office, make_pass)


def _admin_url(settings: Settings, bound: socket.socket) -> str:
    """Return where others reach the maintenance API, if it is not bound to loopback."""
    listen = settings.listen
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = listen.advertise_host or reachable_host(listen.admin_host)
    return f"http://{_dialable(host)}:{port}"


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
    given: Given,
    announce: Callable[[Addresses], None] = lambda addresses: None,
    *,
    signals: ServiceSignals,
    read: Read,
    changed: Callable[[Settings], None] = lambda settings: None,
) -> None:
    """Run a service until SIGINT or SIGTERM, then end it in order.

    One that comes before everything listens cancels the start. A second signal ends the
    process at once. SIGHUP has the service given everything anew.

    Args:
        announce: called with the addresses once everything listens.
        read: reads everything again.
        changed: called with the settings after each reload that took effect.

    Raises:
        ConfigurationError: the service cannot start as asked.
    """
    with signals.received():
        async with open_service(given.settings, functions=given.functions) as service:
            announce(service.addresses)
            signals.started()
            await reload_until_signal(service, signals, read=read, changed=changed)


async def reload_until_signal(
    service: Service,
    signals: ServiceSignals,
    *,
    read: Read,
    changed: Callable[[Settings], None],
) -> None:
    """Give a service everything anew with each SIGHUP; return with SIGINT or SIGTERM.

    Cancelling a reload, which that does too, leaves everything as it was.

    Args:
        read: reads everything again.
        changed: called with the settings after each reload that took effect.
    """

    async def reload() -> None:
        await reload_on_hangup(signals.wait_for_hangup, service.reloads, read, changed)
        signals.end()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload)
        await signals.wait_for_end()
        nursery.cancel_scope.cancel()
