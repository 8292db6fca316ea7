"""Streams between executors and gateways, end to end."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.errors import ForwardInDoubt, StoreUnavailable
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import send_queue
from connect.rpc.bridge import open_bridge
from connect.rpc.errors import CallRefused, RpcError, RpcStatus
from connect.rpc.frames import LeaseAnswer
from tests.rpc.loopback import until
from tests.rpc.stream_rig import (
    EXECUTOR,
    RunningExecutor,
    RunningGateway,
    Worker,
    failure,
    open_both,
    open_executor_side,
    open_gateway,
    request,
    response,
    wait_forever,
)

LARGE = 8 * 1024 * 1024


def raising(error: Exception) -> Callable[[str, bytes], Awaitable[bool]]:
    async def act(connection_id: str, data: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        raise error

    return act


def waiting(lease_id: str) -> Callable[[pb.ExtendLeaseRequest], Awaitable[LeaseAnswer]]:
    """An executor that waits for every request, and has this to say of its lease."""

    async def extend(request: pb.ExtendLeaseRequest) -> LeaseAnswer:
        await trio.lowlevel.checkpoint()
        return LeaseAnswer(in_progress=True, lease_id=lease_id)

    return extend


EXTENSION = pb.ExtendLeaseRequest(
    env_id="env-1", request_id="req-1", lease_id="lease-1", instance_id="worker-1", limited=True
)


# Leases of gateways that have lost the state store


async def test_an_executor_is_asked_to_extend_a_lease() -> None:
    async with open_both() as (gateway, executor):
        executor.replies.extend = waiting("lease-2")
        assert await gateway.executors.extend_lease(EXTENSION, timeout=5) == "lease-2"
        assert executor.replies.extended == [EXTENSION]


async def test_an_executor_may_say_that_a_lease_is_lost() -> None:
    async with open_both() as (gateway, executor):
        executor.replies.extend = waiting("")
        assert await gateway.executors.extend_lease(EXTENSION, timeout=5) is None


async def test_the_executor_that_waits_for_the_request_is_found_among_all() -> None:
    async with (
        open_bridge() as bridge,
        open_gateway(bridge, Worker()) as gateway,
        open_executor_side(bridge) as first,
        open_executor_side(bridge, address=("executor-2", 7000)) as second,
    ):
        await first.connect(gateway)
        await second.connect(gateway)
        second.replies.extend = waiting("lease-2")
        assert await gateway.executors.extend_lease(EXTENSION, timeout=5) == "lease-2"


@pytest.mark.parametrize("stored", ["lease-2", ""])
async def test_an_executor_that_has_asked_the_store_is_believed_before_one_that_vouches(
    stored: str,
) -> None:
    async def later(request: pb.ExtendLeaseRequest) -> LeaseAnswer:
        await trio.sleep(0.1)
        return LeaseAnswer(in_progress=True, lease_id=stored)

    async with (
        open_bridge() as bridge,
        open_gateway(bridge, Worker()) as gateway,
        open_executor_side(bridge) as first,
        open_executor_side(bridge, address=("executor-2", 7000)) as second,
    ):
        await first.connect(gateway)
        await second.connect(gateway)
        first.replies.extend = waiting(EXTENSION.lease_id)
        second.replies.extend = later
        found = await gateway.executors.extend_lease(EXTENSION, timeout=5)
        assert found == (stored or None)


async def test_an_executor_that_vouches_is_enough_where_another_says_nothing() -> None:
    async def hang(request: pb.ExtendLeaseRequest) -> LeaseAnswer:
        await trio.sleep_forever()
        raise AssertionError

    async with (
        open_bridge() as bridge,
        open_gateway(bridge, Worker()) as gateway,
        open_executor_side(bridge) as first,
        open_executor_side(bridge, address=("executor-2", 7000)) as second,
    ):
        await first.connect(gateway)
        await second.connect(gateway)
        first.replies.extend = waiting(EXTENSION.lease_id)
        second.replies.extend = hang
        found = await gateway.executors.extend_lease(EXTENSION, timeout=0.5)
        assert found == EXTENSION.lease_id


async def test_nobody_answers_for_a_lease_whose_request_nobody_waits_for() -> None:
    async with open_both() as (gateway, _):
        with pytest.raises(StoreUnavailable, match="no executor answers for the lease"):
            await gateway.executors.extend_lease(EXTENSION, timeout=5)


async def test_an_executor_that_says_nothing_in_time_does_not_answer_for_a_lease() -> None:
    async def hang(request: pb.ExtendLeaseRequest) -> LeaseAnswer:
        await trio.sleep_forever()
        raise AssertionError

    async with open_both() as (gateway, executor):
        executor.replies.extend = hang
        with pytest.raises(StoreUnavailable):
            await gateway.executors.extend_lease(EXTENSION, timeout=0.05)


async def test_an_executor_that_fails_to_extend_a_lease_keeps_its_stream() -> None:
    async def fail(request: pb.ExtendLeaseRequest) -> LeaseAnswer:
        raise RuntimeError("broken for the test")

    async with open_both() as (gateway, executor):
        executor.replies.extend = fail
        with pytest.raises(StoreUnavailable):
            await gateway.executors.extend_lease(EXTENSION, timeout=0.05)
        assert executor.has_stream(gateway)


async def test_a_stream_that_ends_answers_for_no_lease() -> None:
    async def end(request: pb.ExtendLeaseRequest) -> LeaseAnswer:
        executor.streams.keep_only(())
        await trio.sleep_forever()
        raise AssertionError

    async with open_both() as (gateway, executor):
        executor.replies.extend = end
        with trio.fail_after(5), pytest.raises(StoreUnavailable):
            await gateway.executors.extend_lease(EXTENSION, timeout=60)


async def test_a_lost_stream_is_opened_again_without_a_forward() -> None:
    async with open_both() as (gateway, executor):
        known = executor.streams._gateways[gateway.address]
        assert known.scope is not None
        known.scope.cancel()
        await until(lambda: not executor.has_stream(gateway))
        executor.streams.reopen()
        await until(partial(executor.has_stream, gateway))


async def test_the_gateway_is_told_that_executors_with_streams_answer_for_leases() -> None:
    worker = Worker()
    async with open_both(worker) as (gateway, executor):
        await executor.forward(gateway)
        assert worker.vouched[-1] is not None


# Forwards


async def test_a_forward_hands_the_request_on_unopened() -> None:
    worker = Worker()
    async with open_both(worker) as (gateway, executor):
        assert await executor.forward(gateway, request("req-7"), connection_id="conn-7")
        assert worker.forwarded == [("conn-7", "req-7", request("req-7"))]


async def test_a_forward_that_the_worker_does_not_take_is_false() -> None:
    async def refuse(connection_id: str, data: bytes) -> bool:
        return False

    async with open_both(Worker(refuse)) as (gateway, executor):
        assert not await executor.forward(gateway)


async def test_many_forwards_at_once_get_each_its_own_outcome() -> None:
    async def odd(connection_id: str, data: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        return bool(int(connection_id) % 2)

    async with open_both(Worker(odd)) as (gateway, executor):
        outcomes: dict[int, bool] = {}

        async def call(number: int) -> None:
            outcomes[number] = await executor.forward(gateway, connection_id=str(number))

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(call, number)
        assert outcomes == {number: bool(number % 2) for number in range(500)}


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ({"connection_id": ""}, RpcStatus.INVALID_ARGUMENT),
        ({"data": request("")}, RpcStatus.INVALID_ARGUMENT),
        ({"data": b"\xff"}, RpcStatus.INVALID_ARGUMENT),
    ],
    ids=["no connection", "no request id", "malformed"],
)
async def test_a_forward_that_makes_no_sense_is_refused(
    call: dict[str, Any], status: RpcStatus
) -> None:
    worker = Worker()
    async with open_both(worker) as (gateway, executor):
        assert (await failure(executor, gateway, **call)).status is status
        assert not worker.forwarded
        assert await executor.forward(gateway)


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (RpcError(RpcStatus.NOT_FOUND, "not here"), RpcStatus.NOT_FOUND, "not here"),
        (ForwardInDoubt("the socket broke"), RpcStatus.ABORTED, "the socket broke"),
        (StoreUnavailable("secret"), RpcStatus.UNAVAILABLE, "the state store is unavailable"),
        (ZeroDivisionError("secret"), RpcStatus.INTERNAL, "internal error"),
    ],
)
async def test_what_a_gateway_raises_comes_back_as_a_status(
    raised: Exception, status: RpcStatus, message: str
) -> None:
    with structlog.testing.capture_logs():
        async with open_both(Worker(raising(raised))) as (gateway, executor):
            error = await failure(executor, gateway)
            assert (error.status, error.message) == (status, message)
            assert executor.has_stream(gateway)


@pytest.mark.parametrize(
    ("raised", "certain"),
    [
        (RpcError(RpcStatus.NOT_FOUND, "not here"), True),
        (StoreUnavailable("secret"), True),
        (ForwardInDoubt("the socket broke"), False),
        (ZeroDivisionError("secret"), False),
    ],
)
async def test_a_gateway_tells_forwards_that_had_no_effect_from_those_in_doubt(
    raised: Exception, certain: bool
) -> None:
    with structlog.testing.capture_logs():
        async with open_both(Worker(raising(raised))) as (gateway, executor):
            assert isinstance(await failure(executor, gateway), CallRefused) is certain


async def test_a_cancelled_forward_is_withdrawn() -> None:
    worker = Worker(wait_forever)
    async with open_both(worker) as (gateway, executor):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executor.forward, gateway)
            await until(lambda: worker.forwarded)
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await worker.cancelled.wait()


async def test_a_forward_without_outcome_in_time_is_withdrawn(patient_clock: MockClock) -> None:
    worker = Worker(wait_forever)
    async with open_both(worker) as (gateway, executor):
        error = await failure(executor, gateway, timeout=3)
        assert error.status is RpcStatus.DEADLINE_EXCEEDED
        with trio.fail_after(5):
            await worker.cancelled.wait()


async def test_a_request_of_eight_mebibytes_arrives_whole() -> None:
    worker = Worker()
    data = request(payload=bytes(range(256)) * (LARGE // 256))
    async with open_both(worker) as (gateway, executor):
        assert await executor.forward(gateway, data)
        assert worker.forwarded[0][2] == data


async def test_small_requests_overtake_large_ones() -> None:
    order: list[str] = []

    async def note(connection_id: str, data: bytes) -> bool:
        order.append(connection_id)
        return True

    async with open_both(Worker(note)) as (gateway, executor), trio.open_nursery() as nursery:
        large = request(payload=bytes(LARGE))
        for _ in range(3):
            nursery.start_soon(partial(executor.forward, gateway, large, connection_id="large"))
        for _ in range(10):
            nursery.start_soon(partial(executor.forward, gateway, connection_id="small"))
    assert order == ["small"] * 10 + ["large"] * 3


async def test_a_large_request_cancelled_halfway_leaves_the_stream_usable() -> None:
    worker = Worker()
    async with open_both(worker) as (gateway, executor):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executor.forward, gateway, request(payload=bytes(LARGE)))
            link = executor.streams._gateways[gateway.address].link
            assert link is not None
            while not link._queue._large:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert await executor.forward(gateway, request(payload=bytes(1_000_000)))
        assert [len(data) for _, _, data in worker.forwarded] == [
            len(request(payload=bytes(1_000_000)))
        ]


async def test_a_request_larger_than_a_stream_takes_goes_as_a_call() -> None:
    worker = Worker()
    async with (
        open_bridge() as bridge,
        open_gateway(bridge, worker) as gateway,
        open_executor_side(bridge, max_message_bytes=1000) as executor,
    ):
        await executor.connect(gateway)
        assert await executor.forward(gateway, request(payload=bytes(2000)))


async def test_a_request_larger_than_the_gateway_takes_is_refused_alone() -> None:
    async with (
        open_bridge(max_message_bytes=100_000) as small,
        open_bridge() as bridge,
        open_gateway(small, Worker()) as gateway,
        open_executor_side(bridge) as executor,
    ):
        await executor.connect(gateway)
        error = await failure(executor, gateway, data=request(payload=bytes(1_000_000)))
        assert error.status is RpcStatus.RESOURCE_EXHAUSTED
        assert await executor.forward(gateway, request(payload=bytes(50_000)))
        assert executor.has_stream(gateway)


async def test_more_forwards_than_a_stream_may_have_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("connect.rpc.executor_streams._MAX_FORWARDS", 2)
    worker = Worker(wait_forever)
    async with open_both(worker) as (gateway, executor), trio.open_nursery() as nursery:
        nursery.start_soon(executor.forward, gateway)
        nursery.start_soon(executor.forward, gateway)
        await until(lambda: len(worker.forwarded) == 2)
        assert (await failure(executor, gateway)).status is RpcStatus.RESOURCE_EXHAUSTED
        nursery.cancel_scope.cancel()


async def test_forwards_wait_while_the_gateway_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(send_queue, "_HIGH_WATER", 10_000)
    worker = Worker()
    async with open_both(worker) as (gateway, executor), trio.open_nursery() as nursery:
        link = executor.streams._gateways[gateway.address].link
        assert link is not None
        stalled = trio.Event()

        async def stall(data: bytes) -> None:
            await stalled.wait()
            await write(data)

        stream = _stream_of(executor, gateway)
        write, stream._write = stream._write, stall
        for _ in range(30):
            nursery.start_soon(executor.forward, gateway, request(payload=bytes(1000)))
        await wait_all_tasks_blocked(0.01)
        assert 10_000 < link._queue._small_bytes < 13_000
        stalled.set()
        await until(lambda: len(worker.forwarded) == 30)


def _stream_of(executor: RunningExecutor, gateway: RunningGateway) -> Any:
    """Find the executor's end of the stream."""
    entry = executor.streams._channels._entries[gateway.address]
    connection: Any = entry.channel._connection
    [stream] = connection._protocol.processor.streams.values()
    return stream.buffer


# Replies


async def test_a_reply_goes_on_the_stream_of_the_executor_it_is_for() -> None:
    async with open_both() as (gateway, executor):
        assert await gateway.executors.reply(*EXECUTOR, response())
        assert executor.replies.delivered == [("req-1", response())]
        assert gateway.fallback.pushed == []


async def test_a_reply_that_nobody_waits_for_is_not_taken() -> None:
    async with open_both() as (gateway, executor):
        executor.replies.awaited = False
        assert not await gateway.executors.reply(*EXECUTOR, response())
        assert gateway.fallback.pushed == []


async def test_a_reply_that_makes_no_sense_is_not_taken_and_does_no_harm() -> None:
    with structlog.testing.capture_logs():
        async with open_both() as (gateway, _):
            assert not await gateway.executors.reply(*EXECUTOR, b"\xff")
            assert await gateway.executors.reply(*EXECUTOR, response())


async def test_a_reply_of_eight_mebibytes_arrives_whole() -> None:
    data = response(body=bytes(range(256)) * (LARGE // 256))
    async with open_both() as (gateway, executor):
        assert await gateway.executors.reply(*EXECUTOR, data)
        assert executor.replies.delivered == [("req-1", data)]


async def test_a_reply_for_an_executor_without_stream_goes_as_a_call() -> None:
    async with open_both() as (gateway, executor):
        assert await gateway.executors.reply("executor-2", 7000, response())
        assert gateway.fallback.pushed == [("executor-2", 7000, response())]
        assert executor.replies.delivered == []


async def test_a_reply_larger_than_a_stream_takes_goes_as_a_call() -> None:
    async with open_both() as (gateway, _):
        await gateway.executors.reply(*EXECUTOR, bytes(LARGE + 100_000))
        assert len(gateway.fallback.pushed) == 1


async def test_a_reply_larger_than_the_executor_takes_is_not_taken() -> None:
    with structlog.testing.capture_logs():
        async with (
            open_bridge() as bridge,
            open_gateway(bridge, Worker()) as gateway,
            open_executor_side(bridge, max_message_bytes=50_000) as executor,
        ):
            await executor.connect(gateway)
            assert not await gateway.executors.reply(*EXECUTOR, response(body=bytes(200_000)))
            assert await gateway.executors.reply(*EXECUTOR, response())


async def test_two_executors_on_one_gateway_get_each_its_own_replies() -> None:
    async with (
        open_bridge() as bridge,
        open_gateway(bridge, Worker()) as gateway,
        open_executor_side(bridge) as one,
        open_executor_side(bridge, address=("executor-2", 7000)) as two,
    ):
        await one.connect(gateway)
        await two.connect(gateway)
        await gateway.executors.reply("executor-1", 7000, response("req-1"))
        await gateway.executors.reply("executor-2", 7000, response("req-2"))
        assert [id for id, _ in one.replies.delivered] == ["req-1"]
        assert [id for id, _ in two.replies.delivered] == ["req-2"]


async def test_an_executor_that_connects_again_gets_replies_on_its_new_stream() -> None:
    async with (
        open_bridge() as bridge,
        open_bridge() as other,
        open_gateway(bridge, Worker()) as gateway,
        open_executor_side(bridge) as before,
    ):
        await before.connect(gateway)
        async with open_executor_side(other) as after:
            await after.connect(gateway)
            await gateway.executors.reply(*EXECUTOR, response())
            assert (len(before.replies.delivered), len(after.replies.delivered)) == (0, 1)
        await until(lambda: len(gateway.executors) == 1)
        await gateway.executors.reply(*EXECUTOR, response())
        assert len(before.replies.delivered) == 1
