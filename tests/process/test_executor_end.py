"""A service with the roles api and executor is told to end while a function runs."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import redis
import trio

from connect.harness import RunningService, start_process, start_service
from connect.settings import DEVELOPMENT_ENV_ID
from tests.process.test_executor_death import APP, SAVED, SECONDS, Deployment
from tests.support.metrics import ACKED, metric, wait_for_metric
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.process

SECRET = "--session-secret=" + "s" * 32
SLOW = {"function": "test-slow", "data": {"seconds": SECONDS}, "timeout": 50}


class Ending:
    """A service that is to end, and a caller that waits for its answer.

    Attributes:
        answers: of the request that runs when the service is told to end.
    """

    def __init__(self, deployment: Deployment, service: RunningService) -> None:
        self.deployment = deployment
        self.service = service
        self.answers: list[httpx.Response] = []

    async def invoke(self, body: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.service.addresses["api"], timeout=60) as client:
            return await client.post("/v0/invoke", json=body)

    async def ready(self) -> int:
        async with httpx.AsyncClient(base_url=self.service.addresses["api"], timeout=10) as client:
            return (await client.get("/ready")).status_code

    async def run_slow(self) -> None:
        self.answers.append(await self.invoke(SLOW))

    def request_id(self) -> str:
        """The id of the one request that is leased."""
        prefix = f"{{{DEVELOPMENT_ENV_ID}}}:request-lease:"
        [key] = redis.Redis.from_url(self.deployment.redis_url).scan_iter(f"{prefix}*")
        return str(key.decode().removeprefix(prefix))


@asynccontextmanager
async def ending(*options: str) -> AsyncIterator[Ending]:
    """A service without a gateway, whose worker is connected to another service's."""
    with redis_server() as server:
        shared = (f"--redis-url={server.url}", SECRET)
        async with (
            start_service("--roles=gateway,api", *shared) as gateway,
            start_service("--roles=api,executor", *shared, *options) as service,
        ):
            worker = [sys.executable, "-m", "connect", "worker", APP]
            worker += ["--max-concurrency=1", f"--url={gateway.addresses['api']}"]
            async with start_process(worker):
                await gateway.wait_for_output("worker connected")
                yield Ending(Deployment(gateway, server.url), service)


async def test_a_function_that_ends_within_the_drain_is_answered_before_the_exit() -> None:
    async with ending() as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.run_slow)
        await wait_for_metric(rig.deployment.service, ACKED, 1)
        rig.service.send_signal(signal.SIGTERM)
        await rig.service.wait_for_output("stopping")
        assert await rig.ready() == 503
        refused = await rig.invoke(SLOW)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["code"] == "connect_executor_closing"
        with trio.fail_after(20):  # less than the drain
            assert await rig.service.wait() == 0
    assert [answer.json()["result"] for answer in rig.answers] == ["slept"]


async def test_a_function_that_lasts_longer_is_answered_by_the_next_executor() -> None:
    async with ending("--set=timing.drain=0.5s") as rig:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.run_slow)
            await wait_for_metric(rig.deployment.service, ACKED, 1)
            request_id = rig.request_id()
            assert await rig.service.stop(seconds=10) == 0
        [answer] = rig.answers
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["code"] == "connect_executor_closing"
        deployment = replace(rig.deployment, request_id=request_id)
        assert await metric(deployment.service, SAVED) == 0  # it still runs
        found = await deployment.replaced()
        assert found["body"] == "slept"
        assert found["seconds"] < SECONDS
        assert await metric(deployment.service, ACKED) == 1
        assert deployment.left() == {"keys": 0, "counted": 0}


async def test_a_reply_that_comes_after_the_exit_is_kept_for_the_next_executor() -> None:
    async with ending("--set=timing.drain=0.5s") as rig:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.run_slow)
            await wait_for_metric(rig.deployment.service, ACKED, 1)
            request_id = rig.request_id()
            assert await rig.service.stop(seconds=10) == 0
        await wait_for_metric(rig.deployment.service, SAVED, 1)
        deployment = replace(rig.deployment, request_id=request_id)
        found = await deployment.replaced()
        assert (found["body"], await metric(deployment.service, ACKED)) == ("slept", 1)
        assert found["seconds"] < SECONDS / 2
        assert deployment.left() == {"keys": 0, "counted": 0}


async def test_a_second_signal_does_not_wait_for_the_function() -> None:
    async with ending() as rig, trio.open_nursery() as nursery:

        async def cut_off() -> None:
            with pytest.raises(httpx.TransportError):
                await rig.invoke(SLOW)

        nursery.start_soon(cut_off)
        await wait_for_metric(rig.deployment.service, ACKED, 1)
        rig.service.send_signal(signal.SIGTERM)
        await rig.service.wait_for_output("stopping")
        with trio.fail_after(SECONDS / 2):
            assert await rig.service.stop() == 128 + signal.SIGTERM
