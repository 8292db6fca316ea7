"""Opens the state store that the settings ask for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from connect.settings import RedisSettings, Timing
from connect.state.commands import Now
from connect.state.embedded import open_embedded_store
from connect.state.redis_client import open_redis
from connect.state.redis_store import RedisStore

__all__ = ["open_store"]


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
    async with open_redis(settings.url, command_timeout=timing.store_command) as client:
        yield RedisStore(client, now=now, timing=timing, layout=settings.layout)
