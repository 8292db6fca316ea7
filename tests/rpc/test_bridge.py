"""The bridge against itself."""

import socket
from functools import partial
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.errors import ConfigurationError, MalformedMessage, StoreUnavailable
from connect.rpc.bridge import open_bridge
from connect.rpc.channel import RpcChannel
from connect.rpc.errors import CallRefused, RpcError, RpcStatus
from tests.rpc.loopback import ECHO, LOCALHOST, WAIT, echo, failure, serving, until


class Blocker:
    """A handler that waits until it is let go, and knows when it was cancelled."""

    def __init__(self) -> None:
        self.entered = trio.Event()
        self.proceed = trio.Event()
        self.cancelled = trio.Event()

    async def __call__(self, data: bytes) -> bytes:
        self.entered.set()
        try:
            await self.proceed.wait()
        except trio.Cancelled:
            self.cancelled.set()
            raise
        return data


async def test_a_call_carries_bytes_both_ways() -> None:
    async with serving({ECHO: echo}) as (_, channel, _):
        assert await channel.call(ECHO, b"\0payload", timeout=5) == b"\0payload"


async def test_an_empty_message_is_a_message() -> None:
    async with serving({ECHO: echo}) as (_, channel, _):
        assert await channel.call(ECHO, b"", timeout=5) == b""


async def test_many_calls_at_once_on_a_fresh_connection_all_succeed() -> None:
    async with serving({ECHO: echo}) as (_, channel, _):
        answers: list[bytes] = []

        async def call(number: int) -> None:
            answers.append(await channel.call(ECHO, b"%d" % number, timeout=20))

        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(call, number)
        assert sorted(answers) == sorted(b"%d" % number for number in range(300))


async def test_messages_of_eight_mebibytes_pass() -> None:
    large = bytes(8 * 1024 * 1024)
    async with serving({ECHO: echo}) as (_, channel, _):
        assert await channel.call(ECHO, large, timeout=30) == large


async def test_a_request_over_the_limit_is_refused_by_the_server() -> None:
    async with serving({ECHO: echo}, max_message_bytes=100_000) as (_, channel, _):
        assert (await failure(channel, data=bytes(100_001))).status is RpcStatus.RESOURCE_EXHAUSTED


async def test_a_request_far_over_the_limit_stops_the_client_early() -> None:
    async with serving({ECHO: echo}, max_message_bytes=1000) as (_, channel, _):
        assert (await failure(channel, data=bytes(30_000_000))).status in (
            RpcStatus.RESOURCE_EXHAUSTED,
            RpcStatus.UNAVAILABLE,
        )


async def test_a_reply_over_the_limit_is_refused_by_the_client() -> None:
    async def inflate(data: bytes) -> bytes:
        return bytes(2000)

    async with serving({ECHO: inflate}, max_message_bytes=1000) as (_, channel, _):
        assert (await failure(channel)).status is RpcStatus.RESOURCE_EXHAUSTED


async def test_a_refused_message_leaves_the_connection_usable() -> None:
    async with serving({ECHO: echo}, max_message_bytes=1000) as (_, channel, _):
        await failure(channel, data=bytes(5000))
        assert await channel.call(ECHO, b"fine", timeout=5) == b"fine"


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (RpcError(RpcStatus.NOT_FOUND, "100 % gone, für immer"), 5, "100 % gone, für immer"),
        (MalformedMessage("Thing", "too short"), 3, "not a Thing: too short"),
        (StoreUnavailable("redis://user:secret@host"), 14, "the state store is unavailable"),
        (ZeroDivisionError("secret"), 13, "internal error"),
    ],
)
async def test_what_a_handler_raises_becomes_a_status(
    raised: Exception, status: int, message: str
) -> None:
    async def fail(data: bytes) -> bytes:
        raise raised

    with structlog.testing.capture_logs():
        async with serving({ECHO: fail}) as (_, channel, _):
            error = await failure(channel)
    assert (error.status, error.message) == (status, message)


async def test_an_unforeseen_exception_is_logged_with_its_method() -> None:
    async def fail(data: bytes) -> bytes:
        raise ZeroDivisionError

    with structlog.testing.capture_logs() as logs:
        async with serving({ECHO: fail}) as (_, channel, _):
            await failure(channel)
    assert [(entry["event"], entry["method"]) for entry in logs] == [("rpc handler failed", ECHO)]


async def test_an_unknown_method_is_unimplemented() -> None:
    async with serving({ECHO: echo}) as (_, channel, _):
        assert (await failure(channel, "/test.Service/Other")).status is RpcStatus.UNIMPLEMENTED


async def test_a_call_that_takes_too_long_ends_with_its_deadline_on_both_sides() -> None:
    blocker = Blocker()
    async with serving({WAIT: blocker}) as (_, channel, _):
        with pytest.raises(RpcError) as caught:
            await channel.call(WAIT, b"", timeout=0.1)
        assert caught.value.status is RpcStatus.DEADLINE_EXCEEDED
        with trio.fail_after(5):
            await blocker.cancelled.wait()


async def test_a_cancelled_call_cancels_its_handler() -> None:
    blocker = Blocker()
    async with serving({WAIT: blocker}) as (_, channel, _), trio.open_nursery() as nursery:
        nursery.start_soon(partial(channel.call, WAIT, b"", timeout=60))
        await blocker.entered.wait()
        nursery.cancel_scope.cancel()
        with trio.fail_after(5, shield=True):
            await blocker.cancelled.wait()


async def test_a_lost_client_cancels_its_handlers() -> None:
    blocker = Blocker()
    async with serving({WAIT: blocker}) as (_, channel, _), trio.open_nursery() as nursery:

        async def call() -> None:
            assert (await failure(channel, WAIT)).status is RpcStatus.UNAVAILABLE

        nursery.start_soon(call)
        await blocker.entered.wait()
        await channel.aclose()
        with trio.fail_after(5):
            await blocker.cancelled.wait()


async def test_a_closed_channel_refuses_calls() -> None:
    async with serving({ECHO: echo}) as (_, channel, _):
        await channel.aclose()
        assert (await failure(channel)).status is RpcStatus.UNAVAILABLE


async def test_a_server_that_ends_lets_running_handlers_finish() -> None:
    blocker = Blocker()
    async with serving({WAIT: blocker}) as (_, channel, stopping), trio.open_nursery() as nursery:

        async def call() -> None:
            assert await channel.call(WAIT, b"kept", timeout=5) == b"kept"

        nursery.start_soon(call)
        await blocker.entered.wait()
        stopping.cancel()
        await wait_all_tasks_blocked()
        blocker.proceed.set()


async def test_a_server_that_ends_refuses_new_calls() -> None:
    blocker = Blocker()
    async with serving({WAIT: blocker}) as (_, channel, stopping), trio.open_nursery() as nursery:
        nursery.start_soon(partial(channel.call, WAIT, b"", timeout=5))
        await blocker.entered.wait()
        stopping.cancel()
        await wait_all_tasks_blocked()
        assert (await failure(channel, WAIT)).message == "the server is closing"
        blocker.proceed.set()


async def test_a_server_that_ends_waits_no_longer_than_the_grace(
    patient_clock: MockClock,
) -> None:
    blocker = Blocker()
    async with (
        serving({WAIT: blocker}, grace=3) as (_, channel, stopping),
        trio.open_nursery() as nursery,
    ):

        async def call() -> None:
            with pytest.raises(RpcError) as caught:
                await channel.call(WAIT, b"", timeout=60)
            assert caught.value.status is RpcStatus.UNAVAILABLE

        nursery.start_soon(call)
        await blocker.entered.wait()
        stopping.cancel()
        started = trio.current_time()
        await blocker.cancelled.wait()
        assert trio.current_time() - started == pytest.approx(3, abs=0.1)


async def test_a_port_in_use_is_a_configuration_error() -> None:
    async with open_bridge() as bridge:
        with socket.create_server((LOCALHOST, 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ConfigurationError, match=f"^cannot listen for RPC on .*:{port}: "):
                await bridge.serve({}, host=LOCALHOST, port=port)


async def test_an_exception_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_bridge():
            raise ZeroDivisionError


async def test_a_connection_that_was_closed_as_soon_as_it_was_made_refuses_calls() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async with open_bridge() as bridge, trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host=LOCALHOST))
        host, port = listeners[0].socket.getsockname()
        stream = await trio.open_tcp_stream(host, port)
        sock = socket.socket(fileno=stream.socket.detach())
        connection = await bridge.attach(host, port, sock)
        with trio.fail_after(5):
            while connection.is_open:
                await trio.sleep(0.001)
        with pytest.raises(CallRefused, match=r"^UNAVAILABLE: the connection is lost$"):
            await connection.call(ECHO, b"", 5)
        nursery.cancel_scope.cancel()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


async def exchange(channel: RpcChannel, sent: bytes, until: bytes | None = None) -> None:
    """Send bytes as they are, and read until the server closes or sends what is asked."""
    received = b""
    async with await trio.open_tcp_stream(channel._host, channel._port) as stream:
        await stream.send_all(sent)
        with trio.fail_after(5):
            async for chunk in stream:
                received += chunk
                if until is not None and until in received:
                    return
    assert until is None, "the server closed the connection"


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
        pytest.param(PREFACE + b"\0\0\4\1\5\0\0\0\1" + b"\xff" * 4, id="headers"),
        pytest.param(PREFACE + SETTINGS + b"\0\0\4\6\0\0\0\0\0" + bytes(4), id="short ping"),
    ],
)
async def test_a_peer_that_talks_garbage_loses_only_its_own_connection(garbage: bytes) -> None:
    async with serving({ECHO: echo}) as (_, channel, _):
        await exchange(channel, garbage)
        assert await channel.call(ECHO, b"alive", timeout=5) == b"alive"


async def test_frames_of_unknown_types_are_ignored() -> None:
    async with serving({ECHO: echo}) as (_, channel, _):
        unknown = b"\0\0\1\xf0\0\0\0\0\0x"
        ping = b"\0\0\x08\x06\0\0\0\0\0" + b"12345678"
        await exchange(channel, PREFACE + SETTINGS + unknown + ping, until=b"12345678")


async def test_a_failing_asyncio_callback_is_logged_and_harmless() -> None:
    async with serving({ECHO: echo}) as (bridge, channel, _):
        with structlog.testing.capture_logs() as logs:
            bridge.loop.call_soon(lambda: 1 / 0)
            assert await channel.call(ECHO, b"alive", timeout=5) == b"alive"
    assert [entry["event"] for entry in logs] == ["asyncio callback failed"]


async def test_large_messages_at_the_same_time_all_pass() -> None:
    async with serving({ECHO: echo}) as (_, channel, _), trio.open_nursery() as nursery:

        async def call(size: int) -> None:
            assert await channel.call(ECHO, bytes(size), timeout=30) == bytes(size)

        for size in range(1_000_000, 6_000_000, 1_000_000):
            nursery.start_soon(call, size)


async def test_a_call_that_waits_to_be_written_fails_when_the_connection_is_lost() -> None:
    """The peer allows much and reads nothing."""
    much = (1 << 30).to_bytes(4, "big")
    generous = b"\0\0\6\4\0\0\0\0\0\0\4" + much + b"\0\0\4\x08\0\0\0\0\0" + much
    hung_up = trio.Event()
    answered = trio.Event()

    async def peer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(generous)
            answered.set()
            await hung_up.wait()

    async with open_bridge() as bridge, trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, peer, 0, host=LOCALHOST))
        channel = bridge.connect(*listeners[0].socket.getsockname())

        async def call(size: int) -> None:
            with pytest.raises(RpcError) as caught:
                await channel.call(ECHO, bytes(size), timeout=30)
            assert caught.value.status is RpcStatus.UNAVAILABLE

        with trio.fail_after(10):
            async with trio.open_nursery() as calls:
                calls.start_soon(call, 10)
                await answered.wait()
                await wait_all_tasks_blocked(0.02)
                calls.start_soon(call, 30_000_000)
                await wait_all_tasks_blocked(0.02)
                calls.start_soon(call, 10)
                await wait_all_tasks_blocked(0.02)
                hung_up.set()
        nursery.cancel_scope.cancel()


async def test_a_connection_without_stream_ids_left_is_replaced() -> None:
    async with serving({ECHO: echo}) as (_, channel, _):
        await channel.call(ECHO, b"", timeout=5)
        connection: Any = channel._connection
        connection._protocol.connection._connection.highest_outbound_stream_id = 2**31 - 1
        assert (await failure(channel)).status is RpcStatus.UNAVAILABLE
        assert await channel.call(ECHO, b"fresh", timeout=5) == b"fresh"


async def test_a_socket_that_cannot_become_a_connection_is_closed() -> None:
    async with open_bridge() as bridge:
        unconnected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with pytest.raises(ValueError, match="Stream Socket"):
            await bridge.attach("peer", 1, unconnected)
        assert unconnected.fileno() == -1


async def test_a_call_on_a_connection_that_is_lost_already_is_unavailable() -> None:
    async with open_bridge() as bridge, trio.open_nursery() as nursery:
        host, port = await nursery.start(
            partial(bridge.serve, {ECHO: echo}, host=LOCALHOST, port=0)
        )
        connection = await bridge.attach(host, port, socket.create_connection((host, port)))
        connection.close()
        await until(lambda: not connection.is_open)
        with pytest.raises(RpcError) as caught:
            await connection.call(ECHO, b"x", 5)
        nursery.cancel_scope.cancel()
    assert caught.value.status is RpcStatus.UNAVAILABLE
