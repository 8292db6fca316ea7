"""``connect cue``: the configuration language for its own sake."""

import os
import sys
from collections.abc import Callable, Sequence
from errno import ENOENT
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connect.cli.streams import read_stdin

if TYPE_CHECKING:
    from connect.config.cue import CueError, Fault, Source, Value
    from connect.config.cue.ast import Expr
    from connect.config.cue.errors import Path as ValuePath

__all__ = ["cue"]

_WRONG = 1  # exit code: a document has faults, or (fmt --check) is not formatted
_STDIN = "-"


@click.group()
def cue() -> None:
    """Evaluate, format and check CUE documents (of version 0.4; JSON is CUE).

    They may import CUE's builtin packages and the definitions inngest.com/defs/v1 and
    inngest.com/defs/config. FILE may be - for the standard input.

    \b
    Exit codes:
      0  all is well
      1  a document is wrong, or cannot be read: every fault is on stderr
      2  wrong usage, a file that does not exist or cannot be written
    """


@cue.command("eval")
@click.argument("file", metavar="FILE")
@click.option("-e", "--expression", metavar="PATH",
              help="Print only the value at this path, such as a.b[0] or '#Def'.")  # fmt: skip
@click.option("--out", type=click.Choice(["json", "cue"]), default="json", show_default=True,
              help="What to print; cue also shows values that are not concrete.")  # fmt: skip
def eval_(file: str, expression: str | None, out: str) -> int:
    """Print the final value of a document."""
    from connect.config.cue import CueError
    from connect.config.cue.display import format_value
    from connect.config.cue.jsontext import to_json

    path = _path(expression)
    try:
        value = _at(_evaluated(_read(file)), path, expression)
        if out == "json":
            text = to_json(value.export(), indent="  ")
        else:
            value.validate(concrete=False)
            text = format_value(_parsed(value.text()))
    except CueError as error:
        return _refused(error)
    print(text)
    return 0


@cue.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if a file would change.")
@click.option("--diff", is_flag=True, help="Change nothing; print what would change, exit 1 if so.")
def fmt(files: Sequence[str], check: bool, diff: bool) -> int:
    """Bring documents into the canonical layout, in place.

    FILE may be a directory: all .cue files in it and below. With - the standard input is
    written to the standard output. A document with syntax faults stays as it is. JSON files
    are refused: what is formatted is CUE, no longer JSON.
    """
    from connect.config.cue import CueError
    from connect.config.reading import regular_bytes

    code = 0
    changed = same = failed = 0
    names, faults = _cue_files(files)
    for name in names:
        try:
            source = _read(name, regular_bytes)
            formatted = _formatted(source)
        except CueError as error:
            faults += error.faults
            failed += 1
            continue
        differs = formatted != source.text
        if name == _STDIN and not (check or diff):
            sys.stdout.write(formatted)
            continue
        changed, same = changed + differs, same + (not differs)
        if not differs:
            continue
        if diff:
            sys.stdout.write(_difference(source, formatted))
        if check:
            print(source.name)
        if check or diff:
            code = _WRONG
            continue
        try:
            _rewrite(Path(name), formatted)
        except click.FileError:
            if faults:
                _refused(CueError(faults))
            raise
    if faults:
        code = _refused(CueError(faults))
    if changed + same:
        what = "would be reformatted" if check or diff else "reformatted"
        left = f", {failed} could not be formatted" if failed else ""
        print(f"{_counted(changed)} {what}, {same} left unchanged{left}", file=sys.stderr)
    return code


@cue.command()
@click.argument("schema", metavar="SCHEMA")
@click.argument("data", nargs=-1, metavar="[DATA]...")
@click.option(
    "-d",
    "--definition",
    metavar="PATH",
    help="What of SCHEMA each DATA must satisfy, such as '#Config'; else all of it.",
)
@click.option("--json", "as_json_", is_flag=True, help="Print the faults on stdout, as JSON.")
def vet(schema: str, data: Sequence[str], definition: str | None, as_json_: bool) -> int:
    """Check that each DATA, CUE or JSON, satisfies a schema and is concrete.

    Without DATA, SCHEMA itself is checked: conflicts, but not what is still incomplete.
    """
    import json

    from connect.config.cue import CueError, Fault
    from connect.config.cue.printer import as_json
    from connect.config.redaction import masked_error

    path = _path(definition)
    faults: list[Fault] = []
    try:
        wanted = _at(_evaluated(_read(schema)), path, definition)
        faults += wanted.faults(concrete=False)
    except CueError as error:
        faults += error.faults
    for name in () if faults else data:
        try:
            faults += _unfit(_read(name), wanted)
        except CueError as error:
            faults += error.faults
    if as_json_:
        print(json.dumps(as_json(masked_error(CueError(faults))), indent=2))
        return _WRONG if faults else 0
    return _refused(CueError(faults)) if faults else 0


def _read(name: str, read: Callable[[Path], bytes] = Path.read_bytes) -> "Source":
    """Read a document.

    Args:
        read: reads what is no standard input, or raises OSError.

    Raises:
        click.FileError: there is no such file.
        CueError: it cannot be read, or is no UTF-8.
    """
    from connect.config.cue import CueError, Fault
    from connect.config.reading import decoded, unreadable

    _demand(name)
    shown = "<stdin>" if name == _STDIN else name
    try:
        raw = read_stdin() if name == _STDIN else read(Path(name))
    except OSError as error:
        raise CueError([unreadable(shown, error)]) from error
    source = decoded(shown, raw, keep_mark=True)
    if isinstance(source, Fault):
        raise CueError([source])
    return source


def _demand(name: str) -> None:
    """See that a file exists.

    Raises:
        click.FileError: it does not.
    """
    from connect.config.reading import is_absent

    if name != _STDIN and is_absent(name):
        raise click.FileError(name, os.strerror(ENOENT))


def _evaluated(source: "Source") -> "Value":
    from connect.config.cue.parser import parse
    from connect.config.documents import evaluated

    return evaluated(parse(source))


def _unfit(source: "Source", wanted: "Value") -> "list[Fault]":
    """Return what is wrong with a document by a schema, at places in the document."""
    from connect.config.documents import placed

    value = _evaluated(source).unify(wanted)
    return [placed(fault, value, lambda span: span.source is source) for fault in value.faults()]


def _path(text: str | None) -> "ValuePath":
    """Read a path such as ``a.b[0]``.

    Raises:
        click.UsageError: it is none.
    """
    from connect.config.cue import CueError, Source
    from connect.config.cue.ast import Ident, Index, Literal, Selector
    from connect.config.cue.parser import parse_expression

    if text is None:
        return ()
    path: list[str | int] = []
    try:
        node = parse_expression(Source("path", text))
    except CueError as error:
        raise click.UsageError(f"{text!r} is no path: {error.faults[0].message}") from error
    while True:
        match node:
            case Selector(operand=operand, name=name):
                path.append(name)
                node = operand
            case Index(operand=operand, index=Literal(value=(str() | int()) as part)):
                path.append(part)
                node = operand
            case Ident(name=name):
                return (name, *reversed(path))
            case Literal(value=str() as name):
                return (name, *reversed(path))
            case _:
                raise click.UsageError(f"{text!r} is no path; write one such as a.b[0]")


def _at(value: "Value", path: "ValuePath", text: str | None) -> "Value":
    """Return the value at a path.

    Raises:
        click.UsageError: there is none; one for a near name is suggested.
        CueError: the document is wrong.
    """
    from difflib import get_close_matches

    for number, part in enumerate(path):
        below = value.lookup(part)
        if below is None:
            value.validate(concrete=False)
            names = [name for name, _ in value.fields(hidden=True)]
            near = get_close_matches(str(part), names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            where = f" in {'.'.join(map(str, path[:number]))}" if number else ""
            raise click.UsageError(f"{text}: there is no {part!r}{where}{hint}")
        value = below
    return value


def _parsed(text: str) -> "Expr":
    from connect.config.cue import Source
    from connect.config.cue.parser import parse_expression

    return parse_expression(Source("<value>", text))


def _formatted(source: "Source") -> str:
    """Format a document.

    Raises:
        CueError: it has faults.
    """
    from connect.config.cue.formatter import format_file
    from connect.config.cue.parser import parse

    return format_file(parse(source))


def _refused(error: "CueError") -> int:
    """Print what is wrong with documents; return the exit code."""
    from connect.config.cue.printer import render_faults
    from connect.config.redaction import masked_error

    color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    sys.stderr.write(render_faults(masked_error(error), color=color, limit=len(error.faults)))
    return _WRONG


def _cue_files(names: Sequence[str]) -> "tuple[list[str], list[Fault]]":
    """Find the files meant, those of a directory in order.

    Returns:
        Their names, and faults for the directories that cannot be read.

    Raises:
        click.UsageError: a JSON file is among them.
        click.FileError: one does not exist.
    """
    from connect.config.reading import files_within

    meant: list[str] = []
    faults: list[Fault] = []
    for name in names:
        if name.endswith(".json"):
            raise click.UsageError(f"{name}: JSON cannot be formatted as CUE and stay JSON")
        _demand(name)
        if name != _STDIN and os.path.isdir(name):
            files, unreadable = files_within(Path(name), wanted=lambda file: file.endswith(".cue"))
            meant += map(str, files)
            faults += unreadable
        else:
            meant.append(name)
    return meant, faults


def _difference(source: "Source", formatted: str) -> str:
    from difflib import unified_diff

    before, after = source.text.splitlines(keepends=True), formatted.splitlines(keepends=True)
    lines = unified_diff(before, after, source.name, source.name)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _rewrite(path: Path, text: str) -> None:
    """Replace a file's content; it is the old or the new, never half of it.

    Raises:
        click.ClickException: it cannot be written.
    """
    target = path.resolve()  # a link stays a link
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8", newline="\n")
        scratch.chmod(target.stat().st_mode)
        scratch.replace(target)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise click.FileError(str(path), error.strerror or str(error)) from error


def _counted(number: int) -> str:
    return f"{number} file" if number == 1 else f"{number} files"
