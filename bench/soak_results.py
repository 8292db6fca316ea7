"""What a soak measured, what may not grow in it, and how it is written for machines."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from bench.figures import Latency, Target, ratio
from bench.machine import Machine

__all__ = ["Idle", "Load", "Sample", "SoakReport"]

# Memory may move so far above what it was after the warm-up.
MOST_MEMORY = 1.05
# A gateway may take so many bytes for one idle connection.
MOST_CONNECTION_BYTES = 40_000
# The part of the requests asked for that must have been made.
LEAST_RATE = 0.95
# The window is looked at in so many parts.
_PARTS = 10
# How far the fewest tasks, descriptors or keys of a part may lie above those of the first:
# a request is in flight, or a heartbeat, whenever one looks.
_SLACK = 5
# What memory is looked at.
_MEMORIES = {
    "memory": "memory over the window",
    "executor_memory": "executor's memory over the window",
    "store_memory": "Redis' memory over the window",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The gateway, and the state store, at one moment.

    Attributes:
        at: seconds since the load began.
        memory: bytes that only its process uses.
        tasks, descriptors, connections: of its process.
        lost: connections that have ended so far, but for those that workers closed when they
            shut down.
        keys: in Redis.
        store_memory: bytes that Redis has allocated, but for its clients.
        executor_memory, executor_descriptors: of the executor's process.
    """

    at: float
    memory: int
    tasks: int
    descriptors: int
    connections: int
    lost: int
    keys: int
    store_memory: int
    executor_memory: int
    executor_descriptors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Connections that do nothing but beat.

    Attributes:
        connections: so many.
        connection_bytes: memory of the gateway's process for each.
        worker_bytes: memory of the workers' processes for each.
        seconds: length of the window that the following were counted in.
        gateway_cpu: CPUs that the gateway kept busy, 1 being a whole one.
        workers_cpu: CPUs that the workers kept busy.
        redis_cpu: CPUs that Redis kept busy.
        heartbeats: so many arrived in the window.
    """

    connections: int
    connection_bytes: float
    worker_bytes: float
    seconds: float
    gateway_cpu: float
    workers_cpu: float
    redis_cpu: float
    heartbeats: int

    @property
    def heartbeat_us(self) -> float:
        """Microseconds of the gateway's CPU for one heartbeat, all else it does included."""
        return ratio(1e6 * self.gateway_cpu * self.seconds, self.heartbeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The requests of the window.

    Attributes:
        asked: how many the rate comes to.
        answered: so many were.
        errors: those that failed, by syscode or class.
        latency_ms: of those answered.
    """

    asked: int
    answered: int
    errors: dict[str, int]
    latency_ms: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakReport:
    """All that a soak measured.

    Attributes:
        samples: of the window after the warm-up, in order; at least one.
    """

    machine: Machine
    idle: Idle
    load: Load
    samples: Sequence[Sample]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> list[Sequence[Sample]]:
        """The window in parts of equal length; fewer where there are few samples."""
        count = min(_PARTS, len(self.samples))
        edges = [len(self.samples) * part // count for part in range(count + 1)]
        return [self.samples[a:b] for a, b in pairwise(edges)]

    def memory_growth(self, what: str = "memory") -> float:
        """The most memory of any part over that of the first; medians, 1 being no growth.

        Args:
            what: an attribute of `Sample`.
        """
        medians: list[float] = [
            median(getattr(sample, what) for sample in part) for part in self.parts
        ]
        return max(medians) / medians[0]

    def floor_growth(self, what: str) -> int:
        """How far the last part's fewest lie above the first part's fewest.

        Args:
            what: an attribute of `Sample`.
        """
        first, last = self.parts[0], self.parts[-1]
        fewest: list[int] = [min(getattr(one, what) for one in part) for part in (first, last)]
        return fewest[1] - fewest[0]

    @property
    def targets(self) -> tuple[Target, ...]:
        """The bounds that the figures have."""
        failed = sum(self.load.errors.values())
        return (
            *(
                Target(name=name, value=self.memory_growth(what), bound=MOST_MEMORY)
                for what, name in _MEMORIES.items()
            ),
            *(
                Target(name=f"{name} more at the end", value=self.floor_growth(what), bound=bound)
                for what, (name, bound) in self._counts.items()
            ),
            Target(
                name="bytes per idle connection",
                value=self.idle.connection_bytes,
                bound=MOST_CONNECTION_BYTES,
            ),
            Target(
                name="connections, the fewest",
                value=min(sample.connections for sample in self.samples),
                bound=self.idle.connections,
                at_most=False,
            ),
            Target(
                name="connections lost",
                value=self.samples[-1].lost - self.samples[0].lost,
                bound=0,
            ),
            Target(name="requests failed", value=failed, bound=0),
            Target(
                name="requests answered, of those asked for",
                value=ratio(self.load.answered, self.load.asked),
                bound=LEAST_RATE,
                at_most=False,
            ),
        )

    @property
    def _counts(self) -> dict[str, tuple[str, float]]:
        """What is counted, with its name and how much more of it there may be."""
        # Each guest that has gone leaves a key for a while, against what comes late for it.
        gone = self.settings.get("guests_per_second", 0.0) * self.samples[-1].at
        return {
            "tasks": ("tasks", _SLACK),
            "descriptors": ("descriptors", _SLACK),
            "keys": ("keys", _SLACK + math.ceil(gone)),
            "executor_descriptors": ("executor's descriptors", _SLACK),
        }

    @property
    def met(self) -> bool:
        """Whether every bound is kept."""
        return all(target.met for target in self.targets)

    def to_json(self) -> str:
        """Write everything as one JSON object."""
        return json.dumps(
            {
                "machine": asdict(self.machine),
                "settings": self.settings,
                "idle": asdict(self.idle) | {"heartbeat_us": self.idle.heartbeat_us},
                "load": asdict(self.load),
                "samples": [asdict(sample) for sample in self.samples],
                "targets": [asdict(target) | {"met": target.met} for target in self.targets],
                "met": self.met,
            },
            indent=2,
        )
