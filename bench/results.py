"""What was measured, and how it is written for machines."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

from bench.figures import Latency, Target, ratio
from bench.machine import DISTURBED, Machine
from bench.state_results import StateFigures

__all__ = [
    "ClientRatio",
    "Flatness",
    "OUR_CLIENT",
    "RedisCalls",
    "Report",
    "RequestRow",
    "RowPlan",
    "Usage",
    "least_disturbed",
    "rows_text",
]

OUR_CLIENT = "connect"

# Redis round trips per request, whatever the number of workers: three of its own; heartbeats
# and table refreshes within the window make up the rest.
MOST_ROUND_TRIPS = 3.2
# CPU of our client's call over that of redis-py's.
MOST_CLIENT_RATIO = 0.1
# With so many tasks at once, as in a gateway under load; one task alone pays for a system
# call or two per call whatever the client does.
CLIENT_RATIO_TASKS = 16
# How far a figure may move from the fewest workers to the most.
FLAT = 1.25


@dataclass(frozen=True, slots=True)
class RowPlan:
    """One row to measure."""

    workers: int
    callers: int

    @classmethod
    def parse(cls, text: str) -> "RowPlan":
        """Read ``WORKERSxCALLERS``.

        Raises:
            ValueError: it is not that.
        """
        workers, _, callers = text.strip().partition("x")
        if not (workers.isdecimal() and callers.isdecimal() and int(workers) and int(callers)):
            raise ValueError(f"{text!r} is not WORKERSxCALLERS, such as 10x16")
        return cls(int(workers), int(callers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one request took, per process, in microseconds of CPU (user and system)."""

    gateway: float
    executor: float
    workers: float
    redis: float

    @property
    def total(self) -> float:
        """All processes together."""
        return self.gateway + self.executor + self.workers + self.redis


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One row: workers connected, callers in a closed loop, and what a request took.

    Attributes:
        workers: connections of the one app.
        callers: requests in flight at any time.
        seconds: length of the measured window.
        requests: those answered in it.
        errors: those that failed, by syscode or class.
        round_trips: calls to Redis per request, by the counters of the clients in
            gateway and executor; heartbeats and table refreshes are included.
        scripts: EVALSHA and EVAL per request, by Redis' own counters.
        commands: commands per request that Redis executed, those inside scripts included.
        commands_by_name: the same, per request, by name.
        cpu_us: CPU per request.
        heartbeats: of workers, within the window: the background that is included above.
        other_cpus: CPUs kept busy by anything else on the machine, as far as it shows.
        spin_ms: what `measure_noise` takes, around the window; where it differs between
            rows, the machine ran at different speeds.
    """

    workers: int
    callers: int
    seconds: float
    requests: int
    errors: dict[str, int]
    latency_ms: Latency
    round_trips_gateway: float
    round_trips_executor: float
    scripts: float
    commands: float
    commands_by_name: dict[str, float]
    cpu_us: Usage
    heartbeats: int
    other_cpus: float
    spin_ms: float

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def round_trips(self) -> float:
        """Calls to Redis per request, of gateway and executor together."""
        return self.round_trips_gateway + self.round_trips_executor


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisCalls:
    """Calls through one client with so many tasks calling at once.

    Attributes:
        rounds_us: microseconds of CPU per call, of each round.
        per_second: calls per second, of the median round.
    """

    client: str
    tasks: int
    rounds_us: tuple[float, ...]
    per_second: float

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per call, in the median round."""
        return median(self.rounds_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRatio:
    """CPU of a call through our client over that of one through another."""

    over: str
    tasks: int
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatness:
    """The most workers over the fewest, with the same callers; 1 is flat.

    Attributes:
        disturbed: whether something else kept the machine busy meanwhile; then rates and
            latencies compare little.
    """

    callers: int
    fewest: int
    most: int
    per_second: float
    p50: float
    p99: float
    round_trips: float
    commands: float
    cpu_gateway: float
    cpu_executor: float
    cpu_redis: float
    disturbed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that one run measured."""

    machine: Machine
    rows: tuple[RequestRow, ...] = ()
    redis_calls: tuple[RedisCalls, ...] = ()
    state: StateFigures | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def flatness(self) -> tuple[Flatness, ...]:
        """One comparison per number of callers that was measured with several worker counts."""
        found = []
        for callers in sorted({row.callers for row in self.rows}):
            alike = sorted(
                (row for row in self.rows if row.callers == callers), key=lambda row: row.workers
            )
            if alike[0].workers < alike[-1].workers:
                found.append(_compare(alike[0], alike[-1]))
        return tuple(found)

    @property
    def client_ratios(self) -> tuple["ClientRatio", ...]:
        """CPU of our client's call over the other clients', with the same number of tasks."""
        ours = {calls.tasks: calls for calls in self.redis_calls if calls.client == OUR_CLIENT}
        return tuple(
            ClientRatio(
                over=calls.client,
                tasks=calls.tasks,
                ratio=ratio(ours[calls.tasks].cpu_us, calls.cpu_us),
            )
            for calls in self.redis_calls
            if calls.client != OUR_CLIENT and calls.tasks in ours
        )

    @property
    def targets(self) -> tuple[Target, ...]:
        """The bounds that the measured figures have."""
        targets = []
        if self.rows:
            worst = max(row.round_trips for row in self.rows)
            name = "Redis round trips per request, worst row"
            targets.append(Target(name=name, value=worst, bound=MOST_ROUND_TRIPS))
        for flat in self.flatness:
            what = f"{flat.most} workers over {flat.fewest}, {_callers(flat.callers)}"
            targets += [
                Target(name=f"Redis calls, {what}", value=flat.round_trips, bound=FLAT),
                Target(name=f"gateway CPU, {what}", value=flat.cpu_gateway, bound=FLAT),
                Target(name=f"executor CPU, {what}", value=flat.cpu_executor, bound=FLAT),
                Target(name=f"p50, {what}", value=flat.p50, bound=FLAT, disturbed=flat.disturbed),
                Target(
                    name=f"requests/s, {what}",
                    value=flat.per_second,
                    bound=1 / FLAT,
                    at_most=False,
                    disturbed=flat.disturbed,
                ),
            ]
        for found in self.client_ratios:
            if found.tasks == CLIENT_RATIO_TASKS:
                name = f"CPU of a Redis call, ours over {found.over}, {found.tasks} tasks"
                targets.append(Target(name=name, value=found.ratio, bound=MOST_CLIENT_RATIO))
        return (*targets, *(self.state.targets if self.state else ()))

    def to_json(self) -> str:
        """Write everything as one JSON object."""
        return json.dumps(
            {
                "machine": asdict(self.machine),
                "settings": self.settings,
                "requests": [_row(row) for row in self.rows],
                "flatness": [asdict(flat) for flat in self.flatness],
                "redis_calls": [
                    asdict(calls) | {"cpu_us": calls.cpu_us} for calls in self.redis_calls
                ],
                "client_ratios": [asdict(found) for found in self.client_ratios],
                "state": self.state.as_json() if self.state else None,
                "targets": [asdict(target) | {"met": target.met} for target in self.targets],
            },
            indent=2,
        )


def _row(row: RequestRow) -> dict[str, Any]:
    fields = asdict(row)
    fields["per_second"] = row.per_second
    fields["round_trips"] = row.round_trips
    fields["cpu_us"]["total"] = row.cpu_us.total
    return fields


def _compare(fewest: RequestRow, most: RequestRow) -> Flatness:
    return Flatness(
        callers=fewest.callers,
        fewest=fewest.workers,
        most=most.workers,
        per_second=ratio(most.per_second, fewest.per_second),
        p50=ratio(most.latency_ms.p50, fewest.latency_ms.p50),
        p99=ratio(most.latency_ms.p99, fewest.latency_ms.p99),
        round_trips=ratio(most.round_trips, fewest.round_trips),
        commands=ratio(most.commands, fewest.commands),
        cpu_gateway=ratio(most.cpu_us.gateway, fewest.cpu_us.gateway),
        cpu_executor=ratio(most.cpu_us.executor, fewest.cpu_us.executor),
        cpu_redis=ratio(most.cpu_us.redis, fewest.cpu_us.redis),
        disturbed=max(fewest.other_cpus, most.other_cpus) > DISTURBED,
    )


def _callers(callers: int) -> str:
    return f"{callers} caller{'s' if callers > 1 else ''}"


def least_disturbed(rounds: Iterable[RequestRow]) -> RequestRow:
    """Choose among measurements of one row: that with the most requests per second.

    Requests that failed in any of them are kept in sight.
    """
    measured = list(rounds)
    chosen = max(measured, key=lambda row: row.per_second)
    errors: Counter[str] = Counter()
    for row in measured:
        errors.update(row.errors)
    return replace(chosen, errors=dict(errors))


def rows_text(plans: Sequence[RowPlan]) -> str:
    """Write plans as `RowPlan.parse` reads them, with commas between."""
    return ",".join(f"{plan.workers}x{plan.callers}" for plan in plans)
