"""The configuration as frozen objects: what a document becomes once it is read.

Names follow `schema/config.cue`. Most sections belong to services beside this one that
read the same document; `Configuration` has them all, decoded and checked. The value of a
document has no optional field that it leaves out, also where the schema names a default; here
that default is filled in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from connect.settings import LogFormat

__all__ = [
    "Configuration",
    "ConnectConfig",
    "ConnectDriver",
    "CoreAPIConfig",
    "DataStore",
    "DataStoreConfig",
    "ConfigLogLevel",
    "Driver",
    "EventAPIConfig",
    "EventStream",
    "EventStreamConfig",
    "ExecutionConfig",
    "HTTPDriver",
    "InMemoryDataStore",
    "InMemoryEventStream",
    "InMemoryQueue",
    "InMemoryState",
    "LogConfig",
    "LogFormat",
    "MockDriver",
    "NATSEventStream",
    "PostgresDataStore",
    "PubSubEventStream",
    "Queue",
    "QueueConfig",
    "RedisService",
    "SQSEventStream",
    "SQSQueue",
    "State",
    "StateConfig",
    "STATE_KEY_PREFIX",
]

STATE_KEY_PREFIX = "inngest:state"
"""What the names of keys of the state service begin with, unless the document says otherwise."""


class ConfigLogLevel(StrEnum):
    """Log levels as documents name them."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    level: ConfigLogLevel = ConfigLogLevel.INFO
    format: LogFormat = LogFormat.JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class EventAPIConfig:
    """Where events are taken.

    Attributes:
        max_size: of a request, in bytes.
    """

    addr: str = "0.0.0.0"
    port: int = 8288
    max_size: int = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreAPIConfig:
    addr: str = "0.0.0.0"
    port: int = 8300


@dataclass(frozen=True, slots=True, kw_only=True)
class MockDriver:
    driver: str = "mock"


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPDriver:
    """Steps are HTTP requests.

    Attributes:
        timeout: in seconds.
    """

    timeout: int = 7200
    signing_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectDriver:
    """Steps are requests to workers connected by WebSocket: what this service does."""


Driver: TypeAlias = MockDriver | HTTPDriver | ConnectDriver


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConfig:
    """How steps are executed.

    Attributes:
        drivers: by the runtimes of steps that they serve.
        log_output: whether what steps print is logged.
    """

    drivers: Mapping[str, Driver]
    log_output: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InMemoryEventStream:
    topic: str = "events"


@dataclass(frozen=True, slots=True, kw_only=True)
class NATSEventStream:
    topic: str
    server_url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PubSubEventStream:
    project: str
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SQSEventStream:
    queue_url: str = field(repr=False)
    region: str
    topic: str


EventStream: TypeAlias = InMemoryEventStream | NATSEventStream | PubSubEventStream | SQSEventStream


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStreamConfig:
    service: EventStream


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisService:
    """A Redis server, for the queue or for state.

    Attributes:
        dsn: its URL; comes before all else.
        max_retries: of a command; -1 is none.
        pool_size: most connections at the same time; None to leave it open.
        key_prefix: what the names of all keys begin with; for state, `STATE_KEY_PREFIX` unless
            the document says otherwise.
    """

    dsn: str | None = field(default=None, repr=False)
    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    max_retries: int = 3
    pool_size: int | None = None
    key_prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InMemoryQueue:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class SQSQueue:
    """A queue at AWS.

    Attributes:
        concurrency: most items in work at the same time.
    """

    queue_url: str = field(repr=False)
    region: str
    topic: str
    concurrency: int = 10


Queue: TypeAlias = InMemoryQueue | SQSQueue | RedisService


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    service: Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class InMemoryState:
    pass


State: TypeAlias = InMemoryState | RedisService


@dataclass(frozen=True, slots=True, kw_only=True)
class StateConfig:
    service: State


@dataclass(frozen=True, slots=True, kw_only=True)
class InMemoryDataStore:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresDataStore:
    uri: str = field(repr=False)


DataStore: TypeAlias = InMemoryDataStore | PostgresDataStore


@dataclass(frozen=True, slots=True, kw_only=True)
class DataStoreConfig:
    service: DataStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectConfig:
    """The gateway's own settings.

    Attributes:
        given: those that the document gives, by their paths in `Settings`, as `Settings` has
            them (durations in seconds).
    """

    given: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A whole configuration.

    Attributes:
        connect: None when the document has no such section.
    """

    log: LogConfig
    event_api: EventAPIConfig
    core_api: CoreAPIConfig
    execution: ExecutionConfig
    event_stream: EventStreamConfig
    queue: QueueConfig
    state: StateConfig
    data_store: DataStoreConfig
    connect: ConnectConfig | None = None
