"""Fixtures of the contract tests.

Each that asks for `harness` runs over every kind of Redis, and over two of them in the other
layout of keys, too.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from connect.settings import KeyLayout
from connect.state.commands import Commands
from connect.state.embedded import EmbeddedCommands
from connect.state.keys import Keys
from connect.state.open import open_commands
from connect.state.redis_client import RedisClient, open_redis
from connect.state.redis_store import RedisStore
from tests.state.harness import TIMING, Harness, SettableNow
from tests.support.redis_cluster import RedisClusterNodes, redis_cluster
from tests.support.redis_sentinel import RedisUnderSentinels, redis_sentinel
from tests.support.redis_server import RedisServer, newer_redis, redis_server
from tests.support.tls import make_certificate

# The newer server only where there is one.
KINDS = [
    *("embedded", "embedded_inngest", "redis", "redis_inngest", "cluster", "sentinel"),
    *(["newer_redis"] if newer_redis() else []),
]


@pytest.fixture(scope="session")
def shared_server() -> Iterator[RedisServer]:
    """One server for all tests that leave it running."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_newer_server() -> Iterator[RedisServer]:
    program = newer_redis()
    assert program is not None
    with redis_server(program=program) as server:
        yield server


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[RedisClusterNodes]:
    """One cluster for all tests that leave it as it is."""
    with redis_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def shared_sentinel() -> Iterator[RedisUnderSentinels]:
    """One master under a sentinel for all tests that leave it as it is."""
    with redis_sentinel() as watched:
        yield watched


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def client(shared_server: RedisServer) -> AsyncIterator[RedisClient]:
    """A client of an empty Redis."""
    async with open_redis(shared_server.url) as client:
        await client.execute("FLUSHALL")
        yield client


@pytest.fixture
async def redis_harness(client: RedisClient) -> Harness:
    return harness_over(client)


@pytest.fixture
def embedded_harness() -> Harness:
    return harness_over(EmbeddedCommands())


@pytest.fixture
async def cluster_harness(shared_cluster: RedisClusterNodes) -> AsyncIterator[Harness]:
    async with open_commands(shared_cluster.url, command_timeout=5) as commands:
        await commands.execute("FLUSHALL")
        yield harness_over(commands)


@pytest.fixture
async def sentinel_harness(shared_sentinel: RedisUnderSentinels) -> AsyncIterator[Harness]:
    async with open_commands(shared_sentinel.url, command_timeout=5) as commands:
        await commands.execute("FLUSHALL")
        yield harness_over(commands)


@pytest.fixture
async def newer_redis_harness(shared_newer_server: RedisServer) -> AsyncIterator[Harness]:
    async with open_commands(shared_newer_server.url, command_timeout=5) as commands:
        await commands.execute("FLUSHALL")
        yield harness_over(commands)


@pytest.fixture
def embedded_inngest_harness() -> Harness:
    return harness_over(EmbeddedCommands(), KeyLayout.INNGEST)


@pytest.fixture
async def redis_inngest_harness(client: RedisClient) -> Harness:
    return harness_over(client, KeyLayout.INNGEST)


@pytest.fixture(params=KINDS)
def harness(request: pytest.FixtureRequest) -> Harness:
    fixture: Harness = request.getfixturevalue(f"{request.param}_harness")
    return fixture


def harness_over(commands: Commands, layout: KeyLayout = KeyLayout.CONNECT) -> Harness:
    now = SettableNow()
    store = RedisStore(commands, now=now, timing=TIMING, layout=layout)
    return Harness(store, commands, now, Keys(layout))
