"""``connect worker``: run functions with the project's own worker."""

from typing import TYPE_CHECKING

import click

from connect.cli.options import client_options

if TYPE_CHECKING:
    from connect.worker import Worker

__all__ = ["worker"]


@click.command()
@click.argument("target", default="connect.demo:app", metavar="[MODULE:ATTRIBUTE]")
@client_options
@click.option("--instance-id", help="Name of this worker; made up when not given.")
@click.option(
    "--max-concurrency",
    type=click.IntRange(min=0),
    help="Most requests at the same time; without it there is no limit.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
def worker(
    target: str,
    url: str,
    signing_key: str | None,
    instance_id: str | None,
    max_concurrency: int | None,
    log_level: str,
) -> None:
    """Run a worker that serves the functions of MODULE:ATTRIBUTE.

    MODULE:ATTRIBUTE names a `connect.worker.App`, or a list of them; without it, the demo
    functions are served. It reconnects without end; Ctrl-C lets running functions finish.
    """
    import trio

    from connect.logs import configure_logging
    from connect.worker import Worker, load_apps

    configure_logging(level=log_level, fmt="console")
    worker = Worker(
        load_apps(target),
        api_url=url,
        signing_key=signing_key,
        instance_id=instance_id,
        max_concurrency=max_concurrency,
    )
    trio.run(_run, worker)


async def _run(worker: "Worker") -> None:
    import trio

    from connect.app import termination
    from connect.errors import ConfigurationError
    from connect.worker import WorkerError

    refused: WorkerError | None = None
    with termination() as wait_for_signal:

        async def shut_down() -> None:
            await wait_for_signal()
            worker.shutdown()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(shut_down)
            try:
                await worker.run()
            except WorkerError as error:
                refused = error
            nursery.cancel_scope.cancel()
    if refused is not None:
        raise ConfigurationError(f"the service refuses this worker: {refused}") from refused
