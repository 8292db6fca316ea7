"""Channels to many peers: calls and streams, and the two calls that the service makes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
import trio

from connect.errors import MalformedMessage
from connect.protocol.envelope import decode_success, encode_forward, encode_reply
from connect.rpc.background import open_background
from connect.rpc.bridge import Bridge
from connect.rpc.channel import RpcChannel
from connect.rpc.errors import CallFailed, CallRefused, RpcError, RpcStatus
from connect.rpc.message_stream import ClientStream
from connect.rpc.methods import FORWARD, REPLY

__all__ = ["ChannelPool", "open_channel_pool"]

# By these a gateway refuses a call before it forwards anything: the message is too large, or
# is none that it knows. UNAVAILABLE is not among them: servers that end, and proxies, also
# answer calls so that were under way.
_NOT_TAKEN_UP = frozenset(
    {RpcStatus.RESOURCE_EXHAUSTED, RpcStatus.INVALID_ARGUMENT, RpcStatus.UNIMPLEMENTED}
)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Entry:
    channel: RpcChannel
    last_used: float
    calls: int = 0  # and streams


class ChannelPool:
    """One channel per peer, made on demand; made by `open_channel_pool`."""

    def __init__(self, bridge: Bridge, reply_timeout: float, max_channels: int) -> None:
        self._bridge = bridge
        self._reply_timeout = reply_timeout
        self._max_channels = max_channels
        self._entries: dict[tuple[str, int], _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def call(
        self, host: str, port: int, path: str, request: bytes, *, timeout: float
    ) -> bytes:
        """Call a unary method of a peer; see `RpcChannel.call`.

        Raises:
            RpcError: as the channel does; RESOURCE_EXHAUSTED when the pool is full of
                channels in use.
        """
        entry = self._entry(host, port)
        entry.calls += 1
        try:
            return await entry.channel.call(path, request, timeout=timeout)
        finally:
            entry.calls -= 1
            entry.last_used = trio.current_time()

    @asynccontextmanager
    async def stream(
        self,
        host: str,
        port: int,
        path: str,
        receive: Callable[[bytes], None],
        *,
        timeout: float,
    ) -> AsyncIterator[ClientStream]:
        """Open a stream to a method of a peer; see `RpcChannel.stream`, and `call`."""
        entry = self._entry(host, port)
        entry.calls += 1
        try:
            async with entry.channel.stream(path, receive, timeout=timeout) as stream:
                yield stream
        finally:
            entry.calls -= 1
            entry.last_used = trio.current_time()

    async def forward(
        self, host: str, port: int, connection_id: str, request: bytes, *, timeout: float
    ) -> bool:
        """Ask a gateway to forward a request to one of its connections.

        Args:
            request: a serialized GatewayExecutorRequestData.
            timeout: seconds; the gateway answers within its lease duration + 5 s
                (Connect protocol, section 4).

        Returns:
            Whether the worker acknowledged the request.

        Raises:
            RpcError: whether the worker has the request is unknown: the gateway did not
                answer, or says so by ABORTED.
            CallRefused: the worker does not have it.

        Cancelling it withdraws the call; the worker may have the request nonetheless.
        """
        asked = encode_forward(connection_id, request, tell_doubt=True)
        try:
            answer = await self.call(host, port, FORWARD, asked, timeout=timeout)
        except CallFailed as error:
            if error.status in _NOT_TAKEN_UP:
                raise CallRefused(error.status, error.message) from error
            raise
        return _success(answer, FORWARD)

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        """Push a worker's reply to the executor that waits for it, best effort.

        Args:
            response: a serialized SDKResponse.

        Returns:
            Whether the executor took it. Any failure is False: executors also find
            the reply in the response buffer.
        """
        try:
            answer = await self.call(
                host, port, REPLY, encode_reply(response), timeout=self._reply_timeout
            )
            return _success(answer, REPLY)
        except RpcError as error:
            log.info("reply not pushed", executor=f"{host}:{port}", reason=str(error))
            return False

    def _entry(self, host: str, port: int) -> _Entry:
        entry = self._entries.get((host, port))
        if entry is None:
            if len(self._entries) >= self._max_channels:
                self._close_longest_idle()
            entry = _Entry(self._bridge.connect(host, port), trio.current_time())
            self._entries[host, port] = entry
        return entry

    def _close_longest_idle(self) -> None:
        idle = [(entry.last_used, key) for key, entry in self._entries.items() if not entry.calls]
        if not idle:
            raise CallRefused(
                RpcStatus.RESOURCE_EXHAUSTED, f"all {self._max_channels} channels are in use"
            )
        self._entries.pop(min(idle)[1]).channel.close()

    async def close_idle(self, idle: float) -> None:
        """Close channels as they become unused for `idle` seconds; runs until cancelled."""
        while True:
            await trio.sleep(idle / 2)
            oldest = trio.current_time() - idle
            for key, entry in list(self._entries.items()):
                if not entry.calls and entry.last_used <= oldest:
                    del self._entries[key]
                    entry.channel.close()

    def close(self) -> None:
        for entry in self._entries.values():
            entry.channel.close()
        self._entries.clear()


def _success(answer: bytes, path: str) -> bool:
    try:
        return decode_success(answer)
    except MalformedMessage as error:
        raise RpcError(RpcStatus.INTERNAL, f"{path} answered with {error}") from error


@asynccontextmanager
async def open_channel_pool(
    bridge: Bridge, *, reply_timeout: float = 5.0, idle: float = 60.0, max_channels: int = 1024
) -> AsyncIterator[ChannelPool]:
    """Open a pool of channels, all closed when the block ends.

    Args:
        bridge: must stay open longer than the pool.
        reply_timeout: seconds for pushing one reply (`Timing.rpc`).
        idle: seconds after which a channel without calls is closed.
        max_channels: the most channels at the same time.
    """
    pool = ChannelPool(bridge, reply_timeout, max_channels)
    async with open_background() as nursery:
        nursery.start_soon(pool.close_idle, idle)
        try:
            yield pool
        finally:
            pool.close()
