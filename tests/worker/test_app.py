"""Apps: what they register, and what they refuse."""

import json
from typing import Any

import pytest

from connect import demo
from connect.config.functions import parse_functions
from connect.errors import ConfigurationError
from connect.worker import App, Context, Worker, cron, event


async def _nothing(ctx: Context) -> Any:
    return None


def test_a_function_registers_in_the_shape_of_the_sdks() -> None:
    app = App("shop")
    trigger = event("shop/order", expression="event.data.sum > 1")
    register = app.function(
        "order",
        triggers=[trigger, cron("0 * * * *")],
        retries=2,
        name="Order",
        options={"concurrency": [{"limit": 1}]},
    )
    register(_nothing)

    assert app.functions["shop-order"].definition == {
        "id": "shop-order",
        "name": "Order",
        "concurrency": [{"limit": 1}],
        "triggers": [
            {"event": "shop/order", "expression": "event.data.sum > 1"},
            {"cron": "0 * * * *"},
        ],
        "steps": {
            "step": {
                "id": "step",
                "name": "step",
                "retries": {"attempts": 2},
                "runtime": {"type": "ws", "url": "wss://connect?fnId=shop-order&stepId=step"},
            }
        },
    }


def test_the_gateways_own_check_accepts_what_is_registered() -> None:
    definitions = [function.definition for function in demo.app.functions.values()]

    registered = parse_functions(json.dumps(definitions).encode())

    assert [function.slug for function in registered] == list(demo.app.functions)


def test_a_function_is_named_by_its_id_unless_told() -> None:
    app = App("shop")
    app.function("order")(_nothing)

    assert app.functions["shop-order"].name == "order"


def test_decorating_leaves_the_function_as_it_is() -> None:
    assert App("shop").function("order")(_nothing) is _nothing


@pytest.mark.parametrize("name", ["", "my app", "-x", "ä"])
def test_an_app_name_has_plain_characters(name: str) -> None:
    with pytest.raises(ConfigurationError, match="not an app name"):
        App(name)


def test_a_function_id_has_plain_characters() -> None:
    with pytest.raises(ConfigurationError, match="app shop: not a function id: 'a b'"):
        App("shop").function("a b")


@pytest.mark.parametrize("retries", [-1, 21])
def test_retries_are_0_to_20(retries: int) -> None:
    with pytest.raises(ConfigurationError, match="retries must be 0 to 20"):
        App("shop").function("order", retries=retries)


def test_a_function_id_is_used_once() -> None:
    app = App("shop")
    app.function("order")(_nothing)

    with pytest.raises(ConfigurationError, match="function order is defined twice"):
        app.function("order")


def test_a_worker_needs_an_app() -> None:
    with pytest.raises(ConfigurationError, match="at least one app"):
        Worker([])


def test_the_apps_of_a_worker_have_different_names() -> None:
    with pytest.raises(ConfigurationError, match="the same name"):
        Worker([App("shop"), App("shop")])


def test_a_workers_concurrency_is_positive() -> None:
    with pytest.raises(ConfigurationError, match="must be positive: 0"):
        Worker(App("shop"), max_concurrency=0)


@pytest.mark.parametrize("url", ["", "localhost:8288", "ftp://host", "http://"])
def test_a_worker_needs_the_url_of_an_api(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not the URL of a worker API"):
        Worker(App("shop"), api_url=url)


def test_a_malformed_signing_key_is_refused_without_quoting_it() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Worker(App("shop"), signing_key="signkey-test-secret!")

    assert "secret!" not in str(raised.value)


def test_workers_have_different_instance_ids() -> None:
    assert Worker(App("shop")).instance_id != Worker(App("shop")).instance_id


def test_a_worker_that_does_not_run_has_neither_connections_nor_requests() -> None:
    worker = Worker(App("shop"))

    assert (worker.connection_ids, worker.request_ids) == ((), ())
