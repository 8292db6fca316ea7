"""What every connection of a gateway shares: the ports and settings around it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakValueDictionary

from structlog.typing import FilteringBoundLogger

from connect.config.defined import DefinedFunctions
from connect.metrics import Metrics
from connect.nursery.health import StoreHealth
from connect.nursery.registration import Registration
from connect.nursery.sync import Synced, SyncKey
from connect.protocol.tokens import SessionTokens
from connect.settings import Settings
from connect.state.store import StateStore

__all__ = ["ReplySender", "Services"]


class ReplySender(Protocol):
    """The way to executors: implemented by the RPC channels."""

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        """Push an SDKResponse to the executor at this address, best effort.

        Returns:
            Whether the executor took it. Never raises for an unreachable one.
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
        synced: groups of connections that are open, which these share.
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
    registration: Registration | None = None
    defined: Callable[[], DefinedFunctions] = DefinedFunctions
    synced: WeakValueDictionary[SyncKey, Synced] = field(default_factory=WeakValueDictionary)
