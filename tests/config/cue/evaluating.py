"""Evaluating small documents, for tests of what they become."""

from connect.config.cue import CueError, Source, compile_document
from connect.config.cue.jsontext import to_json

__all__ = ["exported", "refusal"]


def exported(text: str) -> str:
    """Return what a document becomes, as JSON without spaces."""
    return to_json(compile_document(Source("x", text)).export())


def refusal(text: str) -> list[str]:
    """Return what is wrong with a document: line, column, path and message of each fault."""
    try:
        compile_document(Source("x", text)).validate()
    except CueError as error:
        return str(error).removeprefix("x:").split("\nx:")
    return []
