"""The gateway's port, over real sockets: HTTP answers, upgrades, and any bytes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio_websocket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from connect.nursery.listener import SUBPROTOCOL, serve_gateway
from connect.nursery.stream import WorkerStream
from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from connect.settings import Settings
from tests.nursery.rig import Kind, Peer, Rig, open_rig, with_limits

UPGRADE = {
    "Host": "gateway",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": SUBPROTOCOL,
}


class Port:
    """A gateway's real port."""

    def __init__(self, rig: Rig, number: int) -> None:
        self.rig = rig
        self.number = number
        self.not_ready: str | None = None

    async def ask(self, data: bytes) -> bytes:
        """Send bytes and return all that comes back until the gateway closes."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.number)
        async with stream:
            await stream.send_all(data)
            answer = b""
            with trio.fail_after(10):
                async for chunk in stream:
                    answer += chunk
            return answer

    async def get(self, path: str, method: str = "GET", **changes: str | None) -> bytes:
        headers = {"Host": "gateway"} | {k.replace("_", "-"): v for k, v in changes.items() if v}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return await self.ask("\r\n".join([*lines, "", ""]).encode())

    async def upgrade(self, **changes: str | None) -> bytes:
        headers = UPGRADE | {k.replace("_", "-"): v for k, v in changes.items()}
        lines = ["GET /v0/connect HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items() if v)]
        return await self.ask("\r\n".join([*lines, "", ""]).encode())


@asynccontextmanager
async def open_port(settings: Settings | None = None) -> AsyncIterator[Port]:
    async with open_rig(settings) as rig:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = Port(rig, listener.socket.getsockname()[1])

        async def serve() -> None:
            await serve_gateway(
                rig.gateway, [listener], connections=rig.nursery, ready=lambda: port.not_ready
            )

        rig.nursery.start_soon(serve)
        yield port


@asynccontextmanager
async def open_peer(port: Port) -> AsyncIterator[Peer]:
    stream = await trio.open_tcp_stream("127.0.0.1", port.number)
    async with trio.open_nursery() as nursery, stream:
        socket = await trio_websocket.wrap_client_stream(
            nursery, stream, "gateway", "/v0/connect", subprotocols=[SUBPROTOCOL]
        )
        yield Peer(socket, stream)
        nursery.cancel_scope.cancel()


async def join(port: Port, peer: Peer) -> None:
    await peer.expect(Kind.GATEWAY_HELLO)
    await peer.send(Kind.WORKER_CONNECT, bytes(port.rig.hello()))
    await peer.expect(Kind.GATEWAY_CONNECTION_READY)


async def test_a_worker_connects_over_a_real_socket() -> None:
    async with open_port() as port, open_peer(port) as peer:
        assert peer.socket.subprotocol == SUBPROTOCOL
        await join(port, peer)


async def test_v0_answers_a_dot() -> None:
    async with open_port() as port:
        answer = await port.get("/v0")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\n.")


async def test_ready_says_whether_and_why_not() -> None:
    async with open_port() as port:
        assert (await port.get("/ready")).startswith(b"HTTP/1.1 200 ")
        port.not_ready = "the service is stopping"
        answer = await port.get("/ready")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"the service is stopping" in answer


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nothing", "GET", 404),
        ("/ready", "POST", 405),
        ("/v0/connect", "GET", 426),
        ("/v0/connect/", "GET", 404),
    ],
)
async def test_other_requests_get_an_http_answer(path: str, method: str, status: int) -> None:
    async with open_port() as port:
        assert (await port.get(path, method)).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Sec_WebSocket_Protocol": None}, 400),
        ({"Sec_WebSocket_Protocol": "v1.other"}, 400),
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Connection": "close"}, 400),
    ],
)
async def test_an_upgrade_that_is_wrong_is_refused_with_a_reason(
    changes: dict[str, str | None], status: int
) -> None:
    async with open_port() as port:
        answer = await port.upgrade(**changes)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert answer.partition(b"\r\n\r\n")[2]


async def test_an_upgrade_by_http_1_0_or_post_is_refused() -> None:
    async with open_port() as port:
        head = "".join(f"{key}: {value}\r\n" for key, value in UPGRADE.items())
        for line in ("POST /v0/connect HTTP/1.1", "GET /v0/connect HTTP/1.0"):
            answer = await port.ask(f"{line}\r\n{head}\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 400 ")


async def test_one_of_several_offered_subprotocols_is_taken() -> None:
    async with open_port() as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port.number)
        async with stream, trio.open_nursery() as nursery:
            socket = await trio_websocket.wrap_client_stream(
                nursery, stream, "gateway", "/v0/connect", subprotocols=["other", SUBPROTOCOL]
            )
            assert socket.subprotocol == SUBPROTOCOL
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"])
async def test_what_is_not_http_is_refused(data: bytes) -> None:
    async with open_port() as port:
        answer = await port.ask(data + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_head_without_end_is_refused() -> None:
    async with open_port() as port:
        head = b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 20_000
        assert (await port.ask(head)).startswith(b"HTTP/1.1 400 ")


async def test_a_socket_that_says_nothing_is_closed_at_the_handshake_deadline() -> None:
    base = Settings()
    quick = replace(base, timing=replace(base.timing, handshake=0.1))
    async with open_port(quick) as port:
        assert await port.ask(b"GET /v0") == b""


async def test_a_socket_that_closes_before_its_request_is_harmless() -> None:
    async with open_port() as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port.number)
        await stream.aclose()
        assert (await port.get("/v0")).startswith(b"HTTP/1.1 200 ")


async def test_a_socket_that_is_reset_before_its_request_is_accepted_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def reset(stream: WorkerStream, data: object) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("Connection reset by peer")

    monkeypatch.setattr(WorkerStream, "send_all", reset)
    with capture_logs() as logs:
        async with open_port() as port:
            assert await port.upgrade() == b""
    assert [log for log in logs if log["log_level"] in ("warning", "error")] == []


async def test_fragments_and_pings_between_them_make_one_message() -> None:
    async with open_port() as port, open_peer(port) as peer:
        await join(port, peer)
        mask = b"\x00\x00\x00\x00"
        heartbeat = b"\x08\x09"
        await peer.stream.send_all(
            b"\x02\x81" + mask + heartbeat[:1]  # the beginning of a binary message
            + b"\x89\x81" + mask + b"p"  # a ping in between
            + b"\x80\x81" + mask + heartbeat[1:]  # its end
        )  # fmt: skip
        await peer.expect(Kind.GATEWAY_HEARTBEAT)


async def test_a_frame_that_breaks_the_websocket_protocol_closes_that_connection_only() -> None:
    async with open_port() as port, open_peer(port) as peer, open_peer(port) as other:
        await join(port, peer)
        await peer.stream.send_all(b"\xf7\x00")  # reserved bits, unmasked
        assert (await peer.closed())[0] in (1002, 1006)
        await join(port, other)


async def test_a_message_of_many_fragments_over_the_limit_closes_with_1009() -> None:
    async with open_port(with_limits(message_bytes=10_000)) as port, open_peer(port) as peer:
        await join(port, peer)
        await peer.send(Kind.WORKER_REPLY, b"x" * 200_000)
        assert (await peer.closed())[0] == 1009


LEASE_ID = "01JD8ZK3V4P5Q6R7S8T9V0W1X3"
VALID = [
    encode_message(Kind.WORKER_HEARTBEAT),
    encode_message(Kind.WORKER_READY),
    encode_message(
        Kind.WORKER_REQUEST_ACK, bytes(pb.WorkerRequestAckData(request_id="r1", step_id="s"))
    ),
    encode_message(
        Kind.WORKER_REQUEST_EXTEND_LEASE,
        bytes(pb.WorkerRequestExtendLeaseData(request_id="r1", lease_id=LEASE_ID)),
    ),
    encode_message(
        Kind.WORKER_REPLY,
        bytes(pb.SdkResponse(request_id="r1", body=b"{}", retry_after="1", request_version=2)),
    ),
    encode_message(
        Kind.WORKER_STATUS, bytes(pb.WorkerStatusData(in_flight_request_ids=["a", "b"]))
    ),
    encode_message(Kind.WORKER_PAUSE),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid message with some of its bytes changed, dropped, or put in."""
    message = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(message)))
        match draw(st.sampled_from(["change", "drop", "insert", "cut"])):
            case "change" if at < len(message):
                message[at] = draw(st.integers(0, 255))
            case "drop":
                del message[at : at + draw(st.integers(1, 4))]
            case "insert":
                message[at:at] = draw(st.binary(max_size=4))
            case "cut":
                del message[at:]
    return bytes(message)


MESSAGES = st.one_of(mutated(), mutated(), st.sampled_from(VALID), st.binary(max_size=300))


@given(st.lists(st.one_of(MESSAGES, st.text(max_size=50)), min_size=30, max_size=60))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_thousands_of_mutated_messages_are_survived_by_a_running_gateway(
    messages: list[bytes | str],
) -> None:
    async with open_port() as port:
        queue = list(messages)
        while queue:
            async with open_peer(port) as peer:
                await join(port, peer)
                try:
                    while queue:
                        await peer.socket.send_message(queue.pop())
                    await peer.heartbeat()
                    while (await peer.receive())[0] != Kind.GATEWAY_HEARTBEAT:
                        pass
                except trio_websocket.ConnectionClosed as closed:
                    reason = closed.reason
                    assert reason is not None
                    assert reason.code in (1006, 1007, 1008, 1011)
        async with open_peer(port) as healthy:
            await join(port, healthy)


@given(st.binary(min_size=1, max_size=400))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_bytes_on_an_open_websocket_are_survived(data: bytes) -> None:
    async with open_port() as port:
        async with open_peer(port) as peer:
            await join(port, peer)
            await peer.stream.send_all(data)
            await peer.stream.aclose()
        async with open_peer(port) as healthy:
            await join(port, healthy)
