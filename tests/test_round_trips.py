"""What a request costs Redis, over the gateway and the executor together."""

import json
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import trio

from connect.app import Service, open_service
from connect.protocol.messages.connect import v1 as pb
from connect.rpc.executor import Executor
from connect.settings import (
    DEVELOPMENT_ACCOUNT_ID,
    DEVELOPMENT_ENV_ID,
    Listen,
    RedisSettings,
    Role,
    Settings,
    Timing,
)
from connect.state.open import open_store
from connect.state.redis_store import RedisStore
from connect.worker import App, Context, Worker
from tests.support.redis_server import redis_server

REQUESTS = 20
MAY_COST = 3  # route, save, complete

NEVER = 3600.0
ON_LOOPBACK = Listen(
    host="127.0.0.1",
    api_port=0,
    gateway_port=0,
    gateway_rpc_port=0,
    executor_rpc_port=0,
    admin_port=0,
)
# Nothing is asked of the store but for requests: no heartbeats, no polling, no collecting.
QUIET = Timing(
    worker_heartbeat=NEVER,
    gateway_heartbeat=NEVER,
    gateway_refresh=NEVER,
    reply_poll_min=NEVER,
    reply_poll_max=NEVER,
    garbage_every=NEVER,
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A gateway and an executor, each with its own way to Redis, and workers."""

    service: Service
    executor: Executor
    store: RedisStore

    async def execute(self, request_id: str) -> None:
        response = await self.executor.execute(request(request_id))
        assert response.status == pb.SdkResponseStatus.DONE

    async def round_trips(self) -> int:
        """Return how many there were so far, on both ways."""
        async with httpx.AsyncClient(base_url=self.service.addresses.admin or "") as client:
            shown = (await client.get("/metrics")).text
        found = re.search(r"^connect_store_round_trips (\S+)$", shown, re.MULTILINE)
        assert found is not None
        return int(float(found[1])) + self.store.round_trips


def request(request_id: str) -> pb.GatewayExecutorRequestData:
    happened: dict[str, Any] = {
        "id": request_id, "name": "test/echo", "data": {}, "user": {}, "ts": 1,
    }  # fmt: skip
    call = {
        "event": happened, "events": [happened], "steps": {}, "version": -1, "use_api": False,
        "ctx": {"fn_id": "test-echo", "run_id": request_id, "env": "", "step_id": "step",
                "attempt": 0},
    }  # fmt: skip
    return pb.GatewayExecutorRequestData(
        request_id=request_id,
        account_id=DEVELOPMENT_ACCOUNT_ID,
        env_id=DEVELOPMENT_ENV_ID,
        app_id=str(uuid.uuid5(uuid.UUID(DEVELOPMENT_ENV_ID), "test")),
        app_name="test",
        function_id="test-echo",
        function_slug="test-echo",
        request_payload=json.dumps(call).encode(),
        run_id=request_id,
    )


@asynccontextmanager
async def deployment(*, workers: int, capacity: int | None) -> AsyncIterator[Deployment]:
    """Start everything, and let some requests load the scripts and open the stream."""
    app = App("test")

    @app.function("echo", retries=0)
    async def echo(ctx: Context) -> object:
        return ctx.event.data

    with redis_server() as redis:
        settings = Settings(
            roles=frozenset({Role.GATEWAY, Role.API}),
            listen=ON_LOOPBACK,
            redis=RedisSettings(url=redis.url),
            timing=QUIET,
        )
        async with (
            open_service(settings) as service,
            open_store(settings.redis, QUIET, time.time) as store,
            Executor(store, settings=settings, host="127.0.0.1") as executor,
            trio.open_nursery() as nursery,
        ):
            for _ in range(workers):
                worker = Worker(app, api_url=service.addresses.api or "", max_concurrency=capacity)
                await nursery.start(worker.run)
            deployed = Deployment(service, executor, store)
            for number in range(2 * workers):
                await deployed.execute(f"warm-up-{number}")
            await settle(deployed)
            yield deployed
            nursery.cancel_scope.cancel()


async def settle(deployed: Deployment) -> int:
    """Wait until no round trip has been made for a while, and return how many there were."""
    before = -1
    while (count := await deployed.round_trips()) != before:
        before = count
        await trio.sleep(0.1)
    return count


@pytest.mark.parametrize(("workers", "capacity"), [(1, None), (1, 1), (3, 2)])
async def test_a_request_takes_three_round_trips_of_gateway_and_executor_together(
    workers: int, capacity: int | None
) -> None:
    with trio.fail_after(60):
        async with deployment(workers=workers, capacity=capacity) as deployed:
            before = await deployed.round_trips()
            for number in range(REQUESTS):
                await deployed.execute(f"request-{number}")
            assert await settle(deployed) - before == MAY_COST * REQUESTS


async def test_a_deployment_without_requests_takes_no_round_trips() -> None:
    """Else the test above says nothing."""
    with trio.fail_after(60):
        async with deployment(workers=1, capacity=1) as deployed:
            before = await deployed.round_trips()
            await trio.sleep(1)
            assert await deployed.round_trips() == before
