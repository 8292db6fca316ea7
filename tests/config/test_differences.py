"""How a definition and what a worker registers differ."""

from typing import Any

import pytest

from connect.config.definitions import Function
from connect.config.differences import Difference, differences

# What an SDK registers of a function.
REGISTERED: dict[str, Any] = {
    "id": "shop-order",
    "name": "Order",
    "triggers": [{"event": "shop/order"}, {"cron": "0 9 * * *", "jitter": "1m"}],
    "steps": {
        "step": {
            "id": "step",
            "name": "step",
            "runtime": {"type": "http", "url": "http://worker/api/inngest?fnId=shop-order"},
            "retries": {"attempts": 3},
        }
    },
    "rateLimit": {"limit": 5, "period": "1m"},
}
DEFINED: dict[str, Any] = {
    "id": "shop-order",
    "name": "Order",
    "triggers": [{"cron": "0 9 * * *", "jitter": "60s"}, {"event": "shop/order"}],
}


def between(defined: dict[str, Any], registered: dict[str, Any]) -> list[str]:
    """The differences as text; both are changes to what does not differ."""
    function = Function.from_json(DEFINED | defined)
    return [str(found) for found in differences(function, REGISTERED | registered)]


def test_what_is_written_differently_but_means_the_same_does_not_differ() -> None:
    assert between({}, {}) == []


def test_a_difference_tells_path_and_both_values() -> None:
    function = Function.from_json(DEFINED | {"name": "Orders"})
    [found] = differences(function, REGISTERED)
    assert found == Difference("name", "Orders", "Order")
    assert found.as_json() == {"path": "name", "defined": "Orders", "registered": "Order"}


def test_a_long_value_is_cut_in_the_text_only() -> None:
    [text] = between({}, {"idempotency": "x" * 1000})
    assert text == f'idempotency: defined nothing, registered "{"x" * 199}…'


@pytest.mark.parametrize(
    ("defined", "registered", "expected"),
    [
        ({"name": "O"}, {"name": None}, ['name: defined "O", registered "shop-order"']),
        (
            {"triggers": [{"event": "shop/order", "expression": "event.data.n == 1"}]},
            {"triggers": [{"event": "shop/order", "expression": None}]},
            [
                'triggers[0]: defined {"event": "shop/order", "expression": "event.data.n == 1"}, '
                'registered {"event": "shop/order"}'
            ],
        ),
        (
            {"triggers": [{"event": "a"}, {"cron": "0 0 * * *"}]},
            {"triggers": [{"event": "a"}, {"event": "b"}]},
            [
                'triggers[1]: defined {"cron": "0 0 * * *"}, registered nothing',
                'triggers: defined nothing, registered {"event": "b"}',
            ],
        ),
        (
            {},
            {"triggers": "none"},
            [
                'triggers[0]: defined {"cron": "0 9 * * *", "jitter": "60s"}, registered nothing',
                'triggers[1]: defined {"event": "shop/order"}, registered nothing',
            ],
        ),
        ({"concurrency": 5}, {"concurrency": 5}, []),
        ({"concurrency": 5}, {"concurrency": {"limit": 5}}, []),
        ({"concurrency": 5}, {"concurrency": [{"limit": 5, "key": None}]}, []),
        ({}, {"concurrency": []}, []),
        ({"concurrency": 0}, {}, []),
        ({}, {"concurrency": [{"limit": 0}]}, []),
        ({"concurrency": 0}, {"concurrency": 5}, ["concurrency: defined nothing, registered 5"]),
        (
            {"concurrency": 5},
            {"concurrency": [{"limit": 5, "key": "event.data.id"}]},
            [
                "concurrency: defined 5, registered "
                '{"limit": 5, "key": "event.data.id"}'
            ],
        ),
        (
            {"concurrency": 5},
            {"concurrency": [{"limit": 5}, {"limit": 6}]},
            ['concurrency: defined 5, registered [{"limit": 5}, {"limit": 6}]'],
        ),
        ({"idempotency": ""}, {"idempotency": None}, []),
        (
            {"throttle": {"count": 2, "period": "60s"}},
            {"throttle": {"limit": 2, "period": "1m", "burst": 1}},
            [],
        ),
        (
            {"throttle": {"count": 2, "period": "60s"}},
            {"throttle": {"count": 3, "period": "2m", "key": "event.data.id"}},
            [
                "throttle.count: defined 2, registered 3",
                'throttle.period: defined "60s", registered "2m"',
                'throttle.key: defined nothing, registered "event.data.id"',
            ],
        ),
        (
            {"throttle": {"count": 2, "period": "60s"}},
            {},
            ['throttle: defined {"count": 2, "period": "60s"}, registered nothing'],
        ),
        (
            {},
            {"throttle": {"period": "1m"}},
            ['throttle: defined nothing, registered {"count": 1, "period": "1m"}'],
        ),
        (
            {"cancel": [{"event": "c", "timeout": "60s"}]},
            {"cancel": [{"event": "c", "timeout": "1m", "if": None}]},
            [],
        ),
        (
            {"cancel": [{"event": "c", "if": "async.data.n == 1"}]},
            {"cancel": [{"event": "c", "timeout": "tomorrow"}]},
            [
                'cancel[0]: defined {"event": "c", "if": "async.data.n == 1"}, '
                'registered {"event": "c", "timeout": "tomorrow"}'
            ],
        ),
    ],
)  # fmt: skip
def test_settings_are_compared_by_what_they_mean(
    defined: dict[str, Any], registered: dict[str, Any], expected: list[str]
) -> None:
    assert between(defined, registered) == expected


ONE: dict[str, Any] = {"id": "one", "name": "", "path": "", "retries": {"attempts": 4}}
TWO: dict[str, Any] = {"id": "two", "after": [{"step": "one", "wait": "60s"}]}


class TestSteps:
    def test_the_one_step_of_an_sdk_stands_for_any_steps(self) -> None:
        assert between({"steps": {"one": ONE, "two": TWO}}, {}) == []

    def test_a_function_that_registers_no_steps_is_not_asked_for_them(self) -> None:
        assert between({"steps": {"one": ONE}}, {"steps": {}}) == []

    def test_retries_of_the_only_step_are_those_of_the_sdks_step(self) -> None:
        assert between({"steps": {"one": ONE}}, {}) == [
            "steps.one.retries.attempts: defined 4, registered 3"
        ]

    def test_retries_that_a_definition_leaves_open_are_not_compared(self) -> None:
        assert between({"steps": {"two": {"id": "two"}}}, {}) == []

    def test_a_defined_step_of_the_sdks_name_is_compared_by_its_retries(self) -> None:
        defined = {"step": {"id": "step", "name": "Mine", "retries": {"attempts": 1}}}
        assert between({"steps": defined}, {}) == [
            "steps.step.retries.attempts: defined 1, registered 3"
        ]

    def test_steps_besides_the_sdks_are_missed_where_it_is_defined_too(self) -> None:
        defined = {"step": {"id": "step"}, "one": {"id": "one"}}
        assert between({"steps": defined}, {}) == [
            'steps.one: defined {"id": "one"}, registered nothing'
        ]

    def test_steps_of_the_same_ids_are_compared_one_by_one(self) -> None:
        registered = {
            "one": {"id": "one", "name": "One", "retries": {"attempts": 4}},
            "two": {"id": "two", "name": None, "after": [{"step": "one", "wait": "1m"}]},
            "three": {"id": "three"},
        }
        assert between({"steps": {"one": ONE, "two": TWO}}, {"steps": registered}) == [
            'steps.one.name: defined nothing, registered "One"',
            'steps.three: defined nothing, registered {"id": "three"}',
        ]

    def test_what_another_implementation_has_stored_just_differs(self) -> None:
        registered: dict[str, Any] = {"one": 5, "two": {"retries": 3}}
        two = TWO | {"retries": {"attempts": 1}}
        assert between({"steps": {"one": ONE, "two": two}}, {"steps": registered}) == [
            'steps.one: defined {"id": "one"}, registered 5',
            'steps.two.after: defined [{"step": "one", "wait": "60s"}], registered nothing',
            "steps.two.retries.attempts: defined 1, registered nothing",
        ]
