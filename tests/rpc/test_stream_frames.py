"""What either end of a stream makes of the frames that the other sends, sensible or not."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.protocol.messages.connect import v1 as pb
from connect.rpc import frames, send_queue
from connect.rpc.bridge import open_bridge
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.message_stream import ServerStream
from connect.rpc.methods import STREAM_V1
from connect.rpc.send_queue import SendQueue
from tests.rpc.loopback import Client, serving, streaming, until
from tests.rpc.stream_rig import (
    OPEN_SECONDS,
    RunningExecutor,
    RunningGateway,
    Worker,
    open_executor_side,
    open_gateway,
    request,
    response,
)

HELLO = frames.hello_frame("executor-9", 7009)


def frame(**fields: Any) -> bytes:
    """Write any frame of an executor, as gRPC sends it."""
    body = bytes(pb.ExecutorFrame(**fields))
    return b"\0" + len(body).to_bytes(4, "big") + body


@asynccontextmanager
async def talking_to_gateway(
    worker: Worker | None = None, **settings: Any
) -> AsyncIterator[tuple[RunningGateway, Client]]:
    """A gateway, and a stream to it that says what the test says."""
    async with (
        open_bridge() as bridge,
        open_gateway(bridge, worker or Worker(), **settings) as gateway,
        streaming(bridge.connect(*gateway.address), STREAM_V1) as client,
    ):
        yield gateway, client


async def received(client: Client, count: int) -> list[frames.GatewayFrame]:
    return [frames.read_gateway_frame(message) for message in await client.receive(count)]


# A gateway


async def test_a_gateway_welcomes_an_executor() -> None:
    async with talking_to_gateway() as (gateway, client):
        await client.queue.send(HELLO)
        [welcome] = await received(client, 1)
        assert (welcome.kind, len(gateway.executors)) == (frames.GATEWAY_HELLO, 1)


@pytest.mark.parametrize(
    "sent",
    [
        frames.forward_frame(1, "conn-1", request()),
        frames.hello_frame("", 7000),
        frames.hello_frame("executor-9", 0),
        frames.hello_frame("executor-9", 65536),
        HELLO + HELLO,
        HELLO + frames.forward_frame(0, "conn-1", request()),
        HELLO + frames.forward_frame(1, "conn-1", request()) * 2,
        HELLO + b"\0\0\0\0\1\xff",
    ],
    ids=[
        "no hello",
        "no host",
        "no port",
        "port too large",
        "two hellos",
        "no id",
        "an id twice",
        "no frame",
    ],
)
async def test_a_gateway_ends_a_stream_that_breaks_the_rules(sent: bytes) -> None:
    async with talking_to_gateway() as (gateway, client):
        await client.queue.send(sent)
        assert (await client.failure()).status is RpcStatus.INVALID_ARGUMENT
        await until(lambda: len(gateway.executors) == 0)


async def test_a_gateway_ignores_what_it_does_not_know() -> None:
    async with talking_to_gateway() as (_, client):
        await client.queue.send(HELLO)
        await client.queue.send(frame(kind=77, id=3))
        await client.queue.send(frames.withdraw_frame(3))
        await client.queue.send(frames.receipt_frame(3, taken=True))
        await client.queue.send(frames.forward_frame(1, "conn-1", request()))
        outcome = (await received(client, 2))[1]
        assert (outcome.kind, outcome.id, outcome.success) == (frames.OUTCOME, 1, True)


async def test_a_gateway_refuses_requests_that_hold_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("connect.rpc.executor_streams._MAX_FORWARD_BYTES", 10)
    async with talking_to_gateway() as (_, client):
        await client.queue.send(HELLO + frames.forward_frame(1, "conn-1", request()))
        refusal = (await received(client, 2))[1]
        assert refusal.status == RpcStatus.RESOURCE_EXHAUSTED


async def test_forwards_of_all_streams_share_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connect.rpc.executor_streams._MAX_BYTES", 10_000)
    [first, *_] = frames.forward_frames(1, "conn-1", bytes(2 * frames.PIECE_BYTES))
    async with talking_to_gateway() as (_, client):
        await client.queue.send(HELLO + first)
        refusal = (await received(client, 2))[1]
        assert (refusal.id, refusal.status) == (1, RpcStatus.RESOURCE_EXHAUSTED)


async def test_a_stream_that_ends_leaves_its_room_to_others() -> None:
    [first, *_] = frames.forward_frames(1, "conn-1", bytes(2 * frames.PIECE_BYTES))
    async with talking_to_gateway() as (gateway, client):
        await client.queue.send(HELLO + first)
        await until(lambda: gateway.executors._room.held == frames.PIECE_BYTES)
    assert gateway.executors._room.held == 0


async def test_a_reply_without_receipt_in_time_is_not_taken(patient_clock: MockClock) -> None:
    async with talking_to_gateway(reply_timeout=3) as (gateway, client):
        await client.queue.send(HELLO)
        await client.receive(1)
        assert not await gateway.executors.reply("executor-9", 7009, response())
        assert trio.current_time() >= 3
        assert gateway.fallback.pushed == []


async def test_an_executor_that_does_not_read_its_outcomes_loses_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(send_queue, "_OVERFLOW", 5)
    async with talking_to_gateway() as (_, client):
        refused = frames.forward_frame(1, "", request())
        await client.queue.send(HELLO + refused * 2)
        assert (await client.failure()).status is RpcStatus.RESOURCE_EXHAUSTED


async def test_an_executor_that_sends_no_more_gets_its_outcomes_and_then_the_end() -> None:
    proceed = trio.Event()

    async def act(connection_id: str, data: bytes) -> bool:
        await proceed.wait()
        return True

    worker = Worker(act)
    async with talking_to_gateway(worker) as (gateway, client):
        await client.queue.send(HELLO + frames.forward_frame(1, "conn-1", request()))
        await until(lambda: worker.forwarded)
        http2 = client.stream._stream
        http2._h2_connection.end_stream(http2.id)
        http2.connection.flush()
        await until(lambda: len(gateway.executors) == 0)
        proceed.set()
        assert (await received(client, 2))[1].success
        assert (await client.failure()).message == "the server ended the stream"


@pytest.mark.parametrize("seed", range(20))
async def test_random_frames_never_disturb_other_executors(seed: int) -> None:
    chance = random.Random(seed)

    def noise() -> bytes:
        fields = {
            "kind": chance.randrange(5),
            "id": chance.choice((-1, 0, 1, 2, 3)),
            "connection_id": chance.choice(("", "conn-1")),
            "data": chance.choice((b"", b"\xff", request(), bytes(1000))),
            "more": chance.random() < 0.5,
            "host": chance.choice(("", "h")),
            "port": chance.choice((-1, 1, 70_000)),
        }
        written = bytearray(
            frame(**{name: fields[name] for name in fields if chance.random() < 0.6})
        )
        if chance.random() < 0.2:
            written[chance.randrange(len(written))] ^= 1 << chance.randrange(8)
        return bytes(written)

    with structlog.testing.capture_logs() as logs:
        async with (
            open_bridge() as bridge,
            open_gateway(bridge, Worker()) as gateway,
            open_executor_side(bridge) as executor,
        ):
            await executor.connect(gateway)
            for _ in range(10):
                async with streaming(bridge.connect(*gateway.address), STREAM_V1) as client:
                    await client.queue.send(HELLO)
                    await client.queue.send(b"".join(noise() for _ in range(20)))
                    await wait_all_tasks_blocked()
            assert await executor.forward(gateway)
            assert await gateway.executors.reply("executor-1", 7000, response())
    assert not [entry for entry in logs if entry["log_level"] in ("error", "exception")]


# An executor


class Script:
    """A gateway's session that says what the test says."""

    def __init__(self, stream: ServerStream) -> None:
        self.stream = stream
        self.queue = SendQueue()
        self.received: list[frames.ExecutorFrame] = []

    def receive(self, message: bytes) -> None:
        self.received.append(frames.read_executor_frame(message))

    async def run(self) -> None:
        await self.stream.pump(self.queue)

    def finish(self) -> None:
        self.queue.finish()


@asynccontextmanager
async def talking_to_executor(
    begin: Callable[[Script], None],
) -> AsyncIterator[tuple[RunningExecutor, Script, Callable[[], Any]]]:
    """An executor, the session that it opened, and a forward of it in the background.

    Args:
        begin: called with the session when it begins.
    """
    sessions: list[Script] = []

    def handle(stream: ServerStream) -> Script:
        sessions.append(Script(stream))
        begin(sessions[-1])
        return sessions[-1]

    async with (
        serving({}, streams={STREAM_V1: handle}) as (bridge, channel, _),
        open_executor_side(bridge) as executor,
    ):

        async def forward() -> bool:
            return await executor.streams.forward(
                channel._host, channel._port, "conn-1", request(), timeout=30
            )

        with pytest.raises(RpcError):  # as a call, which this gateway does not know
            await forward()
        await until(lambda: sessions)
        yield executor, sessions[0], forward


def welcome(script: Script) -> None:
    script.queue.answer(frames.welcome_frame())


async def test_an_executor_announces_its_address_first() -> None:
    async with talking_to_executor(welcome) as (_, script, _):
        await until(lambda: script.received)
        hello = script.received[0]
        assert (hello.kind, hello.host, hello.port) == (
            frames.EXECUTOR_HELLO,
            "executor-1",
            7000,
        )


async def test_a_stream_that_is_not_answered_is_given_up_and_tried_again_later(
    patient_clock: MockClock,
) -> None:
    begun: list[float] = []
    async with talking_to_executor(lambda _: begun.append(trio.current_time())) as (
        executor,
        script,
        forward,
    ):
        await trio.sleep(OPEN_SECONDS + 1)
        assert script.stream.failure is not None
        assert len(executor.streams) == 0
        with pytest.raises(RpcError):
            await forward()
        await until(lambda: len(begun) == 2)


async def test_an_executor_ignores_what_it_does_not_know() -> None:
    async with talking_to_executor(welcome) as (executor, script, forward):
        await until(lambda: len(executor.streams))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forward)
            await until(lambda: len(script.received) == 2)
            script.queue.answer(b"\0\0\0\0\2\x08\x4d")  # kind 77
            script.queue.answer(frames.outcome_frame(99, success=True))
            script.queue.answer(frames.outcome_frame(1, success=True))


async def test_a_status_that_grpc_does_not_have_is_unknown() -> None:
    async with talking_to_executor(welcome) as (executor, script, forward):
        await until(lambda: len(executor.streams))

        async def fail() -> None:
            with pytest.raises(RpcError) as caught:
                await forward()
            assert (caught.value.status, caught.value.message) == (RpcStatus.UNKNOWN, "odd")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await until(lambda: len(script.received) == 2)
            body = bytes(
                pb.GatewayFrame(kind=pb.GatewayFrameKind(1), id=1, status=77, message="odd")
            )
            script.queue.answer(b"\0" + len(body).to_bytes(4, "big") + body)


async def test_a_gateway_that_does_not_read_its_receipts_loses_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with talking_to_executor(welcome) as (executor, script, _):
        await until(lambda: len(executor.streams))
        monkeypatch.setattr(send_queue, "_OVERFLOW", 5)
        with structlog.testing.capture_logs():
            for number in range(1, 4):
                script.queue._put(frames.reply_frame(number, response()))
            script.queue._hurry()
            await until(lambda: len(executor.streams) == 0)


async def test_receipts_wait_a_moment_for_the_next_forward() -> None:
    async with talking_to_executor(welcome) as (executor, script, forward):
        await until(lambda: len(executor.streams))
        script.queue.answer(frames.reply_frame(1, response()))
        await until(lambda: executor.replies.delivered)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forward)
            await until(lambda: len(script.received) == 3)
            assert [frame.kind for frame in script.received[1:]] == [frames.RECEIPT, frames.FORWARD]
            nursery.cancel_scope.cancel()
