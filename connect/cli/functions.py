"""``connect functions``: check, show and try function definitions."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from connect.cli.documents import STDIN, read_definition, read_document
from connect.cli.events import read_event
from connect.cli.faults import passed_over, shown_faults
from connect.errors import ConfigurationError

if TYPE_CHECKING:
    from connect.config.cue.errors import Fault
    from connect.config.definitions import Function
    from connect.config.function_files import LoadedFunctions
    from connect.config.matching import Match
    from connect.config.schedule import PlannedStart
    from connect.config.triggers import CronTrigger

__all__ = ["functions"]

_WRONG = 1  # the exit code for definitions with faults
_DEEPEST_CUE = 50
_EARLIEST_YEAR = 2  # whatever the time zone, it is still one that there is
_MANY_FILES = 20  # from here on a terminal is told how far it is

_FILE = click.argument("file", metavar="FILE")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def functions() -> None:
    """Check, show and try function definitions.

    A definition is a .cue file with a field `function`, or a .json file; - reads one from the
    standard input. Of a directory every such file is taken, at any depth.

    \b
    Exit codes:
      0  all is well
      1  a definition is wrong, or cannot be read: every fault is on stderr
      2  wrong usage, or a path that does not exist
    """


@functions.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome on stdout, as JSON.")
def check(paths: Sequence[str], as_json: bool) -> int:
    """Check definitions: every fault of every file, with its place."""
    from connect.config.printable import printable

    loaded = _loaded(paths)
    if as_json:
        from connect.config.cue.printer import as_json as faults_as_json

        outcome = {
            "files": loaded.count,
            "functions": [file.value["id"] for file in loaded.files],
            "passed_over": list(loaded.skipped),
            "faults": faults_as_json(loaded.faults),
        }
        print(json.dumps(outcome, indent=2, ensure_ascii=False))
        return _WRONG if loaded.faults else 0
    for name in loaded.skipped:
        click.echo(printable(f"note: {passed_over(name)}"), err=True)
    if loaded.faults:
        click.echo(shown_faults(loaded.faults), err=True)
    fine = len(loaded.files)
    click.echo(f"{_counted(loaded.count, 'file')} checked, {_counted(fine, 'function')} fine")
    return _WRONG if loaded.faults else 0


@functions.command()
@_FILE
@_JSON
def show(file: str, as_json: bool) -> int:
    """Print the function with its defaults filled in, as CUE or JSON.

    With --json it is exactly the value of the field `function`. What only `check` finds, such
    as a cron expression that cannot be read, is told in notes.
    """
    from connect.config.cue import CueError, Fault, Source
    from connect.config.cue.display import format_value
    from connect.config.cue.jsontext import to_json
    from connect.config.cue.parser import parse_expression
    from connect.config.function_files import check_sources, evaluate_function

    source = read_definition(file)
    if isinstance(source, Fault):
        return _refused((source,))
    try:
        function = evaluate_function(source)
    except CueError as error:
        return _refused(error.faults)
    assert function is not None  # it need not be, only where it is optional
    if as_json:
        print(to_json(dict(function.value), indent="  "))
    else:
        text = _cue({"function": function.value})
        print(format_value(parse_expression(Source("value", text))))
    for fault in check_sources([(source, True)]).faults:
        click.echo(f"note: {CueError([fault])}", err=True)
    return 0


@functions.command()
@_FILE
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot"]),
    default="text",
    show_default=True,
    help="How to draw: for the terminal, as Mermaid, as Graphviz DOT.",
)
def graph(file: str, form: str) -> int:
    """Draw the steps of a function."""
    from connect.config.graph import Charset, dot_graph, mermaid_graph, terminal_graph

    function = _one(file)
    if form == "mermaid":
        print(mermaid_graph(function), end="")
    elif form == "dot":
        print(dot_graph(function), end="")
    else:
        unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        charset = Charset.UNICODE if unicode else Charset.ASCII
        print(terminal_graph(function, charset), end="")
    return 0


class _Moment(click.ParamType[float]):
    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            moment = datetime.fromisoformat(str(value))
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            if moment.astimezone(UTC).year < _EARLIEST_YEAR:
                self.fail(f"{value!r} is too long ago; expected the year 2 or later", param, ctx)
            return moment.timestamp()
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time; expected one such as 2030-01-31T12:00:00Z", param, ctx
            )


@functions.command("next")
@_FILE
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="How many times of each trigger.",
)
@click.option(
    "--after",
    type=_Moment(),
    help="Times after this one, such as 2030-01-31T12:00:00Z (UTC unless it says otherwise); "
    "now when not given.",
)
@_JSON
def next_(file: str, count: int, after: float | None, as_json: bool) -> int:
    """Print the next times of a function's cron triggers."""
    from connect.config.printable import printable
    from connect.config.schedule import next_times
    from connect.config.triggers import CronTrigger

    function = _one(file)
    moment = time.time() if after is None else after
    planned = [
        (trigger, next_times(trigger, moment, count))
        for trigger in function.triggers
        if isinstance(trigger, CronTrigger)
    ]
    if as_json:
        print(json.dumps([_schedule(*each) for each in planned], indent=2, ensure_ascii=False))
        return 0
    if not planned:
        click.echo(printable(f"{function.id} has no cron triggers"), err=True)
    for trigger, starts in planned:
        late = f"  (up to {trigger.jitter} later)" if trigger.jitter else ""
        print(printable(f"{trigger.cron}{late}"))
        for start in starts:
            print(f"  {_utc(start.at)}  {start.at:%a %Y-%m-%d %H:%M:%S %Z}")
        if not starts:
            print("  never again")
    return 0


@functions.command()
@click.argument("event", metavar="EVENT.json")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@_JSON
def match(event: str, paths: Sequence[str], as_json: bool) -> int:
    """Tell which functions an event starts, and why not the others.

    The event is a JSON object with a name, and perhaps data, user, id and ts.
    """
    from connect.config.definitions import Function
    from connect.config.matching import matching
    from connect.config.printable import printable

    if event == STDIN and STDIN in paths:
        raise click.UsageError("the standard input can be the event or a definition, not both")
    given = read_event(event)
    loaded = _sound(paths)
    files = {file.value["id"]: file.name for file in loaded.files}
    found = matching([Function.of_checked(file.definition) for file in loaded.files], given)
    if as_json:
        shown = [_matched(each, files[each.function.id]) for each in found]
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return 0
    for each in found:
        name = f"{each.function.id} ({files[each.function.id]})"
        if each.trigger is None:
            print(printable(f"not started  {name}: {each.reason}"))
        else:
            condition = f" if {each.trigger.expression}" if each.trigger.expression else ""
            print(printable(f"started      {name}: on {each.trigger.event}{condition}"))
    started = sum(each.starts for each in found)
    of = _counted(len(found), "function")
    print(printable(f"{given['name']} starts {started} of {of}"))
    return 0


def _schedule(trigger: "CronTrigger", starts: "Sequence[PlannedStart]") -> dict[str, Any]:
    times = [{"at": _utc(start.at), "latest": _utc(start.latest)} for start in starts]
    return {"cron": trigger.cron, "jitter": trigger.jitter, "times": times}


def _matched(found: "Match[Function]", file: str) -> dict[str, Any]:
    from connect.config.triggers import CronTrigger

    reasons = [
        {
            "trigger": mismatch.trigger.cron
            if isinstance(mismatch.trigger, CronTrigger)
            else mismatch.trigger.event,
            "reason": mismatch.reason,
        }
        for mismatch in found.mismatches
    ]
    return {
        "function": found.function.id,
        "file": file,
        "starts": found.starts,
        "trigger": None if found.trigger is None else found.trigger.event,
        "mismatches": reasons,
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _one(file: str) -> "Function":
    """Load the one function of a file; exit if it is not sound."""
    from connect.config.definitions import Function
    from connect.config.function_files import check_sources

    loaded = check_sources([(read_definition(file), True)])
    if loaded.faults:
        _exit(loaded.faults)
    return Function.of_checked(loaded.files[0].definition)


def _sound(paths: Sequence[str]) -> "LoadedFunctions":
    """Load functions; exit if one is not sound."""
    loaded = _loaded(paths)
    if loaded.faults:
        _exit(loaded.faults)
    return loaded


def _loaded(paths: Sequence[str]) -> "LoadedFunctions":
    """Load the functions of files, directories and the standard input.

    Raises:
        ConfigurationError: a path does not exist, or there are no files.
    """
    from connect.config.function_files import check_sources, find_function_files

    found = find_function_files(path for path in paths if path != STDIN)
    sources: list[tuple[str, bool]] = [(str(path), named) for path, named in found.files]
    if STDIN in paths:
        sources.append((STDIN, True))
    if not sources and not found.faults:
        raise ConfigurationError(f"there is no .cue or .json file in {', '.join(paths)}")
    progress = _Progress(len(sources))
    try:
        loaded = check_sources(
            ((read_document(name, found=not named), named) for name, named in sources),
            progress=progress.tell,
        )
    finally:
        progress.end()
    return replace(loaded, faults=(*found.faults, *loaded.faults))


class _Progress:
    """How many files are done, on stderr, where that is a terminal and they are many."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._shown = number >= _MANY_FILES and sys.stderr.isatty()

    @property
    def tell(self) -> Callable[[int], None] | None:
        return self._tell if self._shown else None

    def _tell(self, done: int) -> None:
        print(f"\r\x1b[K{done} of {self._number} files", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _refused(faults: "tuple[Fault, ...]") -> int:
    click.echo(shown_faults(faults), err=True)
    return _WRONG


def _exit(faults: "tuple[Fault, ...]") -> NoReturn:
    raise click.exceptions.Exit(_refused(faults))


def _cue(value: Any, depth: int = 0) -> str:
    """Write a value as CUE; what lies very deep as JSON, which is CUE."""
    from connect.config.cue.jsontext import to_json
    from connect.config.cue.rendering import label_source

    if depth < _DEEPEST_CUE and isinstance(value, dict):
        fields = (f"{label_source(key)}: {_cue(item, depth + 1)}" for key, item in value.items())
        return "{" + ", ".join(fields) + "}"
    if depth < _DEEPEST_CUE and isinstance(value, list):
        return "[" + ", ".join(_cue(item, depth + 1) for item in value) + "]"
    return to_json(value)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
