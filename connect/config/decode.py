"""From the value of a configuration document to its frozen objects.

The schema lets some numbers pass that no service can use: a port is a bound there, so that
80.5 is one. Decoding refuses them, and every fault is found at once.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from connect.config.catalogue import catalogue
from connect.config.configuration import (
    STATE_KEY_PREFIX,
    ConfigLogLevel,
    Configuration,
    ConnectConfig,
    ConnectDriver,
    CoreAPIConfig,
    DataStore,
    DataStoreConfig,
    Driver,
    EventAPIConfig,
    EventStream,
    EventStreamConfig,
    ExecutionConfig,
    HTTPDriver,
    InMemoryDataStore,
    InMemoryEventStream,
    InMemoryQueue,
    InMemoryState,
    LogConfig,
    MockDriver,
    NATSEventStream,
    PostgresDataStore,
    PubSubEventStream,
    Queue,
    QueueConfig,
    RedisService,
    SQSEventStream,
    SQSQueue,
    State,
    StateConfig,
)
from connect.config.cue.errors import CueError, Fault, FaultKind, Path
from connect.config.cue.source import Span
from connect.config.effects import redis_url
from connect.config.layers import UnfitElements, UnfitValue, empty_address, typed
from connect.errors import ConfigurationError
from connect.settings import LogFormat

__all__ = ["CheckURL", "decode"]

CheckURL = Callable[[str], object]
"""Reads the URL of a Redis; raises ConfigurationError if it cannot be used."""

T = TypeVar("T")


def decode(
    value: Mapping[str, Any],
    spans: Callable[[Path], tuple[Span, ...]],
    *,
    check_url: CheckURL | None = None,
) -> Configuration:
    """Make the objects of a configuration.

    Args:
        value: what a document unified with ``#Config`` exports.
        spans: where the value at a path was written, the most telling place first.
        check_url: looks at the URL of the Redis that the configuration names for state; None
            leaves it unchecked.

    Raises:
        CueError: values that cannot be used, all of them.
    """
    reader = _Reader(value, spans)
    configuration = Configuration(
        log=LogConfig(
            level=ConfigLogLevel(reader.text("log", "level")),
            format=LogFormat(reader.text("log", "format")),
        ),
        event_api=EventAPIConfig(
            addr=reader.text("eventAPI", "addr"),
            port=reader.whole("eventAPI", "port"),
            max_size=reader.whole("eventAPI", "maxSize"),
        ),
        core_api=CoreAPIConfig(
            addr=reader.text("coreAPI", "addr"), port=reader.whole("coreAPI", "port")
        ),
        execution=ExecutionConfig(
            drivers={
                name: _driver(reader, "execution", "drivers", name)
                for name in value["execution"]["drivers"]
            },
            log_output=value["execution"]["logOutput"],
        ),
        event_stream=EventStreamConfig(service=_event_stream(reader)),
        queue=QueueConfig(service=_queue(reader)),
        state=StateConfig(service=_state(reader)),
        data_store=DataStoreConfig(service=_data_store(reader)),
        connect=_connect(reader) if "connect" in value else None,
    )
    _check_redis(reader, configuration, check_url)
    if reader.faults:
        raise CueError(reader.faults)
    return configuration


class _Reader:
    """Reads values by their paths, and notes what is wrong with them."""

    def __init__(self, value: Mapping[str, Any], spans: Callable[[Path], tuple[Span, ...]]) -> None:
        self._value = value
        self._spans = spans
        self.faults: list[Fault] = []

    def fault(self, path: Path, message: str) -> None:
        self.faults.append(Fault(FaultKind.EVALUATION, message, path, self._spans(path)))

    def at(self, *path: str) -> Any:
        """Return a value; None when there is none."""
        value: Any = self._value
        for label in path:
            value = value.get(label) if isinstance(value, dict) else None
        return value

    def text(self, *path: str) -> str:
        """Return a string that the schema demands."""
        value = self.at(*path)
        assert isinstance(value, str)
        return value

    def optional_text(self, *path: str) -> str | None:
        value = self.at(*path)
        assert value is None or isinstance(value, str)
        return value

    def whole(self, *path: str, default: int = 0) -> int:
        """Return a whole number; the schema has seen to its bounds."""
        value = self.at(*path)
        return default if value is None else self._whole(value, path)

    def optional_whole(self, *path: str) -> int | None:
        value = self.at(*path)
        return None if value is None else self._whole(value, path)

    def _whole(self, value: int | Decimal, path: Path) -> int:
        if isinstance(value, int):
            return value
        self.fault(path, f"{value}: expected a whole number, written without fraction or exponent")
        return 0


def _driver(reader: _Reader, *at: str) -> Driver:
    match reader.text(*at, "name"):
        case "mock":
            driver = reader.optional_text(*at, "driver")
            return MockDriver(driver=_or_default(driver, MockDriver().driver))
        case "http":
            return HTTPDriver(
                timeout=reader.whole(*at, "timeout", default=HTTPDriver().timeout),
                signing_key=reader.optional_text(*at, "signingKey"),
            )
        case _:
            return ConnectDriver()


def _event_stream(reader: _Reader) -> EventStream:
    at = ("eventstream", "service")
    topic = reader.text(*at, "topic")
    match reader.text(*at, "backend"):
        case "nats":
            return NATSEventStream(topic=topic, server_url=reader.text(*at, "serverURL"))
        case "gcp-pubsub":
            return PubSubEventStream(project=reader.text(*at, "project"), topic=topic)
        case "aws-sqs":
            return SQSEventStream(
                queue_url=reader.text(*at, "queueURL"),
                region=reader.text(*at, "region"),
                topic=topic,
            )
        case _:
            return InMemoryEventStream(topic=topic)


def _queue(reader: _Reader) -> Queue:
    at = ("queue", "service")
    match reader.text(*at, "backend"):
        case "redis":
            return _redis(reader, *at, key_prefix=RedisService().key_prefix)
        case "aws-sqs":
            return SQSQueue(
                queue_url=reader.text(*at, "queueURL"),
                region=reader.text(*at, "region"),
                topic=reader.text(*at, "topic"),
                concurrency=reader.whole(*at, "concurrency"),
            )
        case _:
            return InMemoryQueue()


def _state(reader: _Reader) -> State:
    at = ("state", "service")
    if reader.text(*at, "backend") == "redis":
        return _redis(reader, *at, key_prefix=STATE_KEY_PREFIX)
    return InMemoryState()


def _redis(reader: _Reader, *at: str, key_prefix: str) -> RedisService:
    """Read a Redis service, of which the document may name no more than the backend.

    Args:
        key_prefix: unless the document gives one.
    """
    return RedisService(
        dsn=reader.optional_text(*at, "dsn"),
        host=_or_default(reader.optional_text(*at, "host"), RedisService().host),
        port=reader.whole(*at, "port", default=6379),
        db=reader.whole(*at, "db"),
        username=reader.optional_text(*at, "username"),
        password=reader.optional_text(*at, "password"),
        max_retries=reader.whole(*at, "maxRetries", default=RedisService().max_retries),
        pool_size=reader.optional_whole(*at, "poolSize"),
        key_prefix=_or_default(reader.optional_text(*at, "keyPrefix"), key_prefix),
    )


def _check_redis(reader: _Reader, configuration: Configuration, check: CheckURL | None) -> None:
    """Refuse the URL of a Redis that the service could not use."""
    given = {} if configuration.connect is None else configuration.connect.given
    service = configuration.state.service
    path: Path
    if "redis.url" in given:
        path, url = ("connect", "redis", "url"), given["redis.url"]
    elif isinstance(service, RedisService):
        path = ("state", "service", "host" if service.dsn is None else "dsn")
        if service.dsn is None and not service.host:
            reader.fault(path, empty_address(RedisService().host))
            return
        url = redis_url(service)
    else:
        return
    if not url:
        reader.fault(path, "empty; leave it out to have none (is a variable not set?)")
        return
    if check is None:
        return
    try:
        check(url)
    except ConfigurationError as error:
        reader.fault(path, str(error))


def _data_store(reader: _Reader) -> DataStore:
    at = ("datastore", "service")
    if reader.text(*at, "backend") == "postgres":
        return PostgresDataStore(uri=reader.text(*at, "URI"))
    return InMemoryDataStore()


def _connect(reader: _Reader) -> ConnectConfig:
    """Read the gateway's own settings; the schema knows their names."""
    given: dict[str, Any] = {}
    for path, setting in catalogue().items():
        if setting.document_path[0] != "connect":
            continue
        value = reader.at(*setting.document_path)
        if value is None:
            continue
        try:
            given[path] = typed(setting, value)
        except UnfitElements as error:
            for index, reason in error.faults:
                reader.fault((*setting.document_path, index), reason)
        except UnfitValue as error:
            reader.fault(setting.document_path, str(error))
    return ConnectConfig(given=given)


def _or_default(text: str | None, default: str) -> str:
    return default if text is None else text
