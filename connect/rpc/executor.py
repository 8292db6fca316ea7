"""The executor: routes requests to workers and returns their replies.

A library for whoever has requests to run::

    async with open_executor("redis://localhost") as executor:
        response = await executor.execute(request)

It needs nothing but the state store that the gateways use, and a port on which they
can call it back. What it does with one request is in `connect.rpc.execution`.
"""

import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType

import structlog
import trio

from connect.errors import ExecutorClosing, LimitReached, MalformedMessage, Syscode, SyscodeError
from connect.protocol.codec import decode
from connect.protocol.envelope import RequestFields, read_request
from connect.protocol.messages.connect import v1 as pb
from connect.rpc.addresses import reachable_host
from connect.rpc.background import open_background
from connect.rpc.bridge import Bridge, open_bridge
from connect.rpc.channels import open_channel_pool
from connect.rpc.cleanup import Cleanup
from connect.rpc.execution import Execution
from connect.rpc.execution_parts import ExecutionParts, ExecutorStore
from connect.rpc.executor_service import executor_handlers
from connect.rpc.forward_streams import open_forward_streams
from connect.rpc.frames import LeaseAnswer
from connect.rpc.gateways import GatewayTable
from connect.settings import Settings

__all__ = ["Executor", "open_executor"]

# Replies are taken without waiting for anything, so the server needs hardly any grace.
_SERVER_GRACE_SECONDS = 0.5

# When a caller that found the executor full may find room.
_ROOM_AFTER_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Executor:
    """Executes requests while its ``async with`` block lasts.

    Args:
        store: the state store, shared with the gateways; must outlast the executor.
        settings: `timing`, `limits` and `listen` are used.
        now: unix seconds.
        bridge: where to run gRPC; one of its own when None.
        host: address to listen on for replies; `Listen.host` when None.
        port: port to listen on, 0 picks a free one; `Listen.executor_rpc_port` when None.
        advertise_host: name or address that gateways call; `Listen.advertise_host` when
            None, and found out when that is None, too.
        drain: seconds that requests in progress have at the end of the block; `Timing.drain`
            as it is then when None.

    Entering raises ConfigurationError when it cannot listen. At the end of the block it
    drains, see `drain`. When the block is cancelled, or ends by an exception, it hands
    over what is in progress without waiting.
    """

    def __init__(
        self,
        store: ExecutorStore,
        *,
        settings: Settings | None = None,
        now: Callable[[], float] = time.time,
        bridge: Bridge | None = None,
        host: str | None = None,
        port: int | None = None,
        advertise_host: str | None = None,
        drain: float | None = None,
    ) -> None:
        self._store = store
        self._settings = settings or Settings()
        self._now = now
        self._bridge = bridge
        listen = self._settings.listen
        self._host = listen.host if host is None else host
        self._port = listen.executor_rpc_port if port is None else port
        self._advertise_host = advertise_host or listen.advertise_host
        self._drain = drain
        self._closing = False
        self._executions: dict[str, Execution] = {}
        self._idle = trio.Event()
        self._callers = 0
        self._request_bytes = 0
        self._parts: ExecutionParts | None = None
        self._nursery: trio.Nursery | None = None
        self._context: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> "Executor":
        self._closing = False
        self._context = self._running()
        await self._context.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._context is not None
        return await self._context.__aexit__(exc_type, exc, traceback)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port under which gateways reach this executor.

        Raises:
            RuntimeError: it is not open.
        """
        parts = self._open_parts()[0]
        return parts.host, parts.port

    @property
    def in_progress(self) -> int:
        """How many requests are in progress."""
        return len(self._executions)

    async def drain(self, seconds: float | None = None) -> None:
        """Take no more calls, wait for the requests in progress, hand over the rest.

        A request that is handed over stays leased and assigned if a worker may have it, and
        its reply buffered: whoever asks for the same request id next, from another executor,
        gets the reply, and it is not sent again. Its callers get ExecutorClosing.

        Args:
            seconds: how long to wait; when None, as long as the end of the block does.

        Cancelling it takes no call back in, and hands nothing over.
        """
        self._closing = True
        if seconds is None:
            seconds = self._settings.timing.drain if self._drain is None else self._drain
        with trio.move_on_after(seconds):
            await self._become_idle()
        self._hand_over()
        await self._become_idle()  # soon: nothing that it still does lacks a deadline

    async def execute(self, request: pb.GatewayExecutorRequestData) -> pb.SdkResponse:
        """Have a worker run the request, and return its reply; see `execute_bytes`."""
        response = await self.execute_bytes(bytes(request))
        try:
            return decode(pb.SdkResponse, response)
        except MalformedMessage as error:
            raise SyscodeError(Syscode.INTERNAL_ERROR, f"the worker's reply is {error}") from error

    async def execute_bytes(self, request: bytes) -> bytes:
        """Have a worker run the request, and return its reply.

        A request that this executor has in progress already (by its request id) is not
        sent again: both calls get the one reply.

        Args:
            request: a serialized GatewayExecutorRequestData; its lease id is replaced.

        Returns:
            A serialized SDKResponse, as the worker sent it; also one with status ERROR.

        Raises:
            SyscodeError: NO_HEALTHY_CONNECTION if no worker took the request,
                ALL_WORKERS_AT_CAPACITY, WORKER_STOPPED_RESPONDING if the lease expired
                and no reply came, REQUEST_TOO_LONG after `Timing.longest_function`,
                INTERNAL_ERROR if its reply is none (Connect protocol, section 5).
            ExecutorClosing: the executor drains, or ended before the request: another one
                may be asked for the same request id, see `drain`.
            LimitReached: EXECUTOR_AT_CAPACITY: `Limits.concurrent_requests` calls are in
                progress, or so many that this one would exceed
                `Limits.concurrent_request_bytes`. Nothing was done.
            StoreUnavailable: the request could not be routed.
            MalformedMessage: it is no such message, or has no request, environment or
                app id, or no function slug.
            RuntimeError: the executor is not open.

        Cancelling it un-assigns the request and deletes its lease (unless the call shares
        its request with another); the worker may be running it nonetheless. Cancelled
        together with the whole executor, the request is handed over instead.
        """
        fields = read_request(request)
        for name in ("request_id", "env_id", "app_id", "function_slug"):
            if not getattr(fields, name):
                raise MalformedMessage("GatewayExecutorRequestData", f"{name} is empty")
        self._check_open()
        self._check_room(len(request))
        self._callers += 1
        self._request_bytes += len(request)
        try:
            execution = await self._start_or_join(fields, request)
            await self._finish(execution)
        finally:
            self._callers -= 1
            self._request_bytes -= len(request)
            self._note_idle()
        if execution.error is not None:
            raise execution.error
        assert execution.response is not None
        return execution.response

    def deliver(self, request_id: str, response: bytes) -> bool:
        """Take a reply that a gateway pushed; see `ReplyTable.deliver`."""
        execution = self._executions.get(request_id)
        return execution is not None and execution.deliver(response)

    def awaits(self, request_id: str) -> bool:
        """Return whether the request is in progress here."""
        return request_id in self._executions

    async def extend_lease(self, request: pb.ExtendLeaseRequest) -> LeaseAnswer:
        """Extend a worker's lease for a gateway; see `Execution.extend_lease`."""
        execution = self._executions.get(request.request_id)
        if execution is None or execution.env_id != request.env_id:
            return LeaseAnswer(in_progress=False)
        return await execution.extend_lease(request)

    def _check_open(self) -> None:
        if self._closing:
            raise ExecutorClosing("the executor is coming to its end: ask another one")

    async def _become_idle(self) -> None:
        while self._callers or self._executions:
            if self._idle.is_set():
                self._idle = trio.Event()
            await self._idle.wait()

    def _note_idle(self) -> None:
        if not self._callers and not self._executions:
            self._idle.set()

    def _hand_over(self) -> None:
        if self._executions:
            log.info("handing requests over", count=len(self._executions))
        for execution in self._executions.values():
            execution.hand_over()

    def _check_room(self, size: int) -> None:
        limits = self._settings.limits
        message = ""
        if self._callers >= limits.concurrent_requests:
            message = f"the executor has {self._callers} requests in progress, its limit"
        elif self._callers and self._request_bytes + size > limits.concurrent_request_bytes:
            message = (
                f"the executor's requests in progress have {self._request_bytes} bytes; "
                f"{size} more would exceed its limit of {limits.concurrent_request_bytes}"
            )
        if message:
            raise LimitReached(
                Syscode.EXECUTOR_AT_CAPACITY, message, retry_after=_ROOM_AFTER_SECONDS
            )

    def _open_parts(self) -> tuple[ExecutionParts, trio.Nursery]:
        if self._parts is None or self._nursery is None:
            raise RuntimeError("the executor is not open: use it with `async with`")
        return self._parts, self._nursery

    async def _start_or_join(self, fields: RequestFields, request: bytes) -> Execution:
        while True:
            self._check_open()
            parts, nursery = self._open_parts()
            execution = self._executions.get(fields.request_id)
            if execution is None:
                execution = Execution(parts, fields, request)
                self._executions[fields.request_id] = execution
                nursery.start_soon(self._carry_out, execution)
                return execution
            if execution.env_id != fields.env_id:
                raise SyscodeError(
                    Syscode.INTERNAL_ERROR, "the request id is in use in another environment"
                )
            if execution.join():
                return execution
            await execution.done.wait()

    async def _carry_out(self, execution: Execution) -> None:
        try:
            await execution.run()
        finally:
            del self._executions[execution.request_id]
            self._note_idle()

    async def _finish(self, execution: Execution) -> None:
        try:
            await execution.done.wait()
        except trio.Cancelled:
            if execution.leave():
                timing = self._settings.timing
                with trio.move_on_after(timing.store_command + timing.cleanup, shield=True):
                    await execution.done.wait()
            raise

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        timing = self._settings.timing
        gateways = GatewayTable(self._store.gateways, timing=timing, now=self._now)
        cleanup = Cleanup(self._store.routing, timing)
        async with (
            _given_or_own(self._bridge) as bridge,
            open_channel_pool(bridge, reply_timeout=timing.rpc) as channels,
            open_background() as nursery,
        ):
            await gateways.refresh()
            nursery.start_soon(gateways.run)
            nursery.start_soon(cleanup.run)
            serve = partial(
                bridge.serve,
                executor_handlers(self),
                host=self._host,
                port=self._port,
                grace=_SERVER_GRACE_SECONDS,
            )
            bound_host, bound_port = await nursery.start(serve)
            host = self._advertise_host or reachable_host(bound_host)
            async with open_forward_streams(
                channels,
                self,
                address=(host, bound_port),
                gateways=gateways.addresses,
                follow_interval=timing.gateway_refresh,
                open_timeout=timing.rpc,
                max_message_bytes=bridge.max_message_bytes,
            ) as streams:
                self._parts = ExecutionParts(
                    store=self._store,
                    gateways=gateways,
                    channels=streams,
                    cleanup=cleanup,
                    timing=timing,
                    limits=self._settings.limits,
                    host=host,
                    port=bound_port,
                    now=self._now,
                )
                try:
                    # Executions end before the streams that they use.
                    async with open_background() as self._nursery:
                        try:
                            yield
                            await self.drain()
                        finally:
                            self._closing = True
                            self._hand_over()
                            self._parts = self._nursery = None
                finally:
                    await cleanup.finish()


@asynccontextmanager
async def _given_or_own(bridge: Bridge | None) -> AsyncIterator[Bridge]:
    if bridge is not None:
        yield bridge
    else:
        async with open_bridge() as own:
            yield own


@asynccontextmanager
async def open_executor(
    redis_url: str,
    *,
    settings: Settings | None = None,
    host: str | None = None,
    port: int = 0,
    advertise_host: str | None = None,
    drain: float | None = None,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Executor]:
    """Open an executor on the Redis that the gateways use.

    Args:
        redis_url: one server, a cluster or a Sentinel service; see
            `connect.state.redis_url.parse_redis_url`.
        settings: timing, limits and key layout; those of the gateways.
        host, advertise_host, drain, now: as for `Executor`.
        port: to listen on for replies; 0 picks a free one.

    Raises:
        ConfigurationError: Redis cannot be used, or the port is not free.
    """
    # Whoever brings a store of their own does not need Redis' client.
    from connect.state.open import open_store

    settings = settings or Settings()
    redis = dataclasses.replace(settings.redis, url=redis_url)
    async with (
        open_store(redis, settings.timing, now) as store,
        Executor(
            store,
            settings=settings,
            now=now,
            host=host,
            port=port,
            advertise_host=advertise_host,
            drain=drain,
        ) as executor,
    ):
        yield executor
