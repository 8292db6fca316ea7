"""The HTTP API as one ASGI application."""

import time
from collections.abc import Callable, Sequence

import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from connect.api.functions import FunctionReads
from connect.api.health import Health, Ready
from connect.api.http import EXCEPTION_HANDLERS, Access, BodyDiscard, ErrorBoundary
from connect.api.reads import Reads
from connect.api.run_api import RunApi
from connect.api.worker_api import ReplySender, WorkerApi
from connect.config.defined import DefinedFunctions
from connect.metrics import Metrics
from connect.protocol.tokens import SessionTokens, SigningKeys
from connect.runs import Runner, TriggeredRuns
from connect.settings import Settings
from connect.state.store import StateStore

__all__ = ["create_api"]


def create_api(
    store: StateStore,
    *,
    settings: Settings,
    keys: SigningKeys,
    tokens: SessionTokens,
    replies: ReplySender,
    metrics: Metrics,
    runner: Runner,
    nursery: trio.Nursery,
    max_runs: int = 1000,
    event_keys: Sequence[str] = (),
    ready: Ready = lambda: None,
    defined: Callable[[], DefinedFunctions] = DefinedFunctions,
    now: Callable[[], float] = time.time,
) -> Starlette:
    """Return the worker API, the reads, and the endpoints that run functions.

    Args:
        keys: signing keys; when there are any, all but the health endpoints need one.
        tokens: issue the session tokens that the gateways verify.
        replies: pushes flushed replies to executors, within bounds of its own.
        metrics: where refused workers are counted.
        runner: runs functions to their end.
        nursery: where runs live that an event started, and pushes of flushed replies.
        max_runs: how many of those may be in progress.
        event_keys: the keys that ``POST /e/{key}`` takes; see `RunApi`.
        ready: says why the service is not ready, or None.
        defined: returns the function definitions that are loaded.
        now: the current time, in unix seconds.
    """
    env_id = settings.tenant.env_id
    access = Access(keys)
    worker = WorkerApi(
        store,
        settings=settings,
        access=access,
        tokens=tokens,
        replies=replies,
        metrics=metrics,
        nursery=nursery,
        now=now,
    )
    reads = Reads(store, env_id=env_id, access=access, defined=defined)
    functions = FunctionReads(store.apps, env_id=env_id, access=access, defined=defined, now=now)
    triggered = TriggeredRuns(runner, store.apps, env_id=env_id, nursery=nursery, limit=max_runs)
    runs = RunApi(
        runner, triggered, settings=settings, access=access, event_keys=event_keys, now=now
    )
    health = Health(store.ping, ready)
    app = Starlette(
        routes=[
            Route("/v0/connect/start", worker.start, methods=["POST"]),
            Route("/v0/connect/flush", worker.flush, methods=["POST"]),
            Route("/v0/connect/envs/{env}/conns", reads.connections, methods=["GET"]),
            Route("/v0/connect/envs/{env}/groups/{hash}", reads.group, methods=["GET"]),
            Route("/v0/connect/envs/{env}/apps", reads.apps, methods=["GET"]),
            Route("/v0/functions", functions.all, methods=["GET"]),
            Route("/v0/functions/{id:path}", functions.one, methods=["GET"]),
            Route("/v0/invoke", runs.invoke, methods=["POST"]),
            Route("/e/{key}", runs.publish, methods=["POST"]),
            Route("/health", health.alive, methods=["GET"]),
            Route("/ready", health.ready, methods=["GET"]),
        ],
        middleware=[
            Middleware(BodyDiscard, most=settings.limits.message_bytes),
            Middleware(ErrorBoundary),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    app.router.redirect_slashes = False
    return app
