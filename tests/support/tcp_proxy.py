"""A TCP proxy for tests that delays, stalls and cuts what goes through it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["Proxy", "open_proxy"]


class Proxy:
    """A running proxy; made by `open_proxy`.

    Attributes:
        port: of 127.0.0.1, to connect to.
        delay: seconds that each piece is held back, either way; may be set at any time.
        piece: bytes that are passed on at once; small ones let a cut hit inside a message.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.port = 0
        self.delay = 0.0
        self.piece = 65536
        self._target = target
        self._connections: set[trio.CancelScope] = set()
        self._running = trio.Event()
        self._running.set()

    def cut(self) -> None:
        """Break every connection there is; new ones are taken."""
        for connection in self._connections:
            connection.cancel()

    def stall(self) -> None:
        """Pass nothing on; connections stay open, and new ones are taken."""
        if self._running.is_set():
            self._running = trio.Event()

    def resume(self) -> None:
        """Pass on again, first of all what was held back."""
        self._running.set()

    async def _serve(self, outside: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with (
                    outside,
                    await trio.open_tcp_stream(*self._target) as inside,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(self._pass_on, outside, inside, scope)
                    await self._pass_on(inside, outside, scope)
            except OSError:
                pass  # nobody listens at the target: the connection ends
            finally:
                self._connections.discard(scope)

    async def _pass_on(
        self, source: trio.SocketStream, sink: trio.SocketStream, connection: trio.CancelScope
    ) -> None:
        """Copy until either side ends; then both do."""
        try:
            while data := await source.receive_some(self.piece):
                if self.delay:
                    await trio.sleep(self.delay)
                await self._running.wait()
                await sink.send_all(bytes(data))
        except trio.BrokenResourceError:
            pass  # ended rudely, which is what proxies of this kind are for
        connection.cancel()


@asynccontextmanager
async def open_proxy(target: tuple[str, int]) -> AsyncIterator[Proxy]:
    """Run a proxy for the length of the block.

    Args:
        target: host and port of the server behind it.
    """
    proxy = Proxy(target)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy.port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy._serve, [listener])
        try:
            yield proxy
        finally:
            nursery.cancel_scope.cancel()
