"""From the syntax tree to terms: names are resolved, structs sorted out, imports found.

Everything that is wrong with a document whatever its values are is found here, all of it
at once: unknown names and packages, unused aliases, names declared twice, operands that
can never be concrete.
"""

from collections.abc import Iterable, Mapping

from connect.config.cue import ast
from connect.config.cue.errors import CueError, Fault, FaultKind
from connect.config.cue.expression_terms import ExpressionResolver, nearest
from connect.config.cue.lattice import Label
from connect.config.cue.packages import PACKAGE_PATHS
from connect.config.cue.scopes import (
    DynamicAlias,
    FieldName,
    ImportName,
    LabelAlias,
    LetName,
    Scope,
    ValueAlias,
    VariableName,
)
from connect.config.cue.source import Span
from connect.config.cue.terms import (
    Clause,
    CompiledDocument,
    ComprehensionTerm,
    DynamicField,
    ForClause,
    IfClause,
    LetClause,
    LetValue,
    PatternField,
    StaticField,
    StructTerm,
    Term,
)

__all__ = ["resolve_document"]

_NO_STACK = "nested more deeply than the caller has left room for on Python's stack"


def resolve_document(
    file: ast.File, packages: Mapping[str, CompiledDocument], scope: str = ""
) -> CompiledDocument:
    """Compile a parsed document.

    Args:
        packages: the user's own packages that it may import, by import path.
        scope: the import path of the document itself, if it is a package; its hidden
            fields are seen in documents of the same path only.

    Raises:
        CueError: with every fault of kind REFERENCE, IMPORT or EVALUATION that does not
            depend on values; of kind BUDGET if the caller has left too little of Python's
            stack.
    """
    resolver = _Resolver(packages, scope)
    try:
        root = resolver.file(file)
    except RecursionError:
        raise CueError([Fault(FaultKind.BUDGET, _NO_STACK, resolver.path)]) from None
    if resolver.faults:
        raise CueError(sorted(resolver.faults, key=_place))
    return CompiledDocument(file.source, root, resolver.imports, scope)


def _place(fault: Fault) -> int:
    return fault.spans[0].start if fault.spans else 0


class _Resolver(ExpressionResolver):
    """Walks one document; the methods named after nodes return their terms."""

    def file(self, file: ast.File) -> StructTerm:
        """SourceFile = [ PackageClause "," ] { ImportDecl "," } { Declaration "," }"""
        names: dict[str, ImportName] = {}
        for spec in file.imports:
            path, _, package_name = spec.path.partition(":")
            if path in self.packages:
                self.imports[path] = self.packages[path]
            elif path not in PACKAGE_PATHS:
                known = [*self.packages, *PACKAGE_PATHS]
                self.fault(
                    FaultKind.IMPORT,
                    f'cannot find package "{path}"{nearest(path, known)}',
                    spec.span,
                )
            name = spec.name.name if spec.name else package_name or path.rpartition("/")[2]
            names[name] = ImportName(path)
        return self.struct(file.body, imports=names)

    def struct(
        self, literal: ast.StructLit, imports: Mapping[str, ImportName] | None = None
    ) -> StructTerm:
        """StructLit = "{" { Declaration "," } "}" ("Structs")."""
        outer, lets = self.scope, self.lets
        self.scope = scope = Scope(outer.level + 1, outer)
        self.lets = []  # what is in a struct may refer to the whole of it
        self._declare(literal.declarations)
        if imports:
            scope.names.update(imports)
        parts = _StructParts()
        for declaration in literal.declarations:
            self._declaration(declaration, parts)
        self.check_used(scope)
        self.scope, self.lets = outer, lets
        return parts.term(literal.span, is_file=imports is not None)

    def _declare(self, declarations: Iterable[ast.Declaration]) -> None:
        """Note the names that a struct's declarations declare."""
        names = self.scope.names
        aliases: list[tuple[str, Span, FieldName | LetName | DynamicAlias]] = []
        for declaration in declarations:
            match declaration:
                case ast.Field(label=ast.NameLabel(name=name)):
                    names.setdefault(name, FieldName(self.label(name)))
                case ast.Let(name=ident):
                    aliases.append(
                        (ident.name, ident.span, LetName(LetValue(ident.span, ident.name)))
                    )
            if isinstance(declaration, ast.Field) and declaration.alias is not None:
                alias = declaration.alias
                match declaration.label:
                    case ast.NameLabel(name=name):
                        target: FieldName | DynamicAlias = FieldName(self.label(name), alias.span)
                    case ast.TextLabel(text=text):
                        target = FieldName(text, alias.span)
                    case ast.DynamicLabel():
                        target = DynamicAlias(alias.span)
                    case ast.PatternLabel():
                        continue
                aliases.append((alias.name, alias.span, target))
        for name, span, binding in aliases:
            known = names.get(name)
            if isinstance(known, FieldName) and known.alias is None:
                message = f'cannot have both alias and field with name "{name}" in same scope'
                self.fault(FaultKind.REFERENCE, message, span)
            elif known is not None:
                message = f'alias "{name}" redeclared in same scope'
                self.fault(FaultKind.REFERENCE, message, span)
            names[name] = binding

    def _declaration(self, declaration: ast.Declaration, parts: "_StructParts") -> None:
        match declaration:
            case ast.Field():
                self._field(declaration, parts)
            case ast.Let(name=ident, value=value):
                binding = self.scope.names.get(ident.name)
                if isinstance(binding, LetName) and binding.let.value is None:
                    parts.has_lets = True
                    self._let(binding, value)
            case ast.Embedding(value=value):
                parts.embeds = True
                parts.steps.append(self.term(value))
            case ast.Comprehension():
                parts.embeds = True
                parts.steps.append(self.comprehension(declaration))
            case ast.Ellipsis():
                parts.is_open = True
            case ast.Alias(span=span):
                self.fault(
                    FaultKind.REFERENCE,
                    "alias values not allowed in this position; use let",
                    span,
                )

    def _let(self, binding: LetName, value: ast.Expr) -> None:
        binding.open = True
        self.lets.append(binding)
        binding.let.value = self.term(value)
        self.lets.pop()
        binding.open = False

    def _field(self, field: ast.Field, parts: "_StructParts") -> None:
        """Field = Label { ":" Label } ":" AliasExpr { attribute } ("Structs")."""
        path, label = self.path, field.label
        match label:
            case ast.NameLabel(name=name) | ast.TextLabel(text=name):
                self.path = (*path, name)
                known = name if isinstance(label, ast.TextLabel) else self.label(name)
                value = self.term(field.value)
                parts.add_static(StaticField(known, value, label.span), optional=field.optional)
            case ast.DynamicLabel(name=expression):
                term = self.term(expression)
                if field.alias is not None:
                    binding = self.scope.names.get(field.alias.name)
                    if isinstance(binding, DynamicAlias):
                        binding.computed.label = term
                parts.steps.append(DynamicField(term, self.term(field.value), label.span))
            case ast.PatternLabel():
                parts.patterns.append(self._pattern(field, label))
        self.path = path

    def _pattern(self, field: ast.Field, label: ast.PatternLabel) -> PatternField:
        """A bulk optional field: ``[alias=pattern]: value``."""
        pattern = self.term(label.pattern)
        outer = self.scope
        self.scope = scope = Scope(outer.level, outer)
        if field.alias is not None:
            scope.names[field.alias.name] = ValueAlias(field.alias.span)
        if label.alias is not None:
            scope.names[label.alias.name] = LabelAlias()
        value = self.term(field.value)
        self.check_used(scope)
        self.scope = outer
        return PatternField(pattern, value, label.span)

    def comprehension(self, comprehension: ast.Comprehension) -> ComprehensionTerm:
        """Comprehension = Clauses StructLit ("Comprehensions")."""
        stack = self.stack
        if not stack.room:
            return stack.call(self.comprehension, comprehension)
        stack.room -= 1
        outer = self.scope
        clauses: list[Clause] = []
        for clause in comprehension.clauses:
            match clause:
                case ast.For(span, key, value, source):
                    term = self.term(source)
                    self.scope = Scope(self.scope.level + 1, self.scope)
                    for ident in (key, value):
                        if ident is not None and ident.name != "_":
                            self.scope.names[ident.name] = VariableName()
                    clauses.append(ForClause(span, key.name if key else None, value.name, term))
                case ast.If(span, condition):
                    clauses.append(IfClause(span, self.term(condition)))
                case ast.Let(span, name, value):
                    term = self.term(value)
                    self.scope = Scope(self.scope.level + 1, self.scope)
                    self.scope.names[name.name] = VariableName()
                    clauses.append(LetClause(span, name.name, term))
        struct = self.struct(comprehension.value)
        self.scope = outer
        stack.room += 1
        return ComprehensionTerm(comprehension.span, tuple(clauses), struct)


class _StructParts:
    """Collects what a struct consists of."""

    def __init__(self) -> None:
        self.fields: list[StaticField] = []
        self.optionals: dict[Label, tuple[StaticField, ...]] = {}
        self.patterns: list[PatternField] = []
        self.steps: list[Term | DynamicField | ComprehensionTerm] = []
        self.is_open = False
        self.embeds = False
        self.has_lets = False

    def add_static(self, field: StaticField, *, optional: bool) -> None:
        if optional:
            self.optionals[field.label] = (*self.optionals.get(field.label, ()), field)
        else:
            self.fields.append(field)

    def term(self, span: Span, *, is_file: bool) -> StructTerm:
        return StructTerm(
            span,
            tuple(self.fields),
            self.optionals,
            tuple(self.patterns),
            tuple(self.steps),
            self.is_open,
            self.embeds,
            is_file,
            frozenset((*(field.label for field in self.fields), *self.optionals)),
            constrains=bool(self.optionals or self.patterns),
            has_dynamic=any(isinstance(step, DynamicField) for step in self.steps),
            has_lets=self.has_lets,
        )
