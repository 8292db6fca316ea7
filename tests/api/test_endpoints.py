"""Tests of `connect.api.endpoints`."""

from collections.abc import Sequence

import pytest

from connect.api.endpoints import choose_gateway, gateway_endpoint
from connect.state.records import GatewayRecord, GatewayStatus
from tests.api.fakes import gateway


def _first(population: Sequence[GatewayRecord], k: int) -> Sequence[GatewayRecord]:
    return population[:k]


def _choose(gateways: list[GatewayRecord], *excluded: str) -> str | None:
    chosen = choose_gateway(gateways, excluded, oldest_heartbeat_ms=100, sample=_first)
    return chosen.id if chosen is not None else None


def test_only_active_and_living_gateways_are_chosen() -> None:
    gateways = [
        gateway("starting", status=GatewayStatus.STARTING),
        gateway("draining", status=GatewayStatus.DRAINING),
        gateway("dead", last_heartbeat_ms=99),
        gateway("right", last_heartbeat_ms=100),
    ]

    assert _choose(gateways) == "right"


def test_without_a_gateway_there_is_no_choice() -> None:
    assert _choose([]) is None


@pytest.mark.parametrize("excluded", ["blue", "a"])
def test_an_excluded_group_or_gateway_is_avoided(excluded: str) -> None:
    assert _choose([gateway("a", group="blue"), gateway("b", group="green")], excluded) == "b"


def test_an_excluded_gateway_is_taken_when_there_is_no_other() -> None:
    assert _choose([gateway("a", group="blue")], "blue", "a") == "a"


def test_the_gateway_with_fewer_connections_is_preferred() -> None:
    assert _choose([gateway("full", connections=9), gateway("empty", connections=1)]) == "empty"


@pytest.mark.parametrize(
    ("record", "public_url", "host", "secure", "expected"),
    [
        (gateway(), None, "api.local:8288", False, "ws://api.local:8289/v0/connect"),
        (gateway(), None, "api.local", True, "wss://api.local:8289/v0/connect"),
        (gateway(), None, "[::1]:8288", False, "ws://[::1]:8289/v0/connect"),
        (gateway(), None, None, False, "ws://10.0.0.1:8289/v0/connect"),
        (gateway(ip="fe80::1"), None, None, False, "ws://[fe80::1]:8289/v0/connect"),
        (gateway(ip="gw.local"), None, None, False, "ws://gw.local:8289/v0/connect"),
        (gateway(port=0), None, "a", False, "ws://a:8289/v0/connect"),
        (gateway(), "wss://c.example.com", "a", False, "wss://c.example.com/v0/connect"),
        (gateway(), "wss://c/v0/connect/", "a", False, "wss://c/v0/connect"),
        (gateway(endpoint="wss://own/x"), "wss://c", "a", False, "wss://own/x"),
    ],
)
def test_a_worker_is_sent_to_an_address_that_it_can_reach(
    record: GatewayRecord, public_url: str | None, host: str | None, secure: bool, expected: str
) -> None:
    endpoint = gateway_endpoint(record, public_url=public_url, host_header=host, secure=secure)

    assert endpoint == expected


@pytest.mark.parametrize("host", ["a/b", "evil@host", "a b", ":80", "[::1", "a:b"])
def test_a_host_header_that_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="not a host"):
        gateway_endpoint(gateway(), public_url=None, host_header=host, secure=False)
