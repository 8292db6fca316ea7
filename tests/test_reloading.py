"""What a running service was given, given anew: all of it or nothing."""

import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.config.defined import DefinedFunction, DefinedFunctions
from connect.config.definitions import Function
from connect.errors import ConfigurationError
from connect.metrics import Metrics
from connect.reloading import FaultyInput, Given, Read, Reloadable, ReloadRecord, reload_on_hangup
from connect.settings import Limits, Listen, LogLevel, LogSettings, Settings, Timing

NOW = 1_750_000_000.0


def functions(*names: str) -> DefinedFunctions:
    return DefinedFunctions(
        DefinedFunction(Function.from_json({"id": name, "name": name, "triggers": []}), "f.cue")
        for name in names
    )


@dataclass
class Rig:
    """What a service would be around its settings.

    Attributes:
        keys: the settings whose keys were taken over.
        refused: what swapping the keys raises.
        compared: the ids of the definitions that registered functions were compared with.
        fault: what comparing raises.
        logs: what was logged.
    """

    settings: Settings = field(default_factory=Settings)
    metrics: Metrics = field(default_factory=Metrics)
    keys: list[Settings] = field(default_factory=list)
    refused: ConfigurationError | None = None
    compared: list[tuple[str, ...]] = field(default_factory=list)
    fault: Exception | None = None
    changed: list[LogLevel] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reloadable = Reloadable(
            self.settings,
            functions("a"),
            swap_keys=self._swap_keys,
            metrics=self.metrics,
            log=structlog.get_logger(),
            now=lambda: NOW,
            compare=self._compare,
        )

    def _swap_keys(self, settings: Settings) -> None:
        if self.refused is not None:
            raise self.refused
        self.keys.append(settings)

    async def _compare(self, ids: Collection[str]) -> None:
        await trio.lowlevel.checkpoint()
        assert set(ids) <= set(self.reloadable.functions)
        self.compared.append(tuple(ids))
        if self.fault is not None:
            raise self.fault

    async def reload(self, read: Read) -> ReloadRecord:
        with capture_logs() as logs:
            record = await self.reloadable.reload(
                read, lambda settings: self.changed.append(settings.log.level)
            )
        self.logs += logs
        return record

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def given(settings: Settings | None = None, *names: str, **more: Any) -> Read:
    found = Given(settings or Settings(), functions(*names), **more)
    return lambda: found


def failing(error: Exception) -> Read:
    def read() -> Given:
        raise error

    return read


NEW = Settings(
    listen=Listen(api_port=1),
    limits=Limits(run_calls=5),
    timing=Timing(lease_grace=9.0, rpc=1.0),
    log=LogSettings(level=LogLevel.DEBUG),
)


async def test_live_settings_change_in_the_objects_that_are_held(rig: Rig) -> None:
    held = rig.reloadable.settings
    limits, timing = held.limits, held.timing
    await rig.reload(given(NEW))
    assert (limits.run_calls, timing.lease_grace, held.log.level) == (5, 9.0, LogLevel.DEBUG)


async def test_settings_that_need_a_restart_stay_and_are_named(rig: Rig) -> None:
    record = await rig.reload(given(NEW))
    assert rig.reloadable.settings.listen == Settings().listen
    assert rig.reloadable.settings.timing.rpc == Settings().timing.rpc
    assert record.settings.restart == ("listen.api_port", "timing.rpc")
    [warning] = [log for log in rig.logs if log["log_level"] == "warning"]
    assert warning["settings"] == ["listen.api_port", "timing.rpc"]


async def test_the_settings_that_it_was_made_of_stay_as_they_are(rig: Rig) -> None:
    await rig.reload(given(NEW))
    assert rig.settings == Settings()


async def test_definitions_are_exchanged_and_the_changes_told(rig: Rig) -> None:
    record = await rig.reload(given(None, "b", "c"))
    assert list(rig.reloadable.functions) == ["b", "c"]
    assert (record.functions.added, record.functions.removed) == (("b", "c"), ("a",))
    assert rig.metric("connect_functions_defined") == 2


async def test_what_is_registered_is_compared_with_new_and_changed_definitions(rig: Rig) -> None:
    await rig.reload(given(None, "a", "b"))
    await rig.reload(given(None, "a"))
    named = Function.from_json({"id": "a", "name": "A", "triggers": []})
    changed = Given(Settings(), DefinedFunctions([DefinedFunction(named, "f.cue")]))
    await rig.reload(lambda: changed)
    assert rig.compared == [("b",), ("a",)]


async def test_a_comparison_that_fails_unforeseen_is_logged_and_the_reload_stands(rig: Rig) -> None:
    rig.fault = RuntimeError("broken for the test")
    record = await rig.reload(given(None, "a", "b"))
    assert record.succeeded
    assert list(rig.reloadable.functions) == ["a", "b"]
    assert rig.logs[-1]["event"] == "new definitions cannot be compared with registered functions"


async def test_a_refused_reload_compares_nothing(rig: Rig) -> None:
    await rig.reload(failing(ConfigurationError("no")))
    assert rig.compared == []


async def test_whoever_asked_is_told_of_the_new_settings(rig: Rig) -> None:
    await rig.reload(given(NEW))
    assert rig.changed == [LogLevel.DEBUG]


async def test_keys_are_taken_over(rig: Rig) -> None:
    await rig.reload(given(NEW))
    assert rig.keys == [NEW]


async def test_warnings_are_logged(rig: Rig) -> None:
    await rig.reload(given(None, warnings=("mind the gap",)))
    assert {"event": "mind the gap", "log_level": "warning"} in rig.logs


async def test_a_fault_leaves_everything_as_it_was(rig: Rig) -> None:
    record = await rig.reload(failing(FaultyInput(("f.cue:1:1: no", "g.cue:2:1: no"), "shown")))
    assert record.faults == ("f.cue:1:1: no", "g.cue:2:1: no")
    assert list(rig.reloadable.functions) == ["a"]
    assert (rig.changed, rig.keys) == ([], [])
    [log] = rig.logs
    assert (log["log_level"], log["faults"]) == ("error", ["f.cue:1:1: no", "g.cue:2:1: no"])


async def test_keys_that_cannot_be_leave_everything_as_it_was(rig: Rig) -> None:
    rig.refused = ConfigurationError("the key is malformed")
    record = await rig.reload(given(NEW, "b"))
    assert record.faults == ("the key is malformed",)
    assert rig.reloadable.settings == Settings()
    assert list(rig.reloadable.functions) == ["a"]


async def test_a_failure_that_nobody_foresaw_is_logged_and_changes_nothing(rig: Rig) -> None:
    record = await rig.reload(failing(RuntimeError("a secret detail")))
    assert record.faults == ("RuntimeError while reading",)
    assert rig.reloadable.settings == Settings()
    assert rig.logs[0]["exc_info"]


def test_before_the_first_reload_none_has_failed(rig: Rig) -> None:
    assert rig.reloadable.last is None
    assert rig.metric("connect_reload_succeeded") == 1


async def test_the_outcome_of_the_last_reload_is_kept_and_counted(rig: Rig) -> None:
    await rig.reload(given())
    assert rig.reloadable.last == ReloadRecord(
        at=NOW, functions=functions("a").changes(functions())
    )
    assert rig.metric("connect_reload_time_seconds") == NOW
    await rig.reload(failing(ConfigurationError("no")))
    assert rig.metric("connect_reload_succeeded") == 0
    assert rig.metric("connect_reloads_total", outcome="applied") == 1
    assert rig.metric("connect_reloads_total", outcome="refused") == 1


async def test_a_record_says_in_json_what_changed(rig: Rig) -> None:
    record = await rig.reload(given(NEW, "b"))
    assert record.as_json() == {
        "result": "applied",
        "faults": [],
        "settings": {
            "changed": ("timing.lease_grace", "limits.run_calls", "log.level"),
            "need_restart": ("listen.api_port", "timing.rpc"),
        },
        "functions": {"added": ("b",), "changed": (), "removed": ("a",)},
    }


async def test_cancelled_while_reading_it_leaves_everything_as_it_was(rig: Rig) -> None:
    def read() -> Given:
        trio.from_thread.run_sync(scope.cancel)
        return given(NEW, "b")()

    with trio.CancelScope() as scope:
        await rig.reload(read)
    assert scope.cancelled_caught
    assert rig.reloadable.last is None
    assert rig.reloadable.settings == Settings()


async def test_reading_that_does_not_end_is_given_up_and_refused(
    rig: Rig, autojump_clock: MockClock
) -> None:
    left_behind = threading.Event()

    def read() -> Given:
        left_behind.wait(10)
        return given(NEW)()

    record = await rig.reload(read)
    left_behind.set()
    assert record.faults == ("reading has taken longer than 300 s",)
    assert rig.reloadable.settings == Settings()
    autojump_clock.autojump_threshold = float("inf")  # it would not wait for the thread
    assert (await rig.reload(given(NEW))).succeeded


async def test_each_hangup_reloads_until_the_terminal_has_gone(rig: Rig) -> None:
    there = iter([True, True, False])

    async def wait_for_hangup() -> bool:
        await trio.lowlevel.checkpoint()
        return next(there)

    with capture_logs():
        await reload_on_hangup(wait_for_hangup, rig.reloadable, given(NEW), lambda settings: None)
    assert rig.metric("connect_reloads_total", outcome="applied") == 2
