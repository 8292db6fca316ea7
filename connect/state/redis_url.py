"""From a Redis URL to an open, authenticated byte stream."""

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import hiredis
import redis.connection
import trio

from connect.errors import ConfigurationError, StoreUnavailable
from connect.state.commands import Argument

__all__ = ["CONNECTION_ERRORS", "RedisAddress", "RedisStream", "connect", "pack", "parse_address"]

RedisStream: TypeAlias = trio.abc.Stream

# What a stream raises when it breaks, and the parser for what is not Redis at all.
CONNECTION_ERRORS = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    hiredis.ProtocolError,
)

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
_CHUNK = 65536

_parse_url: Callable[[str], Mapping[str, Any]] = redis.connection.parse_url

# The stubs of hiredis know only commands of one word.
pack = cast("Callable[[Sequence[Argument]], bytes]", hiredis.pack_command)
"""Return the bytes of a command; its words must be in a tuple."""


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
        return self.path if self.path is not None else f"{self.host}:{self.port}"


def parse_address(url: str) -> RedisAddress:
    """Read ``redis://``, ``rediss://`` (TLS) and ``unix://`` URLs as redis-py does.

    TLS is set up by the query options ``ssl_cert_reqs`` (none, optional, required),
    ``ssl_ca_certs``, ``ssl_ca_path``, ``ssl_ca_data``, ``ssl_certfile``, ``ssl_keyfile``,
    ``ssl_password``, ``ssl_check_hostname``.

    Raises:
        ConfigurationError: the URL cannot be used; the text never repeats its password.
    """
    try:
        options = _parse_url(url)
        database = urlsplit(url).path.strip("/")
    except (ValueError, TypeError):
        # The text of the error may quote the password.
        raise ConfigurationError(
            "the Redis URL cannot be read; expected redis://[user:password@]host[:port][/db], "
            "rediss:// likewise, or unix://[user:password@]/path[?db=N]"
        ) from None
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


async def connect(
    address: RedisAddress, deadline: float, *, new_reader: Callable[[], hiredis.Reader]
) -> tuple[RedisStream, hiredis.Reader]:
    """Open a stream to the server, log in, choose the database, and ping.

    Args:
        deadline: on the Trio clock.

    Returns:
        The stream, and the parser to go on reading it with.

    Raises:
        StoreUnavailable: the server is unreachable, silent, or refuses; the text says which.

    Cancelled, nothing stays open.
    """
    reader = new_reader()
    stream: RedisStream | None = None
    with trio.CancelScope(deadline=deadline) as scope:
        try:
            stream = await _open(address)
            await _log_in(stream, reader, address)
        except CONNECTION_ERRORS as error:
            await _discard(stream)
            raise StoreUnavailable(
                f"cannot connect to Redis at {address}: {_reason(error)}"
            ) from error
        except BaseException:
            await _discard(stream)
            raise
        return stream, reader
    assert scope.cancelled_caught
    raise StoreUnavailable(f"Redis at {address} did not answer in time")


async def _discard(stream: RedisStream | None) -> None:
    if stream is not None:
        await trio.aclose_forcefully(stream)


def _reason(error: BaseException) -> str:
    """Return the innermost cause's text: Trio wraps the ones that people know."""
    while error.__cause__ is not None:
        error = error.__cause__
        if isinstance(error, BaseExceptionGroup):  # one for each address that was tried
            error = error.exceptions[0]
    return str(error) or type(error).__name__


async def _open(address: RedisAddress) -> RedisStream:
    if address.path is not None:
        return await trio.open_unix_socket(address.path)
    stream = await trio.open_tcp_stream(address.host, address.port)
    if address.tls is None:
        return stream
    secure = trio.SSLStream(
        stream, address.tls, server_hostname=address.host, https_compatible=True
    )
    try:
        await secure.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure


async def _log_in(stream: RedisStream, reader: hiredis.Reader, address: RedisAddress) -> None:
    if address.password is not None:
        login = (address.username, address.password) if address.username else (address.password,)
        await _ask(stream, reader, "AUTH", *login)
    if address.db:
        await _ask(stream, reader, "SELECT", str(address.db))
    await _ask(stream, reader, "PING")


async def _ask(stream: RedisStream, reader: hiredis.Reader, *command: str) -> None:
    """Send one command of the handshake and wait for its answer."""
    await stream.send_all(pack(command))
    while (reply := reader.gets()) is False:
        data = await stream.receive_some(_CHUNK)
        if not data:
            raise trio.BrokenResourceError("the server closed the connection")
        reader.feed(bytes(data))
    if isinstance(reply, hiredis.ReplyError):
        raise StoreUnavailable(f"Redis refuses {command[0]}: {reply}")
