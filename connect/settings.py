"""Every limit, deadline and address of the service, with its unit and default.

Durations are seconds, sizes are bytes. The defaults are those of the Connect
protocol (its table of timing constants). Objects are frozen; derive variants
with `dataclasses.replace`.
"""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "DEVELOPMENT_ACCOUNT_ID",
    "DEVELOPMENT_ENV_ID",
    "KeyLayout",
    "Limits",
    "Listen",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "RedisSettings",
    "Role",
    "Settings",
    "Tenant",
    "Timing",
]

# The account and environment that SDKs assume in development mode.
DEVELOPMENT_ACCOUNT_ID = "00000000-0000-4000-a000-000000000000"
DEVELOPMENT_ENV_ID = "00000000-0000-4000-b000-000000000000"


class Role(StrEnum):
    """The parts of the service that can run in processes of their own."""

    GATEWAY = "gateway"
    API = "api"
    EXECUTOR = "executor"


class KeyLayout(StrEnum):
    """How keys are named in Redis: ours, or that of a deployment to share one with."""

    CONNECT = "connect"
    INNGEST = "inngest"


class LogLevel(StrEnum):
    """What to log, at least."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look: for people or for machines."""

    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations, all in seconds.

    Attributes:
        worker_heartbeat: interval at which workers are told to beat.
        heartbeat_misses: intervals without a beat before a connection is closed.
        gateway_heartbeat: interval at which a gateway refreshes its own record.
        lease: how long a request's lease lasts unless extended.
        lease_grace: how long after a lease's end its reply is still awaited.
        status_interval: interval for WORKER_STATUS messages; 0 switches them off.
        handshake: from the opened socket to WORKER_CONNECT.
        write: for one write to a worker's socket.
        join: from WORKER_CONNECT until the worker has been told that it is connected.
        reader_stuck: that reading from a worker may pause without anything that it sent
            getting into the store.
        drain: for connections and requests to finish when the service ends.
        drain_handover: how long a worker that was sent GATEWAY_CLOSING is still stored
            as READY, to reconnect elsewhere meanwhile.
        drain_alone: how long a connection without running requests is kept in a drain
            when there is no other gateway to go to.
        cleanup: for shielded cleanup of state after a disconnect.
        buffered_response: how long a saved reply waits for its executor.
        garbage_after: without a heartbeat, connections and gateways are garbage.
        garbage_every: between collections of garbage, by one gateway of all.
        garbage_jitter: a gateway's collection begins up to this much later, at random.
        longest_function: the longest that one request may take.
        capacity: lifetime of a worker's capacity keys unless refreshed.
        request_worker: lifetime of the mapping from request to worker.
        session_token: lifetime of the token that /start hands out; it counts in the handshake.
        stable: a connection of a worker that lived this long is no sign of flapping, and one
            that did not is forgotten after this time.
        flapping_delay: the longest that the next connection of a flapping worker is put off.
        store_command: for one command to the state store, queueing included.
        store_outage: failing status writes for longer than this end a connection.
        rpc: for one RPC that should answer at once (a pushed reply, a ping).
        register: for registering a worker's apps at the API, repetitions included; less
            than the ten seconds that workers wait for the end of the handshake.
        reply_poll_min: first interval of the poll for a reply whose push was lost.
        reply_poll_max: the interval which that poll backs off to.
        draining_retry: pause before routing again when only draining workers are left.
        draining_attempts: how often that is tried (a count).
        gateway_refresh: interval at which executors re-read the table of gateways.
    """

    worker_heartbeat: float = 10.0
    heartbeat_misses: int = 5
    gateway_heartbeat: float = 5.0
    lease: float = 20.0
    lease_grace: float = 5.0
    status_interval: float = 0.0
    handshake: float = 5.0
    write: float = 5.0
    join: float = 30.0
    reader_stuck: float = 10.0
    drain: float = 25.0
    drain_handover: float = 5.0
    drain_alone: float = 3.0
    cleanup: float = 5.0
    buffered_response: float = 60.0
    garbage_after: float = 300.0
    garbage_every: float = 1800.0
    garbage_jitter: float = 180.0
    longest_function: float = 7200.0
    capacity: float = 5400.0
    request_worker: float = 720.0
    session_token: float = 300.0
    stable: float = 10.0
    flapping_delay: float = 30.0
    store_command: float = 5.0
    store_outage: float = 60.0
    rpc: float = 5.0
    register: float = 8.0
    reply_poll_min: float = 2.0
    reply_poll_max: float = 5.0
    draining_retry: float = 1.0
    draining_attempts: int = 10
    gateway_refresh: float = 1.0

    @property
    def extend_lease(self) -> float:
        """Seconds between a worker's lease extensions: a quarter of the lease."""
        return self.lease / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what others may make us hold.

    Attributes:
        message_bytes: the largest WebSocket message taken from a worker, and the
            largest body of POST /v0/connect/flush.
        start_body_bytes: the largest body of POST /v0/connect/start.
        invoke_body_bytes: the largest body of POST /v0/invoke.
        apps_per_connection: the entitlement that session tokens carry.
        apps_hard_cap: the most apps that any entitlement can allow.
        functions_per_app: functions that one app of a worker may bring; 0 means any number.
        connections: worker connections of one gateway; 0 means any number.
        connections_per_account: worker connections of one account, over all gateways; 0 means
            any number.
        connections_per_address: connections of one gateway from one address (an IPv4 address,
            or an IPv6 network of 64 bits); 0 means any number.
        handshakes: connections of one gateway whose workers have not joined yet; 0 means any
            number.
        handshakes_per_address: the former from one address, as connections_per_address counts
            it; 0 means any number.
        handshakes_per_second: connections per second that one gateway accepts, after a burst
            of as many; 0 means any number.
        pending_sockets: sockets of one gateway whose request is not read and answered yet, and
            as many that it has closed and whose peers have not; 0 means any number.
        pending_sockets_per_address: the former from one address, unless it is a trusted
            proxy's; 0 means any number.
        starts: requests of workers for a connection (POST /v0/connect/start) that one API answers
            at the same time; it refuses more for a moment; 0 means any number.
        flaps: connections of one worker instance that may end young (see `Timing.stable`)
            before its next ones are put off; 0 means that none ever are.
        outbox_messages: requests that may wait for one socket; forwards fail at this mark,
            until a quarter is left.
        outbox_bytes: bytes that may wait for one socket; forwards fail at this mark, until
            a quarter is left.
        store_tasks_per_connection: replies and lease extensions of one connection
            being stored at the same time; reading pauses at this mark, until half is left.
        store_bytes_per_connection: bytes of these; reading pauses at this mark, until half
            is left.
        kept_replies: replies that one gateway keeps while the state store is away.
        kept_reply_bytes: bytes of these; further ones are left to their workers to flush.
        pushes: replies that one gateway pushes to executors at the same time, half of them to
            one executor; executors find the others in the store.
        push_bytes: bytes of these, half of them to one executor, which one reply may exceed.
        registrations: requests to the registration API that one gateway has in progress.
        closed_connections: ended connections that one gateway remembers.
        drain_rate: connections per second that a draining gateway sends away; more when
            that would take longer than half of `Timing.drain`; 0 means all at once.
        forward_attempts: connections tried for one request.
        concurrent_requests: requests that one executor has in progress; it refuses more.
        concurrent_request_bytes: bytes of these; one request is always taken.
        run_calls: calls of a function that one run may make.
    """

    message_bytes: int = 8 * 1024 * 1024
    start_body_bytes: int = 1024 * 1024
    invoke_body_bytes: int = 4 * 1024 * 1024
    apps_per_connection: int = 10
    apps_hard_cap: int = 100
    functions_per_app: int = 1000
    connections: int = 50_000
    connections_per_account: int = 100_000
    connections_per_address: int = 10_000
    handshakes: int = 1000
    handshakes_per_address: int = 500
    handshakes_per_second: int = 1000
    pending_sockets: int = 2000
    pending_sockets_per_address: int = 1000
    starts: int = 1000
    flaps: int = 20
    outbox_messages: int = 1024
    outbox_bytes: int = 64 * 1024 * 1024
    store_tasks_per_connection: int = 256
    store_bytes_per_connection: int = 64 * 1024 * 1024
    kept_replies: int = 10_000
    kept_reply_bytes: int = 64 * 1024 * 1024
    pushes: int = 1000
    push_bytes: int = 64 * 1024 * 1024
    registrations: int = 16
    closed_connections: int = 10_000
    drain_rate: int = 500
    forward_attempts: int = 3
    concurrent_requests: int = 10_000
    concurrent_request_bytes: int = 256 * 1024 * 1024
    run_calls: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the service listens, and what it tells others of that.

    Port 0 picks a free port. The admin listener belongs on loopback.

    Attributes:
        host: address for the API, gateway and RPC listeners.
        api_port: HTTP: worker API, reads, invoke, events.
        gateway_port: WebSocket connections of workers.
        gateway_rpc_port: gRPC: service ConnectGateway.
        executor_rpc_port: gRPC: service ConnectExecutor.
        admin_host: address of the admin listener.
        admin_port: HTTP: health, metrics, gateway status.
        advertise_host: name or address under which executors and gateways reach
            this process by RPC; found out when None.
        gateway_url: public base of the WebSocket address handed to workers, such as
            ``wss://connect.example.com``; derived from each request's Host when None.
        trusted_proxies: addresses or networks of the proxies before the gateway, such as
            ``10.0.0.0/8``; of others, X-Forwarded-For is not believed.
    """

    host: str = "0.0.0.0"
    api_port: int = 8288
    gateway_port: int = 8289
    gateway_rpc_port: int = 50052
    executor_rpc_port: int = 50053
    admin_host: str = "127.0.0.1"
    admin_port: int = 8290
    advertise_host: str | None = None
    gateway_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """The single tenant: whose workers these are, and the keys that admit them.

    Attributes:
        account_id: the account's UUID.
        env_id: the environment's UUID.
        signing_keys: keys of the form ``signkey-<env>-<hex>``; without any, workers
            need no Authorization header (development).
        event_keys: keys that ``POST /e/{key}`` takes, besides whoever shows a signing key.
        register_url: base URL of the API that registers workers' apps, such as
            ``https://api.example.com``; None is the built-in registry.
        session_secret: key for session tokens (HS256); all gateways and API
            processes of a deployment must share it. None makes a random one, which
            is right only while all roles run in one process.
        accepted_session_secrets: further secrets by which session tokens may be signed,
            while the secret is being changed: the one before, or the next.
    """

    account_id: str = DEVELOPMENT_ACCOUNT_ID
    env_id: str = DEVELOPMENT_ENV_ID
    signing_keys: tuple[str, ...] = field(default=(), repr=False)
    event_keys: tuple[str, ...] = field(default=(), repr=False)
    register_url: str | None = None
    session_secret: str | None = field(default=None, repr=False)
    accepted_session_secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Where state lives. Without a URL it is embedded in the process, in memory only.

    Attributes:
        url: of a server, a cluster or sentinels: ``redis://``, ``redis+cluster://``,
            ``redis+sentinel://`` (``rediss…`` for TLS) or ``unix://``.
        layout: names of keys; ``inngest`` shares a Redis with that deployment.
    """

    url: str | None = field(default=None, repr=False)
    layout: KeyLayout = KeyLayout.CONNECT


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The service's log, on stderr.

    Attributes:
        level: what to log, at least.
        format: how log lines look.
    """

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.CONSOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, in one frozen object.

    Attributes:
        roles: parts of the service that run in this process.
        gateway_group: name of the group of gateways that this one belongs to;
            workers ask to avoid a group that failed them.
    """

    roles: frozenset[Role] = frozenset(Role)
    listen: Listen = Listen()
    tenant: Tenant = Tenant()
    redis: RedisSettings = RedisSettings()
    timing: Timing = Timing()
    limits: Limits = Limits()
    gateway_group: str = "default"
    log: LogSettings = LogSettings()
