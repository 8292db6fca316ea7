"""The official SDK at a gateway that is full: it goes on trying, and gets in when there is room."""

import sys
from pathlib import Path

import pytest
import trio

from connect.harness import start_process, start_service

pytestmark = pytest.mark.process

SDK_WORKER = Path(__file__).parent / "programs" / "sdk_worker.py"


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("connections", "connect_gateway_full"),
        ("connections_per_address", "connect_too_many_connections_per_address"),
        ("connections_per_account", "connect_too_many_connections_per_account"),
    ],
)
async def test_a_worker_that_is_refused_gets_in_when_another_has_left(
    limit: str, code: str
) -> None:
    async with start_service(f"--set=limits.{limit}=1") as service:
        url = service.addresses["api"]
        first = [sys.executable, "-m", "connect", "worker", f"--url={url}"]
        async with start_process(first) as worker:
            await service.wait_for_output("worker connected")
            sdk = [sys.executable, str(SDK_WORKER)]
            async with start_process(sdk, environment={"INNGEST_DEV": url}) as refused:
                await service.wait_for_output(code)
                assert await worker.stop() == 0
                with trio.fail_after(30):
                    while service.output.count("worker connected") < 2:
                        assert refused.process.poll() is None, refused.output
                        await trio.sleep(0.1)
