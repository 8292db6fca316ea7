"""An executor is killed; another one asks for its request by the same id, and gets the reply."""

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis
import trio

from connect.harness import RunningProcess, RunningService, start_process, start_service
from connect.settings import DEVELOPMENT_ENV_ID
from tests.support.metrics import ACKED, metric, wait_for_metric
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.process

APP = "tests.process.programs.apps:app"
PROGRAM = "tests.process.programs.one_request"
REQUEST_ID = "01JD8ZK3V4P5Q6R7S8T9V0W1X2"
SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """A service with one worker, and a request that executors ask for."""

    service: RunningService
    redis_url: str
    request_id: str = REQUEST_ID

    @asynccontextmanager
    async def executor(self, *options: str) -> AsyncIterator[RunningProcess]:
        """Start an executor that asks for the request."""
        line = [sys.executable, "-m", PROGRAM, self.redis_url, self.request_id, str(SECONDS)]
        line += options
        async with start_process(line) as running:
            await running.wait_for_output("ready")
            yield running

    async def replaced(self, *options: str) -> dict[str, Any]:
        """Have a new executor ask for the request, and return what it got."""
        async with self.executor(*options) as running:
            with trio.fail_after(40):
                assert await running.wait() == 0, running.output
            found: dict[str, Any] = json.loads(running.output.splitlines()[-1])
            return found

    def left(self) -> dict[str, int]:
        """What Redis still holds of requests: keys, and requests counted on the worker."""
        client = redis.Redis.from_url(self.redis_url)
        prefix = f"{{{DEVELOPMENT_ENV_ID}}}"
        sets = list(client.scan_iter(f"{prefix}:worker-requests-set:*"))
        names = [
            *client.scan_iter(f"{prefix}:request-*"),
            *client.scan_iter(f"{prefix}:buffered-response:*"),
        ]
        return {"keys": len(names), "counted": sum(client.zcard(name) for name in sets)}


SAVED = 'connect_replies_total{outcome="saved"}'


@asynccontextmanager
async def killed_executor(capacity: int = 1) -> AsyncIterator[Deployment]:
    """A worker runs a request whose executor was killed."""
    with redis_server() as server:
        async with start_service(
            "--roles=gateway,api", f"--redis-url={server.url}", "--session-secret=test"
        ) as service:
            worker = [sys.executable, "-m", "connect", "worker", APP]
            worker += [f"--max-concurrency={capacity}", f"--url={service.addresses['api']}"]
            async with start_process(worker):
                await service.wait_for_output("worker connected")
                deployment = Deployment(service, server.url)
                async with deployment.executor() as executor:
                    await wait_for_metric(service, ACKED, 1)
                    assert await executor.stop(signal.SIGKILL) == -signal.SIGKILL
                yield deployment


async def test_a_reply_that_came_meanwhile_is_returned_at_once() -> None:
    async with killed_executor() as deployment:
        await wait_for_metric(deployment.service, SAVED, 1)
        found = await deployment.replaced()
        assert found["body"] == "slept"
        assert found["seconds"] < SECONDS / 2
        assert await metric(deployment.service, ACKED) == 1
        assert deployment.left() == {"keys": 0, "counted": 0}


async def test_a_request_that_still_runs_is_answered_by_a_call_to_the_new_executor() -> None:
    async with killed_executor() as deployment:
        found = await deployment.replaced()
        assert found["body"] == "slept"
        assert found["seconds"] < SECONDS
        assert await metric(deployment.service, ACKED) == 1
        assert deployment.left() == {"keys": 0, "counted": 0}


async def test_a_request_that_still_runs_is_answered_over_the_stream_of_the_new_executor() -> None:
    async with killed_executor(capacity=2) as deployment:
        found = await deployment.replaced("warm")
        assert found["body"] == "slept"
        assert found["seconds"] < SECONDS
        assert await metric(deployment.service, ACKED) == 2  # the other one opened the stream
        assert deployment.left() == {"keys": 0, "counted": 0}
