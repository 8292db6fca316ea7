"""Gateways and executors with real streams between them, on loopback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio

from connect.protocol.messages.connect import v1 as pb
from connect.rpc.bridge import Bridge, open_bridge
from connect.rpc.channels import open_channel_pool
from connect.rpc.errors import RpcError
from connect.rpc.executor_streams import ExecutorStreams
from connect.rpc.forward_streams import ForwardStreams, open_forward_streams
from connect.rpc.frames import LeaseAnswer
from connect.rpc.gateway_service import gateway_handlers
from tests.rpc.loopback import LOCALHOST, until

OPEN_SECONDS = 2.0
EXECUTOR = ("executor-1", 7000)

Address = tuple[str, int]


def request(request_id: str = "req-1", payload: bytes = b"{}") -> bytes:
    return bytes(pb.GatewayExecutorRequestData(request_id=request_id, request_payload=payload))


def response(request_id: str = "req-1", body: bytes = b"done") -> bytes:
    return bytes(pb.SdkResponse(request_id=request_id, body=body))


async def accept(connection_id: str, data: bytes) -> bool:
    await trio.lowlevel.checkpoint()
    return True


@dataclass
class Worker:
    """What is behind a gateway: remembers, and does what `act` says."""

    act: Callable[[str, bytes], Awaitable[bool]] = accept
    forwarded: list[tuple[str, str, bytes]] = field(default_factory=list)
    vouched: list[str | None] = field(default_factory=list)
    cancelled: trio.Event = field(default_factory=trio.Event)

    async def forward(
        self, connection_id: str, request_id: str, request: bytes, *, vouched: str | None
    ) -> bool:
        self.vouched.append(vouched)
        self.forwarded.append((connection_id, request_id, request))
        try:
            return await self.act(connection_id, request)
        except trio.Cancelled:
            self.cancelled.set()
            raise


@dataclass
class Fallback:
    """The way to executors without a stream."""

    pushed: list[tuple[str, int, bytes]] = field(default_factory=list)

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        self.pushed.append((host, port, response))
        return True


async def not_in_progress(request: pb.ExtendLeaseRequest) -> LeaseAnswer:
    await trio.lowlevel.checkpoint()
    return LeaseAnswer(in_progress=False)


@dataclass
class Replies:
    """An executor's requests in progress: all, or none."""

    awaited: bool = True
    delivered: list[tuple[str, bytes]] = field(default_factory=list)
    extend: Callable[[pb.ExtendLeaseRequest], Awaitable[LeaseAnswer]] = not_in_progress
    extended: list[pb.ExtendLeaseRequest] = field(default_factory=list)

    def deliver(self, request_id: str, response: bytes) -> bool:
        self.delivered.append((request_id, response))
        return self.awaited

    async def extend_lease(self, request: pb.ExtendLeaseRequest) -> LeaseAnswer:
        self.extended.append(request)
        return await self.extend(request)


@dataclass
class RunningGateway:
    """Attributes: stop: what cancels its server."""

    address: Address
    executors: ExecutorStreams
    fallback: Fallback
    stop: trio.CancelScope
    stopped: trio.Event


@asynccontextmanager
async def open_gateway(
    bridge: Bridge,
    worker: Worker,
    *,
    port: int = 0,
    streams: bool = True,
    grace: float = 5,
    reply_timeout: float = 5,
) -> AsyncIterator[RunningGateway]:
    """Args: streams: whether it knows the method at all."""
    fallback = Fallback()
    executors = ExecutorStreams(fallback, reply_timeout=reply_timeout)
    stop, stopped = trio.CancelScope(), trio.Event()

    async def serve(*, task_status: trio.TaskStatus[Address]) -> None:
        with stop:
            await bridge.serve(
                gateway_handlers(worker),
                streams=executors.handlers(worker) if streams else None,
                host=LOCALHOST,
                port=port,
                grace=grace,
                task_status=task_status,
            )
        stopped.set()

    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve)
        yield RunningGateway(address, executors, fallback, stop, stopped)
        stop.cancel()


@dataclass
class RunningExecutor:
    """Attributes: gateways: the addresses that its table has."""

    streams: ForwardStreams
    replies: Replies
    gateways: set[Address]

    async def forward(
        self,
        gateway: RunningGateway,
        data: bytes | None = None,
        *,
        connection_id: str = "conn-1",
        timeout: float = 20,
    ) -> bool:
        return await self.streams.forward(
            *gateway.address, connection_id, data or request(), timeout=timeout
        )

    async def connect(self, gateway: RunningGateway) -> None:
        """Have a stream to the gateway."""
        await self.forward(gateway)
        await until(partial(self.has_stream, gateway))

    def has_stream(self, gateway: RunningGateway) -> bool:
        known = self.streams._gateways.get(gateway.address)
        return known is not None and known.link is not None


@asynccontextmanager
async def open_executor_side(
    bridge: Bridge,
    *,
    address: Address = EXECUTOR,
    max_message_bytes: int | None = None,
) -> AsyncIterator[RunningExecutor]:
    replies = Replies()
    gateways: set[Address] = set()
    async with (
        open_channel_pool(bridge) as channels,
        open_forward_streams(
            channels,
            replies,
            address=address,
            gateways=lambda: gateways,
            follow_interval=1000,
            open_timeout=OPEN_SECONDS,
            max_message_bytes=max_message_bytes or bridge.max_message_bytes,
        ) as streams,
    ):
        yield RunningExecutor(streams, replies, gateways)


@asynccontextmanager
async def open_both(
    worker: Worker | None = None, **settings: Any
) -> AsyncIterator[tuple[RunningGateway, RunningExecutor]]:
    """A gateway, and an executor with a stream to it."""
    worker = worker or Worker()
    act, worker.act = worker.act, Worker().act
    async with (
        open_bridge() as bridge,
        open_gateway(bridge, worker, **settings) as gateway,
        open_executor_side(bridge) as executor,
    ):
        await executor.connect(gateway)
        worker.forwarded.clear()
        worker.act = act
        yield gateway, executor


async def wait_forever(connection_id: str, data: bytes) -> bool:
    await trio.sleep_forever()
    raise AssertionError


async def failure(executor: RunningExecutor, gateway: RunningGateway, **call: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await executor.forward(gateway, **call)
    return caught.value
