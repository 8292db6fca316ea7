"""Tests of the worker API: ``/v0/connect/start`` and ``/v0/connect/flush``."""

import pytest
import structlog
import trio
from starlette.types import Message
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked
from ulid import ULID

from connect.protocol.messages.connect import v1 as pb
from connect.protocol.tokens import SigningKeys
from connect.settings import (
    DEVELOPMENT_ACCOUNT_ID,
    DEVELOPMENT_ENV_ID,
    Limits,
    Listen,
    Settings,
)
from connect.state.records import GatewayStatus, LeaseRecord
from tests.api.fakes import AUTHORIZED, KEY, KEYS, NO_KEYS, TOKENS, Api, Store, gateway, open_api

START = "/v0/connect/start"
FLUSH = "/v0/connect/flush"
LEASE = LeaseRecord(id="lease", executor_host="10.1.1.1", executor_port=4000)
REPLY = bytes(pb.SdkResponse(request_id="r1", env_id=DEVELOPMENT_ENV_ID, body=b"{}"))


async def test_start_hands_out_a_gateway_a_connection_id_and_a_token(mock_clock: MockClock) -> None:
    async with open_api() as api:
        response = await api.client.post(START, headers={"x-inngest-env": "branch"})

    started = pb.StartResponse().parse(response.content)
    session = TOKENS.verify(started.session_token)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    assert str(ULID.from_str(started.connection_id)) == started.connection_id
    assert started.gateway_endpoint == "ws://api:8289/v0/connect"
    assert started.gateway_group == "default"
    assert started.sync_token == ""
    assert (session.account_id, session.env_id) == (DEVELOPMENT_ACCOUNT_ID, DEVELOPMENT_ENV_ID)
    assert session.apps_per_connection == Limits().apps_per_connection


async def test_start_echoes_the_presented_key_as_sync_token(mock_clock: MockClock) -> None:
    async with open_api(keys=KEYS) as api:
        response = await api.client.post(START, headers=AUTHORIZED)

    assert pb.StartResponse().parse(response.content).sync_token == KEY


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ({}, "a signing key is required"),
        ({"authorization": "Bearer signkey-test-99999999"}, "the signing key is not known"),
    ],
)
@pytest.mark.parametrize("path", [START, FLUSH])
async def test_a_worker_without_a_known_key_is_refused(
    path: str, authorization: dict[str, str], message: str, mock_clock: MockClock
) -> None:
    async with open_api(keys=KEYS) as api:
        response = await api.client.post(path, headers=authorization, content=REPLY)

    assert response.status_code == 401
    assert response.json() == {
        "error": message,
        "code": "connect_authentication_failed",
        "status": 401,
    }
    assert response.headers["www-authenticate"] == "Bearer"


async def test_start_avoids_excluded_gateways(mock_clock: MockClock) -> None:
    store = Store(all_gateways=[gateway("a", group="blue"), gateway("b", group="green")])
    body = bytes(pb.StartRequest(exclude_gateways=["blue"]))
    async with open_api(store) as api:
        response = await api.client.post(START, content=body)

    assert pb.StartResponse().parse(response.content).gateway_group == "green"


async def test_start_refuses_a_body_that_is_no_start_request(mock_clock: MockClock) -> None:
    async with open_api() as api:
        response = await api.client.post(START, content=b"\xff\xff")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_body")
    assert response.json()["error"].startswith("the body is not a StartRequest")


@pytest.mark.parametrize("declared", [True, False])
async def test_start_refuses_a_body_over_the_limit(declared: bool, mock_clock: MockClock) -> None:
    settings = Settings(limits=Limits(start_body_bytes=100))

    async def chunks() -> object:
        for _ in range(20):
            yield b"x" * 10

    content = b"x" * 101 if declared else chunks()
    async with open_api(settings=settings) as api:
        response = await api.client.post(START, content=content)  # type: ignore[arg-type] # either

    assert response.status_code == 413
    assert response.json()["error"] == "the body is larger than 100 bytes"


async def test_start_without_a_living_gateway_is_unavailable(autojump_clock: MockClock) -> None:
    async with open_api() as api:
        await trio.sleep(10.5)
        response = await api.client.post(START)

    assert (response.status_code, response.json()["code"]) == (503, "no_gateway_available")


async def test_start_without_the_store_is_unavailable(mock_clock: MockClock) -> None:
    async with open_api(Store(down=True)) as api:
        response = await api.client.post(START)

    assert response.json() == {
        "error": "the state store does not answer",
        "code": "store_unavailable",
        "status": 503,
    }


async def test_start_refuses_a_host_that_is_none(mock_clock: MockClock) -> None:
    async with open_api() as api:
        response = await api.client.post(START, headers={"host": "a@b"})

    assert (response.status_code, response.json()["error"]) == (
        400,
        "the Host header is not a host",
    )


async def test_start_hands_out_the_configured_public_address(mock_clock: MockClock) -> None:
    settings = Settings(listen=Listen(gateway_url="wss://connect.example.com"))
    async with open_api(settings=settings) as api:
        response = await api.client.post(START)

    started = pb.StartResponse().parse(response.content)
    assert started.gateway_endpoint == "wss://connect.example.com/v0/connect"


async def test_start_behind_a_tls_proxy_hands_out_a_secure_address(mock_clock: MockClock) -> None:
    async with open_api() as api:
        response = await api.client.post(START, headers={"x-forwarded-proto": "https, http"})

    started = pb.StartResponse().parse(response.content)
    assert started.gateway_endpoint == "wss://api:8289/v0/connect"


async def test_a_flushed_reply_is_saved_and_pushed_to_its_executor(mock_clock: MockClock) -> None:
    async with open_api(Store(lease=LEASE)) as api:
        response = await api.client.post(FLUSH, content=REPLY)

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    assert pb.FlushResponse().parse(response.content).request_id == "r1"
    assert api.store.saved == {(DEVELOPMENT_ENV_ID, "r1"): REPLY}
    assert api.replies.pushed == [("10.1.1.1", 4000, REPLY)]


async def test_a_lease_without_a_port_means_the_usual_port(mock_clock: MockClock) -> None:
    lease = LeaseRecord(id="lease", executor_host="10.1.1.1")
    async with open_api(Store(lease=lease)) as api:
        await api.client.post(FLUSH, content=REPLY)

    assert api.replies.pushed[0][:2] == ("10.1.1.1", 50053)


async def test_a_flushed_reply_without_a_lease_is_only_saved(mock_clock: MockClock) -> None:
    async with open_api() as api:
        response = await api.client.post(FLUSH, content=REPLY)

    assert (response.status_code, api.replies.pushed) == (200, [])


async def test_a_reply_flushed_twice_stays_the_first_and_is_not_pushed_again(
    mock_clock: MockClock,
) -> None:
    second = bytes(pb.SdkResponse(request_id="r1", env_id=DEVELOPMENT_ENV_ID, body=b"[]"))
    async with open_api(Store(lease=LEASE)) as api:
        await api.client.post(FLUSH, content=REPLY)
        response = await api.client.post(FLUSH, content=second)

    assert response.status_code == 200
    assert list(api.store.saved.values()) == [REPLY]
    assert len(api.replies.pushed) == 1


async def test_a_flushed_reply_counts_though_the_push_fails(mock_clock: MockClock) -> None:
    async with open_api(Store(lease=LEASE)) as api:
        api.replies.works = False
        response = await api.client.post(FLUSH, content=REPLY)

    assert response.status_code == 200


async def test_a_flush_does_not_wait_for_the_push(autojump_clock: MockClock) -> None:
    async with open_api(Store(lease=LEASE)) as api:
        api.replies.takes = 3600
        response = await api.client.post(FLUSH, content=REPLY)
        assert (response.status_code, trio.current_time()) == (200, 0.0)


async def test_a_push_takes_no_longer_than_an_rpc_may(autojump_clock: MockClock) -> None:
    async with open_api(Store(lease=LEASE)) as api:
        api.replies.takes = 3600
        await api.client.post(FLUSH, content=REPLY)
        await trio.sleep(100)
        assert api.replies.given_up_at == [5.0]


async def test_a_push_that_fails_unforeseen_ends_nothing(mock_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_api(Store(lease=LEASE)) as api:
            api.replies.broken = True
            await api.client.post(FLUSH, content=REPLY)
            await wait_all_tasks_blocked()
            response = await api.client.post(FLUSH, content=REPLY)

    assert response.status_code == 200
    assert "unforeseen failure of a push" in [entry["event"] for entry in logs]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"\xff\xff", 400, "the body is not a SdkResponse"),
        (b"", 400, "the response has no request id"),
        (bytes(pb.SdkResponse(request_id="r")), 400, "the environment '' is not this one"),
        (
            bytes(pb.SdkResponse(request_id="r", env_id="other")),
            403,
            "the environment 'other' is not this one",
        ),
    ],
)
async def test_a_flush_that_is_no_reply_of_this_environment_is_refused(
    body: bytes, status: int, message: str, mock_clock: MockClock
) -> None:
    async with open_api() as api:
        response = await api.client.post(FLUSH, content=body)

    assert response.status_code == status
    assert response.json()["error"].startswith(message)
    assert api.store.saved == {}


async def test_a_flushed_reply_may_be_as_large_as_a_message_and_no_larger(
    mock_clock: MockClock,
) -> None:
    settings = Settings(limits=Limits(message_bytes=len(REPLY)))
    async with open_api(settings=settings) as api:
        fits = await api.client.post(FLUSH, content=REPLY)
        larger = await api.client.post(FLUSH, content=REPLY + b"x")

    assert (fits.status_code, larger.status_code) == (200, 413)


async def test_a_flush_that_cannot_be_saved_is_not_confirmed(mock_clock: MockClock) -> None:
    async with open_api(Store(down=True)) as api:
        response = await api.client.post(FLUSH, content=REPLY)

    assert response.status_code == 503


async def test_a_flushed_reply_that_nobody_waits_for_is_confirmed_and_not_kept(
    mock_clock: MockClock,
) -> None:
    store = Store(over=True, lease=LEASE)
    async with open_api(store) as api:
        response = await api.client.post(FLUSH, content=REPLY)

    assert pb.FlushResponse().parse(response.content).request_id == "r1"
    assert (store.saved, api.replies.pushed) == ({}, [])


async def test_a_flushed_reply_to_another_workers_request_is_confirmed_and_not_kept(
    mock_clock: MockClock,
) -> None:
    store = Store(holder="wörker-2", lease=LEASE)
    async with open_api(store) as api:
        response = await api.client.post(
            FLUSH, content=REPLY, headers={"x-connect-instance": "worker-1"}
        )

    assert pb.FlushResponse().parse(response.content).request_id == "r1"
    assert (store.saved, api.replies.pushed) == ({}, [])


@pytest.mark.parametrize("headers", [{"x-connect-instance": "w%C3%B6rker-2"}, {}])
async def test_a_flushed_reply_counts_of_the_right_worker_and_of_one_that_does_not_say_who_it_is(
    headers: dict[str, str], mock_clock: MockClock
) -> None:
    store = Store(holder="wörker-2", lease=LEASE)
    async with open_api(store) as api:
        await api.client.post(FLUSH, content=REPLY, headers=headers)

    assert store.saved == {(DEVELOPMENT_ENV_ID, "r1"): REPLY}


def with_account_limit(limit: int) -> Settings:
    return Settings(limits=Limits(connections_per_account=limit))


async def test_start_refuses_an_account_at_its_limit_over_all_gateways(
    mock_clock: MockClock,
) -> None:
    store = Store(all_gateways=[gateway("a", connections=3), gateway("b", connections=2)])
    async with open_api(store, settings=with_account_limit(5)) as api:
        response = await api.client.post(START)

    assert response.json() == {
        "error": "the account has 5 connections; 5 may be",
        "code": "connect_too_many_connections_per_account",
        "status": 429,
    }
    assert response.headers["retry-after"] == "10"


@pytest.mark.parametrize("limit", [6, 0])
async def test_start_admits_an_account_below_its_limit(limit: int, mock_clock: MockClock) -> None:
    store = Store(all_gateways=[gateway("a", connections=3), gateway("b", connections=2)])
    async with open_api(store, settings=with_account_limit(limit)) as api:
        assert (await api.client.post(START)).status_code == 200


@pytest.mark.parametrize(
    "state",
    [{"last_heartbeat_ms": 1}, {"status": GatewayStatus.DRAINING}],
    ids=["dead", "draining"],
)
async def test_connections_of_a_gateway_that_takes_none_do_not_count(
    state: dict[str, object], mock_clock: MockClock
) -> None:
    store = Store(all_gateways=[gateway("a"), gateway("b", connections=9, **state)])
    async with open_api(store, settings=with_account_limit(5)) as api:
        assert (await api.client.post(START)).status_code == 200


async def test_a_key_that_is_changed_admits_by_the_new_one_and_no_more_by_the_old(
    mock_clock: MockClock,
) -> None:
    keys = SigningKeys([KEY])
    new = {"authorization": "Bearer signkey-test-22222222"}
    statuses = []
    async with open_api(keys=keys) as api:
        for valid in ([KEY, "signkey-test-22222222"], ["signkey-test-22222222"]):
            keys.replace(valid)
            statuses += [
                (await api.client.post(START, headers=headers)).status_code
                for headers in (AUTHORIZED, new)
            ]

    assert statuses == [200, 200, 401, 200]


def starts_refused(api: Api, code: str) -> float | None:
    labels = {"code": code}
    return api.metrics.registry.get_sample_value("connect_starts_refused_total", labels)


FULL = "connect_too_many_connections_per_account"
CROWDED = gateway(connections=5)


@pytest.mark.parametrize(
    ("store", "keys", "body", "code"),
    [
        (Store(all_gateways=[CROWDED]), NO_KEYS, b"", FULL),
        (Store(all_gateways=[]), NO_KEYS, b"", "no_gateway_available"),
        (Store(), KEYS, b"", "connect_authentication_failed"),
        (Store(), NO_KEYS, b"\xff\xff", "invalid_body"),
        (Store(down=True), NO_KEYS, b"", "store_unavailable"),
    ],
)
async def test_a_start_that_is_refused_is_counted_and_logged_by_its_code(
    store: Store, keys: SigningKeys, body: bytes, code: str, mock_clock: MockClock
) -> None:
    with capture_logs() as logs:
        async with open_api(store, settings=with_account_limit(5), keys=keys) as api:
            await api.client.post(START, content=body)

    assert starts_refused(api, code) == 1
    assert [(line["code"], line["more"]) for line in logs if line["event"] == "start refused"] == [
        (code, 0)
    ]


async def test_a_start_that_is_refused_without_a_code_counts_by_its_status(
    mock_clock: MockClock,
) -> None:
    async with open_api() as api:
        await api.client.post(START, headers={"host": "a@b"})

    assert starts_refused(api, "400") == 1


async def test_starts_that_succeed_are_not_counted_as_refused(mock_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with open_api() as api:
            await api.client.post(START)

    counted = [
        sample for metric in api.metrics.starts_refused.collect() for sample in metric.samples
    ]
    assert (counted, logs) == ([], [])


async def test_a_client_that_goes_away_was_not_refused(mock_clock: MockClock) -> None:
    async def leaving() -> Message:
        return {"type": "http.disconnect"}

    answered: list[Message] = []

    async def note(message: Message) -> None:
        answered.append(message)

    async with open_api() as api:
        scope = {
            "type": "http",
            "method": "POST",
            "path": START,
            "headers": [],
            "query_string": b"",
        }
        await api.app(scope, leaving, note)

    assert answered[0]["status"] == 499
    assert starts_refused(api, "499") is None


async def test_a_flood_of_refused_starts_fills_no_log(mock_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with open_api(Store(all_gateways=[])) as api:
            for _ in range(20):
                await api.client.post(START)
            mock_clock.jump(10)
            await api.client.post(START)

    assert starts_refused(api, "no_gateway_available") == 21
    assert [(line["code"], line["more"]) for line in logs] == [
        ("no_gateway_available", 0),
        ("no_gateway_available", 19),
    ]
