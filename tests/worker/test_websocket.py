"""Opening a WebSocket where something else answers, or none that keeps to the rules."""

import base64
import hashlib
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio_websocket import WebSocketConnection

from connect.protocol.messages.connect import v1 as pb
from connect.worker import Happening, JournalEntry
from connect.worker.errors import ConnectionFailed
from connect.worker.websocket import use_websocket
from tests.worker.conftest import Gate, MakeWorker, until_happened
from tests.worker.gateway import FakeGateway

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Answer = Callable[[trio.SocketStream], Awaitable[None]]


async def _listen(nursery: trio.Nursery, handler: Answer) -> str:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(trio.serve_listeners, handler, listeners)
    return f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"


def _answer(data: bytes) -> Answer:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(data)
        await stream.receive_some()

    return answer


async def _unused(socket: WebSocketConnection) -> None:
    raise AssertionError


_ELSEWHERE = [
    pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", id="a TLS alert"),
    pytest.param(b"-ERR unknown command 'GET'\r\n\r\n", id="a Redis error"),
    pytest.param(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: abc\r\n\r\n",
        id="a wrong accept",
    ),
    pytest.param(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        id="another protocol",
    ),
]


@pytest.mark.parametrize("data", _ELSEWHERE)
async def test_what_speaks_no_websocket_is_a_failed_connection(
    nursery: trio.Nursery, data: bytes
) -> None:
    url = await _listen(nursery, _answer(data))

    with pytest.raises(ConnectionFailed, match=r"(speaks|opened) no WebSocket"):
        await use_websocket(url, _unused, deadline=1)


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
async def test_a_name_that_is_none_cannot_be_reached(host: str) -> None:
    with pytest.raises(ConnectionFailed, match="cannot reach"):
        await use_websocket(f"ws://{host}:1/", _unused, deadline=1)


async def test_any_fault_in_opening_is_a_failed_connection(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object, **options: object) -> None:
        raise KeyError("unforeseen")

    monkeypatch.setattr("connect.worker.websocket.wrap_client_stream", fail)
    url = await _listen(nursery, _answer(b""))

    with pytest.raises(ConnectionFailed, match="opened no WebSocket: KeyError: 'unforeseen'"):
        await use_websocket(url, _unused, deadline=1)


async def test_a_fault_of_the_user_is_its_own(nursery: trio.Nursery, gateway: FakeGateway) -> None:
    async def use(socket: WebSocketConnection) -> None:
        raise KeyError("mine")

    with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
        await use_websocket(gateway.endpoint, use, deadline=1)


async def _ping_after_the_close(stream: trio.SocketStream) -> None:
    head = await stream.receive_some()
    (key,) = (
        line.split(b": ")[1]
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    await stream.receive_some()  # the closing frame
    await stream.send_all(b"\x89\x00")
    await stream.receive_some()


async def test_a_ping_during_the_closing_handshake_is_a_failed_connection(
    nursery: trio.Nursery,
) -> None:
    async def use(socket: WebSocketConnection) -> None:
        await socket.aclose()

    url = await _listen(nursery, _ping_after_the_close)

    with pytest.raises(ConnectionFailed, match="speaks no WebSocket"):
        await use_websocket(url, use, deadline=1)


async def test_a_worker_that_was_sent_elsewhere_goes_on_trying_and_avoids_that_group(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    url = await _listen(nursery, _answer(b"-ERR unknown command 'GET'\r\n\r\n"))
    wrong = pb.StartResponse(gateway_endpoint=url, gateway_group="elsewhere")
    gateway.start_answers = [(200, bytes(wrong))]

    nursery.start_soon(make_worker().run)
    await gateway.session()

    assert gateway.starts[-1][1].exclude_gateways == ["elsewhere"]


async def test_a_fault_in_connecting_costs_no_work_in_flight(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    gate: Gate,
    journal: list[JournalEntry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway.ready.extend_lease_interval = "10s"
    nursery.start_soon(make_worker().run)
    first = await gateway.session()
    await first.request("app-gated", data={"echo": 4})
    await gate.entered.wait()

    async def fail(*args: object, **options: object) -> None:
        monkeypatch.undo()
        raise KeyError("unforeseen")

    monkeypatch.setattr("connect.worker.worker.use_websocket", fail)
    await first.socket.aclose(1011)
    second = await gateway.session()
    await second.extension()
    gate.release.set()

    assert (await second.reply()).body == b"4"
    failed = await until_happened(journal, Happening.CONNECT_FAILED)
    assert failed.detail == "KeyError: 'unforeseen'"


async def test_a_connection_that_breaks_the_rules_at_its_end_is_replaced(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def break_rules(
        url: str, use: Callable[[WebSocketConnection], Awaitable[None]], *, deadline: float
    ) -> None:
        monkeypatch.undo()
        await use_websocket(url, use, deadline=deadline)
        raise ConnectionFailed("speaks no WebSocket")

    monkeypatch.setattr("connect.worker.worker.use_websocket", break_rules)
    nursery.start_soon(make_worker().run)
    first = await gateway.session()

    await first.socket.aclose(1011)
    second = await gateway.session()
    await second.request(data={"echo": 1})

    assert (await second.reply()).body == b"1"
