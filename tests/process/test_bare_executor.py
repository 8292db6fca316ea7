"""An executor that has none of our code: grpclib on asyncio, with generated stubs."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from connect.harness import start_process, start_service
from connect.settings import DEVELOPMENT_ENV_ID

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "programs" / "bare_executor.py"


def generate_stubs(folder: Path) -> None:
    """Generate grpclib stubs from our .proto files, as any user of them would."""
    proto = ROOT / "connect" / "protocol" / "proto"
    plugin = Path(sys.executable).parent / "protoc-gen-grpclib_python"
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}",
            f"--plugin=protoc-gen-grpclib_python={plugin}",
            f"--python_out={folder}", f"--grpclib_python_out={folder}",
            *(str(path.relative_to(proto)) for path in proto.rglob("*.proto")),
        ],
        check=True,
    )  # fmt: skip
    # The stubs' package has the name of ours: theirs is to be found first.
    for package in ("connect", "connect/v1"):
        (folder / package / "__init__.py").touch()


async def test_it_forwards_and_receives_the_reply_on_its_own_server(
    redis_url: str, tmp_path: Path
) -> None:
    generate_stubs(tmp_path)
    async with (
        start_service(f"--redis-url={redis_url}") as service,
        start_process(
            [sys.executable, "-m", "connect", "worker", f"--url={service.addresses['api']}"]
        ),
    ):
        await service.wait_for_output("worker connected")
        url = f"{service.addresses['api']}/v0/connect/envs/{DEVELOPMENT_ENV_ID}/conns"
        async with httpx.AsyncClient() as client:
            [connection] = (await client.get(url)).json()["data"]
        done = await trio.run_process(
            [
                sys.executable, str(PROGRAM), str(tmp_path), redis_url, DEVELOPMENT_ENV_ID,
                service.addresses["gateway_rpc"], connection["id"],
            ],
            capture_stdout=True,
            cwd=tmp_path,
        )  # fmt: skip
    assert json.loads(done.stdout) == {
        "ping": "ok",
        "forwarded": True,
        "unknown": False,
        "request_id": "01JD8ZK3V4P5Q6R7S8T9V0W1X2",
        "status": "DONE",
        "body": {"message": "Hello, gRPC!"},
    }
