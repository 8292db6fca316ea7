"""Dialling: deadlines, backing off, dialling again."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from connect.rpc.channel import ConnectionUsedUp, RpcChannel
from connect.rpc.errors import PeerUnreachable, RpcError, RpcStatus
from connect.rpc.message_stream import ClientStream


class FakeConnection:
    def __init__(self) -> None:
        self.calls = 0
        self.is_open = True
        self.closed = False
        self.used_up = False
        self.seconds = 0.0

    async def call(self, path: str, request: bytes, timeout: float) -> bytes:
        if self.used_up:
            raise ConnectionUsedUp
        await trio.sleep(self.seconds)
        return request

    @asynccontextmanager
    async def stream(
        self, path: str, receive: Callable[[bytes], None], timeout: float
    ) -> AsyncIterator[ClientStream]:
        if self.used_up:
            raise ConnectionUsedUp
        yield ClientStream(trio.lowlevel.checkpoint, 0, receive)  # type: ignore[arg-type] # never run

    def close(self) -> None:
        self.closed = True
        self.is_open = False


class FakeWire:
    """Makes a fake connection of every socket that is connected."""

    dial_timeout = 2.0

    def __init__(self) -> None:
        self.connections: list[FakeConnection] = []
        self.forgotten: list[RpcChannel] = []
        self.on_attach = trio.lowlevel.checkpoint

    async def attach(self, host: str, port: int, sock: socket.socket) -> FakeConnection:
        with sock:
            await self.on_attach()
        self.connections.append(FakeConnection())
        return self.connections[-1]

    def forget(self, channel: RpcChannel) -> None:
        self.forgotten.append(channel)


class Dials:
    """Stands in for the network under Trio's `open_tcp_stream`."""

    def __init__(self) -> None:
        self.count = 0
        self.error: OSError | None = None
        self.seconds = 0.0

    async def open_tcp_stream(self, host: str, port: int) -> trio.SocketStream:
        self.count += 1
        await trio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        theirs.close()
        # Options of TCP cannot be set on it, so only the descriptor counts.
        plain = socket.socket()
        ours.close()
        return trio.SocketStream(trio.socket.from_stdlib_socket(plain))


@pytest.fixture
def dials(monkeypatch: pytest.MonkeyPatch) -> Dials:
    network = Dials()
    monkeypatch.setattr(trio, "open_tcp_stream", network.open_tcp_stream)
    return network


@asynccontextmanager
async def open_channel() -> AsyncIterator[tuple[RpcChannel, FakeWire]]:
    wire = FakeWire()
    channel = RpcChannel(wire, "peer", 1)
    yield channel, wire
    await channel.aclose()


async def failure(channel: RpcChannel, timeout: float = 10) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await channel.call("/s/M", b"", timeout=timeout)
    return caught.value


async def test_calls_at_the_same_time_share_one_connection(
    autojump_clock: MockClock, dials: Dials
) -> None:
    async with open_channel() as (channel, wire):
        dials.seconds = 1

        async def call() -> None:
            await channel.call("/s/M", b"", timeout=5)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call)
        assert (dials.count, len(wire.connections)) == (1, 1)


async def test_a_lost_connection_is_made_again(autojump_clock: MockClock, dials: Dials) -> None:
    async with open_channel() as (channel, wire):
        await channel.call("/s/M", b"", timeout=5)
        wire.connections[0].is_open = False
        assert await channel.call("/s/M", b"again", timeout=5) == b"again"
        assert wire.connections[0].closed


async def test_a_peer_that_refuses_is_unavailable(autojump_clock: MockClock, dials: Dials) -> None:
    async with open_channel() as (channel, _):
        dials.error = ConnectionRefusedError(111, "Connection refused")
        error = await failure(channel)
        assert (error.status, error.message) == (
            RpcStatus.UNAVAILABLE,
            "cannot connect to peer:1: Connection refused",
        )


async def test_a_call_that_finds_no_connection_was_not_sent(
    autojump_clock: MockClock, dials: Dials
) -> None:
    async with open_channel() as (channel, _):
        dials.error = OSError("down")
        errors = [await failure(channel), await failure(channel)]
        dials.error, dials.seconds = None, 100
        await trio.sleep(1)
        errors += [await failure(channel, timeout=1), await failure(channel)]
        assert [type(error) for error in errors] == [PeerUnreachable] * 4


async def test_the_reason_of_a_failed_attempt_is_told(
    autojump_clock: MockClock, dials: Dials
) -> None:
    async with open_channel() as (channel, _):
        dials.error = OSError("all attempts failed")
        dials.error.__cause__ = OSError(113, "No route to host")
        assert (await failure(channel)).message.endswith("No route to host")


async def test_a_peer_that_just_failed_fails_fast(autojump_clock: MockClock, dials: Dials) -> None:
    async with open_channel() as (channel, _):
        dials.error = OSError("down")
        await failure(channel)
        await failure(channel)
        assert dials.count == 1


async def test_a_peer_that_failed_is_dialled_again_after_a_moment(
    autojump_clock: MockClock, dials: Dials
) -> None:
    async with open_channel() as (channel, _):
        dials.error = OSError("down")
        await failure(channel)
        dials.error = None
        await trio.sleep(0.2)
        assert await channel.call("/s/M", b"up", timeout=5) == b"up"


async def test_the_pause_between_dials_grows_to_two_seconds(
    autojump_clock: MockClock, dials: Dials
) -> None:
    async with open_channel() as (channel, _):
        dials.error = OSError("down")
        for _ in range(1000):
            await failure(channel)
            await trio.sleep(0.05)
        assert 25 <= dials.count <= 35


async def test_a_silent_peer_is_given_up_after_the_dial_timeout(
    autojump_clock: MockClock, dials: Dials
) -> None:
    async with open_channel() as (channel, _):
        dials.seconds = 100
        assert (await failure(channel)).status is RpcStatus.UNAVAILABLE
        assert trio.current_time() == pytest.approx(2)


async def test_a_call_that_ends_before_the_dial_has_exceeded_its_deadline(
    autojump_clock: MockClock, dials: Dials
) -> None:
    async with open_channel() as (channel, _):
        dials.seconds = 100
        assert (await failure(channel, timeout=1)).status is RpcStatus.DEADLINE_EXCEEDED


async def test_a_used_up_connection_is_replaced_and_closed_after_its_last_call(
    autojump_clock: MockClock, dials: Dials
) -> None:
    async with open_channel() as (channel, wire):
        await channel.call("/s/M", b"", timeout=5)
        old = wire.connections[0]
        old.seconds = 3
        async with trio.open_nursery() as nursery:

            async def running() -> None:
                await channel.call("/s/M", b"", timeout=5)

            nursery.start_soon(running)
            nursery.start_soon(running)
            await trio.sleep(1)
            old.used_up = True
            assert (await failure(channel)).status is RpcStatus.UNAVAILABLE
            assert (await failure(channel_on(old, channel))).status is RpcStatus.UNAVAILABLE
            await channel.call("/s/M", b"", timeout=5)
            assert not old.closed
        assert (old.closed, len(wire.connections)) == (True, 2)


async def test_a_stream_keeps_a_replaced_connection_open_until_it_ends(dials: Dials) -> None:
    async with open_channel() as (channel, wire):
        async with channel.stream("/s/M", lambda message: None, timeout=5):
            [old] = wire.connections
            old.used_up = True
            assert (await failure(channel)).status is RpcStatus.UNAVAILABLE
            assert not old.closed
        assert old.closed


async def test_a_stream_on_a_used_up_connection_is_unavailable(dials: Dials) -> None:
    async with open_channel() as (channel, wire):
        await channel.call("/s/M", b"", timeout=5)
        wire.connections[0].used_up = True
        with pytest.raises(RpcError) as caught:
            async with channel.stream("/s/M", lambda message: None, timeout=5):
                pass
        assert caught.value.status is RpcStatus.UNAVAILABLE


def channel_on(connection: FakeConnection, like: RpcChannel) -> RpcChannel:
    """A channel in the moment after it chose a connection that another call replaced."""
    stale = RpcChannel(like._wire, "peer", 1)
    stale._connection = connection
    return stale


async def test_a_channel_closed_while_dialling_keeps_no_connection(
    autojump_clock: MockClock, dials: Dials
) -> None:
    async with open_channel() as (channel, wire):

        async def close() -> None:
            channel.close()

        wire.on_attach = close
        assert (await failure(channel)).message == "the channel is closed"
        assert wire.connections[0].closed


async def test_attaching_that_hangs_is_given_up(autojump_clock: MockClock, dials: Dials) -> None:
    async with open_channel() as (channel, wire):
        wire.on_attach = trio.sleep_forever
        assert (await failure(channel)).status is RpcStatus.UNAVAILABLE


async def test_a_connection_that_cannot_be_taken_over_is_unavailable(
    autojump_clock: MockClock, dials: Dials
) -> None:
    async def fail() -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    async with open_channel() as (channel, wire):
        wire.on_attach = fail
        assert (await failure(channel)).message.endswith("Connection reset by peer")
