"""Runs that events start: published events go to waiting runs, and start new ones."""

from collections.abc import Sequence

import structlog
import trio

from connect.config.triggers import EventTrigger, covers
from connect.runs.errors import ExpressionError, TooManyRuns
from connect.runs.events import Event
from connect.runs.expressions import Expression
from connect.runs.functions import ServedFunction, served_functions
from connect.runs.runner import Runner
from connect.state.store import AppStore

__all__ = ["TriggeredRuns"]

_log = structlog.get_logger(__name__)


class TriggeredRuns:
    """Publishes events, and owns the runs that they start.

    Args:
        runner: runs them, and has the bus of the waiting runs.
        apps: the registered apps and their functions.
        env_id: the environment.
        nursery: where the runs live; cancelling it ends them.
        limit: how many runs may be in progress.
    """

    def __init__(
        self,
        runner: Runner,
        apps: AppStore,
        *,
        env_id: str,
        nursery: trio.Nursery,
        limit: int = 1000,
    ) -> None:
        self._runner = runner
        self._apps = apps
        self._env_id = env_id
        self._nursery = nursery
        self._limit = limit
        self._running = 0

    @property
    def running(self) -> int:
        """How many runs are in progress."""
        return self._running

    async def publish(self, events: Sequence[Event]) -> int:
        """Give events to waiting runs, and start the functions that they trigger.

        A function starts once per event, however many of its triggers match. Cancelling
        before the store has answered publishes nothing.

        Returns:
            How many runs were started.

        Raises:
            ExecutorClosing: no more runs are started; nothing was published.
            TooManyRuns: not all runs can be started; then nothing was published.
            StoreUnavailable: the functions could not be read; nothing was published.
        """
        functions = [
            function
            for app in await self._apps.all(self._env_id)
            for function in served_functions(app)
            if function.triggers
        ]
        starts = [
            (function, event)
            for event in events
            for function in functions
            if _triggers(function, event)
        ]
        self._runner.check_open()
        if self._running + len(starts) > self._limit:
            raise TooManyRuns(self._limit)
        for event in events:
            self._runner.events.publish(event)
        for function, event in starts:
            self._running += 1
            self._nursery.start_soon(self._run, function, event)
        return len(starts)

    async def _run(self, function: ServedFunction, event: Event) -> None:
        log = _log.bind(function=function.slug, event_id=event.id, event_name=event.name)
        try:
            result = await self._runner.run_triggered(function, event)
        except Exception:
            # The last resort: nobody waits for this run, and it must not end all others.
            log.exception("run lost")
        else:
            if result.error is not None:
                log.warning("run failed", run_id=result.run_id, error=dict(result.error))
        finally:
            self._running -= 1


def _triggers(function: ServedFunction, event: Event) -> bool:
    return any(
        _holds(trigger, function, event)
        for trigger in function.triggers
        if covers(trigger.event, event.name)
    )


def _holds(trigger: EventTrigger, function: ServedFunction, event: Event) -> bool:
    if trigger.expression is None:
        return True
    try:
        outcome = Expression(trigger.expression, ("event",)).outcome(event=event.as_json())
    except ExpressionError as error:
        _log.warning("trigger ignored", function=function.slug, reason=str(error))
        return False
    if outcome.refused:
        _log.warning("trigger ignored", function=function.slug, reason=outcome.reason)
    return outcome.holds
