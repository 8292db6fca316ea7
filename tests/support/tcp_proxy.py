"""A TCP proxy for tests that delays, stalls, drops and cuts what goes through it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import Enum, auto

import trio

__all__ = ["Direction", "Proxy", "open_proxy"]


class Direction(Enum):
    """Which way bytes go through a proxy."""

    TO_TARGET = auto()
    FROM_TARGET = auto()


class Proxy:
    """A running proxy; made by `open_proxy`.

    Attributes:
        host, port: to connect to.
        target: host and port of the server behind it, for connections that come from now on.
        delay: seconds that each piece is held back, either way; may be set at any time.
        piece: bytes that are passed on at once; small ones let a cut hit inside a message.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.host, self.port = "", 0
        self.target = target
        self.delay = 0.0
        self.piece = 65536
        self._refusing = False
        self._connections: set[trio.CancelScope] = set()
        self._lossy: set[trio.CancelScope] = set()
        self._dropped: Direction | None = None
        self._running = trio.Event()
        self._running.set()

    def cut(self) -> None:
        """Break every connection there is; new ones are taken."""
        for connection in self._connections:
            connection.cancel()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Break every connection, and those that come, until the end of the block."""
        self._refusing = True
        self.cut()
        try:
            yield
        finally:
            self._refusing = False

    def stall(self) -> None:
        """Pass nothing on; connections stay open, and new ones are taken."""
        if self._running.is_set():
            self._running = trio.Event()

    def drop(self, direction: Direction) -> None:
        """Lose what goes one way; the other way all is well."""
        self._dropped = direction

    def resume(self) -> None:
        """Pass on again, first of all what was held back.

        Connections of which bytes were lost break: a peer would have sent them again in
        vain, for so long that it gave up.
        """
        self._dropped = None
        self._running.set()
        for connection in self._lossy:
            connection.cancel()

    async def _serve(self, outside: trio.SocketStream) -> None:
        if self._refusing:
            await outside.aclose()
            return
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with (
                    outside,
                    await trio.open_tcp_stream(*self.target) as inside,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(self._pass_on, outside, inside, scope, Direction.TO_TARGET)
                    await self._pass_on(inside, outside, scope, Direction.FROM_TARGET)
            except OSError:
                pass  # nobody listens at the target: the connection ends
            finally:
                self._connections.discard(scope)
                self._lossy.discard(scope)

    async def _pass_on(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        connection: trio.CancelScope,
        direction: Direction,
    ) -> None:
        """Copy until either side ends; then both do."""
        try:
            while data := await source.receive_some(self.piece):
                if self.delay:
                    await trio.sleep(self.delay)
                await self._running.wait()
                if self._dropped is direction:
                    self._lossy.add(connection)
                else:
                    await sink.send_all(bytes(data))
        except trio.BrokenResourceError:
            pass  # ended rudely, which is what proxies of this kind are for
        connection.cancel()


@asynccontextmanager
async def open_proxy(
    target: tuple[str, int], *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Proxy]:
    """Run a proxy for the length of the block.

    Args:
        target: host and port of the server behind it.
        host, port: to listen on; 0 is a port that is free.
    """
    proxy = Proxy(target)
    [listener] = await trio.open_tcp_listeners(port, host=host)
    proxy.host, proxy.port = listener.socket.getsockname()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy._serve, [listener])
        try:
            yield proxy
        finally:
            nursery.cancel_scope.cancel()
