"""Files and directories of function definitions, each checked against ``#Function``.

A CUE document's field ``function`` is the function; a document that begins with ``{``,
such as JSON, is the function itself. In a directory every ``*.cue`` and ``*.json`` file is
taken, at any depth, in the order of their paths, except:

- hidden files and directories, whose names begin with a dot, and ``cue.mod`` and
  ``node_modules``;
- CUE documents without a field ``function``, which may hold what others need. They are told
  of, so that a misspelt field is seen. A file that is named itself must have one.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from connect.config.alternatives import refined
from connect.config.checks import check_function
from connect.config.cue import Budget, Value
from connect.config.cue.ast import Embedding, Field, File, NameLabel, StructLit, TextLabel
from connect.config.cue.errors import CueError, Fault, FaultKind
from connect.config.cue.errors import Path as ValuePath
from connect.config.cue.parser import parse
from connect.config.cue.source import Source, Span
from connect.config.documents import (
    FUNCTION,
    begins_with_brace,
    bound,
    evaluated,
    placed,
    places,
    wrapped,
)
from connect.config.faults import nearest
from connect.config.reading import files_within, is_absent, read_source
from connect.config.unknown_names import besides, opened
from connect.errors import ConfigurationError

__all__ = [
    "EvaluatedFunction",
    "FoundFiles",
    "FunctionFile",
    "LoadedFunctions",
    "check_sources",
    "evaluate_function",
    "find_function_files",
    "load_functions",
]

T = TypeVar("T")

_SUFFIXES = (".cue", ".json")
_NOT_ENTERED = frozenset({"cue.mod", "node_modules"})


@dataclass(frozen=True, slots=True)
class FunctionFile:
    """A function definition and its document.

    Attributes:
        source: the document, named by its path.
        value: the function with defaults filled in, floats as `Decimal`.
    """

    source: Source
    value: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def definition(self) -> dict[str, Any]:
        """The function as decoded JSON is."""
        plain = _plain(self.value)
        assert isinstance(plain, dict)
        return plain


@dataclass(frozen=True, slots=True)
class EvaluatedFunction(FunctionFile):
    """A function definition with all its places, which takes a good deal more memory.

    Attributes:
        root: the path of the function in the document.
    """

    root: ValuePath
    _evaluated: Value = field(repr=False)

    def spans(self, path: ValuePath) -> tuple[Span, ...]:
        """Return where the value at a path of the function is written.

        Of a value that the document does not give, the nearest one around it that it does.
        """
        return places(self._evaluated, path, self._written) or (Span(self.source, 0, 0),)

    def without_places(self) -> FunctionFile:
        return FunctionFile(self.source, self.value)

    def _written(self, span: Span) -> bool:
        return span.source is self.source


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Files that may hold function definitions.

    Attributes:
        files: each with whether it was named itself rather than found in a directory.
        faults: for the directories that cannot be read.
    """

    files: tuple[tuple[Path, bool], ...]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedFunctions:
    """What files and directories contain.

    Attributes:
        files: the functions without fault, in the order of the files.
        faults: everything that is wrong, by file; that a file cannot be read, too.
        skipped: the files in directories that hold no function.
        count: how many files were looked at, without those skipped.
    """

    files: tuple[FunctionFile, ...]
    faults: tuple[Fault, ...]
    skipped: tuple[str, ...]
    count: int


def load_functions(
    paths: Iterable[str | Path],
    *,
    known: Iterable[FunctionFile] = (),
    budget: Budget | None = None,
    progress: Callable[[int], None] | None = None,
) -> LoadedFunctions:
    """Read and check function definitions.

    Args:
        paths: regular files and directories; a file that is found twice is read once.
        known: what was loaded before: a file that has not changed is not evaluated again.
        budget: what the evaluation of one file may cost; None for the usual.
        progress: called after each file with the number of files looked at.

    Raises:
        ConfigurationError: a path that does not exist.
    """
    found = find_function_files(paths)
    sources = ((read_source(path), named) for path, named in found.files)
    loaded = check_sources(sources, known=known, budget=budget, progress=progress)
    return replace(loaded, faults=(*found.faults, *loaded.faults))


def check_sources(
    sources: Iterable[tuple[Source | Fault, bool]],
    *,
    known: Iterable[FunctionFile] = (),
    budget: Budget | None = None,
    progress: Callable[[int], None] | None = None,
) -> LoadedFunctions:
    """Check function definitions, each in a document of its own.

    Args:
        sources: the documents, with different names, each with whether it must hold a function;
            for one that cannot be read, the fault that says so.
        known: what was found before, in documents that need not be evaluated again.
        budget: what the evaluation of one document may cost; None for the usual.
        progress: called after each document with the number of documents looked at.
    """
    right: list[FunctionFile] = []
    faults: list[Fault] = []
    skipped: list[str] = []
    by_name = {file.name: file for file in known}
    first: dict[str, Source] = {}  # the documents by the ids of their functions
    count = 0
    for source, named in sources:
        function: FunctionFile | None = None
        wrong: list[Fault] = []
        if isinstance(source, Fault):
            wrong = [source]
        elif (kept := by_name.get(source.name)) is not None and kept.source.text == source.text:
            function = kept
        else:
            try:
                found = evaluate_function(source, optional=not named, budget=budget)
            except CueError as error:
                wrong = list(error.faults)
            else:
                function = None if found is None else found.without_places()
                wrong = [] if found is None else _beyond_schema(found)
                if found is None:
                    skipped.append(source.name)
        if function is not None:
            assert isinstance(source, Source)  # it has been evaluated
            other = first.setdefault(function.value["id"], source)
            if other is not source:
                wrong = _in_order([*wrong, _same_id(source, other, budget)])
            if not wrong:
                right.append(function)
        faults += wrong
        count += 1
        if progress is not None:
            progress(count)
    return LoadedFunctions(tuple(right), tuple(faults), tuple(skipped), count - len(skipped))


def _beyond_schema(function: EvaluatedFunction) -> list[Fault]:
    """Check what the schema does not."""
    found = [
        Fault(
            FaultKind.EVALUATION,
            fault.reason,
            (*function.root, *fault.keys),
            function.spans(fault.keys),
        )
        for fault in check_function(function.definition)
    ]
    return _in_order(found)


def _same_id(source: Source, other: Source, budget: Budget | None) -> Fault:
    """Return the fault that two functions, which are right by themselves, have the same id."""
    spans: tuple[Span, ...] = ()
    root: ValuePath = ()
    for document in (other, source):
        function = evaluate_function(document, budget=budget)
        assert function is not None  # it was found before
        spans, root = function.spans(("id",)) + spans, function.root
    return Fault(FaultKind.EVALUATION, "another function has the same id", (*root, "id"), spans)


def _in_order(faults: list[Fault]) -> list[Fault]:
    """Return the faults of one document in its order."""
    return sorted(faults, key=lambda fault: fault.spans[0].start)


def evaluate_function(
    source: Source, *, optional: bool = False, budget: Budget | None = None
) -> EvaluatedFunction | None:
    """Evaluate one document and unify its function with ``#Function``.

    Args:
        optional: whether a CUE document may hold no function.
        budget: what the evaluation may cost; None for the usual.

    Returns:
        The function; None if the document holds none and need not.

    Raises:
        CueError: everything that is wrong with it.
    """
    file = parse(source)
    if begins_with_brace(source.text):
        root: ValuePath = ()
        document = wrapped(file, FUNCTION)
    elif source.text.lstrip().startswith("["):
        message = "a list; expected one function, {…} or a field `function`"
        raise CueError([Fault(FaultKind.EVALUATION, message, (), (file.body.span,))])
    elif optional and not _has_field(file):
        return None
    else:
        root = (FUNCTION.field,)
        document = bound(file, FUNCTION)
    whole: Value | None = None
    try:
        whole = evaluated(document, budget=budget)
        value = whole.lookup(FUNCTION.field)
        assert value is not None  # the document has the field now
        exported = value.export()
    except CueError as error:
        meant = refined(error.faults, file, FUNCTION, (FUNCTION.field,), budget=budget)
        faults = [_shown(fault, root, source, whole) for fault in meant]
        if not root and (inside := _wrapper(file)) is not None:
            faults = [inside, *(each for each in faults if not _told_by(inside, each))]
        elif root and _is_missing(file, budget):
            faults = [_missing(file), *(each for each in faults if each.path[:1] != root)]
        faults += _found_besides(whole, root, source)
        if (without_unknown := opened(source, error.faults)) is not None:
            # What such a name stands for may be the function itself.
            further = (each for each in _all_faults(without_unknown, budget) if each.path)
            faults += besides(faults, further, source)
        raise CueError(_in_order(faults)) from None
    assert isinstance(exported, dict)  # so #Function demands
    return EvaluatedFunction(source, exported, root, value)


def _all_faults(source: Source, budget: Budget | None) -> Sequence[Fault]:
    """Return what is wrong with a document of a function, by the schema and beyond it."""
    try:
        function = evaluate_function(source, budget=budget)
    except CueError as error:
        return error.faults
    assert function is not None  # it need not be, only where it is optional
    return _beyond_schema(function)


def find_function_files(paths: Iterable[str | Path]) -> FoundFiles:
    """Find the files of function definitions; one that has several paths is known by the first.

    Raises:
        ConfigurationError: a path that is empty, does not exist, or has another ending than .cue
            or .json.
    """
    found: dict[str, tuple[Path, bool]] = {}  # by the path without links
    faults: list[Fault] = []
    for given in paths:
        if given == "":  # which `Path` would take for the current directory
            raise ConfigurationError("an empty path; expected a file or a directory")
        path = Path(given)
        if os.path.isdir(path):
            files, unreadable = files_within(path, wanted=_is_taken, entered=_is_entered)
            for file in files:
                found.setdefault(os.path.realpath(file), (file, False))
            faults += unreadable
        elif is_absent(path):
            raise ConfigurationError(f"there is no file or directory {path}")
        elif path.suffix not in _SUFFIXES:
            raise ConfigurationError(f"{path} is neither a .cue nor a .json file")
        else:
            target = os.path.realpath(path)
            found[target] = (found.get(target, (path, True))[0], True)
    return FoundFiles(tuple(found.values()), tuple(faults))


def _is_taken(file: str) -> bool:
    return file.endswith(_SUFFIXES) and not file.startswith(".")


def _is_entered(folder: str) -> bool:
    return not folder.startswith(".") and folder not in _NOT_ENTERED


def _has_field(file: File) -> bool:
    """Tell whether a document declares a field `function`."""
    return FUNCTION.field in _labels(file.body)


def _labels(struct: StructLit) -> dict[str, Span]:
    """Return the names of the fields that a struct declares, with their places."""
    found: dict[str, Span] = {}
    for declaration in struct.declarations:
        match declaration:
            case Field(label=(NameLabel(name=name) | TextLabel(text=name)) as label):
                found.setdefault(name, label.span)
    return found


def _is_missing(file: File, budget: Budget | None) -> bool:
    """Tell whether a document has no field `function`, by whatever it might come about."""
    if _has_field(file):
        return False
    try:
        return evaluated(file, budget=budget).lookup(FUNCTION.field) is None
    except CueError:
        return False


def _wrapper(file: File) -> Fault | None:
    """Return the fault that a document which is the function has it in a field instead."""
    match file.body.declarations[0]:
        case Embedding(value=StructLit() as struct):
            span = _labels(struct).get(FUNCTION.field)
        case _:
            span = None
    if span is None:
        return None
    message = "field not allowed: function; a document that begins with { is the function itself"
    return Fault(FaultKind.EVALUATION, message, (FUNCTION.field,), (span,))


def _told_by(inside: Fault, fault: Fault) -> bool:
    """Tell whether a fault only says that the function is in a field."""
    lacking = fault.kind is FaultKind.INCOMPLETE and len(fault.path) == 1
    return lacking or fault.path == inside.path


def _missing(file: File) -> Fault:
    labels = _labels(file.body)
    near = nearest(FUNCTION.field, labels)
    hint = f"; is {near} meant to be it?" if near is not None else ""
    span = Span(file.source, 0, 0) if near is None else labels[near]
    message = f"there is no field `{FUNCTION.field}`{hint}"
    return Fault(FaultKind.EVALUATION, message, (), (span,))


def _found_besides(whole: Value | None, root: ValuePath, source: Source) -> Iterator[Fault]:
    """Check what is right by itself in a faulty function, as far as the schema goes."""
    value = None if whole is None else _quietly(lambda: whole.lookup(FUNCTION.field))
    if value is None:
        return
    faulty: list[ValuePath] = []
    sound = _sound(value, (), faulty)
    for fault in check_function(sound):
        # What is faulty is told already, and what is missing may only be so because of that.
        if _is_missing_at(sound, fault.keys) or any(
            path[: len(fault.keys)] == fault.keys or fault.keys[: len(path)] == path
            for path in faulty
        ):
            continue
        spans = places(value, fault.keys, lambda span: span.source is source)
        yield Fault(FaultKind.EVALUATION, fault.reason, (*root, *fault.keys), spans)


def _sound(value: Value, at: ValuePath, faulty: list[ValuePath]) -> Any:
    """Return a value as decoded JSON, with empty objects for the parts that are faulty.

    Args:
        faulty: where the paths of these parts are put.
    """
    exported = _quietly(value.export)
    if exported is not None:
        return _plain(exported)
    parts = _quietly(lambda: list(value.fields()))
    if parts:
        return {name: _sound(part, (*at, name), faulty) for name, part in parts}
    elements = _quietly(lambda: list(value.elements()))
    if elements:
        return [_sound(each, (*at, index), faulty) for index, each in enumerate(elements)]
    faulty.append(at)
    return {}


def _is_missing_at(value: Any, path: ValuePath) -> bool:
    """Tell whether decoded JSON has nothing at a path."""
    for key in path:
        within_list = isinstance(value, list) and isinstance(key, int) and key < len(value)
        if within_list or (isinstance(value, dict) and key in value):
            value = value[key]
        else:
            return True
    return False


def _quietly(evaluate: Callable[[], T]) -> T | None:
    """Return a value; None if what it comes from is faulty, which is told already."""
    try:
        return evaluate()
    except CueError:
        return None


def _shown(fault: Fault, root: ValuePath, source: Source, whole: Value | None) -> Fault:
    """Return a fault with the path of its document, and a place in it."""
    fault = placed(fault, whole, lambda span: span.source is source)
    path = fault.path
    if not root and path[:1] == (FUNCTION.field,):
        path = path[1:]
    return replace(fault, path=path, spans=fault.spans or (Span(source, 0, 0),))


def _plain(value: Any) -> Any:
    """Return a value with floats as JSON decodes them."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case Decimal():
            return float(value)
        case _:
            return value
