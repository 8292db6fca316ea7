"""The way from a node to Redis, and what goes wrong on it.

The real client (`connect.state.redis_pipeline`) sends what all tasks of a process ask over
one connection, in order, and fails what gets no answer in time. So does this.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import trio

from connect.errors import StoreUnavailable
from connect.state.commands import Argument, CommandError, Reply, Script
from tests.simulation.network import Network
from tests.simulation.redis import MemoryRedis

__all__ = ["HOST", "Condition", "NodeCommands", "RedisServer"]

HOST = "redis"

# How often an answer takes a way of its own, on which things can happen.
_SLOW_ANSWERS = 0.1


class Condition(Enum):
    """How Redis is."""

    WELL = auto()
    REFUSING = auto()  # it is down: whoever asks is told at once
    HANGING = auto()  # stopped: what is asked is carried out when it goes on
    FORGETFUL = auto()  # it carries out what is asked, but its answers get lost


@dataclass(slots=True, eq=False)
class _Asked:
    """A command on its way.

    Attributes:
        arrives: when, in seconds of the Trio clock.
        settled: set when `reply` or `error` is there.
    """

    arrives: float
    carry_out: Callable[[], Reply]
    settled: trio.Event = field(default_factory=trio.Event)
    reply: Reply = None
    error: Exception | None = None

    def settle(self) -> None:
        try:
            self.reply = self.carry_out()
        except CommandError as error:
            self.error = error
        self.settled.set()


class RedisServer:
    """The one Redis of a simulation.

    Attributes:
        condition: see `Condition`; set by `become`.
        refusing_since: when it began to refuse connections, on the Trio clock; None if it
            does not.
        asking: the process whose command is being carried out.
    """

    def __init__(self, database: MemoryRedis, network: Network, rng: random.Random) -> None:
        self.database = database
        self.condition = Condition.WELL
        self.refusing_since: float | None = None
        self.asking = ""
        self._network = network
        self._rng = rng
        self._waiting: deque[tuple[str, _Asked]] = deque()

    def become(self, condition: Condition) -> None:
        """Change its condition; what waits is carried out if it is well."""
        self.condition = condition
        self.refusing_since = trio.current_time() if condition is Condition.REFUSING else None
        if condition is not Condition.HANGING:
            while self._waiting:
                self.take(*self._waiting.popleft())

    def take(self, process: str, asked: _Asked) -> None:
        """Let a command arrive."""
        if self.condition is Condition.HANGING:
            self._waiting.append((process, asked))
        elif self.condition is Condition.REFUSING:
            asked.error = StoreUnavailable("Redis refuses the connection")
            asked.settled.set()
        else:
            self.asking = process
            asked.settle()
            if self.condition is Condition.FORGETFUL:
                asked.error = StoreUnavailable("the connection to Redis broke")

    def answers_late(self) -> bool:
        """Draw whether an answer takes its time."""
        return self._rng.random() < _SLOW_ANSWERS


class NodeCommands:
    """`Commands` of one node.

    Args:
        timeout: seconds for one command (`Timing.store_command`).
        process: the name to ask under; that of the node when empty.
    """

    def __init__(
        self,
        server: RedisServer,
        network: Network,
        node: str,
        timeout: float,
        *,
        process: str = "",
    ) -> None:
        self._server = server
        self._process = process or node
        self._network = network
        self._node = node
        self._timeout = timeout
        self._sent: deque[_Asked] = deque()
        self._last_arrival = 0.0
        self._dead = False
        self._round_trips = 0

    @property
    def round_trips(self) -> int:
        return self._round_trips

    @property
    def unreachable_since(self) -> float | None:
        """Since when Redis refuses connections; any other link to it is there, if it is dead."""
        return self._server.refusing_since

    async def execute(self, *args: Argument) -> Reply:
        return await self._ask(lambda: self._server.database.execute(args))

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()
    ) -> Reply:
        return await self._ask(lambda: self._server.database.run(script, keys, args))

    def die(self) -> None:
        """Have the node be gone: nothing that it asks, or has asked just now, is done."""
        self._dead = True
        while self._sent:
            asked = self._sent.popleft()
            asked.error = _gone()
            asked.settled.set()

    async def _ask(self, carry_out: Callable[[], Reply]) -> Reply:
        if self._dead:
            await trio.lowlevel.checkpoint()
            raise _gone()
        self._round_trips += 1
        self._last_arrival = max(self._last_arrival, self._network.arrival())
        asked = _Asked(self._last_arrival, carry_out)
        self._sent.append(asked)
        with trio.move_on_after(self._timeout):
            await trio.sleep_until(asked.arrives)
            if not asked.settled.is_set():
                await self._deliver()
                await asked.settled.wait()
            if self._server.answers_late() or self._network.is_blocked(HOST, self._node):
                await self._network.way(HOST, self._node)
            if asked.error is not None:
                raise asked.error
            return asked.reply
        if asked in self._sent:
            self._sent.remove(asked)  # the client starts afresh, over a new connection
        raise StoreUnavailable(f"no answer from Redis within {self._timeout:g} s")

    async def _deliver(self) -> None:
        """Let everything arrive that is due, in order."""
        if self._network.is_blocked(self._node, HOST):
            await self._network.way(self._node, HOST)
        now = trio.current_time()
        while self._sent and self._sent[0].arrives <= now:
            self._server.take(self._process, self._sent.popleft())


def _gone() -> StoreUnavailable:
    return StoreUnavailable("this node is gone")
