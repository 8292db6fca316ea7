"""Runs: calling a function again and again until it is finished.

One Connect request is one call of a function. A function with steps takes several
calls, each with the results so far; this package makes those calls, does what the
function asks for in between (sleeping, waiting for an event, invoking another function,
running planned steps), and hands back the result. Runs live in this process only: they
end with it.
"""

from connect.runs.errors import (
    ExpressionError,
    FunctionNotFound,
    InvalidEvent,
    RunTimeout,
    TooManyRuns,
)
from connect.runs.events import Event, EventBus
from connect.runs.outcome import RunResult, StepRecord
from connect.runs.runner import Runner
from connect.runs.triggered import TriggeredRuns

__all__ = [
    "Event",
    "EventBus",
    "ExpressionError",
    "FunctionNotFound",
    "InvalidEvent",
    "RunResult",
    "RunTimeout",
    "Runner",
    "StepRecord",
    "TooManyRuns",
    "TriggeredRuns",
]
