"""A connection whose socket does not do as it should; no network, a clock that jumps."""

import ssl
from typing import Any

import pytest
import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection

from connect.errors import Syscode
from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from connect.worker import App, Context, JournalEntry, WorkerLimits, WorkerTiming
from connect.worker.connection import Connection, DisconnectReason
from connect.worker.delivery import Routes
from connect.worker.errors import ConnectionFailed
from connect.worker.request import Request
from connect.worker.websocket import use_websocket
from connect.worker.work import Work

Kind = pb.GatewayMessageType


class _Socket:
    """Stands for a WebSocketConnection: reads from a list, writes as told."""

    def __init__(self, *incoming: bytes, blocks: bool = False, hangs: bool = False) -> None:
        self.incoming = list(incoming)
        self.blocks = blocks
        self.hangs = hangs
        self.broken = False
        self.attempts = 0
        self.sent: list[bytes] = []
        self.closed: CloseReason | None = None

    async def get_message(self) -> bytes:
        if not self.incoming:
            await trio.sleep_forever()
        return self.incoming.pop(0)

    async def send_message(self, data: bytes) -> None:
        self.attempts += 1
        if self.broken:
            raise ConnectionClosed(None)
        if self.blocks:
            await trio.sleep_forever()
        self.sent.append(data)

    async def aclose(self, code: int, reason: str) -> None:
        if self.hangs:
            await trio.sleep_forever()
        self.closed = CloseReason(code, reason)


def _work(nursery: trio.Nursery, journal: list[JournalEntry], *apps: App) -> Work:
    async def flush(reply: bytes) -> bool:
        raise AssertionError

    return Work(
        nursery,
        {app.name: app for app in apps},
        routes=Routes(connection=lambda: None, flush=flush),
        max_concurrency=None,
        limits=WorkerLimits(),
        timing=WorkerTiming(),
        jitter=lambda: 1.0,
        journal=journal.append,
    )


def _connection(
    nursery: trio.Nursery, fake: Any, journal: list[JournalEntry]
) -> tuple[Connection, Work]:
    work = _work(nursery, journal)
    socket: WebSocketConnection = fake
    connection = Connection(
        socket,
        connection_id="c1",
        gateway_group="g",
        work=work,
        timing=WorkerTiming(),
        journal=journal.append,
    )
    return connection, work


async def test_a_gateway_that_takes_no_message_is_given_up(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    journal: list[JournalEntry] = []
    connection, _ = _connection(nursery, _Socket(blocks=True), journal)

    sent = await connection.send(Kind.WORKER_HEARTBEAT)
    await connection.run()

    assert not sent
    assert journal[-1].detail == "the gateway took no message for 5 s"


async def test_nothing_is_written_after_a_message_that_was_cut(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    socket = _Socket(blocks=True)
    connection, _ = _connection(nursery, socket, [])
    sent = []

    async def send() -> None:
        sent.append(await connection.send(Kind.WORKER_REPLY))

    async with trio.open_nursery() as writers:
        writers.start_soon(send)
        await trio.sleep(1)
        writers.start_soon(send)
        await connection.run()

    assert (sent, socket.attempts, socket.closed) == ([False, False], 1, None)


async def test_an_end_that_nobody_meant_is_told_as_none(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    socket = _Socket()
    connection, _ = _connection(nursery, socket, [])
    socket.broken = True
    await connection.send(Kind.WORKER_HEARTBEAT)

    await connection.run()

    assert socket.closed is None


async def test_a_cancelled_connection_is_closed_as_a_shutdown(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    socket = _Socket()
    connection, _ = _connection(nursery, socket, [])

    with trio.move_on_after(1):
        await connection.run()

    assert socket.closed is not None
    assert socket.closed.reason == "WORKER_SHUTDOWN"


async def test_a_suspected_gateway_that_answers_is_trusted_again(nursery: trio.Nursery) -> None:
    answer = pb.WorkerRequestExtendLeaseAckData(request_id="r", new_lease_id="lease-2")
    socket = _Socket(encode_message(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, bytes(answer)))
    connection, _ = _connection(nursery, socket, [])
    connection.suspect()
    before = connection.leaving.is_set()
    nursery.start_soon(connection.run)
    await trio.testing.wait_all_tasks_blocked()

    assert (before, connection.leaving.is_set(), connection.suspected) == (True, False, False)
    nursery.cancel_scope.cancel()


async def test_an_ended_connection_is_not_suspected(nursery: trio.Nursery) -> None:
    journal: list[JournalEntry] = []
    connection, _ = _connection(nursery, _Socket(), journal)
    connection.close(DisconnectReason.WORKER_SHUTDOWN)

    connection.suspect()

    assert journal == []


async def test_a_write_is_not_cut_short_by_cancellation(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    connection, _ = _connection(nursery, _Socket(blocks=True), [])

    with trio.move_on_after(1):
        await connection.send(Kind.WORKER_HEARTBEAT)

    assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_sending_on_a_closed_socket_ends_the_connection(nursery: trio.Nursery) -> None:
    journal: list[JournalEntry] = []
    socket = _Socket()
    connection, _ = _connection(nursery, socket, journal)
    socket.broken = True

    assert not await connection.send(Kind.WORKER_HEARTBEAT)
    await connection.run()

    assert journal[-1].detail == "the connection is gone"


async def test_an_ended_connection_sends_nothing(nursery: trio.Nursery) -> None:
    socket = _Socket()
    connection, _ = _connection(nursery, socket, [])
    connection.close(DisconnectReason.WORKER_SHUTDOWN)

    assert not await connection.send(Kind.WORKER_HEARTBEAT)
    assert socket.sent == []


def _sync_failed(code: str, data: bytes) -> bytes:
    error = pb.SystemError(code=code, message="not now", data=data)
    return encode_message(Kind.SYNC_FAILED, bytes(error))


@pytest.mark.parametrize(
    ("data", "seconds"),
    [(b'{"retry_after": 7.5}', 7.5), (b'{"retry_after": "soon"}', None), (b"", None)],
)
async def test_a_gateway_that_has_no_room_may_say_when_to_come_again(
    nursery: trio.Nursery, data: bytes, seconds: float | None
) -> None:
    socket = _Socket(_sync_failed(Syscode.RECONNECTING_TOO_OFTEN, data))
    connection, _ = _connection(nursery, socket, [])

    with pytest.raises(ConnectionFailed) as raised:
        await connection.open(pb.WorkerConnectRequestData())

    assert raised.value.retry_after == seconds


async def test_whoever_is_told_when_to_come_again_is_not_refused_for_good(
    nursery: trio.Nursery,
) -> None:
    socket = _Socket(_sync_failed("connect_some_limit_of_later", b'{"retry_after": 3}'))
    connection, _ = _connection(nursery, socket, [])

    with pytest.raises(ConnectionFailed, match="for now") as raised:
        await connection.open(pb.WorkerConnectRequestData())

    assert raised.value.retry_after == 3


async def test_the_first_reason_to_close_counts(nursery: trio.Nursery) -> None:
    socket = _Socket()
    connection, _ = _connection(nursery, socket, [])
    connection.close(DisconnectReason.GATEWAY_DRAINING)
    connection.close(DisconnectReason.WORKER_SHUTDOWN)
    await connection.run()

    assert socket.closed is not None
    assert socket.closed.reason == "GATEWAY_DRAINING"


async def test_a_peer_that_never_answers_the_close_holds_nobody_up(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    connection, _ = _connection(nursery, _Socket(hangs=True), [])
    connection.close(DisconnectReason.WORKER_SHUTDOWN)

    await connection.run()

    assert trio.current_time() == pytest.approx(2, abs=0.1)


async def test_intervals_of_zero_switch_heartbeats_off(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ready = pb.GatewayConnectionReadyData(heartbeat_interval="0s")
    socket = _Socket(encode_message(Kind.GATEWAY_CONNECTION_READY, bytes(ready)))
    connection, _ = _connection(nursery, socket, [])
    await connection.open(pb.WorkerConnectRequestData())

    with trio.move_on_after(1000):
        await connection.run()

    assert socket.sent == []


async def test_a_request_that_cannot_be_acknowledged_is_not_run(nursery: trio.Nursery) -> None:
    ran = []
    app = App("app")

    @app.function("f")
    async def function(ctx: Context) -> None:
        ran.append(ctx)

    journal: list[JournalEntry] = []
    socket = _Socket()
    socket.broken = True
    connection, _ = _connection(nursery, socket, journal)
    work = _work(nursery, journal, app)
    request = Request(request_id="r", app_name="app", function_slug="app-f")
    work.accept(connection, request)
    await work.until_idle()

    assert ran == []


async def test_a_host_without_a_listener_cannot_be_reached() -> None:
    with pytest.raises(ConnectionFailed, match=r"cannot reach ws://127\.0\.0\.1:1/"):
        await use_websocket("ws://127.0.0.1:1/", _unused, deadline=1)


async def test_a_host_that_does_not_answer_is_given_up(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(host: str, port: int) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)

    with pytest.raises(ConnectionFailed, match="no answer in 3 s"):
        await use_websocket("ws://host/", _unused, deadline=3)


async def _unused(socket: WebSocketConnection) -> None:
    raise AssertionError


async def _listen(nursery: trio.Nursery, handler: Any) -> int:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(trio.serve_listeners, handler, listeners)
    port: int = listeners[0].socket.getsockname()[1]
    return port


async def test_a_server_that_rejects_the_websocket_is_told(nursery: trio.Nursery) -> None:
    async def reject(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    port = await _listen(nursery, reject)

    with pytest.raises(ConnectionFailed, match="403"):
        await use_websocket(f"ws://127.0.0.1:{port}/x?y=1", _unused, deadline=1)


@pytest.mark.parametrize(
    ("head", "body", "told", "seconds"),
    [
        ("retry-after: 7", b'{"error": "full"}', " answered 503: full", 7.0),
        ("retry-after: 7", b"busy", " answered 503: busy", 7.0),
        ("Retry-After: 7", b"", " answered 503", 7.0),
        ("retry-after: soon", b"", " answered 503", None),
        ("retry-after: 7\r\nretry-after: 8", b"", " answered 503", None),
        ("server: x", b"", " answered 503", None),
    ],
)
async def test_a_server_that_rejects_the_websocket_may_say_when_to_come_again(
    nursery: trio.Nursery, head: str, body: bytes, told: str, seconds: float | None
) -> None:
    async def reject(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        lines = f"HTTP/1.1 503 Busy\r\n{head}\r\ncontent-length: {len(body)}\r\n\r\n"
        await stream.send_all(lines.encode() + body)

    url = f"ws://127.0.0.1:{await _listen(nursery, reject)}/"

    with pytest.raises(ConnectionFailed) as raised:
        await use_websocket(url, _unused, deadline=1)

    assert (str(raised.value), raised.value.retry_after) == (url + told, seconds)


async def test_a_server_that_opens_no_websocket_is_given_up(nursery: trio.Nursery) -> None:
    async def wait(stream: trio.SocketStream) -> None:
        await trio.sleep(1)

    port = await _listen(nursery, wait)

    with pytest.raises(ConnectionFailed, match=r"opened no WebSocket in 0\.05 s"):
        await use_websocket(f"ws://127.0.0.1:{port}", _unused, deadline=0.05)


async def test_a_server_without_tls_is_told(nursery: trio.Nursery) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    port = await _listen(nursery, answer)

    with pytest.raises(ConnectionFailed, match="offers no TLS") as raised:
        await use_websocket(f"wss://127.0.0.1:{port}/", _unused, deadline=1)

    assert isinstance(raised.value.__cause__, trio.BrokenResourceError)
    assert isinstance(raised.value.__cause__.__cause__, ssl.SSLError)
