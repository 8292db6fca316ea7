"""A Redis client for Trio: one server, or the one that sentinels call the master."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import hiredis
import trio

from connect.errors import ConfigurationError, StoreUnavailable
from connect.state.commands import (
    Argument,
    CommandError,
    Reply,
    Script,
    reply_error,
    why_not_now,
)
from connect.state.redis_dial import Dial, connect, pack
from connect.state.redis_pipeline import Redial, RedisLimits, RedisPipeline, background
from connect.state.redis_sentinel import SentinelDial
from connect.state.redis_url import RedisCluster, RedisSentinels, parse_redis_url

__all__ = ["CommandError", "RedisClient", "open_redis"]

# Sentinels name a new master seconds before they demote the old one, if that is still
# alive; what is written to it meanwhile is lost.
_MASTER_CHECK = 1.0  # seconds between questions whether the master is still the same


class RedisClient:
    """Runs commands and scripts on one Redis server; made by `open_redis`.

    Implements `connect.state.commands.Commands`.
    """

    def __init__(self, pipeline: RedisPipeline, command_timeout: float) -> None:
        self._pipeline = pipeline
        self._command_timeout = command_timeout

    @property
    def round_trips(self) -> int:
        """Commands and scripts sent so far."""
        return self._pipeline.round_trips

    @property
    def unreachable_since(self) -> float | None:
        """When the connection was lost that has not been replaced yet; None while there is one."""
        return self._pipeline.unreachable_since

    async def execute(self, *args: Argument) -> Reply:
        """Run one command.

        Returns:
            The server's reply: bytes, int, None, or a list of these.

        Raises:
            StoreUnavailable: no answer within the client's command timeout (waiting for
                a connection included), the connection broke meanwhile, too much is
                waiting already, or the server cannot serve now.
            CommandError: the server refused the command.

        Cancelled, a command not yet sent is dropped, and one already sent may still take
        effect; other callers' replies are not disturbed.
        """
        deadline = trio.current_time() + self._command_timeout
        reply = await self._pipeline.call(pack(args), deadline)
        if isinstance(reply, hiredis.ReplyError):
            raise self._error(str(reply))
        return reply

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()
    ) -> Reply:
        """Run a script, by its hash where the server has it cached.

        Returns, raises and cancellation are those of `execute`. A server that has
        forgotten the script has not run it, so that sending it again with its text
        cannot run it twice.
        """
        deadline = trio.current_time() + self._command_timeout
        rest = (len(keys), *keys, *args)
        reply = await self._pipeline.call(pack(("EVALSHA", script.sha1, *rest)), deadline)
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            packed = pack(("EVAL", script.text, *rest))
            reply = await self._pipeline.call(packed, deadline)
        if isinstance(reply, hiredis.ReplyError):
            raise self._error(str(reply))
        return reply

    def _error(self, message: str) -> CommandError | StoreUnavailable:
        if why_not_now(message) == "READONLY":
            # After a failover the name may lead to the new master: connect again.
            self._pipeline.reconnect()
        if message.startswith(("MOVED ", "ASK ")):
            return CommandError(
                f"{message} (the server belongs to a Redis Cluster: use redis+cluster://)"
            )
        return reply_error(message)


@asynccontextmanager
async def open_redis(
    url: str,
    *,
    command_timeout: float = 5.0,
    connect_timeout: float = 5.0,
    max_waiting: int = 100_000,
    max_waiting_bytes: int = 256 * 1024 * 1024,
    dial: Dial = connect,
) -> AsyncIterator[RedisClient]:
    """Connect to one Redis server, and stay connected for the length of the block.

    When the block is cancelled, commands work until it ends, so that shielded cleanup
    can use them.

    Args:
        url: of a server, or of sentinels that know the master; see
            `redis_url.parse_redis_url`. Clusters are for `redis_cluster.open_cluster`.
        command_timeout, connect_timeout, max_waiting, max_waiting_bytes: see
            `redis_pipeline.RedisLimits`.
        dial: connects to an address.

    Raises:
        ConfigurationError: the URL cannot be used, or the first attempt to connect
            fails; the text is one line, without the password.
    """
    place = parse_redis_url(url)
    limits = RedisLimits(
        command_timeout=command_timeout,
        connect_timeout=connect_timeout,
        max_waiting=max_waiting,
        max_waiting_bytes=max_waiting_bytes,
    )
    if isinstance(place, RedisCluster):
        raise ConfigurationError("the Redis URL names a cluster; one server is needed here")
    sentinels: SentinelDial | None = None
    redial: Redial
    if isinstance(place, RedisSentinels):
        redial = sentinels = SentinelDial(place, dial)
    else:
        redial = partial(dial, place)
    try:
        connection = await redial(trio.current_time() + connect_timeout)
    except StoreUnavailable as error:
        raise ConfigurationError(str(error)) from error
    name = str(place) if sentinels else f"Redis at {place}"
    pipeline = RedisPipeline(name, redial, limits)

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.serve, connection)
            if sentinels is not None:
                nursery.start_soon(_follow, sentinels, pipeline)

    async with background(serve):
        yield RedisClient(pipeline, command_timeout)


async def _follow(sentinels: SentinelDial, pipeline: RedisPipeline) -> None:
    """Leave a master that the sentinels have replaced while our connection is well."""
    while True:
        await trio.sleep(_MASTER_CHECK)
        deadline = trio.current_time() + _MASTER_CHECK
        if pipeline.connected and await sentinels.replaced(deadline):
            pipeline.reconnect()
