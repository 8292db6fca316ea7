"""What every connection of a gateway shares: the ports and settings around it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakValueDictionary

from structlog.typing import FilteringBoundLogger

from connect.config.defined import DefinedFunctions
from connect.errors import ConnectError
from connect.logs import SparseLog
from connect.metrics import Metrics
from connect.nursery.health import StoreHealth
from connect.nursery.registration import Registration
from connect.nursery.sync import Synced, SyncKey
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.tokens import SessionTokens
from connect.settings import Settings
from connect.state.store import StateStore

__all__ = ["LeaseExtender", "ReplySender", "Services"]

# Between two warnings of one kind about what befalls many connections.
_LOG_SECONDS = 10.0


class ReplySender(Protocol):
    """The way to executors: implemented by the RPC channels."""

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        """Push an SDKResponse to the executor at this address, best effort.

        Returns:
            Whether the executor took it. Never raises for an unreachable one.
        """
        ...


class LeaseExtender(Protocol):
    """The executors that can be asked: implemented by their streams."""

    async def extend_lease(self, request: pb.ExtendLeaseRequest, *, timeout: float) -> str | None:
        """Have the executor that waits for a request extend its lease, or vouch for it.

        Args:
            timeout: seconds.

        Returns:
            The lease id to hold from now on; None if the lease is lost.

        Raises:
            StoreUnavailable: none answers for it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The surroundings of a gateway.

    Attributes:
        gateway_id: a ULID, new with every start of the process.
        now: unix time in seconds.
        registration: the API to register apps at; None is the built-in registry.
        defined: returns the loaded definitions, which registered functions are compared with.
        health: whether `store` answers.
        executors: whom to ask about leases while it does not; None when there is nobody.
        synced: groups of connections that are open, which these share.
        warnings: those of many connections, told together.
        compared: the ids of syncs whose functions were compared with `defined`, oldest first.
    """

    gateway_id: str
    settings: Settings
    store: StateStore
    tokens: SessionTokens
    replies: ReplySender
    metrics: Metrics
    log: FilteringBoundLogger
    now: Callable[[], float]
    health: StoreHealth
    executors: LeaseExtender | None = None
    registration: Registration | None = None
    defined: Callable[[], DefinedFunctions] = DefinedFunctions
    warnings: SparseLog = field(default_factory=lambda: SparseLog(_LOG_SECONDS))
    synced: WeakValueDictionary[SyncKey, Synced] = field(default_factory=WeakValueDictionary)
    compared: dict[str, None] = field(default_factory=dict)

    def warn(self, log: FilteringBoundLogger, event: str, **values: object) -> None:
        """Warn of what may befall all connections at once: of the first, and how many more."""
        self.warnings.warning(event, kind=event, log=log, **values)

    def warn_unstored(
        self, log: FilteringBoundLogger, event: str, error: ConnectError, **values: object
    ) -> None:
        """Warn of what the store has not done, as `warn` does.

        While there is no store, that is told by `health` and by the store's connection, once; what
        follows from it is for debugging.
        """
        if self.health.away or self.health.unreachable_for:
            log.debug(event, error=str(error), **values)
        else:
            self.warn(log, event, error=str(error), **values)
