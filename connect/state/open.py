"""Opens the state store that the settings ask for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from connect.settings import RedisSettings, Timing
from connect.state.commands import Commands, Now
from connect.state.embedded import open_embedded_store
from connect.state.redis_client import open_redis
from connect.state.redis_cluster import open_cluster
from connect.state.redis_store import RedisStore
from connect.state.redis_url import RedisCluster, parse_redis_url

__all__ = ["open_commands", "open_store"]


@asynccontextmanager
async def open_store(
    settings: RedisSettings, timing: Timing, now: Now
) -> AsyncIterator[RedisStore]:
    """Open the store for the length of the block: Redis, or embedded without a URL.

    Args:
        now: tells the time in unix seconds.

    Raises:
        ConfigurationError: the URL is bad, or Redis cannot be reached at first.
    """
    if settings.url is None:
        yield open_embedded_store(now=now, timing=timing, layout=settings.layout)
        return
    async with open_commands(settings.url, command_timeout=timing.store_command) as commands:
        yield RedisStore(commands, now=now, timing=timing, layout=settings.layout)


@asynccontextmanager
async def open_commands(url: str, *, command_timeout: float) -> AsyncIterator[Commands]:
    """Connect to whatever the URL names, for the length of the block.

    That is one server, a cluster, or the master that sentinels know; see
    `redis_url.parse_redis_url`.

    Args:
        command_timeout: seconds for one command.

    Raises:
        ConfigurationError: the URL is bad, or Redis cannot be reached at first.
    """
    if isinstance(parse_redis_url(url), RedisCluster):
        async with open_cluster(url, command_timeout=command_timeout) as cluster:
            yield cluster
    else:
        async with open_redis(url, command_timeout=command_timeout) as client:
            yield client
