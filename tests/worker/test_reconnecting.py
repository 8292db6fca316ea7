"""A worker whose connections come and go."""

from dataclasses import replace

import pytest
import trio
from trio_websocket import WebSocketConnection

from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from connect.worker import Happening, JournalEntry
from tests.worker.conftest import QUICK, Gate, MakeWorker
from tests.worker.gateway import FakeGateway, Kind, error_body


def _details(journal: list[JournalEntry], what: Happening) -> list[str]:
    return [entry.detail for entry in journal if entry.what == what]


async def test_a_lost_connection_is_replaced(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    nursery.start_soon(make_worker().run)
    first = await gateway.session()

    await first.socket.aclose(1011, "connect_internal_error")
    second = await gateway.session()
    await second.request(data={"echo": 1})

    assert (await second.reply()).body == b"1"


async def test_the_reason_of_a_close_is_told(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    journal: list[JournalEntry],
) -> None:
    nursery.start_soon(make_worker().run)
    first = await gateway.session()

    await first.socket.aclose(1011, "connect_internal_error")
    await gateway.session()

    expected = "closed by the gateway: 1011 connect_internal_error"
    assert _details(journal, Happening.DISCONNECTED) == [expected]


async def test_work_outlives_its_connection_and_is_answered_over_the_next(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    nursery.start_soon(make_worker().run)
    first = await gateway.session()
    await first.request("app-gated", data={"echo": 4})
    await first.acked()

    await first.socket.aclose(1011)
    second = await gateway.session()
    extension = await second.extension()
    gate.release.set()

    assert extension.request_id == "r1"
    assert (await second.reply()).body == b"4"


async def test_a_reply_written_to_a_lost_connection_is_flushed_at_once(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    nursery.start_soon(make_worker().run)
    first = await gateway.session()
    await first.request()
    await first.reply(ack=False)

    await first.socket.aclose(1011)
    with trio.fail_after(3):
        while not gateway.flushed:
            await trio.sleep(0.005)

    assert gateway.flushed[0].request_id == "r1"


async def test_a_reply_without_any_connection_is_flushed(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    nursery.start_soon(make_worker().run)
    first = await gateway.session()
    await first.request("app-gated")
    await first.acked()
    gateway.start_answers = [(503, b"")] * 1000

    await first.socket.aclose(1011)
    with trio.fail_after(3):
        while len(gateway.starts) < 3:
            await trio.sleep(0.005)
        gate.release.set()
        while not gateway.flushed:
            await trio.sleep(0.005)

    assert gateway.flushed[0].request_id == "r1"


async def test_gateway_groups_that_were_lost_are_avoided(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    nursery.start_soon(make_worker().run)
    for _ in range(2):
        session = await gateway.session()
        await session.socket.aclose(1011)
    await gateway.session()

    avoided = [list(request.exclude_gateways) for _, request in gateway.starts]
    assert avoided == [[], ["group-1"], ["group-1", "group-2"]]


async def test_a_gateway_group_is_forgiven_after_a_while(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    nursery.start_soon(make_worker(timing=replace(QUICK, exclude=0.0)).run)
    first = await gateway.session()
    await first.socket.aclose(1011)
    await gateway.session()

    _, last = gateway.starts[-1]
    assert last.exclude_gateways == []


async def test_gateway_groups_that_fail_in_the_handshake_add_up(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    async def close(socket: WebSocketConnection) -> None:
        if len(gateway.starts) == 2:
            gateway.greet = None
        await socket.aclose(1001, "connect_gateway_closing")

    gateway.greet = close
    nursery.start_soon(make_worker().run)
    await gateway.session()

    _, last = gateway.starts[-1]
    assert last.exclude_gateways == ["group-1", "group-2"]


async def test_a_gateway_that_misses_heartbeats_is_left(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    journal: list[JournalEntry],
) -> None:
    nursery.start_soon(make_worker().run)
    first = await gateway.session()
    first.answers_heartbeats = False

    await gateway.session()

    assert await first.close_code() == (1000, "CONSECUTIVE_HEARTBEATS_MISSED")
    assert _details(journal, Happening.DISCONNECTED) == ["the gateway left 3 heartbeats unanswered"]


async def test_a_closing_gateway_is_left_only_when_its_work_is_done(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    worker = make_worker()
    nursery.start_soon(worker.run)
    first = await gateway.session()
    await first.request("app-gated", data={"echo": 6})
    await gate.entered.wait()

    await first.send(Kind.GATEWAY_CLOSING)
    second = await gateway.session()
    await second.extension()
    both = worker.connection_ids
    gate.release.set()
    reply = await second.reply()

    assert both == ("connection-1", "connection-2")
    assert reply.body == b"6"
    assert await first.close_code() == (1000, "GATEWAY_DRAINING")


async def test_gateways_that_close_one_after_the_other_cost_no_pauses(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    timing = replace(QUICK, backoff_first=0.1, backoff_most=600.0, stable=600.0)
    nursery.start_soon(make_worker(timing=timing, jitter=lambda: 1.0).run)
    with trio.fail_after(5):  # with pauses: 0.2 s, 0.4 s, … together more than 6 s
        for _ in range(6):
            session = await gateway.session()
            await trio.sleep(0.12)
            await session.send(Kind.GATEWAY_CLOSING)


async def test_an_idle_connection_to_a_closing_gateway_is_closed_at_once(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    nursery.start_soon(make_worker().run)
    first = await gateway.session()

    await first.send(Kind.GATEWAY_CLOSING)
    await gateway.session()

    assert await first.close_code() == (1000, "GATEWAY_DRAINING")


async def test_without_another_gateway_the_closing_one_still_gets_replies(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    nursery.start_soon(make_worker().run)
    first = await gateway.session()
    await first.request("app-gated", data={"echo": 6})
    await gate.entered.wait()
    gateway.start_answers = [(503, error_body("no gateway"))] * 1000

    await first.send(Kind.GATEWAY_CLOSING)
    gate.release.set()

    assert (await first.reply()).body == b"6"


async def test_a_gateway_that_closes_the_old_connection_first_does_no_harm(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    nursery.start_soon(make_worker(timing=replace(QUICK, stable=10.0)).run)
    first = await gateway.session()

    await first.send(Kind.GATEWAY_CLOSING)
    await first.socket.aclose(1001, "connect_gateway_closing")
    second = await gateway.session()
    await second.send(Kind.GATEWAY_CLOSING)
    third = await gateway.session()
    await third.request(data={"echo": 1})

    assert (await third.reply()).body == b"1"


async def test_a_ready_manual_worker_says_so_on_every_further_connection(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    worker = make_worker(manual_ready=True)
    await nursery.start(worker.run)
    await worker.ready()
    first = await gateway.session()

    await first.socket.aclose(1011)
    second = await gateway.session()

    await second.expect(Kind.WORKER_READY, pb.WorkerStatusData)


async def test_a_connection_lost_during_shutdown_is_replaced_for_the_work_in_flight(
    gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    worker = make_worker()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run)
            first = await gateway.session()
            await first.request("app-gated", data={"echo": 8})
            await gate.entered.wait()
            worker.shutdown()
            await first.expect(Kind.WORKER_PAUSE, pb.WorkerStatusData)
            await first.socket.aclose(1011)

            second = await gateway.session()
            await second.expect(Kind.WORKER_PAUSE, pb.WorkerStatusData)
            gate.release.set()
            reply = await second.reply()

    assert second.hello.worker_manual_readiness_ack
    assert reply.body == b"8"


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (503, error_body("no gateway"), "answered 503: no gateway"),
        (500, b"broken", "answered 500: broken"),
        (500, b"", "answered 500: X"),
        (500, b"[]", "answered 500: []"),
        (200, b"\xff", "answered something else"),
        (200, b"", "named no WebSocket URL: ''"),
        (200, bytes(pb.StartResponse(gateway_endpoint="ws://h:99999/")), "named no WebSocket URL"),
    ],
)
async def test_an_api_that_cannot_serve_is_asked_again(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    journal: list[JournalEntry],
    status: int,
    body: bytes,
    detail: str,
) -> None:
    gateway.start_answers = [(status, body)]

    await nursery.start(make_worker().run)

    (told,) = _details(journal, Happening.CONNECT_FAILED)
    assert detail in told


async def _say_nothing(socket: WebSocketConnection) -> None:
    await trio.sleep(1)


async def _say_garbage(socket: WebSocketConnection) -> None:
    await socket.send_message(b"\xff")
    await trio.sleep(1)


async def _say_text(socket: WebSocketConnection) -> None:
    await socket.send_message("hello")
    await trio.sleep(1)


async def _close_down(socket: WebSocketConnection) -> None:
    await socket.send_message(encode_message(Kind.GATEWAY_HEARTBEAT))
    await socket.send_message(encode_message(Kind.GATEWAY_CLOSING))
    await trio.sleep(1)


async def _promise_nonsense(socket: WebSocketConnection) -> None:
    ready = pb.GatewayConnectionReadyData(heartbeat_interval="often")
    await socket.send_message(encode_message(Kind.GATEWAY_CONNECTION_READY, bytes(ready)))
    await trio.sleep(1)


async def _vanish(socket: WebSocketConnection) -> None:
    await socket.aclose(1011)


@pytest.mark.parametrize(
    ("greeting", "detail"),
    [
        (_say_nothing, "not ready within 0.3 s"),
        (_say_garbage, "not a ConnectMessage"),
        (_say_text, "a text message"),
        (_close_down, "the gateway is closing"),
        (_promise_nonsense, "the gateway told no intervals"),
        (_vanish, "closed by the gateway: 1011"),
    ],
)
async def test_a_handshake_that_fails_is_followed_by_another(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    journal: list[JournalEntry],
    greeting: object,
    detail: str,
) -> None:
    async def greet(socket: WebSocketConnection) -> None:
        gateway.greet = None
        assert callable(greeting)
        await greeting(socket)

    gateway.greet = greet
    await nursery.start(make_worker().run)

    (told,) = _details(journal, Happening.CONNECT_FAILED)
    assert detail in told


async def test_shutdown_gives_up_connecting(gateway: FakeGateway, make_worker: MakeWorker) -> None:
    gateway.start_answers = [(503, b"")] * 1000
    worker = make_worker()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            while len(gateway.starts) < 2:
                await trio.sleep(0.005)
            worker.shutdown()


async def test_an_api_that_is_not_there_is_tried_until_it_is(
    make_worker: MakeWorker, journal: list[JournalEntry]
) -> None:
    worker = make_worker(api_url="http://127.0.0.1:1")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            while len(journal) < 2:
                await trio.sleep(0.005)
            nursery.cancel_scope.cancel()

    assert "no answer from http://127.0.0.1:1" in journal[0].detail


async def test_replies_wait_when_neither_gateway_nor_api_is_there(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    gateway.flush_statuses = [503, 503, 503]
    nursery.start_soon(make_worker(timing=replace(QUICK, flush_after=None)).run)
    first = await gateway.session()
    await first.request()
    await first.reply(ack=False)
    await first.socket.aclose(1011)

    with trio.fail_after(3):
        while not gateway.flushed:
            await trio.sleep(0.005)

    assert gateway.flush_attempts == 4
