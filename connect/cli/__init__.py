"""The command line: ``python -m connect [COMMAND]``.

Commands import what they need when they run, so that ``--help`` is quick.
"""

import sys
from collections.abc import Sequence

import click

from connect import __version__
from connect.cli.dev import dev
from connect.cli.invoke import invoke
from connect.cli.serve import serve
from connect.cli.worker import worker
from connect.errors import ConfigurationError

__all__ = ["cli", "main"]

# The exit code of an end by Ctrl-C where it is not the usual way to end (as shells do).
INTERRUPTED = 130


class _ServeByDefault(click.Group):
    """A group whose command is ``serve`` when the arguments name none."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None:
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "; see --help for the commands"
            raise click.UsageError(f"no such command {name!r}{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_ServeByDefault, context_settings={"help_option_names": ["-h", "--help"]}, name="connect"
)
@click.version_option(__version__, prog_name="connect")
def cli() -> None:
    """Connect: holds WebSocket connections from worker SDKs and routes function
    executions to them.

    Without a command it serves, as `serve` does.
    """


for command in (serve, dev, invoke, worker):
    cli.add_command(command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process.

    Args:
        args: the arguments; those of the process when None.

    Wrong usage and a service that cannot start give one line on stderr and exit code 2.
    """
    try:
        code = cli.main(args=args, prog_name="connect", standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "connect"
        print(f"{command}: {error.format_message()}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, click.UsageError) else 2)
    except ConfigurationError as error:
        print(f"connect: {error}", file=sys.stderr)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    sys.exit(code or 0)
