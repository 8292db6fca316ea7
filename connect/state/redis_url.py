"""Redis URLs: which server, cluster or sentinels they name, and how to log in there."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qs, unquote, urlencode, urlsplit

import redis.connection

from connect.errors import ConfigurationError

__all__ = [
    "RedisAddress",
    "RedisCluster",
    "RedisPlace",
    "RedisSentinels",
    "parse_redis_url",
]

# Settings of redis-py's pools and sockets that may stand in a URL shared with other
# programs; they mean nothing to one pipelined connection.
_IGNORED = frozenset(
    {
        "client_name",
        "health_check_interval",
        "max_connections",
        "protocol",
        "retry_on_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_timeout",
        "timeout",
    }
)
_PLACE = frozenset({"connection_class", "db", "host", "password", "path", "port", "username"})
_TLS = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_data",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "ssl_password",
    }
)
_VERIFY_MODES = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_SENTINEL_PORT = 26379
_SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")

_EXPECTED = (
    "redis://[user:password@]host[:port][/db], unix://[user:password@]/path[?db=N], "
    "redis+cluster://[user:password@]host[:port],… or "
    "redis+sentinel://[user:password@]host[:port],…/service[/db], "
    "or rediss… for TLS"
)

_parse_url: Callable[[str], Mapping[str, Any]] = redis.connection.parse_url


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Where a Redis server is and how to log in there.

    Attributes:
        path: of a unix socket; then host and port mean nothing.
        tls: None without TLS.
    """

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisCluster:
    """A Redis Cluster.

    Attributes:
        seeds: nodes to ask first, at least one; every node takes their login and TLS.
    """

    seeds: tuple[RedisAddress, ...]


@dataclass(frozen=True, slots=True)
class RedisSentinels:
    """A master that sentinels know by name.

    Attributes:
        sentinels: at least one, with the login that they want, if any.
        service: the name that they know the master by.
        master: login, database and TLS for the master; its host and port mean nothing.
    """

    sentinels: tuple[RedisAddress, ...]
    service: str
    master: RedisAddress

    def __str__(self) -> str:
        return f"the master of {self.service!r}"


RedisPlace: TypeAlias = RedisAddress | RedisCluster | RedisSentinels


def parse_redis_url(url: str) -> RedisPlace:
    """Read a URL that says where state lives.

    ``redis://``, ``rediss://`` (TLS) and ``unix://`` are read as redis-py does.
    ``redis+cluster://[user:password@]host[:port],host2[:port2]`` names nodes of a Redis
    Cluster, ``redis+sentinel://[user:password@]host[:port],…/service[/db]`` sentinels
    (port 26379 by default) and the name of their master, to whom user, password and
    database belong; ``sentinel_username`` and ``sentinel_password`` in the query are for
    the sentinels. ``rediss+cluster://`` and ``rediss+sentinel://`` use TLS throughout.

    TLS is set up by the query options ``ssl_cert_reqs`` (none, optional, required),
    ``ssl_ca_certs``, ``ssl_ca_path``, ``ssl_ca_data``, ``ssl_certfile``, ``ssl_keyfile``,
    ``ssl_password``, ``ssl_check_hostname``.

    Raises:
        ConfigurationError: the URL cannot be used; the text never repeats its password.
    """
    try:
        parts = urlsplit(url)
        scheme, plus, topology = parts.scheme.partition("+")
    except ValueError:
        raise _unreadable() from None
    if not plus:
        return _parse_address(url)
    if scheme not in ("redis", "rediss") or topology not in ("cluster", "sentinel"):
        raise _unreadable()
    login, at, listed = parts.netloc.rpartition("@")
    hosts = listed.split(",") if listed else ["localhost"]
    if not all(hosts):
        raise _unreadable()
    parts = parts._replace(scheme=scheme)
    if topology == "cluster":
        return _parse_cluster(parts, login + at, hosts)
    return _parse_sentinels(parts, login + at, hosts)


def _parse_cluster(parts: SplitResult, login: str, hosts: list[str]) -> RedisCluster:
    seeds = [_parse_address(parts._replace(netloc=login + host).geturl()) for host in hosts]
    if seeds[0].db:
        raise ConfigurationError("a Redis Cluster has no database but 0; the URL names another")
    return RedisCluster(tuple(replace(seed, tls=seeds[0].tls) for seed in seeds))


def _parse_sentinels(parts: SplitResult, login: str, hosts: list[str]) -> RedisSentinels:
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ConfigurationError(
            "the Redis URL names no service; expected redis+sentinel://host[:port],…/service[/db]"
        )
    query = parse_qs(parts.query, keep_blank_values=True)
    username, password = (query.pop(name, [None])[0] for name in _SENTINEL_LOGIN)
    parts = parts._replace(query=urlencode(query, doseq=True), path=f"/{database}")
    master = _parse_address(parts._replace(netloc=login + hosts[0]).geturl())
    plain = [_parse_address(parts._replace(netloc=host, path="").geturl()) for host in hosts]
    ports = [_has_port(host) for host in hosts]
    sentinels = tuple(
        replace(
            address,
            port=address.port if has_port else _SENTINEL_PORT,
            db=0,
            username=username,
            password=password,
            tls=master.tls,
        )
        for address, has_port in zip(plain, ports, strict=True)
    )
    return RedisSentinels(sentinels, unquote(service), master)


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]


def _unreadable() -> ConfigurationError:
    return ConfigurationError(f"the Redis URL cannot be read; expected {_EXPECTED}")


def _parse_address(url: str) -> RedisAddress:
    """Read the URL of one server."""
    try:
        options = _parse_url(url)
        database = urlsplit(url).path.strip("/")
    except (ValueError, TypeError):
        # The text of the error may quote the password.
        raise _unreadable() from None
    if "," in options.get("host", ""):
        raise ConfigurationError(
            "several hosts in a Redis URL are for redis+cluster:// and redis+sentinel:// only"
        )
    unix = "path" in options
    if not unix and database and not database.isdecimal():
        raise ConfigurationError("the Redis URL's path should be the number of a database")
    secure = options.get("connection_class") is redis.connection.SSLConnection
    known = _PLACE | _IGNORED | (_TLS if secure else frozenset())
    for name in options:
        if name not in known:
            hint = " without rediss://" if name in _TLS else ""
            raise ConfigurationError(f"the Redis URL's option {name} is not supported{hint}")
    return RedisAddress(
        host=options.get("host", "localhost"),
        port=options.get("port", 6379),
        path=options.get("path"),
        db=options.get("db", 0),
        username=options.get("username"),
        password=options.get("password"),
        tls=_tls_context(options) if secure else None,
    )


def _tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    requirement = str(options.get("ssl_cert_reqs", "required")).lower()
    if requirement not in _VERIFY_MODES:
        raise ConfigurationError(
            "the Redis URL's option ssl_cert_reqs should be none, optional or required"
        )
    verify = _VERIFY_MODES[requirement]
    check_hostname = str(options.get("ssl_check_hostname", "true")).lower() in ("true", "1", "yes")
    try:
        context = ssl.create_default_context(
            cafile=options.get("ssl_ca_certs"),
            capath=options.get("ssl_ca_path"),
            cadata=options.get("ssl_ca_data"),
        )
        context.check_hostname = check_hostname and verify is not ssl.CERT_NONE
        context.verify_mode = verify
        if "ssl_certfile" in options:
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password")
            )
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the certificates that the Redis URL names cannot be loaded: {error}"
        ) from error
    return context
