"""The bridge against plain grpclib, and against the official gRPC client."""

import asyncio
import importlib
from functools import partial
from typing import Any

import pytest
import trio
from grpclib import GRPCError, Status
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality
from grpclib.const import Handler as Method
from grpclib.encoding.base import CodecBase
from grpclib.server import Server

from connect.rpc.bridge import open_bridge
from connect.rpc.errors import RpcError, RpcStatus
from tests.rpc.loopback import ECHO, LOCALHOST, WAIT, echo, failure, serving

# Without its types: one call is all that is needed of it.
grpc: Any = importlib.import_module("grpc")


class Raw(CodecBase):
    """Bytes as they are, for plain grpclib."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        assert isinstance(message, bytes)
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


async def test_a_plain_grpclib_client_is_served() -> None:
    async with serving({ECHO: echo}) as (bridge, channel, _):

        async def call() -> bytes:
            async with Channel(channel._host, channel._port, codec=Raw()) as plain:
                method = UnaryUnaryMethod[bytes, bytes](plain, ECHO, bytes, bytes)
                reply = await method(b"hello", timeout=5)
                assert reply is not None
                return reply

        assert await bridge.loop.run_aio_coroutine(call()) == b"hello"


async def test_a_plain_grpclib_server_is_called() -> None:
    class Service:
        async def echo(self, stream: Any) -> None:
            message = await stream.recv_message()
            if message == b"fail":
                raise GRPCError(Status.ABORTED, "as asked")
            await stream.send_message(message)

        def __mapping__(self) -> dict[str, Method]:
            return {ECHO: Method(self.echo, Cardinality.UNARY_UNARY, bytes, bytes)}

    async with open_bridge() as bridge:

        async def start() -> Server:
            server = Server([Service()], codec=Raw())
            await server.start(LOCALHOST, 0)
            return server

        server = await bridge.loop.run_aio_coroutine(start())
        assert isinstance(server._server, asyncio.Server)
        channel = bridge.connect(LOCALHOST, server._server.sockets[0].getsockname()[1])
        assert await channel.call(ECHO, b"hello", timeout=5) == b"hello"
        error = await failure(channel, data=b"fail")
        assert (error.status, error.message) == (RpcStatus.ABORTED, "as asked")
        server.close()


async def test_a_client_lost_while_a_large_reply_waits_for_room_frees_the_server() -> None:
    async def inflate(data: bytes) -> bytes:
        return bytes(6_000_000)

    with trio.fail_after(5):
        async with serving({ECHO: inflate}, grace=30) as (bridge, channel, _):

            async def ask_and_leave() -> None:
                plain = Channel(channel._host, channel._port, codec=Raw())
                async with plain.request(ECHO, Cardinality.UNARY_UNARY, bytes, bytes) as stream:
                    await stream.send_message(b"", end=True)
                    await stream.recv_initial_metadata()
                    plain.close()

            await bridge.loop.run_aio_coroutine(ask_and_leave())


async def test_a_call_of_another_content_type_is_refused() -> None:
    class Json(Raw):
        __content_subtype__ = "json"

    async with serving({ECHO: echo}) as (bridge, channel, _):

        async def call() -> None:
            async with Channel(channel._host, channel._port, codec=Json()) as plain:
                await UnaryUnaryMethod[bytes, bytes](plain, ECHO, bytes, bytes)(b"", timeout=5)

        with pytest.raises(GRPCError):
            await bridge.loop.run_aio_coroutine(call())


async def test_a_call_without_a_message_is_refused() -> None:
    async with serving({ECHO: echo}) as (bridge, channel, _):

        async def call() -> None:
            async with (
                Channel(channel._host, channel._port, codec=Raw()) as plain,
                plain.request(ECHO, Cardinality.STREAM_UNARY, bytes, bytes, timeout=5) as stream,
            ):
                await stream.send_request(end=True)
                await stream.recv_message()

        with pytest.raises(GRPCError, match="exactly one complete message"):
            await bridge.loop.run_aio_coroutine(call())


async def test_a_server_that_allows_few_calls_at_once_gets_them_one_after_another() -> None:
    """grpclib's own server allows 100 calls per connection."""

    class Service:
        async def echo(self, stream: Any) -> None:
            await stream.send_message(await stream.recv_message())

        def __mapping__(self) -> dict[str, Method]:
            return {ECHO: Method(self.echo, Cardinality.UNARY_UNARY, bytes, bytes)}

    async with open_bridge() as bridge:

        async def start() -> Server:
            server = Server([Service()], codec=Raw())
            await server.start(LOCALHOST, 0)
            return server

        server = await bridge.loop.run_aio_coroutine(start())
        channel = bridge.connect(LOCALHOST, server._server.sockets[0].getsockname()[1])
        await channel.call(ECHO, b"its settings are known after this", timeout=5)
        async with trio.open_nursery() as nursery:
            for _ in range(150):
                nursery.start_soon(partial(channel.call, ECHO, b"x", timeout=20))
        server.close()


async def test_the_official_client_is_served() -> None:
    async def fail(data: bytes) -> bytes:
        raise RpcError(RpcStatus.FAILED_PRECONDITION, "not now")

    def call(address: str) -> tuple[bytes, tuple[object, str]]:
        with grpc.insecure_channel(address) as plain:
            reply = plain.unary_unary(ECHO)(b"hello", timeout=5)
            with pytest.raises(grpc.RpcError) as caught:
                plain.unary_unary(WAIT)(b"hello", timeout=5)
            return reply, (caught.value.code(), caught.value.details())

    async with serving({ECHO: echo, WAIT: fail}) as (_, channel, _):
        reply, error = await trio.to_thread.run_sync(call, f"{channel._host}:{channel._port}")
    assert reply == b"hello"
    assert error == (grpc.StatusCode.FAILED_PRECONDITION, "not now")
