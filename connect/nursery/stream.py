"""The byte stream below a worker's WebSocket."""

import trio

__all__ = ["STRANGER_BYTES", "WorkerStream"]


# Of a worker that has not joined, so many bytes are read at a time. The WebSocket library goes
# through all frames of what it has read without giving way: some milliseconds, at the most, for
# so many bytes of the smallest frames. Most hellos come in one piece all the same.
STRANGER_BYTES = 4096


class WorkerStream(trio.abc.Stream):
    """A stream that knows since when a write has been going on.

    The WebSocket library writes by itself, too: it answers pings in the task that reads. So
    a worker that sends and doesn't read may block it where `pump` sees no write.

    Until its worker has joined it is read in small pieces, as anybody may send anything.

    Args:
        stream: the socket's; whoever has it closes it.
        prefix: bytes that have been read from it already.

    Attributes:
        write_began: when the write that goes on now began (Trio clock); infinity without one.
        joined: whether the worker has joined; set by who reads its messages.
    """

    def __init__(self, stream: trio.abc.Stream, prefix: bytes = b"") -> None:
        self._stream = stream
        self._prefix = prefix
        self.write_began = float("inf")
        self.joined = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.write_began = trio.current_time()
        try:
            await self._stream.send_all(data)
        finally:
            self.write_began = float("inf")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self.joined:
            max_bytes = min(max_bytes or STRANGER_BYTES, STRANGER_BYTES)
        if self._prefix:
            await trio.lowlevel.checkpoint()
            most = len(self._prefix) if max_bytes is None else max_bytes
            data, self._prefix = self._prefix[:most], self._prefix[most:]
            return data
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Leave the closing to the stream's owner, who lingers first."""
        await trio.lowlevel.checkpoint()
