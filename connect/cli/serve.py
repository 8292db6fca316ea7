"""``connect serve``: run the service until it is told to end."""

from typing import Any

import click

from connect.cli.options import service_options, settings_from

__all__ = ["serve"]


@click.command()
@service_options
def serve(**options: Any) -> None:
    """Run the service: gateway, API and executor, until SIGINT or SIGTERM.

    The first signal ends it in order: no new connections, then running requests finish,
    then it exits with code 0. The second ends it at once.
    """
    import trio

    from connect.app import Addresses, serve_until_signal
    from connect.cli.announce import Announcer
    from connect.logs import configure_logging
    from connect.memory import settle_memory

    settings = settings_from(options)
    configure_logging(level=options["log_level"], fmt=options["log_format"])
    announcer = Announcer(
        print_addresses=options["print_addresses"], address_file=options["address_file"]
    )

    def announce(addresses: Addresses) -> None:
        settle_memory()
        announcer.announce(addresses)

    trio.run(serve_until_signal, settings, announce)
