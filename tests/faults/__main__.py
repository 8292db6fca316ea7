"""``scripts/faults``: break things under load, and print what became of the requests."""

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import trio
from rich.console import Console

from connect.errors import ConnectError
from tests.faults.deployment import Plan, open_deployment
from tests.faults.faults import FAULTS
from tests.faults.report import print_reports, reports_json
from tests.faults.run import FaultReport, run_fault

__all__ = ["main"]

_WIDE = 170  # columns, where the output is no terminal
_INTERRUPTED = 130  # as a shell has it


@click.command()
@click.option(
    "--fault",
    "names",
    multiple=True,
    type=click.Choice(list(FAULTS)),
    help="Which one; may be repeated. All of them when not given.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True,
    help="How long each fault goes on. The rolling restart takes as long as it takes.",
)  # fmt: skip
@click.option(
    "--seed", type=int, default=1, show_default=True,
    help="Draws the moments, the victims and the requests.",
)  # fmt: skip
@click.option(
    "--rate", type=click.FloatRange(min=1), default=50.0, show_default=True,
    help="Requests per second.",
)  # fmt: skip
@click.option(
    "--lease", type=click.FloatRange(min=1), default=4.0, show_default=True,
    help="Length of a lease in seconds; the lengths of the faults follow from it.",
)  # fmt: skip
@click.option(
    "--rounds", type=click.IntRange(min=1), default=3, show_default=True,
    help="How often a rolling restart restarts each gateway.",
)  # fmt: skip
@click.option(
    "--logs", type=click.Path(file_okay=False, path_type=Path),
    help="Folder to keep the output of each process in, one folder for each fault.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(
    names: Sequence[str],
    seconds: float,
    seed: int,
    rate: float,
    lease: float,
    rounds: int,
    logs: Path | None,
    as_json: bool,
) -> None:
    """Run the service as processes on a Redis of their own, and break them under load.

    Requests run on workers of ours and of the official Python SDK. Afterwards no request
    may be without an answer, none may have run twice at the same time, none that had begun
    may be run again after a fault shorter than its lease, and no reply that was acknowledged
    to its worker may be lost; a rolling restart may not make a single attempt fail; nothing
    may be left in Redis and in the processes. Otherwise the exit code is 1; interrupted, it
    is 130, and the faults that were done are printed.

    Progress goes to stderr.
    """
    # Ended either way, it ends its processes; in the background a shell has Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    interrupted = False
    reports: list[FaultReport] = []
    started = time.monotonic()

    async def run(name: str) -> FaultReport:
        plan = Plan(lease=lease, logs=logs / name if logs else None)
        async with open_deployment(plan) as deployment:
            return await run_fault(
                deployment, name, seconds=seconds, rate=rate, seed=seed, rounds=rounds
            )

    try:
        for name in names or FAULTS:
            click.echo(f"[{time.monotonic() - started:5.1f} s] {name}", err=True)
            reports.append(trio.run(run, name))
    except (ConnectError, trio.TooSlowError) as error:
        raise click.ClickException(str(error)) from error
    except BaseException as error:
        if not _is_interrupt(error):
            raise
        click.echo(f"interrupted after {len(reports)} of {len(names or FAULTS)} faults", err=True)
        interrupted = True
    settings = {"seconds": seconds, "seed": seed, "rate": rate, "lease": lease, "rounds": rounds}
    if as_json:
        click.echo(reports_json(reports, settings))
    else:
        console = Console()
        print_reports(reports, console if console.is_terminal else Console(width=_WIDE))
    if interrupted:
        sys.exit(_INTERRUPTED)
    if any(report.violations for report in reports):
        sys.exit(1)


def _is_interrupt(error: BaseException) -> bool:
    """Whether it is Ctrl-C, also out of nurseries."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)


if __name__ == "__main__":
    main(prog_name="scripts/faults")
