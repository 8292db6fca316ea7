"""A worker that takes next to nothing: for counting what gateways do with thousands of them.

It speaks the worker's side of the Connect protocol (sections 3 and 4) as far as idle
workers need it: it connects, beats, answers each request at once with the same body, and
opens another connection when a gateway closes, which goes on serving until that one is
ready. A connection is one task, and all its messages go through that.
"""

import json
import math
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import trio

from bench.work import BODY_BYTES
from connect.errors import ConnectError
from connect.protocol.codec import decode
from connect.protocol.durations import parse_duration
from connect.protocol.envelope import decode_message, encode_message, read_ack
from connect.protocol.messages.connect import v1 as pb
from connect.worker import App, WorkerTiming
from connect.worker.request import read_request, write_ack, write_response
from connect.worker.timing import backoff

__all__ = ["AttemptFailed", "IdleWorker", "Tally"]

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]
Kind = pb.GatewayMessageType

_TIMING = WorkerTiming()
_BODY = json.dumps("x" * (BODY_BYTES - len('""'))).encode()
_VERSION = "bench"

# What RFC 6455 calls them.
_BINARY, _CLOSE, _PING, _PONG = 0x2, 0x8, 0x9, 0xA
_FINAL, _MASKED = 0x80, 0x80
# A mask of zeros leaves what is masked as it is.
_MASK = bytes(4)
_LONG, _VERY_LONG = 126, 127
_MOST_HEAD = 64 * 1024
_RETRY_AFTER = re.compile(rb"(?i)\r\nretry-after: *(\d+)")


class AttemptFailed(ConnectError):
    """An attempt to connect came to nothing.

    Attributes:
        reason: few different texts, to be counted.
        retry_after: seconds to wait before the next attempt, as asked.
    """

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason, retry_after)
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.reason


@dataclass(slots=True)
class Tally:
    """What became of the attempts of many workers.

    Attributes:
        connected: so many connections became ready.
        failed: other attempts, by reason.
    """

    connected: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Begin to count anew."""
        self.connected = 0
        self.failed.clear()


class IdleWorker:
    """One worker.

    Args:
        app: what it registers; its functions are never called.
        api_url: base URL of the worker API, of http.
        tally: counts its attempts.
        connecting: how many workers may be connecting at the same time.
        dial: opens a stream to a host and a port.
    """

    def __init__(
        self,
        app: App,
        *,
        api_url: str,
        instance_id: str,
        tally: Tally,
        connecting: trio.CapacityLimiter,
        dial: Dial = trio.open_tcp_stream,
    ) -> None:
        self._api = urlsplit(api_url)
        self._instance_id = instance_id
        self._tally = tally
        self._connecting = connecting
        self._dial = dial
        functions = [function.definition for function in app.functions.values()]
        self._app = pb.AppConfiguration(app_name=app.name, functions=json.dumps(functions).encode())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep one connection that works; until cancelled, which drops its sockets.

        Args:
            task_status: started once the first connection is ready.
        """
        failures = 0
        started = False
        previous: _Connection | None = None
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    async with self._connecting:
                        connection = await nursery.start(self._hold)
                except AttemptFailed as failure:
                    self._tally.failed[failure.reason] += 1
                    failures += 1
                    await trio.sleep(failure.retry_after + _pause(failures))
                    continue
                self._tally.connected += 1
                failures = 0
                if not started:
                    started = True
                    task_status.started()
                if previous is not None:
                    previous.retire()
                await connection.leaving.wait()
                previous = connection
                if connection.ended:
                    await trio.sleep(_pause(1))

    async def _hold(self, *, task_status: trio.TaskStatus["_Connection"]) -> None:
        """Open a connection, and serve it; raises AttemptFailed before it is started."""
        try:
            with trio.fail_after(_TIMING.api):
                start = await self._start()
            url = urlsplit(start.gateway_endpoint)
            with trio.fail_after(_TIMING.open):
                stream = await self._dial(url.hostname or "", url.port or 80)
        except OSError as error:
            raise AttemptFailed(type(error).__name__) from error
        except trio.TooSlowError as error:
            raise AttemptFailed("no answer in time") from error
        async with stream:
            connection = _Connection(_WebSocket(stream))
            try:
                with trio.fail_after(_TIMING.handshake):
                    await connection.open(url.netloc, url.path or "/", self._hello(start))
            except trio.BrokenResourceError as error:
                raise AttemptFailed("connection lost in the handshake") from error
            except trio.TooSlowError as error:
                raise AttemptFailed("not ready in time") from error
            task_status.started(connection)
            await connection.run()

    async def _start(self) -> pb.StartResponse:
        async with await self._dial(self._api.hostname or "", self._api.port or 80) as stream:
            body = bytes(pb.StartRequest())
            head = (
                f"POST {self._api.path.rstrip('/')}/v0/connect/start HTTP/1.1\r\n"
                f"Host: {self._api.netloc}\r\nContent-Type: application/protobuf\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            answer = bytearray()
            try:
                await stream.send_all(head.encode() + body)
                while chunk := await stream.receive_some():
                    answer += chunk
            except trio.BrokenResourceError as error:
                raise AttemptFailed("the API broke off") from error
        _check_status(answer, b"200", "the API")
        return decode(pb.StartResponse, bytes(answer.partition(b"\r\n\r\n")[2]))

    def _hello(self, start: pb.StartResponse) -> bytes:
        return bytes(
            pb.WorkerConnectRequestData(
                connection_id=start.connection_id,
                instance_id=self._instance_id,
                auth_data=pb.AuthData(session_token=start.session_token),
                capabilities=b'{"connect":"v1"}',
                apps=[self._app],
                sdk_version=_VERSION,
                sdk_language="python",
            )
        )


class _Connection:
    """A connection to a gateway: `open` it, then `run` it.

    Attributes:
        leaving: set when another one is needed.
        ended: whether nothing comes over this one any more.
    """

    def __init__(self, socket: "_WebSocket") -> None:
        self.leaving = trio.Event()
        self.ended = False
        self._socket = socket
        self._interval = math.inf
        self._unconfirmed: set[str] = set()
        self._retiring = False
        self._waiting = trio.CancelScope()

    async def open(self, host: str, path: str, hello: bytes) -> None:
        """Become ready; raises AttemptFailed, and trio.BrokenResourceError."""
        await self._socket.upgrade(host, path)
        while True:
            opcode, data = await self._socket.receive()
            if opcode == _CLOSE:
                raise AttemptFailed(f"closed in the handshake: {_told(data)}")
            kind, payload = decode_message(data)
            if kind == Kind.GATEWAY_HELLO:
                await self._send(Kind.WORKER_CONNECT, hello)
            elif kind == Kind.GATEWAY_CONNECTION_READY:
                ready = decode(pb.GatewayConnectionReadyData, payload)
                self._interval = parse_duration(ready.heartbeat_interval) or math.inf
                return

    def retire(self) -> None:
        """Have it closed once the gateway has confirmed every reply; another one is ready."""
        self._retiring = True
        self._waiting.cancel()

    async def run(self) -> None:
        """Serve until it is retired or the gateway ends it; cancelled, drop it."""
        try:
            await self._serve()
        except trio.BrokenResourceError:
            pass  # the gateway is gone
        finally:
            self.ended = True
            self.leaving.set()

    async def _serve(self) -> None:
        beat_at = trio.current_time() + self._interval
        while not self._retiring or self._unconfirmed:
            received = None
            with trio.CancelScope(deadline=beat_at) as self._waiting:
                received = await self._socket.receive()
            if received is not None:
                opcode, data = received
                if opcode == _CLOSE:
                    await self._socket.send(_CLOSE, data[:2])
                    return
                if opcode == _PING:
                    await self._socket.send(_PONG, data)
                elif opcode == _BINARY:
                    await self._take(*decode_message(data))
            if trio.current_time() >= beat_at:
                beat_at += self._interval
                await self._send(Kind.WORKER_HEARTBEAT)
        await self._socket.say_goodbye(1000, "GATEWAY_DRAINING")

    async def _take(self, kind: int, payload: bytes) -> None:
        if kind == Kind.GATEWAY_CLOSING:
            self.leaving.set()
        elif kind == Kind.WORKER_REPLY_ACK:
            self._unconfirmed.discard(read_ack(payload).request_id)
        elif kind == Kind.GATEWAY_EXECUTOR_REQUEST:
            request = read_request(payload)
            reply = write_response(
                request,
                status=pb.SdkResponseStatus.DONE,
                body=_BODY,
                no_retry=False,
                retry_after=None,
                sdk_version=_VERSION,
                request_version=1,
            )
            self._unconfirmed.add(request.request_id)
            await self._send(Kind.WORKER_REQUEST_ACK, write_ack(request))
            await self._send(Kind.WORKER_REPLY, reply)

    async def _send(self, kind: int, payload: bytes = b"") -> None:
        await self._socket.send(_BINARY, encode_message(kind, payload))


class _WebSocket:
    """The client's end of a WebSocket (RFC 6455), as far as a gateway uses it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received = bytearray()

    async def upgrade(self, host: str, path: str) -> None:
        """Ask for it; raises AttemptFailed if that is refused."""
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v0.connect.inngest.com\r\n\r\n"
        )
        await self._stream.send_all(request.encode())
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if len(self._received) > _MOST_HEAD:
                raise AttemptFailed("the gateway answered something else")
            await self._receive_more()
        _check_status(self._received, b"101", "the gateway")
        del self._received[: end + 4]

    async def send(self, opcode: int, data: bytes) -> None:
        """Send one frame."""
        size = len(data)
        if size < _LONG:
            head = bytes((_FINAL | opcode, _MASKED | size))
        elif size < 1 << 16:
            head = bytes((_FINAL | opcode, _MASKED | _LONG)) + size.to_bytes(2, "big")
        else:
            head = bytes((_FINAL | opcode, _MASKED | _VERY_LONG)) + size.to_bytes(8, "big")
        await self._stream.send_all(head + _MASK + data)

    async def receive(self) -> tuple[int, bytes]:
        """Return opcode and data of the next frame; gateways send each message in one.

        Cancellation loses nothing. Raises trio.BrokenResourceError when there is none.
        """
        while True:
            received = self._received
            if len(received) >= 2:
                size, start = received[1], 2
                if size == _LONG:
                    start = 4
                elif size == _VERY_LONG:
                    start = 10
                if size >= _LONG:
                    size = int.from_bytes(received[2:start], "big")
                if len(received) >= start + size:
                    opcode, data = received[0] & 0x0F, bytes(received[start : start + size])
                    del received[: start + size]
                    return opcode, data
            await self._receive_more()

    async def say_goodbye(self, code: int, reason: str) -> None:
        """Close it, and wait a little for the answer."""
        await self.send(_CLOSE, code.to_bytes(2, "big") + reason.encode())
        with trio.move_on_after(_TIMING.close):
            while (await self.receive())[0] != _CLOSE:
                pass

    async def _receive_more(self) -> None:
        chunk = await self._stream.receive_some()
        if not chunk:
            raise trio.BrokenResourceError("the gateway closed the connection")
        self._received += chunk


def _check_status(answer: bytearray, wanted: bytes, who: str) -> None:
    """Raise AttemptFailed unless the answer's status is this one."""
    status = bytes(answer[9:12])
    if status != wanted:
        asked = _RETRY_AFTER.search(answer)
        what = f"answered {status.decode('latin-1')}" if answer else "did not answer"
        raise AttemptFailed(f"{who} {what}", float(asked[1]) if asked else 0.0)


def _told(close: bytes) -> str:
    """Return code and reason of a close frame's data."""
    return f"{int.from_bytes(close[:2], 'big')} {close[2:].decode(errors='replace')}".rstrip()


def _pause(failures: int) -> float:
    return backoff(_TIMING.backoff_first, _TIMING.backoff_most, failures, random.random())
