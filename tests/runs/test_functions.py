"""Tests of `connect.runs.functions`."""

import uuid
from typing import Any

from connect.config.functions import EventTrigger
from connect.runs.functions import function_id, served_function, served_functions
from connect.settings import DEVELOPMENT_ENV_ID
from connect.state.records import AppRecord


def _app(*definitions: dict[str, Any]) -> AppRecord:
    return AppRecord(id="app-id", name="shop", sync_id="s", functions=definitions)


def test_a_function_id_is_a_uuid_of_environment_and_slug() -> None:
    expected = uuid.uuid5(uuid.UUID(DEVELOPMENT_ENV_ID), "shop-pay")

    assert function_id(DEVELOPMENT_ENV_ID, "shop-pay") == str(expected)


def test_an_environment_that_is_no_uuid_gives_function_ids_too() -> None:
    assert uuid.UUID(function_id("staging", "a")) != uuid.UUID(function_id("live", "a"))


def test_a_function_has_four_attempts_unless_its_step_says_otherwise() -> None:
    default = served_function(_app({"id": "a"}), "a")
    told = served_function(_app({"id": "a", "steps": {"step": {"retries": {"attempts": 0}}}}), "a")

    assert default is not None
    assert told is not None
    assert (default.max_attempts, told.max_attempts) == (4, 1)


def test_only_event_triggers_are_taken() -> None:
    triggers = [
        {"event": "paid", "expression": "event.data.ok"},
        {"event": "sold"},
        {"cron": "* * * * *"},
        "nonsense",
    ]

    function = served_function(_app({"id": "a", "triggers": triggers}), "a")

    assert function is not None
    assert function.triggers == (EventTrigger("paid", "event.data.ok"), EventTrigger("sold"))


def test_a_function_without_an_id_is_passed_over_and_one_without_a_name_has_its_slug() -> None:
    (function,) = served_functions(_app({"name": "x"}, {"id": "a", "triggers": None}))

    assert (function.slug, function.name, function.triggers) == ("a", "a", ())


def test_a_slug_of_no_function_gives_none() -> None:
    assert served_function(_app({"id": "a"}), "b") is None
