"""The cluster client against a real cluster: moving slots, dying masters, killed connections."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.crc
import trio

from connect.errors import ConfigurationError, StoreUnavailable
from connect.state.commands import CommandError
from connect.state.redis_client import open_redis
from connect.state.redis_cluster import open_cluster
from tests.state.harness import own_script
from tests.support.redis_cluster import RedisClusterNodes, redis_cluster
from tests.support.redis_server import RedisServer, free_port
from tests.support.redis_traffic import traffic_on, traffic_through
from tests.support.tcp_proxy import open_proxy
from tests.support.tls import serve_tls

# From the death of a master to the first answer of its replica, beside the time that the
# cluster itself takes to promote it.
RESUMES_WITHIN = 3.0  # seconds
NODE_TIMEOUT_MS = 500


def keys_of(cluster: RedisClusterNodes, node: RedisServer, count: int) -> list[str]:
    """Return keys with tags of different slots, all served by the node."""
    served = cluster.slots_of(node)
    keys = (f"{{t{number}}}:x" for number in itertools.count())
    found = (key for key in keys if redis.crc.key_slot(key.encode()) in served)
    return [next(found) for _ in range(count)]


class Migration:
    """Moves the slot of a key from the node that serves it to another one, step by step."""

    def __init__(self, cluster: RedisClusterNodes, key: str) -> None:
        self.cluster = cluster
        self.slot = redis.crc.key_slot(key.encode())
        self.source = cluster.master_of(key)
        self.target = next(node for node in cluster.masters if node is not self.source)

    async def ask(self, node: RedisServer, *command: str | int) -> object:
        return await trio.to_thread.run_sync(self.cluster.ask, node, *command)

    async def begin(self) -> None:
        source, target = self.cluster.id_of(self.source), self.cluster.id_of(self.target)
        await self.ask(self.target, "CLUSTER", "SETSLOT", self.slot, "IMPORTING", source)
        await self.ask(self.source, "CLUSTER", "SETSLOT", self.slot, "MIGRATING", target)

    async def move(self, *keys: str) -> None:
        target = ("127.0.0.1", self.target.port)
        await self.ask(self.source, "MIGRATE", *target, "", 0, 5000, "KEYS", *keys)

    async def end(self) -> None:
        target = self.cluster.id_of(self.target)
        for node in (self.target, self.source, *self.cluster.masters):
            await self.ask(node, "CLUSTER", "SETSLOT", self.slot, "NODE", target)


async def test_slot_may_move_in_the_middle_of_traffic(shared_cluster: RedisClusterNodes) -> None:
    keys = [f"{{moving}}:{number}" for number in range(8)]
    async with open_cluster(shared_cluster.url) as client:
        await client.execute("FLUSHALL")
        async with traffic_on(client, keys=keys, pause=0.001) as traffic:
            await traffic.wait_for(50)
            migration = Migration(shared_cluster, keys[0])
            await migration.begin()
            for key in keys:
                await migration.move(key)
                await traffic.wait_for(20)
            await migration.end()
            await traffic.wait_for(200)
    assert (traffic.wrong, traffic.unavailable) == ([], 0)
    assert shared_cluster.master_of(keys[0]) is migration.target


async def test_key_that_has_moved_ahead_of_its_slot_is_found(
    shared_cluster: RedisClusterNodes,
) -> None:
    async with open_cluster(shared_cluster.url) as client:
        await client.execute("SET", "{ahead}:1", "x")
        migration = Migration(shared_cluster, "{ahead}:1")
        await migration.begin()
        await migration.move("{ahead}:1")
        assert await client.execute("GET", "{ahead}:1") == b"x"
        assert await client.execute("GET", "{ahead}:new") is None
        await migration.end()
        assert await client.execute("GET", "{ahead}:1") == b"x"


async def test_command_on_keys_of_which_some_have_moved_waits_for_the_rest(
    shared_cluster: RedisClusterNodes,
) -> None:
    keys = ["{torn}:1", "{torn}:2"]
    replies: list[object] = []
    async with open_cluster(shared_cluster.url) as client, trio.open_nursery() as nursery:

        async def delete() -> None:
            replies.append(await client.execute("DEL", *keys))

        for key in keys:
            await client.execute("SET", key, "x")
        migration = Migration(shared_cluster, keys[0])
        await migration.begin()
        await migration.move(keys[0])
        nursery.start_soon(delete)
        await trio.sleep(0.1)
        assert replies == []
        await migration.move(keys[1])
        await migration.end()
    assert replies == [2]


async def test_script_that_finds_a_key_on_its_way_is_unavailable(
    shared_cluster: RedisClusterNodes,
) -> None:
    """It may have taken effect in part, so it is not repeated."""
    script = own_script("return redis.call('GET', ARGV[1])")
    async with open_cluster(shared_cluster.url) as client:
        await client.execute("MSET", "{way}:1", "x", "{way}:2", "y")
        migration = Migration(shared_cluster, "{way}:1")
        await migration.begin()
        await migration.move("{way}:2")
        with pytest.raises(StoreUnavailable):
            await client.run(script, ["{way}:1"], ["{way}:2"])
        await migration.move("{way}:1")
        await migration.end()
        assert await client.run(script, ["{way}:1"], ["{way}:2"]) == b"y"


async def test_script_is_loaded_on_every_node_that_lacks_it(
    shared_cluster: RedisClusterNodes,
) -> None:
    script = own_script("return #KEYS")
    keys = [keys_of(shared_cluster, node, 1)[0] for node in shared_cluster.masters]
    async with open_cluster(shared_cluster.url) as client:
        await client.execute("SCRIPT", "FLUSH")
        for key in keys:
            assert await client.run(script, [key]) == 1
        await trio.to_thread.run_sync(
            shared_cluster.ask, shared_cluster.masters[1], "SCRIPT", "FLUSH"
        )
        before = client.round_trips
        for key in keys:
            assert await client.run(script, [key]) == 1
        assert client.round_trips - before == len(keys) + 1


async def test_killed_connections_give_no_reply_to_the_wrong_caller(
    shared_cluster: RedisClusterNodes,
) -> None:
    chance = random.Random(7)
    keys = [f"{{k{number}}}:x" for number in range(12)]
    async with (
        open_cluster(shared_cluster.url) as client,
        traffic_on(client, keys=keys) as traffic,
    ):
        for _ in range(8):
            await trio.sleep(chance.uniform(0, 0.05))
            node = chance.choice(shared_cluster.masters)
            await trio.to_thread.run_sync(
                shared_cluster.ask, node, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"
            )
        await traffic.wait_for(100)
    assert traffic.wrong == []


@pytest.fixture(scope="module")
def replicated_cluster() -> Iterator[RedisClusterNodes]:
    with redis_cluster(replicas=1, node_timeout_ms=NODE_TIMEOUT_MS, password="s3cret") as cluster:
        yield cluster


async def test_killed_masters_replica_takes_over_in_the_middle_of_traffic(
    replicated_cluster: RedisClusterNodes,
) -> None:
    cluster = replicated_cluster
    first = cluster.masters[0]
    keys = keys_of(cluster, first, 6) + keys_of(cluster, cluster.masters[1], 2)
    async with (
        open_cluster(cluster.url) as client,
        traffic_on(client, keys=keys, pause=0.005, loses_writes=True) as traffic,
    ):
        await traffic.wait_for(50)
        first.kill()
        with trio.fail_after(30):
            while await trio.to_thread.run_sync(promoted, cluster) is None:
                await trio.sleep(0.02)
            with trio.fail_after(RESUMES_WITHIN):
                assert await client.execute("SET", f"{keys[0]}:probe", "x") == b"OK"
        await trio.to_thread.run_sync(first.start)
        await trio.to_thread.run_sync(cluster.wait_until_well)
        await traffic.wait_for(50)
    assert traffic.wrong == []
    assert cluster.master_of(keys[0]) is cluster.replicas[0]


def promoted(cluster: RedisClusterNodes) -> RedisServer | None:
    """Return the replica of the first master once it serves in its place."""
    [replica] = cluster.replicas
    info = str(cluster.ask(replica, "CLUSTER", "INFO"))
    role = str(cluster.ask(replica, "INFO", "replication"))
    return replica if "cluster_state:ok" in info and "role:master" in role else None


async def test_wrong_password_is_a_configuration_error_without_it(
    replicated_cluster: RedisClusterNodes,
) -> None:
    url = replicated_cluster.url.replace("s3cret", "wr0ng")
    with pytest.raises(ConfigurationError, match="refuses AUTH") as raised:
        async with open_cluster(url):
            pass
    assert "wr0ng" not in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_server_that_is_no_cluster_is_a_configuration_error(
    shared_server: RedisServer,
) -> None:
    with pytest.raises(ConfigurationError, match="cluster support disabled"):
        async with open_cluster(shared_server.url.replace("redis:", "redis+cluster:")):
            pass


async def test_single_clients_error_says_that_the_server_belongs_to_a_cluster(
    shared_cluster: RedisClusterNodes,
) -> None:
    [key] = keys_of(shared_cluster, shared_cluster.masters[1], 1)
    async with open_redis(shared_cluster.masters[0].url) as client:
        with pytest.raises(CommandError, match=r"redis\+cluster://"):
            await client.execute("GET", key)


async def test_cluster_behind_tls_is_used(certificate: tuple[Path, Path]) -> None:
    """Its nodes announce the addresses that speak TLS, as those of a TLS cluster do."""
    inside = free_port(with_bus=True)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_tls, inside, certificate)
        with redis_cluster(masters=1, first_port=inside, announced_port=port):
            url = f"rediss+cluster://localhost:{port}?ssl_ca_certs={certificate[0]}"
            async with open_cluster(url) as client:
                assert await client.execute("SET", "x", "y") == b"OK"
            with pytest.raises(ConfigurationError, match="CERTIFICATE_VERIFY_FAILED"):
                async with open_cluster(f"rediss+cluster://localhost:{port}"):
                    pass
        nursery.cancel_scope.cancel()


async def test_node_behind_a_bad_network_gives_no_reply_to_the_wrong_caller() -> None:
    inside = free_port(with_bus=True)
    async with open_proxy(("127.0.0.1", inside)) as proxy:
        with redis_cluster(masters=1, first_port=inside, announced_port=proxy.port):
            url = f"redis+cluster://127.0.0.1:{proxy.port}"
            async with open_cluster(url, command_timeout=0.3, connect_timeout=1.0) as client:
                for seed in range(3):
                    traffic = await traffic_through(proxy, client, seed)
                    assert (seed, traffic.wrong) == (seed, [])
