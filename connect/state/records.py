"""What the state store holds: frozen records, without their stored form.

The JSON forms live in `connect.state.encoding`. Times are unix milliseconds (UTC)
unless a name says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

__all__ = [
    "AppRecord",
    "ConnectionRecord",
    "ConnectionStatus",
    "GatewayRecord",
    "GatewayStatus",
    "GroupRecord",
    "LeaseRecord",
    "WorkerAttributes",
]


class ConnectionStatus(IntEnum):
    """Where a connection is in its life, as stored (Connect protocol, section 2)."""

    CONNECTED = 0
    READY = 1
    DRAINING = 2
    DISCONNECTING = 3
    DISCONNECTED = 4


class GatewayStatus(StrEnum):
    STARTING = "starting"
    ACTIVE = "active"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerAttributes:
    """The machine a worker runs on, as the worker told it."""

    cpu_cores: int = 0
    mem_bytes: int = 0
    os: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord:
    """One worker's WebSocket connection.

    Attributes:
        id: the connection id, a ULID.
        groups: app name to group hash, for every app of the connection.
        synced_groups: app id to group hash, for those apps that are synced.
    """

    id: str
    gateway_id: str
    instance_id: str
    groups: Mapping[str, str] = field(default_factory=dict)
    synced_groups: Mapping[str, str] = field(default_factory=dict)
    status: ConnectionStatus = ConnectionStatus.CONNECTED
    last_heartbeat_ms: int = 0
    sdk_language: str = ""
    sdk_version: str = ""
    attributes: WorkerAttributes = WorkerAttributes()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord:
    """The workers that run the same code of one app.

    Attributes:
        hash: `connect.state.hashes.group_hash` of what makes them the same.
        functions: slugs of the functions that the group serves.
        app_id, sync_id: empty until the group is synced.
        created_at: RFC 3339, UTC, up to nanoseconds; kept as written.
    """

    account_id: str
    env_id: str
    app_name: str
    hash: str
    created_at: str
    functions: tuple[str, ...] = ()
    app_id: str = ""
    app_version: str = ""
    sdk_language: str = ""
    sdk_version: str = ""
    sdk_platform: str = ""
    sync_id: str = ""
    feature_observations_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRecord:
    """One gateway process.

    Attributes:
        ip: name or address under which its RPC is reached.
        grpc_port: port of its RPC; 0 when unknown (then the default port holds).
        port: port of its WebSocket listener; 0 when unknown.
        endpoint: the WebSocket URL it hands to workers, when it has a public one.
        admin: base URL of its maintenance API; on loopback it holds on its host only.
    """

    id: str
    status: GatewayStatus
    last_heartbeat_ms: int
    hostname: str
    ip: str
    grpc_port: int = 0
    port: int = 0
    group: str = ""
    endpoint: str = ""
    version: str = ""
    connections: int = 0
    admin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """Who may run a request now, and which executor waits for its reply.

    Attributes:
        id: a ULID whose timestamp is the moment the lease expires.
        worker_id: instance id of the worker, where it is known.
        executor_port: 0 when unknown (then the default port holds).
    """

    id: str
    executor_host: str
    executor_port: int = 0
    previous_id: str = ""
    worker_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRecord:
    """A registered app with its functions, as its latest sync left it.

    Attributes:
        functions: the function definitions as the worker sent them, decoded JSON.
    """

    id: str
    name: str
    sync_id: str
    functions: tuple[Mapping[str, Any], ...] = ()
    version: str = ""
    sdk_language: str = ""
    sdk_version: str = ""
    synced_at_ms: int = 0
