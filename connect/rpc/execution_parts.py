"""What the executions of one executor share, and what they need of the state store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from connect.rpc.cleanup import Cleanup
from connect.rpc.gateways import GatewayTable
from connect.rpc.lease_watch import LeaseReader
from connect.settings import Limits, Timing
from connect.state.store import ExtendResult, GatewayStore, RoutingStore

__all__ = ["ExecutionParts", "ExecutorLeases", "ExecutorStore", "ForwardChannels", "ResponseReader"]


class ExecutorLeases(LeaseReader, Protocol):
    async def extend(
        self,
        env_id: str,
        request_id: str,
        *,
        lease_id: str,
        instance_id: str,
        seconds: float,
        limited: bool,
    ) -> ExtendResult: ...

    async def hand_back(
        self, env_id: str, request_id: str, *, executor: tuple[str, int], to: tuple[str, int]
    ) -> bool: ...


class ResponseReader(Protocol):
    async def get(self, env_id: str, request_id: str) -> bytes | None: ...


class ExecutorStore(Protocol):
    """What an executor needs of `connect.state.store.StateStore`."""

    @property
    def routing(self) -> RoutingStore: ...
    @property
    def leases(self) -> ExecutorLeases: ...
    @property
    def responses(self) -> ResponseReader: ...
    @property
    def gateways(self) -> GatewayStore: ...


class ForwardChannels(Protocol):
    """What an execution needs of `connect.rpc.forward_streams.ForwardStreams`."""

    async def forward(
        self, host: str, port: int, connection_id: str, request: bytes, *, timeout: float
    ) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionParts:
    """What all executions of one executor share.

    Attributes:
        host, port: where gateways reach this executor; goes into leases.
        now: unix seconds.
    """

    store: ExecutorStore
    gateways: GatewayTable
    channels: ForwardChannels
    cleanup: Cleanup
    timing: Timing
    limits: Limits
    host: str
    port: int
    now: Callable[[], float]
