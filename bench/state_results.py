"""What the state store's scripts were measured to cost, and how much that may be."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from statistics import median
from typing import Any

from bench.figures import Target, percentile, ratio
from bench.machine import DISTURBED

__all__ = [
    "ConnectionMemory",
    "Load",
    "RequestCalls",
    "Round",
    "ScriptCost",
    "StateFigures",
    "StateRatio",
    "StateRow",
    "script_cost",
]

# Redis round trips that one request may take in the normal path.
MOST_ROUND_TRIPS = 3.0
# How far the cost of acquire may move from the fewest connections to the most.
MOST_GROWTH = 1.5
# Round trips have to be the same whatever the number of workers.
SAME = 1.0


class Load(StrEnum):
    """What the workers of an app are doing while requests are routed to them."""

    UNLIMITED = "unlimited"  # no worker has a limit
    ROOM = "with room"  # every worker has a limit, and room
    HALF = "half busy"  # every second worker has reached its limit; of one worker, none
    BUSY = "all busy"  # every worker has reached its limit: nothing can be acquired


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptCost:
    """One call of a script, in microseconds; medians over rounds but for the percentiles.

    Attributes:
        calls: that were measured.
        redis_us: CPU of the server process, reading and writing included.
        script_us: time within the script, by the server's own count.
        client_us: CPU of the calling process.
        p50_us, p99_us: round-trip time, over all calls.
    """

    calls: int
    redis_us: float
    script_us: float
    client_us: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round of calls took in all; times in microseconds."""

    trips_us: Sequence[float]
    redis_us: float
    script_us: float
    client_us: float


def script_cost(rounds: Sequence[Round]) -> ScriptCost:
    """Sum up rounds, each of at least one call."""
    trips = sorted(trip for one in rounds for trip in one.trips_us)

    def each(total: Callable[[Round], float]) -> float:
        return median(total(one) / len(one.trips_us) for one in rounds)

    return ScriptCost(
        calls=len(trips),
        redis_us=each(lambda one: one.redis_us),
        script_us=each(lambda one: one.script_us),
        client_us=each(lambda one: one.client_us),
        p50_us=percentile(trips, 50),
        p99_us=percentile(trips, 99),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """An app with so many connections under some load.

    Attributes:
        complete: None where nothing can be acquired.
    """

    connections: int
    load: Load
    acquire: ScriptCost
    complete: ScriptCost | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCalls:
    """What one request asks of Redis: acquire, save the reply, complete.

    Attributes:
        round_trips: by the store's own count.
        scripts: EVALSHA and EVAL, by the server's.
        commands: executed by the server, those inside scripts included.
    """

    workers: int
    round_trips: float
    scripts: float
    commands: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionMemory:
    """What connections take in Redis, with their group and all indexes.

    Attributes:
        bytes_each: used_memory, less what Redis's clients take, with all of them less that
            without any, per connection.
    """

    load: Load
    connections: int
    bytes_each: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRatio:
    """The most connections over the fewest, under one load; 1 is flat."""

    load: Load
    fewest: int
    most: int
    redis: float
    script: float
    client: float
    p50: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFigures:
    """All that `bench.state` measures.

    Attributes:
        other_cpus: CPUs kept busy by anything else on the machine meanwhile.
    """

    rows: tuple[StateRow, ...] = ()
    calls: tuple[RequestCalls, ...] = ()
    memory: tuple[ConnectionMemory, ...] = ()
    other_cpus: float = 0.0

    @property
    def ratios(self) -> tuple[StateRatio, ...]:
        """How the cost of acquire grows, for each load with several numbers of connections."""
        found = []
        for load in Load:
            alike = sorted(
                (row for row in self.rows if row.load is load), key=lambda row: row.connections
            )
            if len(alike) > 1:
                found.append(_compare(alike[0], alike[-1]))
        return tuple(found)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The bounds that the figures have."""
        disturbed = self.other_cpus > DISTURBED
        targets = []
        for found in self.ratios:
            what = f"{found.most:,} connections over {found.fewest:,}, {found.load}"
            targets += [
                Target(name=f"acquire, Redis CPU, {what}", value=found.redis, bound=MOST_GROWTH),
                Target(
                    name=f"acquire, p50, {what}",
                    value=found.p50,
                    bound=MOST_GROWTH,
                    disturbed=disturbed,
                ),
            ]
        if self.calls:
            trips = [max(calls.round_trips, calls.scripts) for calls in self.calls]
            name = "Redis round trips of a request's scripts"
            targets.append(Target(name=name, value=max(trips), bound=MOST_ROUND_TRIPS))
            most, fewest = max(trips), min(trips)
            name = "the same, highest over lowest"
            targets.append(Target(name=name, value=ratio(most, fewest), bound=SAME))
        return tuple(targets)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self) | {"ratios": [asdict(found) for found in self.ratios]}


def _compare(fewest: StateRow, most: StateRow) -> StateRatio:
    few, many = fewest.acquire, most.acquire
    return StateRatio(
        load=fewest.load,
        fewest=fewest.connections,
        most=most.connections,
        redis=ratio(many.redis_us, few.redis_us),
        script=ratio(many.script_us, few.script_us),
        client=ratio(many.client_us, few.client_us),
        p50=ratio(many.p50_us, few.p50_us),
    )
