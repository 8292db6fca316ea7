"""``connect serve``: run the service until it is told to end."""

from typing import TYPE_CHECKING, Any

import click

from connect.cli.given import GivenReader, functions_option
from connect.cli.options import service_options
from connect.signals import ServiceSignals

if TYPE_CHECKING:
    from connect.settings import Settings

__all__ = ["serve"]


@click.command()
@service_options
@functions_option
@click.pass_context
def serve(context: click.Context, /, **options: Any) -> None:
    """Run the service: gateway, API and executor, until SIGINT or SIGTERM.

    The first signal ends it in order: no new connections, then running requests finish,
    then it exits with code 0; one that comes while it starts cancels the start. The second
    ends it at once. SIGHUP reads configuration and
    function definitions again; if they have a fault, nothing changes.
    """
    from functools import partial

    import structlog
    import trio

    from connect.app import Addresses, serve_until_signal
    from connect.cli.announce import Announcer
    from connect.logs import configure_logging, set_log_level
    from connect.memory import settle_memory

    signals = context.find_object(ServiceSignals)
    assert signals is not None  # the group has taken them
    reader = GivenReader(context)
    given = reader.read()
    configure_logging(level=given.settings.log.level, fmt=given.settings.log.format)
    announcer = Announcer(
        print_addresses=options["print_addresses"], address_file=options["address_file"]
    )

    def announce(addresses: Addresses) -> None:
        settle_memory()
        for warning in (given.no_document, *given.warnings):
            if warning is not None:
                structlog.get_logger().warning(warning)
        announcer.announce(addresses)

    def changed(settings: "Settings") -> None:
        set_log_level(settings.log.level)

    run = partial(serve_until_signal, signals=signals, read=reader.read, changed=changed)
    signals.keep()
    trio.run(run, given, announce)
