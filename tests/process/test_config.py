"""The service with a configuration document."""

import os
import re
from pathlib import Path

import httpx
import pytest
import trio

from connect.harness import FREE_PORTS, start_service
from tests.process.test_cli import CONNECT, run

pytestmark = pytest.mark.process


async def test_serve_runs_with_what_its_document_gives(tmp_path: Path) -> None:
    path = tmp_path / "own.cue"
    path.write_text(
        'config: {log: {level: "debug", format: "json"}, queue: service: backend: "inmemory"\n'
        'connect: tenant: event_keys: ["${KEY}"]}'
    )
    async with start_service("--config", str(path), environment={"KEY": "hunter2"}) as service:
        output = await service.wait_for_output("queue: accepted, without effect")
        assert '"level": "warning"' in output
        async with httpx.AsyncClient(base_url=service.addresses["api"]) as client:
            event = {"name": "test/event", "data": {}}
            assert (await client.post("/e/wrong", json=event)).status_code == 401
            assert (await client.post("/e/hunter2", json=event)).status_code == 200
        assert "hunter2" not in service.output


async def test_a_flag_comes_before_the_document() -> None:
    environment = {"INNGEST_CONFIG": '{log: level: "error"}'}
    async with start_service("--log-level=warning", environment=environment) as service:
        await service.wait_for_output("state is in memory only")


async def test_the_documents_log_level_is_that_of_the_service() -> None:
    environment = {"INNGEST_CONFIG": '{log: level: "error"}'}
    async with start_service(environment=environment) as service:
        assert service.output == ""


async def test_serve_warns_when_there_is_no_document() -> None:
    async with start_service() as service:
        await service.wait_for_output("no configuration: none of inngest.cue")


async def test_dev_does_not() -> None:
    async with start_service(command="dev") as service:
        output = await service.wait_for_output("Ctrl-C ends it.")
        assert "no configuration" not in output


async def test_a_document_with_faults_keeps_it_from_starting() -> None:
    done = await run("serve", *FREE_PORTS, INNGEST_CONFIG='{log: levle: "x", eventAPI: port: 0}')
    text = done.stderr.decode()
    assert done.returncode == 2
    assert re.search(r"\$INNGEST_CONFIG:1:\d+: log\.levle: .*did you mean", text)
    assert re.search(r"\$INNGEST_CONFIG:1:\d+: eventAPI\.port: ", text)
    assert "Traceback" not in text


async def test_a_document_that_is_missing_is_refused_with_one_line() -> None:
    done = await run("serve", *FREE_PORTS, "--config=no.cue")
    assert done.returncode == 2
    assert done.stderr.decode() == "connect: there is no file or directory no.cue\n"


async def test_the_first_of_the_usual_places_is_read(tmp_path: Path) -> None:
    (tmp_path / "inngest.json").write_text('{"connect": {"timing": {"lease": "soon"}}}')
    with trio.fail_after(60):
        done = await trio.run_process(
            [*CONNECT, "serve", *FREE_PORTS],
            check=False,
            capture_stderr=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
        )
    assert done.returncode == 2
    assert b"inngest.json:1:34: connect.timing.lease: no number at 'soon'" in done.stderr


async def test_config_commands_run_as_processes(tmp_path: Path) -> None:
    path = tmp_path / "inngest.cue"
    assert (await run("config", "init", str(path))).returncode == 0
    assert (await run("config", "check", str(path))).returncode == 0
    path.write_text("{log: 5}")
    assert (await run("config", "check", str(path))).returncode == 1
    assert (await run("config", "chek", str(path))).returncode == 2
