"""The pool of channels."""

from typing import cast

import pytest
import trio
from trio.testing import MockClock

from connect.protocol.envelope import decode_forward, decode_reply, encode_success
from connect.rpc.bridge import Bridge
from connect.rpc.channels import ChannelPool, open_channel_pool
from connect.rpc.errors import CallFailed, CallRefused, RpcError, RpcStatus
from connect.rpc.methods import FORWARD, REPLY
from tests.rpc.loopback import LOCALHOST, serving


class FakeChannel:
    def __init__(self, bridge: "FakeBridge", port: int) -> None:
        self.bridge, self.port, self.closed = bridge, port, False

    async def call(self, path: str, request: bytes, *, timeout: float) -> bytes:
        self.bridge.calls.append((self.port, path, request, timeout))
        await trio.sleep(self.bridge.seconds)
        if isinstance(self.bridge.answer, RpcError):
            raise self.bridge.answer
        return self.bridge.answer

    def close(self) -> None:
        self.closed = True


class FakeBridge:
    def __init__(self) -> None:
        self.answer: bytes | RpcError = encode_success(True)
        self.seconds = 0.0
        self.calls: list[tuple[int, str, bytes, float]] = []
        self.channels: list[FakeChannel] = []

    def connect(self, host: str, port: int) -> FakeChannel:
        self.channels.append(FakeChannel(self, port))
        return self.channels[-1]

    def __call__(self) -> Bridge:
        return cast(Bridge, self)


async def call(pool: ChannelPool, port: int) -> bytes:
    return await pool.call("peer", port, "/s/M", b"", timeout=5)


async def test_calls_to_one_peer_share_a_channel() -> None:
    bridge = FakeBridge()
    async with open_channel_pool(bridge()) as pool:
        await call(pool, 1)
        await call(pool, 1)
        await call(pool, 2)
    assert len(bridge.channels) == 2


async def test_all_channels_are_closed_with_the_pool() -> None:
    bridge = FakeBridge()
    async with open_channel_pool(bridge()) as pool:
        await call(pool, 1)
    assert bridge.channels[0].closed


async def test_an_idle_channel_is_closed_after_a_while(autojump_clock: MockClock) -> None:
    bridge = FakeBridge()
    async with open_channel_pool(bridge(), idle=60) as pool:
        await call(pool, 1)
        await trio.sleep(100)
        assert (len(pool), bridge.channels[0].closed) == (0, True)


async def test_a_channel_in_use_stays_open(autojump_clock: MockClock) -> None:
    bridge = FakeBridge()
    bridge.seconds = 500
    async with open_channel_pool(bridge(), idle=60) as pool:
        await call(pool, 1)
        assert len(pool) == 1


async def test_a_full_pool_gives_up_its_longest_idle_channel(autojump_clock: MockClock) -> None:
    bridge = FakeBridge()
    async with open_channel_pool(bridge(), max_channels=2) as pool:
        for port in (1, 2, 1, 3):
            await call(pool, port)
            await trio.sleep(1)
        assert [channel.closed for channel in bridge.channels] == [False, True, False]


async def test_a_pool_full_of_channels_in_use_refuses(autojump_clock: MockClock) -> None:
    bridge = FakeBridge()
    bridge.seconds = 10
    async with (
        open_channel_pool(bridge(), max_channels=1) as pool,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(call, pool, 1)
        await trio.sleep(1)
        with pytest.raises(RpcError) as caught:
            await call(pool, 2)
        assert caught.value.status is RpcStatus.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("success", [True, False])
async def test_forward_returns_what_the_gateway_says(success: bool) -> None:
    bridge = FakeBridge()
    bridge.answer = encode_success(success)
    async with open_channel_pool(bridge()) as pool:
        assert await pool.forward("peer", 1, "conn-1", b"", timeout=27) is success


async def test_forward_sends_the_connection_and_the_request_in_time() -> None:
    bridge = FakeBridge()
    async with open_channel_pool(bridge()) as pool:
        await pool.forward("peer", 1, "conn-1", b"\x0a\x01r", timeout=27)
    port, path, data, timeout = bridge.calls[0]
    assert (port, path, decode_forward(data), timeout) == (
        1,
        FORWARD,
        ("conn-1", b"\x0a\x01r", True),
        27,
    )


async def test_forward_raises_when_the_gateway_is_unreachable() -> None:
    bridge = FakeBridge()
    bridge.answer = RpcError(RpcStatus.UNAVAILABLE, "down")
    async with open_channel_pool(bridge()) as pool:
        with pytest.raises(RpcError):
            await pool.forward("peer", 1, "conn-1", b"", timeout=1)


async def _failure_of_a_forward(answer: RpcError) -> RpcError:
    bridge = FakeBridge()
    bridge.answer = answer
    async with open_channel_pool(bridge()) as pool:
        with pytest.raises(RpcError) as caught:
            await pool.forward("peer", 1, "conn-1", b"", timeout=1)
    assert (caught.value.status, caught.value.message) == (answer.status, answer.message)
    return caught.value


@pytest.mark.parametrize(
    "status",
    [RpcStatus.RESOURCE_EXHAUSTED, RpcStatus.INVALID_ARGUMENT, RpcStatus.UNIMPLEMENTED],
)
async def test_a_forward_that_the_gateway_does_not_take_up_is_refused(status: RpcStatus) -> None:
    assert isinstance(await _failure_of_a_forward(CallFailed(status, "no")), CallRefused)


@pytest.mark.parametrize(
    "answer",
    [
        CallFailed(RpcStatus.UNAVAILABLE, "the server is closing"),
        CallFailed(RpcStatus.ABORTED, "in doubt"),
        CallFailed(RpcStatus.INTERNAL, "internal error"),
        RpcError(RpcStatus.RESOURCE_EXHAUSTED, "the answer is too large"),
        RpcError(RpcStatus.UNIMPLEMENTED, "compressed messages are not supported"),
    ],
)
async def test_a_forward_that_the_worker_may_have_is_not_refused(answer: RpcError) -> None:
    assert not isinstance(await _failure_of_a_forward(answer), CallRefused)


async def test_a_request_that_is_too_large_for_the_gateway_is_refused() -> None:
    async def forward(data: bytes) -> bytes:
        raise AssertionError("it does not get there")

    async with (
        serving({FORWARD: forward}, max_message_bytes=1000) as (bridge, channel, _),
        open_channel_pool(bridge) as pool,
    ):
        with pytest.raises(CallRefused, match="RESOURCE_EXHAUSTED: "):
            await pool.forward(LOCALHOST, channel._port, "conn-1", b"x" * 2000, timeout=5)


async def test_forward_raises_when_the_answer_is_malformed() -> None:
    bridge = FakeBridge()
    bridge.answer = b"\xff"
    async with open_channel_pool(bridge()) as pool:
        with pytest.raises(RpcError) as caught:
            await pool.forward("peer", 1, "conn-1", b"", timeout=1)
    assert caught.value.status is RpcStatus.INTERNAL


async def test_reply_sends_the_response_within_its_deadline() -> None:
    bridge = FakeBridge()
    async with open_channel_pool(bridge(), reply_timeout=3) as pool:
        assert await pool.reply("peer", 1, b"\x0a\x01r")
    _, path, data, timeout = bridge.calls[0]
    assert (path, decode_reply(data), timeout) == (REPLY, b"\x0a\x01r", 3)


@pytest.mark.parametrize("answer", [RpcError(RpcStatus.UNAVAILABLE, "down"), b"\xff", b""])
async def test_reply_that_fails_in_any_way_is_just_false(answer: bytes | RpcError) -> None:
    bridge = FakeBridge()
    bridge.answer = answer
    async with open_channel_pool(bridge()) as pool:
        assert not await pool.reply("peer", 1, b"")
