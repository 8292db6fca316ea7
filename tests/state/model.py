"""A plain model of the state store: what its operations must come to, without any index."""

import math
from dataclasses import dataclass, field

from connect.settings import Timing
from connect.state.records import ConnectionRecord, ConnectionStatus, GatewayStatus
from connect.state.store import Assignment, ExtendOutcome, LeaseState, NoRouteReason

__all__ = ["ModelConnection", "ModelGateway", "ModelLease", "ModelState"]


@dataclass
class ModelConnection:
    """A stored connection.

    Attributes:
        foreign: written as the reference implementation writes it.
        settled_at: from this time on (unix ms) routing must know of a foreign write.
    """

    record: ConnectionRecord
    foreign: bool = False
    settled_at: int = 0


@dataclass
class ModelGateway:
    """A gateway in the table.

    Attributes:
        beats: whether it still writes its heartbeat.
    """

    status: GatewayStatus
    heartbeat: int  # unix ms
    beats: bool = True


@dataclass
class ModelLease:
    id: str
    expires: int  # unix ms
    previous: str = ""
    held: str = ""
    worker: str = ""


@dataclass
class ModelState:
    """Everything the store holds, as plain dictionaries, and the rules that change it."""

    timing: Timing
    serving_groups: frozenset[str]
    now_ms: int = 0
    gateways: dict[str, ModelGateway] = field(default_factory=dict)
    connections: dict[str, ModelConnection] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    limits: dict[str, int] = field(default_factory=dict)
    requests: dict[str, dict[str, int]] = field(default_factory=dict)  # expiry, unix seconds
    mapping: dict[str, str] = field(default_factory=dict)
    leases: dict[str, ModelLease] = field(default_factory=dict)
    responses: dict[str, bytes] = field(default_factory=dict)
    abandoned: set[str] = field(default_factory=set)  # real time lets them go

    # Responses

    def save(self, request: str, response: bytes, sender: str, *, running: bool) -> str:
        """Keep a response, and return what becomes of it."""
        lease = self.leases.get(request)
        holder = self.mapping.get(request) or (lease.worker if lease else "")
        if (lease or not running) and sender and holder and holder != sender:
            return "foreign"
        if request in self.responses:
            return "again"
        if lease is None and (not running or request in self.abandoned):
            return "late"
        self.responses[request] = response
        return "first"

    def complete(self, request: str, instance: str | None) -> None:
        instance = instance or self.mapping.get(request)
        if instance is not None:
            self.unassign(instance, request)
        self.leases.pop(request, None)
        if self.responses.pop(request, None) is None:
            self.abandoned.add(request)

    # Capacity

    def load(self, instance: str) -> int:
        expiries = self.requests.get(instance, {})
        return sum(expiry * 1000 > self.now_ms for expiry in expiries.values())

    def has_room(self, instance: str, request: str) -> bool:
        limit = self.limits.get(instance)
        if limit is None or self.load(instance) < limit:
            return True
        return self.requests.get(instance, {}).get(request, 0) * 1000 > self.now_ms

    def assign(self, instance: str, request: str) -> Assignment:
        if instance not in self.limits:
            return Assignment.UNLIMITED
        if not self.has_room(instance, request):
            return Assignment.AT_CAPACITY
        self.place(instance, request, self.now_ms + int(self.timing.request_worker * 1000))
        return Assignment.ASSIGNED

    def place(self, instance: str, request: str, expires: int) -> None:
        self.requests.setdefault(instance, {})[request] = math.ceil(expires / 1000)
        self.mapping[request] = instance

    def unassign(self, instance: str, request: str) -> bool:
        if self.mapping.get(request, instance) != instance:
            return False
        self.requests.get(instance, {}).pop(request, None)
        self.mapping.pop(request, None)
        return True

    # Leases

    def is_live(self, request: str) -> bool:
        lease = self.leases.get(request)
        return lease is not None and lease.expires > self.now_ms

    def lease_state(self, request: str) -> LeaseState:
        if request not in self.leases:
            return LeaseState.NONE
        return LeaseState.LEASED if self.is_live(request) else LeaseState.EXPIRED

    def extend(self, request: str, given: str, instance: str, expires: int) -> ExtendOutcome:
        """Decide an extension, and note all of it but the new lease's id."""
        lease, limited = self.leases.get(request), instance in self.limits
        if lease is None:
            return ExtendOutcome.NOT_LEASED
        if limited and self.mapping.get(request) != instance:
            return ExtendOutcome.OTHER_WORKER
        if lease.id != given and self.is_live(request):
            same = limited or lease.worker == instance
            return (
                ExtendOutcome.CURRENT
                if given in (lease.previous, lease.held) and same
                else ExtendOutcome.SUPERSEDED
            )
        if expires <= self.now_ms:
            del self.leases[request]
            self.unassign(instance, request)
            return ExtendOutcome.DROPPED
        if limited:
            if not self.has_room(instance, request):
                return ExtendOutcome.OTHER_WORKER
            self.requests.setdefault(instance, {})[request] = math.ceil(expires / 1000)
        else:
            lease.worker = instance
        lease.held = given if lease.id != given else ""
        lease.previous, lease.expires = lease.id, expires
        return ExtendOutcome.EXTENDED

    # Garbage

    def collect(self) -> None:
        """Forget what has not been heard of for too long."""
        oldest = self.now_ms - int(self.timing.garbage_after * 1000)
        self.connections = {
            id_: connection
            for id_, connection in self.connections.items()
            if connection.record.last_heartbeat_ms > oldest
        }
        self.gateways = {
            id_: gateway for id_, gateway in self.gateways.items() if gateway.heartbeat > oldest
        }

    # Routing

    def live_gateways(self, status: GatewayStatus) -> set[str]:
        oldest = self.now_ms - int(2 * self.timing.gateway_heartbeat * 1000)
        return {
            id_
            for id_, gateway in self.gateways.items()
            if gateway.status is status and gateway.heartbeat >= oldest
        }

    @property
    def active(self) -> set[str]:
        return self.live_gateways(GatewayStatus.ACTIVE)

    @property
    def draining(self) -> set[str]:
        return self.live_gateways(GatewayStatus.DRAINING)

    def is_sure(self, connection: ModelConnection) -> bool:
        return connection.settled_at <= self.now_ms

    def candidates(self, app: str, request: str, excluded: tuple[str, ...]) -> set[str]:
        """Return the ids of which one must be chosen, preferring active gateways."""
        ready = {
            id_: connection.record
            for id_, connection in self._serving(app).items()
            if connection.record.status is ConnectionStatus.READY
            and id_ not in excluded
            and self.has_room(connection.record.instance_id, request)
        }
        active = {id_ for id_, record in ready.items() if record.gateway_id in self.active}
        return active or set(ready)

    def reason(self, app: str, request: str, excluded: tuple[str, ...]) -> NoRouteReason:
        """Return why there is no candidate."""
        waiting = False
        for id_, connection in self._serving(app).items():
            record = connection.record
            if record.status is ConnectionStatus.DRAINING:
                waiting = True
            elif record.status is ConnectionStatus.READY and id_ in excluded:
                waiting = waiting or record.gateway_id in self.draining
            elif record.status is ConnectionStatus.READY:
                return NoRouteReason.ALL_AT_CAPACITY
        return NoRouteReason.ONLY_DRAINING if waiting else NoRouteReason.NONE_HEALTHY

    def all_sure(self) -> bool:
        return all(map(self.is_sure, self.connections.values()))

    def _serving(self, app: str) -> dict[str, ModelConnection]:
        oldest = self.now_ms - int(2 * self.timing.worker_heartbeat * 1000)
        return {
            id_: connection
            for id_, connection in self.connections.items()
            if connection.record.last_heartbeat_ms >= oldest
            and connection.record.synced_groups.get(app) in self.serving_groups
            and connection.record.gateway_id in self.active | self.draining
        }
