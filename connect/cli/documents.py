"""Documents that the arguments of a command name; a dash is the standard input."""

from pathlib import Path
from typing import TYPE_CHECKING

from connect.cli.streams import read_stdin
from connect.errors import ConfigurationError

if TYPE_CHECKING:
    from connect.config.cue.errors import Fault
    from connect.config.cue.source import Source

__all__ = ["STDIN", "demand", "read_definition", "read_document"]

STDIN = "-"
_STDIN_NAME = "<stdin>"


def read_definition(name: str) -> "Source | Fault":
    """Read the one definition that a command is given.

    Returns:
        The document, or the fault that it cannot be read.

    Raises:
        ConfigurationError: it does not exist, or is no document by its name.
    """
    if name and name != STDIN and not name.endswith((".cue", ".json")):
        problem = "is a directory; expected" if Path(name).is_dir() else "is neither"
        kinds = "one .cue or .json file" if Path(name).is_dir() else "a .cue nor a .json file"
        raise ConfigurationError(f"{name} {problem} {kinds}")
    demand(name)
    return read_document(name)


def demand(name: str) -> None:
    """See that a file exists.

    Raises:
        ConfigurationError: it does not.
    """
    from connect.config.reading import is_absent

    if not name:
        raise ConfigurationError("an empty path; expected a file")
    if name != STDIN and is_absent(name):
        raise ConfigurationError(f"there is no file or directory {name}")


def read_document(name: str, *, found: bool = False) -> "Source | Fault":
    """Read a file or the standard input.

    Args:
        found: whether the file was found in a directory, rather than named.

    Returns:
        The document, or the fault that it cannot be read.
    """
    from connect.config.reading import decoded, read_source, regular_bytes, unreadable

    if name != STDIN:
        return read_source(Path(name), regular_bytes if found else Path.read_bytes)
    try:
        return decoded(_STDIN_NAME, read_stdin())
    except OSError as error:
        return unreadable(_STDIN_NAME, error)
