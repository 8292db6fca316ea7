"""Redis URLs: what they say, and how bad ones are refused."""

import ssl

import pytest

from connect.errors import ConfigurationError
from connect.state.redis_url import (
    RedisAddress,
    RedisCluster,
    RedisPlace,
    RedisSentinels,
    parse_redis_url,
)


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
    assert parse_redis_url(url) == address


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis+cluster://", RedisCluster((RedisAddress(),))),
        (
            "redis+cluster://u:p%2C@a:7000,b,[::1]:7002/0",
            RedisCluster(
                tuple(
                    RedisAddress(host=host, port=port, username="u", password="p,")
                    for host, port in (("a", 7000), ("b", 6379), ("::1", 7002))
                )
            ),
        ),
        (
            "redis+sentinel://a,b:7/my%20state/2",
            RedisSentinels(
                (RedisAddress(host="a", port=26379), RedisAddress(host="b", port=7)),
                "my state",
                RedisAddress(host="a", db=2),
            ),
        ),
        (
            "redis+sentinel://u:p@[::1]/state?sentinel_username=w&sentinel_password=s%26&timeout=3",
            RedisSentinels(
                (RedisAddress(host="::1", port=26379, username="w", password="s&"),),
                "state",
                RedisAddress(host="::1", username="u", password="p"),
            ),
        ),
    ],
)
def test_url_says_which_nodes_or_sentinels_to_ask(url: str, place: RedisPlace) -> None:
    assert parse_redis_url(url) == place


@pytest.mark.parametrize("url", ["rediss+cluster://a,b", "rediss+sentinel://a,b/state"])
def test_all_servers_of_a_url_share_their_tls(url: str) -> None:
    place = parse_redis_url(f"{url}?ssl_check_hostname=no")
    if isinstance(place, RedisSentinels):
        contexts = {place.master.tls, *(sentinel.tls for sentinel in place.sentinels)}
    else:
        assert isinstance(place, RedisCluster)
        contexts = {seed.tls for seed in place.seeds}
    [tls] = contexts
    assert tls is not None
    assert not tls.check_hostname


def test_address_prints_without_its_password() -> None:
    assert str(parse_redis_url("redis://u:secret@host:7")) == "host:7"
    assert str(parse_redis_url("unix:///run/r.sock")) == "/run/r.sock"
    assert str(parse_redis_url("redis://[::1]")) == "[::1]:6379"
    assert "secret" not in repr(parse_redis_url("redis://u:secret@host:7"))


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
        "redis://[secret",
        "redis://host,other",
        "redis://host?sentinel_password=secret",
        "redis+nothing://host",
        "unix+cluster:///secret",
        "redis+cluster://a,,b",
        "redis+cluster://:secret@a:b",
        "redis+cluster://a/1",
        "redis+cluster://a/b",
        "redis+cluster://a?colour=secret",
        "redis+sentinel://:secret@host",
        "redis+sentinel://:secret@host/state/two",
        "redis+sentinel://host,other:secret/state",
        "redis+sentinel://host/state?ssl_cert_reqs=none",
    ],
)
def test_bad_url_is_refused_in_one_line_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_redis_url(url)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_tls_is_verified_by_default() -> None:
    tls = tls_of("rediss://host")
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
    tls = tls_of(f"rediss://host?{options}")
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (mode, check_hostname)


def tls_of(url: str) -> ssl.SSLContext | None:
    place = parse_redis_url(url)
    assert isinstance(place, RedisAddress)
    return place.tls
