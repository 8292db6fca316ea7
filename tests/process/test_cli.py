"""The command line as its user meets it: answers, errors, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from connect.harness import (
    FREE_PORTS,
    ProcessFailed,
    RunningProcess,
    RunningService,
    start_process,
    start_service,
)
from tests.support.metrics import ACKED, wait_for_metric

pytestmark = pytest.mark.process

CONNECT = [sys.executable, "-m", "connect"]
APP = "tests.process.programs.apps:app"
QUICK = ("--set=timing.lease=1s", "--set=timing.lease_grace=500ms")


async def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(60):
        return await trio.run_process(
            [*CONNECT, *arguments],
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            env=os.environ | environment,
        )


async def refused(*arguments: str) -> str:
    """Run a command that has to be refused: exit code 2 and one line on stderr."""
    done = await run(*arguments)
    text = done.stderr.decode()
    assert done.returncode == 2, text
    assert len(text.strip().splitlines()) == 1, text
    assert "Traceback" not in text
    return text


@asynccontextmanager
async def own_worker(
    service: RunningService, *arguments: str, app: str = APP
) -> AsyncIterator[RunningProcess]:
    line = [*CONNECT, "worker", app, f"--url={service.addresses['api']}", *arguments]
    async with start_process(line) as worker:
        await service.wait_for_output("worker connected")
        yield worker


async def test_help_names_the_commands() -> None:
    done = await run("--help")
    assert done.returncode == 0
    for command in (b"serve", b"dev", b"invoke", b"worker"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--no-such-flag",), "--no-such-flag"),
        (("serv",), "did you mean 'serve'"),
        (("xyzzy",), "--help"),
        (("serve", "--api-port=99999"), "99999"),
        (("serve", "--roles=gateway,cook"), "'cook' is no role; there are gateway, api, executor"),
        (("serve", "--roles=gateway"), "--session-secret"),
        (("serve", "--roles=gateway,api"), "--redis-url"),
        (("serve", "--gateway-url=http://x"), "ws:// or wss://"),
        (("serve", "--register-url=api.example.com"), "a URL such as https://api.example.com"),
        (("serve", "--register-url=http://[x"), "a URL such as https://api.example.com"),
        (("serve", "--set=timing.leese=3s"), "did you mean timing.lease?"),
        (("serve", "--set=lease"), "timing.NAME or limits.NAME"),
        (("serve", "--set=timing.lease=soon"), "'soon' is not a duration"),
        (("serve", "--set=limits.message_bytes=many"), "'many' is not a whole number"),
        (("serve", "--set=limits.message_bytes=-1"), "must not be negative"),
        (("serve", "--signing-key=nonsense"), "signkey-"),
        (("serve", "--env-id=prod"), "prod"),
        (("serve", *FREE_PORTS, "--redis-url=redis://127.0.0.1:1"), "127.0.0.1:1"),
        (("serve", *FREE_PORTS, "--redis-url=nonsense"), "redis://"),
        (("serve", *FREE_PORTS, "--host=no.such.host.invalid"), "no.such.host.invalid"),
        (("worker", "tests.process.programs.apps:ap"), "did you mean app?"),
        (("worker", "no.such.module:app"), "there is no module"),
        (("invoke", "f", "--data={"), "not JSON"),
        (("invoke", "f", "--data=@/no/such/file"), "/no/such/file"),
        (("invoke", "f", "--data={}", "--event={}"), "not both"),
        (("invoke", "f", "--timeout=soon"), "soon"),
        (("invoke", "f", "--url=http://127.0.0.1:1"), "is `connect serve` running?"),
        (("invoke", "f", "--url=nonsense"), "nonsense"),
    ],
)
async def test_what_cannot_be_is_refused_with_one_line(
    arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in await refused(*arguments)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--api-port", "the API"),
        ("--gateway-port", "the gateway"),
        ("--gateway-rpc-port", ""),
        ("--executor-rpc-port", ""),
        ("--admin-port", "the admin API"),
    ],
)
async def test_a_port_in_use_is_refused_with_one_line(option: str, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = await run("serve", *FREE_PORTS, f"{option}={port}")
    assert done.returncode == 2, done.stderr
    last = done.stderr.decode().strip().splitlines()[-1]
    assert last.startswith("connect: ")
    assert str(port) in last
    assert name in last
    assert "already in use" in last
    assert b"Traceback" not in done.stderr


async def test_an_address_file_that_cannot_be_written_is_refused() -> None:
    done = await run("serve", *FREE_PORTS, "--address-file=/no/such/folder/file")
    assert done.returncode == 2
    assert "cannot write the address file" in done.stderr.decode().splitlines()[-1]


async def test_a_password_in_a_redis_url_never_shows() -> None:
    assert "hunter2" not in await refused(
        "serve", *FREE_PORTS, "--redis-url=redis://:hunter2@127.0.0.1:1"
    )


async def test_addresses_are_printed_as_one_line_of_json() -> None:
    async with start_process([*CONNECT, "serve", *FREE_PORTS, "--print-addresses"]) as process:
        output = await process.wait_for_output("admin")
        [line] = [line for line in output.splitlines() if line.startswith("{")]
        addresses = json.loads(line)
        assert set(addresses) == {"api", "gateway", "gateway_rpc", "executor_rpc", "admin"}
        async with httpx.AsyncClient() as client:
            assert (await client.get(addresses["api"] + "/ready")).status_code == 200
        assert await process.stop(signal.SIGINT) == 0


async def test_embedded_state_is_announced() -> None:
    async with start_service() as service:
        assert "state is in memory only" in service.output


async def test_real_redis_is_not_announced_as_memory(redis_url: str) -> None:
    async with start_service(environment={"CONNECT_REDIS_URL": redis_url}) as service:
        assert "in memory" not in service.output


async def test_invoke_prints_the_result(state: tuple[str, ...]) -> None:
    async with start_service(*state) as service, own_worker(service):
        url = f"--url={service.addresses['api']}"
        done = await run("invoke", "test-echo", '--data={"name": "Ada"}', url)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"name": "Ada"})

        done = await run("invoke", "test-echo", '--event={"name": "x", "data": {"a": 1}}', url)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"a": 1})


async def test_invoke_json_shows_the_whole_run() -> None:
    async with start_service() as service, own_worker(service, app="connect.demo:app"):
        done = await run("invoke", "demo-steps", "--json", f"--url={service.addresses['api']}")
    shown = json.loads(done.stdout)
    assert (shown["status"], shown["calls"]) == ("completed", 4)
    assert shown["duration_ms"] >= 1000
    assert [step["op"] for step in shown["steps"]] == ["StepRun", "Sleep", "StepRun"]


async def test_invoke_reads_data_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"from": "file"}')
    async with start_service() as service, own_worker(service):
        done = await run(
            "invoke", "test-echo", f"--data=@{tmp_path}/data.json",
            f"--url={service.addresses['api']}",
        )  # fmt: skip
    assert json.loads(done.stdout) == {"from": "file"}


async def test_a_failed_function_exits_1_with_its_message() -> None:
    async with start_service() as service, own_worker(service):
        done = await run("invoke", "test-fails", f"--url={service.addresses['api']}")
    assert done.returncode == 1
    assert b"function failed" in done.stderr
    assert b"no luck" in done.stderr


async def test_an_unknown_function_exits_3_with_near_names() -> None:
    async with start_service() as service, own_worker(service):
        done = await run("invoke", "test-ecko", f"--url={service.addresses['api']}")
    assert done.returncode == 3
    assert b"test-echo" in done.stderr


async def test_no_worker_exits_4() -> None:
    async with start_service() as service:
        async with own_worker(service) as worker:
            assert await worker.stop(signal.SIGTERM) == 0
        await service.wait_for_output("worker disconnected")
        done = await run("invoke", "test-echo", f"--url={service.addresses['api']}")
    assert done.returncode == 4
    assert b"no worker" in done.stderr


async def test_all_workers_busy_exits_5(state: tuple[str, ...]) -> None:
    async with start_service(*state) as service, own_worker(service, "--max-concurrency=1"):
        url = f"--url={service.addresses['api']}"
        line = [*CONNECT, "invoke", "test-slow", '--data={"seconds": 60}', url]
        async with start_process(line):
            await wait_for_metric(service, ACKED, 1)
            done = await run("invoke", "test-echo", url)
    assert done.returncode == 5
    assert b"all busy" in done.stderr


async def test_a_worker_that_dies_exits_6(state: tuple[str, ...]) -> None:
    async with start_service(*state, *QUICK) as service, own_worker(service) as worker:
        done: list[subprocess.CompletedProcess[bytes]] = []

        async def invoke() -> None:
            done.append(
                await run(
                    "invoke", "test-slow", '--data={"seconds": 60}',
                    f"--url={service.addresses['api']}",
                )
            )  # fmt: skip

        async with trio.open_nursery() as nursery:
            nursery.start_soon(invoke)
            await wait_for_metric(service, ACKED, 1)
            worker.send_signal(signal.SIGKILL)
    assert done[0].returncode == 6, done[0].stderr
    assert b"worker died" in done[0].stderr


async def test_a_run_that_takes_too_long_exits_7() -> None:
    async with start_service() as service, own_worker(service):
        done = await run(
            "invoke", "test-slow", '--data={"seconds": 30}', "--timeout=500ms",
            f"--url={service.addresses['api']}",
        )  # fmt: skip
    assert done.returncode == 7
    assert b"timed out" in done.stderr


async def test_a_signing_key_is_asked_for_once_one_is_set() -> None:
    key = "signkey-test-" + "ab" * 32
    async with start_service(f"--signing-key={key}") as service:
        url = f"--url={service.addresses['api']}"
        line = [*CONNECT, "worker", APP, url]
        async with start_process(line) as stranger:
            assert await stranger.wait() == 2
            assert "refuses this worker" in stranger.output
        async with own_worker(service, f"--signing-key={key}"):
            assert (await run("invoke", "test-echo", url)).returncode == 2
            done = await run("invoke", "test-echo", url, CONNECT_SIGNING_KEY=key)
            assert done.returncode == 0, done.stderr


async def test_roles_run_in_processes_of_their_own(redis_url: str) -> None:
    shared = (f"--redis-url={redis_url}", "--session-secret=" + "s" * 32)
    async with (
        start_service(*shared, "--roles=gateway") as gateway,
        start_service(*shared, "--roles=api,executor") as api,
    ):
        assert set(gateway.addresses) == {"gateway", "gateway_rpc", "admin"}
        assert set(api.addresses) == {"api", "executor_rpc", "admin"}
        line = [*CONNECT, "worker", APP, f"--url={api.addresses['api']}"]
        async with start_process(line):
            await gateway.wait_for_output("worker connected")
            done = await run(
                "invoke", "test-echo", '--data={"a": 1}', f"--url={api.addresses['api']}"
            )
    assert json.loads(done.stdout) == {"a": 1}


async def test_sigterm_lets_a_running_function_finish() -> None:
    async with start_service() as service, own_worker(service):
        done: list[subprocess.CompletedProcess[bytes]] = []

        async def invoke() -> None:
            done.append(
                await run(
                    "invoke", "test-slow", '--data={"seconds": 3}',
                    f"--url={service.addresses['api']}",
                )
            )  # fmt: skip

        async with trio.open_nursery() as nursery:
            nursery.start_soon(invoke)
            await wait_for_metric(service, ACKED, 1)
            assert await service.stop(signal.SIGTERM) == 0
    assert (done[0].returncode, json.loads(done[0].stdout)) == (0, "slept")


async def test_a_second_signal_exits_at_once() -> None:
    async with start_service() as service, own_worker(service) as worker:
        url = f"--url={service.addresses['api']}"
        line = [*CONNECT, "invoke", "test-slow", '--data={"seconds": 60}', url]
        async with start_process(line):
            await wait_for_metric(service, ACKED, 1)
            service.send_signal(signal.SIGTERM)
            await service.wait_for_output("signal received")
            with trio.fail_after(15):  # a drain takes 25 s
                assert await service.stop(signal.SIGTERM) == 128 + signal.SIGTERM
            worker.send_signal(signal.SIGKILL)


async def test_dev_shows_a_reply_what_to_try_and_ends_cleanly() -> None:
    started = trio.current_time()
    async with start_service(command="dev") as service:
        output = await service.wait_for_output("Ctrl-C ends it.")
        assert trio.current_time() - started < 20
        assert '==> Reply: {"message": "Hello, Ada!"}' in output
        for command in ("-m connect invoke", "-m connect worker", "curl "):
            assert command in output
        done = await run("invoke", "demo-steps", f"--url={service.addresses['api']}")
        assert json.loads(done.stdout) == {"numbers": [1, 2, 3], "total": 6}
        assert await service.stop(signal.SIGINT) == 0
        assert "Traceback" not in service.output


async def test_the_harness_tells_why_a_service_did_not_start() -> None:
    with pytest.raises(ProcessFailed, match="there is no such setting"):
        async with start_service("--set=no.such=1"):
            raise AssertionError("it started")
