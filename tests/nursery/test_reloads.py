"""Settings that change with a reload change for connections that are open already."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.config.defined import DefinedFunctions
from connect.metrics import Metrics
from connect.nursery.connection import Connection
from connect.protocol.lifecycle import DisconnectReason
from connect.reloading import Given, Reloadable
from connect.settings import Settings
from tests.nursery.draining import connection_of
from tests.nursery.rig import Peer, Rig, now, open_rig, request_bytes, with_limits, with_timing


@asynccontextmanager
async def reloaded(settings: Settings) -> AsyncIterator[tuple[Rig, Peer, Connection]]:
    """Open a connection of which the settings are given anew then."""
    reloadable = Reloadable(
        Settings(),
        DefinedFunctions(),
        swap_keys=lambda new: None,
        metrics=Metrics(),
        log=structlog.get_logger(),
        now=now,
    )
    async with open_rig(reloadable.settings) as rig:
        worker = await rig.worker()
        reloadable._apply(Given(settings, DefinedFunctions()))  # what was read, without a thread
        yield rig, worker, connection_of(rig, worker)


async def forwards(rig: Rig, worker: Peer, count: int) -> list[float]:
    """Forward requests to a worker that does not read; return after how long they failed."""
    socket = connection_of(rig, worker).socket
    failed: list[float] = []

    async def stuck(message: str | bytes) -> None:
        await trio.sleep_forever()

    async def forward(request_id: str) -> None:
        started = trio.current_time()
        await rig.gateway.forward(worker.connection_id, request_id, request_bytes(request_id))
        failed.append(trio.current_time() - started)

    socket.send_message = stuck  # type: ignore[method-assign] # a full pipe
    for number in range(count):
        rig.nursery.start_soon(forward, f"r{number}")
        await wait_all_tasks_blocked()
    return failed


async def test_the_write_deadline_counts_for_the_next_write(autojump_clock: MockClock) -> None:
    async with reloaded(with_timing(write=1)) as (rig, worker, connection):
        started = trio.current_time()
        await forwards(rig, worker, 1)
        await connection.finished.wait()
        assert connection.disconnect is not None
        assert connection.disconnect.reason is DisconnectReason.WRITE_STALLED
        assert trio.current_time() - started == pytest.approx(1)


async def test_half_the_write_deadline_is_when_requests_are_refused(
    autojump_clock: MockClock,
) -> None:
    async with reloaded(with_timing(write=1)) as (rig, worker, connection):
        await forwards(rig, worker, 1)
        await trio.sleep(0.5)
        assert connection.outbox.stalled


@pytest.mark.parametrize("name", ["outbox_messages", "outbox_bytes"])
async def test_the_bounds_of_what_waits_for_a_worker_count_at_once(
    name: str, autojump_clock: MockClock
) -> None:
    async with reloaded(with_limits(**{name: 1})) as (rig, worker, _):
        assert await forwards(rig, worker, 3) == [0.0]  # one is being written, and one waits


@pytest.mark.parametrize("name", ["store_tasks_per_connection", "store_bytes_per_connection"])
async def test_the_bounds_of_what_a_worker_has_stored_count_at_once(
    name: str, autojump_clock: MockClock
) -> None:
    async with reloaded(with_limits(**{name: 1})) as (rig, worker, connection):
        rig.outages.delay = 1
        await worker.reply("r1")
        await wait_all_tasks_blocked()
        assert connection.store_slots.full


async def test_the_heartbeats_that_may_be_missed_count_when_the_watchdog_looks_next(
    autojump_clock: MockClock,
) -> None:
    settings = with_timing()
    more = replace(settings, timing=replace(settings.timing, heartbeat_misses=8))
    async with reloaded(more) as (_, worker, _connection):
        started = trio.current_time()
        await worker.closed()
        assert trio.current_time() - started == pytest.approx(80, abs=0.1)
