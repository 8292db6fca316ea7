"""An executor that ends: what it still answers, what it hands over, what it cleans up."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.errors import ExecutorClosing, StoreUnavailable, Syscode
from connect.rpc.errors import RpcError, RpcStatus, rpc_error
from connect.settings import Timing
from connect.state.store import AcquireOutcome, AlreadyLeased, NoRoute, NoRouteReason
from tests.rpc.fakes import (
    REQUEST_ID,
    Forward,
    Rig,
    acknowledge,
    open_rig,
    refuse,
    request,
    response,
    route,
)

OURS = [(REQUEST_ID, "worker-1")]
DRAIN = Timing().drain


@dataclass
class Caller:
    """Somebody outside the executor's block, who calls it once.

    Attributes:
        told: the body of the reply, or why there is none.
        at: when.
    """

    told: list[bytes | ExecutorClosing] = field(default_factory=list)
    at: float = 0.0

    async def call(self, rig: Rig) -> None:
        try:
            self.told.append((await rig.executor.execute(request())).body)
        except ExecutorClosing as error:
            self.told.append(error)
        self.at = trio.current_time()


@asynccontextmanager
async def called(
    *outcomes: AcquireOutcome,
    forward: Forward = acknowledge,
    timing: Timing | None = None,
) -> AsyncIterator[tuple[Rig, Caller]]:
    """An executor whose block the test's ends a second after it was called."""
    caller = Caller()
    async with (
        trio.open_nursery() as nursery,
        open_rig(*(outcomes or (route(),)), forward=forward, timing=timing) as rig,
    ):
        nursery.start_soon(caller.call, rig)
        await trio.sleep(1)
        yield rig, caller


async def hang(connection_id: str, data: bytes) -> bool:
    await trio.sleep_forever()
    raise AssertionError


async def break_off(connection_id: str, data: bytes) -> bool:
    await trio.lowlevel.checkpoint()
    raise RpcError(RpcStatus.UNKNOWN, "the connection broke")


async def test_a_request_that_ends_within_the_drain_is_answered(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as outside:
        async with called() as (rig, caller):
            outside.start_soon(rig.reply_after, 10)
        assert caller.told == [b"done"]
        assert rig.store.routing.completed == OURS


async def test_the_block_ends_as_soon_as_its_last_request_does(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as outside:
        async with called() as (rig, _):
            outside.start_soon(rig.reply_after, 10)
        assert trio.current_time() == pytest.approx(11)


async def test_a_block_without_requests_ends_at_once(autojump_clock: MockClock) -> None:
    async with open_rig():
        pass
    assert trio.current_time() == 0


async def test_a_request_that_lasts_longer_is_left_to_whoever_asks_next(
    autojump_clock: MockClock,
) -> None:
    async with called() as (rig, caller):
        pass
    [error] = caller.told
    assert isinstance(error, ExecutorClosing)
    assert "ask another one for the same request id" in error.message
    assert caller.at == pytest.approx(1 + DRAIN)
    assert rig.store.routing.completed == []


async def test_how_long_the_end_of_the_block_waits_can_be_set(autojump_clock: MockClock) -> None:
    async with called(timing=Timing(drain=3)) as (_, caller):
        pass
    assert caller.at == pytest.approx(4)


async def test_a_drain_may_be_given_its_own_time(autojump_clock: MockClock) -> None:
    async with called() as (rig, caller):
        await rig.executor.drain(2)
        assert caller.at == pytest.approx(3)
        assert rig.executor.in_progress == 0


async def test_a_draining_executor_takes_no_calls(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        await rig.executor.drain()
        with pytest.raises(ExecutorClosing) as caught:
            await rig.executor.execute(request())
        assert caught.value.code == Syscode.EXECUTOR_CLOSING
        assert caught.value.retry_after > 0
        assert rig.store.routing.acquired == []


async def test_a_draining_executor_takes_no_further_call_for_a_request_in_progress(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as outside, called() as (rig, _):
        outside.start_soon(rig.executor.drain)
        await trio.sleep(1)
        with pytest.raises(ExecutorClosing):
            await rig.executor.execute(request())


async def test_a_call_that_waits_for_a_withdrawn_one_is_refused_by_a_drain(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        rig.store.routing.complete_delay = 3
        first, second = trio.CancelScope(), Caller()

        async def withdrawn() -> None:
            with first:
                await rig.executor.execute(request())

        nursery.start_soon(withdrawn)
        await trio.sleep(1)
        first.cancel()
        await trio.sleep(1)
        nursery.start_soon(second.call, rig)
        await trio.sleep(1)
        await rig.executor.drain()
        await trio.sleep(1)
        assert isinstance(second.told[0], ExecutorClosing)
        assert len(rig.store.routing.acquired) == 1


def test_over_grpc_the_refusal_says_to_try_another_one() -> None:
    error = rpc_error(ExecutorClosing("bye"))
    assert error.status is RpcStatus.UNAVAILABLE
    assert error.message.startswith("connect_executor_closing")
    assert error.retry_after is not None


async def test_two_drains_at_once_end_with_the_last_request(autojump_clock: MockClock) -> None:
    ended: list[float] = []
    async with trio.open_nursery() as outside, called() as (rig, _):

        async def drain() -> None:
            await rig.executor.drain(1000)
            ended.append(trio.current_time())

        outside.start_soon(drain)
        outside.start_soon(drain)
        await rig.reply_after(10)
        await trio.sleep(1)
        assert ended == [pytest.approx(11), pytest.approx(11)]


async def test_an_executor_can_be_opened_again(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        pass
    async with rig.executor, trio.open_nursery() as nursery:
        nursery.start_soon(rig.reply_after, 1)
        assert (await rig.executor.execute(request())).body == b"done"


async def test_a_drain_that_is_cancelled_hands_nothing_over(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as outside, called() as (rig, caller):
        with trio.move_on_after(2):
            await rig.executor.drain()
        assert (caller.told, rig.executor.in_progress) == ([], 1)
        outside.start_soon(rig.reply_after, 1)


@pytest.mark.parametrize("forward", [hang, break_off])
async def test_a_forward_in_doubt_is_left_to_whoever_asks_next(
    forward: Forward, autojump_clock: MockClock
) -> None:
    async with called(forward=forward) as (rig, caller):
        await rig.executor.drain(1)
        assert isinstance(caller.told[0], ExecutorClosing)
        assert rig.store.routing.completed == []


async def test_a_refusal_after_a_forward_in_doubt_changes_nothing_of_it(
    autojump_clock: MockClock,
) -> None:
    async def doubtful_then_refused(connection_id: str, data: bytes) -> bool:
        return await (break_off if connection_id == "conn-1" else refuse)(connection_id, data)

    outcomes = route(1), route(2), NoRoute(NoRouteReason.ONLY_DRAINING)
    async with called(*outcomes, forward=doubtful_then_refused) as (rig, caller):
        await trio.sleep(27)  # the first lease and its grace
        assert len(rig.forwarded) == 2
        await rig.executor.drain(0)
        assert isinstance(caller.told[0], ExecutorClosing)
        assert rig.store.routing.completed == []


async def test_a_request_that_no_worker_got_is_cleaned_up(autojump_clock: MockClock) -> None:
    outcomes = route(), NoRoute(NoRouteReason.ONLY_DRAINING)
    async with called(*outcomes, forward=refuse) as (rig, caller):
        await rig.executor.drain(1)
        assert isinstance(caller.told[0], ExecutorClosing)
        assert rig.store.routing.completed == OURS


async def test_a_request_that_is_being_routed_is_cleaned_up(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as outside, open_rig(route()) as rig:
        rig.store.routing.delay = 2
        caller = Caller()
        outside.start_soon(caller.call, rig)
        await trio.sleep(1)
        await rig.executor.drain(0)
        assert isinstance(caller.told[0], ExecutorClosing)
        assert (rig.store.routing.completed, rig.forwarded) == (OURS, [])


async def test_a_request_that_another_executor_leased_is_left_alone(
    autojump_clock: MockClock,
) -> None:
    async with called(AlreadyLeased("lease-x")) as (rig, caller):
        await rig.executor.drain(1)
        assert isinstance(caller.told[0], ExecutorClosing)
        assert rig.store.routing.completed == []


async def test_a_reply_after_the_hand_over_is_refused_so_that_it_stays_buffered(
    autojump_clock: MockClock,
) -> None:
    async with called() as (rig, _):
        await rig.executor.drain(0)
        assert not rig.executor.deliver(REQUEST_ID, response())


async def test_a_reply_at_the_last_moment_is_the_answer(autojump_clock: MockClock) -> None:
    async with called(forward=hang) as (rig, caller):
        assert rig.executor.deliver(REQUEST_ID, response(body=b"just so"))
        await rig.executor.drain(0)
        assert caller.told == [b"just so"]
        assert rig.store.routing.completed == OURS


async def test_a_call_that_is_withdrawn_while_the_executor_drains_is_cleaned_up(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as outside, open_rig(route()) as rig:
        outside.start_soon(_give_up_after, 2, rig.executor.execute)
        await trio.sleep(1)
        await rig.executor.drain()
        assert trio.current_time() == pytest.approx(2)
        assert rig.store.routing.completed == OURS


async def _give_up_after(seconds: float, execute: Callable[..., Awaitable[object]]) -> None:
    with trio.move_on_after(seconds):
        await execute(request())


async def test_a_withdrawal_that_is_under_way_is_finished_by_the_drain(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as outside, open_rig(route()) as rig:
        rig.store.routing.complete_delay = 2
        outside.start_soon(_give_up_after, 1, rig.executor.execute)
        await trio.sleep(2)
        await rig.executor.drain(0)
        assert rig.store.routing.completed == OURS


async def test_a_block_that_is_cancelled_hands_over_at_once(autojump_clock: MockClock) -> None:
    caller = Caller()
    async with trio.open_nursery() as outside:
        with trio.move_on_after(2):
            async with open_rig(route()) as rig:
                outside.start_soon(caller.call, rig)
                await trio.sleep_forever()
    assert isinstance(caller.told[0], ExecutorClosing)
    assert caller.at == pytest.approx(2)
    assert rig.store.routing.completed == []


async def test_calls_that_are_cancelled_with_the_whole_executor_are_handed_over(
    autojump_clock: MockClock,
) -> None:
    with trio.move_on_after(2):
        async with open_rig(route()) as rig:
            await rig.executor.execute(request())
    assert rig.store.routing.completed == []


async def test_a_wait_at_the_end_of_the_block_can_be_cancelled(autojump_clock: MockClock) -> None:
    caller = Caller()
    async with trio.open_nursery() as outside:
        with trio.move_on_after(3):
            async with open_rig(route()) as rig:
                outside.start_soon(caller.call, rig)
                await trio.sleep(1)
    assert isinstance(caller.told[0], ExecutorClosing)
    assert caller.at == pytest.approx(3)


async def test_an_exception_of_the_block_does_not_wait(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(ZeroDivisionError):
        async with called() as (rig, caller):
            raise ZeroDivisionError
    assert caller.at == pytest.approx(1)
    assert rig.store.routing.completed == []


async def test_a_hand_over_is_logged_with_its_requests(autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with called():
            pass
    assert {"event": "handing requests over", "count": 1, "log_level": "info"} in logs
    assert any(entry.get("request_id") == REQUEST_ID for entry in logs)


async def test_a_completion_that_fails_does_not_delay_the_end(autojump_clock: MockClock) -> None:
    outcomes = route(), NoRoute(NoRouteReason.ONLY_DRAINING)
    async with called(*outcomes, forward=refuse) as (rig, caller):
        rig.store.routing.complete_error = StoreUnavailable("gone")
        await rig.executor.drain(0)
        assert isinstance(caller.told[0], ExecutorClosing)
        assert trio.current_time() == pytest.approx(1)
