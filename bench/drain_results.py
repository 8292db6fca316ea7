"""What draining was measured to do, how it is judged, and how it is written for machines."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from bench.figures import Target, percentile, ratio
from bench.machine import DISTURBED, Machine
from bench.soak_results import Load

__all__ = ["Cpu", "DrainReport", "DrainRun", "Handover", "Moves", "Stay", "follow", "most_within"]

# Moments are drawn at random, each in a slot of its own, so that a second touches one slot more
# at each end; and a busy gateway makes up for a tenth of a second.
SLACK = 1.1
EDGES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One connection of a worker at one gateway, as that gateway saw it; unix seconds.

    Attributes:
        worker: the worker's instance id.
        gateway: a name for the gateway.
        ready: when it became ready.
        told: when the worker was sent GATEWAY_CLOSING, if it was.
        ended: when it stopped serving, if it has.
    """

    worker: str
    gateway: str
    ready: float
    told: float | None = None
    ended: float | None = None

    def ready_until(self, handover: float) -> float | None:
        """Return when it stopped being stored as READY; None if it has not.

        Args:
            handover: seconds that it remains READY after the worker was told.
        """
        if self.told is None:
            return self.ended
        until = self.told + handover
        return until if self.ended is None else min(self.ended, until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """How long workers took from GATEWAY_CLOSING to the next ready connection, in seconds."""

    median: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """What became of the connections of a gateway that was drained.

    Attributes:
        told, closed, joined: the most that were told, closed, and ready at the other
            gateway, within any one second.
        not_back: workers that are at no gateway in the end.
        unready: workers that had no READY connection for some time.
        unready_seconds: the longest of these times.
        all_back_seconds: from the beginning until the last one was ready elsewhere.
        handover: of the workers that came back.
    """

    told: int
    closed: int
    joined: int
    not_back: int
    unready: int
    unready_seconds: float
    all_back_seconds: float
    handover: Handover


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """CPU used from the beginning of a drain until all were back, in seconds.

    Attributes:
        gateway: of the gateway that was drained.
        other: of the gateway that the workers went to.
        others: of everything else on the machine.
    """

    gateway: float
    other: float
    api: float
    workers: float
    redis: float
    others: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainRun:
    """One drain.

    Attributes:
        connections: so many there were.
        rate: `Limits.drain_rate`; None where all were told at once.
        limit: `Timing.drain`.
        seconds: from the request to drain until the last connection was gone.
        window: until all were back, which CPU and requests are counted for.
        overdue: connections that the gateway closed, as their workers had not left in time.
        refused: attempts of workers to connect that failed, by reason.
    """

    connections: int
    rate: int | None
    limit: float
    seconds: float
    window: float
    overdue: int
    refused: Mapping[str, int]
    moves: Moves
    cpu: Cpu
    load: Load

    @property
    def pace(self) -> float | None:
        """Connections per second that are sent away; None if all are at once.

        It is the rate, or more where half of the time for the drain would not do
        (`Limits.drain_rate`).
        """
        if self.rate is None:
            return None
        return max(float(self.rate), 2 * self.connections / self.limit)

    @property
    def per_second(self) -> float:
        """Connections drained per second."""
        return ratio(self.connections, self.seconds)

    @property
    def each_us(self) -> dict[str, float]:
        """Microseconds of CPU for each connection, by who used it."""
        return {name: 1e6 * used / self.connections for name, used in asdict(self.cpu).items()}

    @property
    def other_cpus(self) -> float:
        """CPUs that anything else kept busy."""
        return max(0.0, ratio(self.cpu.others, self.window))

    @property
    def targets(self) -> tuple[Target, ...]:
        """The bounds that its figures have."""
        pace = "all at once" if self.pace is None else f"{self.pace:,.0f} a second"
        name = f"{self.connections:,}, {pace}"
        disturbed = self.other_cpus > DISTURBED
        failed = sum(self.load.errors.values())
        always = (
            Target(name=f"{name}: requests failed", value=failed, bound=0),
            Target(name=f"{name}: workers not back", value=self.moves.not_back, bound=0),
        )
        if self.pace is None:
            return always
        most = SLACK * self.pace + EDGES
        paced = (
            ("told in a second", self.moves.told, most),
            ("closed in a second", self.moves.closed, most),
            ("came in a second", self.moves.joined, most),
            ("workers that lost readiness", self.moves.unready, 0),
        )
        return always + tuple(
            Target(name=f"{name}: {what}", value=value, bound=bound, disturbed=disturbed)
            for what, value, bound in paced
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """All drains that were measured."""

    machine: Machine
    runs: Sequence[DrainRun]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The bounds that the figures have."""
        return tuple(target for run in self.runs for target in run.targets)

    @property
    def failed(self) -> bool:
        """Whether a request failed, or a worker did not come back."""
        return any(run.load.errors or run.moves.not_back for run in self.runs)

    def to_json(self) -> str:
        """Write everything as one JSON object."""
        return json.dumps(
            {
                "machine": asdict(self.machine),
                "settings": self.settings,
                "drains": [
                    asdict(run)
                    | {"pace": run.pace, "per_second": run.per_second, "each_us": run.each_us}
                    for run in self.runs
                ],
                "targets": [asdict(target) | {"met": target.met} for target in self.targets],
            },
            indent=2,
        )


def most_within(moments: Iterable[float], seconds: float) -> int:
    """Return the most moments in any window of this length, its end excluded."""
    ascending = sorted(moments)
    most = first = 0
    for last, moment in enumerate(ascending):
        while moment - ascending[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def follow(stays: Iterable[Stay], *, drained: str, began: float, handover: float) -> Moves:
    """Follow the workers that a drain sent away.

    Args:
        stays: all that lasted into the drain, or began in it.
        drained: the gateway that was.
        began: unix seconds.
        handover: `Timing.drain_handover`.
    """
    workers: dict[str, list[Stay]] = {}
    for stay in sorted(stays, key=lambda stay: stay.ready):
        workers.setdefault(stay.worker, []).append(stay)
    told, closed, joined, took = [], [], [], []
    gaps = []
    last_back = began
    not_back = 0
    for own in workers.values():
        gaps.append(_longest_gap(own, handover))
        for stay in own:
            if stay.gateway != drained:
                joined.append(stay.ready)
                continue
            if stay.ended is not None:
                closed.append(stay.ended)
            if stay.told is not None:
                told.append(stay.told)
                back = [other.ready for other in own if other.gateway != drained]
                if back:
                    took.append(back[0] - stay.told)
        if own[-1].gateway != drained and own[-1].ended is None:
            last_back = max(last_back, own[-1].ready)
        else:
            not_back += 1
    took.sort()
    return Moves(
        told=most_within(told, 1.0),
        closed=most_within(closed, 1.0),
        joined=most_within(joined, 1.0),
        not_back=not_back,
        unready=sum(gap > 0 for gap in gaps),
        unready_seconds=max(gaps, default=0.0),
        all_back_seconds=last_back - began,
        handover=Handover(
            median=median(took or [0.0]),
            p99=percentile(took or [0.0], 99),
            max=max(took, default=0.0),
        ),
    )


def _longest_gap(stays: Sequence[Stay], handover: float) -> float:
    """Return the longest time between two stays in which neither was ready; 0 if none was.

    Args:
        stays: of one worker, by when they became ready.
    """
    longest = 0.0
    until: float | None = stays[0].ready
    for stay in stays:
        if until is None:
            break
        longest = max(longest, stay.ready - until)
        end = stay.ready_until(handover)
        until = None if end is None else max(until, end)
    return longest
