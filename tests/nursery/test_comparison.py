"""Registered functions against loaded definitions, at each sync."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.config.defined import DefinedFunction, DefinedFunctions
from connect.config.definitions import Function
from connect.errors import ConnectError, StoreUnavailable
from connect.nursery import comparison
from connect.nursery.comparison import compare_stored
from connect.protocol.messages.connect import v1 as pb
from connect.state.commands import CommandError
from connect.state.records import AppRecord
from tests.nursery.rig import ENV, open_rig
from tests.runs.fakes import Apps

TOLD = "registered function differs from its definition"


def defined(**changes: Any) -> Callable[[], DefinedFunctions]:
    definition = {"id": "my-app-hello", "name": "hello", "triggers": [{"event": "a"}]} | changes
    functions = DefinedFunctions([DefinedFunction(Function.from_json(definition), "hello.cue")])
    return lambda: functions


async def told(definitions: Callable[[], DefinedFunctions], workers: int = 1) -> list[Any]:
    """What is logged while so many workers of one group come, one after the other."""
    with capture_logs() as logs:
        async with open_rig(defined=definitions) as rig:
            for number in range(workers):
                await rig.worker(instance_id=f"worker-{number}")
    return [log for log in logs if log["event"] == TOLD]


async def test_differences_are_logged_with_function_and_file(autojump_clock: MockClock) -> None:
    [log] = await told(defined(name="Hello", concurrency=5))
    assert log == {
        "event": TOLD,
        "log_level": "warning",
        "app": "my-app",
        "function": "my-app-hello",
        "file": "hello.cue",
        "differences": [
            'name: defined "Hello", registered "hello"',
            "concurrency: defined 5, registered nothing",
        ],
        "number": 2,
    }


async def test_they_are_logged_once_per_sync(autojump_clock: MockClock) -> None:
    assert len(await told(defined(name="Hello"), workers=3)) == 1


async def test_what_is_registered_as_it_is_defined_is_not_told(autojump_clock: MockClock) -> None:
    assert await told(defined()) == []


async def test_functions_without_a_definition_are_not_compared(autojump_clock: MockClock) -> None:
    assert await told(defined(id="other", name="Hello")) == []


async def test_of_very_many_differences_some_are_told(autojump_clock: MockClock) -> None:
    [log] = await told(defined(triggers=[{"event": f"e{number}"} for number in range(50)]))
    assert (len(log["differences"]), log["number"]) == (20, 51)


async def test_new_code_of_an_app_is_compared_again(autojump_clock: MockClock) -> None:
    functions = b'[{"id": "my-app-hello", "name": "new", "triggers": [{"event": "a"}]}]'
    with capture_logs() as logs:
        async with open_rig(defined=defined(name="Hello")) as rig:
            await rig.worker()
            await rig.worker(
                instance_id="newer",
                apps=[pb.AppConfiguration(app_name="my-app", functions=functions)],
            )
            await trio.testing.wait_all_tasks_blocked()
    found = [log["differences"] for log in logs if log["event"] == TOLD]
    assert found == [
        ['name: defined "Hello", registered "hello"'],
        ['name: defined "Hello", registered "new"'],
    ]


async def test_a_group_that_was_synced_before_is_compared_once_by_a_new_process(
    autojump_clock: MockClock,
) -> None:
    with capture_logs() as logs:
        async with open_rig(defined=defined(name="Hello")) as rig:
            await rig.worker()
            rig.gateway.services.compared.clear()  # as in a process that has just started
            await rig.worker(instance_id="worker-2")
            await rig.worker(instance_id="worker-3")
    assert len([log for log in logs if log["event"] == TOLD]) == 2


async def test_of_very_many_syncs_the_last_ones_are_known(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_SYNCS", 2)
    apps = [AppRecord(id=f"a{n}", name=f"a{n}", sync_id=f"s{n}") for n in (1, 2, 3)]
    async with open_rig(defined=defined()) as rig:
        for app in apps:
            comparison.tell_differences(rig.gateway.services, app)
        assert list(rig.gateway.services.compared) == ["s2", "s3"]


class FailingApps(Apps):
    """An app store that fails."""

    def __init__(self, error: ConnectError) -> None:
        super().__init__()
        self._error = error

    async def all(self, env_id: str) -> list[AppRecord]:
        await trio.lowlevel.checkpoint()
        raise self._error


async def stored(apps: Apps, *ids: str) -> list[Any]:
    """What is logged when definitions with these ids have changed."""
    with capture_logs() as logs:
        await compare_stored(apps, ENV, defined(name="Hello")(), ids, log=structlog.get_logger())
    return list(logs)


async def test_what_is_stored_is_compared_with_definitions_that_have_changed() -> None:
    registered = {"id": "my-app-hello", "name": "hello", "triggers": [{"event": "a"}]}
    [log] = await stored(Apps(registered, {"id": 5}), "my-app-hello")
    assert (log["event"], log["function"], log["number"]) == (TOLD, "my-app-hello", 1)


async def test_definitions_that_have_not_changed_are_not_told_of_again() -> None:
    assert await stored(Apps({"id": "my-app-hello", "name": "hello"}), "other") == []


@pytest.mark.parametrize(
    "error", [StoreUnavailable("away"), CommandError("NOPERM no permissions for 'hvals'")], ids=repr
)
async def test_a_store_that_does_not_answer_or_refuses_is_told(error: ConnectError) -> None:
    [log] = await stored(FailingApps(error), "my-app-hello")
    assert log["event"] == "registered functions cannot be compared with new definitions"
