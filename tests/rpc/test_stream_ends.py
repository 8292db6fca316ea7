"""How streams end, and what there is instead of them."""

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.rpc.bridge import open_bridge
from connect.rpc.errors import RpcStatus
from tests.rpc.loopback import until
from tests.rpc.stream_rig import (
    EXECUTOR,
    Worker,
    failure,
    open_both,
    open_executor_side,
    open_gateway,
    response,
    wait_forever,
)


async def test_a_broken_stream_fails_the_forwards_in_progress_as_unavailable() -> None:
    async with open_both(Worker(wait_forever), grace=0) as (gateway, executor):
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                assert (await failure(executor, gateway)).status is RpcStatus.UNAVAILABLE

            nursery.start_soon(call)
            nursery.start_soon(call)
            await wait_all_tasks_blocked(0.01)
            gateway.stop.cancel()
        assert not executor.has_stream(gateway)


async def test_a_reply_on_a_stream_that_breaks_goes_as_a_call() -> None:
    async with open_both() as (gateway, executor), trio.open_nursery() as nursery:

        def leave(request_id: str, response: bytes) -> bool:
            executor.streams.keep_only(())
            return True

        executor.replies.deliver = leave  # type: ignore[method-assign] # instead of a subclass
        nursery.start_soon(gateway.executors.reply, *EXECUTOR, response())
        await until(lambda: gateway.fallback.pushed)
        assert len(gateway.executors) == 0


async def test_an_executor_that_ends_withdraws_its_forwards() -> None:
    worker = Worker()
    async with open_bridge() as bridge, open_gateway(bridge, worker) as gateway:
        async with open_executor_side(bridge) as executor, trio.open_nursery() as nursery:
            await executor.connect(gateway)
            worker.act = wait_forever
            nursery.start_soon(executor.forward, gateway)
            await until(lambda: len(worker.forwarded) == 2)
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await worker.cancelled.wait()
        await until(lambda: len(gateway.executors) == 0)


async def test_a_gateway_that_stops_finishes_its_forwards_and_takes_no_more() -> None:
    proceed = trio.Event()

    async def act(connection_id: str, data: bytes) -> bool:
        await proceed.wait()
        return True

    worker = Worker(act)
    async with open_both(worker, grace=60) as (gateway, executor):
        outcomes: list[bool] = []

        async def call() -> None:
            outcomes.append(await executor.forward(gateway))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await until(lambda: worker.forwarded)
            gateway.stop.cancel()
            await wait_all_tasks_blocked(0.01)
            assert (await failure(executor, gateway)).message == "the gateway is closing"
            proceed.set()
        assert outcomes == [True]
        with trio.fail_after(5):
            await gateway.stopped.wait()


async def test_after_a_gateways_restart_there_is_a_stream_again(patient_clock: MockClock) -> None:
    async with open_bridge() as bridge, open_executor_side(bridge) as executor:
        async with AsyncExitStack() as first:
            gateway = await first.enter_async_context(open_gateway(bridge, Worker()))
            await executor.connect(gateway)
        await until(lambda: not executor.has_stream(gateway))
        assert (await failure(executor, gateway)).status is RpcStatus.UNAVAILABLE
        async with open_gateway(bridge, Worker(), port=gateway.address[1]) as again:
            await trio.sleep(20)
            await executor.connect(again)
            assert await executor.forward(again)


async def test_a_gateway_that_is_no_longer_known_loses_its_stream() -> None:
    async with open_both() as (gateway, executor):
        executor.streams.keep_only({gateway.address})
        assert executor.has_stream(gateway)
        executor.streams.keep_only(())
        await until(lambda: len(gateway.executors) == 0)
        assert len(executor.streams) == 0


async def test_a_stream_with_forwards_in_progress_is_kept_until_they_are_done() -> None:
    async with open_both(Worker(wait_forever)) as (gateway, executor):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executor.forward, gateway)
            await wait_all_tasks_blocked(0.01)
            executor.streams.keep_only(())
            assert executor.has_stream(gateway)
            nursery.cancel_scope.cancel()
        executor.streams.keep_only(())
        assert not executor.has_stream(gateway)


async def test_a_gateway_that_does_not_know_streams_gets_calls(patient_clock: MockClock) -> None:
    worker = Worker()
    async with (
        open_bridge() as bridge,
        open_gateway(bridge, worker, streams=False) as gateway,
        open_executor_side(bridge) as executor,
    ):
        for _ in range(3):
            assert await executor.forward(gateway)
            await wait_all_tasks_blocked(0.01)
        known = executor.streams._gateways[gateway.address]
        assert len(worker.forwarded) == 3
        assert known.failures == 1


async def test_a_gateway_that_did_not_know_streams_is_asked_again_after_a_while(
    patient_clock: MockClock,
) -> None:
    async with open_bridge() as bridge, open_executor_side(bridge) as executor:
        async with open_gateway(bridge, Worker(), streams=False) as old:
            await executor.forward(old)
            await until(lambda: executor.streams._gateways[old.address].failures == 1)
        async with open_gateway(bridge, Worker(), port=old.address[1]) as new:
            await trio.sleep(30)
            await executor.forward(new)
            await wait_all_tasks_blocked(0.01)
            assert not executor.has_stream(new)
            await trio.sleep(31)
            await executor.connect(new)


async def test_more_gateways_than_streams_get_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connect.rpc.forward_streams._MAX_STREAMS", 0)
    async with (
        open_bridge() as bridge,
        open_gateway(bridge, Worker()) as gateway,
        open_executor_side(bridge) as executor,
    ):
        assert await executor.forward(gateway)
        await wait_all_tasks_blocked(0.01)
        assert len(executor.streams) == 0
