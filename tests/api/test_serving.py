"""Tests of serving, on real sockets of the loopback interface."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connect.api import bind, serve_http
from connect.errors import ConfigurationError
from connect.settings import Limits, Settings
from tests.api.fakes import open_api
from tests.runs.fakes import done

HOST = "127.0.0.1"


@asynccontextmanager
async def _serving(app: Any, **options: Any) -> AsyncIterator[tuple[trio.Nursery, int]]:
    bound = bind(HOST, 0, "a test")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            host, port = await nursery.start(partial(serve_http, app, bound, **options))
            assert host == HOST
            yield nursery, port
            nursery.cancel_scope.cancel()


async def test_requests_are_served_on_the_bound_port() -> None:
    async with (
        open_api() as api,
        _serving(api.app) as (_, port),
        httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as client,
    ):
        first = await client.get("/health")
        second = await client.get("/health")

    assert (first.status_code, second.status_code) == (200, 200)
    assert "server" not in first.headers


async def test_http_2_is_served_without_tls() -> None:
    async with (
        open_api() as api,
        _serving(api.app) as (_, port),
        httpx.AsyncClient(http1=False, http2=True) as client,
    ):
        response = await client.get(f"http://{HOST}:{port}/health")

    assert (response.status_code, response.http_version) == (200, "HTTP/2")


async def test_a_port_in_use_is_told_in_one_line() -> None:
    with bind(HOST, 0, "the API") as taken:
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError) as caught:
            bind(HOST, port, "the API")

    assert str(caught.value) == (
        f"cannot listen on {HOST}:{port} for the API: address already in use;"
        " stop the other process or choose another port"
    )


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        (
            "no.such.host.invalid",
            80,
            "cannot listen on no.such.host.invalid:80 for the API: no such",
        ),
        ("192.0.2.1", 80, "cannot listen on 192.0.2.1:80 for the API: cannot assign requested"),
        ("2001:db8::1", 80, "cannot listen on [2001:db8::1]:80 for the API: "),
        (HOST, 70000, f"cannot listen on {HOST}:70000 for the API: ports go from 0 to 65535"),
        ("a" * 70 + ".x", 80, "cannot listen on "),
    ],
)
def test_an_address_that_cannot_be_bound_is_told_in_one_line(
    host: str, port: int, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bind(host, port, "the API")

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_unspecified_ipv6_address_takes_ipv4_too() -> None:
    try:
        bound = bind("::", 0, "the API")
    except ConfigurationError:
        return  # a machine without IPv6
    with bound:
        assert bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0


async def test_a_request_in_progress_has_time_to_finish_when_serving_is_cancelled() -> None:
    arrived, finish = trio.Event(), trio.Event()
    answers: list[int] = []

    async def endpoint(_request: Request) -> Response:
        arrived.set()
        await finish.wait()
        return Response("done")

    async def request(port: int) -> None:
        async with httpx.AsyncClient() as client:
            answers.append((await client.get(f"http://{HOST}:{port}/")).status_code)

    async with trio.open_nursery() as clients:
        app = Starlette(routes=[Route("/", endpoint)])
        async with _serving(app) as (nursery, port):
            clients.start_soon(request, port)
            await arrived.wait()
            nursery.cancel_scope.cancel()
            clients.start_soon(_set_later, finish)

    assert answers == [200]


async def _set_later(event: trio.Event) -> None:
    await trio.sleep(0.05)
    event.set()


async def test_a_request_that_does_not_finish_is_cancelled_after_the_grace() -> None:
    arrived, cancelled = trio.Event(), trio.Event()

    async def endpoint(_request: Request) -> Response:
        arrived.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async def request(port: int) -> None:
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.TransportError):
                await client.get(f"http://{HOST}:{port}/", timeout=10)

    async with trio.open_nursery() as clients:
        app = Starlette(routes=[Route("/", endpoint)])
        async with _serving(app, grace=0.05) as (nursery, port):
            clients.start_soon(request, port)
            await arrived.wait()
            nursery.cancel_scope.cancel()

    assert cancelled.is_set()


async def test_a_request_in_progress_may_finish_until_the_deadline() -> None:
    arrived = trio.Event()

    async def endpoint(_request: Request) -> Response:
        arrived.set()
        await trio.sleep(0.3)
        return Response("late")

    answers: list[str] = []

    async def request(port: int) -> None:
        async with httpx.AsyncClient() as client:
            answers.append((await client.get(f"http://{HOST}:{port}/", timeout=10)).text)

    async with trio.open_nursery() as clients:
        app = Starlette(routes=[Route("/", endpoint)])
        soon = trio.current_time() + 15
        async with _serving(app, grace=0.05, deadline=lambda: soon) as (nursery, port):
            clients.start_soon(request, port)
            await arrived.wait()
            nursery.cancel_scope.cancel()

    assert answers == ["late"]


async def test_an_idle_connection_does_not_delay_the_end() -> None:
    async with open_api() as api, httpx.AsyncClient() as client:
        began = trio.current_time()
        async with _serving(api.app, grace=10) as (_, port):
            await client.get(f"http://{HOST}:{port}/health")

    assert trio.current_time() - began < 5


async def test_the_run_ends_when_the_client_of_an_invocation_closes_its_socket() -> None:
    arrived, ended = trio.Event(), trio.Event()

    async def hang(_payload: object, _request: object) -> Any:
        arrived.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with open_api(script=hang) as api, _serving(api.app) as (_, port):

        async def request() -> None:
            async with httpx.AsyncClient() as client:
                await client.post(
                    f"http://{HOST}:{port}/v0/invoke", json={"function": "shop-pay", "data": {}}
                )

        async with trio.open_nursery() as clients:
            clients.start_soon(request)
            await arrived.wait()
            clients.cancel_scope.cancel()
        with trio.fail_after(5):
            await ended.wait()

    assert ended.is_set()


@pytest.mark.parametrize("path", ["/nowhere", "/v0/connect/start"])
async def test_a_large_body_that_nobody_wants_neither_hides_the_answer_nor_blocks(
    path: str,
) -> None:
    settings = Settings(limits=Limits(start_body_bytes=1000, message_bytes=4_000_000))
    body = b"x" * 3_000_000
    async with (
        open_api(settings=settings, script=[done()]) as api,
        _serving(api.app, grace=10) as (_, port),
        httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as client,
    ):
        large = await client.post(path, content=body)
        after = await client.get("/health")

    assert large.status_code == (404 if path == "/nowhere" else 413)
    assert after.status_code == 200


async def test_a_client_that_does_not_take_its_response_is_dropped() -> None:
    async def endpoint(_request: Request) -> Response:
        return Response(b"x" * 50_000_000)

    app = Starlette(routes=[Route("/", endpoint)])
    began = trio.current_time()
    client = await trio.to_thread.run_sync(socket.socket)
    with client:
        async with _serving(app, grace=0.1, write_timeout=0.3) as (_, port):
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
            await stream.socket.connect((HOST, port))
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            await stream.receive_some(100)
        await stream.aclose()

    assert trio.current_time() - began < 10
