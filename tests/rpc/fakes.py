"""A store, a bridge and workers in memory, for the executor's tests."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest
import trio

from connect.errors import ConnectError, StoreUnavailable, SyscodeError
from connect.protocol.envelope import decode_forward, encode_success, read_request
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import Executor
from connect.rpc.bridge import DEFAULT_MAX_MESSAGE_BYTES, Bridge, RpcHandler
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.message_stream import ClientStream
from connect.settings import Limits, Listen, Settings, Timing
from connect.state.leases import lease_id_at
from connect.state.records import GatewayRecord, GatewayStatus, LeaseRecord
from connect.state.store import (
    Acquired,
    AcquireOutcome,
    AcquireRequest,
    ExtendOutcome,
    ExtendResult,
    LeaseState,
    NoRoute,
    NoRouteReason,
)

ENV = "env-1"
REQUEST_ID = "01REQUEST"
NOW = 1_700_000_000.0
_LONG_AFTER = 1_800_000_000_000  # unix ms

Forward = Callable[[str, bytes], Awaitable[bool]]
"""What a gateway does with a request: takes connection id and request."""


def request(request_id: str = REQUEST_ID) -> pb.GatewayExecutorRequestData:
    return pb.GatewayExecutorRequestData(
        request_id=request_id,
        env_id=ENV,
        app_id="app-1",
        function_slug="app-fn",
        request_payload=b"{}",
    )


def response(request_id: str = REQUEST_ID, body: bytes = b"done") -> bytes:
    return bytes(
        pb.SdkResponse(request_id=request_id, env_id=ENV, status=pb.SdkResponseStatus(1), body=body)
    )


def route(number: int = 1, *, gateway_id: str = "gw-1") -> Acquired:
    return Acquired(
        lease_id=f"lease-{number}",
        connection_id=f"conn-{number}",
        gateway_id=gateway_id,
        instance_id=f"worker-{number}",
        limited=True,
    )


def gateway(gateway_id: str = "gw-1", **changes: object) -> GatewayRecord:
    fields: dict[str, object] = {
        "id": gateway_id,
        "status": GatewayStatus.ACTIVE,
        "last_heartbeat_ms": int(NOW * 1000),
        "hostname": "host",
        "ip": "10.0.0.1",
        "grpc_port": 7001,
    }
    return GatewayRecord(**(fields | changes))  # type: ignore[arg-type] # built by name


@dataclass
class FakeRouting:
    """Answers acquisitions from a list; the last outcome repeats.

    Attributes:
        completed: (request id, instance id) of every completion.
        completed_by: the executor of each.
        completed_leases: the one lease that each was for.
        completions_tried: when each was asked for, those that failed included.
        kept_responses: whether each left a response in the buffer.
        may_run: whether a worker might still run the request at each.
        vouched_until_ms: until when it was vouched for at each.
        made_with: the ids that the lease may have been made with, at each.
        taken: whether the requests are another executor's by then.
        delay: seconds that each acquisition takes.
        complete_errors: by request id.
    """

    outcomes: list[AcquireOutcome | StoreUnavailable] = field(default_factory=list)
    acquired: list[AcquireRequest] = field(default_factory=list)
    completed: list[tuple[str, str | None]] = field(default_factory=list)
    completed_by: list[tuple[str, int] | None] = field(default_factory=list)
    completed_leases: list[str | None] = field(default_factory=list)
    completions_tried: list[float] = field(default_factory=list)
    kept_responses: list[bool] = field(default_factory=list)
    may_run: list[bool] = field(default_factory=list)
    vouched_until_ms: list[int] = field(default_factory=list)
    made_with: list[tuple[str, ...]] = field(default_factory=list)
    taken: bool = False
    delay: float = 0
    complete_delay: float = 0
    complete_error: ConnectError | None = None
    complete_errors: dict[str, ConnectError] = field(default_factory=dict)
    on_acquire: Callable[[int], None] = lambda count: None

    async def acquire(self, request: AcquireRequest) -> AcquireOutcome:
        await trio.sleep(self.delay)
        self.acquired.append(request)
        self.on_acquire(len(self.acquired))
        outcome = self.outcomes[min(len(self.acquired), len(self.outcomes)) - 1]
        if isinstance(outcome, StoreUnavailable):
            raise outcome
        return outcome

    async def complete(
        self,
        env_id: str,
        request_id: str,
        instance_id: str | None,
        *,
        executor: tuple[str, int] | None = None,
        lease_id: str | None = None,
        keep_response: bool = False,
        may_run: bool = False,
        vouched_until_ms: int = 0,
        made_with: Sequence[str] = (),
    ) -> bool:
        self.completions_tried.append(trio.current_time())
        await trio.sleep(self.complete_delay)
        error = self.complete_error or self.complete_errors.get(request_id)
        if error is not None:
            raise error
        self.completed.append((request_id, instance_id))
        self.completed_by.append(executor)
        self.completed_leases.append(lease_id)
        self.kept_responses.append(keep_response)
        self.may_run.append(may_run)
        self.vouched_until_ms.append(vouched_until_ms)
        self.made_with.append(tuple(made_with))
        return not self.taken


_EXTENDED = ExtendResult(ExtendOutcome.EXTENDED, "lease-2")


@dataclass
class FakeLeases:
    """States from a list; the last one repeats.

    Attributes:
        never_extended: whether a lease that is found is always the same.
    """

    states: list[LeaseState | ConnectError] = field(default_factory=lambda: [LeaseState.LEASED])
    checks: list[float] = field(default_factory=list)
    never_extended: bool = False
    delay: float = 0
    extension: ExtendResult | ConnectError = _EXTENDED
    extended: list[tuple[str, str, str, str, float, bool]] = field(default_factory=list)
    handed_back: list[tuple[str, tuple[str, int], tuple[str, int]]] = field(default_factory=list)

    async def get(self, env_id: str, request_id: str) -> LeaseRecord | None:
        self.checks.append(trio.current_time())
        await trio.sleep(self.delay)
        state = self.states[min(len(self.checks), len(self.states)) - 1]
        if isinstance(state, ConnectError):
            raise state
        if state is LeaseState.NONE:
            return None
        until = _LONG_AFTER if state is LeaseState.LEASED else 0
        lease_id = lease_id_at(until)
        if self.never_extended:
            lease_id = lease_id[:10] + "0" * 16
        return LeaseRecord(id=lease_id, executor_host="executor-1", executor_port=9999)

    async def extend(
        self,
        env_id: str,
        request_id: str,
        *,
        lease_id: str,
        instance_id: str,
        seconds: float,
        limited: bool,
    ) -> ExtendResult:
        await trio.sleep(self.delay)
        self.extended.append((env_id, request_id, lease_id, instance_id, seconds, limited))
        if isinstance(self.extension, ConnectError):
            raise self.extension
        return self.extension

    async def hand_back(
        self, env_id: str, request_id: str, *, executor: tuple[str, int], to: tuple[str, int]
    ) -> bool:
        await trio.sleep(self.delay)
        self.handed_back.append((request_id, executor, to))
        return True


@dataclass
class FakeResponses:
    """Attributes: buffered: the response, from its time on."""

    buffered: bytes | None = None
    available_at: float = 0
    error: ConnectError | None = None
    polls: list[float] = field(default_factory=list)

    async def get(self, env_id: str, request_id: str) -> bytes | None:
        self.polls.append(trio.current_time())
        if self.error is not None:
            raise self.error
        return self.buffered if trio.current_time() >= self.available_at else None


@dataclass
class FakeGateways:
    records: list[GatewayRecord] = field(default_factory=lambda: [gateway()])
    error: ConnectError | None = None
    reads: int = 0

    async def all(self) -> list[GatewayRecord]:
        self.reads += 1
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        return list(self.records)

    async def upsert(self, gateway: GatewayRecord) -> None:
        self.records.append(gateway)

    async def delete(self, gateway_id: str) -> None:
        self.records = [record for record in self.records if record.id != gateway_id]


@dataclass
class FakeStore:
    routing: FakeRouting = field(default_factory=FakeRouting)
    leases: FakeLeases = field(default_factory=FakeLeases)
    responses: FakeResponses = field(default_factory=FakeResponses)
    gateways: FakeGateways = field(default_factory=FakeGateways)


@dataclass
class Forwarded:
    """A call that reached a gateway."""

    host: str
    port: int
    connection_id: str
    lease_id: str
    timeout: float


class FakeBridge:
    """Every peer is a gateway that does what `forward` says."""

    max_message_bytes = DEFAULT_MAX_MESSAGE_BYTES

    def __init__(self, forward: Forward) -> None:
        self.forward = forward
        self.forwarded: list[Forwarded] = []

    def connect(self, host: str, port: int) -> "FakeChannel":
        return FakeChannel(self, host, port)

    async def serve(
        self,
        handlers: Mapping[str, RpcHandler],
        *,
        host: str,
        port: int,
        grace: float,
        task_status: trio.TaskStatus[tuple[str, int]],
    ) -> None:
        task_status.started((host, port or 9999))
        await trio.sleep_forever()


class FakeChannel:
    def __init__(self, bridge: FakeBridge, host: str, port: int) -> None:
        self.bridge, self.host, self.port = bridge, host, port

    async def call(self, path: str, request: bytes, *, timeout: float) -> bytes:
        connection_id, data, _ = decode_forward(request)
        lease_id = read_request(data).lease_id
        self.bridge.forwarded.append(
            Forwarded(self.host, self.port, connection_id, lease_id, timeout)
        )
        return encode_success(await self.bridge.forward(connection_id, data))

    def stream(
        self, path: str, receive: Callable[[bytes], None], *, timeout: float
    ) -> AbstractAsyncContextManager[ClientStream]:
        raise RpcError(RpcStatus.UNIMPLEMENTED, "only calls here")

    def close(self) -> None:
        pass


@dataclass
class Rig:
    """An open executor, and everything around it."""

    executor: Executor
    store: FakeStore
    bridge: FakeBridge

    @property
    def forwarded(self) -> list[Forwarded]:
        return self.bridge.forwarded

    async def reply_after(self, seconds: float, reply: bytes | None = None) -> None:
        await trio.sleep(seconds)
        self.executor.deliver(REQUEST_ID, reply or response())


async def acknowledge(connection_id: str, data: bytes) -> bool:
    await trio.lowlevel.checkpoint()
    return True


async def refuse(connection_id: str, data: bytes) -> bool:
    await trio.lowlevel.checkpoint()
    return False


@asynccontextmanager
async def open_rig(
    *outcomes: AcquireOutcome | StoreUnavailable,
    forward: Forward = acknowledge,
    timing: Timing | None = None,
    limits: Limits | None = None,
    now: Callable[[], float] = lambda: NOW,
) -> AsyncIterator[Rig]:
    store = FakeStore()
    store.routing.outcomes = list(outcomes) or [NoRoute(NoRouteReason.NONE_HEALTHY)]
    bridge = FakeBridge(forward)
    settings = Settings(
        timing=timing or Timing(),
        limits=limits or Limits(),
        listen=Listen(host="127.0.0.1", executor_rpc_port=0, advertise_host="executor-1"),
    )
    async with Executor(store, settings=settings, now=now, bridge=cast(Bridge, bridge)) as executor:
        yield Rig(executor, store, bridge)


async def execute_with_reply(rig: Rig, seconds: float) -> pb.SdkResponse:
    """Execute the request, whose reply is pushed after so many seconds."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.reply_after, seconds)
        return await rig.executor.execute(request())
    raise AssertionError


async def failing(rig: Rig) -> str:
    """Execute the request, and return the syscode that it fails with."""
    with pytest.raises(SyscodeError) as caught:
        await rig.executor.execute(request())
    return caught.value.code
