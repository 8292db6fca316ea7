"""The command line: ``python -m connect [COMMAND]``.

A command's module is imported when it is called, and what it needs when it runs, so that
``--help`` is quick.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from errno import ENOENT, EPIPE
from importlib import import_module
from typing import Any

import click

from connect import __version__
from connect.cli.streams import escape_unencodable, give_up_output, is_of_output
from connect.errors import ConfigurationError

__all__ = ["cli", "main"]

# The exit code of an end by Ctrl-C where it is not the usual way to end (as shells do).
INTERRUPTED = 130
# The exit code when nobody reads the output any more; click has the same.
_UNREAD = 1


# Each command: the module and attribute where it is, and what --help says of it.
_COMMANDS = {
    "serve": (
        "connect.cli.serve:serve",
        "Run the service: gateway, API and executor, until SIGINT or SIGTERM.",
    ),
    "dev": ("connect.cli.dev:dev", "Run everything in one process, for development."),
    "invoke": (
        "connect.cli.invoke:invoke",
        "Run FUNCTION (its slug, such as my-app-hello) and print its result as JSON.",
    ),
    "worker": (
        "connect.cli.worker:worker",
        "Run a worker that serves the functions of MODULE:ATTRIBUTE.",
    ),
    "connections": (
        "connect.cli.connections:connections",
        "Show the connections of a gateway.",
    ),
    "gateways": (
        "connect.cli.gateways:gateways",
        "Show all gateways, and which of them are alive.",
    ),
    "drain": (
        "connect.cli.drain:drain",
        "Take a gateway out of service: it sends its workers to other gateways.",
    ),
    "activate": (
        "connect.cli.drain:activate",
        "Put a drained gateway back into service, also in the midst of a drain.",
    ),
    "functions": (
        "connect.cli.functions:functions",
        "Check, show and try function definitions.",
    ),
    "config": ("connect.cli.config:config", "Check, show and explain the configuration."),
    "cue": (
        "connect.cli.cue:cue",
        "Evaluate, format and check CUE documents (of version 0.4; JSON is CUE).",
    ),
}

# The commands that end with code 0 by a signal, from the beginning.
_SERVICES = frozenset({"serve", "dev"})


class _LazyGroup(click.Group):
    """A group that imports a command when it is called.

    Args:
        places: for each command where it is, as ``module:attribute``, and its help in one
            line, which the list of commands shows.
    """

    def __init__(self, *args: Any, places: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._places})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place, _ = self._places.get(cmd_name, ("", ""))
        if not place:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command), place
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = formatter.width - 6 - max(map(len, self._places))
        rows = [(name, _shortened(self._places[name][1], width)) for name in sorted(self._places)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3].rsplit(' ', 1)[0]}..."


class _ServeByDefault(_LazyGroup):
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
        if name in _SERVICES:
            from connect.signals import take_signals

            # Before the command is imported, which takes a while.
            ctx.obj = take_signals()
        if self.get_command(ctx, name) is None:
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "; see --help for the commands"
            raise click.UsageError(f"no such command {name!r}{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_ServeByDefault,
    places=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    name="connect",
)
@click.version_option(__version__, prog_name="connect")
def cli() -> None:
    """Connect: holds WebSocket connections from worker SDKs and routes function
    executions to them.

    Without a command it serves, as `serve` does.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process.

    Args:
        args: the arguments; those of the process when None.

    Wrong usage and a service that cannot start give one line on stderr and exit code 2, as
    does an output that cannot be written. Where nobody reads it any more, the exit code is 1.
    """
    escape_unencodable()
    try:
        code = _run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except OSError as error:
        if not is_of_output(error):
            raise
        give_up_output()
        code = _UNREAD
        if error.errno != EPIPE:
            code = 2
            with suppress(OSError):
                _complain(f"connect: cannot write the output: {error.strerror}")
    sys.exit(code)


def _run(args: Sequence[str] | None) -> int:
    """Run a command; return its exit code."""
    try:
        code: int | None = cli.main(args=args, prog_name="connect", standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "connect"
        _complain(f"{command}: {_message(error)}")
        return error.exit_code if isinstance(error, click.UsageError) else 2
    except ConfigurationError as error:
        _complain(f"connect: {error}")
        return 2
    return code or 0


def _message(error: click.ClickException) -> str:
    if isinstance(error, click.FileError):
        if error.message == os.strerror(ENOENT):
            return f"there is no file or directory {error.ui_filename}"
        return f"cannot open {error.ui_filename}: {error.message}"
    return error.format_message()


def _complain(message: str) -> None:
    """Print why the process ends, without any credentials that the arguments contain."""
    from connect.config.credentials import masked_credentials

    print(masked_credentials(message), file=sys.stderr)
