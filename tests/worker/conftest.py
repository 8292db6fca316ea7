"""Fixtures: a fake gateway, and workers that are quick."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio

from connect.worker import App, Context, Happening, JournalEntry, Worker, WorkerTiming
from tests.worker.gateway import FakeGateway, Session
from tests.worker.work_rig import MakeRig, WorkRig

QUICK = WorkerTiming(
    open=1.0,
    handshake=0.3,
    write=1.0,
    close=0.2,
    backoff_first=0.01,
    backoff_most=0.02,
    stable=0.0,
    flush_first=0.02,
    flush_most=0.05,
    flush_after=5.0,
)


@pytest.fixture
async def gateway(nursery: trio.Nursery) -> FakeGateway:
    fake: FakeGateway = await nursery.start(FakeGateway().run)
    return fake


class Gate:
    """A function's handler that waits until the test lets it go."""

    def __init__(self) -> None:
        self.entered = trio.Event()
        self.release = trio.Event()
        self.cancelled = False

    async def __call__(self, ctx: Context) -> Any:
        self.entered.set()
        try:
            await self.release.wait()
        except trio.Cancelled:
            self.cancelled = True
            raise
        return ctx.event.data.get("echo")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def app(gate: Gate) -> App:
    """``app-f`` echoes; ``app-gated`` echoes once it is released."""
    app = App("app", version="v7")

    @app.function("f")
    async def echo(ctx: Context) -> Any:
        return ctx.event.data.get("echo")

    app.function("gated")(gate)
    return app


@pytest.fixture
def journal() -> list[JournalEntry]:
    return []


MakeWorker = Callable[..., Worker]


@pytest.fixture
def make_worker(gateway: FakeGateway, app: App, journal: list[JournalEntry]) -> MakeWorker:
    def make(**options: Any) -> Worker:
        settings: dict[str, Any] = {
            "api_url": gateway.api_url,
            "timing": QUICK,
            "journal": journal.append,
        }
        return Worker(options.pop("apps", app), **settings | options)

    return make


async def serve_in(
    nursery: trio.Nursery, gateway: FakeGateway, worker: Worker
) -> tuple[Worker, Session]:
    started: Worker = await nursery.start(worker.run)
    return started, await gateway.session()


def happened(journal: Sequence[JournalEntry], what: Happening) -> list[JournalEntry]:
    return [entry for entry in journal if entry.what == what]


async def until_happened(
    journal: Sequence[JournalEntry], what: Happening, *, within: float = 3.0
) -> JournalEntry:
    with trio.fail_after(within):
        while not (found := happened(journal, what)):
            await trio.sleep(0.005)
    return found[0]


@pytest.fixture
def make_rig(nursery: trio.Nursery) -> MakeRig:
    def make(**options: Any) -> WorkRig:
        return WorkRig(nursery, **options)

    return make
