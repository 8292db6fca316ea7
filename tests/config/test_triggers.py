"""Triggers: patterns of event names, and the JSON form."""

from typing import Any

import pytest

from connect.config.triggers import (
    CronTrigger,
    EventDefinition,
    EventTrigger,
    SchemaFormat,
    Trigger,
    covers,
    pattern_fault,
    read_trigger,
)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("shop/order.created", "shop/order.created"),
        ("shop/order.*", "shop/order.created"),
        ("shop/order.*", "shop/order."),
        ("shop/*", "shop/order.created"),
        ("shop/order*", "shop/orders"),
        ("*", "anything"),
    ],
)
def test_a_pattern_covers_a_name(pattern: str, name: str) -> None:
    assert covers(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("shop/order.created", "shop/order.create"),
        ("shop/order", "shop/order.created"),
        ("shop/order.*", "shop/order"),
        ("shop/order.*", "Shop/order.created"),
        ("shop/.rder", "shop/order"),
    ],
)
def test_a_pattern_does_not_cover_other_names(pattern: str, name: str) -> None:
    assert not covers(pattern, name)


@pytest.mark.parametrize("pattern", ["e", "shop/order.*", "*", "inngest/function.failed", "ä/ö"])
def test_a_sane_pattern_has_no_fault(pattern: str) -> None:
    assert pattern_fault(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("shop/*.created", "a star may only end a pattern, as in 'shop/order.*'"),
        ("**", "a star may only end a pattern, as in 'shop/order.*'"),
        ("a b", "a name of events has no spaces; expected something like 'shop/order.created'"),
        ("a\n", "a name of events has no spaces; expected something like 'shop/order.created'"),
        ("e" * 257, "longer than 256 characters"),
    ],
)
def test_the_fault_of_a_pattern_says_what_would_be_right(pattern: str, fault: str) -> None:
    assert pattern_fault(pattern) == fault


@pytest.mark.parametrize(
    ("value", "trigger"),
    [
        ({"event": "e"}, EventTrigger("e")),
        ({"event": "e", "expression": "true"}, EventTrigger("e", "true")),
        ({"event": "e", "cron": None, "expression": None}, EventTrigger("e")),
        ({"cron": "@daily"}, CronTrigger("@daily")),
        ({"cron": "@daily", "jitter": "1m"}, CronTrigger("@daily", "1m")),
        (
            {"event": "e", "definition": {"format": "cue", "synced": True, "def": "./e.cue"}},
            EventTrigger("e", None, EventDefinition(SchemaFormat.CUE, True, "./e.cue")),
        ),
        (
            {"event": "e", "definition": {"format": "json-schema", "synced": False, "def": {}}},
            EventTrigger("e", None, EventDefinition(SchemaFormat.JSON_SCHEMA, False, {})),
        ),
        ({"event": "e", "definition": {"format": "cue"}}, EventTrigger("e")),
    ],
    ids=str,
)
def test_a_trigger_is_read_from_json(value: dict[str, Any], trigger: Trigger) -> None:
    assert read_trigger(value) == trigger
