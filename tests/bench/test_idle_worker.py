"""The worker that takes next to nothing, against a gateway of the WebSocket library's own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
)

from bench.idle_worker import IdleWorker, Tally
from bench.work import APP_NAME, BODY_BYTES, Requests, bench_app
from connect.protocol.codec import decode
from connect.protocol.envelope import decode_message, encode_message
from connect.protocol.messages.connect import v1 as pb

Kind = pb.GatewayMessageType
READY = bytes(pb.GatewayConnectionReadyData(heartbeat_interval="10s"))


class Session:
    """The gateway's end of one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._events: list[Event] = []

    async def next(self) -> Event:
        while not self._events:
            self._protocol.receive_data(bytes(await self.stream.receive_some()) or None)
            self._events += self._protocol.events()
        return self._events.pop(0)

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self._protocol.send(event))

    async def tell(self, kind: int, payload: bytes = b"") -> None:
        await self.send(BytesMessage(data=encode_message(kind, payload)))

    async def expect(self, kind: int) -> bytes:
        event = await self.next()
        assert isinstance(event, BytesMessage)
        found, payload = decode_message(bytes(event.data))
        assert found == kind
        return payload

    async def accept(self) -> pb.WorkerConnectRequestData:
        """Take the worker in; return what it says of itself."""
        request = await self.next()
        assert isinstance(request, Request)
        await self.send(AcceptConnection(subprotocol=request.subprotocols[0]))
        await self.tell(Kind.GATEWAY_HELLO)
        hello = decode(pb.WorkerConnectRequestData, await self.expect(Kind.WORKER_CONNECT))
        await self.tell(Kind.GATEWAY_CONNECTION_READY, READY)
        return hello

    async def closed(self) -> tuple[int, str | None]:
        event = await self.next()
        assert isinstance(event, CloseConnection)
        await self.send(event.response())
        return event.code, event.reason


class Service:
    """An API that sends workers to a gateway, and the gateway's new connections.

    Attributes:
        unreachable: so many attempts to reach the API fail.
        answer: what the API answers with; a gateway's address when None.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.unreachable = 0
        self.answer: bytes | None = None
        self._nursery = nursery
        self._arrive, self._arrived = trio.open_memory_channel[Session](10)

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        worker, here = trio.testing.memory_stream_pair()
        if (host, port) == ("gateway", 8289):
            self._arrive.send_nowait(Session(here))
        elif self.unreachable:
            self.unreachable -= 1
            raise ConnectionRefusedError
        else:
            self._nursery.start_soon(self._start, here)
        return worker

    async def _start(self, stream: trio.abc.Stream) -> None:
        request = await stream.receive_some()
        assert request.startswith(b"POST /v0/connect/start HTTP/1.1\r\n")
        body = bytes(
            pb.StartResponse(connection_id="01", gateway_endpoint="ws://gateway:8289/v0/connect")
        )
        answer = b"HTTP/1.1 200 OK\r\n\r\n" + body if self.answer is None else self.answer
        await stream.send_all(answer)
        await stream.aclose()

    async def arrival(self) -> Session:
        with trio.fail_after(120):
            return await self._arrived.receive()


@asynccontextmanager
async def open_service() -> AsyncIterator[tuple[Service, Tally]]:
    """Run one worker, and what it connects to."""
    async with trio.open_nursery() as nursery:
        service, tally = Service(nursery), Tally()
        worker = IdleWorker(
            bench_app(),
            api_url="http://api:8288",
            instance_id="worker-1",
            tally=tally,
            connecting=trio.CapacityLimiter(1),
            dial=service.dial,
        )
        nursery.start_soon(worker.run)
        yield service, tally
        nursery.cancel_scope.cancel()


def request(number: int = 1) -> bytes:
    requests = Requests("an-app", b"{}")
    for _ in range(number - 1):
        requests.next()
    return requests.next()


async def test_the_worker_says_who_it_is_and_what_it_serves(autojump_clock: MockClock) -> None:
    async with open_service() as (service, _):
        hello = await (await service.arrival()).accept()
    assert (hello.instance_id, [app.app_name for app in hello.apps]) == ("worker-1", [APP_NAME])


async def test_run_is_started_once_the_connection_is_ready(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        service, tally = Service(nursery), Tally()
        worker = IdleWorker(
            bench_app(),
            api_url="http://api:8288",
            instance_id="worker-1",
            tally=tally,
            connecting=trio.CapacityLimiter(1),
            dial=service.dial,
        )

        async def accept() -> None:
            await (await service.arrival()).accept()

        nursery.start_soon(accept)
        await nursery.start(worker.run)
        assert tally.connected == 1
        nursery.cancel_scope.cancel()


async def test_it_beats_at_the_interval_that_the_gateway_tells(autojump_clock: MockClock) -> None:
    async with open_service() as (service, _):
        session = await service.arrival()
        await session.accept()
        began = trio.current_time()
        for _ in range(2):
            await session.expect(Kind.WORKER_HEARTBEAT)
            await session.tell(Kind.GATEWAY_HEARTBEAT)
        assert trio.current_time() - began == pytest.approx(20, abs=0.1)


async def test_a_request_is_acknowledged_and_answered(autojump_clock: MockClock) -> None:
    async with open_service() as (service, _):
        session = await service.arrival()
        await session.accept()
        await session.tell(Kind.GATEWAY_EXECUTOR_REQUEST, request())
        ack = decode(pb.WorkerRequestAckData, await session.expect(Kind.WORKER_REQUEST_ACK))
        reply = decode(pb.SdkResponse, await session.expect(Kind.WORKER_REPLY))
    assert ack.request_id == reply.request_id
    assert (reply.status, len(reply.body)) == (pb.SdkResponseStatus.DONE, BODY_BYTES)


async def test_a_ping_is_answered(autojump_clock: MockClock) -> None:
    async with open_service() as (service, _):
        session = await service.arrival()
        await session.accept()
        await session.send(Ping(payload=b"there?"))
        assert await session.next() == Pong(payload=b"there?")


@pytest.mark.parametrize("size", [100, 200, 70_000])
async def test_messages_of_every_size_are_understood(size: int, autojump_clock: MockClock) -> None:
    async with open_service() as (service, _):
        session = await service.arrival()
        await session.accept()
        large = bytes(pb.GatewayExecutorRequestData(request_id="r" * size))
        await session.tell(Kind.GATEWAY_EXECUTOR_REQUEST, large)
        ack = decode(pb.WorkerRequestAckData, await session.expect(Kind.WORKER_REQUEST_ACK))
    assert ack.request_id == "r" * size


async def test_the_connection_to_a_closing_gateway_is_left_once_another_is_ready(
    autojump_clock: MockClock,
) -> None:
    async with open_service() as (service, _):
        old = await service.arrival()
        await old.accept()
        await old.tell(Kind.GATEWAY_CLOSING)
        new = await service.arrival()
        await trio.sleep(5)
        await old.tell(Kind.GATEWAY_EXECUTOR_REQUEST, request())
        await old.expect(Kind.WORKER_REQUEST_ACK)  # it still serves
        await old.expect(Kind.WORKER_REPLY)
        await old.tell(Kind.WORKER_REPLY_ACK, _ack())
        await new.accept()
        assert await old.closed() == (1000, "GATEWAY_DRAINING")


async def test_the_old_connection_stays_until_its_replies_are_confirmed(
    autojump_clock: MockClock,
) -> None:
    async with open_service() as (service, _):
        old = await service.arrival()
        await old.accept()
        await old.tell(Kind.GATEWAY_EXECUTOR_REQUEST, request())
        await old.tell(Kind.GATEWAY_CLOSING)
        await old.expect(Kind.WORKER_REQUEST_ACK)
        await old.expect(Kind.WORKER_REPLY)
        await (await service.arrival()).accept()
        with trio.move_on_after(5) as waiting:
            await old.next()
        assert waiting.cancelled_caught
        await old.tell(Kind.WORKER_REPLY_ACK, _ack())
        assert await old.closed() == (1000, "GATEWAY_DRAINING")


def _ack() -> bytes:
    asked = decode(pb.GatewayExecutorRequestData, request())
    return bytes(pb.WorkerReplyAckData(request_id=asked.request_id))


async def _drop(session: Session) -> None:
    await session.stream.aclose()


async def _close(session: Session) -> None:
    await session.send(CloseConnection(code=1001, reason="connect_gateway_closing"))


@pytest.mark.parametrize("end", [_drop, _close])
async def test_a_connection_that_ends_is_replaced(
    end: Callable[[Session], Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with open_service() as (service, tally):
        session = await service.arrival()
        await session.accept()
        await end(session)
        await (await service.arrival()).accept()
        await trio.testing.wait_all_tasks_blocked()
        assert tally.connected == 2


async def _refuse(session: Session) -> None:
    assert isinstance(await session.next(), Request)
    await session.send(RejectConnection(status_code=503, headers=[(b"Retry-After", b"7")]))


async def _close_at_once(session: Session) -> None:
    assert isinstance(await session.next(), Request)
    await session.send(AcceptConnection(subprotocol="v0.connect.inngest.com"))
    await _close(session)


async def _say_nothing(session: Session) -> None:
    await trio.sleep(20)


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (_refuse, "the gateway answered 503"),
        (_close_at_once, "closed in the handshake: 1001 connect_gateway_closing"),
        (_drop, "connection lost in the handshake"),
        (_say_nothing, "not ready in time"),
    ],
)
async def test_an_attempt_that_the_gateway_fails_is_counted_and_repeated(
    fail: Callable[[Session], Awaitable[None]], reason: str, autojump_clock: MockClock
) -> None:
    async with open_service() as (service, tally):
        await fail(await service.arrival())
        await (await service.arrival()).accept()
    assert dict(tally.failed) == {reason: 1}


async def test_a_gateway_that_asks_for_time_gets_it(autojump_clock: MockClock) -> None:
    async with open_service() as (service, _):
        await _refuse(await service.arrival())
        refused = trio.current_time()
        await service.arrival()
        assert trio.current_time() - refused >= 7


async def test_an_api_that_cannot_be_reached_is_tried_again(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        service, tally = Service(nursery), Tally()
        service.unreachable = 2
        worker = IdleWorker(
            bench_app(),
            api_url="http://api:8288",
            instance_id="worker-1",
            tally=tally,
            connecting=trio.CapacityLimiter(1),
            dial=service.dial,
        )
        nursery.start_soon(worker.run)
        await service.arrival()
        nursery.cancel_scope.cancel()
    assert dict(tally.failed) == {"ConnectionRefusedError": 2}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "the API answered 503"),
        (b"", "the API did not answer"),
    ],
)
async def test_an_answer_of_the_api_that_names_no_gateway_is_counted(
    answer: bytes, reason: str, autojump_clock: MockClock
) -> None:
    async with open_service() as (service, tally):
        service.answer = answer
        await trio.sleep(0.01)
        service.answer = None
        await service.arrival()
    assert set(tally.failed) == {reason}


def test_a_cleared_tally_counts_anew() -> None:
    tally = Tally(connected=3)
    tally.failed["no answer in time"] += 1
    tally.clear()
    found: tuple[int, dict[str, Any]] = (tally.connected, dict(tally.failed))
    assert found == (0, {})
