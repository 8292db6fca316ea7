"""The worker: holds a connection to some gateway, whatever happens to the last one."""

import json
import os
import platform
import random
import secrets
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime

import httpx
import structlog
import trio
from trio_websocket import WebSocketConnection

from connect.errors import ConfigurationError
from connect.protocol.messages.connect import v1 as pb
from connect.worker.api import WorkerApi
from connect.worker.app import App
from connect.worker.connection import Connection, DisconnectReason
from connect.worker.delivery import Routes
from connect.worker.errors import ConnectionFailed, WorkerError
from connect.worker.excluded import ExcludedGateways
from connect.worker.journal import Happening, Journal, JournalEntry
from connect.worker.timing import WorkerLimits, WorkerTiming, backoff
from connect.worker.websocket import use_websocket
from connect.worker.work import SDK_LANGUAGE, SDK_VERSION, Work

__all__ = ["DEFAULT_API_URL", "Worker", "new_instance_id"]

DEFAULT_API_URL = "http://127.0.0.1:8288"

_FRAMEWORK = "connect"
_CAPABILITIES = b'{"connect":"v1"}'

_WARNINGS = frozenset(
    {
        Happening.CONNECT_FAILED,
        Happening.GATEWAY_SUSPECTED,
        Happening.REQUEST_IGNORED,
        Happening.LEASE_LOST,
        Happening.REPLY_DROPPED,
        Happening.REPLY_TOO_LARGE,
        Happening.MESSAGE_IGNORED,
    }
)
_NEWS = frozenset(
    {
        Happening.CONNECTED,
        Happening.DISCONNECTED,
        Happening.GATEWAY_CLOSING,
        Happening.SHUTTING_DOWN,
    }
)

_log = structlog.get_logger("connect.worker")


class Worker:
    """A worker of some apps, speaking the Connect protocol on Trio.

    Args:
        apps: what it serves, at least one.
        api_url: base URL of the worker API.
        signing_key: ``signkey-<env>-<hex>``; None where the service needs none.
        instance_id: names this worker; workers with the same id share their capacity.
            Made of host name, process id and a random part when None.
        max_concurrency: how many requests it runs at once, and the gateway may give it;
            None is unlimited.
        env: a branch environment's name.
        manual_ready: take no requests until `ready` is called.
        journal: called, synchronously, with everything that happens.
        timing: deadlines.
        limits: bounds on what it holds.
        now: unix seconds.
        jitter: a number from 0 to 1, for the pauses between attempts.

    Raises:
        ConfigurationError: there is no app, two have one name, the URL or the key is
            malformed, or the concurrency is below 1.
    """

    def __init__(
        self,
        apps: App | Iterable[App],
        *,
        api_url: str = DEFAULT_API_URL,
        signing_key: str | None = None,
        instance_id: str | None = None,
        max_concurrency: int | None = None,
        env: str | None = None,
        manual_ready: bool = False,
        journal: Journal | None = None,
        timing: WorkerTiming | None = None,
        limits: WorkerLimits | None = None,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._timing = timing or WorkerTiming()
        self._apps = _by_name([apps] if isinstance(apps, App) else list(apps))
        self.instance_id = instance_id or new_instance_id()
        self._api = WorkerApi(
            api_url,
            signing_key=signing_key,
            env=env,
            instance_id=self.instance_id,
            timeout=self._timing.api,
        )
        if max_concurrency is not None and max_concurrency < 1:
            raise ConfigurationError(f"a worker's concurrency must be positive: {max_concurrency}")
        self._max_concurrency = max_concurrency
        self._env = env
        self._manual_ready = manual_ready
        self._told_journal = journal
        self._limits = limits or WorkerLimits()
        self._now = now
        self._jitter = jitter
        self._started_at = datetime.fromtimestamp(now(), UTC)
        self._stopping = trio.Event()
        self._declared_ready = not manual_ready
        self._running = False
        self._excluded = ExcludedGateways(self._timing.exclude)
        self._connections: list[Connection] = []
        self._work: Work | None = None

    def open_client(self) -> httpx.AsyncClient:
        """Make an HTTP client for `run`, to be entered by the caller; workers may share it."""
        return self._api.client()

    @property
    def shutting_down(self) -> bool:
        """Whether it was told to shut down."""
        return self._stopping.is_set()

    @property
    def connection_ids(self) -> tuple[str, ...]:
        """The open connections, the oldest first."""
        return tuple(connection.id for connection in self._connections)

    @property
    def request_ids(self) -> tuple[str, ...]:
        """The requests in flight."""
        return () if self._work is None else self._work.request_ids

    async def run(
        self,
        *,
        client: httpx.AsyncClient | None = None,
        task_status: trio.TaskStatus["Worker"] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `shutdown` has finished; lost connections are replaced, without end.

        Cancellation cancels the requests in flight, whose leases then run out, and
        closes the connections within the deadline for closing.

        Args:
            client: an HTTP client to use, which stays open; one of its own when None.
            task_status: started with this worker once its first connection is ready.

        Raises:
            WorkerError: the service refuses this worker before it was ever connected, and
                would again. Refused later, it tries again, as after any failure: there may
                be work in flight, and a service that is being changed.
            RuntimeError: it was run before.
        """
        if self._running:
            raise RuntimeError("a worker runs only once")
        self._running = True
        refused: WorkerError | None = None
        async with (
            self._api.client() if client is None else nullcontext(client) as http,
            trio.open_nursery() as nursery,
        ):
            work = self._work = self._open_work(nursery, http)
            nursery.start_soon(work.run)
            async with trio.open_nursery() as links:
                with trio.CancelScope() as connecting:
                    nursery.start_soon(self._stop_when_asked, work, connecting)
                    try:
                        await self._stay_connected(links, http, work, task_status)
                    except WorkerError as error:
                        refused = error
                for connection in self._connections:
                    connection.close(DisconnectReason.WORKER_SHUTDOWN)
            nursery.cancel_scope.cancel()
        if refused is not None:
            raise refused

    def _open_work(self, nursery: trio.Nursery, http: httpx.AsyncClient) -> Work:
        async def flush(reply: bytes) -> bool:
            return await self._api.flush(http, reply)

        return Work(
            nursery,
            self._apps,
            routes=Routes(connection=self._route, flush=flush),
            max_concurrency=self._max_concurrency,
            limits=self._limits,
            timing=self._timing,
            jitter=self._jitter,
            journal=self._record,
            now=self._now,
        )

    def shutdown(self) -> None:
        """Take no more requests, finish those in flight, deliver their replies, then end `run`.

        May be called again, and before `run`.
        """
        self._stopping.set()

    async def ready(self) -> None:
        """Take requests from now on, if ``manual_ready`` kept them off."""
        self._declared_ready = True
        async with trio.open_nursery() as nursery:
            for connection in self._connections:
                nursery.start_soon(connection.send, pb.GatewayMessageType.WORKER_READY)

    def _route(self) -> Connection | None:
        """The newest connection that works, best one whose gateway answers, and stays."""
        alive = [connection for connection in self._connections if not connection.ended]
        return max(
            reversed(alive),
            key=lambda connection: (not connection.suspected, not connection.closing),
            default=None,
        )

    async def _stay_connected(
        self,
        links: trio.Nursery,
        client: httpx.AsyncClient,
        work: Work,
        task_status: trio.TaskStatus["Worker"],
    ) -> None:
        """Keep one connection that works; raises WorkerError."""
        failures = 0
        since = 0.0
        connection: Connection | None = None
        while True:
            # A gateway that was suspected may answer again before there is another.
            if connection is None or connection.leaving.is_set():
                try:
                    following = await links.start(self._hold, client, work)
                except (ConnectionFailed, WorkerError) as failure:
                    if isinstance(failure, WorkerError) and connection is None:
                        raise
                    failures += 1
                    await self._pause_after(failure, failures)
                    continue
                except Exception as error:  # noqa: BLE001 - work in flight outlives any fault here
                    failures += 1
                    stack = "".join(traceback.format_exception(error))
                    _log.error("connect failed by a fault of the worker", stack=stack)
                    unforeseen = ConnectionFailed(f"{type(error).__name__}: {error}")
                    await self._pause_after(unforeseen, failures)
                    continue
                since = trio.current_time()
                await self._greet(following)
                if connection is None:
                    task_status.started(self)
                elif not connection.ended:
                    links.start_soon(self._retire, connection, work)
                connection = following
            await connection.leaving.wait()
            self._excluded.add(connection.gateway_group, trio.current_time())
            lived = trio.current_time() - since
            # A gateway that is closing has said so in time: the next one can be had at once.
            # That is no failure, and young connections are what a rolling restart makes.
            abrupt = connection.ended or connection.suspected
            announced = not abrupt and lived >= self._timing.backoff_first
            if lived >= self._timing.stable:
                failures = 0
            elif not announced:
                failures += 1
            if abrupt or (failures > 1 and not announced):
                await trio.sleep(self._backoff(max(failures, 1)))

    async def _pause_after(self, failure: ConnectionFailed | WorkerError, failures: int) -> None:
        """Wait as long as the API asks, within reason, and then as after any failure.

        The latter spreads the workers that were all told the same. What a gateway asks is
        noted: another one may be had at once.
        """
        pause, detail = self._backoff(failures), str(failure)
        if isinstance(failure, ConnectionFailed):
            asked = failure.retry_after
            wait = min(asked or 0.0, self._timing.retry_after_most)
            self._excluded.add(failure.gateway_group, trio.current_time(), wait=wait)
            if not failure.gateway_group:
                pause += wait
            if asked is not None:
                detail += f"; asked to wait {asked:g} s, the next attempt is in {pause:.1f} s"
        self._record(JournalEntry(what=Happening.CONNECT_FAILED, detail=detail))
        await trio.sleep(pause)

    def _backoff(self, failures: int) -> float:
        first, most = self._timing.backoff_first, self._timing.backoff_most
        return backoff(first, most, failures, self._jitter())

    async def _hold(
        self,
        client: httpx.AsyncClient,
        work: Work,
        *,
        task_status: trio.TaskStatus[Connection],
    ) -> None:
        """Open a connection, then serve it until it ends.

        Raises WorkerError and ConnectionFailed, but only before it is started.
        """
        start = await self._api.start(client, self._excluded.current(trio.current_time()))
        opened = False
        await trio.sleep_until(self._excluded.not_before(start.gateway_group))

        async def serve(websocket: WebSocketConnection) -> None:
            nonlocal opened
            connection = Connection(
                websocket,
                connection_id=start.connection_id,
                gateway_group=start.gateway_group,
                work=work,
                timing=self._timing,
                journal=self._record,
            )
            await connection.open(self._hello(start))
            self._connections.append(connection)
            work.link_changed()
            task_status.started(connection)
            opened = True
            try:
                await connection.run()
            finally:
                self._connections.remove(connection)

        try:
            await use_websocket(start.gateway_endpoint, serve, deadline=self._timing.open)
        except ConnectionFailed as failure:
            if opened:  # and has ended, as was told
                return
            raise ConnectionFailed(
                failure.reason,
                gateway_group=start.gateway_group,
                retry_after=failure.retry_after,
            ) from failure

    async def _greet(self, connection: Connection) -> None:
        """Tell a new connection what its gateway cannot know."""
        if self._stopping.is_set():
            await connection.pause()
        elif self._manual_ready and self._declared_ready:
            await connection.send(pb.GatewayMessageType.WORKER_READY)

    async def _retire(self, connection: Connection, work: Work) -> None:
        """Close the connection to a closing or suspected gateway once its work is done."""
        reason = DisconnectReason.GATEWAY_DRAINING
        if not connection.closing:
            reason = DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED
            await connection.pause()  # it would give out requests as before
        await work.until_done_with(connection)
        connection.close(reason)

    async def _stop_when_asked(self, work: Work, connecting: trio.CancelScope) -> None:
        """WORKER_PAUSE, finish what is in flight, deliver its replies; closing comes after."""
        await self._stopping.wait()
        work.refuse()
        self._record(
            JournalEntry(
                what=Happening.SHUTTING_DOWN,
                detail=f"{len(work.request_ids)} requests in flight",
            )
        )
        async with trio.open_nursery() as nursery:
            for connection in self._connections:
                nursery.start_soon(connection.pause)
        await work.until_idle()
        connecting.cancel()

    def _hello(self, start: pb.StartResponse) -> pb.WorkerConnectRequestData:
        return pb.WorkerConnectRequestData(
            connection_id=start.connection_id,
            instance_id=self.instance_id,
            auth_data=pb.AuthData(session_token=start.session_token, sync_token=start.sync_token),
            capabilities=_CAPABILITIES,
            apps=[_configuration(app) for app in self._apps.values()],
            # A worker that is shutting down still needs connections for what is in flight.
            worker_manual_readiness_ack=self._manual_ready or self._stopping.is_set(),
            system_attributes=_system_attributes(),
            environment=self._env,
            framework=_FRAMEWORK,
            sdk_version=SDK_VERSION,
            sdk_language=SDK_LANGUAGE,
            started_at=self._started_at,
            max_worker_concurrency=self._max_concurrency,
        )

    def _record(self, entry: JournalEntry) -> None:
        """Log what concerns the worker; the journal also gets what concerns single requests."""
        if entry.what in _WARNINGS:
            _log.warning(entry.what.value, **_details(entry))
        elif entry.what in _NEWS:
            _log.info(entry.what.value, **_details(entry))
        if self._told_journal is not None:
            self._told_journal(entry)


def _details(entry: JournalEntry) -> dict[str, str]:
    details = {
        "connection_id": entry.connection_id,
        "request_id": entry.request_id,
        "function": entry.function,
        "detail": entry.detail,
    }
    return {name: value for name, value in details.items() if value}


def _by_name(apps: Sequence[App]) -> dict[str, App]:
    if not apps:
        raise ConfigurationError("a worker needs at least one app")
    named = {app.name: app for app in apps}
    if len(named) < len(apps):
        raise ConfigurationError("two apps of one worker have the same name")
    return named


def _configuration(app: App) -> pb.AppConfiguration:
    definitions = [function.definition for function in app.functions.values()]
    return pb.AppConfiguration(
        app_name=app.name, app_version=app.version, functions=json.dumps(definitions).encode()
    )


def new_instance_id() -> str:
    """Make up a name for a worker: of the host's name, the process id and a random part."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def _system_attributes() -> pb.SystemAttributes:
    return pb.SystemAttributes(
        cpu_cores=os.cpu_count() or 0,
        mem_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        os=platform.system().lower(),
    )
