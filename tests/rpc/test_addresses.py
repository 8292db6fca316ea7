"""The address that others are told."""

import ipaddress
import socket

import pytest

from connect.rpc.addresses import reachable_host


@pytest.mark.parametrize("bound", ["10.1.2.3", "127.0.0.1", "::1", "gateway-1.internal"])
def test_a_listener_on_one_address_is_reached_there(bound: str) -> None:
    assert reachable_host(bound) == bound


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])
def test_a_listener_on_all_interfaces_is_reached_at_one_of_them(bound: str) -> None:
    assert not ipaddress.ip_address(reachable_host(bound)).is_unspecified


def test_without_any_route_loopback_is_what_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unrouted(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "socket", Unrouted)
    assert reachable_host("0.0.0.0") == "127.0.0.1"
