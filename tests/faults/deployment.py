"""Two gateways, an API, two executors and workers, as processes with proxies between them."""

import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio

from connect.harness import RunningProcess, RunningService, start_process, start_service
from connect.settings import DEVELOPMENT_ENV_ID
from connect.worker.journal_file import read_journal
from tests.faults.apps import APP_NAME, LIMIT, LIMITED_APP_NAME, OFFICIAL_APP_NAME
from tests.faults.nodes import ExecutorProcess, Node, start_executor
from tests.support.redis_server import RedisServer, free_port
from tests.support.tcp_proxy import Proxy, open_proxy

__all__ = ["Deployment", "Plan", "open_deployment"]

# Where the proxies before RPC listen: on the ports of what they stand for.
_BEFORE_RPC = "127.0.0.2"
# What proxies stand for until it runs.
_NOBODY = ("127.0.0.1", 1)
_APP = "tests.faults.apps:app"
_LIMITED_APP = "tests.faults.apps:limited_app"
_SECRET = "s" * 32
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is deployed, and how quickly it acts.

    Attributes:
        workers: processes of ours, without a limit.
        limited_workers: processes of ours with an app of their own and a limit.
        official_workers: processes of the official Python SDK.
        lease: of a request, in seconds; other deadlines follow from it.
        options: further options of the services, over those.
        logs: folder for the output of each process and the workers' journal; none is kept when
            None.
    """

    workers: int = 2
    limited_workers: int = 1
    official_workers: int = 1
    lease: float = 2.0
    options: tuple[str, ...] = ()
    logs: Path | None = None

    @property
    def grace(self) -> float:
        """How long after a lease's end its reply is awaited, in seconds."""
        return self.lease / 2

    @property
    def timing(self) -> dict[str, float]:
        """The deadlines, by the names of `connect.settings.Timing`, in seconds."""
        return {
            "lease": self.lease,
            "lease_grace": self.grace,
            # The official SDK beats every 10 s, whatever it is told, and a connection gets
            # requests until its last heartbeat is two intervals old.
            "worker_heartbeat": 6.0,
            "gateway_heartbeat": 1.0,
            "gateway_refresh": 0.5,
            "store_command": 2.0,
            "rpc": 2.0,
            "write": 2.0,
            "reply_poll_min": 0.5,
            "reply_poll_max": 1.0,
        }


@dataclass(slots=True)
class Deployment:
    """What runs, inside `open_deployment`.

    Attributes:
        to_gateways: proxies between workers and each gateway.
        to_api: the proxy between workers and the API.
        rpc: proxies between executors and gateways, both ways, by the name of who is called.
        to_redis: proxies before Redis, by the name of whose they are.
        app_ids: by name.
    """

    plan: Plan
    redis: RedisServer
    folder: Path
    http: httpx.AsyncClient
    to_api: Proxy
    api_url: str = ""
    gateways: list[Node[RunningService]] = field(default_factory=list)
    executors: list[Node[ExecutorProcess]] = field(default_factory=list)
    workers: list[Node[RunningProcess]] = field(default_factory=list)
    limited_workers: list[Node[RunningProcess]] = field(default_factory=list)
    official_workers: list[Node[RunningProcess]] = field(default_factory=list)
    to_gateways: list[Proxy] = field(default_factory=list)
    rpc: dict[str, Proxy] = field(default_factory=dict)
    to_redis: dict[str, Proxy] = field(default_factory=dict)
    app_ids: dict[str, str] = field(default_factory=dict)

    @property
    def journal_path(self) -> Path:
        """The file that all workers write to."""
        return self.folder / "journal"

    @property
    def worker_nodes(self) -> Sequence[Node[RunningProcess]]:
        """All workers, ours first."""
        return [*self.workers, *self.limited_workers, *self.official_workers]

    def journal(self) -> list[dict[str, Any]]:
        """Read what all workers have written so far."""
        return read_journal(self.journal_path) if self.journal_path.exists() else []

    async def connections(self, gateway: Node[RunningService], app: str = "") -> int:
        """How many connections of a gateway are ready; 0 while it is not running.

        Args:
            app: whose, by its name; those of all when empty.
        """
        if not gateway.up:
            return 0
        address = gateway.running.addresses["admin"]
        try:
            answer = await self.http.get(
                f"{address}/connections",
                params={"status": "READY", "limit": "1"} | ({"app": app} if app else {}),
            )
        except httpx.TransportError:
            return 0
        return int(answer.json()["matching"]) if answer.is_success else 0

    async def ended(self, instance: str) -> dict[str, str]:
        """Return why connections of a worker ended, by their ids.

        Only what gateways tell that run, and answer at once.
        """
        reasons: dict[str, str] = {}
        for gateway in self.gateways:
            if not gateway.up:
                continue
            address = gateway.running.addresses["admin"]
            try:
                answer = await self.http.get(
                    f"{address}/connections/closed", params={"instance": instance}
                )
            except httpx.TransportError:
                continue
            if answer.is_success:
                reasons |= {each["id"]: each["reason"] for each in answer.json()["data"]}
        return reasons

    def died(self) -> list[str]:
        """What ended though nobody ended it, in words."""
        nodes: list[Node[Any]] = [*self.gateways, *self.executors, *self.worker_nodes]
        return [
            f"{node.incarnation} ended by itself with {node.running.process.returncode}"
            for node in nodes
            if node.up and node.running.process.poll() is not None
        ]

    async def whole(self, *, seconds: float = 40.0) -> bool:
        """Wait until everything runs and each worker has one connection, which is stored.

        Returns:
            Whether that came about in time.
        """
        nodes: list[Node[Any]] = [*self.gateways, *self.executors, *self.worker_nodes]
        with trio.move_on_after(seconds):
            while not all(node.up for node in nodes) or (
                sum([await self.connections(one) for one in self.gateways])
                != len(self.worker_nodes)
                or await self._stored() < len(self.worker_nodes)
                or not all([await self._reaches_redis(one) for one in self.gateways])
            ):
                await trio.sleep(_POLL_SECONDS)
            return True
        return False

    async def _reaches_redis(self, gateway: Node[RunningService]) -> bool:
        try:
            answer = await self.http.get(f"{gateway.running.addresses['admin']}/ready")
        except httpx.TransportError:
            return False
        return answer.is_success

    async def _stored(self) -> int:
        """How many connections are stored as ready, with their heartbeats; 0 without an answer.

        One whose heartbeats could not be stored gets no requests until another one is; those
        of the official SDK come later than it is told, so that they may be almost as old.
        """
        try:
            answer = await self.http.get(
                f"{self.api_url}/v0/connect/envs/{DEVELOPMENT_ENV_ID}/conns"
            )
        except httpx.TransportError:
            return 0
        found = answer.json()["data"] if answer.is_success else []
        interval = self.plan.timing["worker_heartbeat"]
        ours = tuple(f"{node.name}." for node in (*self.workers, *self.limited_workers))
        return sum(
            connection["status"] == "READY"
            and _seconds_since(connection["last_heartbeat_at"])
            < (interval + 1 if connection["instance_id"].startswith(ours) else 2 * interval - 1)
            for connection in found
        )

    async def restart_redis(self, away: float, *, empty: bool = False) -> None:
        """SIGKILL Redis, and start it again after so many seconds.

        Args:
            empty: whether it has lost all it knew.
        """
        await trio.to_thread.run_sync(self.redis.kill)
        await trio.sleep(away)
        if empty:
            for file in self.folder.glob("appendonly*"):
                file.unlink() if file.is_file() else shutil.rmtree(file)
        await trio.to_thread.run_sync(self.redis.start)

    async def freeze_redis(self, seconds: float) -> None:
        """SIGSTOP Redis, and SIGCONT it after so many seconds."""
        redis = int(_pid_file(self.folder).read_text())
        os.kill(redis, signal.SIGSTOP)
        try:
            await trio.sleep(seconds)
        finally:
            os.kill(redis, signal.SIGCONT)


@asynccontextmanager
async def open_deployment(plan: Plan) -> AsyncIterator[Deployment]:
    """Run everything for the length of the block, whole when it begins.

    Raises:
        ProcessFailed, TooSlowError: a process did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    # What was answered is on disk: as Redis is run by whoever must not lose replies.
    safe = ("--appendonly", "yes", "--appendfsync", "always")
    redis = RedisServer(folder, options=(*safe, "--pidfile", str(_pid_file(folder))))
    try:
        await trio.to_thread.run_sync(redis.start)
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=2.0))
            to_api = await stack.enter_async_context(open_proxy(_NOBODY))
            deployment = Deployment(plan=plan, redis=redis, folder=folder, http=http, to_api=to_api)
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            await _open_proxies(deployment, stack)
            await _start(deployment, nursery)
            yield deployment
    finally:
        redis.kill()
        journal = folder / "journal"
        if plan.logs is not None and journal.exists():
            shutil.copy(journal, plan.logs)
        shutil.rmtree(folder, ignore_errors=True)


async def _open_proxies(deployment: Deployment, stack: AsyncExitStack) -> None:
    for _ in range(2):
        deployment.to_gateways.append(await stack.enter_async_context(open_proxy(_NOBODY)))
    for name in ("gateway-1", "gateway-2", "executor-1", "executor-2"):
        port = free_port()
        deployment.rpc[name] = await stack.enter_async_context(
            open_proxy(("127.0.0.1", port), host=_BEFORE_RPC, port=port)
        )
    for name in ("api", *deployment.rpc):
        deployment.to_redis[name] = await stack.enter_async_context(
            open_proxy(("127.0.0.1", deployment.redis.port))
        )


async def _start(deployment: Deployment, nursery: trio.Nursery) -> None:
    logs = deployment.plan.logs or deployment.folder
    logs.mkdir(parents=True, exist_ok=True)
    api: Node[RunningService] = Node(
        "api", lambda _: start_service(*_service(deployment, "api")), nursery=nursery, logs=logs
    )
    for number in (1, 2):
        gateway = partial(_start_gateway, deployment, number - 1)
        deployment.gateways.append(Node(f"gateway-{number}", gateway, nursery=nursery, logs=logs))
        executor = partial(_start_executor, deployment, f"executor-{number}")
        deployment.executors.append(
            Node(f"executor-{number}", executor, nursery=nursery, logs=logs)
        )
    async with trio.open_nursery() as starting:
        for service in (api, *deployment.gateways):
            starting.start_soon(service.start)
    deployment.api_url = api.running.addresses["api"]
    deployment.to_api.target = _address(deployment.api_url)
    for number in range(1, deployment.plan.workers + 1):
        worker = partial(_start_worker, deployment, _APP)
        deployment.workers.append(Node(f"worker-{number}", worker, nursery=nursery, logs=logs))
    for number in range(1, deployment.plan.limited_workers + 1):
        limit = f"--max-concurrency={LIMIT}"
        limited = partial(_start_worker, deployment, _LIMITED_APP, limit)
        deployment.limited_workers.append(
            Node(f"limited-{number}", limited, nursery=nursery, logs=logs)
        )
    for number in range(1, deployment.plan.official_workers + 1):
        official = partial(_start_official_worker, deployment)
        deployment.official_workers.append(
            Node(f"official-{number}", official, nursery=nursery, logs=logs)
        )
    async with trio.open_nursery() as starting:
        for executing in deployment.executors:
            starting.start_soon(executing.start)
        for working in deployment.worker_nodes:
            starting.start_soon(working.start)
    if not await deployment.whole():
        raise trio.TooSlowError("the workers did not connect in time")
    apps = await deployment.http.get(
        f"{deployment.api_url}/v0/connect/envs/{DEVELOPMENT_ENV_ID}/apps"
    )
    ids = {app["name"]: app["id"] for app in apps.raise_for_status().json()["data"]}
    names = (APP_NAME, LIMITED_APP_NAME, OFFICIAL_APP_NAME)
    deployment.app_ids = {name: ids[name] for name in names if name in ids}


def _service(deployment: Deployment, name: str) -> list[str]:
    return [
        f"--roles={name.partition('-')[0]}",
        f"--redis-url={_redis_url(deployment, name)}",
        f"--session-secret={_SECRET}",
        *(f"--set=timing.{key}={value}s" for key, value in deployment.plan.timing.items()),
        *deployment.plan.options,
    ]


def _seconds_since(moment: str | None) -> float:
    return math.inf if moment is None else time.time() - datetime.fromisoformat(moment).timestamp()


def _pid_file(folder: Path) -> Path:
    return folder / "redis.pid"


def _address(url: str) -> tuple[str, int]:
    parts = httpx.URL(url)
    assert parts.port is not None
    return parts.host, parts.port


def _redis_url(deployment: Deployment, name: str) -> str:
    return f"redis://127.0.0.1:{deployment.to_redis[name].port}"


def _api_url(deployment: Deployment) -> str:
    """Where workers find the API."""
    return f"http://{deployment.to_api.host}:{deployment.to_api.port}"


@asynccontextmanager
async def _start_gateway(
    deployment: Deployment, index: int, incarnation: str
) -> AsyncIterator[RunningService]:
    name = incarnation.partition(".")[0]
    to_workers, rpc = deployment.to_gateways[index], deployment.rpc[name]
    async with start_service(
        *_service(deployment, name),
        f"--gateway-group={name}",
        f"--gateway-url=ws://127.0.0.1:{to_workers.port}",
        f"--gateway-rpc-port={rpc.port}",
        f"--advertise-host={_BEFORE_RPC}",
    ) as service:
        to_workers.target = ("127.0.0.1", _address(service.addresses["gateway"])[1])
        yield service


@asynccontextmanager
async def _start_executor(
    deployment: Deployment, name: str, incarnation: str
) -> AsyncIterator[ExecutorProcess]:
    rpc = deployment.rpc[name]
    settings = [f"{key}={value}" for key, value in deployment.plan.timing.items()]
    async with start_executor(
        _BEFORE_RPC,
        str(rpc.port),
        *settings,
        redis_url=_redis_url(deployment, name),
        output=deployment.folder / f"{incarnation}.output",
    ) as executor:
        yield executor


@asynccontextmanager
async def _start_worker(
    deployment: Deployment, *app_and_options: str
) -> AsyncIterator[RunningProcess]:
    *app, incarnation = app_and_options
    command = [
        *(sys.executable, "-m", "connect", "worker", *app),
        f"--url={_api_url(deployment)}",
        f"--instance-id={incarnation}",
        f"--journal={deployment.journal_path}",
    ]
    async with start_process(command) as process:
        yield process


@asynccontextmanager
async def _start_official_worker(
    deployment: Deployment, incarnation: str
) -> AsyncIterator[RunningProcess]:
    program = "tests.faults.official_worker"
    command = [sys.executable, "-m", program, str(deployment.journal_path), incarnation]
    where = {"INNGEST_DEV": _api_url(deployment)}
    async with start_process(command, environment=where) as process:
        yield process
