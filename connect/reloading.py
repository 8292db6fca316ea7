"""What a running service was given, and how it is given anew: all of it, or nothing.

Everything reads settings and definitions where it uses them, from the objects kept here, so
that a reload touches no task and no connection.
"""

import sys
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import trio
from structlog.typing import FilteringBoundLogger

from connect.config.catalogue import catalogue, value_at
from connect.config.defined import Changes, DefinedFunctions
from connect.config.reload import ReloadPlan, reload_plan
from connect.errors import ConfigurationError
from connect.metrics import Metrics
from connect.settings import Settings

__all__ = [
    "FaultyInput",
    "Given",
    "Read",
    "Reloadable",
    "ReloadRecord",
    "reload_on_hangup",
]

# How soon a thread that reads gives way to the service's own, in seconds. Python's default of
# 5 ms would hold up a request at every one of its steps.
_SWITCH_SECONDS = 0.0005

# How long reading may take: far longer than for ten thousand definitions, but not without end,
# as it would on a file system that has gone away.
_READING_SECONDS = 300.0


class FaultyInput(ConfigurationError):
    """Configuration or function definitions with faults.

    Attributes:
        faults: everything that is wrong, a line each (more for a fault of several).
        shown: the same, for people: with the lines quoted.
    """

    def __init__(self, faults: tuple[str, ...], shown: str) -> None:
        super().__init__(faults, shown)
        self.faults = faults
        self.shown = shown

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True, slots=True)
class Given:
    """What a service is given from outside.

    Attributes:
        warnings: what an operator should know of it; free of secrets.
        no_document: what to tell at the start when there is no configuration document.
    """

    settings: Settings
    functions: DefinedFunctions
    warnings: tuple[str, ...] = ()
    no_document: str | None = None


Read: TypeAlias = Callable[[], Given]
"""Reads it all again; raises ConfigurationError. Called in a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadRecord:
    """How a reload ended.

    Attributes:
        at: when, in unix seconds.
        faults: why nothing changed; empty if it took effect.
        settings: the settings that changed, and those that wait for a restart.
        functions: the definitions that changed.
    """

    at: float
    faults: tuple[str, ...] = ()
    settings: ReloadPlan = field(default_factory=ReloadPlan)
    functions: Changes = field(default_factory=Changes)

    @property
    def succeeded(self) -> bool:
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """Return it without the time, in JSON's types."""
        return {
            "result": "applied" if self.succeeded else "refused",
            "faults": list(self.faults),
            "settings": {"changed": self.settings.live, "need_restart": self.settings.restart},
            "functions": asdict(self.functions),
        }


class Reloadable:
    """The settings and the function definitions of one service.

    Attributes:
        settings: the service's own; the object stays, and those of its values that may
            change in a running service change with a reload.
        functions: the definitions; another object after each reload.
        last: how the last reload ended; None before the first.

    Args:
        swap_keys: called with new settings before anything changes; takes over their keys and
            secrets, or raises ConfigurationError and takes over none.
        now: unix time in seconds.
        compare: called with the ids of definitions that are new or have changed, once they have
            taken effect; tells how what workers have registered differs from them.
    """

    def __init__(
        self,
        settings: Settings,
        functions: DefinedFunctions,
        *,
        swap_keys: Callable[[Settings], None],
        metrics: Metrics,
        log: FilteringBoundLogger,
        now: Callable[[], float],
        compare: Callable[[Collection[str]], Awaitable[None]] | None = None,
    ) -> None:
        # Its sections are copied: whoever made the settings keeps what they made.
        self.settings = replace(
            settings, **{name: replace(section) for name, section in _sections(settings)}
        )
        self.functions = functions
        self.last: ReloadRecord | None = None
        self._swap_keys = swap_keys
        self._metrics = metrics
        self._log = log
        self._now = now
        self._compare = compare
        self._switch_seconds = sys.getswitchinterval()  # of old: a thread may be left behind
        metrics.functions_defined.set(len(functions))

    async def reload(
        self, read: Read, changed: Callable[[Settings], None] = lambda settings: None
    ) -> ReloadRecord:
        """Read everything again and, if it is without fault, let it take effect.

        Cancelled while it reads, it leaves everything as it was, and the thread that reads is
        left behind, as is one that takes longer than 300 s; later, what was read has taken effect.

        Args:
            read: called in a thread, as evaluating many definitions takes seconds.
            changed: called with the settings when they have taken effect.

        Returns:
            How it ended, which is also logged and counted.
        """
        new: Given | ConfigurationError
        new = ConfigurationError(f"reading has taken longer than {_READING_SECONDS:.0f} s")
        with trio.move_on_after(_READING_SECONDS):
            new = await trio.to_thread.run_sync(self._outcome, read, abandon_on_cancel=True)
        try:
            if isinstance(new, ConfigurationError):
                raise new
            self._swap_keys(new.settings)
        except ConfigurationError as error:
            self.last = self._refuse(error)
        else:
            self.last = self._apply(new)
            changed(self.settings)
            self._tell(self.last, new.warnings)
        self._metrics.reloads.labels("applied" if self.last.succeeded else "refused").inc()
        self._metrics.reload_time.set(self.last.at)
        self._metrics.reload_succeeded.set(self.last.succeeded)
        record = self.last
        new_ids = (*record.functions.added, *record.functions.changed)
        if new_ids and self._compare is not None:
            try:
                await self._compare(new_ids)
            except Exception:  # noqa: BLE001 - logged; what was read has taken effect, and stays
                self._log.exception("new definitions cannot be compared with registered functions")
        return record

    def _apply(self, new: Given) -> ReloadRecord:
        plan = reload_plan(self.settings, new.settings)
        changes = self.functions.changes(new.functions)
        for path in plan.live:
            section, _, name = path.rpartition(".")
            holder = value_at(self.settings, section) if section else self.settings
            # The one place where settings change: those that `catalogue` calls live are read
            # wherever they are used, from this object.
            object.__setattr__(holder, name, value_at(new.settings, path))
        self.functions = new.functions
        self._metrics.functions_defined.set(len(new.functions))
        return ReloadRecord(at=self._now(), settings=plan, functions=changes)

    def _tell(self, record: ReloadRecord, warnings: tuple[str, ...]) -> None:
        for warning in warnings:
            self._log.warning(warning)
        self._log.info(
            "reloaded",
            settings=list(record.settings.live),
            functions=len(self.functions),
            added=list(record.functions.added),
            changed=list(record.functions.changed),
            removed=list(record.functions.removed),
        )
        if record.settings.restart:
            restart = list(record.settings.restart)
            self._log.warning("settings that need a restart", settings=restart)

    def _refuse(self, error: ConfigurationError) -> ReloadRecord:
        faults = error.faults if isinstance(error, FaultyInput) else (str(error),)
        self._log.error("reload refused, nothing has changed", faults=list(faults))
        return ReloadRecord(at=self._now(), faults=faults)

    def _outcome(self, read: Read) -> Given | ConfigurationError:
        """Read, and return what is raised: a running service does not end for that."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            return read()
        except ConfigurationError as error:
            return error
        except Exception as error:  # noqa: BLE001 - logged, and counted as a reload that failed
            self._log.exception("what a reload was to read cannot be read")
            return ConfigurationError(f"{type(error).__name__} while reading")
        finally:
            sys.setswitchinterval(self._switch_seconds)


def _sections(settings: Settings) -> Iterator[tuple[str, Any]]:
    for section in {setting.section for setting in catalogue().values()} - {""}:
        yield section, value_at(settings, section)


async def reload_on_hangup(
    wait_for_hangup: Callable[[], Awaitable[bool]],
    reloadable: "Reloadable",
    read: Read,
    changed: Callable[[Settings], None],
) -> None:
    """Reload with each SIGHUP; until cancelled, or until the terminal has gone.

    Args:
        wait_for_hangup: `connect.signals.ServiceSignals.wait_for_hangup`.
        changed: called with the settings after each reload that took effect.
    """
    while await wait_for_hangup():
        await reloadable.reload(read, changed)
