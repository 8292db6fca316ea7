"""Redis nodes in memory: each answers what a test tells it to, over memory streams."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import hiredis
import trio
import trio.testing

from connect.errors import StoreUnavailable
from connect.state.redis_dial import Connection
from connect.state.redis_url import RedisAddress

__all__ = ["SILENCE", "FakeNodes", "FakeRange", "slots_reply"]

Command = list[bytes]
Answer = Callable[[Command], bytes]
ServerEnd = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]

SILENCE = b""
"""As an answer: none, ever."""


@dataclass(frozen=True, slots=True)
class FakeRange:
    """Slots and the ports of those that serve them, the master first."""

    first: int
    last: int
    ports: tuple[int, ...]
    host: bytes = b"node"


def slots_reply(ranges: Sequence[FakeRange]) -> bytes:
    """Return the reply to CLUSTER SLOTS."""
    parts = [b"*%d\r\n" % len(ranges)]
    for one in ranges:
        parts.append(b"*%d\r\n:%d\r\n:%d\r\n" % (2 + len(one.ports), one.first, one.last))
        for port in one.ports:
            parts.append(b"*3\r\n$%d\r\n%s\r\n:%d\r\n" % (len(one.host), one.host, port))
            parts.append(b"$2\r\nid\r\n")
    return b"".join(parts)


@dataclass
class FakeNodes:
    """A network of nodes by port.

    Attributes:
        nursery: where nodes run.
        ranges: what CLUSTER SLOTS answers.
        views: what it answers on some ports instead, with state and epoch.
        answers: what a node answers to other commands; ``+port`` unless told otherwise.
        down: ports that refuse connections.
        silent: ports on which attempts to connect get no answer.
        rude: ports that close connections at CLUSTER commands.
        odd: ports that answer these with what is not Redis Cluster's.
        dialled: the addresses that were tried, in order.
        got: the commands that arrived, with their ports, CLUSTER left out.
        open: connections that are open, by port.
    """

    nursery: trio.Nursery
    ranges: tuple[FakeRange, ...] = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (2,)))
    views: dict[int, tuple[bytes, int, tuple[FakeRange, ...]]] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    down: set[int] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)
    rude: set[int] = field(default_factory=set)
    odd: set[int] = field(default_factory=set)
    dialled: list[RedisAddress] = field(default_factory=list)
    got: list[tuple[int, Command]] = field(default_factory=list)
    open: dict[int, list[ServerEnd]] = field(default_factory=dict)

    async def dial(self, address: RedisAddress, deadline: float) -> Connection:
        self.dialled.append(address)
        port = address.port
        if port in self.silent:
            await trio.sleep_until(deadline)
            raise StoreUnavailable(f"{address} is silent")
        await trio.lowlevel.checkpoint()
        if port in self.down:
            raise StoreUnavailable(f"{address} is down")
        client_end, server_end = trio.testing.memory_stream_pair()
        self.open.setdefault(port, []).append(server_end)
        self.nursery.start_soon(self._serve, port, server_end)
        return client_end, hiredis.Reader()

    async def kill(self, port: int) -> None:
        """Close the node's connections and refuse new ones."""
        self.down.add(port)
        for stream in self.open.pop(port, []):
            await trio.aclose_forcefully(stream)

    async def _serve(self, port: int, stream: ServerEnd) -> None:
        reader = hiredis.Reader()
        try:
            async with stream:
                while data := await stream.receive_some():
                    reader.feed(bytes(data))
                    while (command := reader.gets()) is not False:
                        if port in self.rude and command[0] == b"CLUSTER":
                            return
                        await stream.send_all(self._answer(port, command))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone, or the test has killed the node
        if stream in self.open.get(port, []):
            self.open[port].remove(stream)

    def _answer(self, port: int, command: Command) -> bytes:
        if port in self.odd and command[0] == b"CLUSTER":
            return b"+OK\r\n"
        state, epoch, ranges = self.views.get(port, (b"ok", 1, self.ranges))
        if command[:2] == [b"CLUSTER", b"INFO"]:
            text = b"cluster_state:%s\r\ncluster_current_epoch:%d\r\n" % (state, epoch)
            return b"$%d\r\n%s\r\n" % (len(text), text)
        if command[:2] == [b"CLUSTER", b"SLOTS"]:
            return slots_reply(ranges)
        self.got.append((port, command))
        answer = self.answers.get(port)
        return b"+%d\r\n" % port if answer is None else answer(command)
