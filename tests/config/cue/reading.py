"""Reading documents, for tests of what is read."""

import pytest

from connect.config.cue.ast import Declaration
from connect.config.cue.errors import CueError
from connect.config.cue.parser import parse
from connect.config.cue.source import Source
from connect.config.cue.writer import Writer, written

__all__ = ["again", "declarations", "faults"]


def declarations(text: str) -> list[Declaration]:
    return list(parse(Source("x", text)).body.declarations)


def again(text: str) -> str:
    """Return a document's declarations as they are understood, on one line."""
    return ", ".join(written(Writer().declaration(part, 0)) for part in declarations(text))


def faults(text: str) -> list[str]:
    """Return the faults of a document, each with line and column."""
    with pytest.raises(CueError) as refused:
        parse(Source("x", text))
    return str(refused.value).removeprefix("x:").split("\nx:")
