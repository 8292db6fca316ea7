"""Tests of the reads under ``/v0/connect/envs``."""

import pytest
from trio.testing import MockClock

from connect.runs.functions import function_id
from connect.settings import DEVELOPMENT_ACCOUNT_ID, DEVELOPMENT_ENV_ID
from connect.state.records import (
    ConnectionRecord,
    ConnectionStatus,
    GroupRecord,
    WorkerAttributes,
)
from tests.api.fakes import AUTHORIZED, KEYS, Store, open_api
from tests.runs.fakes import Apps, function

ENV = f"/v0/connect/envs/{DEVELOPMENT_ENV_ID}"

CONNECTION = ConnectionRecord(
    id="c1",
    gateway_id="gw-1",
    instance_id="worker-1",
    groups={"shop": "h1"},
    synced_groups={"app-id": "h1"},
    status=ConnectionStatus.READY,
    last_heartbeat_ms=1_700_000_000_250,
    sdk_language="py",
    sdk_version="1.2",
    attributes=WorkerAttributes(cpu_cores=2, mem_bytes=3, os="linux"),
)
OTHER = ConnectionRecord(id="c2", gateway_id="gw-1", instance_id="w", groups={"x": "h2"})
SHOWN = {
    "id": "c1",
    "gateway_id": "gw-1",
    "instance_id": "worker-1",
    "status": "READY",
    "last_heartbeat_at": "2023-11-14T22:13:20.250Z",
    "all_worker_groups": {"shop": "h1"},
    "synced_worker_groups": {"app-id": "h1"},
    "sdk_language": "py",
    "sdk_version": "1.2",
    "attributes": {"cpu_cores": 2, "mem_bytes": 3, "os": "linux"},
}
GROUP = GroupRecord(
    account_id=DEVELOPMENT_ACCOUNT_ID,
    env_id=DEVELOPMENT_ENV_ID,
    app_name="shop",
    hash="h1",
    created_at="2023-11-14T22:13:20.123456789Z",
    functions=("shop-pay",),
    app_id="app-id",
)


async def test_connections_are_shown_with_all_their_fields(mock_clock: MockClock) -> None:
    async with open_api(Store(all_connections=[CONNECTION])) as api:
        response = await api.client.get(f"{ENV}/conns")

    assert response.status_code == 200
    assert response.json() == {"data": [SHOWN]}


async def test_connections_can_be_narrowed_to_an_app(mock_clock: MockClock) -> None:
    async with open_api(Store(all_connections=[CONNECTION, OTHER])) as api:
        every = await api.client.get(f"{ENV}/conns")
        narrowed = await api.client.get(f"{ENV}/conns", params={"app_id": "app-id"})

    assert [one["id"] for one in every.json()["data"]] == ["c1", "c2"]
    assert [one["id"] for one in narrowed.json()["data"]] == ["c1"]


@pytest.mark.parametrize("unix_ms", [0, 10**17])
async def test_a_heartbeat_that_is_no_time_is_shown_as_null(
    unix_ms: int, mock_clock: MockClock
) -> None:
    strange = ConnectionRecord(id="c", gateway_id="g", instance_id="i", last_heartbeat_ms=unix_ms)
    async with open_api(Store(all_connections=[strange])) as api:
        response = await api.client.get(f"{ENV}/conns")

    assert response.json()["data"][0]["last_heartbeat_at"] is None


async def test_a_group_is_shown_with_its_connections(mock_clock: MockClock) -> None:
    store = Store(all_connections=[CONNECTION, OTHER], all_groups={"h1": GROUP})
    async with open_api(store) as api:
        response = await api.client.get(f"{ENV}/groups/h1")

    group = response.json()["data"]
    assert (group["hash"], group["functions"]) == ("h1", ["shop-pay"])
    assert group["conns"] == [SHOWN]


async def test_an_unknown_group_is_not_found(mock_clock: MockClock) -> None:
    async with open_api() as api:
        response = await api.client.get(f"{ENV}/groups/h9")

    assert response.json() == {
        "error": "there is no worker group 'h9'",
        "code": "group_not_found",
        "status": 404,
    }


async def test_apps_are_shown_with_functions_and_triggers(mock_clock: MockClock) -> None:
    apps = Apps(function("shop-pay", retries=1, triggers=[{"cron": "@daily"}]))
    async with open_api(Store(registered=apps)) as api:
        response = await api.client.get(f"{ENV}/apps")

    (app,) = response.json()["data"]
    assert (app["id"], app["name"], app["synced_at"]) == ("app-id", "shop", None)
    assert app["functions"] == [
        {
            "id": function_id(DEVELOPMENT_ENV_ID, "shop-pay"),
            "slug": "shop-pay",
            "name": "shop-pay",
            "max_attempts": 2,
            "triggers": [{"cron": "@daily"}],
        }
    ]


@pytest.mark.parametrize("what", ["conns", "groups/h1", "apps"])
async def test_another_environment_is_not_found(what: str, mock_clock: MockClock) -> None:
    async with open_api() as api:
        response = await api.client.get(f"/v0/connect/envs/dev/{what}")

    assert response.json() == {
        "error": "there is no environment 'dev' here",
        "code": "environment_not_found",
        "status": 404,
    }


@pytest.mark.parametrize("what", ["conns", "groups/h1", "apps"])
async def test_reads_need_the_signing_key_when_there_is_one(
    what: str, mock_clock: MockClock
) -> None:
    async with open_api(Store(all_groups={"h1": GROUP}), keys=KEYS) as api:
        refused = await api.client.get(f"{ENV}/{what}")
        admitted = await api.client.get(f"{ENV}/{what}", headers=AUTHORIZED)

    assert (refused.status_code, admitted.status_code) == (401, 200)
