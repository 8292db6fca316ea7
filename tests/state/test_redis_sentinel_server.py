"""The client under real sentinels: failovers on request and after a death, logins."""

import re
from collections.abc import Iterator

import pytest
import trio

from connect.errors import ConfigurationError, StoreUnavailable
from connect.state.redis_client import RedisClient, open_redis
from tests.state.harness import own_script
from tests.support.redis_sentinel import SERVICE, RedisUnderSentinels, redis_sentinel
from tests.support.redis_server import RedisServer
from tests.support.redis_traffic import traffic_on

KEYS = [f"key-{number}" for number in range(6)]

# From the moment when the sentinels name the new master to its first answer.
RESUMES_WITHIN = 3.0  # seconds


@pytest.fixture(scope="module")
def watched() -> Iterator[RedisUnderSentinels]:
    with redis_sentinel(password="s3cret", sentinel_password="wh0") as watched:
        yield watched


async def test_failover_on_request_is_followed_in_the_middle_of_traffic(
    watched: RedisUnderSentinels,
) -> None:
    async with (
        open_redis(watched.url) as client,
        traffic_on(client, keys=KEYS, pause=0.005, loses_writes=True) as traffic,
    ):
        await traffic.wait_for(50)
        await trio.to_thread.run_sync(watched.fail_over)
        with trio.fail_after(RESUMES_WITHIN):
            await eventually_at(watched.master(), client)
        await traffic.wait_for(50)
    assert traffic.wrong == []


async def test_killed_masters_replica_is_followed_in_the_middle_of_traffic() -> None:
    with redis_sentinel(sentinels=3, down_after_ms=500) as watched:
        old = watched.master()
        async with (
            open_redis(watched.url) as client,
            traffic_on(client, keys=KEYS, pause=0.005, loses_writes=True) as traffic,
        ):
            await traffic.wait_for(50)
            old.kill()
            watched.sentinels[0].kill()
            with trio.fail_after(30):
                while await trio.to_thread.run_sync(watched.master) is old:
                    await trio.sleep(0.02)
            with trio.fail_after(RESUMES_WITHIN):
                await eventually_at(watched.master(), client)
            await traffic.wait_for(50)
    assert traffic.wrong == []


async def eventually_at(server: RedisServer, client: RedisClient) -> None:
    """Return when the client's commands reach the server."""
    while True:
        try:
            info = await client.execute("INFO", "server")
        except StoreUnavailable:
            info = b""
        found = re.search(rb"tcp_port:(\d+)", info)
        if found is not None and int(found[1]) == server.port:
            return
        await trio.sleep(0.01)


async def test_script_on_a_demoted_master_leads_to_the_new_one() -> None:
    """Whoever demotes a master by hand breaks no connection; scripts say it in other words."""
    script = own_script("return redis.call('SET', KEYS[1], ARGV[1])")
    with redis_sentinel() as demotable:
        master, replica = demotable.servers
        async with open_redis(demotable.url) as client, open_redis(master.url) as on_master:
            before = await client.execute("CLIENT", "ID")
            await on_master.execute("REPLICAOF", "127.0.0.1", str(replica.port))
            with pytest.raises(StoreUnavailable):
                await client.run(script, ["x"], ["y"])
            await on_master.execute("REPLICAOF", "NO", "ONE")
            assert await eventually(client, "CLIENT", "ID") != before


async def eventually(client: RedisClient, *command: str) -> object:
    """Repeat while the store is unavailable, for at most 10 seconds."""
    with trio.fail_after(10):
        while True:
            try:
                return await client.execute(*command)
            except StoreUnavailable:
                await trio.sleep(0.01)


async def test_service_that_no_sentinel_knows_is_a_configuration_error(
    watched: RedisUnderSentinels,
) -> None:
    url = watched.url.replace(f"/{SERVICE}", "/nobody")
    with pytest.raises(ConfigurationError, match="knows no master 'nobody'") as raised:
        async with open_redis(url):
            pass
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("password", ["s3cret", "wh0"])
async def test_wrong_password_is_a_configuration_error_without_it(
    watched: RedisUnderSentinels, password: str
) -> None:
    with pytest.raises(ConfigurationError, match="refuses AUTH") as raised:
        async with open_redis(watched.url.replace(password, "wr0ng")):
            pass
    assert "wr0ng" not in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_database_of_the_url_is_used(shared_sentinel: RedisUnderSentinels) -> None:
    async with open_redis(f"{shared_sentinel.url}/3") as client:
        assert b" db=3 " in await client.execute("CLIENT", "LIST")


async def test_first_sentinel_may_be_down(shared_sentinel: RedisUnderSentinels) -> None:
    url = shared_sentinel.url.replace("://", "://127.0.0.1:1,")
    async with open_redis(url) as client:
        assert await client.execute("PING") == b"PONG"
