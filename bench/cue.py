"""``scripts/bench cue``: what evaluating and checking function definitions takes."""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import trio
from rich.console import Console, Group

from bench.child import ChildFailed, start_child
from bench.cue_results import FILES, CueReport, Evaluation, Run, Runs
from bench.machine import describe_machine, measure_noise, system_cpu
from bench.tables import figures_table, machine_text, targets_table
from connect.errors import ConnectError

__all__ = ["cue", "largest_definition", "measure_cue", "print_cue"]

CASES = Path(__file__).parents[1] / "tests" / "config" / "cue" / "cases" / "function"
_ID = 'id:          "'
_EVALUATIONS = 50
_PATIENCE_SECONDS = 120.0
_WIDE = 160  # columns, where the output is no terminal


def largest_definition(cases: Path = CASES) -> Path:
    """Return the longest of the cases that have a value."""
    right = (path for path in cases.glob("*.cue") if path.with_suffix(".want.json").exists())
    return max(right, key=lambda path: path.stat().st_size)


async def measure_cue(*, files: int, repeat: int, progress: Callable[[str], None]) -> CueReport:
    """Measure it all, in processes of its own each.

    Args:
        files: how many are checked at once, each the largest definition with an id of its own.
        repeat: how often each command is run.
        progress: called with a line about what is being done.

    Raises:
        ChildFailed: a process failed, which stderr tells.
    """
    before = measure_noise()
    largest = largest_definition()
    started, busy = time.monotonic(), _other_cpu()
    progress(f"evaluating {largest.name}")
    evaluation = await _evaluate(largest, largest.stat().st_size)
    with tempfile.TemporaryDirectory(prefix="connect-bench-") as folder:
        _write_definitions(largest, Path(folder), files)
        progress(f"checking {files} files")
        checked = await _run(repeat, "functions", "check", folder)
        progress("starting commands")
        one = await _run(repeat * 3, "functions", "check", str(Path(folder, "0.cue")))
        shown = await _run(repeat * 3, "--help")
    return CueReport(
        machine=describe_machine(redis="", noise=(before, measure_noise())),
        evaluation=evaluation,
        files=Runs(command="functions check DIRECTORY", runs=checked),
        number=files,
        help=Runs(command="--help", runs=shown),
        one=Runs(command="functions check FILE", runs=one),
        other_cpus=max(0.0, (_other_cpu() - busy) / (time.monotonic() - started)),
    )


async def _evaluate(path: Path, size: int) -> Evaluation:
    arguments = ("--file", str(path), "--times", str(_EVALUATIONS))
    async with start_child("bench.cue_process", *arguments) as child:
        answer = await child.listen(seconds=_PATIENCE_SECONDS)
    return Evaluation(name=path.name, size=size, **answer)


def _write_definitions(largest: Path, folder: Path, number: int) -> None:
    text = largest.read_text(encoding="utf-8")
    for at in range(number):
        changed = text.replace(_ID, f"{_ID}n{at}-")
        (folder / f"{at}.cue").write_text(changed, encoding="utf-8")


async def _run(times: int, *arguments: str) -> tuple[Run, ...]:
    """Run ``python -m connect`` some times, one after the other."""
    runs = []
    for _ in range(times):
        before, started = _children_cpu(), time.perf_counter()
        done = await trio.run_process(
            [sys.executable, "-m", "connect", *arguments], stdout=subprocess.DEVNULL, check=False
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise ChildFailed("connect", f"has ended with {done.returncode}")
        runs.append(Run(seconds=seconds, cpu=_children_cpu() - before))
    return tuple(runs)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _other_cpu() -> float:
    """Return the seconds of CPU that everything else on the machine has used."""
    return system_cpu() - _children_cpu() - time.process_time()


def print_cue(report: CueReport, console: Console) -> None:
    """Print a report as tables."""
    evaluation = report.evaluation
    figures = figures_table("Function definitions", "figure", "median", "fastest", "CPU")
    figures.add_row(
        f"evaluate {evaluation.name} ({evaluation.size} bytes)",
        f"{evaluation.median_ms:.1f} ms",
        f"{min(evaluation.took_ms):.1f} ms",
        f"{evaluation.each_cpu_ms:.1f} ms",
    )
    figures.add_row("  the first time", f"{evaluation.first_ms:.1f} ms", "", "")
    for runs in (report.files, report.one, report.help):
        name = runs.command
        if runs is report.files:
            name = f"{name} of {report.number:,} files"
        figures.add_row(name, f"{runs.seconds:.2f} s", f"{runs.fastest:.2f} s", f"{runs.cpu:.2f} s")
    other = f"Other CPUs kept busy meanwhile: {report.other_cpus:.2f}"
    console.print(
        Group(machine_text(report.machine), figures, other, targets_table(report.targets))
    )


@click.command()
@click.option(
    "--files",
    type=click.IntRange(min=1),
    default=FILES,
    show_default=True,
    help="How many files to check at once.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How often to check them; single commands run three times as often.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def cue(files: int, repeat: int, as_json: bool) -> None:
    """Evaluate and check function definitions, and see how long it takes.

    The largest definition of the test cases takes 20 ms at most, a thousand files of it 10 s,
    `python -m connect --help` half a second, `functions check` of one file a second.

    Progress goes to stderr. The exit code is 1 if a process failed.
    """
    started = time.monotonic()

    def progress(line: str) -> None:
        click.echo(f"[{time.monotonic() - started:5.1f} s] {line}", err=True)

    try:
        report = trio.run(lambda: measure_cue(files=files, repeat=repeat, progress=progress))
    except ConnectError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(report.to_json())
    else:
        console = Console()
        print_cue(report, console if console.is_terminal else Console(width=_WIDE))
