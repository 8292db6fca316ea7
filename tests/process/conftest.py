"""Services as processes, on embedded state and on a real Redis."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connect.harness import FREE_PORTS
from tests.support.redis_server import redis_server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis_server() as server:
        yield server.url


@pytest.fixture(params=["embedded", "redis"])
def state(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Arguments that choose where state lives."""
    if request.param == "embedded":
        return ()
    return (f"--redis-url={request.getfixturevalue('redis_url')}",)


@pytest.fixture(scope="session")
def shared_service() -> Iterator[str]:
    """The API address of a service that tests may share, which only ask it questions."""
    with tempfile.TemporaryDirectory() as folder:
        address_file = Path(folder) / "addresses.json"
        line = [sys.executable, "-m", "connect", "serve", *FREE_PORTS]
        with subprocess.Popen(
            [*line, f"--address-file={address_file}", "--log-level=error"]
        ) as process:
            try:
                deadline = time.monotonic() + 30
                while not address_file.exists():
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                yield json.loads(address_file.read_text())["api"]
            finally:
                process.terminate()
                process.wait(timeout=40)
