"""Whom a connection is counted for, with and without proxies."""

import pytest

from connect.errors import ConfigurationError
from connect.nursery.addresses import client_address, counted_address, parse_networks

PROXIES = parse_networks(["10.0.0.0/8", "fd00::/8"])


def test_without_a_proxy_the_peer_is_the_client() -> None:
    assert client_address("192.0.2.1", "", PROXIES) == "192.0.2.1"


def test_what_a_stranger_writes_into_the_header_is_not_believed() -> None:
    assert client_address("192.0.2.1", "198.51.100.7", PROXIES) == "192.0.2.1"


def test_nobody_is_believed_where_no_proxy_is_trusted() -> None:
    assert client_address("10.0.0.1", "198.51.100.7", ()) == "10.0.0.1"


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 10.1.1.1", "198.51.100.7"),
        # What the client sent itself stands first, and means nothing.
        ("203.0.113.9, 198.51.100.7, 10.1.1.1", "198.51.100.7"),
        ("203.0.113.9,198.51.100.7", "198.51.100.7"),
        ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
        ("198.51.100.7:50123", "198.51.100.7"),
        ("[2001:db8::5]:443", "2001:db8::5"),
        ("2001:db8::5, fd00::1", "2001:db8::5"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("198.51.100.7, nonsense", "10.0.0.1"),
        ("nonsense, 10.1.1.1", "10.1.1.1"),
        (",,", "10.0.0.1"),
    ],
)
def test_behind_a_trusted_proxy_the_header_tells_the_client(header: str, client: str) -> None:
    assert client_address("10.0.0.1", header, PROXIES) == client


def test_a_proxy_that_is_reached_by_a_mapped_address_is_trusted() -> None:
    assert client_address("::ffff:10.0.0.1", "198.51.100.7", PROXIES) == "198.51.100.7"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("no address", "no address"),
    ],
)
def test_ipv6_is_counted_by_networks_of_64_bits(address: str, counted: str) -> None:
    assert counted_address(address) == counted


def test_a_single_address_is_a_network() -> None:
    [network] = parse_networks(["10.1.2.3"])
    assert str(network) == "10.1.2.3/32"


def test_what_is_no_network_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"'proxy\.example' is neither an address nor"):
        parse_networks(["10.0.0.0/8", "proxy.example"])
