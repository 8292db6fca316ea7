"""Executors, and whoever calls them in their processes."""

from dataclasses import dataclass, field, replace

import trio

from connect.errors import ExecutorClosing, StoreUnavailable, SyscodeError
from connect.protocol.envelope import read_request
from connect.rpc import Executor
from connect.rpc.errors import CallRefused
from connect.rpc.execution_parts import ForwardChannels
from connect.rpc.forward_streams import ForwardStreams
from tests.simulation.history import STORE_UNAVAILABLE, CallEnding, ForwardEnded
from tests.simulation.nodes import Node, Surroundings

__all__ = ["Call", "ExecutorNode"]

_EXECUTOR_RPC_PORT = 50053


@dataclass(slots=True, eq=False)
class Call:
    """One call of an executor; done when it says how it ended.

    Attributes:
        scope: cancelled by a caller who gives up.
    """

    request: bytes
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    how: CallEnding = CallEnding.LOST
    detail: str = ""
    response: bytes = b""

    def end(self, how: CallEnding, detail: str = "", response: bytes = b"") -> None:
        """Note how it ended; the first time counts."""
        if not self.done.is_set():
            self.how, self.detail, self.response = how, detail, response
            self.done.set()


class ExecutorNode(Node):
    """An executor, and whoever calls it in its process.

    Attributes:
        streams: to gateways, once it is up.
    """

    def __init__(self, name: str, around: Surroundings) -> None:
        super().__init__(name, around)
        self.streams: ForwardStreams | None = None
        self._executor: Executor | None = None
        self._nursery: trio.Nursery | None = None
        self._calls: dict[Call, None] = {}

    @property
    def in_progress(self) -> int:
        """How many requests it carries out."""
        return 0 if self._executor is None else self._executor.in_progress

    async def _work(self) -> None:
        async with (
            Executor(
                self.store,
                settings=self.around.settings,
                now=self.around.now,
                bridge=self.bridge,
                host=self.name,
                port=_EXECUTOR_RPC_PORT,
                advertise_host=self.name,
            ) as executor,
            trio.open_nursery() as nursery,
        ):
            parts = executor._parts
            assert parts is not None
            assert isinstance(parts.channels, ForwardStreams)
            self.streams = parts.channels
            watched = _WatchedForwards(parts.channels, self)
            executor._parts = replace(parts, channels=watched)
            self._executor, self._nursery = executor, nursery
            self.up.set()
            await self._stopping.wait()
            await executor.drain()
            self._nursery = None  # who calls from here on finds nobody
            nursery.cancel_scope.cancel()

    def kill(self) -> None:
        super().kill()
        for call in tuple(self._calls):
            call.end(CallEnding.LOST)

    def call(self, call: Call) -> None:
        """Begin a call; one that cannot begin is lost."""
        if self.dead or self._nursery is None:
            call.end(CallEnding.LOST)
            return
        self._calls[call] = None
        self.spawn(self._nursery, self._carry_out, call)

    async def _carry_out(self, call: Call) -> None:
        assert self._executor is not None
        try:
            with call.scope:
                call.end(
                    CallEnding.ANSWERED,
                    response=await self._executor.execute_bytes(call.request),
                )
            if call.scope.cancelled_caught:
                call.end(CallEnding.CANCELLED)
        except ExecutorClosing:
            call.end(CallEnding.LOST)
        except SyscodeError as error:
            call.end(CallEnding.FAILED, error.code)
        except StoreUnavailable:
            call.end(CallEnding.FAILED, STORE_UNAVAILABLE)
        finally:
            call.end(CallEnding.LOST)
            del self._calls[call]


class _WatchedForwards:
    """The executor's way to gateways; what became of each forward is noted."""

    def __init__(self, channels: ForwardChannels, node: ExecutorNode) -> None:
        self._channels = channels
        self._node = node

    async def forward(
        self, host: str, port: int, connection_id: str, request: bytes, *, timeout: float
    ) -> bool:
        success, sure = False, False
        try:
            success = await self._channels.forward(
                host, port, connection_id, request, timeout=timeout
            )
            sure = True
        except CallRefused:
            sure = True
            raise
        finally:
            history, fields = self._node.around.history, read_request(request)
            history.add(
                ForwardEnded(
                    at=history.now,
                    request=fields.request_id,
                    lease=fields.lease_id,
                    success=success,
                    sure=sure,
                )
            )
        return success
