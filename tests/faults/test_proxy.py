"""The proxy that faults are made with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from tests.support.tcp_proxy import Direction, Proxy, open_proxy


async def _echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(bytes(data))


@asynccontextmanager
async def echo_behind_proxy() -> AsyncIterator[tuple[Proxy, trio.SocketStream]]:
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, _echo, 0, host="127.0.0.1"))
        async with (
            open_proxy(listener.socket.getsockname()) as proxy,
            await trio.open_tcp_stream(proxy.host, proxy.port) as stream,
        ):
            yield proxy, stream
        nursery.cancel_scope.cancel()


async def exchange(stream: trio.SocketStream) -> bytes:
    """Send a byte and return what comes back; nothing, if nothing does within a moment."""
    await stream.send_all(b"x")
    with trio.move_on_after(0.1):
        return bytes(await stream.receive_some())
    return b""


@pytest.mark.parametrize("direction", Direction)
async def test_what_goes_the_dropped_way_is_lost(direction: Direction) -> None:
    async with echo_behind_proxy() as (proxy, stream):
        proxy.drop(direction)
        assert await exchange(stream) == b""


async def test_a_connection_that_lost_bytes_breaks_afterwards() -> None:
    async with echo_behind_proxy() as (proxy, stream):
        proxy.drop(Direction.TO_TARGET)
        await exchange(stream)
        proxy.resume()
        with trio.fail_after(5):
            assert bytes(await stream.receive_some()) == b""


async def test_a_connection_that_lost_nothing_goes_on_afterwards() -> None:
    async with echo_behind_proxy() as (proxy, stream):
        proxy.drop(Direction.TO_TARGET)
        proxy.resume()
        assert await exchange(stream) == b"x"


async def test_connections_go_to_the_target_of_the_moment() -> None:
    async with echo_behind_proxy() as (proxy, _):
        proxy.target = ("127.0.0.1", 1)  # nobody
        async with await trio.open_tcp_stream(proxy.host, proxy.port) as stream:
            with trio.fail_after(5):
                assert bytes(await stream.receive_some()) == b""


async def test_connections_that_come_while_all_are_refused_end_at_once() -> None:
    async with echo_behind_proxy() as (proxy, before):
        with proxy.refusing():
            with trio.fail_after(5):
                assert bytes(await before.receive_some()) == b""
            async with await trio.open_tcp_stream(proxy.host, proxy.port) as stream:
                with trio.fail_after(5):
                    assert bytes(await stream.receive_some()) == b""


async def test_connections_are_taken_again_once_none_is_refused() -> None:
    async with echo_behind_proxy() as (proxy, _):
        with proxy.refusing():
            pass
        async with await trio.open_tcp_stream(proxy.host, proxy.port) as stream:
            assert await exchange(stream) == b"x"
