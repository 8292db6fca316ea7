"""Callers that send requests at a steady rate, and ask again until each is answered.

They do what a queue before executors does: a request that failed, or whose executor died or
stays silent, is given to the other executor under the same request id.
"""

import random
import time
from dataclasses import dataclass, field
from typing import Any

import trio
from ulid import ULID

from connect.settings import DEVELOPMENT_ACCOUNT_ID, DEVELOPMENT_ENV_ID
from tests.faults.apps import APP_NAME, EVENT, LIMIT, LIMITED_APP_NAME, OFFICIAL_APP_NAME
from tests.faults.deployment import Deployment
from tests.faults.nodes import ExecutorGone

__all__ = [
    "EXECUTOR_ABSENT",
    "EXECUTOR_ENDED",
    "EXECUTOR_LOST",
    "EXECUTOR_SILENT",
    "Call",
    "FailedAttempt",
    "Load",
    "WORKER_FAILED",
]

EXECUTOR_ABSENT = "no executor runs"
EXECUTOR_ENDED = "the executor ended"
EXECUTOR_SILENT = "the executor is silent"
EXECUTOR_LOST = frozenset({EXECUTOR_ENDED, EXECUTOR_SILENT})
"""The reasons of attempts that ended without a word of the executor."""
WORKER_FAILED = "the worker's reply is an error"

# The status of a reply with a result, as the protocol names it.
_DONE = "DONE"

_SHORT_SECONDS = 0.02
# One request in so many is long, and one in so many goes to the official SDK.
_LONG_ONE_IN = 10
_OFFICIAL_ONE_IN = 5
_OFFICIAL_LONG_ONE_IN = 30
# One in so many goes to the worker that has a limit, beginning with this one.
_LIMITED_ONE_IN = 20
_LIMITED_FIRST = 3
# Parts of the time after which that worker would always be full.
_LIMITED_SHARES = (0.2, 0.6)
# Long ones need their leases extended.
_LONG_LEASES = (0.25, 1.25)
_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
_ABSENT_LEASES = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that ended without the answer.

    Attributes:
        at: unix seconds.
        reason: a syscode, what became of the executor, or that the function failed.
    """

    at: float
    reason: str


@dataclass(slots=True, kw_only=True)
class Call:
    """One request, as its caller saw it.

    Attributes:
        seconds: that the function takes.
        began, answered: unix seconds; None while there is no answer.
        result: what the answer says; the number when all is well.
        failed: the attempts that failed, in order.
    """

    number: int
    request_id: str
    app: str
    seconds: float
    began: float
    answered: float | None = None
    result: object = None
    failed: list[FailedAttempt] = field(default_factory=list)


class Load:
    """A steady load on a deployment.

    Args:
        rate: requests per second.
        seed: draws how long each takes.
        patience: seconds after which a caller gives up.
        official_long: whether some of the long requests go to the official SDK.

    Attributes:
        calls: all that were begun, in order.
        padding: bytes that each request is made longer by; may be set at any time.
        official_long: as given.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        rate: float,
        seed: int,
        patience: float = 120.0,
        official_long: bool = False,
    ) -> None:
        self.calls: list[Call] = []
        self.padding = 0
        self.official_long = official_long
        self._deployment = deployment
        self._rate = rate
        self._random = random.Random(seed)
        self._patience = patience
        self._stopped = False
        self._over = trio.Event()
        lease = deployment.plan.lease
        # An executor that is silent for longer than any work takes, and a retry of it.
        self._attempt_seconds = 3 * lease + 1.0

    def stop(self) -> None:
        """Begin no further requests."""
        self._stopped = True

    async def wait_answered(self) -> None:
        """Wait until `run` returns."""
        await self._over.wait()

    async def run(self) -> None:
        """Send requests until stopped; return when each is answered or given up."""
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            number = 0
            while not self._stopped:
                call = self._next(number)
                self.calls.append(call)
                nursery.start_soon(self._carry_out, call)
                number += 1
                await trio.sleep_until(begin + number / self._rate)
        self._over.set()

    def _next(self, number: int) -> Call:
        official = OFFICIAL_APP_NAME in self._deployment.app_ids
        limited = LIMITED_APP_NAME in self._deployment.app_ids
        app, seconds = APP_NAME, _SHORT_SECONDS
        if number % _LONG_ONE_IN == 0:
            seconds = self._deployment.plan.lease * self._random.uniform(*_LONG_LEASES)
            if self.official_long and number % _OFFICIAL_LONG_ONE_IN == _LONG_ONE_IN:
                app = OFFICIAL_APP_NAME
        elif official and number % _OFFICIAL_ONE_IN == 1:
            app = OFFICIAL_APP_NAME
        elif limited and number % _LIMITED_ONE_IN == _LIMITED_FIRST:
            app, seconds = LIMITED_APP_NAME, self._draw_limited_seconds()
        now = time.time()
        return Call(
            number=number, request_id=str(ULID.from_timestamp(now)), app=app, seconds=seconds,
            began=now,
        )  # fmt: skip

    def _draw_limited_seconds(self) -> float:
        """So long that the limited app's worker is busy in part, and full after a fault."""
        whole = LIMIT * _LIMITED_ONE_IN / self._rate
        most = self._deployment.plan.lease
        return min(most, whole * self._random.uniform(*_LIMITED_SHARES))

    async def _carry_out(self, call: Call) -> None:
        pause, lease = _PAUSE_SECONDS, self._deployment.plan.lease
        with trio.move_on_after(self._patience):
            attempt = call.number
            while call.answered is None:
                reason = await self._attempt(call, attempt)
                if reason is not None:
                    call.failed.append(FailedAttempt(time.time(), reason))
                    if reason == EXECUTOR_ABSENT:
                        # So that not all ask the first executor that is back at once.
                        await trio.sleep(lease * self._random.uniform(*_ABSENT_LEASES))
                        continue
                    await trio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                attempt += 1

    async def _attempt(self, call: Call, attempt: int) -> str | None:
        """Ask an executor; return why there is no answer, None if there is."""
        executors = self._deployment.executors
        executor = executors[attempt % len(executors)]
        if not executor.up:
            executor = executors[(attempt + 1) % len(executors)]
        if not executor.up:
            return EXECUTOR_ABSENT
        answer: dict[str, Any] | None = None
        with trio.move_on_after(self._attempt_seconds):
            try:
                answer = await executor.running.execute(*self._question(call))
            except ExecutorGone:
                return EXECUTOR_ENDED
        if answer is None:
            return EXECUTOR_SILENT
        if "error" in answer:
            return str(answer["error"])
        if answer["status"] != _DONE:
            return WORKER_FAILED
        call.answered, call.result = time.time(), answer["body"]
        return None

    def _question(self, call: Call) -> tuple[dict[str, str], dict[str, Any]]:
        slug = f"{call.app}-work"
        fields = {
            "request_id": call.request_id,
            "account_id": DEVELOPMENT_ACCOUNT_ID,
            "env_id": DEVELOPMENT_ENV_ID,
            "app_id": self._deployment.app_ids[call.app],
            "app_name": call.app,
            "function_id": slug,
            "function_slug": slug,
            "run_id": call.request_id,
        }
        event = {
            "id": call.request_id,
            "name": EVENT,
            "data": {
                "number": call.number,
                "seconds": call.seconds,
                "padding": "x" * self.padding,
            },
            "user": {},
            "ts": round(call.began * 1000),
        }
        ctx = {
            "fn_id": slug,
            "run_id": call.request_id,
            "env": "dev",
            "step_id": "step",
            "attempt": 0,
            "max_attempts": 1,
            "stack": {"stack": [], "current": 0},
            "disable_immediate_execution": False,
            "use_api": False,
        }
        payload = {"event": event, "events": [event], "steps": {}, "ctx": ctx, "version": -1}
        return fields, payload | {"use_api": False}
