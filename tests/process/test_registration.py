"""Workers of a service that registers their apps at an API of somebody else's."""

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connect.api import bind, serve_http
from connect.harness import RunningService, start_process, start_service
from connect.protocol.tokens import hash_signing_key
from connect.settings import DEVELOPMENT_ENV_ID

pytestmark = pytest.mark.process

KEY = "signkey-test-0123456789abcdef"
APP_ID = "11111111-1111-4111-8111-111111111111"
OK = {
    "ok": True,
    "modified": True,
    "app_id": APP_ID,
    "sync_id": "22222222-2222-4222-8222-222222222222",
}
# None is an answer without a body.
Answer = tuple[int, Mapping[str, object] | None]


@dataclass
class Api:
    url: str
    bodies: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)


@asynccontextmanager
async def registration_api(answers: Sequence[Answer]) -> AsyncIterator[Api]:
    """Serve an API that gives these answers in their order, the last one for ever."""
    bound = bind("127.0.0.1", 0, "a test")
    api = Api("http://{}:{}".format(*bound.getsockname()))

    async def register(request: Request) -> Response:
        status, answer = answers[min(len(api.bodies), len(answers) - 1)]
        api.bodies.append(json.loads(await request.body()))
        api.tokens.append(request.headers["authorization"])
        return Response(status_code=status) if answer is None else JSONResponse(answer, status)

    app = Starlette(routes=[Route("/fn/register", register, methods=["POST"])])
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_http, app, bound)
        yield api
        nursery.cancel_scope.cancel()


def worker_command(service: RunningService) -> list[str]:
    where = f"--url={service.addresses['api']}"
    app = "tests.process.programs.apps:app"
    return [sys.executable, "-m", "connect", "worker", app, where, f"--signing-key={KEY}"]


async def test_an_app_that_an_api_registers_serves_requests() -> None:
    answers: list[Answer] = [(409, {"code": "sync_already_pending"}), (200, None), (200, OK)]
    async with (
        registration_api(answers) as api,
        start_service(f"--register-url={api.url}", f"--signing-key={KEY}") as service,
        start_process(worker_command(service)),
        httpx.AsyncClient(
            base_url=service.addresses["api"],
            headers={"authorization": f"Bearer {hash_signing_key(KEY)}"},
            timeout=30,
        ) as client,
    ):
        await service.wait_for_output("worker connected")
        run = await client.post("/v0/invoke", json={"function": "test-echo", "data": {"n": 1}})
        apps = await client.get(f"/v0/connect/envs/{DEVELOPMENT_ENV_ID}/apps")
    assert run.json()["result"] == {"n": 1}
    assert APP_ID in apps.text
    assert api.tokens == [f"Bearer {hash_signing_key(KEY)}"] * 3
    assert [body["appName"] for body in api.bodies] == ["test"] * 3


async def test_a_worker_whose_app_the_api_refuses_says_why() -> None:
    refusal = {"code": "plan_upgrade_required", "message": "this plan has no room for the app"}
    async with (
        registration_api([(400, refusal)]) as api,
        start_service(f"--register-url={api.url}", f"--signing-key={KEY}") as service,
        start_process(worker_command(service)) as worker,
    ):
        with trio.fail_after(30):
            assert await worker.wait() != 0
        assert "this plan has no room for the app (plan_upgrade_required)" in worker.output
