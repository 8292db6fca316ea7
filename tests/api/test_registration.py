"""The client of a registration API, against HTTP servers on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from connect.api import bind, serve_http
from connect.api.registration import RegistrationClient, open_registration_client
from connect.errors import RegistrationUnavailable
from tests.support.redis_server import free_port


@asynccontextmanager
async def _client(
    answer: Response, prefix: str = ""
) -> AsyncIterator[tuple[RegistrationClient, list[Request]]]:
    """Open a client of an API that gives one answer; also what it was asked."""
    asked: list[Request] = []

    async def register(request: Request) -> Response:
        await request.body()
        asked.append(request)
        return answer

    app = Starlette(routes=[Route(f"{prefix}/fn/register", register, methods=["POST"])])
    bound = bind("127.0.0.1", 0, "a test")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            host, port = await nursery.start(serve_http, app, bound)
            url = f"http://{host}:{port}{prefix}/"
            async with open_registration_client(url, connections=2) as client:
                yield client, asked
            nursery.cancel_scope.cancel()


async def test_a_registration_is_posted_with_its_token() -> None:
    async with _client(Response(b"{}")) as (client, asked):
        await client.register(b'{"a": 1}', token="signkey-test-12", sdk="py:0.5.0", env="branch")
    [request] = asked
    assert await request.body() == b'{"a": 1}'
    assert request.headers["authorization"] == "Bearer signkey-test-12"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-inngest-sdk"] == "py:0.5.0"
    assert request.headers["x-inngest-env"] == "branch"


async def test_what_is_empty_has_no_header() -> None:
    async with _client(Response(b"{}")) as (client, asked):
        await client.register(b"{}", token="", sdk="py:1", env="")
    assert not {"authorization", "x-inngest-env"} & set(asked[0].headers)


async def test_what_cannot_stand_in_a_header_is_left_out() -> None:
    async with _client(Response(b"{}")) as (client, asked):
        await client.register(b"{}", token="", sdk=" py:\r\nx: 1ö", env="bränch")
    assert asked[0].headers["x-inngest-sdk"] == "py:x: 1"
    assert asked[0].headers["x-inngest-env"] == "brnch"


async def test_status_and_body_are_returned_as_they_came() -> None:
    async with _client(Response(b'{"code": "no"}', status_code=422)) as (client, _):
        answer = await client.register(b"{}", token="t", sdk="", env="")
    assert answer == (422, b'{"code": "no"}')


async def test_the_base_url_may_have_a_path() -> None:
    async with _client(Response(b"{}"), prefix="/api") as (client, _):
        assert (await client.register(b"{}", token="", sdk="", env=""))[0] == 200


async def test_a_redirection_is_not_followed() -> None:
    async with _client(RedirectResponse("http://127.0.0.1:1/")) as (client, _):
        assert (await client.register(b"{}", token="t", sdk="", env=""))[0] == 307


async def test_an_answer_of_more_than_a_mebibyte_is_an_error() -> None:
    async with _client(Response(b"x" * (1024 * 1024 + 1))) as (client, _):
        with pytest.raises(RegistrationUnavailable, match="answered more than 1048576 bytes"):
            await client.register(b"{}", token="", sdk="", env="")


async def test_nobody_there_is_said_with_the_address() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with open_registration_client(url, connections=1) as client:
        with pytest.raises(RegistrationUnavailable) as caught:
            await client.register(b"{}", token="", sdk="", env="")
    assert str(caught.value).startswith(f"no answer from {url}/fn/register: ")


async def test_nobody_there_is_said_without_the_password_of_the_address() -> None:
    url = f"http://u:hunter2@127.0.0.1:{free_port()}"
    async with open_registration_client(url, connections=1) as client:
        with pytest.raises(RegistrationUnavailable) as caught:
            await client.register(b"{}", token="", sdk="", env="")
    assert str(caught.value).startswith("no answer from http://u:********@127.0.0.1:")


async def test_a_registration_that_is_cancelled_leaves_the_client_usable() -> None:
    slow = trio.Event()

    class Slow(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if not slow.is_set():
                await slow.wait()
            await super().__call__(scope, receive, send)

    async with _client(Slow(b"{}")) as (client, _):
        with trio.move_on_after(0.2) as given_up:
            await client.register(b"{}", token="", sdk="", env="")
        slow.set()
        assert given_up.cancelled_caught
        assert await client.register(b"{}", token="", sdk="", env="") == (200, b"{}")
