"""What ``serve`` and ``dev`` are given: settings and function definitions, read together."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from connect.cli.faults import CollectedFaults, FaultyDocument, passed_over, shown_faults
from connect.cli.options import ServiceSettings, service_settings
from connect.config.defined import DefinedFunctions
from connect.errors import ConfigurationError
from connect.reloading import FaultyInput, Given

if TYPE_CHECKING:
    from connect.config.cue.errors import Fault
    from connect.config.function_files import FunctionFile

__all__ = ["GivenReader", "functions_option"]

F = TypeVar("F", bound=Callable[..., Any])


def functions_option(command: F) -> F:
    """Add the option for function definitions to a command; `GivenReader` reads it.

    All paths may follow one flag, as the shell writes them for ``--functions *.cue``.
    """
    for option in (
        click.argument("more_functions", nargs=-1, metavar=""),
        click.option(
            "--functions",
            multiple=True,
            metavar="PATH...",
            envvar="CONNECT_FUNCTIONS",
            help="Files and directories of function definitions, .cue or .json, to offer at "
            "/v0/functions and to compare registered functions with.  [env: CONNECT_FUNCTIONS]",
        ),
    ):
        command = option(command)
    return command


class GivenReader:
    """Reads configuration, variables, flags and function definitions, again and again.

    Args:
        context: of a command with `service_options` and `functions_option`.

    Raises:
        click.UsageError: there are paths that do not follow ``--functions``.
    """

    def __init__(self, context: click.Context) -> None:
        self._context = context
        named: tuple[str, ...] = context.params["functions"]
        more: tuple[str, ...] = context.params["more_functions"]
        if more and not named:
            raise click.UsageError(f"Got unexpected extra argument ({more[0]})", context)
        self._paths = named + more
        # What is known of files that don't change; only what takes effect is kept.
        self._known: tuple[FunctionFile, ...] = ()
        self._document = ""  # the name of the configuration document that was read last

    def read(self) -> Given:
        """Read it all.

        Raises:
            FaultyInput: with everything that is wrong with the documents, and with files, flags,
                variables and combinations that cannot be; or the configuration document that
                was read before is gone, as a running service must not fall back to defaults,
                among them the secret of its sessions.
        """
        found = CollectedFaults()
        service: ServiceSettings | None = None
        functions = DefinedFunctions()
        warnings: tuple[str, ...] = ()
        wrong: tuple[Fault, ...] = ()
        with found.noted():
            service = service_settings(self._context)
        with found.noted():
            functions, warnings, wrong = self._functions(found)
        if service is not None and service.document.warning is not None and self._document:
            gone = f"the configuration {self._document} is gone"
            found.lines.append(f"{gone}; put it back, or restart the service to run without it")
        faults: list[str] = []
        shown: list[str] = []
        if found.document is not None:
            faults += _lines(getattr(found.document.__cause__, "faults", ()))
            shown.append(str(FaultyDocument(found.document.faults)))
        faults += found.lines
        shown += found.lines
        if wrong:
            faults += _lines(wrong)
            shown.append(f"the function definitions cannot be used\n{shown_faults(wrong)}")
        if service is None or faults:
            raise FaultyInput(tuple(faults), "\n".join(shown))
        absent = service.document.warning
        if absent is None:
            self._document = service.document.name
        told = [warning for warning in service.warnings if warning != absent]
        return Given(service.resolved.settings, functions, (*told, *warnings), absent)

    def _functions(
        self, found: CollectedFaults
    ) -> "tuple[DefinedFunctions, tuple[str, ...], tuple[Fault, ...]]":
        """Load definitions; return them, what to tell of them, and their faults.

        Args:
            found: is told of the paths that cannot be; those that can are looked at all the same.
        """
        if not self._paths:
            return DefinedFunctions(), (), ()
        from connect.config.function_files import find_function_files, load_functions

        try:
            loaded = load_functions(self._paths, known=self._known)
        except ConfigurationError:
            paths: list[str] = []
            for path in self._paths:
                with found.noted():
                    find_function_files([path])
                    paths.append(path)
            loaded = load_functions(paths, known=self._known)
        if not loaded.faults:
            self._known = loaded.files
        warnings = [passed_over(name) for name in loaded.skipped]
        if not loaded.count:
            warnings.append(f"there are no function definitions in {', '.join(self._paths)}")
        return DefinedFunctions.of_files(loaded.files), tuple(warnings), loaded.faults


def _lines(faults: "tuple[Fault, ...]") -> list[str]:
    from connect.config.cue.errors import CueError

    return [str(CueError([fault])) for fault in faults]
