"""Redis URLs: what they say, and how bad ones are refused."""

import ssl

import pytest

from connect.errors import ConfigurationError
from connect.state.redis_url import RedisAddress, parse_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", RedisAddress()),
        ("redis://host", RedisAddress(host="host")),
        ("redis://host:7/2", RedisAddress(host="host", port=7, db=2)),
        ("redis://host/", RedisAddress(host="host")),
        ("redis://host?db=4&socket_timeout=3", RedisAddress(host="host", db=4)),
        ("redis://:p%40w@host", RedisAddress(host="host", password="p@w")),
        ("redis://u:p@host", RedisAddress(host="host", username="u", password="p")),
        ("unix://:p@/run/r.sock?db=1", RedisAddress(path="/run/r.sock", password="p", db=1)),
    ],
)
def test_url_says_where_the_server_is(url: str, address: RedisAddress) -> None:
    assert parse_address(url) == address


def test_address_prints_without_its_password() -> None:
    assert str(parse_address("redis://u:secret@host:7")) == "host:7"
    assert str(parse_address("unix:///run/r.sock")) == "/run/r.sock"
    assert "secret" not in repr(parse_address("redis://u:secret@host:7"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:6379",
        "http://host",
        "redis://:secret/word@host",
        "redis://host:99999",
        "redis://host?db=x",
        "redis://host/one",
        "redis://host?colour=secret",
        "redis://host?ssl_cert_reqs=none",
        "rediss://host?ssl_cert_reqs=secret",
        "rediss://host?ssl_ca_certs=/does/not/exist",
        "rediss://host?ssl_certfile=/does/not/exist",
        "rediss://host?ssl_ca_data=secret",
    ],
)
def test_bad_url_is_refused_in_one_line_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_address(url)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_tls_is_verified_by_default() -> None:
    tls = parse_address("rediss://host").tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("options", "mode", "check_hostname"),
    [
        ("ssl_cert_reqs=none", ssl.CERT_NONE, False),
        ("ssl_cert_reqs=optional", ssl.CERT_OPTIONAL, True),
        ("ssl_check_hostname=false", ssl.CERT_REQUIRED, False),
    ],
)
def test_tls_is_verified_as_the_options_say(
    options: str, mode: ssl.VerifyMode, check_hostname: bool
) -> None:
    tls = parse_address(f"rediss://host?{options}").tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (mode, check_hostname)
