"""HTTP over the simulated network: workers' requests to the real API."""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import trio
from starlette.applications import Starlette

from tests.simulation.network import End, Network, Refused

__all__ = ["SimulatedTransport", "serve_request"]

_LOST = (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel)


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    url: httpx.URL
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Answered:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class SimulatedTransport(httpx.AsyncBaseTransport):
    """What an HTTP client of one host sends through; one connection for each request."""

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._host = host

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        asked = _Asked(request.method, request.url, request.headers.raw, body)
        with trio.move_on_after(request.extensions["timeout"]["read"]):
            try:
                end = await self._network.dial(self._host, request.url.host, request.url.port or 80)
            except Refused as error:
                raise httpx.ConnectError(str(error), request=request) from error
            try:
                end.put(asked)
                answered: _Answered = await end.receive()
            except _LOST as error:
                raise httpx.ReadError("the connection is lost", request=request) from error
            finally:
                end.close()
            return httpx.Response(
                answered.status, headers=answered.headers, content=answered.body, request=request
            )
        raise httpx.ReadTimeout("no answer in time", request=request)


async def serve_request(app: Starlette, end: End) -> None:
    """Have an application answer the one request that a connection brings."""
    with suppress(*_LOST):
        try:
            asked: _Asked = await end.receive()
            end.put(await _run(app, asked))
        finally:
            end.close()


async def _run(app: Starlette, asked: _Asked) -> _Answered:
    scope: MutableMapping[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked.method,
        "headers": [(name.lower(), value) for name, value in asked.headers],
        "scheme": asked.url.scheme,
        "path": asked.url.path,
        "raw_path": asked.url.raw_path,
        "query_string": asked.url.query,
        "root_path": "",
        "server": (asked.url.host, asked.url.port),
        "client": ("10.0.0.1", 1),
    }
    head: dict[str, Any] = {}
    body = bytearray()
    receive, send = _application_side(asked.body, head, body)
    await app(scope, receive, send)
    return _Answered(head["status"], list(head["headers"]), bytes(body))


def _application_side(
    request_body: bytes, head: dict[str, Any], body: bytearray
) -> tuple[
    Callable[[], Awaitable[MutableMapping[str, Any]]],
    Callable[[MutableMapping[str, Any]], Awaitable[None]],
]:
    unread = [request_body]

    async def receive() -> MutableMapping[str, Any]:
        await trio.lowlevel.checkpoint()
        if not unread:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": unread.pop(), "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            head.update(message)
        else:
            body.extend(message.get("body", b""))

    return receive, send
