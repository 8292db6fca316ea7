"""Registered functions against loaded definitions, at each sync."""

from collections.abc import Callable
from typing import Any

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.config.defined import DefinedFunction, DefinedFunctions
from connect.config.definitions import Function
from connect.protocol.messages.connect import v1 as pb
from tests.nursery.rig import open_rig

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
