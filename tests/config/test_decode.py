"""From a configuration's value to its frozen objects."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest

from connect.config.configuration import (
    ConfigLogLevel,
    Configuration,
    ConnectDriver,
    HTTPDriver,
    InMemoryDataStore,
    InMemoryEventStream,
    InMemoryQueue,
    InMemoryState,
    MockDriver,
    NATSEventStream,
    PostgresDataStore,
    PubSubEventStream,
    RedisService,
    SQSEventStream,
    SQSQueue,
)
from connect.config.cue.errors import CueError, Path
from connect.config.cue.source import Source, Span
from connect.config.decode import decode
from connect.errors import ConfigurationError
from connect.settings import LogFormat

DEFAULTS: dict[str, Any] = {
    "log": {"level": "info", "format": "json"},
    "eventAPI": {"addr": "0.0.0.0", "port": 8288, "maxSize": 524288},
    "coreAPI": {"addr": "0.0.0.0", "port": 8300},
    "execution": {
        "drivers": {"http": {"name": "http"}, "connect": {"name": "connect"}},
        "logOutput": False,
    },
    "eventstream": {"service": {"backend": "inmemory", "topic": "events"}},
    "queue": {"service": {"backend": "redis"}},
    "state": {"service": {"backend": "redis"}},
    "datastore": {"service": {"backend": "inmemory"}},
}
PLACE = Span(Source("inngest.cue", "text"), 0, 4)


def spans(path: Path) -> tuple[Span, ...]:
    return (PLACE,)


def decoded(**changes: Any) -> Configuration:
    """Decode the defaults with some sections replaced."""
    return decode(deepcopy(DEFAULTS) | changes, spans)


def test_the_defaults_are_decoded() -> None:
    configuration = decoded()
    assert configuration.log.level is ConfigLogLevel.INFO
    assert configuration.log.format is LogFormat.JSON
    assert configuration.event_api.max_size == 512 * 1024
    assert configuration.core_api.port == 8300
    assert configuration.execution.drivers == {"http": HTTPDriver(), "connect": ConnectDriver()}
    assert configuration.execution.log_output is False
    assert configuration.event_stream.service == InMemoryEventStream(topic="events")
    assert configuration.queue.service == RedisService(key_prefix="")
    assert configuration.state.service == RedisService(key_prefix="inngest:state")
    assert configuration.data_store.service == InMemoryDataStore()
    assert configuration.connect is None


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (
            {"backend": "nats", "topic": "t", "serverURL": "nats://n"},
            NATSEventStream(topic="t", server_url="nats://n"),
        ),
        (
            {"backend": "gcp-pubsub", "project": "p", "topic": "t"},
            PubSubEventStream(project="p", topic="t"),
        ),
        (
            {"backend": "aws-sqs", "queueURL": "q", "region": "r", "topic": "t"},
            SQSEventStream(queue_url="q", region="r", topic="t"),
        ),
    ],
)
def test_an_event_stream_is_decoded(service: dict[str, Any], expected: object) -> None:
    assert decoded(eventstream={"service": service}).event_stream.service == expected


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({"backend": "inmemory"}, InMemoryQueue()),
        (
            {"backend": "aws-sqs", "queueURL": "q", "region": "r", "topic": "t", "concurrency": 3},
            SQSQueue(queue_url="q", region="r", topic="t", concurrency=3),
        ),
        (
            {"backend": "redis", "host": "h", "port": 1, "db": 2, "keyPrefix": "p"},
            RedisService(host="h", port=1, db=2, key_prefix="p"),
        ),
    ],
)
def test_a_queue_is_decoded(service: dict[str, Any], expected: object) -> None:
    assert decoded(queue={"service": service}).queue.service == expected


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({"backend": "inmemory"}, InMemoryState()),
        (
            {"backend": "redis", "host": "", "port": 1, "db": 0, "username": "u", "password": "p",
             "maxRetries": -1, "poolSize": 5, "keyPrefix": "k", "dsn": "redis://x"},
            RedisService(host="", port=1, username="u", password="p", max_retries=-1,
                         pool_size=5, key_prefix="k", dsn="redis://x"),
        ),
    ],
)  # fmt: skip
def test_state_is_decoded(service: dict[str, Any], expected: object) -> None:
    assert decoded(state={"service": service}).state.service == expected


def test_a_data_store_is_decoded() -> None:
    configuration = decoded(datastore={"service": {"backend": "postgres", "URI": "postgres://x"}})
    assert configuration.data_store.service == PostgresDataStore(uri="postgres://x")


def test_drivers_are_decoded() -> None:
    drivers = {
        "a": {"name": "mock", "driver": "d"},
        "b": {"name": "http", "timeout": 5, "signingKey": "k"},
    }
    configuration = decoded(execution={"drivers": drivers, "logOutput": True})
    assert configuration.execution.drivers == {
        "a": MockDriver(driver="d"),
        "b": HTTPDriver(timeout=5, signing_key="k"),
    }


def test_what_a_driver_leaves_out_has_the_default_of_its_definition() -> None:
    drivers = {"a": {"name": "mock"}, "b": {"name": "http"}}
    configuration = decoded(execution={"drivers": drivers, "logOutput": False})
    assert configuration.execution.drivers == {
        "a": MockDriver(driver="mock"),
        "b": HTTPDriver(timeout=7200, signing_key=None),
    }


@pytest.mark.parametrize(("section", "prefix"), [("queue", ""), ("state", "inngest:state")])
def test_what_a_redis_service_leaves_out_has_the_default_of_its_definition(
    section: str, prefix: str
) -> None:
    service = getattr(decoded(), section).service
    assert service == RedisService(
        dsn=None, host="localhost", port=6379, db=0, username=None, password=None,
        max_retries=3, pool_size=None, key_prefix=prefix,
    )  # fmt: skip


@pytest.mark.parametrize("section", ["queue", "state"])
def test_an_empty_prefix_that_is_given_is_no_absent_one(section: str) -> None:
    service = {"backend": "redis", "keyPrefix": "", "maxRetries": 0}
    found = getattr(decoded(**{section: {"service": service}}), section).service
    assert (found.key_prefix, found.max_retries) == ("", 0)


def test_the_section_of_this_service_is_decoded() -> None:
    configuration = decoded(
        connect={
            "roles": ["api"],
            "timing": {"lease": "30s", "drain": 5, "heartbeat_misses": 3},
            "tenant": {"signing_keys": ["signkey-test-a1"]},
        }
    )
    assert configuration.connect is not None
    assert configuration.connect.given == {
        "roles": frozenset({"api"}),
        "tenant.signing_keys": ("signkey-test-a1",),
        "timing.lease": 30.0,
        "timing.heartbeat_misses": 3,
        "timing.drain": 5.0,
    }


def faults(**changes: Any) -> list[tuple[Path, str]]:
    with pytest.raises(CueError) as refused:
        decoded(**changes)
    assert all(fault.spans == (PLACE,) for fault in refused.value.faults)
    return [(fault.path, fault.message) for fault in refused.value.faults]


@pytest.mark.parametrize("number", ["80.5", "80.0", "8E+1"])
def test_a_port_that_is_no_whole_number_is_refused(number: str) -> None:
    found = faults(coreAPI={"addr": "", "port": Decimal(number)})
    assert found == [
        (
            ("coreAPI", "port"),
            f"{number}: expected a whole number, written without fraction or exponent",
        )
    ]


def test_every_fault_is_told() -> None:
    service = {"backend": "redis", "db": Decimal("0.5"), "poolSize": Decimal("1.5")}
    found = faults(
        eventAPI={"addr": "", "port": 1, "maxSize": Decimal("2048.5")},
        state={"service": service},
        connect={"timing": {"lease": "soon"}, "limits": {"run_calls": 1}},
    )
    assert [path for path, _ in found] == [
        ("eventAPI", "maxSize"),
        ("state", "service", "db"),
        ("state", "service", "poolSize"),
        ("connect", "timing", "lease"),
    ]


def test_each_element_of_a_list_that_does_not_fit_is_told() -> None:
    keys = ["bad1", "signkey-x-01", "bad2"]
    found = faults(connect={"tenant": {"signing_keys": keys}, "roles": ["api", "cook"]})
    assert [path for path, _ in found] == [
        ("connect", "roles", 1),
        ("connect", "tenant", "signing_keys", 0),
        ("connect", "tenant", "signing_keys", 2),
    ]


def test_a_fault_in_a_secret_does_not_quote_it() -> None:
    found = faults(connect={"redis": {"url": ""}})
    assert found == [
        (("connect", "redis", "url"), "empty; leave it out to have none (is a variable not set?)")
    ]


@pytest.mark.parametrize("text", ["redis://:hunter2@x"])
def test_secrets_do_not_show_in_the_objects_text(text: str) -> None:
    configuration = decoded(
        state={"service": {"backend": "redis", "dsn": text, "password": text}},
        connect={"redis": {"url": text}, "tenant": {"event_keys": [text]}},
        execution={"drivers": {"http": {"name": "http", "signingKey": text}}, "logOutput": False},
        datastore={"service": {"backend": "postgres", "URI": text}},
    )
    assert "hunter2" not in repr(configuration)


class TestRedis:
    """The URL of the Redis that holds state is looked at as the service would."""

    @staticmethod
    def refused(**changes: Any) -> list[tuple[Path, str]]:
        def check(url: str) -> None:
            raise ConfigurationError(f"refused {url}")

        with pytest.raises(CueError) as error:
            decode(deepcopy(DEFAULTS) | changes, spans, check_url=check)
        return [(fault.path, fault.message) for fault in error.value.faults]

    @pytest.mark.parametrize(
        ("service", "name", "message"),
        [
            ({"dsn": "redis://d"}, "dsn", "refused redis://d"),
            ({"dsn": ""}, "dsn", "empty; leave it out to have none (is a variable not set?)"),
            ({"host": "a,b", "db": 2}, "host", "refused redis://a,b:6379/2"),
            (
                {"host": ""},
                "host",
                "empty; leave it out for localhost (is a variable not set?)",
            ),
        ],
    )
    def test_what_the_state_names_is_refused(
        self, service: dict[str, Any], name: str, message: str
    ) -> None:
        state = {"service": {"backend": "redis", **service}}
        assert self.refused(state=state) == [(("state", "service", name), message)]

    def test_an_empty_host_beside_a_dsn_does_not_matter(self) -> None:
        state = {"service": {"backend": "redis", "dsn": "redis://d", "host": ""}}
        assert isinstance(decoded(state=state).state.service, RedisService)

    def test_an_empty_host_is_refused_where_urls_are_not_looked_at(self) -> None:
        assert [
            path for path, _ in faults(state={"service": {"backend": "redis", "host": ""}})
        ] == [("state", "service", "host")]

    def test_the_services_own_setting_is_refused_and_comes_before_the_state(self) -> None:
        state = {"service": {"backend": "redis", "dsn": "redis://d"}}
        found = self.refused(state=state, connect={"redis": {"url": "redis://c"}})
        assert found == [(("connect", "redis", "url"), "refused redis://c")]

    def test_embedded_state_has_none(self) -> None:
        def check(url: str) -> None:
            raise AssertionError(url)

        changes = {"state": {"service": {"backend": "inmemory"}}}
        decode(deepcopy(DEFAULTS) | changes, spans, check_url=check)

    def test_one_that_can_be_used_is_taken(self) -> None:
        checked: list[str] = []
        decode(deepcopy(DEFAULTS), spans, check_url=checked.append)
        assert checked == ["redis://localhost:6379/0"]
