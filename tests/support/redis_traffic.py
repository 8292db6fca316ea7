"""Traffic on a Redis whose every reply says whether it belongs to its caller."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from connect.errors import StoreUnavailable
from connect.state.commands import Commands
from tests.support.tcp_proxy import Proxy

__all__ = ["Traffic", "traffic_on", "traffic_through"]


@dataclass
class Traffic:
    """What callers have seen, each of which writes one key of its own, value after value.

    A write answers with the value before, which must be one that this caller wrote. On a
    server that loses nothing it is the last confirmed one or one in doubt.

    Attributes:
        loses_writes: whether confirmed writes may be lost, as in a failover.
        answered, unavailable: calls so far, by what became of them.
        wrong: replies that no such call can have had.
        longest_gap: seconds between two answers, at the most.
    """

    loses_writes: bool
    answered: int = 0
    unavailable: int = 0
    wrong: list[str] = field(default_factory=list)
    longest_gap: float = 0.0
    _last_answer: float = 0.0

    async def call(self, commands: Commands, key: str, pause: float) -> None:
        """Write the key again and again."""
        written: set[bytes | None] = {await self._read(commands, key)}
        doubtful: set[bytes | None] = set(written)
        confirmed = next(iter(written))
        number = 0
        while True:
            number += 1
            value = f"{key}={number}".encode()
            written.add(value)
            try:
                before = await commands.execute("SET", key, value, "GET")
            except StoreUnavailable:
                self.unavailable += 1
                doubtful.add(value)
                await trio.sleep(max(pause, 0.001))
                continue
            possible = written if self.loses_writes else {confirmed, *doubtful}
            if before not in possible:
                self.wrong.append(f"{key}: {before!r} before {value!r}")
            confirmed = value
            self.answered += 1
            now = trio.current_time()
            self.longest_gap = max(self.longest_gap, now - self._last_answer)
            self._last_answer = now
            await trio.sleep(pause)

    async def _read(self, commands: Commands, key: str) -> bytes | None:
        while True:
            try:
                value: bytes | None = await commands.execute("GET", key)
            except StoreUnavailable:
                self.unavailable += 1
                await trio.sleep(0.001)
            else:
                return value

    async def wait_for(self, answers: int) -> None:
        """Return when so many more calls have been answered."""
        wanted = self.answered + answers
        while self.answered < wanted:
            await trio.sleep(0.01)


@asynccontextmanager
async def traffic_on(
    commands: Commands,
    *,
    keys: list[str],
    pause: float = 0.0,
    loses_writes: bool = False,
) -> AsyncIterator[Traffic]:
    """Have one caller for each key call for the length of the block.

    Args:
        pause: seconds between two calls of one caller.
    """
    traffic = Traffic(loses_writes, _last_answer=trio.current_time())
    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(traffic.call, commands, key, pause)
        yield traffic
        nursery.cancel_scope.cancel()


async def traffic_through(proxy: Proxy, commands: Commands, seed: int) -> Traffic:
    """Disturb the proxy while callers call through it, then wait until all is well again.

    Args:
        seed: of what is done, and when.
    """
    chance = random.Random(seed)
    keys = [f"{{k{number}}}:x" for number in range(12)]
    async with traffic_on(commands, keys=keys) as traffic:
        for _ in range(12):
            await trio.sleep(chance.uniform(0, 0.08))
            match chance.choice(["cut", "stall", "resume", "delay", "pieces"]):
                case "cut":
                    proxy.cut()
                case "stall":
                    proxy.stall()
                case "resume":
                    proxy.resume()
                case "delay":
                    proxy.delay = chance.choice([0, 0.001, 0.02])
                case _:
                    proxy.piece = chance.choice([7, 100, 65536])
        proxy.delay, proxy.piece = 0.0, 65536
        proxy.resume()
        with trio.fail_after(5):
            await traffic.wait_for(200)
    return traffic
