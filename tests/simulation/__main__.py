"""``scripts/simulate``: many seeds, or one of them again, event by event."""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

import click

from tests.simulation.results import SeedResult, Summary, end_with_parent, try_seed
from tests.simulation.run import make_plan, simulate

__all__ = ["main"]

# Seconds between two lines of progress.
_TELL_EVERY = 5.0

# Seeds that a process is given at once.
_CHUNK = 20


@click.command()
@click.option("--seeds", default=20_000, show_default=True, help="How many seeds to try.")
@click.option("--first", default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=int, help="Only this one; its history is printed.")
@click.option(
    "--jobs",
    default=os.cpu_count() or 1,
    type=click.IntRange(min=1),
    show_default="one per core",
    help="How many processes share the work.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def main(seeds: int, first: int, seed: int | None, jobs: int, as_json: bool) -> None:
    """Simulate the service, from one seed after the other, and check what must hold.

    The exit code is 1 if something did not.
    """
    if seed is not None:
        sys.exit(_replay(seed))
    summary = Summary()
    told = started = time.monotonic()
    for result in _results(range(first, first + seeds), jobs):
        summary.add(result)
        if result.violations:
            click.echo(result.explain(), err=True)
        if time.monotonic() - told >= _TELL_EVERY:
            told = time.monotonic()
            click.echo(
                f"[{told - started:6.1f} s] {summary.seeds} of {seeds} seeds, "
                f"{len(summary.failed)} failed",
                err=True,
            )
    click.echo(summary.to_json() if as_json else str(summary))
    sys.exit(bool(summary.failed))


def _replay(seed: int) -> int:
    outcome = simulate(make_plan(seed))
    for event in outcome.history:
        click.echo(str(event))
    click.echo(f"digest {outcome.history.digest()}, {outcome.plan.shape}")
    result = SeedResult.of(outcome, 0.0)
    click.echo(result.explain() if result.violations else "nothing is wrong")
    return int(bool(result.violations))


def _results(seeds: Iterable[int], jobs: int) -> Iterator[SeedResult]:
    if jobs == 1:
        yield from map(try_seed, seeds)
        return
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=fresh, initializer=end_with_parent) as pool:
        yield from pool.map(try_seed, seeds, chunksize=_CHUNK)


if __name__ == "__main__":
    main(prog_name="scripts/simulate")
