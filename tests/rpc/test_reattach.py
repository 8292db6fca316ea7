"""A request whose executor died, or ended, is asked for again, by its id, from another one.

What a dead executor leaves behind is made by hand: a request that is leased to it, and on
its way or with a worker. The gateway, the store and the worker's socket are real.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.errors import ExecutorClosing, Syscode, SyscodeError
from connect.protocol.envelope import read_request, read_response
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import Executor
from connect.rpc.bridge import Bridge
from connect.settings import Settings
from connect.state.store import Acquired
from tests.nursery.rig import ENV, Kind, Peer, Rig, now, open_rig
from tests.nursery.test_durable_replies import acks, assigned, complete, forwarded, keys
from tests.rpc.fakes import FakeBridge

DEAD = ("10.0.0.1", 7000)


class Executors:
    """The executors of a deployment, and the way of replies to them."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.forwarded = 0
        self.alive: dict[tuple[str, int], Executor] = {}
        rig.pushes.reply = self.reply  # type: ignore[method-assign] # delivers to executors

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        executor = self.alive.get((host, port))
        request_id = read_response(response).request_id
        return executor is not None and executor.deliver(request_id, response)

    async def forward(self, connection_id: str, request: bytes) -> bool:
        self.forwarded += 1
        fields = read_request(request)
        return await self.rig.gateway.forward(
            connection_id, fields.request_id, request, vouched=fields.lease_id
        )

    @asynccontextmanager
    async def open(self, host: str = "executor-2") -> AsyncIterator[Executor]:
        async with Executor(
            self.rig.store,
            settings=Settings(),
            now=now,
            bridge=cast(Bridge, FakeBridge(self.forward)),
            host="127.0.0.1",
            port=0,
            advertise_host=host,
        ) as executor:
            self.alive[executor.address] = executor
            yield executor
            del self.alive[executor.address]

    async def request(self) -> pb.GatewayExecutorRequestData:
        [app] = await self.rig.store.apps.all(ENV)
        return pb.GatewayExecutorRequestData(
            request_id="r1", env_id=ENV, app_id=app.id, function_slug="my-app-hello"
        )


@asynccontextmanager
async def orphaned(limit: int | None) -> AsyncIterator[tuple[Executors, Peer, Acquired]]:
    """A worker that runs a request, and an executor that died after it had forwarded it."""
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=limit)
        rig.nursery.start_soon(worker.keep_alive)
        route = await assigned(rig)
        await forwarded(rig, worker)
        yield Executors(rig), worker, route


LIMITS = pytest.mark.parametrize("limit", [None, 1])


@LIMITS
async def test_a_request_that_still_runs_is_awaited_and_not_sent_again(
    limit: int | None, autojump_clock: MockClock
) -> None:
    async with orphaned(limit) as (executors, worker, _), executors.open() as executor:
        results = []

        async def execute() -> None:
            results.append((await executor.execute(await executors.request())).body)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await wait_all_tasks_blocked()
            await worker.reply("r1", b'"done"')
        assert (results, executors.forwarded) == ([b'"done"'], 0)
        assert await acks(worker) == ["r1"]


@LIMITS
async def test_its_reply_is_pushed_to_the_new_executor(
    limit: int | None, autojump_clock: MockClock
) -> None:
    async with orphaned(limit) as (executors, worker, _), executors.open() as executor:
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executor.execute, await executors.request())
            await wait_all_tasks_blocked()
            await worker.reply("r1")
        assert trio.current_time() - started < 0.1  # a poll would have taken two seconds


@LIMITS
async def test_a_reply_that_came_meanwhile_is_returned_at_once(
    limit: int | None, autojump_clock: MockClock
) -> None:
    async with orphaned(limit) as (executors, worker, _):
        await worker.reply("r1", b'"kept"')
        assert await acks(worker) == ["r1"]
        started = trio.current_time()
        async with executors.open() as executor:
            response = await executor.execute(await executors.request())
        assert (response.body, executors.forwarded) == (b'"kept"', 0)
        assert trio.current_time() - started < 0.1


@LIMITS
@pytest.mark.parametrize("before", [True, False])
async def test_nothing_is_left_of_a_request_that_was_taken_over(
    before: bool, limit: int | None, autojump_clock: MockClock
) -> None:
    async with orphaned(limit) as (executors, worker, _), executors.open() as executor:
        if before:
            await worker.reply("r1")
            await acks(worker)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executor.execute, await executors.request())
            await wait_all_tasks_blocked()
            if not before:
                await worker.reply("r1")
        store = executors.rig.store
        assert await store.capacity.load(ENV, "worker-1") == 0
        left = {name for name in await keys(executors.rig) if ":ix:" not in name}
        assert left == set()


async def test_a_worker_that_goes_on_extending_is_awaited_for_long(
    autojump_clock: MockClock,
) -> None:
    async with orphaned(1) as (executors, worker, route), executors.open() as executor:
        results = []

        async def execute() -> None:
            results.append((await executor.execute(await executors.request())).body)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            lease_id = route.lease_id
            for _ in range(20):
                await trio.sleep(5)
                lease_id = await extended(worker, lease_id)
            await worker.reply("r1", b'"at last"')
        assert results == [b'"at last"']


async def extended(worker: Peer, lease_id: str) -> str:
    asked = pb.WorkerRequestExtendLeaseData(
        request_id="r1", env_id=ENV, function_slug="my-app-hello", lease_id=lease_id
    )
    await worker.send(Kind.WORKER_REQUEST_EXTEND_LEASE, bytes(asked))
    while True:
        kind, payload = await worker.receive()
        if kind == Kind.WORKER_REQUEST_EXTEND_LEASE_ACK:
            break
    new = pb.WorkerRequestExtendLeaseAckData().parse(payload).new_lease_id
    assert new is not None
    return new


async def test_a_request_that_never_reached_a_worker_fails_soon_and_may_be_tried_again(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=1)
        rig.nursery.start_soon(worker.keep_alive)
        await assigned(rig)  # and there its executor died
        executors = Executors(rig)
        async with executors.open() as executor:
            with pytest.raises(SyscodeError) as caught:
                await executor.execute(await executors.request())
            assert caught.value.code == Syscode.WORKER_STOPPED_RESPONDING
            assert trio.current_time() < 35
            async with trio.open_nursery() as nursery:
                nursery.start_soon(executor.execute, await executors.request())
                while (await worker.receive())[0] != Kind.GATEWAY_EXECUTOR_REQUEST:
                    pass
                await worker.ack("r1")
                await worker.reply("r1")
        assert executors.forwarded == 1


async def test_an_executor_that_was_thought_dead_leaves_the_request_to_the_other(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=1)
        executors = Executors(rig)
        results = []

        async def execute(executor: Executor) -> None:
            results.append((await executor.execute(await executors.request())).body)

        async with (
            executors.open("executor-1") as first,
            executors.open("executor-2") as second,
            trio.open_nursery() as nursery,
        ):
            hanging = trio.CancelScope()

            async def hang() -> None:
                with hanging:
                    await execute(first)

            nursery.start_soon(hang)
            await worker.take_request()
            await worker.ack("r1")
            nursery.start_soon(execute, second)
            await wait_all_tasks_blocked()
            hanging.cancel()
            await wait_all_tasks_blocked()
            assert await rig.store.capacity.load(ENV, "worker-1") == 1
            await worker.reply("r1", b'"done"')
        assert results == [b'"done"']
        assert await rig.store.capacity.load(ENV, "worker-1") == 0


@asynccontextmanager
async def handed_over(limit: int | None) -> AsyncIterator[tuple[Executors, Peer]]:
    """A worker that runs a request, and whose executor ended in order meanwhile."""
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=limit)
        executors = Executors(rig)
        async with executors.open("executor-1") as first, trio.open_nursery() as nursery:

            async def told_to_ask_another() -> None:
                with pytest.raises(ExecutorClosing):
                    await first.execute(await executors.request())

            nursery.start_soon(told_to_ask_another)
            await worker.take_request()
            await worker.ack("r1")
            await wait_all_tasks_blocked()
            await first.drain(0)
        yield executors, worker


@LIMITS
@pytest.mark.parametrize("before", [True, False])
async def test_a_request_that_was_handed_over_is_answered_by_whoever_is_asked_next(
    before: bool, limit: int | None, autojump_clock: MockClock
) -> None:
    async with handed_over(limit) as (executors, worker), executors.open() as second:
        results = []

        async def execute() -> None:
            results.append((await second.execute(await executors.request())).body)

        if before:
            await worker.reply("r1", b'"done"')
            assert await acks(worker) == ["r1"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await wait_all_tasks_blocked()
            if not before:
                await worker.reply("r1", b'"done"')
        assert (results, executors.forwarded) == ([b'"done"'], 1)
        assert {name for name in await keys(executors.rig) if ":ix:" not in name} == set()


async def test_a_reply_after_the_request_is_over_is_nobodys(autojump_clock: MockClock) -> None:
    async with orphaned(1) as (executors, worker, _):
        await complete(executors.rig)
        before = await keys(executors.rig)
        await worker.reply("r1")
        assert await acks(worker) == ["r1"]
        assert await keys(executors.rig) == before


@LIMITS
async def test_a_reply_at_a_gateway_without_redis_is_waited_for(
    limit: int | None, autojump_clock: MockClock
) -> None:
    """Its worker extends the lease no more, as it has replied: the official SDKs do so."""
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=limit)
        rig.nursery.start_soon(worker.keep_alive)
        executors = Executors(rig)
        async with executors.open() as executor, trio.open_nursery() as nursery:
            results = []

            async def execute() -> None:
                results.append((await executor.execute(await executors.request())).body)

            async def extend(request: pb.ExtendLeaseRequest, *, timeout: float) -> str | None:
                answer = await executor.extend_lease(request)
                return answer.lease_id or None

            rig.vouchers.extend_lease = extend  # type: ignore[method-assign] # asks the executor
            nursery.start_soon(execute)
            await worker.take_request()
            await worker.ack("r1")
            await wait_all_tasks_blocked()
            rig.outages.down = True
            await worker.reply("r1", b'"done"')
            await trio.sleep(90)
            assert results == []
            rig.outages.down = False
        assert (results, executors.forwarded) == ([b'"done"'], 1)
