"""What workers run at this moment, read from their journals as they grow."""

import json
from dataclasses import dataclass
from pathlib import Path

from connect.worker import Happening

__all__ = ["Running", "UnderWay"]


@dataclass(frozen=True, slots=True)
class Running:
    """A run that goes on.

    Attributes:
        worker: its instance id.
        since: when it began, in unix seconds.
        group: the gateway group that the worker connected to last; empty if it does not tell.
    """

    request_id: str
    worker: str
    since: float
    group: str


class UnderWay:
    """Follows the journal file of all workers.

    Args:
        path: need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._runs: dict[tuple[str, str], float] = {}
        self._groups: dict[str, str] = {}

    def look(self) -> list[Running]:
        """Return the runs that have begun and not ended, be it by their workers' death."""
        self._catch_up()
        return [
            Running(request, worker, since, self._groups.get(worker, ""))
            for (request, worker), since in self._runs.items()
        ]

    def _catch_up(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in map(json.loads, whole.splitlines()):
            worker = line.get("instance_id", "")
            run = line.get("request_id", ""), worker
            if line["what"] == Happening.STARTED:
                self._runs[run] = line["at"]
            elif line["what"] == Happening.FINISHED:
                self._runs.pop(run, None)
            elif line["what"] == Happening.CONNECTED:
                self._groups[worker] = line["detail"]
