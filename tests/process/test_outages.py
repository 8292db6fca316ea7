"""A real Redis that goes away, comes back empty, or forgets, under a service at work."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from connect.harness import RunningProcess, RunningService, start_process, start_service
from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from connect.worker.websocket import use_websocket
from tests.support.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.process

SDK_WORKER = Path(__file__).parent / "programs" / "sdk_worker.py"
APP = "tests.process.programs.apps:app"
QUICK_BEATS = (
    "--set=timing.worker_heartbeat=2s",
    "--set=timing.heartbeat_misses=20",  # the official SDK beats every 10 s, whatever it is told
    "--set=timing.gateway_heartbeat=2s",
    "--set=timing.store_command=2s",
)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server of the test's own, to be killed at will."""
    with redis_server() as server:
        yield server


@asynccontextmanager
async def own_worker(service: RunningService) -> AsyncIterator[RunningProcess]:
    line = [sys.executable, "-m", "connect", "worker", APP, f"--url={service.addresses['api']}"]
    async with start_process(line) as worker:
        await service.wait_for_output("worker connected")
        yield worker


@asynccontextmanager
async def sdk_worker(service: RunningService) -> AsyncIterator[RunningProcess]:
    where = {"INNGEST_DEV": service.addresses["api"]}
    async with start_process([sys.executable, str(SDK_WORKER)], environment=where) as worker:
        await service.wait_for_output("worker connected")
        yield worker


async def invoke(service: RunningService, function: str, **data: object) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=service.addresses["api"], timeout=90) as client:
        response = await client.post(
            "/v0/invoke", json={"function": function, "data": data, "timeout": 80}
        )
    run: dict[str, Any] = response.json()
    assert response.status_code == 200, run
    return run


async def invoke_in_time(
    service: RunningService, function: str, *, within: float, **data: object
) -> dict[str, Any]:
    """Invoke again and again until it succeeds.

    Args:
        within: seconds that this may take.
    """
    with trio.fail_after(within):
        while True:
            try:
                run = await invoke(service, function, **data)
            except AssertionError:
                run = {}
            if run.get("status") == "completed":
                return run
            await trio.sleep(0.1)


async def readiness(service: RunningService) -> httpx.Response:
    async with httpx.AsyncClient(base_url=service.addresses["api"], timeout=10) as client:
        return await client.get("/ready")


async def command(server: RedisServer, *words: str) -> None:
    """Send one command to Redis, by a connection of its own."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with stream:
        await stream.send_all((" ".join(words) + "\r\n").encode())
        assert not (await stream.receive_some(4096)).startswith(b"-")


@pytest.mark.parametrize(
    ("worker", "prefix"), [(own_worker, "test"), (sdk_worker, "my-app")], ids=["own", "sdk"]
)
async def test_an_outage_closes_no_socket_and_loses_no_reply(
    redis: RedisServer, worker: Any, prefix: str
) -> None:
    async with (
        start_service(f"--redis-url={redis.url}", *QUICK_BEATS) as service,
        worker(service),
    ):
        runs: list[dict[str, Any]] = []

        async def run_slow() -> None:
            runs.append(await invoke(service, f"{prefix}-slow", seconds=5))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_slow)
            await trio.sleep(2)
            redis.kill()
            await trio.sleep(6)
            assert (await readiness(service)).status_code == 503
            assert service.process.returncode is None
            await trio.sleep(6)
            redis.start()
        assert [run["result"] for run in runs] == ["slept"]
        assert "worker disconnected" not in service.output
        assert service.output.count("worker connected") == 1
        await invoke_in_time(service, f"{prefix}-slow", within=15, seconds=0)
        assert (await readiness(service)).status_code == 200


async def test_a_worker_is_routable_again_within_a_heartbeat_after_everything_is_flushed(
    redis: RedisServer,
) -> None:
    async with (
        start_service(f"--redis-url={redis.url}", *QUICK_BEATS) as service,
        own_worker(service),
    ):
        assert (await invoke(service, "test-echo", n=1))["result"] == {"n": 1}
        await command(redis, "FLUSHALL")
        run = await invoke_in_time(service, "test-echo", within=6, n=2)
        assert run["result"] == {"n": 2}
        assert "worker disconnected" not in service.output


async def test_a_handshake_is_refused_at_once_during_an_outage(redis: RedisServer) -> None:
    async with (
        start_service(f"--redis-url={redis.url}", *QUICK_BEATS) as service,
        own_worker(service),
    ):
        async with httpx.AsyncClient(base_url=service.addresses["api"], timeout=10) as client:
            answer = (await client.post("/v0/connect/start")).content
        start = pb.StartResponse().parse(answer)
        redis.kill()
        await service.wait_for_output("the state store does not answer")
        await trio.sleep(3)
        hello = pb.WorkerConnectRequestData(
            connection_id=start.connection_id,
            instance_id="late",
            auth_data=pb.AuthData(session_token=start.session_token),
            apps=[pb.AppConfiguration(app_name="late", functions=b"[]")],
        )
        message = encode_message(int(pb.GatewayMessageType.WORKER_CONNECT), bytes(hello))
        closes: list[tuple[int, str | None, float]] = []

        async def shake_hands(socket: WebSocketConnection) -> None:
            await socket.get_message()
            started = trio.current_time()
            await socket.send_message(message)
            with pytest.raises(ConnectionClosed) as closed:
                await socket.get_message()
            reason = closed.value.reason
            assert reason is not None
            closes.append((reason.code, reason.reason, trio.current_time() - started))

        await use_websocket(service.addresses["gateway"], shake_hands, deadline=5)
        [(code, syscode, seconds)] = closes
        assert (code, syscode) == (1011, "connect_internal_error")
        assert seconds < 1


async def test_forgotten_scripts_and_cut_connections_lose_no_request(redis: RedisServer) -> None:
    async with (
        start_service(f"--redis-url={redis.url}", *QUICK_BEATS) as service,
        own_worker(service),
        httpx.AsyncClient(
            base_url=service.addresses["api"],
            timeout=90,
            limits=httpx.Limits(max_connections=20),
        ) as client,
    ):
        results: list[object] = []
        refused: list[str] = []

        async def call(number: int) -> None:
            body = {"function": "test-echo", "data": {"n": number}, "timeout": 80}
            # A request that is not routed is refused with a clear word; its caller asks again.
            for _ in range(20):
                response = await client.post("/v0/invoke", json=body)
                if response.status_code == 200 and response.json()["status"] == "completed":
                    results.append(response.json()["result"]["n"])
                    return
                refused.append(response.text)
                await trio.sleep(0.2)

        async def disturb() -> None:
            for _ in range(6):
                await command(redis, "SCRIPT", "FLUSH")
                await trio.sleep(0.1)
                await command(redis, "CLIENT", "KILL", "TYPE", "normal")
                await trio.sleep(0.2)

        async def callers(numbers: range) -> None:
            for number in numbers:
                await call(number)

        with trio.fail_after(80):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(disturb)
                for first in range(0, 200, 20):
                    nursery.start_soon(callers, range(first, first + 20))
        assert all("store_unavailable" in text for text in refused), refused
        assert sorted(results, key=str) == sorted(range(200), key=str), refused[:5]
        assert "worker disconnected" not in service.output
