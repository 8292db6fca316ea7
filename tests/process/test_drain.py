"""Gateways that are drained, taken back, and ended, as processes under work."""

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from connect.harness import RunningProcess, RunningService, start_process, start_service
from connect.worker.websocket import use_websocket
from tests.support.metrics import ACKED, wait_for_metric

pytestmark = pytest.mark.process

APP = "tests.process.programs.apps:app"
CONNECT = [sys.executable, "-m", "connect"]


async def get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.get(url)


async def post(url: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.post(url)


def admin(service: RunningService, path: str) -> str:
    return service.addresses["admin"] + path


def gateway_port(service: RunningService, path: str) -> str:
    return (
        service.addresses["gateway"].replace("ws://", "http://").removesuffix("/v0/connect") + path
    )


async def wait_for_state(service: RunningService, state: str, *, seconds: float = 20) -> None:
    with trio.fail_after(seconds):
        while (await get(admin(service, "/drained"))).json()["state"] != state:
            await trio.sleep(0.05)


@asynccontextmanager
async def worker(api: str) -> AsyncIterator[RunningProcess]:
    async with start_process([*CONNECT, "worker", APP, f"--url={api}"]) as process:
        yield process


async def invoke(api: str, function: str, **data: object) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=api, timeout=60) as client:
        body = {"function": function, "data": data, "timeout": 50}
        run: dict[str, Any] = (await client.post("/v0/invoke", json=body)).json()
    return run


async def test_after_sigterm_everything_answers_that_it_is_not_ready_until_the_work_is_done() -> (
    None
):
    async with start_service() as service, worker(service.addresses["api"]):
        await service.wait_for_output("worker connected")
        runs: list[dict[str, Any]] = []
        api = service.addresses["api"]

        async def run_slow() -> None:
            runs.append(await invoke(api, "test-slow", seconds=8))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_slow)
            await wait_for_metric(service, ACKED, 1)
            service.send_signal(signal.SIGTERM)
            await service.wait_for_output("draining")
            assert (await get(admin(service, "/ready"))).status_code == 503
            assert (await get(gateway_port(service, "/ready"))).status_code == 503
            assert (await get(f"{api}/ready")).status_code == 503
            assert (await get(admin(service, "/healthy"))).status_code == 200
            assert (await get(gateway_port(service, "/v0"))).text == "."
            assert (await get(admin(service, "/gateway"))).json()["status"] == "draining"
            assert (await post(admin(service, "/activate"))).status_code == 409
            closed: list[tuple[int, str | None]] = []

            async def read_close(socket: WebSocketConnection) -> None:
                with pytest.raises(ConnectionClosed) as caught:
                    await socket.get_message()
                reason = caught.value.reason
                assert reason is not None
                closed.append((reason.code, reason.reason))

            await use_websocket(service.addresses["gateway"], read_close, deadline=5)
            assert closed == [(1001, "connect_gateway_closing")]
        assert [run["result"] for run in runs] == ["slept"]
        with trio.fail_after(20):
            assert await service.wait() == 0


async def test_a_drained_gateway_takes_workers_again_once_it_is_activated() -> None:
    async with start_service() as service, worker(service.addresses["api"]):
        await service.wait_for_output("worker connected")
        assert (await get(admin(service, "/drained"))).status_code == 425
        assert (await post(admin(service, "/drain"))).status_code == 202
        assert (await get(admin(service, "/ready"))).status_code == 503
        await wait_for_state(service, "drained")
        assert (await get(admin(service, "/connections"))).json()["matching"] == 0
        assert (await post(admin(service, "/activate"))).status_code == 200
        assert (await get(admin(service, "/ready"))).status_code == 200
        with trio.fail_after(30):
            while (await invoke(service.addresses["api"], "test-echo", n=1)).get("result") is None:
                await trio.sleep(0.2)
        closed = (await get(admin(service, "/connections/closed"))).json()["data"]
        # An attempt to come back at once may have been refused, with an older list of gateways.
        [left] = [
            one for one in closed if "READY" in {step["phase"] for step in one["transitions"]}
        ]
        assert left["reason"] == "GATEWAY_DRAINING"
        assert [step["phase"] for step in left["transitions"]] == [
            "HANDSHAKING", "JOINING", "READY", "DRAINING", "DISCONNECTING", "CLOSED",
        ]  # fmt: skip


async def test_a_drained_gateway_ends_at_once_when_it_is_told_to() -> None:
    async with start_service() as service:
        await post(admin(service, "/drain"))
        await wait_for_state(service, "drained")
        with trio.fail_after(10):
            assert await service.stop(signal.SIGTERM) == 0


async def test_draining_one_of_two_gateways_by_command_loses_no_request(redis_url: str) -> None:
    shared = (f"--redis-url={redis_url}", "--session-secret=" + "s" * 32)
    async with (
        start_service(*shared, "--roles=gateway", "--gateway-group=one") as one,
        start_service(*shared, "--roles=gateway", "--gateway-group=two") as two,
        start_service(*shared, "--roles=api,executor") as rest,
    ):
        api = rest.addresses["api"]
        async with worker(api) as process:
            await process.wait_for_output("connected")
            holds_it = (await get(admin(one, "/connections"))).json()["matching"] == 1
            here, there = (one, two) if holds_it else (two, one)
            await here.wait_for_output("worker connected")
            gateway_id = (await get(admin(here, "/gateway"))).json()["id"]
            runs: list[dict[str, Any]] = []

            async def run_slow() -> None:
                runs.append(await invoke(api, "test-slow", seconds=4))

            async def run_steadily() -> None:
                with trio.move_on_after(8):
                    while True:
                        runs.append(await invoke(api, "test-echo", n=len(runs)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_slow)
                await wait_for_metric(here, ACKED, 1)
                nursery.start_soon(run_steadily)
                command = [*CONNECT, "drain", gateway_id, "--wait", "--json"]
                done = await trio.run_process(
                    [*command, f"--admin={admin(there, '')}"], capture_stdout=True, check=False
                )
            assert done.returncode == 0
            answer = json.loads(done.stdout)
            assert (answer["state"], answer["total"], answer["closed"]) == ("drained", 1, 0)
            assert {run.get("status") for run in runs} == {"completed"}, runs
            assert len(runs) > 10
            assert (await get(admin(there, "/connections"))).json()["matching"] == 1


async def refuses(address: str) -> bool:
    """Whether nothing listens there."""
    try:
        await get(address)
    except httpx.TransportError:
        return True
    return False


async def test_the_listener_for_health_closes_last() -> None:
    async with start_service() as service:
        api = httpx.URL(service.addresses["api"])
        assert api.port is not None
        stream = await trio.open_tcp_stream("127.0.0.1", api.port)
        async with stream:
            # A request whose body is still to come keeps the API from closing for a while.
            await stream.send_all(
                b"POST /v0/connect/flush HTTP/1.1\r\nHost: api\r\nContent-Length: 10\r\n\r\n"
            )
            await trio.sleep(0.2)
            service.send_signal(signal.SIGTERM)
            with trio.fail_after(15):
                while not await refuses(gateway_port(service, "/v0")):
                    await trio.sleep(0.02)
                while not await refuses(f"{api}/health"):
                    await trio.sleep(0.02)
            assert (await get(admin(service, "/healthy"))).status_code == 200
            assert (await get(admin(service, "/ready"))).status_code == 503
            await stream.send_all(b"0123456789")
        with trio.fail_after(10):
            assert await service.wait() == 0
