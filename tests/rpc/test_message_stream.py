"""Streams of messages over the bridge, both sides, and with other people's clients."""

import importlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from h2.exceptions import NoAvailableStreamIDError, ProtocolError
from trio.testing import MockClock

from connect.errors import MalformedMessage
from connect.rpc import framing
from connect.rpc.bridge import Bridge
from connect.rpc.channel import RpcChannel
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.message_stream import ClientStream, ServerStream
from connect.rpc.send_queue import SendQueue
from tests.rpc.loopback import ECHO, STREAM, echo, serving, streaming, until

# Without its types: two calls are all that is needed of it.
grpc: Any = importlib.import_module("grpc")


class Echo:
    """A session that answers every message with itself, and does what some ask for."""

    def __init__(self, stream: ServerStream) -> None:
        self.stream = stream
        self.queue = SendQueue()
        self.fail_at_the_end = False

    def receive(self, message: bytes) -> None:
        match message:
            case b"malformed":
                raise MalformedMessage("Thing", "as asked")
            case b"fail":
                raise ZeroDivisionError("secret")
            case b"fail at the end":
                self.fail_at_the_end = True
                self.queue.finish()
            case b"finish":
                self.queue.answer(framing.encode_message(b"last"))
                self.queue.finish()
            case _:
                self.queue.answer(framing.encode_message(message))

    async def run(self) -> None:
        await self.stream.pump(self.queue)
        if self.fail_at_the_end:
            raise ZeroDivisionError("secret")

    def finish(self) -> None:
        self.queue.finish()


async def test_a_stream_that_is_lost_when_its_writer_has_just_been_woken_writes_nothing(
    autojump_clock: MockClock,
) -> None:
    async def unused(awaitable: Any) -> Any:
        raise AssertionError("there is no connection")

    queue = SendQueue()
    stream = ClientStream(unused, 100, lambda message: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.pump, queue)
        await trio.testing.wait_all_tasks_blocked()
        queue.answer(b"late")
        stream.end(RpcError(RpcStatus.UNAVAILABLE, "the connection is lost"))
        # Had it written, it would have missed its connection, and failed here.


@asynccontextmanager
async def echoing(
    **settings: Any,
) -> AsyncIterator[tuple[Bridge, RpcChannel, trio.CancelScope, list[Echo]]]:
    sessions: list[Echo] = []

    def begin(stream: ServerStream) -> Echo:
        sessions.append(Echo(stream))
        return sessions[-1]

    async with serving({ECHO: echo}, streams={STREAM: begin}, **settings) as (bridge, channel, end):
        yield bridge, channel, end, sessions


async def test_messages_pass_both_ways_in_order() -> None:
    async with echoing() as (_, channel, _, _), streaming(channel) as client:
        messages = [b"%d" % number for number in range(500)]
        await client.send(*messages, b"")
        assert await client.receive(501) == [*messages, b""]


async def test_messages_of_eight_mebibytes_pass_both_ways() -> None:
    large = bytes(8 * 1024 * 1024)
    async with echoing() as (_, channel, _, _), streaming(channel) as client:
        await client.send(large, b"after")
        received = await client.receive(2)
        assert (len(received[0]), received[1]) == (len(large), b"after")


async def test_calls_pass_beside_a_stream() -> None:
    async with echoing() as (_, channel, _, _), streaming(channel) as client:
        await client.send(bytes(4_000_000))
        assert await channel.call(ECHO, b"x", timeout=5) == b"x"
        await client.receive(1)


async def test_a_method_that_is_not_served_ends_the_stream_as_unimplemented() -> None:
    async with echoing() as (_, channel, _, _), streaming(channel, "/test.Service/No") as client:
        assert (await client.failure()).status is RpcStatus.UNIMPLEMENTED


async def test_a_peer_that_cannot_be_reached_has_no_stream() -> None:
    async with echoing() as (bridge, channel, stopping, _):
        stopping.cancel()
        await trio.testing.wait_all_tasks_blocked(0.05)
        with pytest.raises(RpcError) as caught:
            async with streaming(bridge.connect(channel._host, channel._port)):
                pass
        assert caught.value.status is RpcStatus.UNAVAILABLE


@pytest.mark.parametrize(
    ("message", "status", "text"),
    [
        (b"malformed", RpcStatus.INVALID_ARGUMENT, "not a Thing: as asked"),
        (b"fail", RpcStatus.INTERNAL, "internal error"),
        (b"fail at the end", RpcStatus.INTERNAL, "internal error"),
        (bytes(200_000), RpcStatus.RESOURCE_EXHAUSTED, "the message is too large"),
    ],
    ids=["malformed", "unforeseen", "unforeseen in the session", "too large"],
)
async def test_what_is_wrong_ends_the_stream_and_nothing_else(
    message: bytes, status: RpcStatus, text: str
) -> None:
    with structlog.testing.capture_logs():
        async with (
            echoing(max_message_bytes=100_000) as (_, channel, _, _),
            streaming(channel) as other,
            streaming(channel) as client,
        ):
            await client.send(message)
            failure = await client.failure()
            assert (failure.status, failure.message) == (status, text)
            await other.send(b"fine")
            assert await other.receive(1) == [b"fine"]


async def test_a_client_that_cannot_read_a_message_ends_the_stream() -> None:
    def refuse(message: bytes) -> None:
        raise RpcError(RpcStatus.DATA_LOSS, "not this")

    async with echoing() as (_, channel, _, sessions):
        async with streaming(channel, take=refuse) as client:
            await client.send(b"x", b"y")
            assert (await client.failure()).message == "not this"
        assert await channel.call(ECHO, b"x", timeout=5) == b"x"
        assert not sessions[0].stream._service.open_streams


async def test_a_session_that_finishes_says_what_it_has_to_say() -> None:
    async with echoing() as (_, channel, _, _), streaming(channel) as client:
        await client.send(b"finish")
        assert (await client.failure()).message == "the server ended the stream"
        assert client.received == [b"last"]


async def test_leaving_the_block_ends_the_session() -> None:
    async with echoing() as (_, channel, _, sessions):
        async with streaming(channel) as client:
            await client.send(b"x")
            await client.receive(1)
        await until(lambda: sessions[0].stream.failure is not None)


async def test_a_server_that_stops_lets_its_sessions_finish() -> None:
    async with echoing(grace=60) as (_, channel, stopping, _), streaming(channel) as client:
        await client.send(b"x")
        await client.receive(1)
        stopping.cancel()
        assert (await client.failure()).status is RpcStatus.UNAVAILABLE


async def test_a_server_that_stops_cuts_off_sessions_that_do_not_finish(
    patient_clock: MockClock,
) -> None:
    class Stubborn(Echo):
        def finish(self) -> None:
            pass

    async with (
        serving({}, streams={STREAM: Stubborn}, grace=5) as (_, channel, stopping),
        streaming(channel) as client,
    ):
        await client.send(b"x")
        await client.receive(1)
        stopping.cancel()
        await client.failure()
        assert trio.current_time() >= 5


async def test_a_closed_channel_ends_its_streams() -> None:
    async with echoing() as (_, channel, _, _), streaming(channel) as client:
        await client.send(b"x")
        await client.receive(1)
        await channel.aclose()
        assert (await client.failure()).status is RpcStatus.UNAVAILABLE


async def test_a_client_that_does_not_read_makes_the_server_wait() -> None:
    async with echoing() as (_, channel, _, sessions), streaming(channel) as client:
        client.stream._stream.connection.ack = lambda stream_id, size: None  # type: ignore[method-assign] # as if nothing were read
        for _ in range(24):
            await client.send(bytes(500_000))
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert len(client.received) == 16  # what the window of 8 MiB holds
        assert sessions[0].queue._small_bytes > 3_000_000


async def test_the_official_client_streams_both_ways() -> None:
    def call(address: str) -> list[bytes]:
        with grpc.insecure_channel(address) as plain:
            method = plain.stream_stream(STREAM)
            return list(method(iter([b"one", b"", b"three"]), timeout=5))

    async with echoing() as (_, channel, _, _):
        received = await trio.to_thread.run_sync(call, f"{channel._host}:{channel._port}")
    assert received == [b"one", b"", b"three"]


async def test_the_official_client_is_told_what_is_wrong() -> None:
    def call(address: str) -> tuple[object, str]:
        def messages() -> Iterator[bytes]:
            yield b"malformed"

        with grpc.insecure_channel(address) as plain:
            with pytest.raises(grpc.RpcError) as caught:
                list(plain.stream_stream(STREAM)(messages(), timeout=5))
            return caught.value.code(), caught.value.details()

    async with echoing() as (_, channel, _, _):
        error = await trio.to_thread.run_sync(call, f"{channel._host}:{channel._port}")
    assert error == (grpc.StatusCode.INVALID_ARGUMENT, "not a Thing: as asked")


async def test_a_compressed_message_ends_the_stream_as_unimplemented() -> None:
    async with echoing() as (_, channel, _, _), streaming(channel) as client:
        await client.queue.send(b"\1\0\0\0\1x")
        assert (await client.failure()).status is RpcStatus.UNIMPLEMENTED


async def test_a_message_may_come_in_any_chunks() -> None:
    message = framing.encode_message(b"hello") + framing.encode_message(b"again")
    async with echoing() as (_, channel, _, _), streaming(channel) as client:
        for index in range(len(message)):
            await client.queue.send(message[index : index + 1])
            await trio.testing.wait_all_tasks_blocked(0.002)
        assert await client.receive(2) == [b"hello", b"again"]


async def test_a_server_that_stops_refuses_new_streams() -> None:
    class Stubborn(Echo):
        def finish(self) -> None:
            pass

    async with (
        serving({}, streams={STREAM: Stubborn}) as (_, channel, stopping),
        streaming(channel) as client,
    ):
        await client.send(b"x")
        await client.receive(1)
        stopping.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with streaming(channel) as late:
            assert (await late.failure()).message == "the server is closing"


async def test_a_stream_of_another_content_type_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    headers = framing.request_headers

    def request_headers(*args: Any) -> list[tuple[bytes, bytes]]:
        return [header for header in headers(*args) if header[0] != b"content-type"]

    monkeypatch.setattr(framing, "request_headers", request_headers)
    async with echoing() as (_, channel, _, _), streaming(channel) as client:
        assert (await client.failure()).message == "the content type must be application/grpc"


async def test_writing_to_a_stream_that_is_closed_beneath_ends_it() -> None:
    async with echoing() as (_, channel, _, _), streaming(channel) as client:
        http2 = client.stream._stream
        http2._h2_connection.end_stream(http2.id)
        await client.send(b"x")
        assert (await client.failure()).status is RpcStatus.UNAVAILABLE


async def test_a_stream_that_cannot_be_opened_in_time_fails() -> None:
    async with echoing() as (_, channel, _, _):
        await channel.call(ECHO, b"x", timeout=5)
        connection: Any = channel._connection
        connection._protocol.connection.pause_writing()
        with pytest.raises(RpcError) as caught:
            async with channel.stream(STREAM, lambda message: None, timeout=0.01):
                pass
        assert caught.value.status is RpcStatus.DEADLINE_EXCEEDED


@pytest.mark.parametrize("error", [NoAvailableStreamIDError, ProtocolError])
async def test_a_connection_that_cannot_carry_a_stream_is_unavailable(
    error: type[ProtocolError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise error

    async with echoing() as (_, channel, _, _):
        await channel.call(ECHO, b"x", timeout=5)
        connection: Any = channel._connection
        h2 = connection._protocol.connection._connection
        monkeypatch.setattr(h2, "get_next_available_stream_id", fail)
        with pytest.raises(RpcError) as caught:
            async with channel.stream(STREAM, lambda message: None, timeout=5):
                pass
        assert caught.value.status is RpcStatus.UNAVAILABLE
