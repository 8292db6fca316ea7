"""Reads of the function definitions that are loaded."""

from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock

from connect.config.defined import DefinedFunction, DefinedFunctions
from connect.config.definitions import Function
from connect.settings import DEVELOPMENT_ENV_ID
from tests.api.fakes import AUTHORIZED, KEYS, Store, open_api
from tests.runs.fakes import Apps, function

APPS = f"/v0/connect/envs/{DEVELOPMENT_ENV_ID}/apps"


def defined(*definitions: dict[str, Any]) -> Callable[[], DefinedFunctions]:
    """Return what returns definitions, each with defaults but for what is given."""
    functions = DefinedFunctions(
        DefinedFunction(Function.from_json({"name": "pay", "triggers": []} | one), f"{at}.cue")
        for at, one in enumerate(definitions)
    )
    return lambda: functions


PAY: dict[str, Any] = {
    "id": "shop-pay",
    "triggers": [
        {"event": "shop/pay"},
        {"cron": "0 23 * * *", "jitter": "60s"},
        {"cron": "30 22 * * *"},
    ],
}


async def test_a_definition_is_shown_with_all_there_is_to_say(mock_clock: MockClock) -> None:
    store = Store(registered=Apps(dict(PAY, name="Pay")))
    async with open_api(store, defined=defined(PAY)) as api:
        response = await api.client.get("/v0/functions/shop-pay")
    assert response.status_code == 200
    shown = response.json()["data"]
    times = shown.pop("next_times")
    assert shown == {
        "id": "shop-pay",
        "name": "pay",
        "file": "0.cue",
        "triggers": PAY["triggers"],
        "registered": [
            {
                "app_id": "app-id",
                "app_name": "shop",
                "synced_at": None,
                "differences": [{"path": "name", "defined": "pay", "registered": "Pay"}],
            }
        ],
        "definition": {"name": "pay"} | PAY,
    }
    assert times[:2] == [
        {"at": "2023-11-14T22:30:00Z", "latest": "2023-11-14T22:30:00Z", "cron": "30 22 * * *"},
        {"at": "2023-11-14T23:00:00Z", "latest": "2023-11-14T23:01:00Z", "cron": "0 23 * * *"},
    ]
    assert len(times) == 5


async def test_times_are_in_order_where_clocks_are_set_back(mock_clock: MockClock) -> None:
    # On 7 April 2024, 03:00 in Sydney was 02:00 again.
    cron = {"cron": "TZ=Australia/Sydney */20 2 7 4 *"}
    async with open_api(defined=defined({"id": "f", "triggers": [cron]})) as api:
        shown = (await api.client.get("/v0/functions/f")).json()["data"]
    assert [each["at"][11:16] for each in shown["next_times"]] == [
        "15:00",
        "15:20",
        "15:40",
        "16:00",
        "16:20",
    ]


async def test_all_definitions_are_listed_with_their_next_start(mock_clock: MockClock) -> None:
    async with open_api(defined=defined(PAY, {"id": "other"})) as api:
        data = (await api.client.get("/v0/functions")).json()["data"]
    assert [one["id"] for one in data] == ["shop-pay", "other"]
    assert [len(one["next_times"]) for one in data] == [1, 0]


async def test_a_definition_that_no_worker_registered_says_so(mock_clock: MockClock) -> None:
    async with open_api(defined=defined({"id": "other"})) as api:
        shown = (await api.client.get("/v0/functions/other")).json()["data"]
    assert shown["registered"] == []


async def test_without_definitions_the_list_is_empty(mock_clock: MockClock) -> None:
    async with open_api() as api:
        assert (await api.client.get("/v0/functions")).json() == {"data": []}


async def test_an_id_may_have_slashes(mock_clock: MockClock) -> None:
    async with open_api(defined=defined({"id": "shop/a b"})) as api:
        response = await api.client.get("/v0/functions/shop/a%20b")
    assert response.json()["data"]["id"] == "shop/a b"


async def test_an_id_that_is_not_there_gets_the_nearest(mock_clock: MockClock) -> None:
    async with open_api(defined=defined(PAY)) as api:
        response = await api.client.get("/v0/functions/shop-pya")
    assert response.status_code == 404
    assert response.json() == {
        "error": "no definition of a function 'shop-pya' is loaded; did you mean 'shop-pay'?",
        "code": "function_not_found",
        "status": 404,
    }


async def test_an_id_that_is_like_none_gets_no_hint(mock_clock: MockClock) -> None:
    async with open_api(defined=defined(PAY)) as api:
        response = await api.client.get("/v0/functions/zzz")
    assert response.json()["error"] == "no definition of a function 'zzz' is loaded"


@pytest.mark.parametrize("path", ["/v0/functions", "/v0/functions/shop-pay"])
async def test_a_signing_key_is_needed_when_there_is_one(path: str, mock_clock: MockClock) -> None:
    async with open_api(keys=KEYS, defined=defined(PAY)) as api:
        refused = await api.client.get(path)
        admitted = await api.client.get(path, headers=AUTHORIZED)
    assert (refused.status_code, admitted.status_code) == (401, 200)


async def test_the_apps_show_how_their_functions_differ(mock_clock: MockClock) -> None:
    pay = function("shop-pay", triggers=[{"event": "shop/pay"}])
    store = Store(registered=Apps(pay, function("shop-b")))
    one = {"id": "shop-pay", "triggers": [{"event": "pay"}]}
    async with open_api(store, defined=defined(one)) as api:
        [app] = (await api.client.get(APPS)).json()["data"]
    pay, other = app["functions"]
    assert pay["definition"]["file"] == "0.cue"
    assert {"path": "triggers[0]", "defined": {"event": "pay"}, "registered": None} in (
        pay["definition"]["differences"]
    )
    assert "definition" not in other


async def test_what_another_implementation_has_registered_without_id_is_passed_over(
    mock_clock: MockClock,
) -> None:
    store = Store(registered=Apps({"name": "nameless"}, {"id": 5}))
    async with open_api(store, defined=defined(PAY)) as api:
        response = await api.client.get("/v0/functions/shop-pay")
    assert response.json()["data"]["registered"] == []
