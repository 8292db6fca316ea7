"""What peers that finish nothing may make a server hold."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamReset, TrailersReceived
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.rpc import framing
from connect.rpc.channel import RpcChannel
from connect.rpc.errors import RpcStatus
from connect.rpc.http2 import keep_chunk
from connect.rpc.intake import CALL_BYTES, Arrivals, Holding, Intake, Room
from connect.rpc.message_stream import ServerStream
from connect.rpc.send_queue import SendQueue
from tests.rpc.loopback import ECHO, STREAM, WAIT, echo, failure, serving, until

SMALL = 10_000  # bytes of the largest message


@dataclass
class Message:
    """One that arrives, or does not."""

    expired_at: list[float] = field(default_factory=list)

    def expire(self) -> None:
        self.expired_at.append(trio.current_time())

    __hash__ = object.__hash__


class Raw:
    """A client that does what HTTP/2 allows: it begins calls, and need not end them."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.statuses: dict[int, int] = {}
        self._stream = stream
        self._writing = trio.Lock()
        self._h2 = H2Connection(H2Configuration(client_side=True))

    async def start(self) -> None:
        self._h2.initiate_connection()
        await self._flush()

    async def begin(self, path: str, data: bytes = b"") -> int:
        """Open a call with some data; return its number."""
        number = self._h2.get_next_available_stream_id()
        headers = framing.request_headers(path, "server", None)
        self._h2.send_headers(number, headers)
        await self.send(number, data)
        return number

    async def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        self._h2.send_data(number, data, end_stream=end)
        await self._flush()

    async def read(self) -> None:
        """Take note of how calls end; runs until cancelled, or the server hangs up."""
        while data := await self._stream.receive_some():
            for event in self._h2.receive_data(data):
                if isinstance(event, ResponseReceived | TrailersReceived) and event.headers:
                    status = dict(event.headers).get(b"grpc-status")
                    if status is not None and event.stream_id is not None:
                        self.statuses[event.stream_id] = int(status)
                elif isinstance(event, StreamReset) and event.stream_id is not None:
                    self.statuses.setdefault(event.stream_id, -1)
            await self._flush()

    async def status(self, number: int) -> RpcStatus:
        await until(lambda: number in self.statuses)
        return RpcStatus(self.statuses[number])

    async def _flush(self) -> None:
        async with self._writing:
            await self._stream.send_all(self._h2.data_to_send())


@asynccontextmanager
async def raw_client(channel: RpcChannel) -> AsyncIterator[Raw]:
    """Connect to the server that the channel is for."""
    async with (
        await trio.open_tcp_stream(channel._host, channel._port) as stream,
        trio.open_nursery() as nursery,
    ):
        client = Raw(stream)
        await client.start()
        nursery.start_soon(client.read)
        yield client
        nursery.cancel_scope.cancel()


class Session:
    """A stream that keeps what comes."""

    def __init__(self, stream: ServerStream) -> None:
        self.stream = stream
        self.received: list[bytes] = []
        self.queue = SendQueue()

    def receive(self, message: bytes) -> None:
        self.received.append(message)

    async def run(self) -> None:
        await self.stream.pump(self.queue)

    def finish(self) -> None:
        self.queue.finish()


@asynccontextmanager
async def bounded(
    handlers: Any = None, *, streams: Any = None, **intake: Any
) -> AsyncIterator[RpcChannel]:
    """Serve with these bounds."""
    async with serving(
        handlers or {ECHO: echo},
        streams=streams,
        max_message_bytes=SMALL,
        intake=Intake(**({"held_bytes": 100_000} | intake)),
    ) as (_, channel, _):
        yield channel


def part(size: int, of: int = SMALL) -> bytes:
    """Return the beginning of a message of the call, with its prefix."""
    return framing.encode_message(bytes(of))[: framing.PREFIX_BYTES + size]


def test_a_room_holds_no_more_than_it_may() -> None:
    room = Room(10)
    assert [room.add(6), room.add(6), room.add(-3), room.add(6)] == [True, False, True, True]
    assert room.held == 9


def test_a_room_in_a_full_one_takes_nothing() -> None:
    whole = Room(10)
    assert Room(8, whole).add(8)
    other = Room(8, whole)
    assert not other.add(8)
    assert (whole.held, other.held) == (8, 0)


def test_what_does_not_grow_into_a_room_keeps_its_size() -> None:
    room = Room(10)
    holding = Holding(room)
    assert [holding.resize(7), holding.resize(11), holding.resize(2)] == [True, False, True]
    assert room.held == 2


def test_chunks_are_kept_together_and_empty_ones_not_at_all() -> None:
    chunks: list[bytes | bytearray] = []
    for chunk in (b"", b"a", b"", b"bc", b"d", b""):
        keep_chunk(chunks, chunk)
    assert chunks == [b"a", b"bcd"]


async def test_messages_expire_when_their_own_time_is_over(autojump_clock: MockClock) -> None:
    arrivals, first, second, whole = Arrivals(30), Message(), Message(), Message()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(arrivals.watch)
        arrivals.begin(first)
        await trio.sleep(10)
        arrivals.begin(first)  # goes on; it does not begin anew
        arrivals.begin(second)
        arrivals.begin(whole)
        arrivals.end(whole)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert (first.expired_at, second.expired_at, whole.expired_at) == ([30], [40], [])


async def test_a_message_that_begins_long_after_the_last_one_expires_too(
    autojump_clock: MockClock,
) -> None:
    arrivals, first, second = Arrivals(30), Message(), Message()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(arrivals.watch)
        arrivals.begin(first)
        await trio.sleep(1000)
        arrivals.begin(second)
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()
    assert second.expired_at == [1030]


async def test_unfinished_calls_are_refused_when_they_would_hold_too_much() -> None:
    async with bounded() as channel, raw_client(channel) as client:
        calls = [await client.begin(ECHO, part(9000)) for _ in range(5)]
        assert await client.status(calls[-1]) is RpcStatus.RESOURCE_EXHAUSTED
        assert list(client.statuses) == calls[3:]  # half of the room takes three


async def test_calls_without_messages_are_refused_when_there_are_too_many() -> None:
    async with bounded() as channel, raw_client(channel) as client:
        calls = [await client.begin(ECHO) for _ in range(50_000 // CALL_BYTES + 1)]
        assert await client.status(calls[-1]) is RpcStatus.RESOURCE_EXHAUSTED
        assert list(client.statuses) == calls[-1:]


async def test_a_peer_that_finishes_nothing_leaves_room_for_others() -> None:
    async with bounded() as channel, raw_client(channel) as client:
        for _ in range(50):
            await client.begin(ECHO, part(9000))
        await until(lambda: len(client.statuses) == 47)
        assert await channel.call(ECHO, bytes(SMALL), timeout=5) == bytes(SMALL)


async def test_calls_that_are_carried_out_count() -> None:
    entered = 0

    async def wait(data: bytes) -> bytes:
        nonlocal entered
        entered += 1
        await trio.sleep_forever()
        raise AssertionError

    async with bounded({WAIT: wait}) as channel, raw_client(channel) as client:
        for _ in range(3):
            await client.send(await client.begin(WAIT, part(9000, of=9000)), b"", end=True)
        await until(lambda: entered == 3)
        more = await client.begin(WAIT, part(9000))
        assert await client.status(more) is RpcStatus.RESOURCE_EXHAUSTED


async def test_there_is_room_again_once_calls_have_ended() -> None:
    async with bounded() as channel:
        for _ in range(20):
            assert await channel.call(ECHO, bytes(9000), timeout=5) == bytes(9000)


async def test_there_is_room_again_once_a_peer_that_finishes_nothing_is_gone() -> None:
    async with bounded(held_bytes=0) as channel:
        async with raw_client(channel) as client:
            await client.begin(ECHO, part(9000))
            await until(lambda: client._h2.remote_settings.max_concurrent_streams > 100)
            await wait_all_tasks_blocked(0.01)
            assert (await failure(channel)).status is RpcStatus.RESOURCE_EXHAUSTED
        await wait_all_tasks_blocked(0.01)
        assert await channel.call(ECHO, b"x", timeout=5) == b"x"


async def test_one_message_of_the_largest_size_fits_whatever_the_bound() -> None:
    async with bounded(held_bytes=0) as channel:
        assert await channel.call(ECHO, bytes(SMALL), timeout=5) == bytes(SMALL)


async def test_a_message_that_does_not_arrive_in_time_is_refused(
    patient_clock: MockClock,
) -> None:
    async with bounded() as channel, raw_client(channel) as client:
        call = await client.begin(ECHO, part(10))
        await trio.sleep(29)
        assert client.statuses == {}
        await trio.sleep(2)
        assert await client.status(call) is RpcStatus.DEADLINE_EXCEEDED


async def test_a_call_that_is_carried_out_has_all_the_time_it_needs(
    patient_clock: MockClock,
) -> None:
    async def slow(data: bytes) -> bytes:
        await trio.sleep(100)
        return data

    async with bounded({WAIT: slow}) as channel:
        assert await channel.call(WAIT, b"x", timeout=200) == b"x"


@asynccontextmanager
async def bounded_stream(**intake: Any) -> AsyncIterator[tuple[Raw, list[Session]]]:
    sessions: list[Session] = []

    def begin(stream: ServerStream) -> Session:
        sessions.append(Session(stream))
        return sessions[-1]

    async with (
        bounded(streams={STREAM: begin}, **intake) as channel,
        raw_client(channel) as client,
    ):
        yield client, sessions


async def test_streams_with_unfinished_messages_end_when_they_would_hold_too_much() -> None:
    async with bounded_stream() as (client, _):
        streams = [await client.begin(STREAM, part(9000)) for _ in range(4)]
        assert await client.status(streams[-1]) is RpcStatus.RESOURCE_EXHAUSTED
        assert list(client.statuses) == streams[3:]


async def test_streams_are_refused_when_there_are_too_many() -> None:
    async with bounded_stream() as (client, sessions):
        for _ in range(50_000 // CALL_BYTES):
            await client.begin(STREAM)
        assert await client.status(await client.begin(STREAM)) is RpcStatus.RESOURCE_EXHAUSTED
        assert len(sessions) == 50_000 // CALL_BYTES


async def test_a_stream_holds_its_messages_only_until_they_are_complete() -> None:
    async with bounded_stream() as (client, _):
        stream = await client.begin(STREAM)
        for _ in range(20):
            await client.send(stream, part(9000, of=9000))
        await wait_all_tasks_blocked(0.01)
        assert client.statuses == {}


async def test_a_stream_whose_message_does_not_go_on_ends(patient_clock: MockClock) -> None:
    async with bounded_stream() as (client, _):
        stream = await client.begin(STREAM, part(10, of=10) + part(10))
        await trio.sleep(31)
        assert await client.status(stream) is RpcStatus.DEADLINE_EXCEEDED


async def test_a_stream_without_an_unfinished_message_goes_on(patient_clock: MockClock) -> None:
    async with bounded_stream() as (client, sessions):
        stream = await client.begin(STREAM, part(5, of=10))
        await client.send(stream, bytes(5))
        await trio.sleep(100)
        await client.send(stream, part(10, of=10))
        await until(lambda: len(sessions[0].received) == 2)
        assert client.statuses == {}


async def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    with structlog.testing.capture_logs() as logs:
        async with bounded(connections=1) as channel, raw_client(channel):
            await wait_all_tasks_blocked(0.01)
            for _ in range(2):
                assert (await failure(channel)).status is RpcStatus.UNAVAILABLE
    told = [entry["limit"] for entry in logs if entry["event"] == "too many rpc connections"]
    assert told == [1]


async def test_a_connection_is_taken_again_once_another_one_is_gone() -> None:
    async with bounded(connections=1) as channel:
        async with raw_client(channel):
            await wait_all_tasks_blocked(0.01)
            await failure(channel)
        await wait_all_tasks_blocked(0.01)
        assert await channel.call(ECHO, b"x", timeout=5) == b"x"
