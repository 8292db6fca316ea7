"""Finding the configuration document, by the loading rules.

In order: an explicit path; the first of ``./inngest.cue``, ``./inngest.json``,
``/etc/inngest.cue`` and ``/etc/inngest.json`` that exists; the variable
``INNGEST_CONFIG``, which holds the document itself; else no document, which is the empty
one. Only `read_text` does I/O.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from connect.config.reading import regular_bytes
from connect.errors import ConfigurationError

__all__ = [
    "PLACES",
    "VARIABLE",
    "Document",
    "DocumentRule",
    "Read",
    "find_document",
    "read_text",
]

PLACES = (
    Path("inngest.cue"),
    Path("inngest.json"),
    Path("/etc/inngest.cue"),
    Path("/etc/inngest.json"),
)
VARIABLE = "INNGEST_CONFIG"

Read = Callable[[Path], str | None]


class DocumentRule(StrEnum):
    """By which of the loading rules a document was found."""

    EXPLICIT = "explicit"
    PLACE = "place"
    VARIABLE = "variable"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a configuration.

    Attributes:
        name: what errors call it: its path, or ``$INNGEST_CONFIG``.
    """

    name: str
    text: str
    rule: DocumentRule

    @property
    def warning(self) -> str | None:
        """What to tell when there is no document at all."""
        if self.rule is not DocumentRule.NONE:
            return None
        places = ", ".join(str(place) for place in PLACES)
        return f"no configuration: none of {places} exists and {VARIABLE} is not set; all defaults"


def read_text(path: Path) -> str | None:
    """Read a file; None when there is none.

    Raises:
        ConfigurationError: there is one, but it cannot be read as text, or is no regular file.
    """
    try:
        return regular_bytes(path).decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"cannot read {path}: {reason}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"cannot read {path}: not UTF-8 at byte {error.start}") from error


def find_document(
    path: str | None, *, environment: Mapping[str, str], read: Read = read_text
) -> Document:
    """Find the configuration by the loading rules.

    Args:
        path: an explicit path; None when there is none.
        environment: the environment variables.
        read: returns a file's text, or None when there is no such file.

    Raises:
        ConfigurationError: an explicit path that is missing or has another ending than .cue
            or .json; a file that cannot be read.
    """
    if path is not None:
        if not path.endswith((".cue", ".json")):
            raise ConfigurationError(
                f"the configuration {path!r} is neither a .cue nor a .json file"
            )
        text = read(Path(path))
        if text is None:
            raise ConfigurationError(f"there is no file or directory {path}")
        return Document(path, text, DocumentRule.EXPLICIT)
    for place in PLACES:
        text = read(place)
        if text is not None:
            return Document(str(place), text, DocumentRule.PLACE)
    text = environment.get(VARIABLE, "")
    if text:
        return Document(f"${VARIABLE}", text, DocumentRule.VARIABLE)
    return Document("(no document)", "", DocumentRule.NONE)
