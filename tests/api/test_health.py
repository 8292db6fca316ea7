"""Tests of health, readiness, errors in general, and the maintenance API."""

import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.api import create_admin
from connect.errors import StoreUnavailable
from connect.settings import Settings
from connect.state.records import GatewayRecord
from tests.api.fakes import KEYS, Store, open_api


async def test_health_and_readiness_need_no_key(mock_clock: MockClock) -> None:
    async with open_api(keys=KEYS) as api:
        health = await api.client.get("/health")
        ready = await api.client.get("/ready")

    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_the_service_is_not_ready_while_the_store_is_down(mock_clock: MockClock) -> None:
    async with open_api(Store(down=True)) as api:
        response = await api.client.get("/ready")

    assert response.json() == {
        "error": "not ready: the state store does not answer: no answer",
        "status": 503,
        "reasons": ["the state store does not answer: no answer"],
    }


async def test_the_service_is_not_ready_while_the_store_is_slow(
    autojump_clock: MockClock,
) -> None:
    async with open_api(Store(slow=30)) as api:
        response = await api.client.get("/ready")

    assert response.json()["reasons"] == ["the state store does not answer within 1 s"]
    assert trio.current_time() == 1.0


async def test_every_reason_not_to_be_ready_is_told(mock_clock: MockClock) -> None:
    async with open_api(Store(down=True), ready=lambda: "the service stops") as api:
        response = await api.client.get("/ready")

    assert response.json()["reasons"] == [
        "the state store does not answer: no answer",
        "the service stops",
    ]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nowhere", {"error": "there is nothing at /nowhere", "status": 404}),
        ("GET", "/health/", {"error": "there is nothing at /health/", "status": 404}),
        (
            "GET",
            "/v0/invoke",
            {"error": "GET is not allowed at /v0/invoke", "status": 405},
        ),
    ],
)
async def test_errors_of_routing_are_json(
    method: str, path: str, expected: dict[str, object], mock_clock: MockClock
) -> None:
    async with open_api() as api:
        response = await api.client.request(method, path)

    assert response.json() == expected
    assert response.status_code == expected["status"]


async def test_what_nobody_foresaw_is_logged_and_answered_without_details(
    mock_clock: MockClock,
) -> None:
    with capture_logs() as logs:
        async with open_api(Store(broken=True)) as api:
            response = await api.client.post("/v0/connect/start")

    assert response.json() == {
        "error": "something went wrong here",
        "code": "internal_error",
        "status": 500,
    }
    assert [(log["event"], log["path"]) for log in logs] == [
        ("request failed", "/v0/connect/start")
    ]


async def _up() -> None:
    await trio.lowlevel.checkpoint()


async def _down() -> None:
    await trio.lowlevel.checkpoint()
    raise StoreUnavailable("no answer")


async def _no_gateways() -> list[GatewayRecord]:
    await trio.lowlevel.checkpoint()
    return []


async def _admin(path: str, method: str = "GET", **options: object) -> httpx.Response:
    registry = CollectorRegistry()
    Counter("connect_things", "Things.", registry=registry).inc()
    known = {
        "settings": Settings(),
        "ping": _up,
        "registry": registry,
        "gateway": None,
        "gateways": _no_gateways,
    }
    app = create_admin(**(known | options))  # type: ignore[arg-type] # options of any kind
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        return await client.request(method, path)


async def test_the_maintenance_api_shows_health_and_readiness() -> None:
    assert (await _admin("/healthy")).json() == {"status": "ok"}
    assert (await _admin("/ready")).json() == {"status": "ready"}


async def test_the_maintenance_api_is_not_ready_without_the_store() -> None:
    assert (await _admin("/ready", ping=_down)).status_code == 503


async def test_the_maintenance_api_shows_metrics_in_prometheus_text_form() -> None:
    response = await _admin("/metrics")

    assert response.headers["content-type"].startswith("text/plain; version=")
    assert "connect_things_total 1.0" in response.text
