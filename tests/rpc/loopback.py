"""A server on loopback, and a channel to it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from connect.rpc.bridge import Bridge, RpcHandler, open_bridge
from connect.rpc.channel import RpcChannel
from connect.rpc.errors import RpcError

ECHO = "/test.Service/Echo"
WAIT = "/test.Service/Wait"
LOCALHOST = "127.0.0.1"


async def echo(data: bytes) -> bytes:
    return data


@asynccontextmanager
async def serving(
    handlers: Mapping[str, RpcHandler], *, grace: float = 5, **settings: Any
) -> AsyncIterator[tuple[Bridge, RpcChannel, trio.CancelScope]]:
    """Serve on loopback: the bridge, a channel to it, and what cancels the server."""
    async with open_bridge(**settings) as bridge, trio.open_nursery() as nursery:
        stopping = trio.CancelScope()

        async def serve(*, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
            with stopping:
                await bridge.serve(
                    handlers, host=LOCALHOST, port=0, grace=grace, task_status=task_status
                )

        host, port = await nursery.start(serve)
        yield bridge, bridge.connect(host, port), stopping
        nursery.cancel_scope.cancel()


async def failure(channel: RpcChannel, path: str = ECHO, data: bytes = b"x") -> RpcError:
    with pytest.raises(RpcError) as caught:
        await channel.call(path, data, timeout=5)
    return caught.value
