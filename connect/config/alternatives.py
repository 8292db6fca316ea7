"""What is wrong with a value that fits none of a definition's alternatives.

Of a disjunction of which nothing is left, the language can only say why each disjunct fell
away. The definitions say more: alternatives are told apart by a field such as ``backend``, or
by the fields that they have. So the value, as the document alone gives it, is compared with
the alternative that was meant; or it is said what the alternatives are.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from connect.config.cue import (
    Budget,
    CueError,
    Fault,
    FaultKind,
    Kind,
    Source,
    Span,
    Value,
    ast,
    compile_document,
    compile_package,
)
from connect.config.cue.errors import Path
from connect.config.cue.parser import parse
from connect.config.documents import DocumentKind, evaluated
from connect.config.faults import nearest, quoted
from connect.config.schema import schema_source

__all__ = ["refined"]

_MOST = 50  # faults of a document that are looked into
_LEAF = "#Alternative"
_CHOICE_FAULTS = frozenset({FaultKind.EVALUATION, FaultKind.INCOMPLETE})
_UNDEFINED = re.compile(r"^undefined field: #.*; did you mean ")
_SUGGESTION = re.compile(r'^field not allowed: .*; did you mean "([^"]+)"\?$')


def refined(
    faults: Sequence[Fault],
    file: ast.File,
    kind: DocumentKind,
    root: Path,
    *,
    budget: Budget | None = None,
    redact: Callable[[Path], bool] | None = None,
) -> tuple[Fault, ...]:
    """Return a document's faults, those of alternatives put as what was probably meant.

    Args:
        faults: of the value unified with its definition.
        file: the document, before anything was put around it.
        kind: what the document is to be.
        root: the path of the value in the faults.
        budget: what an evaluation may cost; None for the usual.
        redact: tells whether the value at a path must not be shown in messages.
    """
    found = list(faults)
    definition = _definition(kind)
    if any(definition.is_choice(fault.path[len(root) :]) for fault in faults):
        try:
            own = evaluated(_bare(file, kind), budget=budget, redact=redact)
            inner = None if _is_struct(file) else own.lookup(kind.field)
            found = list(_Refinement(definition, inner or own, root).of(faults))
        except CueError:
            # It cannot be looked at without its definition, which it may refer to.
            found = list(faults)
    # A field that is missing because its name is misspelt is one fault, not two.
    misspelt = {
        (*fault.path[:-1], suggested)
        for fault in found
        for suggested in _SUGGESTION.findall(fault.message)
    }
    # What a misspelt definition leaves open is told when that is mended.
    unknown = [fault.path for fault in found if _UNDEFINED.match(fault.message)]
    return tuple(
        fault
        for fault in found
        if fault.kind is not FaultKind.INCOMPLETE
        or not (fault.path in misspelt or any(_below(fault.path, path) for path in unknown))
    )


def _below(path: Path, other: Path) -> bool:
    return len(path) > len(other) and path[: len(other)] == other


class _Definition:
    """A definition's syntax tree, by the paths of values."""

    def __init__(self, kind: DocumentKind) -> None:
        self._file = parse(schema_source(kind.path))
        self._path = kind.path
        self._root = ast.Ident(self._file.body.span, kind.definition)
        self._named = dict(_fields(self._file.body))

    def at(self, path: Path) -> ast.Expr | None:
        """Return what is said of the value at a path, if it can be told."""
        found: ast.Expr | None = self._root
        for part in path:
            found = None if found is None else self._below(found, part)
        return found

    def is_choice(self, path: Path) -> bool:
        """Tell whether a value is to be one of several alternatives."""
        found = self.at(path)
        return found is not None and _is_disjunction(self._resolved(found))

    def alternatives(self, expr: ast.Expr) -> list[ast.Expr]:
        """Return the alternatives for a value; a default only if there is nothing else."""
        every = list(self._disjuncts(expr))
        others = [item for item in every if not _is_default(item)]
        return others or every

    def value(self, expr: ast.Expr) -> Value:
        """Evaluate an expression of the definition, as a definition of its own."""
        span = Span(Source(self._path, ""), 0, 0)
        field = ast.Field(span, ast.NameLabel(span, _LEAF), expr)
        body = replace(self._file.body, declarations=(*self._file.body.declarations, field))
        package = compile_package(replace(self._file, body=body), self._path)
        found = compile_document(package).lookup(_LEAF)
        assert found is not None  # it was just put there
        return found

    def fields(self, expr: ast.Expr) -> dict[str, ast.Expr]:
        """Return the fields of an alternative, those embedded too."""
        struct = self._resolved(expr)
        if not isinstance(struct, ast.StructLit):
            return {}
        found: dict[str, ast.Expr] = {}
        for declaration in struct.declarations:
            if isinstance(declaration, ast.Embedding):
                found |= self.fields(declaration.value)
        return found | dict(_fields(struct))

    def pattern(self, expr: ast.Expr) -> ast.Expr | None:
        """Return what is said of all fields of an alternative, if something is."""
        struct = self._resolved(expr)
        if isinstance(struct, ast.StructLit):
            for declaration in struct.declarations:
                match declaration:
                    case ast.Field(label=ast.PatternLabel(), value=value):
                        return value
        return None

    def is_struct(self, expr: ast.Expr) -> bool:
        return isinstance(self._resolved(expr), ast.StructLit)

    def _resolved(self, expr: ast.Expr) -> ast.Expr:
        """Follow names; of a conjunction, take the side that says more."""
        match expr:
            case ast.Ident(name=name) if name in self._named:
                return self._resolved(self._named[name])
            case ast.Paren(inner=inner):
                return self._resolved(inner)
            case ast.Binary(operator="&", left=left, right=right):
                sides = [self._resolved(left), self._resolved(right)]
                return next(filter(_is_disjunction, sides), sides[0])
            case _:
                return expr

    def _disjuncts(self, expr: ast.Expr) -> Iterator[ast.Expr]:
        match self._resolved(expr):
            case ast.Binary(operator="|", left=left, right=right):
                yield from self._disjuncts(left)
                yield from self._disjuncts(right)
            case _:
                yield expr

    def _below(self, expr: ast.Expr, part: str | int) -> ast.Expr | None:
        for alternative in self.alternatives(expr):
            match self._resolved(alternative):
                case ast.ListLit(ellipsis=ast.Ellipsis(value=value)) if isinstance(part, int):
                    return value
                case ast.StructLit() if isinstance(part, str):
                    found = self.fields(alternative).get(part) or self.pattern(alternative)
                    if found is not None:
                        return found
        return None


class _Refinement:
    """Puts the faults of one document.

    Args:
        own: the value as the document alone gives it.
        root: its path in the faults.
    """

    def __init__(self, definition: _Definition, own: Value, root: Path) -> None:
        self._definition = definition
        self._own = own
        self._root = root

    def of(self, faults: Iterable[Fault]) -> Iterator[Fault]:
        told: set[Fault] = set()
        for number, fault in enumerate(faults):
            meant = self._of_one(fault) if number < _MOST else [fault]
            for each in meant:
                if each not in told:
                    told.add(each)
                    yield each

    def _of_one(self, fault: Fault) -> Iterable[Fault]:
        path = fault.path[len(self._root) :]
        expr = self._definition.at(path)
        if fault.kind not in _CHOICE_FAULTS or fault.path[: len(self._root)] != self._root:
            return [fault]
        value = self._own.lookup(*path) if self._definition.is_choice(path) else None
        if expr is None or value is None:
            return [fault]
        return list(self._choice(value, expr, path)) or [fault]

    def _choice(self, value: Value, expr: ast.Expr, path: Path) -> Iterator[Fault]:
        """Yield what is wrong with a value that must be one of several alternatives."""
        definition = self._definition
        alternatives = definition.alternatives(expr)
        conflicts = value.faults(concrete=False)
        if conflicts:
            yield from (self._placed(fault) for fault in conflicts)
        elif value.kind is Kind.STRUCT and all(map(definition.is_struct, alternatives)):
            yield from self._struct(value, alternatives, path)
        elif len(alternatives) == 1:
            yield from self._against(value, alternatives[0], path)
        elif not value.faults():
            yield self._unexpected(value, [self._described(item) for item in alternatives], path)

    def _struct(
        self, value: Value, alternatives: Sequence[ast.Expr], path: Path
    ) -> Iterator[Fault]:
        definition = self._definition
        pattern = definition.pattern(alternatives[0])
        if pattern is not None:
            for name, part in value.fields():
                yield from self._choice(part, pattern, (*path, name))
            return
        label, by_name = self._discriminator(alternatives)
        chosen = None if label is None else value.lookup(label)
        if label is not None and chosen is not None:
            if chosen.faults():
                return
            name = chosen.export()
            if isinstance(name, str) and name in by_name:
                yield from self._against(value, by_name[name], path)
            else:
                literals = [_text(definition.fields(item)[label]) for item in alternatives]
                yield self._unexpected(chosen, literals, (*path, label))
            return
        meant = self._meant(value, alternatives)
        if meant is not None:
            absent = () if label is None else (*self._root, *path, label)
            yield from (
                fault
                for fault in self._against(value, meant, path)
                if fault.kind is not FaultKind.INCOMPLETE or fault.path != absent
            )
        else:
            yield self._unclear(value, alternatives, path)

    def _discriminator(
        self, alternatives: Sequence[ast.Expr]
    ) -> tuple[str | None, Mapping[str, ast.Expr]]:
        """Return the field that tells the alternatives apart, and each by its value."""
        first, *others = (self._definition.fields(item) for item in alternatives)
        for label, value in first.items():
            values = [value, *(fields.get(label) for fields in others)]
            names = [item.value for item in values if isinstance(item, ast.Literal)]
            if len(names) == len(alternatives):
                texts = (str(name) for name in names)
                return label, dict(zip(texts, alternatives, strict=True))
        return None, {}

    def _meant(self, value: Value, alternatives: Sequence[ast.Expr]) -> ast.Expr | None:
        """Return the only alternative that has the most of a value's fields, or nearly."""
        names = [name for name, _ in value.fields()]
        scores = []
        for alternative in alternatives:
            known = self._definition.fields(alternative)
            near = sum(name not in known and nearest(name, known) is not None for name in names)
            scores.append((sum(name in known for name in names) + near, -near))
        best = max(scores)
        if not best[0] or scores.count(best) > 1:
            return None
        return alternatives[scores.index(best)]

    def _against(self, value: Value, alternative: ast.Expr, path: Path) -> Iterator[Fault]:
        """Yield what is wrong with a value if it is to be this alternative."""
        found = value.unify(self._definition.value(alternative)).faults()
        for fault in map(self._placed, found):
            inside = len(fault.path) > len(self._root) + len(path)
            yield from self._of_one(fault) if inside else (fault,)

    def _placed(self, fault: Fault) -> Fault:
        """Return a fault of the document's own value, with its path in the faults."""
        return replace(fault, path=(*self._root, *fault.path[len(self._own.path) :]))

    def _described(self, alternative: ast.Expr) -> str:
        fields = self._definition.fields(alternative)
        if not fields:
            return _text(alternative)
        label, value = next(
            (item for item in fields.items() if isinstance(item[1], ast.Literal)),
            next(iter(fields.items())),
        )
        more = ", …" if len(fields) > 1 else ""
        return f"{{{label}: {_text(value)}{more}}}"

    def _unexpected(self, value: Value, expected: Sequence[str], path: Path) -> Fault:
        given = quoted(value.text())
        near = nearest(given, expected) if given.startswith('"') else None
        hint = "" if near is None else f"; did you mean {near}?"
        message = f"{given}: expected {_either(expected)}{hint}"
        return Fault(FaultKind.EVALUATION, message, (*self._root, *path), value.spans)

    def _unclear(self, value: Value, alternatives: Sequence[ast.Expr], path: Path) -> Fault:
        known = [self._definition.fields(item) for item in alternatives]
        names = [name for name, _ in value.fields()]
        strange = [name for name in names if not any(name in fields for fields in known)]
        described = _either([self._described(item) for item in alternatives])
        if strange:
            message = f"field not allowed: {', '.join(strange)}; expected {described}"
        elif any(all(name in fields for name in names) for fields in known):
            message = f"not enough is given to tell what is meant: expected {described}"
        else:
            message = f"{' and '.join(names)} don't go together; expected {described}"
        return Fault(FaultKind.EVALUATION, message, (*self._root, *path), value.spans)


@cache
def _definition(kind: DocumentKind) -> _Definition:
    """Return the definition of a kind, which never changes."""
    return _Definition(kind)


def _is_struct(file: ast.File) -> bool:
    """Tell whether a document is only a struct, rather than one with the kind's field."""
    declarations = file.body.declarations
    return bool(declarations) and isinstance(declarations[0], ast.Embedding)


def _bare(file: ast.File, kind: DocumentKind) -> ast.File:
    """Return a document whose field is not unified with the definition."""
    names = {item.name.name for item in file.imports if item.name and item.path == kind.path}
    names |= {item.path.rpartition("/")[2] for item in file.imports if item.path == kind.path}

    def stripped(value: ast.Expr) -> ast.Expr:
        match value:
            case ast.Selector(operand=ast.Ident(name=name), name=kind.definition):
                return ast.Ident(value.span, "_") if name in names else value
            case ast.Binary(operator="&", left=left, right=right):
                return replace(value, left=stripped(left), right=stripped(right))
            case ast.StructLit(declarations=inner):
                return replace(value, declarations=tuple(map(embedded, inner)))
            case _:
                return value

    def embedded(item: ast.Declaration) -> ast.Declaration:
        if isinstance(item, ast.Embedding):
            return replace(item, value=stripped(item.value))
        return item

    declarations = tuple(
        replace(item, value=stripped(item.value))
        if isinstance(item, ast.Field) and _label(item) == kind.field
        else item
        for item in file.body.declarations
    )
    return replace(file, body=replace(file.body, declarations=declarations))


def _fields(struct: ast.StructLit) -> Iterator[tuple[str, ast.Expr]]:
    for declaration in struct.declarations:
        if isinstance(declaration, ast.Field):
            label = _label(declaration)
            if label is not None:
                yield label, declaration.value


def _label(field: ast.Field) -> str | None:
    match field.label:
        case ast.NameLabel(name=name) | ast.TextLabel(text=name):
            return name
        case _:
            return None


def _is_disjunction(expr: ast.Expr) -> bool:
    return isinstance(expr, ast.Binary) and expr.operator == "|"


def _is_default(expr: ast.Expr) -> bool:
    return isinstance(expr, ast.Unary) and expr.operator == "*"


def _text(expr: ast.Expr) -> str:
    return expr.span.source.text[expr.span.start : expr.span.end]


def _either(texts: Sequence[str]) -> str:
    *first, last = dict.fromkeys(texts)
    return f"{', '.join(first)} or {last}" if first else last
