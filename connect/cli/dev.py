"""``connect dev``: everything in one process, with a demo worker and a first request."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from connect.cli.given import GivenReader, functions_option
from connect.cli.options import service_options
from connect.signals import ServiceSignals

if TYPE_CHECKING:
    import trio

    from connect.app import Service
    from connect.cli.announce import Announcer
    from connect.reloading import Given, Read
    from connect.worker import Worker

__all__ = ["dev"]

DEMO_FUNCTION = "demo-hello"
DEMO_DATA = {"name": "Ada"}


@click.command()
@service_options
@functions_option
@click.option("--no-demo", is_flag=True, help="Run no demo worker and send no request.")
@click.pass_context
def dev(context: click.Context, /, no_demo: bool, **options: Any) -> None:
    """Run everything in one process, for development.

    Starts the service with a demo worker, sends one request through it and prints the
    reply, then stays up until Ctrl-C.
    """
    import structlog
    import trio

    from connect.cli.announce import Announcer
    from connect.logs import configure_logging

    signals = context.find_object(ServiceSignals)
    assert signals is not None  # the group has taken them
    reader = GivenReader(context)
    given = reader.read()
    configure_logging(level=given.settings.log.level, fmt=given.settings.log.format)
    for warning in given.warnings:
        structlog.get_logger().warning(warning)
    announcer = Announcer(
        print_addresses=options["print_addresses"], address_file=options["address_file"]
    )
    signals.keep()
    trio.run(_dev, given, announcer, not no_demo, reader.read, signals)


async def _dev(
    given: "Given", announcer: "Announcer", demo: bool, read: "Read", signals: ServiceSignals
) -> None:
    import trio

    from connect.app import open_service, reload_until_signal
    from connect.logs import set_log_level
    from connect.memory import settle_memory

    with signals.received():
        async with (
            open_service(given.settings, functions=given.functions) as service,
            trio.open_nursery() as nursery,
        ):
            worker = await _run_demo(service, nursery) if demo else None
            settle_memory()
            announcer.announce(service.addresses)
            _suggest(service, demo=demo)
            signals.started()
            await reload_until_signal(
                service,
                signals,
                read=read,
                changed=lambda settings: set_log_level(settings.log.level),
            )
            if worker is not None:
                worker.shutdown()


async def _run_demo(service: "Service", nursery: "trio.Nursery") -> "Worker | None":
    """Start the demo worker, have it run one function, print the reply."""
    import httpx

    from connect.demo import app
    from connect.worker import Worker

    api = service.addresses.api
    keys = service.settings.tenant.signing_keys
    if api is None:
        return None
    click.echo("==> Starting the demo worker: it dials the gateway, as any worker does")
    worker = Worker(app, api_url=api, signing_key=keys[0] if keys else None)
    await nursery.start(worker.run)
    click.echo(f"==> Sending one request: {DEMO_FUNCTION} with {json.dumps(DEMO_DATA)}")
    headers = {"Authorization": f"Bearer {keys[0]}"} if keys else {}
    async with httpx.AsyncClient(base_url=api, headers=headers, timeout=30) as client:
        response = await client.post(
            "/v0/invoke", json={"function": DEMO_FUNCTION, "data": DEMO_DATA}
        )
    run = response.json()
    if response.status_code == 200 and run["status"] == "completed":
        click.secho(f"==> Reply: {json.dumps(run['result'])} ({run['duration_ms']} ms)", fg="green")
    else:
        click.secho(f"==> The request failed: {json.dumps(run)}", fg="red")
    return worker


def _suggest(service: "Service", *, demo: bool) -> None:
    addresses = service.addresses.as_json()
    click.echo("\nListening:")
    for name, address in addresses.items():
        click.echo(f"  {name.replace('_', ' '):13} {address}")
    url = "" if addresses.get("api", "").endswith(":8288") else f" --url {addresses.get('api')}"
    function = "demo-steps" if demo else "my-app-hello"
    command = f"{_shown(sys.executable)} -m connect"
    env_id = service.settings.tenant.env_id
    click.echo("\nTry next, in another terminal:")
    click.echo(f"  {command} invoke {function} --json{url}")
    click.echo(f"  {command} worker{url}")
    click.echo(f"  curl {addresses.get('api')}/v0/connect/envs/{env_id}/conns")
    click.echo("\nCtrl-C ends it.")


def _shown(path: str) -> str:
    """Shorten a path for a command typed in the current directory."""
    here = os.getcwd() + os.sep
    return path.removeprefix(here)
