"""Opening connections to Redis servers, and what can be asked on one before it is shared."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, cast

import hiredis
import trio

from connect.errors import StoreUnavailable
from connect.state.commands import Argument, Reply
from connect.state.redis_url import RedisAddress

__all__ = [
    "CONNECTION_ERRORS",
    "Connection",
    "Dial",
    "RedisStream",
    "ask",
    "connect",
    "pack",
]

RedisStream: TypeAlias = trio.abc.Stream

Connection: TypeAlias = tuple[RedisStream, hiredis.Reader]
"""An open stream to a server, and the parser to go on reading it with."""

Dial: TypeAlias = Callable[[RedisAddress, float], Awaitable[Connection]]
"""Connects to a server until a deadline on the Trio clock, as `connect` does."""

# What a stream raises when it breaks, and the parser for what is not Redis at all.
CONNECTION_ERRORS = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    hiredis.ProtocolError,
)

_CHUNK = 65536

# The stubs of hiredis know only commands of one word.
pack = cast("Callable[[Sequence[Argument]], bytes]", hiredis.pack_command)
"""Return the bytes of a command; its words must be in a tuple."""


async def connect(address: RedisAddress, deadline: float) -> Connection:
    """Open a stream to the server, log in, choose the database, and ping.

    Args:
        deadline: on the Trio clock.

    Raises:
        StoreUnavailable: the server is unreachable, silent, or refuses; the text says which,
            in one line, without the password.

    Cancelled, nothing stays open.
    """
    reader = hiredis.Reader()
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


async def ask(connection: Connection, *command: str) -> Reply:
    """Send one command on a connection that nobody else uses, and wait for its answer.

    Raises:
        StoreUnavailable: the server refuses; the text names the command's first word.
        OSError, trio.BrokenResourceError, trio.ClosedResourceError, hiredis.ProtocolError:
            the connection broke (`CONNECTION_ERRORS`).

    Cancelled, the connection must be closed.
    """
    stream, reader = connection
    await stream.send_all(pack(command))
    while (reply := reader.gets()) is False:
        data = await stream.receive_some(_CHUNK)
        if not data:
            raise trio.BrokenResourceError("the server closed the connection")
        reader.feed(bytes(data))
    if isinstance(reply, hiredis.ReplyError):
        raise StoreUnavailable(f"Redis refuses {command[0]}: {reply}")
    return reply


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
    connection = (stream, reader)
    if address.password is not None:
        login = (address.username, address.password) if address.username else (address.password,)
        await ask(connection, "AUTH", *login)
    if address.db:
        await ask(connection, "SELECT", str(address.db))
    await ask(connection, "PING")
