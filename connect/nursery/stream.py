"""The byte stream below a worker's WebSocket."""

import trio

__all__ = ["WorkerStream"]


class WorkerStream(trio.abc.Stream):
    """A stream that knows since when a write has been going on.

    The WebSocket library writes by itself, too: it answers pings in the task that reads. So
    a worker that sends and doesn't read may block it where `pump` sees no write.

    Args:
        stream: the socket's; whoever has it closes it.
        prefix: bytes that have been read from it already.

    Attributes:
        write_began: when the write that goes on now began (Trio clock); infinity without one.
    """

    def __init__(self, stream: trio.abc.Stream, prefix: bytes = b"") -> None:
        self._stream = stream
        self._prefix = prefix
        self.write_began = float("inf")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.write_began = trio.current_time()
        try:
            await self._stream.send_all(data)
        finally:
            self.write_began = float("inf")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._prefix:
            await trio.lowlevel.checkpoint()
            data, self._prefix = self._prefix, b""
            return data
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Leave the closing to the stream's owner, who lingers first."""
        await trio.lowlevel.checkpoint()
