"""The ports of the state store: what the rest of the service may ask of it.

`RedisStore` implements them on Redis, `open_embedded_store` in process through the
same Lua; both pass one suite of contract tests.

Every method can raise `connect.errors.StoreUnavailable`. When a method is
cancelled, whether its command took effect is unknown; all of them may be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from connect.errors import ConnectError
from connect.state.records import (
    AppRecord,
    ConnectionRecord,
    GatewayRecord,
    GroupRecord,
    LeaseRecord,
)

__all__ = [
    "Acquired",
    "AcquireOutcome",
    "AcquireRequest",
    "AlreadyLeased",
    "AppStore",
    "Assignment",
    "Buffered",
    "LeaseIsLive",
    "CapacityStore",
    "ConnectionStore",
    "ExtendOutcome",
    "ExtendResult",
    "FunctionLocation",
    "GatewayStore",
    "LeaseState",
    "LeaseStore",
    "NoRoute",
    "NoRouteReason",
    "RefusedResponse",
    "ResponseStore",
    "RoutingStore",
    "SavedResponse",
    "StateStore",
]


class ConnectionStore(Protocol):
    """Connections and worker groups with their indexes."""

    async def upsert(
        self,
        env_id: str,
        connection: ConnectionRecord,
        groups: Sequence[GroupRecord] = (),
        *,
        fresh: bool = False,
    ) -> bool:
        """Store the connection, its groups and its place in every index, atomically.

        A group that is already stored keeps its creation time, also one that was without
        connections for less than an hour; its app id, sync id and feature observations'
        hash are taken from the argument when set there.

        Args:
            fresh: whether a handshake is what makes this connection, so that it may be
                stored though one of this id was deleted.

        Returns:
            False if the connection was deleted in the last 5 minutes: nothing is stored.
        """
        ...

    async def refresh(
        self, env_id: str, connection: ConnectionRecord, *, limited: bool = False
    ) -> bool:
        """Overwrite status and heartbeat of a stored connection; never create one.

        Everything else stays as it is stored, whatever the argument says.

        Args:
            limited: whether the worker has a capacity limit, whose keys are then kept
                alive as by `CapacityStore.refresh`.

        Returns:
            False if the connection is not in the store, or its record cannot be read.
        """
        ...

    async def delete(self, env_id: str, connection_id: str) -> bool:
        """Remove the connection from the map, every index, and groups left empty.

        Late writes for it come to nothing for 5 minutes; see `upsert`.

        Returns:
            False if it was not there; repeating is harmless.
        """
        ...

    async def get(self, env_id: str, connection_id: str) -> ConnectionRecord | None: ...

    async def all(self, env_id: str, app_id: str | None = None) -> list[ConnectionRecord]:
        """Return the connections of the environment, or those of one synced app."""
        ...

    async def group(self, env_id: str, group_hash: str) -> GroupRecord | None: ...

    async def groups(self, env_id: str) -> list[GroupRecord]: ...

    async def of_group(self, env_id: str, group_hash: str) -> list[ConnectionRecord]:
        """Return the connections of a group, skipping ids whose connection is gone."""
        ...


class LeaseState(Enum):
    NONE = auto()
    EXPIRED = auto()
    LEASED = auto()


class ExtendOutcome(Enum):
    """What became of a lease extension; all but EXTENDED and CURRENT are refusals."""

    EXTENDED = auto()  # a new lease id
    CURRENT = auto()  # a retry whose ack was lost: the current lease id
    DROPPED = auto()  # the new lease would be over already; everything is removed
    NOT_LEASED = auto()
    OTHER_WORKER = auto()  # a limited worker, and the request is mapped to another or none
    SUPERSEDED = auto()  # somebody else holds an unexpired lease


@dataclass(frozen=True, slots=True)
class ExtendResult:
    outcome: ExtendOutcome
    lease_id: str | None = None  # set for EXTENDED and CURRENT


@dataclass(frozen=True, slots=True)
class Acquired:
    """The request is ours, and this is the connection to forward it to.

    Attributes:
        limited: whether the worker has a capacity limit (and the request counts).
        app_name: the name under which the worker serves the app.
    """

    lease_id: str
    connection_id: str
    gateway_id: str
    instance_id: str
    limited: bool
    app_name: str = ""


@dataclass(frozen=True, slots=True)
class AlreadyLeased:
    """Someone else's lease is live; it names our executor address now.

    Attributes:
        executor: host and port of the one that it named before, if it named one.
        first_lease_id: the id that `acquire` made it with; "" if that is not known.
    """

    lease_id: str
    executor: tuple[str, int] | None = field(default=None, compare=False)
    first_lease_id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Buffered:
    """A response is buffered already; it stays there until `RoutingStore.complete`."""

    response: bytes


class LeaseIsLive(ConnectError):
    """A routing whose answer was lost has taken over a lease, which has to end first."""


class NoRouteReason(Enum):
    ONLY_DRAINING = auto()
    NONE_HEALTHY = auto()
    ALL_AT_CAPACITY = auto()


@dataclass(frozen=True, slots=True)
class NoRoute:
    """No connection can take the request. A fresh request holds no lease then."""

    reason: NoRouteReason


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Somebody gave the request up, and the worker that has it may still run it.

    Attributes:
        until: when its lease is over, in unix seconds; nobody gets the request before, unless
            the worker replies.
    """

    until: float


AcquireOutcome = Acquired | AlreadyLeased | Buffered | Abandoned | NoRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquireRequest:
    """What routing needs to know.

    Attributes:
        lease_seconds: duration of the lease, from now.
        gateways: ids of gateways that are active and alive.
        draining_gateways: ids of gateways that drain and are alive; used only
            when nothing else is there.
        excluded: connection ids already tried.
        lease_id: the id of the new lease, a ULID whose timestamp is the lease's end, for one
            who wants to know it though the answer gets lost; None for one of the store's own.
        held_lease: when routing again, the lease id this executor holds. The lease is
            renewed under a new id, so that the worker tried before cannot extend it.
        held_instance: when routing again, the instance id the request is assigned to.
    """

    env_id: str
    request_id: str
    app_id: str
    function_slug: str
    executor_host: str
    executor_port: int
    lease_seconds: float
    gateways: Sequence[str]
    draining_gateways: Sequence[str] = ()
    excluded: Sequence[str] = ()
    lease_id: str | None = None
    held_lease: str | None = None
    held_instance: str | None = None


class RoutingStore(Protocol):
    """The two scripts that bracket a request: one round trip each."""

    async def acquire(self, request: AcquireRequest) -> AcquireOutcome:
        """Return a buffered response, or route, lease and assign, in one round trip.

        A candidate is READY, its heartbeat at most two worker intervals old, its
        group serves the function, its gateway is among those given, and its worker has
        capacity left. Newer groups are preferred, with weight 1 for the oldest to 10
        for the newest (Connect protocol, section 5). The cost, also of finding none, does
        not grow with the number of connections. An assignment that an expired lease left
        behind is taken over.

        It takes further round trips where connections are listed that another
        implementation wrote since the last time, and where a request is assigned already.
        """
        ...

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
        """Un-assign the request from the instance, delete its lease and response.

        A response that comes later is not kept; see `ResponseStore.save`.

        Args:
            instance_id: the worker that the request is assigned to; None to have that
                found out, at the cost of another round trip if there is one.
            executor: host and port of the executor that is done with the request; None
                whoever waits for it.
            lease_id: of an `acquire` whose answer was lost: the id that the lease has if it
                was made then. One that was live already has the executor's address since.
            keep_response: leave a buffered response in the buffer, for an executor that has
                not seen one.
            may_run: a worker may still run the request, for which there is no response: who
                acquires it before the end of its lease gets `Abandoned`.
            vouched_until_ms: until when an executor has answered for that lease (unix ms),
                which may be later than it ends by the store; 0 if none has.
            made_with: the ids that `acquire` may have made the lease with: one made with
                another is of a later run, which this overtook on its way. Whoever made it
                when empty; and of a lease that others have written it is not known.

        Returns:
            False if the lease names another executor, which waits for the reply now, if it
            was made with another id, or if there is none of the id given: nothing is done
            then, but that a worker which has replied to another executor has room again.

        Raises:
            LeaseIsLive: the `acquire` whose answer was lost has taken a lease over, under
                which somebody may run the request; once it is over, this can be repeated.
        """
        ...


class LeaseStore(Protocol):
    async def lease(
        self,
        env_id: str,
        request_id: str,
        *,
        executor_host: str,
        executor_port: int,
        seconds: float,
    ) -> LeaseRecord | AlreadyLeased:
        """Lease the request if it is free or its lease expired.

        A live lease keeps id, previous id and worker; only the executor's address is
        replaced by the one given.
        """
        ...

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
        """Extend by the table of outcomes of the lease operation.

        Args:
            lease_id: the lease id that the worker holds.
            seconds: duration of the new lease from now; 0 or less drops the lease.
            limited: whether the worker's capacity is limited.
        """
        ...

    async def hand_back(
        self, env_id: str, request_id: str, *, executor: tuple[str, int], to: tuple[str, int]
    ) -> bool:
        """Have the lease name another executor, if it names this one; by host and port.

        Whoever has taken a lease over and waits no longer leaves the reply to the executor
        that it took it from.
        """
        ...

    async def state(self, env_id: str, request_id: str) -> LeaseState: ...

    async def get(self, env_id: str, request_id: str) -> LeaseRecord | None: ...

    async def delete(self, env_id: str, request_id: str) -> None: ...


class Assignment(Enum):
    ASSIGNED = auto()
    UNLIMITED = auto()  # nothing is counted
    AT_CAPACITY = auto()


class CapacityStore(Protocol):
    """How many requests a worker (an instance id) runs, against its limit."""

    async def set_limit(self, env_id: str, instance_id: str, limit: int) -> None:
        """Set the worker's limit; 0 or less removes it. Running requests stay counted."""
        ...

    async def limit(self, env_id: str, instance_id: str) -> int | None: ...

    async def assign(self, env_id: str, instance_id: str, request_id: str) -> Assignment: ...

    async def unassign(self, env_id: str, instance_id: str, request_id: str) -> bool:
        """Stop counting the request; False if it is mapped to another instance."""
        ...

    async def load(self, env_id: str, instance_id: str) -> int:
        """Return how many unexpired requests the worker has."""
        ...

    async def refresh(self, env_id: str, instance_id: str) -> None:
        """Keep the worker's capacity keys alive; nothing happens without a limit."""
        ...


class RefusedResponse(Enum):
    """Why a response was not kept."""

    LATE = auto()  # nobody waits: the request is over, or never was
    FOREIGN = auto()  # another worker has the request


@dataclass(frozen=True, slots=True)
class SavedResponse:
    """Outcome of saving a response.

    Attributes:
        first: False if another response was there before, which then stays.
        lease: the request's lease, if any: it names the executor to tell.
        refused: why nothing was kept; None where this response or another one is.
    """

    first: bool
    lease: LeaseRecord | None
    refused: RefusedResponse | None = None


class ResponseStore(Protocol):
    """Replies of workers, kept until their executor has them."""

    async def save(
        self,
        env_id: str,
        request_id: str,
        response: bytes,
        *,
        instance_id: str = "",
        running: bool = True,
    ) -> SavedResponse:
        """Keep the response for `Timing.buffered_response`; the first write wins.

        Args:
            instance_id: the worker that sends it; empty where that is not known.
            running: whether the sender is known to run the request. If not, the response is
                kept only while the request is leased. If so, also without a lease, which may
                have been lost with the store's data, unless the request ended without a
                response within the last `Timing.buffered_response`. It is never kept while
                the request is leased to another worker.
        """
        ...

    async def get(self, env_id: str, request_id: str) -> bytes | None: ...

    async def delete(self, env_id: str, request_id: str) -> None: ...


class GatewayStore(Protocol):
    async def upsert(self, gateway: GatewayRecord) -> None: ...

    async def delete(self, gateway_id: str) -> None: ...

    async def all(self) -> list[GatewayRecord]:
        """Return every stored gateway, dead ones included; unreadable ones are skipped."""
        ...


@dataclass(frozen=True, slots=True)
class FunctionLocation:
    """Which app serves a function slug, with the function's definition."""

    app: AppRecord
    slug: str


class AppStore(Protocol):
    """Apps and their functions, as workers registered them (the built-in registry)."""

    async def save(self, env_id: str, app: AppRecord) -> None:
        """Store the app; slugs that its functions no longer have stop leading to it."""
        ...

    async def get(self, env_id: str, app_id: str) -> AppRecord | None: ...

    async def all(self, env_id: str) -> list[AppRecord]: ...

    async def find_function(self, env_id: str, slug: str) -> FunctionLocation | None:
        """Find the app that serves the slug, in one round trip."""
        ...

    async def function_slugs(self, env_id: str) -> list[str]:
        """Return every known function slug, for suggestions."""
        ...


class StateStore(Protocol):
    """All of them together: what the composition root hands around."""

    @property
    def connections(self) -> ConnectionStore: ...
    @property
    def leases(self) -> LeaseStore: ...
    @property
    def capacity(self) -> CapacityStore: ...
    @property
    def responses(self) -> ResponseStore: ...
    @property
    def gateways(self) -> GatewayStore: ...
    @property
    def apps(self) -> AppStore: ...
    @property
    def routing(self) -> RoutingStore: ...

    async def ping(self) -> None:
        """Return when the store answers; raise StoreUnavailable otherwise."""
        ...

    @property
    def round_trips(self) -> int:
        """Commands and scripts sent so far, pipelined ones each counted (for metrics)."""
        ...

    @property
    def unreachable_since(self) -> float | None:
        """Since when the store cannot be asked at all, on the Trio clock; None while it can.

        What is asked meanwhile waits for a connection, until the deadline of a command.
        """
        ...
