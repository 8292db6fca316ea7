"""The nodes of the service, each as a process: started, stopped in good order, or killed.

A node that is killed does nothing any more: what its cancelled tasks still try to ask of
Redis or to send gets nowhere.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import cast

import httpx
import structlog
import trio
from ulid import ULID

from connect.api import create_api
from connect.metrics import Metrics
from connect.nursery.gateway import Gateway, GatewayAddress
from connect.nursery.health import StoreHealth
from connect.nursery.listener import serve_gateway
from connect.nursery.pushes import Pushes
from connect.nursery.services import Services
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.tokens import SessionTokens, SigningKeys
from connect.rpc.bridge import Bridge
from connect.rpc.channels import open_channel_pool
from connect.rpc.executor_streams import ExecutorStreams
from connect.rpc.gateway_service import gateway_handlers
from connect.runs import Runner
from connect.settings import Settings
from connect.state.encoding import decode_gateway
from connect.state.keys import Keys
from connect.state.redis_store import RedisStore
from connect.worker import App, Journal, Worker
from tests.simulation.connections import NotedConnections
from tests.simulation.determinism import NODE, Scheduler
from tests.simulation.history import (
    GatewayDrained,
    History,
    NodeStopped,
    NodeStopping,
)
from tests.simulation.http import SimulatedTransport, serve_request
from tests.simulation.network import ByteStream, End, Network
from tests.simulation.rpc import SimulatedBridge
from tests.simulation.store import NodeCommands, RedisServer

__all__ = ["ApiNode", "GatewayNode", "Node", "Surroundings", "WorkerNode"]

_GATEWAY_PORT = 8289
_GATEWAY_RPC_PORT = 50052
_API_PORT = 8288

_SECRET = "a secret that all of this simulation share"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the nodes share.

    Attributes:
        now: unix seconds.
        streams: whether gateways know the methods that stream.
        numbers: of the processes.
    """

    settings: Settings
    network: Network
    redis: RedisServer
    scheduler: Scheduler
    history: History
    now: Callable[[], float]
    streams: bool
    numbers: Iterator[int] = field(default_factory=partial(count, 1))


class Node(ABC):
    """One process, on a host of its own name. `run` it once.

    Attributes:
        process: its name and a number; another of the same name has another number.
        up: set when it does its work.
        gone: set when nothing of it is left.
        dead: whether it was killed.
    """

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name = name
        self.around = around
        self.up = trio.Event()
        self.gone = trio.Event()
        self.dead = False
        self.process = f"{name}.{next(around.numbers)}"
        self.commands = NodeCommands(
            around.redis,
            around.network,
            name,
            around.settings.timing.store_command,
            process=self.process,
        )
        self.store = RedisStore(self.commands, now=around.now, timing=around.settings.timing)
        self.bridge = cast(
            Bridge, SimulatedBridge(around.network, name, self, streams=around.streams)
        )
        self._stopping = trio.Event()
        self._scope = trio.CancelScope()
        self._context: Context | None = None

    @property
    def stopping(self) -> bool:
        """Whether it has been told to come to its end."""
        return self._stopping.is_set()

    async def run(self) -> None:
        """Be the process, until it is stopped or killed."""
        token = NODE.set(self.name)
        self._context = copy_context()
        try:
            with self._scope:
                await self._work()
        except Exception:
            # What a killed process raises nobody sees.
            if not self.dead:
                raise
        finally:
            NODE.reset(token)
            if not self.dead:
                self._note_end()
            self.gone.set()

    def stop(self) -> None:
        """Have it come to its end in good order."""
        if not self.stopping:
            history = self.around.history
            history.add(NodeStopping(at=history.now, node=self.name))
        self._stopping.set()

    def kill(self) -> None:
        """End it at once, as SIGKILL does."""
        self.dead = True
        self._note_end()
        self.around.scheduler.thaw(self.name)
        self.commands.die()
        self.around.network.crash(self.name)
        self._scope.cancel()

    def spawn(
        self, nursery: trio.Nursery, function: Callable[..., Awaitable[object]], *args: object
    ) -> None:
        """Start a task of this node."""
        assert self._context is not None
        self._context.run(nursery.start_soon, function, *args)

    def _note_end(self) -> None:
        history = self.around.history
        history.add(NodeStopped(at=history.now, node=self.name, crashed=self.dead))

    @abstractmethod
    async def _work(self) -> None:
        """Do what the process does; set `up`, and return once `_stopping` is set."""


class GatewayNode(Node):
    """A gateway with its listener, as `connect.app` puts them together.

    Attributes:
        gateway: once it is up.
    """

    gateway: Gateway

    async def _work(self) -> None:
        around = self.around
        timing = around.settings.timing
        listener = _Listener()
        async with (
            open_channel_pool(self.bridge, reply_timeout=timing.rpc) as pool,
            trio.open_nursery() as serving,
        ):
            executors = ExecutorStreams(pool, reply_timeout=timing.rpc)
            gateway = self.gateway = Gateway(
                Services(
                    gateway_id=str(ULID.from_timestamp(around.now())),
                    settings=replace(around.settings, gateway_group=self.name),
                    store=self.store,
                    tokens=_tokens(around),
                    replies=executors,
                    executors=executors,
                    metrics=Metrics(),
                    log=structlog.get_logger(),
                    now=around.now,
                    health=StoreHealth(lambda: self.store.unreachable_since),
                )
            )
            gateway.history = NotedConnections(
                around.settings.limits.closed_connections,
                self.name,
                around.history,
                since=lambda at: around.now() - at,
                alive=lambda: not self.dead,
            )
            await serving.start(
                partial(
                    self.bridge.serve,
                    gateway_handlers(gateway),
                    streams=executors.handlers(gateway),
                    host=self.name,
                    port=_GATEWAY_RPC_PORT,
                )
            )
            await serving.start(
                gateway.run,
                GatewayAddress(
                    hostname=self.name,
                    host=self.name,
                    grpc_port=_GATEWAY_RPC_PORT,
                    port=_GATEWAY_PORT,
                    endpoint=f"ws://{self.name}:{_GATEWAY_PORT}/v0/connect",
                ),
            )
            close = around.network.listen(self.name, _GATEWAY_PORT, listener.arrived)
            accepting = trio.CancelScope()
            try:
                serving.start_soon(self._accept, accepting, listener, serving)
                self.up.set()
                await self._stopping.wait()
                await gateway.drain()
                self._note_drained()
            finally:
                accepting.cancel()
                close()
            serving.cancel_scope.cancel()

    async def drain_for(self, seconds: float) -> None:
        """Send its workers away, as `connect drain` does; `connect activate` ends that.

        A gateway that is to end goes on to.
        """
        await trio.lowlevel.checkpoint()
        if self._is_at_work:
            self.gateway.start_drain()
        await trio.sleep(seconds)
        if self._is_at_work:
            await self.gateway.activate()

    @property
    def _is_at_work(self) -> bool:
        return self.up.is_set() and not self.stopping and not self.dead

    def _note_drained(self) -> None:
        """Note the heartbeat that others know of; none is as old as can be."""
        redis, history = self.around.redis.database, self.around.history
        stored = redis.execute(("HGET", Keys().gateways(), self.gateway.services.gateway_id))
        beat_ms = decode_gateway(stored).last_heartbeat_ms if isinstance(stored, bytes) else 0
        beat = history.now - (self.around.now() - beat_ms / 1000)
        history.add(GatewayDrained(at=history.now, node=self.name, beat=round(beat, 3)))

    async def _accept(
        self, accepting: trio.CancelScope, listener: "_Listener", serving: trio.Nursery
    ) -> None:
        with accepting:
            await serve_gateway(
                self.gateway,
                [cast(trio.SocketListener, listener)],
                connections=serving,
                ready=lambda: None,
            )


class _Listener(trio.abc.Listener[ByteStream]):
    """Sockets that come over the simulated network."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[ByteStream](1000)

    def arrived(self, end: End) -> None:
        self._send.send_nowait(ByteStream(end))

    async def accept(self) -> ByteStream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        await self._receive.aclose()


class ApiNode(Node):
    """The worker API."""

    async def _work(self) -> None:
        around = self.around
        async with (
            open_channel_pool(self.bridge, reply_timeout=around.settings.timing.rpc) as pool,
            trio.open_nursery() as nursery,
        ):
            app = create_api(
                self.store,
                settings=around.settings,
                keys=SigningKeys(()),
                tokens=_tokens(around),
                replies=Pushes(pool, settings=around.settings, metrics=Metrics()),
                metrics=Metrics(),
                runner=Runner(
                    self.store.apps, _execute_nothing, settings=around.settings, now=around.now
                ),
                nursery=nursery,
                now=around.now,
            )
            close = around.network.listen(
                self.name, _API_PORT, lambda end: self.spawn(nursery, serve_request, app, end)
            )
            self.up.set()
            try:
                await self._stopping.wait()
            finally:
                close()
            nursery.cancel_scope.cancel()


async def _execute_nothing(request: pb.GatewayExecutorRequestData) -> pb.SdkResponse:
    raise AssertionError("nothing is invoked here")


class WorkerNode(Node):
    """A worker; its instance id is the name of its process.

    Args:
        concurrency: how many requests it runs at once; None is any number.
        journal: as a worker's, called with this node as well; not after it was killed.
    """

    def __init__(
        self,
        name: str,
        around: Surroundings,
        app: App,
        *,
        concurrency: int | None,
        journal: Callable[["WorkerNode"], Journal],
    ) -> None:
        super().__init__(name, around)
        self._worker = Worker(
            app,
            api_url=f"http://api:{_API_PORT}",
            instance_id=self.process,
            max_concurrency=concurrency,
            journal=journal(self),
            now=around.now,
            jitter=random.random,
        )

    def stop(self) -> None:
        super().stop()
        self._worker.shutdown()

    async def _work(self) -> None:
        transport = SimulatedTransport(self.around.network, self.name)
        async with (
            httpx.AsyncClient(transport=transport) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._say_when_up)
            await self._worker.run(client=client)
            nursery.cancel_scope.cancel()

    async def _say_when_up(self) -> None:
        while not self._worker.connection_ids:
            await trio.sleep(0.05)
        self.up.set()


def _tokens(around: Surroundings) -> SessionTokens:
    return SessionTokens(_SECRET, lifetime=around.settings.timing.session_token, now=around.now)
