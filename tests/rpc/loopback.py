"""A server on loopback, and a channel to it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from connect.rpc import framing
from connect.rpc.bridge import Bridge, RpcHandler, StreamHandler, open_bridge
from connect.rpc.channel import RpcChannel
from connect.rpc.errors import RpcError
from connect.rpc.message_stream import ClientStream
from connect.rpc.send_queue import SendQueue

ECHO = "/test.Service/Echo"
STREAM = "/test.Service/Stream"
WAIT = "/test.Service/Wait"
LOCALHOST = "127.0.0.1"


async def echo(data: bytes) -> bytes:
    return data


@asynccontextmanager
async def serving(
    handlers: Mapping[str, RpcHandler],
    *,
    streams: Mapping[str, StreamHandler] | None = None,
    grace: float = 5,
    **settings: Any,
) -> AsyncIterator[tuple[Bridge, RpcChannel, trio.CancelScope]]:
    """Serve on loopback: the bridge, a channel to it, and what cancels the server."""
    async with open_bridge(**settings) as bridge, trio.open_nursery() as nursery:
        stopping = trio.CancelScope()

        async def serve(*, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
            with stopping:
                await bridge.serve(
                    handlers,
                    host=LOCALHOST,
                    port=0,
                    streams=streams,
                    grace=grace,
                    task_status=task_status,
                )

        host, port = await nursery.start(serve)
        yield bridge, bridge.connect(host, port), stopping
        nursery.cancel_scope.cancel()


async def failure(channel: RpcChannel, path: str = ECHO, data: bytes = b"x") -> RpcError:
    with pytest.raises(RpcError) as caught:
        await channel.call(path, data, timeout=5)
    return caught.value


class Client:
    """A stream with nothing around it: what came, and a queue to send with."""

    stream: ClientStream

    def __init__(self, take: Callable[[bytes], None] | None = None) -> None:
        self.received: list[bytes] = []
        self.queue = SendQueue()
        self.ended = trio.Event()
        self._take = take
        self._arrived = trio.Event()

    def take(self, message: bytes) -> None:
        if self._take is not None:
            self._take(message)
        self.received.append(message)
        self._arrived.set()

    async def send(self, *messages: bytes) -> None:
        for message in messages:
            await self.queue.send(framing.encode_message(message))

    async def receive(self, count: int) -> list[bytes]:
        """Return everything received, once it is so many messages."""
        with trio.fail_after(10):
            while len(self.received) < count:
                self._arrived = trio.Event()
                await self._arrived.wait()
        return self.received

    async def failure(self) -> RpcError:
        """Wait for the end of the stream; return why it ended."""
        with trio.fail_after(10):
            await self.ended.wait()
        assert self.stream.failure is not None
        return self.stream.failure

    async def pump(self) -> None:
        await self.stream.pump(self.queue)
        self.ended.set()


@asynccontextmanager
async def streaming(
    channel: RpcChannel, path: str = STREAM, take: Callable[[bytes], None] | None = None
) -> AsyncIterator[Client]:
    """Have a stream open; what `take` raises ends it."""
    client = Client(take)
    async with (
        channel.stream(path, client.take, timeout=5) as stream,
        trio.open_nursery() as nursery,
    ):
        client.stream = stream
        nursery.start_soon(client.pump)
        yield client
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    """Let everything go on until the condition holds."""
    with trio.fail_after(10):
        while not condition():
            await trio.testing.wait_all_tasks_blocked(0.001)
