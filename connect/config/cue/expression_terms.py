"""From expressions of the syntax tree to terms: operators, literals, and what names mean."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from connect.config.cue import ast
from connect.config.cue.errors import Fault, FaultKind, Path
from connect.config.cue.lattice import Conjunction, Label, PackageValue, Scalar, Top, TypeValue
from connect.config.cue.packages import PACKAGE_PATHS
from connect.config.cue.predeclared import predeclared, predeclared_names
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
from connect.config.cue.stack import Stack
from connect.config.cue.terms import (
    BinaryTerm,
    BottomTerm,
    BoundTerm,
    CallTerm,
    CompiledDocument,
    ComprehensionTerm,
    ConjunctionTerm,
    DisjunctionTerm,
    DynamicRef,
    FieldRef,
    ImportRef,
    IndexTerm,
    InterpolationTerm,
    LabelRef,
    LetRef,
    ListTerm,
    SelectTerm,
    SliceTerm,
    StructTerm,
    Term,
    UnaryTerm,
    ValueRef,
    VariableRef,
)

__all__ = ["ExpressionResolver", "is_definition", "nearest"]

_LEVELS = 25  # of terms in one another upon one stack, of up to five frames each


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest of several names, or nothing."""
    close = difflib.get_close_matches(name, [item for item in known if item != name], 1)
    return f'; did you mean "{close[0]}"?' if close else ""


def is_definition(label: Label) -> bool:
    return isinstance(label, tuple) and label[0].lstrip("_").startswith("#")


class ExpressionResolver(ABC):
    """Compiles expressions.

    Args:
        packages: those of the user that may be imported, by import path.
        package: the import path of the document itself, empty if it is no package.

    Attributes:
        stack: terms and comprehensions in one another take levels of it.
    """

    def __init__(self, packages: Mapping[str, CompiledDocument], package: str) -> None:
        self.packages = packages
        self.package = package
        self.imports: dict[str, CompiledDocument] = {}
        self.faults: list[Fault] = []
        self.scope = Scope(-1, None)
        self.path: Path = ()
        self.lets: list[LetName] = []  # whose values are being resolved
        self.stack = Stack(_LEVELS)

    def fault(self, kind: FaultKind, message: str, *spans: Span) -> None:
        self.faults.append(Fault(kind, message, self.path, spans))

    @abstractmethod
    def struct(
        self, literal: ast.StructLit, imports: "Mapping[str, ImportName] | None" = None
    ) -> StructTerm:
        """Compile a struct, or the body of a file with its imports."""

    @abstractmethod
    def comprehension(self, comprehension: ast.Comprehension) -> ComprehensionTerm:
        """Compile a comprehension."""

    def term(self, expression: ast.Expr) -> Term:
        """Compile an expression ("Expressions")."""
        while isinstance(expression, ast.Paren):
            expression = expression.inner
        match expression:
            case ast.Literal(span, value):
                return Scalar(value, span)
            case ast.Ident():
                return self.ident(expression)
        stack = self.stack
        if not stack.room:
            return stack.call(self.term, expression)
        stack.room -= 1
        match expression:
            case ast.StructLit():
                term: Term = self.struct(expression)
            case ast.ListLit():
                term = self.list(expression)
            case ast.Binary():
                term = self.binary(expression)
            case ast.Unary(span, operator, operand):
                term = self.unary(span, operator, operand)
            case ast.Alias(name=name, value=aliased):
                term = self._value_alias(name, aliased)
            case _:
                term = self._operation(expression)
        stack.room += 1
        return term

    def _operation(
        self, expression: ast.Selector | ast.Index | ast.Slice | ast.Call | ast.Interpolation
    ) -> Term:
        """Compile a primary expression or an interpolation ("Primary expressions")."""
        match expression:
            case ast.Selector(span, operand, name, quoted):
                inner = self.term(operand)
                label = name if quoted else self.label(name)
                definition = is_definition(label) or _names_definition(inner)
                label_span = Span(span.source, _label_start(expression), span.end)
                return SelectTerm(span, inner, label, label_span, definition)
            case ast.Index(span, operand, index):
                inner = self.term(operand)
                return IndexTerm(span, inner, self.term(index), _names_definition(inner))
            case ast.Slice(span, operand, low, high):
                return SliceTerm(
                    span,
                    self.term(operand),
                    None if low is None else self.term(low),
                    None if high is None else self.term(high),
                )
            case ast.Call(span, function, arguments):
                called = self.term(function)
                return CallTerm(span, called, tuple(self.term(item) for item in arguments))
            case ast.Interpolation(span, pieces, is_bytes):
                parts = tuple(
                    piece if isinstance(piece, str | bytes) else self.term(piece)
                    for piece in pieces
                )
                return InterpolationTerm(span, parts, is_bytes)

    def _value_alias(self, name: ast.Ident, value: ast.Expr) -> Term:
        """AliasExpr = [ identifier "=" ] Expression ("Aliases")."""
        outer = self.scope
        self.scope = scope = Scope(outer.level, outer)
        scope.names[name.name] = ValueAlias(name.span)
        term = self.term(value)
        self.check_used(scope)
        self.scope = outer
        return term

    def list(self, literal: ast.ListLit) -> ListTerm:
        """ListLit = "[" [ ElementList [ "," ] ] "]" ("Lists")."""
        outer = self.scope
        self.scope = Scope(outer.level + 1, outer)
        elements: list[Term | ComprehensionTerm] = []
        path = self.path
        for index, element in enumerate(literal.elements):
            self.path = (*path, index)
            if isinstance(element, ast.Comprehension):
                elements.append(self.comprehension(element))
            else:
                elements.append(self.term(element))
        self.path = path
        rest = None
        if literal.ellipsis is not None and literal.ellipsis.value is not None:
            rest = self.term(literal.ellipsis.value)
        self.scope = outer
        return ListTerm(literal.span, tuple(elements), literal.ellipsis is not None, rest)

    def binary(self, expression: ast.Binary) -> Term:
        """Expression = UnaryExpr | Expression binary_op Expression ("Operators")."""
        span, operator = expression.span, expression.operator
        if operator == "&":
            return ConjunctionTerm(span, tuple(self._conjuncts(expression)))
        if operator == "|":
            disjuncts = tuple(self._disjuncts(expression))
            return DisjunctionTerm(span, disjuncts, any(marked for _, marked in disjuncts))
        chain = [expression]
        while isinstance(expression.left, ast.Binary):
            expression = expression.left
            chain.append(expression)
        left = self.term(expression.left)
        while chain:
            expression = chain.pop()
            operator = expression.operator
            right = self.term(expression.right)
            self._concrete(left, expression.left, operator)
            self._concrete(right, expression.right, operator)
            left = BinaryTerm(expression.span, operator, left, right)
        return left

    def _conjuncts(self, expression: ast.Expr) -> Iterable[Term]:
        pending = [expression]
        while pending:
            part = pending.pop()
            if isinstance(part, ast.Binary) and part.operator == "&":
                pending += (part.right, part.left)
            else:
                yield self.term(part)

    def _disjuncts(self, expression: ast.Expr) -> Iterable[tuple[Term, bool]]:
        """Flatten a disjunction; one in parentheses keeps its own defaults."""
        pending = [expression]
        while pending:
            part = pending.pop()
            if isinstance(part, ast.Binary) and part.operator == "|":
                pending += (part.right, part.left)
            elif isinstance(part, ast.Unary) and part.operator == "*":
                yield self.term(part.operand), True
            else:
                yield self.term(part), False

    def unary(self, span: Span, operator: str, operand: ast.Expr) -> Term:
        """UnaryExpr = PrimaryExpr | unary_op UnaryExpr ("Operators", "Bounds")."""
        term = self.term(operand)
        if operator in ("+", "-", "!"):
            self._concrete(term, operand, operator)
            return UnaryTerm(span, operator, term)
        return BoundTerm(span, operator, term)

    def _concrete(self, term: Term, expression: ast.Expr, operator: str) -> None:
        """Refuse an operand that no evaluation makes concrete."""
        if isinstance(term, BoundTerm | TypeValue | Top | Conjunction):
            text = expression.span.text
            message = f"invalid operand {text} ('{operator}' requires concrete value)"
            self.fault(FaultKind.EVALUATION, message, expression.span)

    def _meant(self, name: str) -> str:
        """Return a question that says what an unknown name may mean, or nothing."""
        for path in (*self.packages, *PACKAGE_PATHS):
            if path.rpartition("/")[2] == name:
                return f'; is import "{path}" missing?'
        return nearest(name, [*self.scope.visible(), *predeclared_names()])

    def ident(self, ident: ast.Ident) -> Term:
        """Resolve a name ("References", "Predeclared identifiers")."""
        name, span = ident.name, ident.span
        if name == "_":
            return Top(span)
        if name == "_|_":
            return BottomTerm(span)
        found = self.scope.find(name)
        if found is None:
            known = predeclared(name, span)
            if known is not None:
                return known
            message = f'reference "{name}" not found{self._meant(name)}'
            self.fault(FaultKind.REFERENCE, message, span)
            return Top(span)
        binding, level = found
        up = self.scope.level - level
        match binding:
            case FieldName(label=label):
                binding.used = True
                return FieldRef(span, up, label)
            case LetName(let=let):
                binding.used = True
                self._note_let(binding, span)
                return LetRef(span, up, let)
            case DynamicAlias(computed=computed):
                binding.used = True
                return DynamicRef(span, up, computed)
            case ValueAlias():
                binding.used = True
                return ValueRef(span, up)
            case VariableName():
                return VariableRef(span, up, name)
            case LabelAlias():
                return LabelRef(span, up)
            case ImportName(path=path):
                if path in self.imports:
                    return ImportRef(span, path)
                return PackageValue(path, span)

    def _note_let(self, binding: LetName, span: Span) -> None:
        """Refuse `let`s that refer to each other in a circle."""
        if not self.lets:
            return
        current = self.lets[-1]
        current.needs.append(binding)
        pending, seen = [binding], {id(binding)}
        while pending:
            for need in pending.pop().needs:
                if need is current:
                    message = "cyclic references in let clause or alias"
                    self.fault(FaultKind.REFERENCE, message, span)
                    return
                if id(need) not in seen:
                    seen.add(id(need))
                    pending.append(need)

    def label(self, name: str) -> Label:
        """Return the label that an unquoted name is."""
        if name.startswith("_"):
            return (name, self.package)
        return (name, "") if name.startswith("#") else name

    def check_used(self, scope: Scope) -> None:
        """Refuse aliases and `let`s that nothing refers to."""
        for name, binding in scope.names.items():
            span: Span | None = None
            match binding:
                case LetName(used=False, let=let):
                    span = let.span
                case (
                    DynamicAlias(used=False, alias=place)
                    | ValueAlias(used=False, alias=place)
                    | FieldName(used=False, alias=place)
                ):
                    span = place
            if span is not None:
                message = f'unreferenced alias or let clause "{name}"'
                self.fault(FaultKind.REFERENCE, message, span)


def _label_start(selector: ast.Selector) -> int:
    """Return where the label of a selector begins."""
    text = selector.span.text
    after = selector.operand.span.end - selector.span.start
    return selector.span.start + after + len(text[after:]) - len(text[after:].lstrip(" \t\r\n."))


def _names_definition(term: Term) -> bool:
    """Tell whether a definition is in the path of a reference."""
    match term:
        case FieldRef(label=label):
            return is_definition(label)
        case SelectTerm(definition=definition) | IndexTerm(definition=definition):
            return definition
        case _:
            return False
