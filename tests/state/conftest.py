"""Fixtures of the contract tests: every test that asks for `harness` runs over both servers."""

from collections.abc import AsyncIterator, Iterator

import pytest

from connect.state.embedded import EmbeddedCommands
from connect.state.keys import Keys
from connect.state.redis_client import RedisClient, open_redis
from connect.state.redis_store import RedisStore
from tests.state.harness import TIMING, Harness, SettableNow
from tests.support.redis_server import RedisServer, redis_server


@pytest.fixture(scope="session")
def shared_server() -> Iterator[RedisServer]:
    """One server for all tests that leave it running."""
    with redis_server() as server:
        yield server


@pytest.fixture
async def client(shared_server: RedisServer) -> AsyncIterator[RedisClient]:
    """A client of an empty Redis."""
    async with open_redis(shared_server.url) as client:
        await client.execute("FLUSHALL")
        yield client


@pytest.fixture
async def redis_harness(client: RedisClient) -> Harness:
    now = SettableNow()
    return Harness(RedisStore(client, now=now, timing=TIMING), client, now, Keys())


@pytest.fixture
def embedded_harness() -> Harness:
    now = SettableNow()
    commands = EmbeddedCommands()
    return Harness(RedisStore(commands, now=now, timing=TIMING), commands, now, Keys())


@pytest.fixture(params=["redis", "embedded"])
def harness(request: pytest.FixtureRequest) -> Harness:
    fixture: Harness = request.getfixturevalue(f"{request.param}_harness")
    return fixture
