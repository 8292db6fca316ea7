"""``connect config``: look at, check and begin a configuration."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connect.cli.faults import FaultyDocument, collected_faults
from connect.cli.options import (
    check_redis_url,
    configuration_warnings,
    load_document,
    rendered,
    service_options,
    service_settings,
)
from connect.errors import ConfigurationError

if TYPE_CHECKING:
    from connect.config.layers import Layer
    from connect.config.loader import Loaded
    from connect.config.presentation import Row

__all__ = ["config"]

WRONG = 1  # the exit code for a document with faults

_PATH = click.argument("path", required=False, metavar="[PATH]")


@click.group()
def config() -> None:
    """Check, show and explain the configuration.

    Without PATH, the document is found as `serve` finds it: --config, then ./inngest.cue,
    ./inngest.json, /etc/inngest.cue, /etc/inngest.json, then the variable INNGEST_CONFIG.

    Exit codes: 0 all is well; 1 the document is wrong; 2 wrong usage, a variable that cannot
    be, or a file that cannot be read.
    """


@config.command()
@_PATH
def check(path: str | None) -> int:
    """Check a configuration document.

    Prints every fault with its place, or what in the document has no effect here, on stderr.
    """
    from connect.config.finding import DocumentRule, find_document
    from connect.config.layers import check_combinations, resolve, variables

    document = find_document(_given(path), environment=os.environ)
    given: Layer = {}
    loaded: Loaded | None = None
    try:
        with collected_faults() as faults:
            with faults.noted():
                loaded = load_document(document)
            with faults.noted():
                given = variables(os.environ)
    except FaultyDocument as error:
        return _refused(error)
    assert loaded is not None  # or there is a fault
    resolved = resolve(given, loaded.layer)
    check_redis_url(resolved)
    if document.rule is not DocumentRule.NONE:
        click.echo(f"{document.name}: fine; settings that it gives: {len(loaded.layer)}")
    for warning in configuration_warnings(document, loaded):
        click.echo(f"note: {warning}", err=True)
    try:
        check_combinations(resolved.settings)
    except ConfigurationError as error:
        click.echo(f"note: as it stands, serve needs flags: {error}", err=True)
    return 0


@config.command()
@_PATH
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--origin", is_flag=True, help="Say of each value where it came from.")
@service_options
@click.pass_context
def show(
    context: click.Context, /, path: str | None, as_json: bool, origin: bool, **_options: Any
) -> int:
    """Show the settings that result from flags, variables, document and defaults.

    Takes the options of `serve`, and shows what it would run with. Durations are in seconds in
    JSON. Secrets are never shown.
    """
    from connect.config.presentation import (
        document_rows,
        json_document,
        json_settings,
        secrets_of,
        setting_rows,
    )

    if path is not None:
        context.params["config"] = path
    try:
        service = service_settings(context)
        loaded = load_document(service.document)
    except FaultyDocument as error:
        return _refused(error)
    secrets = secrets_of(loaded)
    if as_json:
        shown = {
            "document": service.document.name,
            "settings": json_settings(service.resolved, secrets, origins=origin),
            "configuration": json_document(loaded, origins=origin),
        }
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return 0
    print("# settings of this service")
    _print_rows(setting_rows(service.resolved, secrets), origin=origin)
    print(f"\n# configuration: {service.document.name}")
    _print_rows(document_rows(loaded), origin=origin)
    return 0


@config.command()
@_PATH
def value(path: str | None) -> int:
    """Print the CUE value of a configuration as JSON, before it is decoded.

    It is printed as it is, with its secrets.
    """
    from connect.config.cue.errors import CueError
    from connect.config.cue.jsontext import to_json
    from connect.config.finding import find_document
    from connect.config.loader import evaluate_configuration

    document = find_document(_given(path), environment=os.environ)
    try:
        evaluated = evaluate_configuration(document, environment=os.environ)
    except CueError as error:
        return _refused(FaultyDocument(rendered(error)))
    print(to_json(evaluated.exported))
    return 0


@config.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "json", "text", "cue"]),
    default="text",
    show_default=True,
    help="How to print; `cue` is the definition of the section `connect`.",
)
@click.option(
    "--write",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Put the reference between the marked lines of a .md or .cue file instead.",
)
def docs(form: str, write: str | None) -> None:
    """Print every setting with its type, unit, default, flag and variable."""
    from connect.config.reference import Format, reference, with_generated

    if write is None:
        print(reference(Format(form)), end="")
        return
    by_suffix = {".md": Format.MARKDOWN, ".cue": Format.CUE}
    file = Path(write)
    if file.suffix not in by_suffix:
        raise click.UsageError(f"--write {write}: expected a .md or a .cue file")
    try:
        text = file.read_text(encoding="utf-8")
        file.write_text(with_generated(text, reference(by_suffix[file.suffix])), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--write {write}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        message = f"--write {write}: not UTF-8 at byte {error.start}; expected a text in UTF-8"
        raise ConfigurationError(message) from error
    except ConfigurationError as error:
        raise ConfigurationError(f"--write {write}: {error}") from error


@config.command()
@click.argument("path", default="inngest.cue")
def init(path: str) -> None:
    """Write an example with every setting in a comment to PATH (./inngest.cue).

    A file that exists is never overwritten.
    """
    from connect.config.reference import example_document

    if not path.endswith(".cue"):
        raise click.UsageError(f"{path}: the example is CUE, so the name must end in .cue")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(example_document())
    except FileExistsError:
        raise ConfigurationError(f"{path} exists and is left as it is") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"wrote {path}; check it with: python -m connect config check {path}")


def _given(path: str | None) -> str | None:
    """Return the path that is given, here or by the variable."""
    return path if path is not None else os.environ.get("CONNECT_CONFIG") or None


def _refused(error: FaultyDocument) -> int:
    from connect.config.credentials import masked_credentials

    click.echo("\n".join((error.faults, *map(masked_credentials, error.besides))), err=True)
    return WRONG


def _print_rows(rows: "list[Row]", *, origin: bool) -> None:
    width = min(60, max(len(row.name) + len(row.value) + 3 for row in rows))
    for row in rows:
        line = f"{row.name} = {row.value}"
        print(f"{line:{width}}  {row.origin}" if origin else line)
