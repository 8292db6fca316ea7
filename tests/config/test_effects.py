"""What a configuration means for this service."""

from copy import deepcopy
from typing import Any

import pytest

from connect.config.cue.errors import Path
from connect.config.cue.source import Source, Span
from connect.config.decode import decode
from connect.config.effects import Effects, effects_of
from connect.settings import LogFormat, LogLevel
from tests.config.test_decode import DEFAULTS

SOURCE = Source("inngest.cue", "\n" * 100)


def effects(**given: Any) -> Effects:
    """Return the effects of a document that gives these sections over the defaults.

    The n-th value that it gives, counted from 0, stands in line n + 1.
    """
    value = deepcopy(DEFAULTS)
    places: dict[Path, Span] = {}

    def lay(over: dict[str, Any], within: dict[str, Any], path: Path) -> None:
        for label, item in over.items():
            here = (*path, label)
            places[here] = Span(SOURCE, len(places), len(places))
            if isinstance(item, dict):
                lay(item, within.setdefault(label, {}), here)
            else:
                within[label] = item

    lay(given, value, ())
    configuration = decode(value, lambda path: ())
    return effects_of(configuration, places.get)


def test_defaults_alone_have_no_effect() -> None:
    assert effects() == Effects({}, ())


@pytest.mark.parametrize(
    ("given", "setting", "value"),
    [
        ({"log": {"level": "trace"}}, "log.level", LogLevel.DEBUG),
        ({"log": {"level": "warn"}}, "log.level", LogLevel.WARNING),
        ({"log": {"format": "json"}}, "log.format", LogFormat.JSON),
        ({"eventAPI": {"addr": "::1"}}, "listen.host", "::1"),
        ({"eventAPI": {"port": 9}}, "listen.api_port", 9),
        ({"connect": {"timing": {"lease": 5}}}, "timing.lease", 5.0),
        ({"connect": {"gateway_group": "blue"}}, "gateway_group", "blue"),
        ({"connect": {"redis": {"url": "redis://x"}}}, "redis.url", "redis://x"),
    ],
)
def test_what_a_document_gives_is_a_setting(
    given: dict[str, Any], setting: str, value: Any
) -> None:
    layer = effects(**given).layer
    assert {path: item.value for path, item in layer.items()} == {setting: value}


def test_a_setting_comes_from_its_place() -> None:
    assert str(effects(eventAPI={"port": 9}).layer["listen.api_port"].origin) == "inngest.cue:2:1"


@pytest.mark.parametrize(
    ("service", "url"),
    [
        ({"backend": "redis"}, "redis://localhost:6379/0"),
        ({"host": "h"}, "redis://h:6379/0"),
        ({"host": "::1", "port": 1, "db": 2}, "redis://[::1]:1/2"),
        ({"password": "p/@ w"}, "redis://:p%2F%40%20w@localhost:6379/0"),
        ({"username": "u:"}, "redis://u%3A@localhost:6379/0"),
        ({"username": "u", "password": "p"}, "redis://u:p@localhost:6379/0"),
        ({"dsn": "redis+cluster://a,b", "host": "h"}, "redis+cluster://a,b"),
    ],
)
def test_redis_for_state_is_a_url(service: dict[str, Any], url: str) -> None:
    assert effects(state={"service": service}).layer["redis.url"].value == url


def test_the_url_comes_from_the_dsns_place() -> None:
    service = {"dsn": "redis://x", "host": "h"}
    layer = effects(state={"service": service}).layer
    assert str(layer["redis.url"].origin) == "inngest.cue:3:1"


def test_state_in_memory_gives_no_url() -> None:
    assert effects(state={"service": {"backend": "inmemory"}}).layer == {}


def test_redis_for_the_queue_gives_no_url() -> None:
    found = effects(queue={"service": {"host": "h"}})
    assert found.layer == {}
    assert [str(note) for note in found.notes] == [
        "inngest.cue:1:1: queue: accepted, without effect: requests are forwarded at once and "
        "not queued"
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"coreAPI": {"port": 1}},
        {"execution": {"logOutput": True}},
        {"eventstream": {"service": {"topic": "t"}}},
        {"datastore": {"service": {"backend": "inmemory"}}},
        {"eventAPI": {"maxSize": 2048}},
        {"state": {"service": {"backend": "inmemory"}}, "queue": {}},
        {"log": {"level": "trace"}},
    ],
)
def test_what_has_no_effect_is_noted(given: dict[str, Any]) -> None:
    assert len(effects(**given).notes) == 1


@pytest.mark.parametrize("name", ["keyPrefix", "maxRetries", "poolSize"])
def test_what_has_no_effect_on_redis_is_noted(name: str) -> None:
    value: Any = "p" if name == "keyPrefix" else 1
    [note] = effects(state={"service": {name: value}}).notes
    assert note.path == ("state", "service", name)


def test_the_section_of_this_service_comes_before_the_others() -> None:
    found = effects(eventAPI={"port": 1}, connect={"listen": {"api_port": 2}})
    assert found.layer["listen.api_port"].value == 2
    assert [str(note) for note in found.notes] == [
        "inngest.cue:5:1: connect.listen.api_port: comes before the value at inngest.cue:2:1"
    ]


def test_notes_come_in_the_order_of_the_document() -> None:
    found = effects(queue={}, coreAPI={"port": 1}, eventAPI={"maxSize": 2048})
    assert [note.path for note in found.notes] == [
        ("queue",), ("coreAPI",), ("eventAPI", "maxSize"),
    ]  # fmt: skip
