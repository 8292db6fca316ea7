"""The standard streams of a command: what they cannot take, and what a terminal would obey."""

import codecs
import errno
import io
import os
import sys
from contextlib import suppress

__all__ = ["escape_unencodable", "give_up_output", "is_of_output", "read_stdin"]

_ESCAPE = "connect.escape"
# What writing to a pipe, a file or a terminal fails with.
_UNWRITABLE = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def escape_unencodable() -> None:
    r"""Have stdout and stderr write what their encoding lacks as escapes.

    They are those of JSON, such as ``\u00e9``, so that JSON that is printed means the same.
    """
    codecs.register_error(_ESCAPE, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors=_ESCAPE)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    digits = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{digits[at : at + 4]}" for at in range(0, len(digits), 4)), error.end


def is_of_output(error: OSError) -> bool:
    """Tell whether an error is that of writing to a stream, rather than of a file."""
    return error.filename is None and error.errno in _UNWRITABLE


def give_up_output() -> None:
    """Drop what stdout has not taken: Python would try once more when it ends, and complain."""
    with suppress(OSError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def read_stdin() -> bytes:
    """Read all of the standard input.

    Raises:
        OSError: it cannot be read, or the process was started without one.
    """
    if sys.stdin is None:
        raise OSError("the standard input is closed")
    return sys.stdin.buffer.read()
