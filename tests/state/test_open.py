"""Opening the store that the settings ask for."""

import pytest

from connect.errors import ConfigurationError
from connect.settings import KeyLayout, RedisSettings
from connect.state.open import open_store
from connect.state.store import StateStore
from tests.state.harness import ENV, TIMING, Harness, SettableNow
from tests.support.redis_server import RedisServer


async def test_store_without_a_url_is_embedded_and_empty() -> None:
    async with (
        open_store(RedisSettings(), TIMING, SettableNow()) as one,
        open_store(RedisSettings(), TIMING, SettableNow()) as other,
    ):
        await one.capacity.set_limit(ENV, "worker-1", 1)
        assert await other.capacity.limit(ENV, "worker-1") is None


async def test_store_with_a_url_is_that_redis(
    shared_server: RedisServer, redis_harness: Harness
) -> None:
    settings = RedisSettings(url=shared_server.url, layout=KeyLayout.INNGEST)
    async with open_store(settings, TIMING, SettableNow()) as store:
        port: StateStore = store  # holds for the type checker
        await port.capacity.set_limit(ENV, "worker-1", 1)
    assert await redis_harness.store.capacity.limit(ENV, "worker-1") == 1


async def test_bad_url_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        async with open_store(RedisSettings(url="nowhere"), TIMING, SettableNow()):
            pass
