"""A Redis Cluster client for Trio: one pipelined connection per master.

A command goes to the node that serves the slot of its first key. What a node does not
execute — the slot has moved (``MOVED``), is moving (``ASK``), or cannot be served for a
moment (``CLUSTERDOWN``, ``TRYAGAIN``) — is sent again within the command's timeout, as is
what waited for a master that has been replaced. What may have been executed never is.

The topology is read at the start, and again whenever something hints that it is old: a
redirection, a broken connection, a refusal. While a master cannot be reached or slots have
none, it is read about once a second.
"""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

import hiredis
import redis.crc
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
from connect.state.redis_dial import Connection, Dial, connect, pack
from connect.state.redis_pipeline import NOT_SENT, RedisLimits, RedisPipeline, background
from connect.state.redis_topology import SLOTS, Topology, discover, node_address
from connect.state.redis_url import RedisAddress, RedisCluster, parse_redis_url

__all__ = ["ClusterClient", "open_cluster"]

_key_slot = redis.crc.key_slot

_ASKING = pack(("ASKING",))

# Commands without a key that go to every master. Replies that are lists are joined; of
# others, the last is returned.
_EVERYWHERE = frozenset({"PING", "KEYS", "FLUSHALL", "SCRIPT"})

# Commands without a key that no single node can answer for the cluster.
_NOWHERE = frozenset(
    {
        *("ACL", "AUTH", "BGREWRITEAOF", "BGSAVE", "CLIENT", "CLUSTER", "COMMAND", "CONFIG"),
        *("DBSIZE", "DEBUG", "ECHO", "EXEC", "FLUSHDB", "INFO", "LASTSAVE", "LATENCY", "MODULE"),
        *("MONITOR", "MULTI", "PUBSUB", "RANDOMKEY", "ROLE", "SAVE", "SCAN", "SELECT"),
        *("SHUTDOWN", "SLOWLOG", "SWAPDB", "TIME", "UNWATCH", "WAIT"),
    }
)

# Where the first key stands, if not first.
_KEY_AT: dict[Argument, int] = {"EVAL": 3, "EVALSHA": 3, "MEMORY": 2, "OBJECT": 2}

# Between attempts to send a command again.
_RETRY_MIN = 0.01  # seconds
_RETRY_MAX = 0.25  # seconds

# Between readings of the topology, the second one while something is wrong.
_REFRESH_MIN = 0.05  # seconds
_REFRESH_MAX = 1.0  # seconds

# For one reading; nodes that say nothing must not delay what others know.
_PATIENCE = 1.0  # seconds

_UNSERVED = hiredis.ReplyError("CLUSTERDOWN no node of the cluster is known to serve the slot")

# Words of error replies after which a command, not executed, is sent again.
_AGAIN = frozenset({"MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN", str(NOT_SENT).split()[0]})


@dataclass(frozen=True, slots=True)
class _Node:
    """A node and the connection to it."""

    address: RedisAddress
    pipeline: RedisPipeline


class ClusterClient:
    """Runs commands and scripts on a Redis Cluster; made by `open_cluster`.

    Implements `connect.state.commands.Commands`.
    """

    def __init__(self, seeds: Sequence[RedisAddress], limits: RedisLimits, dial: Dial) -> None:
        self._seeds = tuple(seeds)
        self._limits = limits
        self._dial = dial
        self._slots: list[_Node | None] = [None] * SLOTS
        self._masters: tuple[_Node, ...] = ()
        self._covered = False
        self._nodes: dict[tuple[str, int], _Node] = {}
        self._replicas: tuple[RedisAddress, ...] = ()
        self._nursery: trio.Nursery | None = None
        self._stale = trio.Event()
        self._retrying = 0
        self._retrying_bytes = 0
        self._past_round_trips = 0

    @property
    def round_trips(self) -> int:
        """Commands and scripts sent so far, those sent again counted again."""
        live = sum(node.pipeline.round_trips for node in self._nodes.values())
        return live + self._past_round_trips

    @property
    def unreachable_since(self) -> float | None:
        """When the last connection to a master was lost; None while any master is connected."""
        latest: float | None = None
        for node in self._masters:
            since = node.pipeline.unreachable_since
            if since is None:
                return None
            latest = since if latest is None else max(latest, since)
        return latest

    async def execute(self, *args: Argument) -> Reply:
        """Run one command on the node that serves its first key.

        ``PING``, ``KEYS``, ``FLUSHALL`` and ``SCRIPT …`` go to every master: lists are
        joined, and other replies are those of the last one. Other commands without a key
        are refused.

        Returns, raises and cancellation are those of `RedisClient.execute`; all keys of a
        command must be in one slot.
        """
        deadline = trio.current_time() + self._limits.command_timeout
        name = args[0]
        if name in _EVERYWHERE:
            return await self._call_everywhere(pack(args), deadline)
        if name in _NOWHERE:
            raise CommandError(f"{name!s} names no key, and so no node of the cluster")
        position = _KEY_AT.get(name, 1)
        if position >= len(args):
            raise CommandError(f"{name!s} without a key has no place in a cluster")
        reply = await self._call(pack(args), _slot(args[position]), deadline)
        if isinstance(reply, hiredis.ReplyError):
            raise self._error(str(reply))
        return reply

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()
    ) -> Reply:
        """Run a script on the node that serves its first key, loading it where needed.

        Returns, raises and cancellation are those of `RedisClient.run`; the script must
        touch keys of one slot only, and name at least one.
        """
        if not keys:
            raise CommandError(f"the script {script.name} without a key has no place in a cluster")
        deadline = trio.current_time() + self._limits.command_timeout
        rest = (len(keys), *keys, *args)
        slot = _slot(keys[0])
        reply = await self._call(pack(("EVALSHA", script.sha1, *rest)), slot, deadline)
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            reply = await self._call(pack(("EVAL", script.text, *rest)), slot, deadline)
        if isinstance(reply, hiredis.ReplyError):
            raise self._error(str(reply))
        return reply

    def _error(self, message: str) -> CommandError | StoreUnavailable:
        if why_not_now(message) is not None:
            self._distrust()
        return reply_error(message)

    async def _call(self, packed: bytes, slot: int, deadline: float) -> Reply:
        node = self._slots[slot]
        reply = _UNSERVED if node is None else await node.pipeline.call(packed, deadline)
        if isinstance(reply, hiredis.ReplyError) and _word(reply) in _AGAIN:
            return await self._call_again(packed, slot, deadline, reply, node)
        return reply

    async def _call_again(
        self, packed: bytes, slot: int, deadline: float, reply: Reply, node: _Node | None
    ) -> Reply:
        """Send a command until a node executes or refuses it; the given one did neither."""
        pause = 0.0
        with self._counted(len(packed)), trio.CancelScope(deadline=deadline):
            while isinstance(reply, hiredis.ReplyError) and (word := _word(reply)) in _AGAIN:
                if pause or word in ("CLUSTERDOWN", "TRYAGAIN"):
                    await trio.sleep(max(pause, _RETRY_MIN) * random.uniform(0.5, 1.0))
                pause = min(max(pause * 2, _RETRY_MIN), _RETRY_MAX)
                asking = word == "ASK"
                if node is not None and word in ("MOVED", "ASK"):
                    node = self._redirected(str(reply), node)
                else:
                    if word != "TRYAGAIN":
                        self._distrust()
                    node = self._slots[slot]
                if node is None:
                    reply = _UNSERVED
                elif asking:
                    reply = await node.pipeline.call(_ASKING + packed, deadline, skipped=1)
                else:
                    reply = await node.pipeline.call(packed, deadline)
            return reply
        raise StoreUnavailable(f"the Redis Cluster could not serve in time: {reply}")

    @contextmanager
    def _counted(self, size: int) -> Iterator[None]:
        """Bound what waits between attempts."""
        limits = self._limits
        if (
            self._retrying >= limits.max_waiting
            or self._retrying_bytes + size > limits.max_waiting_bytes
        ):
            raise StoreUnavailable("too many commands are waiting for Redis")
        self._retrying += 1
        self._retrying_bytes += size
        try:
            yield
        finally:
            self._retrying -= 1
            self._retrying_bytes -= size

    def _redirected(self, reply: str, node: _Node) -> _Node:
        """Return the node that a MOVED or ASK reply names; after MOVED the slot is its."""
        word, slot, place = reply.split(" ")[:3]
        host, _, port = place.rpartition(":")
        target = self._node(node_address(node.address, host, int(port)))
        if word == "MOVED":
            self._slots[int(slot)] = target
            self._distrust()
        return target

    async def _call_everywhere(self, packed: bytes, deadline: float) -> Reply:
        if not self._covered:
            self._distrust()
            raise StoreUnavailable("some slots of the Redis Cluster have no master")
        joined: list[Reply] = []
        reply: Reply = None
        for node in self._masters:
            reply = await node.pipeline.call(packed, deadline)
            if isinstance(reply, hiredis.ReplyError):
                raise (
                    StoreUnavailable("a master of the Redis Cluster was replaced meanwhile")
                    if reply is NOT_SENT
                    else self._error(str(reply))
                )
            if isinstance(reply, list):
                joined += reply
        return joined if isinstance(reply, list) else reply

    async def start(self, deadline: float) -> list[tuple[_Node, Connection]]:
        """Find the nodes and connect to every master.

        Returns:
            What `serve` wants.

        Raises:
            StoreUnavailable: no seed answers, or a master cannot be reached.
        """
        topology = (await discover(self._seeds, self._dial, deadline))[0]
        if not topology.ranges:
            raise StoreUnavailable(f"the Redis Cluster at {self._seeds[0]} serves no slots")
        self._adopt(topology)
        connections: list[tuple[_Node, Connection]] = []
        failures: list[StoreUnavailable] = []

        async def connect_to(node: _Node) -> None:
            try:
                connections.append((node, await self._dial(node.address, deadline)))
            except StoreUnavailable as error:
                failures.append(error)

        complete = False
        try:
            async with trio.open_nursery() as nursery:
                for node in self._masters:
                    nursery.start_soon(connect_to, node)
            complete = not failures
        finally:
            if not complete:
                for _, (stream, _) in connections:
                    await trio.aclose_forcefully(stream)
        if failures:
            raise failures[0]
        return connections

    async def serve(self, connections: Sequence[tuple[_Node, Connection]]) -> None:
        """Stay connected to the masters, whichever they are, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for node, connection in connections:
                    nursery.start_soon(node.pipeline.serve, connection)
                nursery.start_soon(self._keep_topology)
        finally:
            self._nursery = None

    async def _keep_topology(self) -> None:
        pause = _REFRESH_MIN
        while True:
            await self._stale.wait()
            self._stale = trio.Event()
            patience = min(_PATIENCE, self._limits.connect_timeout)
            try:
                views = await discover(self._known(), self._dial, trio.current_time() + patience)
            except StoreUnavailable:
                pass  # tried again below, as no master can be connected
            else:
                # A node that has been reset knows no other.
                if views[0].ranges:
                    self._adopt(views[0])
            if self._covered and all(node.pipeline.connected for node in self._masters):
                pause = _REFRESH_MIN
            else:
                pause = min(pause * 2, _REFRESH_MAX)
                self._distrust()
            await trio.sleep(pause * random.uniform(0.5, 1.0))

    def _known(self) -> list[RedisAddress]:
        """Return the nodes to ask, those that are likely to answer first."""
        connected = [node.address for node in self._masters if node.pipeline.connected]
        likely = [*connected, *self._replicas]
        random.shuffle(likely)
        rest = [*self._seeds, *(node.address for node in self._masters)]
        return list({(node.host, node.port): node for node in [*likely, *rest]}.values())

    def _adopt(self, topology: Topology) -> None:
        """Serve by a new topology; commands that waited for nodes without slots are sent again."""
        slots: list[_Node | None] = [None] * SLOTS
        masters: dict[tuple[str, int], _Node] = {}
        for part in topology.ranges:
            node = self._node(part.master)
            masters[node.address.host, node.address.port] = node
            slots[part.first : part.last + 1] = [node] * (part.last + 1 - part.first)
        self._slots = slots
        self._covered = None not in slots
        self._masters = tuple(masters.values())
        self._replicas = topology.replicas
        for place in self._nodes.keys() - masters.keys():
            pipeline = self._nodes.pop(place).pipeline
            pipeline.retire()
            self._past_round_trips += pipeline.round_trips

    def _node(self, address: RedisAddress) -> _Node:
        place = (address.host, address.port)
        if place not in self._nodes:
            pipeline = RedisPipeline(
                f"Redis at {address}",
                partial(self._dial, address),
                self._limits,
                on_loss=self._distrust,
                # A master that is new ends an outage only when it is connected.
                unreachable_since=self.unreachable_since,
            )
            self._nodes[place] = _Node(address, pipeline)
            if self._nursery is not None:
                self._nursery.start_soon(pipeline.serve)
        return self._nodes[place]

    def _distrust(self) -> None:
        """Have the topology read again soon."""
        self._stale.set()


def _word(reply: hiredis.ReplyError) -> str:
    return str(reply).partition(" ")[0]


def _slot(key: Argument) -> int:
    slot: int = _key_slot(key if isinstance(key, bytes) else str(key).encode())
    return slot


@asynccontextmanager
async def open_cluster(
    url: str,
    *,
    command_timeout: float = 5.0,
    connect_timeout: float = 5.0,
    max_waiting: int = 100_000,
    max_waiting_bytes: int = 256 * 1024 * 1024,
    dial: Dial = connect,
) -> AsyncIterator[ClusterClient]:
    """Connect to a Redis Cluster, and stay connected for the length of the block.

    When the block is cancelled, commands work until it ends, so that shielded cleanup
    can use them.

    Args:
        url: ``redis+cluster://`` or ``rediss+cluster://``; see `redis_url.parse_redis_url`.
        command_timeout: seconds for one command, redirections and retries included.
        connect_timeout: seconds for finding all nodes and connecting at first, then for
            one attempt to connect to one.
        max_waiting, max_waiting_bytes: for each node; see `redis_pipeline.RedisLimits`.
        dial: connects to a node.

    Raises:
        ConfigurationError: the URL cannot be used, no node that it names answers, or a
            master cannot be reached; the text is one line, without the password.
    """
    place = parse_redis_url(url)
    if not isinstance(place, RedisCluster):
        raise ConfigurationError("the Redis URL names no cluster; one is needed here")
    limits = RedisLimits(
        command_timeout=command_timeout,
        connect_timeout=connect_timeout,
        max_waiting=max_waiting,
        max_waiting_bytes=max_waiting_bytes,
    )
    client = ClusterClient(place.seeds, limits, dial)
    try:
        connections = await client.start(trio.current_time() + connect_timeout)
    except StoreUnavailable as error:
        raise ConfigurationError(str(error)) from error
    async with background(partial(client.serve, connections)):
        yield client
