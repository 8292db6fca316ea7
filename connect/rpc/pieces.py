"""Putting together what arrives on a stream in pieces."""

from collections.abc import Callable
from dataclasses import dataclass, field

from connect.errors import MalformedMessage
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.http2 import keep_chunk
from connect.rpc.intake import NO_ROOM

__all__ = ["Pieces"]

# Unfinished messages that one peer may have; ours begin at most half as many.
_UNFINISHED = 8


@dataclass(slots=True)
class _Unfinished:
    head: str
    chunks: list[bytes | bytearray] = field(default_factory=list)
    size: int = 0
    refused: bool = False


class Pieces:
    """The unfinished messages of one stream, by their ids.

    Args:
        max_bytes: the largest message taken.
        hold: asked for room for so many bytes, of all of them; without it, no more is kept.
    """

    def __init__(self, max_bytes: int, hold: Callable[[int], bool] = lambda size: True) -> None:
        self._max_bytes = max_bytes
        self._hold = hold
        self._held = 0
        self._unfinished: dict[int, _Unfinished] = {}

    def add(
        self, number: int, data: bytes, *, more: bool, head: str = ""
    ) -> tuple[str, bytes] | None:
        """Take in a message or a piece of one.

        Args:
            number: the message's id.
            more: whether more pieces follow.
            head: what the first piece brings along.

        Returns:
            The head and the message, once that is complete.

        Raises:
            RpcError: RESOURCE_EXHAUSTED when the message becomes too large, or there is
                no room; the rest of it is dropped as it comes.
            MalformedMessage: too many messages are unfinished.
        """
        message = self._unfinished.get(number)
        if message is None:
            if not more and len(data) <= self._max_bytes:
                return head, data
            if len(self._unfinished) >= _UNFINISHED:
                raise MalformedMessage("stream", "too many unfinished messages")
            message = self._unfinished[number] = _Unfinished(head)
        if not more:
            del self._unfinished[number]
        if message.refused:
            return None
        error: RpcError | None = None
        if message.size + len(data) > self._max_bytes:
            error = RpcError(RpcStatus.RESOURCE_EXHAUSTED, "the message is too large")
        elif not self._hold(self._held + len(data)):
            error = NO_ROOM
        if error is not None:
            message.refused = True
            self._release(message)
            message.chunks.clear()
            raise error
        self._held += len(data)
        message.size += len(data)
        keep_chunk(message.chunks, data)
        if more:
            return None
        self._release(message)
        return message.head, b"".join(message.chunks)

    def drop(self, number: int) -> None:
        """Forget a message whose other pieces will not come."""
        message = self._unfinished.pop(number, None)
        if message is not None:
            self._release(message)

    def close(self) -> None:
        """Forget all of them."""
        for number in list(self._unfinished):
            self.drop(number)

    def _release(self, message: _Unfinished) -> None:
        self._held -= message.size
        message.size = 0
        self._hold(self._held)
