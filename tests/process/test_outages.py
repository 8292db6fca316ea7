"""A real Redis that goes away, comes back empty, or forgets, under a service at work."""

import math
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from connect.harness import RunningProcess, RunningService, start_process, start_service
from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from connect.settings import DEVELOPMENT_ENV_ID
from connect.worker import Happening, JournalEntry, Worker, WorkerTiming
from connect.worker.websocket import use_websocket
from tests.process.programs.apps import app
from tests.support.metrics import ACKED, metric, wait_for_metric
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


async def readiness(service: RunningService) -> list[int]:
    """What the API, the gateway's port and the admin API answer to ``GET /ready``."""
    gateway = service.addresses["gateway"].replace("ws://", "http://").removesuffix("/v0/connect")
    async with httpx.AsyncClient(timeout=10) as client:
        return [
            (await client.get(f"{base}/ready")).status_code
            for base in (service.addresses["api"], gateway, service.addresses["admin"])
        ]


async def connection_ids(service: RunningService) -> set[str]:
    """The connections in the store; none while that does not answer."""
    path = f"/v0/connect/envs/{DEVELOPMENT_ENV_ID}/conns"
    async with httpx.AsyncClient(base_url=service.addresses["api"], timeout=20) as client:
        answer = await client.get(path)
    return {found["id"] for found in answer.json()["data"]} if answer.is_success else set()


async def command(server: RedisServer, *words: str) -> None:
    """Send one command to Redis, by a connection of its own."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with stream:
        await stream.send_all((" ".join(words) + "\r\n").encode())
        assert not (await stream.receive_some(4096)).startswith(b"-")


# Half a minute without Redis. It is lived through once, with the timing that is the default,
# and looked at by the tests that follow.

OUTAGE_SECONDS = 32.0
REPLY_SECONDS = 5.0  # after the requests; the outage begins before
KEPT = "connect_replies_kept"


@dataclass
class HalfAMinute:
    """What was seen before, while, and after Redis was away.

    Attributes:
        ids_before, ids_after, ids_flushed: connections in the store before the outage, after
            it, and a heartbeat after everything was flushed.
        started: the answer to ``POST /v0/connect/start`` while Redis is away.
        refused: close code, reason and seconds of a handshake meanwhile.
        kept: replies kept in memory meanwhile, and at the end.
        acked_while_away: whether the worker of ours got an acknowledgement meanwhile.
        journal: of that worker, with the seconds at which things happened.
    """

    ids_before: set[str] = field(default_factory=set)
    ids_after: set[str] = field(default_factory=set)
    ids_flushed: set[str] = field(default_factory=set)
    ready_while_away: list[int] = field(default_factory=list)
    ready_after: list[int] = field(default_factory=list)
    started: tuple[int, str] = (0, "")
    refused: tuple[int, str | None, float] = (0, "", 0.0)
    kept: list[float] = field(default_factory=list)
    acked_while_away: bool = False
    killed_at: float = 0.0
    back_at: float = 0.0
    flushed_at: float = 0.0
    reappeared_at: float = 0.0
    results: dict[str, object] = field(default_factory=dict)
    journal: list[tuple[float, JournalEntry]] = field(default_factory=list)
    output: str = ""

    def times(self, what: Happening) -> list[float]:
        """When this happened to the worker of ours, until everything was flushed."""
        until = self.flushed_at or math.inf
        return [at for at, entry in self.journal if entry.what is what and at < until]


@pytest.fixture(scope="module")
def half_a_minute() -> HalfAMinute:
    with redis_server() as server:
        return trio.run(_live_through_an_outage, server)


async def _live_through_an_outage(server: RedisServer) -> HalfAMinute:
    seen = HalfAMinute()

    def note(entry: JournalEntry) -> None:
        seen.journal.append((trio.current_time(), entry))

    async with (
        start_service(f"--redis-url={server.url}") as service,
        sdk_worker(service),
        trio.open_nursery() as nursery,
    ):
        # What acknowledges its reply is to be the gateway, not the flush over HTTP.
        timing = WorkerTiming(flush_after=300.0)
        worker = Worker(app, api_url=service.addresses["api"], journal=note, timing=timing)
        with trio.fail_after(150):
            await nursery.start(worker.run)
            start = await _started(service)
            seen.ids_before = await connection_ids(service)

            async def run_slow(function: str) -> None:
                run = await invoke(service, function, seconds=REPLY_SECONDS)
                seen.results[function] = run["result"]

            async with trio.open_nursery() as running:
                running.start_soon(run_slow, "test-slow")
                running.start_soon(run_slow, "my-app-slow")
                await wait_for_metric(service, ACKED, 2)
                server.kill()
                seen.killed_at = trio.current_time()
                await wait_for_metric(service, KEPT, 2)
                await _look_while_away(service, seen, start)
                await trio.sleep_until(seen.killed_at + OUTAGE_SECONDS)
                seen.acked_while_away = bool(seen.times(Happening.REPLY_ACKED))
                server.start()
                seen.back_at = trio.current_time()
            seen.ids_after = await _wait_for_ids(service, seen.ids_before, within=20)
            seen.ready_after = await readiness(service)
            seen.kept.append(await metric(service, KEPT))
            await command(server, "FLUSHALL")
            seen.flushed_at = trio.current_time()
            seen.ids_flushed = await _wait_for_ids(service, seen.ids_before, within=25)
            seen.reappeared_at = trio.current_time()
            await _wait_for_gateway(service, within=25)
            seen.results["test-echo"] = (await invoke(service, "test-echo", n=1))["result"]
        seen.output = service.output
        nursery.cancel_scope.cancel()
    return seen


async def _look_while_away(
    service: RunningService, seen: HalfAMinute, start: pb.StartResponse
) -> None:
    seen.kept.append(await metric(service, KEPT))
    # While the failure that made the outage known is less than two seconds old.
    seen.refused = await _shake_hands(service, start)
    seen.ready_while_away = await readiness(service)
    async with httpx.AsyncClient(base_url=service.addresses["api"], timeout=20) as client:
        answer = await client.post("/v0/connect/start")
    seen.started = (answer.status_code, answer.text)


async def _wait_for_ids(service: RunningService, ids: set[str], *, within: float) -> set[str]:
    """Return the stored connections' ids once they are these, or when the time is over."""
    found: set[str] = set()
    with trio.move_on_after(within):
        while found != ids:
            await trio.sleep(0.1)
            found = await connection_ids(service)
    return found


async def _wait_for_gateway(service: RunningService, *, within: float) -> None:
    """Return once the gateway is stored; nothing is routed to it before."""
    path = "/gateways"
    async with httpx.AsyncClient(base_url=service.addresses["admin"], timeout=10) as client:
        with trio.move_on_after(within):
            while not (await client.get(path)).json()["data"]:
                await trio.sleep(0.1)


async def _started(service: RunningService) -> pb.StartResponse:
    async with httpx.AsyncClient(base_url=service.addresses["api"], timeout=10) as client:
        answer = (await client.post("/v0/connect/start")).content
    return pb.StartResponse().parse(answer)


async def _shake_hands(
    service: RunningService, start: pb.StartResponse
) -> tuple[int, str | None, float]:
    """Introduce a worker; return code and reason of the close, and how long it took."""
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
        began = trio.current_time()
        await socket.send_message(message)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.get_message()
        reason = closed.value.reason
        assert reason is not None
        closes.append((reason.code, reason.reason, trio.current_time() - began))

    await use_websocket(service.addresses["gateway"], shake_hands, deadline=5)
    return closes[0]


def test_an_outage_begins_before_the_replies_and_outlasts_three_heartbeats(
    half_a_minute: HalfAMinute,
) -> None:
    [replied] = half_a_minute.times(Happening.REPLIED)
    assert half_a_minute.killed_at < replied
    assert half_a_minute.back_at - half_a_minute.killed_at >= OUTAGE_SECONDS


def test_an_outage_closes_no_socket(half_a_minute: HalfAMinute) -> None:
    ended = [line for line in half_a_minute.output.splitlines() if "worker disconnected" in line]
    assert len(half_a_minute.ids_before) == 2
    assert not [line for line in ended if any(each in line for each in half_a_minute.ids_before)]


def test_an_outage_makes_no_worker_reconnect(half_a_minute: HalfAMinute) -> None:
    assert half_a_minute.output.count("worker connected") == 2
    assert half_a_minute.times(Happening.DISCONNECTED) == []


def test_after_an_outage_the_same_connections_are_stored(half_a_minute: HalfAMinute) -> None:
    assert half_a_minute.ids_after == half_a_minute.ids_before


def test_replies_of_an_outage_are_kept_in_memory_until_it_is_over(
    half_a_minute: HalfAMinute,
) -> None:
    assert half_a_minute.kept == [2, 0]


def test_a_reply_of_an_outage_is_acknowledged_once_when_it_is_stored(
    half_a_minute: HalfAMinute,
) -> None:
    assert not half_a_minute.acked_while_away
    [acked] = half_a_minute.times(Happening.REPLY_ACKED)
    assert 0 < acked - half_a_minute.back_at < 8  # a connection and a probe; no heartbeat


def test_requests_of_an_outage_get_their_results(half_a_minute: HalfAMinute) -> None:
    results = half_a_minute.results
    assert (results["test-slow"], results["my-app-slow"]) == ("slept", "slept")


def test_readiness_says_that_redis_is_away(half_a_minute: HalfAMinute) -> None:
    assert half_a_minute.ready_while_away == [503, 503, 503]


def test_readiness_says_that_redis_is_back(half_a_minute: HalfAMinute) -> None:
    assert half_a_minute.ready_after == [200, 200, 200]


def test_a_handshake_in_an_outage_is_refused_at_once(half_a_minute: HalfAMinute) -> None:
    code, syscode, seconds = half_a_minute.refused
    assert (code, syscode) == (1011, "connect_internal_error")
    assert seconds < 3  # the deadline of one command is five


def test_a_worker_that_starts_in_an_outage_is_told_why(half_a_minute: HalfAMinute) -> None:
    status, text = half_a_minute.started
    assert status == 503
    assert "store_unavailable" in text


def test_flushed_connections_are_stored_again_with_their_next_heartbeat(
    half_a_minute: HalfAMinute,
) -> None:
    assert half_a_minute.ids_flushed == half_a_minute.ids_before
    assert half_a_minute.reappeared_at - half_a_minute.flushed_at < 18  # one of 10 s, not two


def test_flushed_connections_get_requests_again(half_a_minute: HalfAMinute) -> None:
    assert half_a_minute.results["test-echo"] == {"n": 1}


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
