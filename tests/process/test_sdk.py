"""The official Python SDK's worker, unmodified, against the service as a process."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from connect.harness import RunningProcess, RunningService, start_process, start_service

pytestmark = pytest.mark.process

WORKER = Path(__file__).parent / "programs" / "sdk_worker.py"


@asynccontextmanager
async def sdk_worker(service: RunningService) -> AsyncIterator[RunningProcess]:
    # The one thing a developer on the default ports would not set: where the service is.
    where = {"INNGEST_DEV": service.addresses["api"]}
    async with start_process([sys.executable, str(WORKER)], environment=where) as worker:
        await service.wait_for_output("worker connected")
        yield worker


@asynccontextmanager
async def invoking(service: RunningService) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(base_url=service.addresses["api"], timeout=90) as client:

        async def invoke(function: str, /, **data: object) -> dict[str, Any]:
            response = await client.post(
                "/v0/invoke", json={"function": function, "data": data, "timeout": 80}
            )
            assert response.status_code == 200, response.text
            run: dict[str, Any] = response.json()
            return run

        invoke.client = client  # type: ignore[attr-defined] # for the tests that need more
        yield invoke


async def test_functions_of_every_kind_run_to_their_end(state: tuple[str, ...]) -> None:
    async with start_service(*state) as service, sdk_worker(service), invoking(service) as invoke:
        runs: dict[str, dict[str, Any]] = {}

        async def run(name: str, /, **data: object) -> None:
            runs[name] = await invoke(f"my-app-{name}", **data)

        async with trio.open_nursery() as nursery:
            # Longer than a lease lasts: it has to be extended on the way.
            nursery.start_soon(lambda: run("slow", seconds=30))
            nursery.start_soon(lambda: run("hello", name="Ada"))
            nursery.start_soon(lambda: run("waits", order=7))
            for name in ("steps", "parallel", "invokes", "fails", "flaky"):
                nursery.start_soon(run, name)
            # The one that waits may not have come to wait for them yet.
            while "waits" not in runs:
                for order in (8, 7):
                    await invoke.client.post(
                        "/e/any",
                        json={"name": "my/approved", "data": {"order": order, "by": "Eve"}},
                    )
                await trio.sleep(0.5)

    assert runs["hello"]["result"] == {"message": "Hello, Ada!"}
    assert runs["steps"]["result"] == 42
    assert [step["op"] for step in runs["steps"]["steps"]] == ["StepRun", "Sleep", "StepRun"]
    assert runs["parallel"]["result"] == ["left", "right"]
    assert runs["waits"]["result"] == {"order": 7, "by": "Eve"}
    assert runs["invokes"]["result"] == {"message": "Hello, Grace!"}
    assert runs["fails"]["status"] == "failed"
    assert runs["fails"]["error"]["message"] == "it went wrong"
    assert (runs["flaky"]["result"], runs["flaky"]["calls"]) == (1, 2)
    assert runs["slow"]["result"] == "slept"
    assert runs["slow"]["duration_ms"] > 30_000


async def test_leases_are_extended_by_the_sdk() -> None:
    async with (
        start_service("--set=timing.lease=4s", "--set=timing.lease_grace=1s") as service,
        sdk_worker(service),
        invoking(service) as invoke,
    ):
        run = await invoke("my-app-slow", seconds=10)
        metrics = (await invoke.client.get(service.addresses["admin"] + "/metrics")).text
    assert run["result"] == "slept"
    [line] = [
        line for line in metrics.splitlines()
        if line.startswith('connect_lease_extensions_total{outcome="extended"}')
    ]  # fmt: skip
    assert float(line.split()[-1]) >= 5


async def test_the_worker_stays_connected_and_leaves_when_told_to(state: tuple[str, ...]) -> None:
    async with start_service(
        *state, "--set=timing.worker_heartbeat=3s", "--set=timing.heartbeat_misses=4"
    ) as service:
        async with sdk_worker(service) as worker:
            await trio.sleep(13)  # more than the 12 s of silence that would end it
            assert "worker disconnected" not in service.output
            assert await worker.stop(signal.SIGTERM) == 0
        await service.wait_for_output("worker disconnected")


async def test_the_worker_finds_its_way_back_after_a_restart_of_the_service(
    redis_url: str,
) -> None:
    async with start_service(f"--redis-url={redis_url}") as first:
        ports = [
            f"--api-port={first.addresses['api'].rpartition(':')[2]}",
            f"--gateway-port={first.addresses['gateway'].split(':')[2].partition('/')[0]}",
        ]
        async with sdk_worker(first):
            assert await first.stop(signal.SIGTERM) == 0
            async with start_service(f"--redis-url={redis_url}", *ports) as second:
                await second.wait_for_output("worker connected", seconds=30)
                async with invoking(second) as invoke:
                    run = await invoke("my-app-hello", name="again")
    assert run["result"] == {"message": "Hello, again!"}
