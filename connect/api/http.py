"""What all HTTP endpoints share: JSON errors, bounded bodies, and who may call."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import structlog
import trio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connect.errors import StoreUnavailable, Syscode
from connect.logs import SparseLog
from connect.protocol.tokens import SigningKeys
from connect.runs import jsontext

__all__ = [
    "CLIENT_CLOSED_REQUEST",
    "EXCEPTION_HANDLERS",
    "STORE_UNAVAILABLE",
    "Access",
    "ApiError",
    "BodyDiscard",
    "ErrorBoundary",
    "error_response",
    "json_response",
    "json_time",
    "protobuf_response",
    "read_body",
    "store_unavailable",
]

_log = structlog.get_logger(__name__)

# A client that has gone has no status of its own in HTTP; this one is customary.
CLIENT_CLOSED_REQUEST = 499

# The code of what cannot be done without the state store.
STORE_UNAVAILABLE = "store_unavailable"

# Between two lines in the log about requests that an outage of the store has failed, in seconds.
_LOG_SECONDS = 10.0

# What is logged of them, by the run of the service.
_outages: trio.lowlevel.RunVar[SparseLog] = trio.lowlevel.RunVar("outages")


class ApiError(Exception):
    """An error response.

    Attributes:
        status: the HTTP status.
        message: one sentence for people.
        code: a machine-readable name, where there is one.
        details: further members of the JSON object.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **details: object,
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers
        self.details = details


def json_response(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a value as a JSON response."""
    return Response(jsontext.dump(value), status, headers, "application/json")


def json_time(unix_ms: int) -> str | None:
    """Return a moment (unix milliseconds) as JSON shows it; None for one that is none."""
    if not unix_ms:
        return None
    try:
        moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # what another process stored need not be a time
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def protobuf_response(data: bytes) -> Response:
    """Return an encoded message as a response (Connect protocol, section 3)."""
    return Response(data, media_type="application/octet-stream")


def error_response(
    status: int,
    message: str,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    **details: object,
) -> Response:
    """Return the JSON form that all errors have (Connect protocol, section 3)."""
    shown: dict[str, Any] = {"error": message}
    if code is not None:
        shown["code"] = code
    return json_response(shown | {"status": status} | details, status, headers)


async def read_body(request: Request, limit: int, *, timeout: float = 30.0) -> bytes:
    """Return the body of a request.

    Args:
        limit: the most bytes to take.
        timeout: seconds for the body to arrive.

    Raises:
        ApiError: 413, the body is larger; 408, it did not arrive in time; 499, the
            client went away.
    """
    too_large = ApiError(413, f"the body is larger than {limit} bytes", code="body_too_large")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    body = bytearray()
    try:
        with trio.move_on_after(timeout):
            async with aclosing(request.stream()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > limit:
                        raise too_large
            return bytes(body)
    except ClientDisconnect:
        raise ApiError(CLIENT_CLOSED_REQUEST, "the client went away") from None
    raise ApiError(408, f"the body did not arrive within {timeout:g} s")


class Access:
    """Admits requests that present a signing key, when keys are configured."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def presented(self, request: Request) -> str:
        """Return the key that the request presents; empty if it needs none and has none.

        Raises:
            ApiError: 401, a key is required, and this is none of them.
        """
        key = self._keys.from_authorization(request.headers.get("authorization"))
        if self._keys.required and not self._keys.accepts(key):
            raise ApiError(
                401,
                "a signing key is required" if key is None else "the signing key is not known",
                code=Syscode.AUTHENTICATION_FAILED,
                headers={"WWW-Authenticate": "Bearer"},
            )
        return key or ""


async def _api_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(
        error.status, error.message, code=error.code, headers=error.headers, **error.details
    )


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {
        404: f"there is nothing at {request.url.path}",
        405: f"{request.method} is not allowed at {request.url.path}",
    }
    message = messages.get(error.status_code, error.detail)
    return error_response(error.status_code, message, headers=error.headers)


def store_unavailable(error: Exception) -> Response:
    """Return the response for a state store that does not answer, and log it now and then."""
    try:
        log = _outages.get()
    except LookupError:
        log = SparseLog(_LOG_SECONDS)
        _outages.set(log)
    log.warning("state store unavailable", kind=STORE_UNAVAILABLE, reason=str(error))
    return error_response(503, "the state store does not answer", code=STORE_UNAVAILABLE)


async def _store_unavailable(_request: Request, error: Exception) -> Response:
    return store_unavailable(error)


EXCEPTION_HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    ApiError: _api_error,
    HTTPException: _http_exception,
    StoreUnavailable: _store_unavailable,
}


class ErrorBoundary:
    """Answers 500 to what no handler foresaw, and logs it; the client learns no more."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except Exception:
            # The last resort for whatever one request did wrong.
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            if started:
                raise
            response = error_response(500, "something went wrong here", code="internal_error")
            await response(scope, receive, send)


class BodyDiscard:
    """Reads what a handler left of the request's body before its response goes out.

    The server queues only so much of a body that nobody reads; a response that is sent
    while its queue is full would leave the connection stuck for good. And a client that
    is cut off while sending may never see the response. So up to `most` bytes are awaited
    for up to `timeout` seconds; whatever comes then is dropped while the response is sent.

    Args:
        most: bytes.
        timeout: seconds.
    """

    def __init__(self, app: ASGIApp, *, most: int, timeout: float = 5.0) -> None:
        self._app = app
        self._most = most
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive)

        async def send_after_body(message: Message) -> None:
            if not body.over:
                with trio.move_on_after(self._timeout):
                    await body.discard(self._most)
            if body.over:
                await send(message)
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(body.discard)
                await send(message)
                nursery.cancel_scope.cancel()

        await self._app(scope, body.receive, send_after_body)


class _Body:
    """A request's body on its way to the handler."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.over = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.over = True
        return message

    async def discard(self, most: float = float("inf")) -> None:
        while not self.over and most > 0:
            most -= len((await self.receive()).get("body", b""))
