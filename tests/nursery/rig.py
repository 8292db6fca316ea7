"""A gateway on a jumping clock, with WebSockets over streams in memory."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import structlog
import trio
import trio.testing
import trio_websocket
from ulid import ULID

from connect.config.defined import DefinedFunctions
from connect.errors import StoreUnavailable
from connect.metrics import Metrics
from connect.nursery.gateway import Gateway, GatewayAddress
from connect.nursery.health import StoreHealth
from connect.nursery.listener import SUBPROTOCOL
from connect.nursery.registration import Registration
from connect.nursery.services import Services
from connect.nursery.stream import WorkerStream
from connect.nursery.websocket import wrap_worker_stream
from connect.protocol.envelope import decode_message, encode_message
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.tokens import SessionTokens
from connect.settings import DEVELOPMENT_ACCOUNT_ID, DEVELOPMENT_ENV_ID, Settings
from connect.state.commands import CommandError
from connect.state.embedded import open_embedded_store
from connect.state.redis_store import RedisStore

Kind = pb.GatewayMessageType
ACCOUNT = DEVELOPMENT_ACCOUNT_ID
ENV = DEVELOPMENT_ENV_ID
FUNCTIONS = b'[{"id": "my-app-hello", "name": "hello", "triggers": [{"event": "a"}], "steps": {}}]'
START = 1_764_000_000.0


def now() -> float:
    return START + trio.current_time()


@dataclass
class Pushes:
    """Executors that take every reply, and write it down."""

    pushed: list[tuple[str, int, bytes]] = field(default_factory=list)
    answer: bool = True

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        self.pushed.append((host, port, response))
        return self.answer


@dataclass
class Vouchers:
    """Executors that answer for leases as `answer` says: a lease id, none, or with silence.

    Attributes:
        asked: when, and for what.
    """

    answer: str | StoreUnavailable | None = field(
        default_factory=lambda: StoreUnavailable("no executor answers")
    )
    asked: list[tuple[float, pb.ExtendLeaseRequest]] = field(default_factory=list)

    async def extend_lease(self, request: pb.ExtendLeaseRequest, *, timeout: float) -> str | None:
        self.asked.append((trio.current_time(), request))
        if isinstance(self.answer, StoreUnavailable):
            await trio.sleep(timeout)
            raise self.answer
        await trio.lowlevel.checkpoint()
        return self.answer


class Outage:
    """Wraps one port of a store: every method fails while `down`."""

    def __init__(self, port: object, outage: "Outages") -> None:
        self._port = port
        self._outage = outage

    def __getattr__(self, name: str) -> object:
        method = getattr(self._port, name)

        async def call(*args: object, **kwargs: object) -> object:
            self._outage.calls.append(name)
            if self._outage.delay:
                await trio.sleep(self._outage.delay)
            if self._outage.down or self._outage.fails(name):
                raise StoreUnavailable("down for the test")
            if name in self._outage.refused:
                raise CommandError("NOPERM this user has no permissions to run the command")
            if self._outage.broken:
                raise RuntimeError("broken for the test")
            result = await method(*args, **kwargs)
            if name in self._outage.unanswered:
                self._outage.unanswered.remove(name)
                raise StoreUnavailable("the answer got lost for the test")
            return result

        return call


@dataclass
class Outages:
    """How the store fails.

    Attributes:
        unreachable_since: what the store says of its connection; it fails only when `down`.
        delay: seconds that every call takes, failing or not.
        refused: the methods that the store refuses to carry out.
        unanswered: the methods whose next call takes effect, and gets no answer.
        calls: the methods called.
    """

    down: bool = False
    unreachable_since: float | None = None
    broken: bool = False
    refused: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    delay: float = 0.0
    fail_at: tuple[str, int] = ("", 0)
    calls: list[str] = field(default_factory=list)

    def fails(self, name: str) -> bool:
        """Whether this is the call, by name and number, that is to fail."""
        if name != self.fail_at[0]:
            return False
        self.fail_at = (name, self.fail_at[1] - 1)
        return self.fail_at[1] == 0


@dataclass
class Rig:
    """A running gateway with its surroundings.

    Attributes:
        streams: below the sockets, in the order of their dialling.
    """

    gateway: Gateway
    store: RedisStore
    pushes: Pushes
    outages: Outages
    nursery: trio.Nursery
    tokens: SessionTokens
    vouchers: Vouchers
    streams: list[WorkerStream] = field(default_factory=list)

    @property
    def services(self) -> Services:
        return self.gateway.services

    def token(self, apps: int = 10) -> str:
        return self.tokens.issue(ACCOUNT, ENV, apps_per_connection=apps)

    async def lease(self, *request_ids: str) -> None:
        """Have an executor wait for these requests."""
        for request_id in request_ids:
            await self.store.leases.lease(
                ENV, request_id, executor_host="10.0.0.1", executor_port=50053, seconds=20
            )

    async def dial(self, *, max_message_size: int = 8 * 1024 * 1024) -> "Peer":
        """Open a WebSocket to the gateway, without any handshake of the protocol."""
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._serve, theirs, max_message_size)
        socket = await trio_websocket.wrap_client_stream(
            self.nursery,
            ours,  # type: ignore[arg-type] # any stream will do
            "gateway",
            "/v0/connect",
            subprotocols=[SUBPROTOCOL],
        )
        return Peer(socket, ours)

    async def _serve(self, stream: trio.abc.Stream, max_message_size: int) -> None:
        below = WorkerStream(stream)
        self.streams.append(below)
        async with trio.open_nursery() as nursery:
            request = await wrap_worker_stream(nursery, below, max_message_size=max_message_size)
            socket = await request.accept(subprotocol=SUBPROTOCOL)
            await self.gateway.serve_socket(socket, stream=below)
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)

    async def worker(self, **hello: object) -> "Peer":
        """Open a connection whose worker has joined and is ready."""
        peer = await self.dial()
        assert (await peer.receive())[0] == Kind.GATEWAY_HELLO
        request = self.hello(**hello)
        peer.connection_id = request.connection_id
        await peer.send(Kind.WORKER_CONNECT, bytes(request))
        kind, payload = await peer.receive()
        assert kind == Kind.GATEWAY_CONNECTION_READY, (kind, payload)
        await trio.testing.wait_all_tasks_blocked()
        return peer

    def hello(self, **changes: object) -> pb.WorkerConnectRequestData:
        values: dict[str, object] = {
            "connection_id": str(ULID()),
            "instance_id": "worker-1",
            "auth_data": pb.AuthData(session_token=self.token()),
            "apps": [pb.AppConfiguration(app_name="my-app", functions=FUNCTIONS)],
            "sdk_language": "py",
            "sdk_version": "0.5.0",
            "system_attributes": pb.SystemAttributes(cpu_cores=2, mem_bytes=1 << 33, os="linux"),
        }
        return pb.WorkerConnectRequestData(**(values | changes))  # type: ignore[arg-type] # any field


@dataclass
class Peer:
    """The worker's end of a WebSocket, by hand."""

    socket: trio_websocket.WebSocketConnection
    stream: trio.abc.Stream
    connection_id: str = ""

    async def send(self, kind: int, payload: bytes = b"") -> None:
        await self.socket.send_message(encode_message(kind, payload))

    async def receive(self) -> tuple[int, bytes]:
        message = await self.socket.get_message()
        assert isinstance(message, bytes)
        return decode_message(message)

    async def expect(self, kind: int) -> bytes:
        """Return the payload of the next message, which has to be of this kind."""
        found, payload = await self.receive()
        assert found == kind, (found, payload)
        return payload

    async def closed(self) -> tuple[int, str]:
        """Read until the gateway closes; return code and reason."""
        while True:
            try:
                await self.socket.get_message()
            except trio_websocket.ConnectionClosed:
                break
        reason = self.socket.closed
        assert reason is not None
        return reason.code, reason.reason or ""

    async def take_request(self) -> pb.GatewayExecutorRequestData:
        payload = await self.expect(Kind.GATEWAY_EXECUTOR_REQUEST)
        return pb.GatewayExecutorRequestData().parse(payload)

    async def ack(self, request_id: str) -> None:
        await self.send(
            Kind.WORKER_REQUEST_ACK, bytes(pb.WorkerRequestAckData(request_id=request_id))
        )

    async def reply(self, request_id: str, body: bytes = b"{}") -> None:
        await self.send(
            Kind.WORKER_REPLY,
            bytes(
                pb.SdkResponse(
                    request_id=request_id, env_id=ENV, status=pb.SdkResponseStatus(1), body=body
                )
            ),
        )

    async def heartbeat(self) -> None:
        await self.send(Kind.WORKER_HEARTBEAT)

    async def keep_alive(self) -> None:
        """Beat every 10 s, for ever."""
        while True:
            await trio.sleep(10)
            with suppress(trio_websocket.ConnectionClosed):
                await self.heartbeat()


def request_bytes(request_id: str, **fields: object) -> bytes:
    return bytes(
        pb.GatewayExecutorRequestData(
            request_id=request_id, env_id=ENV, app_name="my-app", **fields  # type: ignore[arg-type] # any field
        )
    )  # fmt: skip


@asynccontextmanager
async def open_rig(
    settings: Settings | None = None,
    *,
    registration: Registration | None = None,
    defined: Callable[[], DefinedFunctions] = DefinedFunctions,
) -> AsyncIterator[Rig]:
    settings = settings or Settings()
    store = open_embedded_store(now=now, timing=settings.timing)
    outages = Outages()
    failing = open_embedded_store(now=now, timing=settings.timing)
    for name in ("connections", "capacity", "responses", "leases", "gateways", "apps"):
        setattr(failing, name, Outage(getattr(store, name), outages))
    tokens = SessionTokens("a secret of at least thirty-two bytes", lifetime=300, now=now)
    pushes, vouchers = Pushes(), Vouchers()
    services = Services(
        gateway_id=str(ULID()),
        settings=settings,
        store=failing,
        tokens=tokens,
        replies=pushes,
        executors=vouchers,
        metrics=Metrics(),
        log=structlog.get_logger(),
        now=now,
        health=StoreHealth(lambda: outages.unreachable_since),
        registration=registration,
        defined=defined,
    )
    gateway = Gateway(services)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            gateway.run, GatewayAddress(hostname="host", host="127.0.0.1", grpc_port=1, port=2)
        )
        yield Rig(gateway, store, pushes, outages, nursery, tokens, vouchers)
        outages.down = outages.broken = False
        outages.refused.clear()
        outages.unreachable_since = None
        outages.delay = 0
        nursery.cancel_scope.cancel()


def with_timing(**changes: float) -> Settings:
    settings = Settings()
    return replace(settings, timing=replace(settings.timing, **changes))  # type: ignore[arg-type] # durations


def with_limits(**changes: int) -> Settings:
    settings = Settings()
    return replace(settings, limits=replace(settings.limits, **changes))
