"""What the tests of runs share: registered apps, and a worker that follows a script."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import trio

from connect.protocol.messages.connect import v1 as pb
from connect.runs import Runner
from connect.settings import Limits, Settings
from connect.state.records import AppRecord
from connect.state.store import FunctionLocation

START = 1_700_000_000.0
# To the type checker, members of the generated enum are plain integers.
DONE: Any = pb.SdkResponseStatus.DONE
ERROR: Any = pb.SdkResponseStatus.ERROR
NOT_COMPLETED: Any = pb.SdkResponseStatus.NOT_COMPLETED

Reply = pb.SdkResponse | Exception
Handler = Callable[[dict[str, Any], pb.GatewayExecutorRequestData], Awaitable[Reply] | Reply]


def now() -> float:
    """Unix seconds by the Trio clock."""
    return START + trio.current_time()


def done(result: object = None, **fields: Any) -> pb.SdkResponse:
    return pb.SdkResponse(status=DONE, body=json.dumps(result).encode(), **fields)


def failed(message: str = "no", **fields: Any) -> pb.SdkResponse:
    body = {"name": "Error", "message": message, "stack": "at line 1"}
    return pb.SdkResponse(status=ERROR, body=json.dumps(body).encode(), **fields)


def ops(*operations: Mapping[str, Any], **fields: Any) -> pb.SdkResponse:
    body = json.dumps(operations).encode()
    return pb.SdkResponse(status=NOT_COMPLETED, body=body, **fields)


def op(name: str, step_id: str, **fields: Any) -> dict[str, Any]:
    return {"op": name, "id": step_id, "name": step_id, **fields}


class Apps:
    """An app store in memory, with one app of the given functions."""

    def __init__(self, *definitions: Mapping[str, Any]) -> None:
        self.app = AppRecord(
            id="app-id", name="shop", sync_id="sync-id", functions=tuple(definitions)
        )

    async def save(self, env_id: str, app: AppRecord) -> None:
        self.app = app

    async def get(self, env_id: str, app_id: str) -> AppRecord | None:
        return self.app if app_id == self.app.id else None

    async def all(self, env_id: str) -> list[AppRecord]:
        await trio.lowlevel.checkpoint()
        return [self.app]

    async def find_function(self, env_id: str, slug: str) -> FunctionLocation | None:
        await trio.lowlevel.checkpoint()
        return FunctionLocation(self.app, slug) if slug in self._slugs() else None

    async def function_slugs(self, env_id: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return self._slugs()

    def _slugs(self) -> list[str]:
        return [definition["id"] for definition in self.app.functions]


def function(slug: str = "shop-pay", *, retries: int | None = None, **fields: Any) -> Any:
    step: dict[str, Any] = {"id": "step", "name": "step"}
    if retries is not None:
        step["retries"] = {"attempts": retries}
    return {"id": slug, "name": slug, "triggers": [], "steps": {"step": step}, **fields}


class Worker:
    """Answers calls: from a list in order, or by a handler; keeps what it was asked."""

    def __init__(self, script: Iterable[Reply] | Handler) -> None:
        self._script = script if callable(script) else iter(script)
        self.requests: list[pb.GatewayExecutorRequestData] = []
        self.payloads: list[dict[str, Any]] = []
        self.times: list[float] = []

    async def execute(self, request: pb.GatewayExecutorRequestData) -> pb.SdkResponse:
        await trio.lowlevel.checkpoint()
        payload = json.loads(request.request_payload)
        self.requests.append(request)
        self.payloads.append(payload)
        self.times.append(trio.current_time())
        if callable(self._script):
            answer = self._script(payload, request)
            reply = answer if isinstance(answer, pb.SdkResponse | Exception) else await answer
        else:
            reply = next(self._script)
        if isinstance(reply, Exception):
            raise reply
        return reply


def make_runner(
    script: Iterable[Reply] | Handler,
    *definitions: Mapping[str, Any],
    limits: Limits | None = None,
) -> tuple[Runner, Worker]:
    """Return a runner over one function, or those given, without jitter."""
    worker = Worker(script)
    runner = Runner(
        Apps(*(definitions or (function(),))),
        worker.execute,
        settings=Settings(limits=limits or Limits()),
        now=now,
        jitter=lambda: 0.0,
    )
    return runner, worker
