"""Rows and reports for the tests of the bench."""

from typing import Any

from bench.figures import Latency
from bench.machine import Machine, Noise
from bench.results import RedisCalls, Report, RequestRow, Usage
from bench.state_results import (
    ConnectionMemory,
    Load,
    RequestCalls,
    ScriptCost,
    StateFigures,
    StateRow,
)

__all__ = ["make_calls", "make_cost", "make_report", "make_row", "make_state"]


def make_row(workers: int = 1, callers: int = 16, **changes: Any) -> RequestRow:
    fields: dict[str, Any] = {
        "workers": workers,
        "callers": callers,
        "seconds": 5.0,
        "requests": 5000,
        "errors": {},
        "latency_ms": Latency(p50=2.0, p90=3.0, p99=4.0, max=9.0),
        "round_trips_gateway": 1.0,
        "round_trips_executor": 2.0,
        "scripts": 3.0,
        "commands": 20.0,
        "commands_by_name": {"evalsha": 3.0, "get": 17.0},
        "cpu_us": Usage(gateway=500.0, executor=400.0, workers=300.0, redis=100.0),
        "heartbeats": 1,
        "other_cpus": 0.1,
        "spin_ms": 4.0,
    }
    return RequestRow(**(fields | changes))


def make_calls(client: str, cpu_us: float, tasks: int = 16) -> RedisCalls:
    return RedisCalls(
        client=client,
        tasks=tasks,
        rounds_us=(cpu_us * 2, cpu_us, cpu_us / 2),
        per_second=1000.0,
    )


def make_cost(**changes: float) -> ScriptCost:
    fields: dict[str, Any] = {
        "calls": 1500, "redis_us": 60.0, "script_us": 40.0, "client_us": 90.0, "p50_us": 150.0,
        "p99_us": 300.0,
    }  # fmt: skip
    return ScriptCost(**(fields | changes))


def make_state(**changes: Any) -> StateFigures:
    complete = make_cost(redis_us=30, script_us=10, client_us=70, p50_us=100, p99_us=200)
    few = make_cost(redis_us=50, script_us=30, p50_us=100)
    fields: dict[str, Any] = {
        "rows": (
            StateRow(connections=1, load=Load.ROOM, acquire=few, complete=complete),
            StateRow(connections=1000, load=Load.ROOM, acquire=make_cost(), complete=complete),
            StateRow(connections=1, load=Load.BUSY, acquire=make_cost(), complete=None),
        ),
        "calls": (RequestCalls(workers=100, round_trips=3.0, scripts=3.0, commands=31.0),),
        "memory": (ConnectionMemory(load=Load.ROOM, connections=10_000, bytes_each=1052.4),),
    }
    return StateFigures(**(fields | changes))


def make_report(
    *rows: RequestRow, calls: tuple[RedisCalls, ...] = (), state: StateFigures | None = None
) -> Report:
    noise = Noise(fastest_ms=4.0, median_ms=4.5, slowest_ms=8.0, load=0.5)
    machine = Machine(
        cpus=2,
        model="a model",
        system="Linux 6",
        python="CPython 3.11",
        redis="6.2.14",
        packages={"trio": "0.31.0"},
        noise=(noise, noise),
    )
    return Report(
        machine=machine, rows=rows, redis_calls=calls, state=state, settings={"seconds": 5.0}
    )
