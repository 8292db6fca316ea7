"""Runs functions to their end, through whatever executes one call."""

import difflib
import random
import time
from collections.abc import Callable

import trio
from ulid import ULID

from connect.errors import ExecutorClosing
from connect.runs.calls import CallBudget, CallServices, Execute, LostCalls
from connect.runs.errors import FunctionNotFound, InvalidEvent, RunTimeout
from connect.runs.events import INVOKED, Event, EventBus
from connect.runs.functions import ServedFunction, served_function
from connect.runs.outcome import RunResult
from connect.runs.run import Run, RunServices
from connect.settings import Settings
from connect.state.store import AppStore

__all__ = ["Runner"]

_SUGGESTIONS = 3


class Runner:
    """Runs functions to their end.

    Args:
        apps: the registered apps and their functions.
        execute: gets one request to a worker and brings its reply back; raises
            SyscodeError when no worker answers.
        settings: tenant and limits; `Limits.run_calls` bounds the calls of one run and of
            the runs that it invokes, together.
        now: the current time, in unix seconds.
        events: where waiting runs get their events from; a bus of its own when None.
        jitter: gives numbers from 0 to 1 for the pauses between attempts.
    """

    def __init__(
        self,
        apps: AppStore,
        execute: Execute,
        *,
        settings: Settings,
        now: Callable[[], float] = time.time,
        events: EventBus | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.events = EventBus() if events is None else events
        self._apps = apps
        self._settings = settings
        self._now = now
        self._closing = False
        # By their scopes; a dictionary, for its order: the same chances, the same outcome.
        self._runs: dict[trio.CancelScope, None] = {}
        self._idle = trio.Event()
        self._services = RunServices(
            calls=CallServices(execute, settings, now, jitter),
            events=self.events,
            invoke=self._run,
        )

    @property
    def running(self) -> int:
        """How many runs are in progress, not counting those that other runs invoked."""
        return len(self._runs)

    def close(self) -> None:
        """Start no more runs; those in progress go on."""
        self._closing = True

    def check_open(self) -> None:
        """Raise ExecutorClosing if no more runs are started."""
        if self._closing:
            raise ExecutorClosing("the service is stopping: ask another one")

    async def become_idle(self) -> None:
        """Wait until no run is in progress."""
        while self._runs:
            if self._idle.is_set():
                self._idle = trio.Event()
            await self._idle.wait()

    def end(self) -> None:
        """Cancel the runs in progress; whoever waits for one gets ExecutorClosing."""
        for scope in self._runs:
            scope.cancel()

    async def invoke(
        self, slug: str, *, data: object = None, event: object = None, timeout: float
    ) -> RunResult:
        """Run a function to its end, for somebody who waits for it.

        A call that no worker answers ends the run at once with the executor's error: the
        caller is to know that its worker died. Attempts of the function are for failures
        that the worker itself reports.

        Args:
            slug: the function.
            data: the event's data, a JSON object, if no `event` is given.
            event: a JSON object with ``data``, and perhaps ``name``, ``id``, ``ts``, ``user``.
            timeout: seconds until the run is given up.

        Cancelling ends the run.

        Raises:
            FunctionNotFound: no registered app serves the slug.
            InvalidEvent: `event` or `data` is not of the right shape.
            RunTimeout: the run did not end in time.
            SyscodeError: no worker answered a call.
            ExecutorClosing: no more runs are started, or this one was ended.
            StoreUnavailable: the state store did not answer.
        """
        self.check_open()
        if event is None:
            made = Event.from_json({"data": data}, now=self._now(), path="", name=INVOKED)
        elif data is None:
            made = Event.from_json(event, now=self._now(), name=INVOKED)
        else:
            raise InvalidEvent("event", "give either data or an event, not both")
        run_id = str(ULID.from_timestamp(self._now()))
        with trio.move_on_after(timeout) as scope:
            function = await self._find(slug)
            run = self._new_run(run_id, function, made, self._budget(), 0, LostCalls.RAISE)
            return await self._to_end(run)
        assert scope.cancelled_caught
        raise RunTimeout(run_id, slug, timeout)

    async def run_triggered(self, function: ServedFunction, event: Event) -> RunResult:
        """Run a function that an event triggered, with nobody waiting for it.

        A call that no worker answers counts as a failed attempt. There is no deadline:
        the function's own steps say how long it takes.

        Raises:
            SyscodeError, StoreUnavailable: the attempts are used up.
            ExecutorClosing: it was ended.
        """
        run_id = str(ULID.from_timestamp(self._now()))
        run = self._new_run(run_id, function, event, self._budget(), 0, LostCalls.RETRY)
        return await self._to_end(run)

    async def _to_end(self, run: Run) -> RunResult:
        scope = trio.CancelScope()
        self._runs[scope] = None
        try:
            with scope:
                return await run.to_end()
        finally:
            del self._runs[scope]
            if not self._runs:
                self._idle.set()
        raise ExecutorClosing("the service ended before the run did")

    async def _run(
        self, slug: str, event: Event, budget: CallBudget, depth: int, lost_calls: LostCalls
    ) -> RunResult:
        function = await self._find(slug)
        run_id = str(ULID.from_timestamp(self._now()))
        return await self._new_run(run_id, function, event, budget, depth, lost_calls).to_end()

    def _new_run(
        self,
        run_id: str,
        function: ServedFunction,
        event: Event,
        budget: CallBudget,
        depth: int,
        lost_calls: LostCalls,
    ) -> Run:
        return Run(
            run_id,
            function,
            event,
            self._services,
            budget=budget,
            depth=depth,
            lost_calls=lost_calls,
        )

    def _budget(self) -> CallBudget:
        return CallBudget(self._settings.limits.run_calls)

    async def _find(self, slug: str) -> ServedFunction:
        env_id = self._settings.tenant.env_id
        location = await self._apps.find_function(env_id, slug)
        function = served_function(location.app, slug) if location is not None else None
        if function is None:
            slugs = await self._apps.function_slugs(env_id)
            close = difflib.get_close_matches(slug, slugs, n=_SUGGESTIONS)
            raise FunctionNotFound(slug, tuple(close))
        return function
