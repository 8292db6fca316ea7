"""Documents read from files; what cannot be read is a fault of its file, told like any other.

Such a fault has a place in its document: where the bytes are no text, or else its beginning.
"""

import os
from collections.abc import Callable
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from connect.config.cue.errors import Fault, FaultKind
from connect.config.cue.source import Source, Span

__all__ = ["decoded", "files_within", "is_absent", "read_source", "regular_bytes", "unreadable"]

_BYTE_ORDER_MARK = "\ufeff"


def regular_bytes(path: Path) -> bytes:
    """Read a regular file.

    Anything else that has a path, such as a named pipe, could keep its reader waiting without
    end: that is right where a user has named it, but not where it was found.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    mode = path.stat().st_mode
    if not (S_ISREG(mode) or S_ISDIR(mode)):  # what a directory is, reading tells better
        raise OSError("no regular file")
    return path.read_bytes()


def read_source(path: Path, read: Callable[[Path], bytes] = regular_bytes) -> Source | Fault:
    """Read a document from a file.

    Args:
        read: reads the file, or raises OSError.

    Returns:
        The document, named by its path and without byte order mark; a fault of kind
        `UNREADABLE` if there is no such file, it may not be read, or is no UTF-8.
    """
    try:
        raw = read(path)
    except OSError as error:
        return unreadable(str(path), error)
    return decoded(str(path), raw)


def decoded(name: str, raw: bytes, *, keep_mark: bool = False) -> Source | Fault:
    """Make a document of its bytes.

    Args:
        name: what errors call it.
        keep_mark: whether a byte order mark stays part of the text.

    Returns:
        The document, or a fault that names the byte, from 0 on, line and column.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = Source(name, raw.decode("utf-8", "replace"))
        start = len(raw[: error.start].decode("utf-8"))
        message = f"not UTF-8 at byte {error.start}; expected a text in UTF-8"
        return Fault(FaultKind.UNREADABLE, message, (), (Span(shown, start, start + 1),))
    return Source(name, text if keep_mark else text.removeprefix(_BYTE_ORDER_MARK))


def unreadable(name: str, error: OSError) -> Fault:
    """Return the fault that a file or directory cannot be read."""
    message = f"cannot be read: {error.strerror or error}"
    return Fault(FaultKind.UNREADABLE, message, (), (Span(Source(name, ""), 0, 0),))


def is_absent(path: str | Path) -> bool:
    """Tell whether there is nothing at a path; not so where that cannot be seen."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def files_within(
    directory: Path,
    *,
    wanted: Callable[[str], bool],
    entered: Callable[[str], bool] = lambda name: True,
) -> tuple[list[Path], list[Fault]]:
    """Find the files of a directory, at any depth, in the order of their paths.

    Links to directories are not followed, so that none is entered twice.

    Args:
        wanted: tells by its name whether a file is taken.
        entered: tells by its name whether a directory is looked into.

    Returns:
        The files, and faults for the directories that cannot be read.
    """
    files: list[Path] = []
    faults: list[Fault] = []

    def note(error: OSError) -> None:
        faults.append(unreadable(str(error.filename or directory), error))

    for folder, folders, names in os.walk(directory, onerror=note):
        folders[:] = filter(entered, folders)
        files += (Path(folder, name) for name in names if wanted(name))
    return sorted(files), faults
