"""The executor as a library: sharing, limits, lifecycle, and the real thing on loopback."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from connect.errors import ConfigurationError, MalformedMessage, Syscode, SyscodeError
from connect.protocol.envelope import encode_success, read_request
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import Executor, open_executor
from connect.rpc.bridge import open_bridge
from connect.rpc.channels import open_channel_pool
from connect.rpc.executor_streams import ExecutorStreams
from connect.rpc.gateway_service import gateway_handlers
from connect.rpc.methods import FORWARD
from connect.settings import Settings
from tests.rpc.fakes import (
    NOW,
    REQUEST_ID,
    FakeStore,
    gateway,
    open_rig,
    request,
    response,
    route,
)
from tests.rpc.loopback import until
from tests.support.redis_server import redis_server


async def test_two_calls_with_one_request_id_share_one_forward(
    autojump_clock: MockClock,
) -> None:
    bodies: list[bytes] = []

    async with open_rig(route()) as rig:

        async def call() -> None:
            bodies.append((await rig.executor.execute(request())).body)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.sleep(0.5)
            nursery.start_soon(call)
            nursery.start_soon(rig.reply_after, 1)
        assert (bodies, len(rig.forwarded)) == ([b"done", b"done"], 1)


async def test_a_shared_request_survives_the_cancellation_of_one_caller(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def cancelled_call() -> None:
            with first:
                await rig.executor.execute(request())

        nursery.start_soon(cancelled_call)
        nursery.start_soon(rig.reply_after, 2)
        await trio.sleep(0.5)
        with trio.move_on_after(5):
            nursery.start_soon(_cancel_after, first, 0.5)
            assert (await rig.executor.execute(request())).body == b"done"
        assert first.cancelled_caught


async def _cancel_after(scope: trio.CancelScope, seconds: float) -> None:
    await trio.sleep(seconds)
    scope.cancel()


async def test_a_call_during_the_clean_up_of_a_cancelled_one_starts_afresh(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        rig.store.routing.complete_delay = 2
        first = trio.CancelScope()

        async def cancelled_call() -> None:
            with first:
                await rig.executor.execute(request())

        nursery.start_soon(cancelled_call)
        await trio.sleep(1)
        first.cancel()
        await trio.sleep(1)
        nursery.start_soon(rig.reply_after, 3)
        assert (await rig.executor.execute(request())).body == b"done"
        assert len(rig.forwarded) == 2


async def test_a_request_id_of_another_environment_is_not_shared(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.executor.execute, request())
        await trio.sleep(1)
        foreign = request()
        foreign.env_id = "env-2"
        with pytest.raises(SyscodeError, match="another environment"):
            await rig.executor.execute(foreign)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("missing", ["request_id", "env_id", "app_id", "function_slug"])
async def test_a_request_without_what_routing_needs_is_refused(
    missing: str, autojump_clock: MockClock
) -> None:
    async with open_rig(route()) as rig:
        incomplete = request()
        setattr(incomplete, missing, "")
        with pytest.raises(MalformedMessage, match=missing):
            await rig.executor.execute(incomplete)


async def test_a_reply_that_is_no_sdk_response_is_an_internal_error(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.reply_after, 1, b"\xff")
        with pytest.raises(SyscodeError) as caught:
            await rig.executor.execute(request())
        assert caught.value.code == Syscode.INTERNAL_ERROR


async def test_a_request_is_awaited_only_while_in_progress(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.executor.execute, request())
        await trio.sleep(1)
        assert (rig.executor.awaits(REQUEST_ID), rig.executor.in_progress) == (True, 1)
        rig.executor.deliver(REQUEST_ID, response())
        await trio.sleep(1)
        assert (rig.executor.awaits(REQUEST_ID), rig.executor.in_progress) == (False, 0)


async def test_an_unforeseen_failure_reaches_the_caller_and_leaves_the_executor_working(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:

        def fail(count: int) -> None:
            if count == 1:
                raise ZeroDivisionError

        rig.store.routing.on_acquire = fail
        with pytest.raises(ZeroDivisionError):
            await rig.executor.execute(request())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.reply_after, 1)
            assert (await rig.executor.execute(request())).body == b"done"


async def test_an_executor_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await Executor(FakeStore()).execute(request())


async def test_an_executor_advertises_the_address_it_is_told(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        assert rig.executor.address == ("executor-1", 9999)


async def test_an_exception_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(SyscodeError):
        async with Executor(FakeStore(), host="127.0.0.1", port=0):
            raise SyscodeError(Syscode.INTERNAL_ERROR, "from the block")


async def test_a_port_in_use_is_a_configuration_error() -> None:
    async with Executor(FakeStore(), host="127.0.0.1", port=0) as first:
        with pytest.raises(ConfigurationError, match="cannot listen for RPC"):
            async with Executor(FakeStore(), host="127.0.0.1", port=first.address[1]):
                pass


class AcknowledgingGateway:
    """A gateway whose worker acknowledges everything."""

    def __init__(self) -> None:
        self.acknowledged = trio.Event()

    async def forward(
        self, connection_id: str, request_id: str, request: bytes, *, vouched: str | None
    ) -> bool:
        fields = read_request(request)
        assert (connection_id, fields.lease_id) == ("conn-1", "lease-1")
        self.acknowledged.set()
        return True


async def test_a_request_goes_to_a_worker_and_its_reply_comes_back_over_real_grpc() -> None:
    store = FakeStore()
    store.routing.outcomes = [route()]
    worker = AcknowledgingGateway()
    async with (
        open_bridge() as bridge,
        open_channel_pool(bridge) as channels,
        trio.open_nursery() as nursery,
    ):
        serve = partial(bridge.serve, gateway_handlers(worker), host="127.0.0.1", port=0)
        host, port = await nursery.start(serve)
        store.gateways.records = [gateway(ip=host, grpc_port=port)]
        async with Executor(
            store, now=lambda: NOW, bridge=bridge, host="127.0.0.1", port=0
        ) as executor:

            async def push_reply() -> None:
                await worker.acknowledged.wait()
                asked = store.routing.acquired[0]
                address = asked.executor_host, asked.executor_port
                assert await channels.reply(*address, response())

            with trio.fail_after(5):
                async with trio.open_nursery() as pushing:
                    pushing.start_soon(push_reply)
                    result = await executor.execute(request())
        assert (result.body, result.status) == (b"done", pb.SdkResponseStatus.DONE)
        assert store.routing.completed == [(REQUEST_ID, "worker-1")]
        nursery.cancel_scope.cancel()


async def test_once_there_is_a_stream_forward_and_reply_go_over_it() -> None:
    store = FakeStore()
    store.routing.outcomes = [route()]
    calls: list[bytes] = []

    async def no_call(data: bytes) -> bytes:
        calls.append(data)
        return encode_success(True)

    async with (
        open_bridge() as bridge,
        open_channel_pool(bridge) as channels,
        trio.open_nursery() as nursery,
    ):
        worker = AcknowledgingGateway()
        executors = ExecutorStreams(channels, reply_timeout=5)
        streams = executors.handlers(worker)
        serve = partial(bridge.serve, {FORWARD: no_call}, streams=streams, host="127.0.0.1", port=0)
        host, port = await nursery.start(serve)
        store.gateways.records = [gateway(ip=host, grpc_port=port)]
        async with Executor(
            store, now=lambda: NOW, bridge=bridge, host="127.0.0.1", port=0
        ) as executor:

            async def execute() -> None:
                assert (await executor.execute(request())).body == b"done"

            with trio.fail_after(5):
                async with trio.open_nursery() as first:
                    first.start_soon(execute)
                    await until(lambda: len(executors))
                    executor.deliver(REQUEST_ID, response())
                async with trio.open_nursery() as second:
                    second.start_soon(execute)
                    await worker.acknowledged.wait()
                    assert await executors.reply(*executor.address, response())
        assert (len(calls), len(channels)) == (1, 0)
        nursery.cancel_scope.cancel()


async def test_an_executor_needs_no_more_than_a_redis_url() -> None:
    with redis_server() as redis:
        async with open_executor(redis.url, settings=Settings(), host="127.0.0.1") as executor:
            with pytest.raises(SyscodeError) as caught:
                await executor.execute(request())
    assert caught.value.code == Syscode.NO_HEALTHY_CONNECTION
