"""The configuration language CUE, as of v0.4.2: parsed, resolved, evaluated, exported.

The core is pure: no I/O, no state outside of the values, usable from threads.

    value = compile_document(Source("config.cue", text))
    value.export()
"""

from connect.config.cue.budget import Budget
from connect.config.cue.document import Value, compile_document, compile_package
from connect.config.cue.errors import CueError, Fault, FaultKind, Path, path_text
from connect.config.cue.source import Position, Source, Span
from connect.config.cue.terms import CompiledDocument
from connect.config.cue.values import Kind

__all__ = [
    "Budget",
    "CompiledDocument",
    "CueError",
    "Fault",
    "FaultKind",
    "Kind",
    "Path",
    "Position",
    "Source",
    "Span",
    "Value",
    "compile_document",
    "compile_package",
    "path_text",
]
