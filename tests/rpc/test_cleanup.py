"""Cleaning up after requests while the store comes and goes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
import structlog
import trio
from trio.testing import MockClock

from connect.errors import StoreUnavailable
from connect.rpc import cleanup as module
from connect.rpc.cleanup import Cleanup, Completion
from connect.settings import Timing
from connect.state.commands import CommandError
from connect.state.store import LeaseIsLive
from tests.rpc.fakes import ENV, FakeRouting

DOWN = StoreUnavailable("down")
OURS = Completion(
    env_id=ENV, request_id="01REQUEST", instance_id="worker-1", executor=("executor-1", 9999)
)


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Cleanup, FakeRouting]]:
    routing = FakeRouting()
    cleanup = Cleanup(routing, Timing())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cleanup.run)
        yield cleanup, routing
        nursery.cancel_scope.cancel()


async def test_what_the_store_takes_at_once_is_done_once(autojump_clock: MockClock) -> None:
    async with running() as (cleanup, routing):
        await cleanup.complete(OURS)
        await trio.sleep(60)
        assert routing.completed == [("01REQUEST", "worker-1")]


@pytest.mark.parametrize("error", [DOWN, CommandError("ERR upstream failure")])
async def test_what_the_store_does_not_take_is_done_when_it_does(
    error: StoreUnavailable, autojump_clock: MockClock
) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = error
        await cleanup.complete(OURS)
        await trio.sleep(60)
        routing.complete_error = None
        await trio.sleep(5.1)
        assert routing.completed == [("01REQUEST", "worker-1")]


async def test_a_broken_connection_costs_a_moment(autojump_clock: MockClock) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(OURS)
        routing.complete_error = None
        await trio.sleep(0.3)
        assert routing.completed == [("01REQUEST", "worker-1")]


async def test_a_store_that_stays_away_is_asked_less_and_less_often(
    autojump_clock: MockClock,
) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(OURS)
        await trio.sleep(60)
        tried = routing.completions_tried[1:]
        gaps = [later - earlier for earlier, later in pairwise(tried)]
        assert gaps[:5] == pytest.approx([0.25, 0.5, 1, 2, 4])
        assert gaps[5:] == pytest.approx([5] * len(gaps[5:]))


async def test_it_waits_for_the_store_as_long_as_cleanup_may_take(
    autojump_clock: MockClock,
) -> None:
    async with running() as (cleanup, routing):
        routing.complete_delay = 100
        await cleanup.complete(OURS)
        assert trio.current_time() == pytest.approx(Timing().cleanup)


async def test_one_that_fails_does_not_hold_the_others_up(autojump_clock: MockClock) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(OURS)
        await cleanup.complete(replace(OURS, request_id="01SECOND"))
        routing.complete_errors["01REQUEST"] = CommandError("WRONGTYPE")
        routing.complete_error = None
        await trio.sleep(2)
        assert routing.completed == [("01SECOND", "worker-1")]


async def test_what_has_run_out_of_itself_is_given_up(autojump_clock: MockClock) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(OURS)
        await trio.sleep(Timing().request_worker + 5.1)
        assert len(cleanup) == 0


async def test_no_more_is_kept_than_the_limit(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_LEFT", 1)
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(OURS)
        with structlog.testing.capture_logs() as logs:
            await cleanup.complete(replace(OURS, request_id="01SECOND"))
        assert len(cleanup) == 1
        assert [entry["event"] for entry in logs] == ["request not cleaned up"]


async def test_what_may_be_anothers_by_then_is_not_repeated(autojump_clock: MockClock) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(replace(OURS, executor=None))
        assert len(cleanup) == 0


async def test_a_request_that_begins_anew_is_cleaned_up_before(autojump_clock: MockClock) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(OURS)
        await trio.sleep(30)
        routing.complete_error = None
        await cleanup.settle(ENV, "01REQUEST")
        await trio.sleep(30)
        assert routing.completed == [("01REQUEST", "worker-1")]


async def test_a_request_that_cannot_be_cleaned_up_does_not_begin_anew(
    autojump_clock: MockClock,
) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(OURS)
        with pytest.raises(StoreUnavailable, match="not cleaned up yet: down"):
            await cleanup.settle(ENV, "01REQUEST")
        assert len(cleanup) == 1


async def test_a_request_begins_anew_once_an_attempt_under_way_is_over(
    autojump_clock: MockClock,
) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(OURS)
        routing.complete_error, routing.complete_delay = None, 3
        await trio.sleep(1)
        await cleanup.settle(ENV, "01REQUEST")
        assert trio.current_time() >= 3
        assert routing.completed == [("01REQUEST", "worker-1")]


async def test_a_request_begins_anew_though_it_is_given_up_meanwhile(
    autojump_clock: MockClock,
) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(OURS)
        await trio.sleep(Timing().request_worker - 1)
        # The next attempt in the background comes amid this one, and too late.
        routing.complete_error, routing.complete_delay = None, 4.5
        await cleanup.settle(ENV, "01REQUEST")
        assert routing.completed == [("01REQUEST", "worker-1")]
        assert len(cleanup) == 0


async def test_another_request_begins_at_once(autojump_clock: MockClock) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = DOWN
        await cleanup.complete(OURS)
        await cleanup.settle(ENV, "01SECOND")


async def test_the_end_does_what_is_left_though_cancelled(autojump_clock: MockClock) -> None:
    routing = FakeRouting(complete_error=DOWN)
    cleanup = Cleanup(routing, Timing())
    await cleanup.complete(OURS)
    routing.complete_error = None
    with trio.CancelScope() as scope:
        scope.cancel()
        await cleanup.finish()
    assert routing.completed == [("01REQUEST", "worker-1")]


async def test_the_end_waits_no_longer_than_cleanup_may_take(autojump_clock: MockClock) -> None:
    routing = FakeRouting(complete_error=DOWN)
    cleanup = Cleanup(routing, Timing())
    await cleanup.complete(OURS)
    with structlog.testing.capture_logs() as logs:
        await cleanup.finish()
    assert trio.current_time() == pytest.approx(Timing().cleanup)
    assert [entry["event"] for entry in logs] == ["request not cleaned up"]


async def test_a_lease_that_was_taken_over_is_waited_for(autojump_clock: MockClock) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = LeaseIsLive("not over yet")
        await cleanup.complete(OURS)
        await trio.sleep(20)
        assert len(cleanup) == 1
        routing.complete_error = None
        await trio.sleep(5.1)
        assert len(cleanup) == 0


async def test_a_request_that_begins_anew_waits_for_no_lease_that_it_can_take_over(
    autojump_clock: MockClock,
) -> None:
    async with running() as (cleanup, routing):
        routing.complete_error = LeaseIsLive("not over yet")
        await cleanup.complete(OURS)
        await cleanup.settle(ENV, "01REQUEST")
        assert len(cleanup) == 0
