"""Tests of what the endpoints share, by ASGI messages."""

from collections.abc import Iterable
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.api.http import EXCEPTION_HANDLERS, BodyDiscard, ErrorBoundary, read_body
from connect.errors import StoreUnavailable

CHUNK = {"type": "http.request", "body": b"x" * 100, "more_body": True}
LAST = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


class Client:
    """A client that sends messages, and takes each message of the response in its time."""

    def __init__(self, messages: Iterable[Any], *, takes: float = 0.0) -> None:
        self._messages = iter(messages)
        self._takes = takes
        self.left = 0
        self.sent: list[Any] = []
        self.read_before_response = 0
        self.read = 0

    async def receive(self) -> Any:
        await trio.lowlevel.checkpoint()
        for message in self._messages:
            self.read += 1
            return message
        return await trio.sleep_forever()

    async def send(self, message: Any) -> None:
        if not self.sent:
            self.read_before_response = self.read
        await trio.sleep(self._takes)
        self.sent.append(message)


def _app(endpoint: Any, *, most: int = 1000) -> Starlette:
    return Starlette(
        routes=[Route("/", endpoint, methods=["POST"])],
        middleware=[Middleware(BodyDiscard, most=most), Middleware(ErrorBoundary)],
        exception_handlers=EXCEPTION_HANDLERS,
    )


async def _post(app: Starlette, client: Client) -> Client:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [],
        "scheme": "http",
        "server": ("api", 80),
    }
    await app(scope, client.receive, client.send)
    return client


async def _ignore_body(_request: Request) -> Response:
    return Response("ok")


async def _ask_store(_request: Request) -> Response:
    raise StoreUnavailable("no connection to Redis at here:6379: refused")


async def _take_body(request: Request) -> Response:
    return Response(await read_body(request, 1000, timeout=30))


async def test_a_body_that_the_handler_ignored_is_read_before_the_response() -> None:
    client = await _post(_app(_ignore_body), Client([CHUNK, CHUNK, LAST]))

    assert client.read_before_response == 3
    assert client.sent[0]["status"] == 200


async def test_a_body_without_end_is_read_only_so_far_before_the_response() -> None:
    client = await _post(_app(_ignore_body), Client([CHUNK] * 50))

    assert client.read_before_response == 10


async def test_the_rest_of_a_body_is_dropped_while_the_response_goes_out(
    autojump_clock: MockClock,
) -> None:
    client = await _post(_app(_ignore_body), Client([CHUNK] * 50, takes=1))

    assert client.read == 50
    assert len(client.sent) == 2


async def test_a_body_that_does_not_come_delays_the_response_only_so_long(
    autojump_clock: MockClock,
) -> None:
    await _post(_app(_ignore_body), Client([CHUNK]))

    assert trio.current_time() == 10.0  # once for each of the two messages of the response


async def test_a_body_that_takes_too_long_is_a_timeout(autojump_clock: MockClock) -> None:
    client = await _post(_app(_take_body), Client([CHUNK]))

    assert client.sent[0]["status"] == 408


async def test_a_client_that_leaves_in_its_body_gets_no_further() -> None:
    client = await _post(_app(_take_body), Client([CHUNK, GONE]))

    assert client.sent[0]["status"] == 499


async def test_an_error_after_the_beginning_of_a_response_is_logged_and_raised(
    autojump_clock: MockClock,
) -> None:
    async def stream() -> Any:
        yield b"a"
        raise ZeroDivisionError

    async def endpoint(_request: Request) -> Response:
        return StreamingResponse(stream())

    with (
        capture_logs() as logs,
        pytest.RaisesGroup(ZeroDivisionError, allow_unwrapped=True, flatten_subgroups=True),
    ):
        await _post(_app(endpoint), Client([LAST]))

    assert [log["event"] for log in logs] == ["request failed"]


async def test_what_is_no_http_request_passes_through_both() -> None:
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    app = Starlette(
        routes=[WebSocketRoute("/", socket)],
        middleware=[Middleware(BodyDiscard, most=1), Middleware(ErrorBoundary)],
    )
    client = Client([{"type": "websocket.connect"}])
    scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": []}

    await app(scope, client.receive, client.send)

    assert [message["type"] for message in client.sent] == ["websocket.accept", "websocket.close"]


async def test_requests_that_an_outage_fails_are_one_line_in_the_log_every_ten_seconds(
    autojump_clock: MockClock,
) -> None:
    app = _app(_ask_store)
    with capture_logs() as logs:
        for _ in range(40):
            client = await _post(app, Client([LAST]))
            assert client.sent[0]["status"] == 503
            await trio.sleep(0.5)
    assert [(line["event"], line["more"]) for line in logs] == [
        ("state store unavailable", 0),
        ("state store unavailable", 19),
    ]
    assert logs[0]["reason"] == "no connection to Redis at here:6379: refused"
