"""A gateway and a worker API in miniature, driven by the test, on loopback."""

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import betterproto
import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
)

from connect.protocol.codec import decode
from connect.protocol.envelope import decode_message, encode_message
from connect.protocol.messages.connect import v1 as pb
from tests.worker.payloads import make_payload

__all__ = ["FakeGateway", "Kind", "Session", "error_body"]

Kind = pb.GatewayMessageType
M = TypeVar("M", bound=betterproto.Message)


@dataclass
class Session:
    """One connection of a worker, past WORKER_CONNECT."""

    socket: WebSocketConnection
    hello: pb.WorkerConnectRequestData
    answers_heartbeats: bool = True
    heartbeats: int = 0
    closed: trio.Event = field(default_factory=trio.Event)
    received: list[tuple[int, bytes]] = field(default_factory=list)
    _arrived: trio.Event = field(default_factory=trio.Event)

    async def send(self, kind: int, message: betterproto.Message | None = None) -> None:
        payload = b"" if message is None else bytes(message)
        await self.socket.send_message(encode_message(kind, payload))

    async def expect(self, kind: int, message_type: type[M]) -> M:
        """Take the next message of this kind out of those received."""
        while True:
            for position, (found, payload) in enumerate(self.received):
                if found == kind:
                    del self.received[position]
                    return decode(message_type, payload)
            await self._arrived.wait()

    async def request(
        self,
        function: str = "app-f",
        *,
        request_id: str = "r1",
        app: str = "app",
        lease_id: str = "lease-1",
        **of_payload: Any,
    ) -> None:
        """Send a GATEWAY_EXECUTOR_REQUEST."""
        data = pb.GatewayExecutorRequestData(
            request_id=request_id,
            account_id="account",
            env_id="env",
            app_id="app-id",
            app_name=app,
            function_slug=function,
            request_payload=make_payload(**of_payload),
            system_trace_ctx=b"system",
            user_trace_ctx=b"user",
            run_id="run-1",
            lease_id=lease_id,
        )
        await self.send(Kind.GATEWAY_EXECUTOR_REQUEST, data)

    async def acked(self) -> pb.WorkerRequestAckData:
        return await self.expect(Kind.WORKER_REQUEST_ACK, pb.WorkerRequestAckData)

    async def extension(self) -> pb.WorkerRequestExtendLeaseData:
        kind = Kind.WORKER_REQUEST_EXTEND_LEASE
        return await self.expect(kind, pb.WorkerRequestExtendLeaseData)

    async def answer_extension(self, request_id: str, new_lease_id: str | None) -> None:
        ack = pb.WorkerRequestExtendLeaseAckData(request_id=request_id, new_lease_id=new_lease_id)
        await self.send(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, ack)

    async def reply(self, *, ack: bool = True) -> pb.SdkResponse:
        response = await self.expect(Kind.WORKER_REPLY, pb.SdkResponse)
        if ack:
            done = pb.WorkerReplyAckData(request_id=response.request_id)
            await self.send(Kind.WORKER_REPLY_ACK, done)
        return response

    async def close_code(self) -> tuple[int, str]:
        await self.closed.wait()
        reason = self.socket.closed
        assert reason is not None
        return reason.code, reason.reason or ""

    async def serve(self) -> None:
        try:
            while True:
                data = await self.socket.get_message()
                assert isinstance(data, bytes)
                kind, payload = decode_message(data)
                if kind == Kind.WORKER_HEARTBEAT:
                    self.heartbeats += 1
                    if self.answers_heartbeats:
                        await self.send(Kind.GATEWAY_HEARTBEAT)
                self.received.append((kind, payload))
                self._arrived.set()
                self._arrived = trio.Event()
        except ConnectionClosed:
            pass
        finally:
            self.closed.set()


class FakeGateway:
    """Answers /v0/connect/start and /flush, and accepts WebSockets.

    Attributes:
        start_answers: statuses and bodies to answer /start with first, then normally.
        flush_statuses: statuses to answer /flush with first, then 200.
        greet: what to do with a fresh WebSocket instead of sending GATEWAY_HELLO.
        ready: what GATEWAY_CONNECTION_READY says; None never sends it.
    """

    def __init__(self) -> None:
        self.starts: list[tuple[Mapping[str, str], pb.StartRequest]] = []
        self.flushed: list[pb.SdkResponse] = []
        self.flush_attempts = 0
        self.start_answers: list[tuple[int, bytes]] = []
        self.flush_statuses: list[int] = []
        self.greet: Callable[[WebSocketConnection], Any] | None = None
        self.admit: Callable[[Session], Any] | None = None
        self.ready: pb.GatewayConnectionReadyData = pb.GatewayConnectionReadyData(
            heartbeat_interval="50ms", extend_lease_interval="200ms", status_interval="0s"
        )
        self.endpoint = ""
        self.api_url = ""
        self._arrivals, self._sessions = trio.open_memory_channel[Session](math.inf)

    async def run(
        self, *, task_status: trio.TaskStatus["FakeGateway"] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, self._accept, "127.0.0.1", 0, None)
            self.endpoint = f"ws://127.0.0.1:{server.port}/v0/connect"
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            await nursery.start(trio.serve_listeners, self._answer, listeners)
            port = listeners[0].socket.getsockname()[1]
            self.api_url = f"http://127.0.0.1:{port}"
            task_status.started(self)

    async def session(self) -> Session:
        """The next worker that connects."""
        with trio.fail_after(5):
            return await self._sessions.receive()

    async def _accept(self, request: WebSocketRequest) -> None:
        if "v0.connect.inngest.com" not in request.proposed_subprotocols:
            await request.reject(400)
            return
        socket = await request.accept(subprotocol="v0.connect.inngest.com")
        with contextlib.suppress(ConnectionClosed):  # the worker left amid the handshake
            await (self._welcome if self.greet is None else self.greet)(socket)

    async def _welcome(self, socket: WebSocketConnection) -> None:
        await socket.send_message(encode_message(Kind.GATEWAY_HELLO))
        data = await socket.get_message()
        assert isinstance(data, bytes)
        kind, payload = decode_message(data)
        assert kind == Kind.WORKER_CONNECT
        session = Session(socket, decode(pb.WorkerConnectRequestData, payload))
        if self.admit is not None:
            await self.admit(session)
        else:
            await session.send(Kind.GATEWAY_CONNECTION_READY, self.ready)
        self._arrivals.send_nowait(session)
        await session.serve()

    async def _answer(self, stream: trio.SocketStream) -> None:
        """One request of HTTP/1.1, then the connection is closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        while len(body) < int(headers.get("content-length", "0")):
            body += await stream.receive_some()
        status, content = self._respond(first.split(" ")[1], headers, body)
        answer = f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {len(content)}"
        await stream.send_all(f"{answer}\r\n\r\n".encode() + content)

    def _respond(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if path == "/v0/connect/flush":
            self.flush_attempts += 1
            if self.flush_statuses:
                return self.flush_statuses.pop(0), b""
            response = decode(pb.SdkResponse, body)
            self.flushed.append(response)
            return 200, bytes(pb.FlushResponse(request_id=response.request_id))
        assert path == "/v0/connect/start"
        self.starts.append((headers, decode(pb.StartRequest, body)))
        if self.start_answers:
            return self.start_answers.pop(0)
        return 200, bytes(self.start_response())

    def start_response(self) -> pb.StartResponse:
        return pb.StartResponse(
            connection_id=f"connection-{len(self.starts)}",
            gateway_endpoint=self.endpoint,
            gateway_group=f"group-{len(self.starts)}",
            session_token="session",
            sync_token="sync",
        )


def error_body(message: str) -> bytes:
    return json.dumps({"error": message, "status": 0}).encode()
