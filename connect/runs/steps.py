"""The results of a run's steps: as the function gets them, and as people read them."""

from collections.abc import Mapping
from typing import Any

from connect.runs.operations import Operation
from connect.runs.outcome import StepRecord

__all__ = ["StepResults"]


class StepResults:
    """The steps of one run that are over; the first result of a step stays.

    Attributes:
        records: in the order in which the steps ended.
        payload: step id to result, as request payloads have it: ``{"data": …}``,
            ``{"error": …}``, null, or the event that fulfilled a wait.
    """

    def __init__(self) -> None:
        self.records: list[StepRecord] = []
        self.payload: dict[str, Any] = {}

    def __contains__(self, step_id: str) -> bool:
        return step_id in self.payload

    def __len__(self) -> int:
        return len(self.payload)

    @property
    def stack(self) -> list[str]:
        """The step ids, in the order in which the steps ended."""
        return list(self.payload)

    def store_data(self, operation: Operation, data: object) -> None:
        """Store what a step, or an invoked function, returned."""
        self._store(operation, {"data": data}, output=data)

    def store_bare(self, operation: Operation, value: Mapping[str, Any] | None) -> None:
        """Store null, for a sleep or a wait that is over, or an event that was awaited."""
        self._store(operation, value, output=value)

    def store_error(self, operation: Operation, error: Mapping[str, Any]) -> None:
        """Store why a step failed for good."""
        self._store(operation, {"error": dict(error)}, error=error)

    def _store(
        self,
        operation: Operation,
        result: object,
        *,
        output: object = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        if operation.id in self.payload:
            return
        self.payload[operation.id] = result
        self.records.append(
            StepRecord(
                id=operation.id,
                name=operation.name,
                op=operation.op,
                status="completed" if error is None else "failed",
                output=output,
                error=error,
            )
        )
