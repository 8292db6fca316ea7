"""Opening a WebSocket to a gateway, on a stream that is surely closed afterwards."""

import ssl
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

import httpx
import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError

from connect.errors import ConnectError
from connect.worker.errors import ConnectionFailed
from connect.worker.refusal import asked_in_headers, error_text

__all__ = ["use_websocket"]

_SUBPROTOCOL = "v0.connect.inngest.com"

# A request holds up to 4 MiB of step input and 4 MiB of step output, and a little more.
_MESSAGE_BYTES = 16 * 1024 * 1024
_RECEIVE_BYTES = 64 * 1024

E = TypeVar("E", bound=Exception)

_Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"


async def use_websocket(
    url: str, use: Callable[[WebSocketConnection], Awaitable[None]], *, deadline: float
) -> None:
    """Open a WebSocket, hand it to ``use``, and drop what is left of it when that returns.

    ``use`` ends the connection in good manners; this function only makes sure that no
    socket remains, even of a peer that never closes its side. Cancellation reaches
    ``use``, but what reads the socket goes on until ``use`` has ended: its goodbye
    wants an answer.

    Args:
        url: ``ws://`` or ``wss://``.
        deadline: seconds for dialling and for the opening handshake, each.

    Raises:
        ConnectionFailed: the WebSocket could not be opened, with the ``Retry-After`` of a
            server that refuses; or the peer did what no WebSocket may.
        ConnectError: what ``use`` raised.
    """
    stream = await _dial(url, deadline)
    failure: ConnectError | None = None
    using = trio.CancelScope()
    websocket: WebSocketConnection | None = None
    async with stream:
        try:
            async with trio.open_nursery() as outer, trio.open_nursery() as reading:
                outer.start_soon(_pass_on_cancellation, using)
                with trio.move_on_after(deadline):
                    websocket = await _upgrade(stream, url, reading)
                if websocket is None:
                    failure = ConnectionFailed(f"{url} opened no WebSocket in {deadline:g} s")
                else:
                    # Ends with `use`, which is cancelled from outside the shield.
                    reading.cancel_scope.shield = True
                    with using:
                        await use(websocket)
                outer.cancel_scope.cancel()
                reading.cancel_scope.cancel()
        except* ConnectError as raised:
            failure = _first(raised)
        except* ConnectionRejected as rejected:
            failure = _refused(url, _first(rejected))
        except* ProtocolError as broken:
            failure = ConnectionFailed(f"{url} speaks no WebSocket: {_first(broken)}")
        except* Exception as raised:
            # Whatever answers there, and however the libraries take it: there is no WebSocket.
            if websocket is not None:
                raise
            error = _first(raised)
            reason = f"{type(error).__name__}: {error}"
            failure = ConnectionFailed(f"{url} opened no WebSocket: {reason}")
    if failure is not None:
        raise failure


async def _pass_on_cancellation(scope: trio.CancelScope) -> None:
    try:
        await trio.sleep_forever()
    finally:
        scope.cancel()


async def _upgrade(stream: _Stream, url: str, nursery: trio.Nursery) -> WebSocketConnection:
    """The WebSocket over a stream; the nursery gets the task that reads it."""
    if isinstance(stream, trio.SSLStream):
        await _shake_hands(stream, url)
    return await wrap_client_stream(
        nursery,
        stream,
        urlsplit(url).netloc,
        _resource(url),
        subprotocols=[_SUBPROTOCOL],
        max_message_size=_MESSAGE_BYTES,
        receive_buffer_size=_RECEIVE_BYTES,
    )


async def _dial(url: str, deadline: float) -> _Stream:
    """A stream to the URL's host; for wss, one whose handshake is still to be done."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        with trio.move_on_after(deadline):
            if parts.scheme == "wss":
                return await trio.open_ssl_over_tcp_stream(
                    host,
                    parts.port or 443,
                    https_compatible=True,
                    ssl_context=ssl.create_default_context(),
                )
            return await trio.open_tcp_stream(host, parts.port or 80)
    except (OSError, ValueError) as error:  # the latter of a name that is none
        raise ConnectionFailed(f"cannot reach {url}: {error}") from error
    raise ConnectionFailed(f"cannot reach {url}: no answer in {deadline:g} s")


async def _shake_hands(stream: trio.SSLStream[trio.SocketStream], url: str) -> None:
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        raise ConnectionFailed(f"{url} offers no TLS: {error.__cause__ or error}") from error


def _refused(url: str, answer: ConnectionRejected) -> ConnectionFailed:
    text = error_text(bytes(answer.body or b""))
    return ConnectionFailed(
        f"{url} answered {answer.status_code}: {text}".removesuffix(": "),
        retry_after=asked_in_headers(httpx.Headers(list(answer.headers))),
    )


def _first(group: ExceptionGroup[E]) -> E:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _resource(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
