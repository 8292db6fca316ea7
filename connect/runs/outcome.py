"""What a run came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["RunResult", "StepRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a run that is over.

    Attributes:
        id: the hashed step id, as the worker named it.
        name: the step's name for people.
        op: the operation, such as ``StepRun``.
        output: what the step gave; null for a sleep, and for a wait that timed out.
        error: why it failed, when it did.
    """

    id: str
    name: str
    op: str
    status: Literal["completed", "failed"]
    output: Any = None
    error: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "op": self.op,
            "status": self.status,
        }
        if self.error is not None:
            return shown | {"error": dict(self.error)}
        return shown | {"output": self.output}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run that is over, for better or worse.

    Attributes:
        run_id: a ULID.
        result: what the function returned, when completed.
        error: ``{"name", "message", …}``, when failed.
        calls: how many calls of the function it took.
        duration_ms: from beginning to end.
        steps: the steps that are over, in the order in which they ended.
    """

    run_id: str
    status: Literal["completed", "failed"]
    result: Any = None
    error: Mapping[str, Any] | None = None
    calls: int = 0
    duration_ms: int = 0
    steps: tuple[StepRecord, ...] = ()

    def as_json(self) -> dict[str, Any]:
        ending: dict[str, Any] = (
            {"result": self.result} if self.error is None else {"error": dict(self.error)}
        )
        return {
            "run_id": self.run_id,
            "status": self.status,
            **ending,
            "calls": self.calls,
            "duration_ms": self.duration_ms,
            "steps": [step.as_json() for step in self.steps],
        }
