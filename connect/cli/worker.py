"""``connect worker``: run functions with the project's own worker, or with thousands of it."""

import math
import resource
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from connect.cli.options import client_options
from connect.errors import ConfigurationError

if TYPE_CHECKING:
    from connect.worker import Worker, WorkerError

__all__ = ["worker"]

# Descriptors of a process besides those of its connections: files, the API's sockets.
_OTHER_DESCRIPTORS = 64


@click.command()
@click.argument("target", default="connect.demo:app", metavar="[MODULE:ATTRIBUTE]")
@client_options
@click.option("--env", metavar="NAME", help="Branch environment to work in.")
@click.option(
    "--instance-id",
    help="Name of this worker; made up when not given. With several connections, each "
    "appends its number.",
)
@click.option(
    "--max-concurrency",
    type=click.IntRange(min=0),
    help="Most requests at the same time; without it there is no limit.",
)
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Workers to run in this process, each with an instance id and a connection of its "
    "own: load for a gateway.",
)
@click.option(
    "--connect-rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="PER_SECOND",
    help="How many of them begin to connect in a second; as many as can when not given.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False),
    help="Append to this file what happens, one JSON object a line: above all, when each "
    "request starts and finishes. Whole up to the moment in which the process is killed.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.option(
    "--log-format", type=click.Choice(["console", "json"]), default="console", show_default=True
)
def worker(
    target: str,
    url: str,
    signing_key: str | None,
    env: str | None,
    instance_id: str | None,
    max_concurrency: int | None,
    connections: int,
    connect_rate: float | None,
    journal: str | None,
    log_level: str,
    log_format: str,
) -> None:
    """Run a worker that serves the functions of MODULE:ATTRIBUTE.

    MODULE:ATTRIBUTE names a `connect.worker.App`, or a list of them; without it, the demo
    functions are served. It reconnects without end; Ctrl-C lets running functions finish,
    and a second one ends it at once.
    """
    import time

    import trio

    from connect.logs import configure_logging
    from connect.worker import JournalFile, Worker, load_apps, new_instance_id

    configure_logging(level=log_level, fmt=log_format)
    apps = load_apps(target)
    with ExitStack() as stack:
        written = stack.enter_context(JournalFile(journal, now=time.time)) if journal else None
        workers = [
            Worker(
                apps,
                api_url=url,
                signing_key=signing_key,
                env=env,
                instance_id=one,
                max_concurrency=max_concurrency,
                journal=written.of(one) if written else None,
            )
            for one in _instance_ids(instance_id or new_instance_id(), connections)
        ]
        allow_descriptors(connections + _OTHER_DESCRIPTORS)
        trio.run(_run, workers, connect_rate or math.inf)


def allow_descriptors(count: int) -> None:
    """Raise this process's limit of open files to a number, if it is lower.

    Raises:
        ConfigurationError: the system does not allow as many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (resource.RLIM_INFINITY, -1) or soft >= count:
        return
    if hard not in (resource.RLIM_INFINITY, -1) and hard < count:
        raise ConfigurationError(
            f"{count} open files are needed, and {hard} are allowed: raise the hard limit "
            "(ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _instance_ids(base: str, count: int) -> list[str]:
    return [base] if count == 1 else [f"{base}-{number}" for number in range(1, count + 1)]


async def _run(workers: Sequence["Worker"], per_second: float) -> None:
    import structlog
    import trio

    from connect.memory import settle_memory
    from connect.signals import termination
    from connect.worker import WorkerError, run_fleet

    log = structlog.get_logger("connect.worker")
    refused: WorkerError | None = None

    def connected(count: int) -> None:
        if count == len(workers) > 1:
            settle_memory()
            log.info("all workers are connected", workers=count)

    with termination() as wait_for_signal:

        async def shut_down() -> None:
            await wait_for_signal()
            for worker in workers:
                worker.shutdown()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(shut_down)
            try:
                await run_fleet(workers, per_second=per_second, connected=connected)
            except* WorkerError as group:
                refused = _first(group)
            nursery.cancel_scope.cancel()
    if refused is not None:
        raise ConfigurationError(f"the service refuses this worker: {refused}") from refused


def _first(group: "ExceptionGroup[WorkerError]") -> "WorkerError":
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
