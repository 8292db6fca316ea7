"""The drain of a whole gateway: at what pace, how far, and taken back."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
import structlog
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked
from ulid import ULID

from connect.errors import Syscode
from connect.nursery.connection import Connection
from connect.protocol.lifecycle import DrainState
from connect.state.records import ConnectionStatus, GatewayStatus
from tests.nursery.draining import (
    another_gateway,
    connection_of,
    forwarding,
    start_request,
    stored_status,
)
from tests.nursery.rig import Kind, Peer, Rig, now, open_rig, with_timing


async def test_an_activated_gateway_takes_connections_again_and_closes_no_more(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        told = await rig.worker()
        rig.nursery.start_soon(told.keep_alive)
        drain = rig.gateway.start_drain()
        await told.expect(Kind.GATEWAY_CLOSING)
        await trio.sleep(1)
        assert await rig.gateway.activate()
        await drain.over.wait()
        [record] = await rig.store.gateways.all()
        assert record.status is GatewayStatus.ACTIVE
        fresh = await rig.worker(instance_id="fresh")
        await start_request(rig, fresh, "r1")
        await trio.sleep(40)
        assert not connection_of(rig, told).ending
        assert await stored_status(rig, told) is ConnectionStatus.DRAINING


async def test_a_gateway_activated_in_the_same_moment_stays_active(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.gateway.start_drain()
        await rig.gateway.activate()
        await trio.sleep(10)
        [record] = await rig.store.gateways.all()
        assert record.status is GatewayStatus.ACTIVE
        assert not connection_of(rig, worker).ending


async def test_a_gateway_activated_in_the_same_moment_goes_on_with_handshakes(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        rig.gateway.start_drain()
        await rig.gateway.activate()
        await trio.sleep(1)
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello()))
        await peer.expect(Kind.GATEWAY_CONNECTION_READY)


async def test_activating_releases_a_forward_to_a_worker_that_was_told(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        results: list[bool] = []
        rig.nursery.start_soon(forwarding(rig, worker, "r1", results))
        await trio.testing.wait_all_tasks_blocked()
        await rig.gateway.activate()
        await trio.testing.wait_all_tasks_blocked()
        assert results == [False]


async def test_activating_a_gateway_that_does_not_drain_changes_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        assert not await rig.gateway.activate()
        assert rig.gateway.drain_progress() is None


async def test_a_gateway_can_be_drained_again_after_it_was_activated(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        await rig.gateway.activate()
        rig.gateway.start_drain()
        await worker.expect(Kind.GATEWAY_CLOSING)
        assert await worker.closed() == (1001, Syscode.GATEWAY_CLOSING)


async def test_a_second_drain_joins_the_first(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.worker()
        first = rig.gateway.start_drain()
        await trio.sleep(2)
        assert rig.gateway.start_drain() is first


async def test_the_progress_of_a_drain_counts_who_is_told_who_left_and_who_was_closed(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.nursery.start_soon(another_gateway, rig)
        leaver, stayer = await rig.worker(), await rig.worker(instance_id="stayer")
        await start_request(rig, stayer, "r1")
        rig.nursery.start_soon(stayer.keep_alive)
        drain = rig.gateway.start_drain()
        await leaver.expect(Kind.GATEWAY_CLOSING)
        await leaver.socket.aclose(1000, "GATEWAY_DRAINING")
        await trio.sleep(5)
        found = drain.progress()
        assert (found.total, found.told, found.left, found.closed, found.open) == (2, 2, 1, 0, 1)
        assert (found.over, found.in_flight) == (False, 1)
        assert found.seconds_left == pytest.approx(25 + 3 * 5 - 5, abs=0.2)
        await drain.over.wait()
        found = drain.progress()
        assert (found.over, found.left, found.closed, found.open) == (True, 2, 1, 0)
        assert found.seconds_left == 0


async def write_nothing(message: str | bytes) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def given_up_drain() -> AsyncIterator[tuple[Rig, Connection, list[str]]]:
    """Drain a gateway until it gives up a connection that a write keeps; collect its log."""
    with structlog.testing.capture_logs() as logs:
        async with open_rig(with_timing(drain=5, cleanup=1, write=20)) as rig:
            connection = connection_of(rig, await rig.worker())
            connection.socket.send_message = write_nothing  # type: ignore[method-assign] # a full pipe
            began = trio.current_time()
            await rig.gateway.drain()
            assert trio.current_time() - began == pytest.approx(5 + 3 * 1, abs=0.1)
            await wait_all_tasks_blocked()
            yield rig, connection, [line["event"] for line in logs]


async def test_a_drain_that_leaves_a_connection_at_its_hard_deadline_is_given_up(
    autojump_clock: MockClock,
) -> None:
    async with given_up_drain() as (rig, _, _):
        progress = rig.gateway.drain_progress()
        assert progress is not None
        assert (progress.state, progress.open) == (DrainState.GIVEN_UP, 1)


async def test_a_drain_that_is_given_up_is_not_logged_as_drained(
    autojump_clock: MockClock,
) -> None:
    async with given_up_drain() as (_, _, logged):
        assert "drain not over in time" in logged
        assert "drained" not in logged


async def test_a_gateway_is_drained_after_all_when_what_was_given_up_is_gone(
    autojump_clock: MockClock,
) -> None:
    async with given_up_drain() as (rig, connection, _):
        await connection.finished.wait()
        progress = rig.gateway.drain_progress()
        assert progress is not None
        assert progress.state is DrainState.DRAINED


@pytest.mark.parametrize(("activated", "word"), [(False, "drained"), (True, "drain called off")])
async def test_the_end_of_a_drain_is_logged_by_what_ended_it(
    activated: bool, word: str, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_rig() as rig:
            await rig.worker()
            drain = rig.gateway.start_drain()
            await trio.sleep(1)
            if activated:
                await rig.gateway.activate()
            await drain.over.wait()
            await wait_all_tasks_blocked()
    logged = {line["event"] for line in logs}
    assert logged & {"drained", "drain called off", "drain not over in time"} == {word}


async def closings(
    workers: int,
    *,
    rate: int,
    seconds: float = 25.0,
    meanwhile: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
) -> tuple[list[float], Rig]:
    """Drain that many workers; return when each was told, from the beginning of the drain."""
    told: list[float] = []
    settings = with_timing(drain=seconds)
    settings = replace(settings, limits=replace(settings.limits, drain_rate=rate))
    async with open_rig(settings) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        peers = [await rig.worker(instance_id=str(ULID())) for _ in range(workers)]
        started = trio.current_time()

        async def leave(peer: Peer) -> None:
            await peer.expect(Kind.GATEWAY_CLOSING)
            told.append(trio.current_time() - started)
            await peer.socket.aclose(1000, "GATEWAY_DRAINING")

        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(leave, peer)
            nursery.start_soon(rig.gateway.drain)
            nursery.start_soon(meanwhile)
        return sorted(told), rig


async def test_workers_are_told_at_the_drain_rate(autojump_clock: MockClock) -> None:
    told, _ = await closings(60, rate=10)
    for second in range(6):
        assert sum(second <= at < second + 1 for at in told) == pytest.approx(10, abs=1)


async def test_the_moments_within_the_rate_are_random(autojump_clock: MockClock) -> None:
    told, _ = await closings(20, rate=10)
    gaps = {round(after - before, 3) for before, after in pairwise(told)}
    assert len(gaps) > 10


async def test_all_workers_are_told_within_half_of_the_drain_however_low_the_rate(
    autojump_clock: MockClock,
) -> None:
    told, _ = await closings(30, rate=1, seconds=10)
    assert told[-1] <= 5
    assert told[-1] > 4


async def test_without_a_rate_all_workers_are_told_at_once(autojump_clock: MockClock) -> None:
    told, _ = await closings(20, rate=0)
    assert told[-1] == pytest.approx(0, abs=0.01)


async def test_a_gateway_that_was_late_tells_no_burst_of_workers(
    autojump_clock: MockClock,
) -> None:
    async def stall() -> None:
        await trio.sleep(1)
        autojump_clock.jump(2)

    told, _ = await closings(60, rate=10, meanwhile=stall)
    assert max(sum(at <= other < at + 1 for other in told) for at in told) <= 12


@asynccontextmanager
async def draining(workers: int, *, seconds: float) -> AsyncIterator[tuple[Rig, list[Peer]]]:
    """Have that many workers that stay, of a gateway that sends away ten a second."""
    settings = with_timing(drain=seconds)
    settings = replace(settings, limits=replace(settings.limits, drain_rate=10))
    async with open_rig(settings) as rig:
        peers = [await rig.worker(instance_id=str(number)) for number in range(workers)]
        for peer in peers:
            rig.nursery.start_soon(peer.keep_alive)
        yield rig, peers


async def test_no_more_workers_are_told_while_too_many_have_nowhere_to_go(
    autojump_clock: MockClock,
) -> None:
    async with draining(40, seconds=200) as (rig, _):
        rig.nursery.start_soon(another_gateway, rig)
        drain = rig.gateway.start_drain()
        await trio.sleep(4)
        # Half of a second's, and what has to be told to be done within half of the time.
        assert 5 <= drain.progress().told <= 7


async def test_workers_are_told_again_once_others_have_left(autojump_clock: MockClock) -> None:
    async with draining(40, seconds=200) as (rig, peers):
        rig.nursery.start_soon(another_gateway, rig)
        drain = rig.gateway.start_drain()
        await trio.sleep(4)
        before = drain.progress().told
        gone = [peer for peer in peers if connection_of(rig, peer).machine.gateway_drains]
        for peer in gone:
            await peer.socket.aclose(1000, "GATEWAY_DRAINING")
        await trio.sleep(1)
        assert drain.progress().told == pytest.approx(before + 5, abs=1)


async def test_workers_that_run_requests_keep_nobody_from_being_told(
    autojump_clock: MockClock,
) -> None:
    async with draining(20, seconds=200) as (rig, peers):
        rig.nursery.start_soon(another_gateway, rig)
        for peer in peers:
            connection_of(rig, peer).touch_in_flight("r1")
        drain = rig.gateway.start_drain()
        await trio.sleep(2.5)
        assert drain.progress().told == 20


async def test_without_another_gateway_nothing_is_waited_for(autojump_clock: MockClock) -> None:
    async with draining(20, seconds=200) as (rig, _):
        drain = rig.gateway.start_drain()
        await trio.sleep(2.5)
        assert drain.progress().told == 20


async def test_workers_that_do_not_leave_are_closed_at_the_drain_rate_too(
    autojump_clock: MockClock,
) -> None:
    settings = with_timing(drain=20.0)
    settings = replace(settings, limits=replace(settings.limits, drain_rate=10))
    async with open_rig(settings) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        workers = [await rig.worker(instance_id=str(number)) for number in range(50)]
        for worker in workers:
            rig.nursery.start_soon(worker.keep_alive)
        started = trio.current_time()
        await rig.gateway.drain()
        ends = [
            closed.transitions[-2].at - (now() - trio.current_time()) - started
            for closed in rig.gateway.closed_connections()
        ]
        for second in range(15, 20):
            assert sum(second <= at < second + 1 for at in ends) == pytest.approx(10, abs=1)


async def test_when_the_other_gateway_dies_idle_connections_are_closed_at_the_drain_rate(
    autojump_clock: MockClock,
) -> None:
    settings = with_timing(drain=30.0)
    settings = replace(settings, limits=replace(settings.limits, drain_rate=10))
    async with open_rig(settings) as rig:
        rig.nursery.start_soon(lambda: another_gateway(rig, until=7))
        workers = [await rig.worker(instance_id=str(number)) for number in range(50)]
        for worker in workers:
            rig.nursery.start_soon(worker.keep_alive)
        started = trio.current_time()
        await rig.gateway.drain()
        ends = [
            closed.transitions[-2].at - (now() - trio.current_time()) - started
            for closed in rig.gateway.closed_connections()
        ]
        first = min(ends)
        assert first == pytest.approx(16, abs=1.5)  # two intervals after its last heartbeat
        for second in range(5):
            part = sum(first + second <= at < first + second + 1 for at in ends)
            assert part == pytest.approx(10, abs=2)
        gaps = {round(after - before, 3) for before, after in pairwise(sorted(ends))}
        assert len(gaps) > 20


async def test_without_a_rate_idle_connections_are_closed_at_once_when_the_other_gateway_dies(
    autojump_clock: MockClock,
) -> None:
    settings = with_timing(drain=60.0)
    settings = replace(settings, limits=replace(settings.limits, drain_rate=0))
    async with open_rig(settings) as rig:
        rig.nursery.start_soon(lambda: another_gateway(rig, until=7))
        workers = [await rig.worker(instance_id=str(number)) for number in range(5)]
        for worker in workers:
            rig.nursery.start_soon(worker.keep_alive)
        await rig.gateway.drain()
        ends = [closed.transitions[-2].at for closed in rig.gateway.closed_connections()]
        assert max(ends) == pytest.approx(min(ends), abs=0.01)


async def test_a_connection_that_gets_busy_before_its_moment_is_not_closed_with_the_idle_ones(
    autojump_clock: MockClock,
) -> None:
    settings = with_timing(drain=60.0)
    settings = replace(settings, limits=replace(settings.limits, drain_rate=1))
    async with open_rig(settings) as rig:
        rig.nursery.start_soon(lambda: another_gateway(rig, until=7))
        workers = [await rig.worker(instance_id=str(number)) for number in range(10)]
        for worker in workers:
            rig.nursery.start_soon(worker.keep_alive)
        rig.gateway.start_drain()
        await trio.sleep(18)
        waiting = [w for w in workers if rig.gateway.table.get(w.connection_id)]
        busy = connection_of(rig, waiting[-1])
        busy.touch_in_flight("r1")
        await trio.sleep(12)
        assert not busy.ending
        busy.forget_in_flight("r1")
        await trio.sleep(2)
        assert busy.ending


async def test_a_worker_that_has_not_been_told_yet_goes_on_taking_requests(
    autojump_clock: MockClock,
) -> None:
    settings = with_timing(drain=20.0)
    settings = replace(settings, limits=replace(settings.limits, drain_rate=1))
    async with open_rig(settings) as rig:
        rig.nursery.start_soon(another_gateway, rig)
        workers = [await rig.worker(instance_id=str(number)) for number in range(10)]
        drain = rig.gateway.start_drain()
        await trio.sleep(2)
        assert drain.progress().told < 5
        waiting = [worker for worker in workers if connection_of(rig, worker).machine.routable]
        await start_request(rig, waiting[-1], "r1")
