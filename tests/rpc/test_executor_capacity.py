"""An executor that has all it can hold says so, and when to come again."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from connect.errors import LimitReached, Syscode, SyscodeError
from connect.protocol.messages.connect import v1 as pb
from connect.rpc.errors import RpcStatus, rpc_error
from connect.settings import Limits
from tests.rpc.fakes import open_rig, request, response, route
from tests.rpc.loopback import ECHO, failure, serving

ONE = Limits(concurrent_requests=1)


def request_of(size: int, request_id: str) -> pb.GatewayExecutorRequestData:
    made = request(request_id)
    made.request_payload = b"x" * size
    return made


async def test_more_requests_than_the_limit_are_refused(autojump_clock: MockClock) -> None:
    async with open_rig(route(), limits=ONE) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.executor.execute, request())
        await trio.sleep(1)
        with pytest.raises(LimitReached, match="has 1 requests in progress, its limit") as caught:
            await rig.executor.execute(request("01OTHER"))
        assert caught.value.code == Syscode.EXECUTOR_AT_CAPACITY
        assert caught.value.retry_after > 0
        nursery.cancel_scope.cancel()


async def test_a_refused_request_is_not_routed(autojump_clock: MockClock) -> None:
    async with open_rig(route(), limits=ONE) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.executor.execute, request())
        await trio.sleep(1)
        with pytest.raises(LimitReached):
            await rig.executor.execute(request("01OTHER"))
        assert [asked.request_id for asked in rig.store.routing.acquired] == ["01REQUEST"]
        nursery.cancel_scope.cancel()


async def test_more_bytes_than_the_limit_are_refused(autojump_clock: MockClock) -> None:
    limits = Limits(concurrent_request_bytes=1000)
    async with open_rig(route(), limits=limits) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.executor.execute, request_of(600, "01ONE"))
        await trio.sleep(1)
        with pytest.raises(LimitReached, match="would exceed its limit of 1000"):
            await rig.executor.execute(request_of(600, "01TWO"))
        nursery.cancel_scope.cancel()


async def test_one_request_is_taken_whatever_its_size(autojump_clock: MockClock) -> None:
    async with open_rig(route(), limits=Limits(concurrent_request_bytes=10)) as rig:
        rig.store.routing.on_acquire = lambda count: None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.reply_after, 1)
            assert (await rig.executor.execute(request_of(600, "01REQUEST"))).body == b"done"


@pytest.mark.parametrize("cancelled", [False, True])
async def test_there_is_room_again_when_a_request_is_over(
    cancelled: bool, autojump_clock: MockClock
) -> None:
    limits = Limits(concurrent_requests=1, concurrent_request_bytes=100)
    async with open_rig(route(), limits=limits) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.reply_after, 3)
        with trio.move_on_after(1 if cancelled else 5):
            await rig.executor.execute(request())
        nursery.start_soon(rig.reply_after, 5)
        with trio.fail_after(20):
            assert (await rig.executor.execute(request())).body == b"done"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Syscode.NO_HEALTHY_CONNECTION, RpcStatus.UNAVAILABLE),
        (Syscode.ALL_WORKERS_AT_CAPACITY, RpcStatus.RESOURCE_EXHAUSTED),
        (Syscode.WORKER_AT_CAPACITY, RpcStatus.RESOURCE_EXHAUSTED),
        (Syscode.WORKER_STOPPED_RESPONDING, RpcStatus.ABORTED),
        (Syscode.REQUEST_TOO_LONG, RpcStatus.DEADLINE_EXCEEDED),
        (Syscode.INTERNAL_ERROR, RpcStatus.INTERNAL),
    ],
)
def test_an_executors_error_has_a_status_of_grpc(code: Syscode, status: RpcStatus) -> None:
    error = rpc_error(SyscodeError(code, "why"))
    assert (error.status, error.message, error.retry_after) == (status, f"{code}: why", None)


async def test_over_grpc_a_full_executor_is_exhausted_and_says_when_to_come_again() -> None:
    async with open_rig(route(), limits=ONE) as rig:

        async def execute(data: bytes) -> bytes:
            return await rig.executor.execute_bytes(data)

        async with serving({ECHO: execute}) as (_, channel, _), trio.open_nursery() as nursery:
            call = partial(channel.call, timeout=10)
            nursery.start_soon(call, ECHO, bytes(request()))
            while not rig.executor.in_progress:
                await trio.lowlevel.checkpoint()
            refused = await failure(channel, data=bytes(request("01OTHER")))
            rig.executor.deliver("01REQUEST", response())
        assert refused.status is RpcStatus.RESOURCE_EXHAUSTED
        assert refused.message.startswith("connect_executor_at_capacity: ")
        assert refused.retry_after == 1.0
