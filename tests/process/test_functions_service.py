"""Function definitions and their reload in the service as a process."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from connect.harness import FREE_PORTS, RunningService, start_process, start_service
from tests.process.test_cli import CONNECT, own_worker, run
from tests.process.test_sdk import sdk_worker

pytestmark = pytest.mark.process

FAULTY = """import asyncio, logging
import inngest
from inngest.connect import connect

client = inngest.Inngest(app_id="my-app", is_production=False)

@client.create_function(fn_id="nightly", trigger=inngest.TriggerCron(cron="61 * * * *"))
async def nightly(ctx: inngest.Context) -> None: ...

logging.basicConfig(level=logging.DEBUG)
asyncio.run(connect([(client, [nightly])]).start())
"""
ECHO = 'function: {id: "test-echo", name: "Echo", triggers: [{cron: "0 9 * * *"}]}'


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


async def read(service: RunningService, path: str, *, api: str = "api") -> Any:
    async with httpx.AsyncClient(base_url=service.addresses[api], timeout=30) as client:
        response = await client.get(path)
        assert response.status_code == 200, response.text
        return response.json()


async def hang_up(service: RunningService) -> dict[str, Any]:
    """Have the service reload; return how that ended."""
    before = (await read(service, "/reload", api="admin"))["last"]
    service.send_signal(signal.SIGHUP)
    with trio.fail_after(30):
        while True:
            last: dict[str, Any] | None = (await read(service, "/reload", api="admin"))["last"]
            if last is not None and last != before:
                return last
            await trio.sleep(0.02)


async def test_definitions_are_offered_from_the_start(tmp_path: Path) -> None:
    write(tmp_path, "echo.cue", ECHO)
    write(tmp_path, "common.cue", "x: 1")
    async with start_service("--functions", str(tmp_path)) as service:
        [shown] = (await read(service, "/v0/functions"))["data"]
        assert (shown["id"], shown["file"]) == ("test-echo", str(tmp_path / "echo.cue"))
        [start] = shown["next_times"]
        assert start["at"].endswith("T09:00:00Z")
        assert (await read(service, "/v0/functions/test-echo"))["data"]["registered"] == []
        await service.wait_for_output("common.cue has no field `function` and is passed over")


@pytest.mark.parametrize("command", ["serve", "dev"])
async def test_the_flag_takes_several_paths(command: str, tmp_path: Path) -> None:
    write(tmp_path, "a.cue", ECHO)
    write(tmp_path, "b.json", '{"id": "b", "name": "B", "triggers": []}')
    paths = [str(tmp_path / name) for name in ("a.cue", "b.json")]
    async with start_service("--functions", *paths, command=command) as service:
        shown = (await read(service, "/v0/functions"))["data"]
    assert [one["id"] for one in shown] == ["test-echo", "b"]


async def test_paths_without_the_flag_are_refused() -> None:
    done = await run("serve", *FREE_PORTS, "a.cue")
    assert done.returncode == 2
    assert done.stderr == b"connect serve: Got unexpected extra argument (a.cue)\n"


async def test_the_variable_names_paths_too(tmp_path: Path) -> None:
    write(tmp_path, "echo.cue", ECHO)
    environment = {"CONNECT_FUNCTIONS": str(tmp_path)}
    async with start_service(environment=environment) as service:
        assert len((await read(service, "/v0/functions"))["data"]) == 1


async def test_any_fault_refuses_the_start_with_all_faults(tmp_path: Path) -> None:
    write(tmp_path, "a.cue", ECHO.replace("0 9", "0 99"))
    write(tmp_path, "b.cue", "function: {")
    done = await run(
        "serve", *FREE_PORTS, "--functions", str(tmp_path), INNGEST_CONFIG='{log: levle: "x"}'
    )
    text = done.stderr.decode()
    assert done.returncode == 2
    assert "$INNGEST_CONFIG:1:" in text
    assert f"{tmp_path}/a.cue:1:" in text
    assert f"{tmp_path}/b.cue:1:" in text
    assert "Traceback" not in text


async def test_a_path_that_is_not_there_is_refused_with_one_line() -> None:
    done = await run("serve", *FREE_PORTS, "--functions", "nope")
    assert done.returncode == 2
    assert done.stderr == b"connect: there is no file or directory nope\n"


@asynccontextmanager
async def traffic(service: RunningService) -> AsyncIterator[list[str]]:
    """Invoke a function again and again, by several callers, for the length of the block.

    Yields:
        what came of each invocation.
    """
    outcomes: list[str] = []
    over = False

    async def call(client: httpx.AsyncClient, number: int) -> None:
        while not over:
            response = await client.post(
                "/v0/invoke", json={"function": "test-echo", "data": {"n": number}}
            )
            assert response.status_code == 200, response.text
            outcomes.append(response.json()["status"])

    async with (
        httpx.AsyncClient(base_url=service.addresses["api"], timeout=60) as client,
        trio.open_nursery() as nursery,
    ):
        for number in range(8):
            nursery.start_soon(call, client, number)
        yield outcomes
        over = True


async def answered(outcomes: list[str], more: int) -> None:
    """Wait until so many invocations more have been answered."""
    goal = len(outcomes) + more
    with trio.fail_after(60):
        while len(outcomes) < goal:
            await trio.sleep(0.02)


async def test_reloads_under_traffic_fail_no_request_and_close_no_connection(
    tmp_path: Path, state: tuple[str, ...]
) -> None:
    document = tmp_path / "service.cue"
    document.write_text("{connect: limits: run_calls: 100}")
    definitions = tmp_path / "defs"
    definitions.mkdir()
    for number in range(100):
        write(definitions, f"{number}.cue", ECHO.replace("test-echo", f"other-{number}"))
    write(definitions, "echo.cue", ECHO)
    async with (
        start_service(f"--config={document}", "--functions", str(definitions), *state) as service,
        own_worker(service),
        traffic(service) as outcomes,
    ):
        before = (await read(service, "/connections", api="admin"))["data"]

        await answered(outcomes, 20)
        document.write_text('{connect: {limits: run_calls: 200, gateway_group: "blue"}}')
        write(definitions, "echo.cue", ECHO.replace('"Echo"', '"Echoes"'))
        good = await hang_up(service)
        assert good["result"] == "applied"
        assert good["settings"] == {
            "changed": ["limits.run_calls"],
            "need_restart": ["gateway_group"],
        }
        assert good["functions"] == {"added": [], "changed": ["test-echo"], "removed": []}

        await answered(outcomes, 20)
        write(definitions, "0.cue", "function: {id: 5}")
        document.write_text("{connect: limits: run_cals: 1}")
        bad = await hang_up(service)
        assert bad["result"] == "refused"
        assert any(f"{document}:1:" in fault for fault in bad["faults"])
        assert any(f"{definitions}/0.cue:1:16" in fault for fault in bad["faults"])
        shown = (await read(service, "/v0/functions"))["data"]
        assert len(shown) == 101
        assert {one["name"] for one in shown} == {"Echo", "Echoes"}

        await answered(outcomes, 20)
        after = (await read(service, "/connections", api="admin"))["data"]
        closed = (await read(service, "/connections/closed", api="admin"))["data"]
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(service.addresses["admin"] + "/metrics")).text
    assert [one["id"] for one in after] == [one["id"] for one in before]
    assert closed == []
    assert set(outcomes) == {"completed"}
    assert 'connect_reloads_total{outcome="applied"} 1.0' in metrics
    assert 'connect_reloads_total{outcome="refused"} 1.0' in metrics
    assert "connect_reload_succeeded 0.0" in metrics


async def test_the_log_level_changes_with_a_reload(tmp_path: Path) -> None:
    document = tmp_path / "service.cue"
    document.write_text('{log: level: "error"}')
    async with start_service(f"--config={document}") as service:
        document.write_text('{log: level: "info"}')
        await hang_up(service)
        await service.wait_for_output("reloaded")
        assert "memory only" not in service.output


async def test_signing_keys_are_exchanged_by_a_reload(tmp_path: Path) -> None:
    old, new = "signkey-test-12345678", "signkey-test-abcdef01"
    document = tmp_path / "service.cue"
    document.write_text(f'{{connect: tenant: signing_keys: ["{old}"]}}')
    async with start_service(f"--config={document}") as service:
        document.write_text(f'{{connect: tenant: signing_keys: ["{new}"]}}')
        assert (await hang_up(service))["settings"]["changed"] == ["tenant.signing_keys"]
        async with httpx.AsyncClient(base_url=service.addresses["api"]) as client:
            codes = [
                (
                    await client.get("/v0/functions", headers={"Authorization": f"Bearer {key}"})
                ).status_code
                for key in (old, new)
            ]
        assert codes == [401, 200]
        document.write_text("{}")
        refused = await hang_up(service)
        assert refused["result"] == "refused"
        assert old not in service.output
        assert new not in service.output


def test_the_end_of_its_terminal_ends_the_service(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    address_file = tmp_path / "addresses"
    command = [*CONNECT, "serve", *FREE_PORTS, f"--address-file={address_file}"]
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        os.close(terminal)
        try:
            deadline = time.monotonic() + 30
            while not address_file.exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            os.close(controller)
            process.send_signal(signal.SIGHUP)  # as the kernel does for a controlling terminal
            assert process.wait(timeout=40) == 0
        finally:
            process.kill()


async def test_functions_of_the_official_sdk_are_compared_with_their_definitions(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        "hello.cue",
        'function: {id: "my-app-hello", name: "hello", triggers: [{event: "my/hello"}]}',
    )
    write(
        tmp_path,
        "flaky.cue",
        """function: {
	id: "my-app-flaky"
	name: "flaky"
	triggers: [{event: "my/flaky", expression: "event.data.n == 1"}]
	steps: main: retries: attempts: 5
	concurrency: 3
}""",
    )
    write(tmp_path, "other.cue", 'function: {id: "other", name: "O", triggers: []}')
    async with (
        start_service("--functions", str(tmp_path), "--log-format=json") as service,
        sdk_worker(service),
    ):
        shown = {one["id"]: one for one in (await read(service, "/v0/functions"))["data"]}
        env_id = "00000000-0000-4000-b000-000000000000"
        [app] = (await read(service, f"/v0/connect/envs/{env_id}/apps"))["data"]
        output = service.output
        write(
            tmp_path, "hello.cue", 'function: {id: "my-app-hello", name: "Other", triggers: []}'
        )  # fmt: skip
        assert (await hang_up(service))["functions"]["changed"] == ["my-app-hello"]
        await service.wait_for_output(str(tmp_path / "hello.cue"))
    assert [one["differences"] for one in shown["my-app-hello"]["registered"]] == [[]]
    [flaky] = shown["my-app-flaky"]["registered"]
    assert flaky["app_name"] == "my-app"
    assert [one["path"] for one in flaky["differences"]] == [
        "triggers[0]",
        "concurrency",
        "steps.main.retries.attempts",
    ]
    assert flaky["differences"][2] == {
        "path": "steps.main.retries.attempts", "defined": 5, "registered": 2,
    }  # fmt: skip
    assert shown["other"]["registered"] == []
    by_slug = {one["slug"]: one for one in app["functions"]}
    assert by_slug["my-app-flaky"]["definition"]["differences"] == flaky["differences"]
    assert by_slug["my-app-hello"]["triggers"] == [{"event": "my/hello"}]
    assert "definition" not in by_slug["my-app-steps"]
    assert output.count("registered function differs from its definition") == 1


async def test_a_worker_with_faulty_functions_is_told_which(tmp_path: Path) -> None:
    program = tmp_path / "faulty.py"
    program.write_text(FAULTY)
    async with start_service() as service:
        where = {"INNGEST_DEV": service.addresses["api"]}
        async with start_process([sys.executable, str(program)], environment=where) as worker:
            # The SDK prints the code that it is told, but not the reasons.
            await worker.wait_for_output("connect_invalid_function_config")
            await service.wait_for_output("my-app-nightly: triggers[0].cron: '61' is no minute")
