"""What counts as left behind, for figures and keys that are made up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from connect.settings import DEVELOPMENT_ENV_ID
from connect.state.keys import Keys
from connect.state.redis_client import RedisClient, open_redis
from tests.faults import remains
from tests.faults.deployment import Deployment
from tests.faults.load import Call
from tests.faults.remains import Holding, left_in_redis, more_than_before
from tests.support.redis_server import redis_server

BEFORE = Holding(descriptors=100, tasks=500, requests=3, replies=0)
REST = replace(BEFORE, requests=0)
KEYS = Keys()
CALL = Call(
    number=0, request_id="r1", app="limited", seconds=0.5, began=1.0, answered=2.0, result=0
)


@asynccontextmanager
async def deployed() -> AsyncIterator[tuple[Deployment, RedisClient]]:
    with redis_server() as server:
        deployment = cast(Deployment, SimpleNamespace(redis=server))
        async with open_redis(server.url) as client:
            yield deployment, client


def test_as_much_as_before_is_nothing_left() -> None:
    assert more_than_before(BEFORE, REST) == []


def test_a_few_more_may_be_of_the_moment() -> None:
    assert more_than_before(BEFORE, replace(REST, descriptors=108, tasks=508)) == []


@pytest.mark.parametrize("what", ["descriptors", "tasks"])
def test_many_more_are_left(what: str) -> None:
    [found] = more_than_before(BEFORE, replace(REST, **{what: 509}))
    assert found == f"509 {what}, and {getattr(BEFORE, what)} before"


@pytest.mark.parametrize("what", ["requests", "replies"])
def test_not_one_request_may_be_left(what: str) -> None:
    assert more_than_before(BEFORE, replace(REST, **{what: 1})) == [
        f"1 {what} left at the gateways"
    ]


async def test_an_empty_store_has_nothing_left() -> None:
    async with deployed() as (deployment, _):
        assert await left_in_redis(deployment, [CALL], strands=False) == []


@pytest.mark.parametrize("family", ["lease", "response", "request_worker"])
async def test_a_key_of_a_request_is_left(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remains, "_GONE_SECONDS", 0.0)
    key = getattr(KEYS, family)(DEVELOPMENT_ENV_ID, "r1")
    async with deployed() as (deployment, client):
        await client.execute("SET", key, "x")
        found = await left_in_redis(deployment, [CALL], strands=False)
    assert found == [f"{key} is left of a request that is over"]


async def test_a_request_that_a_worker_has_room_taken_for_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remains, "_GONE_SECONDS", 0.0)
    key = KEYS.requests(DEVELOPMENT_ENV_ID, "w1")
    async with deployed() as (deployment, client):
        await client.execute("ZADD", key, "1", "r1")
        assert len(await left_in_redis(deployment, [CALL], strands=False)) == 1


async def test_what_is_gone_a_little_later_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remains, "_POLL_SECONDS", 0.01)
    async with deployed() as (deployment, client):
        await client.execute("SET", KEYS.lease(DEVELOPMENT_ENV_ID, "r1"), "x", "PX", 50)
        assert await left_in_redis(deployment, [CALL], strands=False) == []


async def test_the_key_of_another_request_is_not_ours() -> None:
    async with deployed() as (deployment, client):
        await client.execute("SET", KEYS.lease(DEVELOPMENT_ENV_ID, "r2"), "x")
        assert await left_in_redis(deployment, [CALL], strands=False) == []


@pytest.mark.parametrize(("lifetime", "count"), [(("PX", 100_000), 0), ((), 1)])
async def test_what_is_stranded_must_expire(lifetime: tuple[str | int, ...], count: int) -> None:
    async with deployed() as (deployment, client):
        await client.execute("SET", KEYS.lease(DEVELOPMENT_ENV_ID, "r1"), "x", *lifetime)
        assert len(await left_in_redis(deployment, [CALL], strands=True)) == count
