"""Writing expressions as text.

Each method is a generator that yields the writing of a part and gets its text back; a loop
drives them, so that depth costs nothing of Python's stack.
"""

from collections.abc import Generator, Iterable
from decimal import Decimal
from typing import Final, TypeAlias

from connect.config.cue.ast import (
    Alias,
    Attribute,
    Binary,
    Call,
    Clause,
    Comprehension,
    Declaration,
    DynamicLabel,
    Ellipsis,
    Embedding,
    Expr,
    Field,
    For,
    Ident,
    If,
    Index,
    Interpolation,
    Label,
    Let,
    ListLit,
    Literal,
    NameLabel,
    Paren,
    PatternLabel,
    Scalar,
    Selector,
    Slice,
    StructLit,
    TextLabel,
    Unary,
)
from connect.config.cue.expressions import PRECEDENCE

__all__ = [
    "TAB",
    "Element",
    "Writer",
    "Writing",
    "each",
    "elements",
    "expression_text",
    "literal_text",
    "written",
]

Writing: TypeAlias = Generator["Writing", str, str]
"""What writes a part: yields the writings of its parts, and returns the text."""

TAB: Final = "\t"
_ADDITION: Final = PRECEDENCE["+"]
_ESCAPES: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    "\\": "\\\\",
}  # fmt: skip


def expression_text(expr: Expr, *, limit: int | None = None) -> str:
    """Write an expression on one line, from its tree.

    Args:
        expr: the expression.
        limit: cut the text, with an ellipsis, to so many characters.
    """
    text = written(Writer().expression(expr, 0))
    if limit is not None and len(text) > limit:
        return f"{text[: limit - 1]}…"
    return text


def literal_text(value: Scalar) -> str:
    """Write a scalar as a literal that stands for it (negative numbers with a sign)."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + _escaped(value, '"') + '"'
        case bytes():
            return "'" + _escaped(value, "'") + "'"
        case Decimal():
            text = str(value)
            return text if "." in text or "E" in text else f"{text}."
        case _:
            return str(value)


def _escaped(value: str | bytes, quote: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "surrogateescape")
    return "".join(_escape(character, quote) for character in value)


def _escape(character: str, quote: str) -> str:
    if character == quote:
        return f"\\{quote}"
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if 0xDC80 <= code < 0xDD00:
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def written(writing: Writing) -> str:
    """Drive a writing to its end and return the text."""
    stack = [writing]
    text: str | None = None
    while stack:
        try:
            part = next(stack[-1]) if text is None else stack[-1].send(text)
        except StopIteration as end:
            stack.pop()
            text = end.value
        else:
            stack.append(part)
            text = None
    return text or ""


def each(writings: Iterable[Writing]) -> Generator[Writing, str, list[str]]:
    """Return the texts of several writings."""
    texts: list[str] = []
    for writing in writings:
        texts += [(yield writing)]
    return texts


class Writer:
    """Writes on one line, from the tree alone; the formatter's subclass knows the layout.

    The methods take the node and the number of tabs that its lines are indented with.
    """

    def expression(self, expr: Expr, indent: int, *, tight: bool = False) -> Writing:
        """Write any expression.

        Args:
            tight: write arithmetic without spaces, as among arguments.
        """
        match expr:
            case Ident(name=name):
                return name
            case Literal():
                return self.literal(expr, indent)
            case Interpolation():
                return (yield from self.interpolation(expr, indent))
            case Binary():
                return (yield from self.binary(expr, indent, tight=tight))
            case Unary():
                return (yield from self.unary(expr, indent))
            case StructLit():
                return (yield from self.struct(expr, indent))
            case ListLit():
                return (yield from self.list_literal(expr, indent))
            case Paren(inner=inner):
                text = yield self.expression(inner, indent)
                return f"({text})"
            case Alias(name=alias, value=value):
                text = yield self.expression(value, indent)
                return f"{alias.name}={text}"
            case _:
                return (yield from self.primary(expr, indent))

    def literal(self, expr: Literal, indent: int) -> str:
        return literal_text(expr.value)

    def interpolation(self, expr: Interpolation, indent: int) -> Writing:
        quote = "'" if expr.is_bytes else '"'
        parts = [quote]
        for part in expr.parts:
            if isinstance(part, str | bytes):
                parts.append(_escaped(part, quote))
            else:
                parts += ("\\(", (yield self.expression(part, indent)), ")")
        return "".join([*parts, quote])

    def primary(self, expr: Selector | Index | Slice | Call, indent: int) -> Writing:
        """Write an operand with what is selected from it."""
        operand = expr.function if isinstance(expr, Call) else expr.operand
        text = yield self.expression(operand, indent)
        match expr:
            case Selector(name=name, quoted=quoted):
                return f"{text}.{literal_text(name) if quoted else name}"
            case Index(index=index):
                at = yield self.expression(index, indent, tight=True)
                return f"{text}[{at}]"
            case Slice(low=low, high=high):
                start = "" if low is None else (yield self.expression(low, indent, tight=True))
                end = "" if high is None else (yield self.expression(high, indent, tight=True))
                return f"{text}[{start}:{end}]"
            case Call():
                arguments = yield from self.arguments(expr, indent)
                return f"{text}({arguments})"

    def arguments(self, call: Call, indent: int) -> Writing:
        """Write what stands between the parentheses of a call."""
        tight = len(call.arguments) > 1
        texts = yield from each(
            self.expression(argument, indent, tight=tight) for argument in call.arguments
        )
        return ", ".join(texts)

    def unary(self, expr: Unary, indent: int) -> Writing:
        text = yield self.expression(expr.operand, indent)
        # What would read as another operator, or look like one, is kept apart.
        apart = expr.operator + text[:1] in ("!=", "<=", ">=", "<-", "++", "--")
        return f"{expr.operator}{' ' if apart else ''}{text}"

    def binary(self, expr: Binary, indent: int, *, tight: bool) -> Writing:
        """Write a chain of operators; arithmetic beside looser ones without spaces."""
        operands, operators = _chain(expr)
        loosest = min(PRECEDENCE[operator.operator] for operator in operators)
        parts = [(yield self.expression(operands[0], indent))]
        for operator, operand in zip(operators, operands[1:], strict=True):
            sign = operator.operator
            precedence = PRECEDENCE[sign]
            is_close = precedence >= _ADDITION and (tight or precedence > loosest)
            broken = self.is_broken(operator.operator_span.end, operand.span.start)
            inner = indent + 1 if broken else indent
            if broken:
                parts.append(f" {sign}\n{TAB * inner}")
            else:
                parts.append(sign if is_close and not sign.isalpha() else f" {sign} ")
            parts.append((yield self.expression(operand, inner)))
        return "".join(parts)

    def is_broken(self, start: int, end: int) -> bool:
        """Tell whether the layout has a line break between two offsets."""
        return False

    def struct(self, expr: StructLit, indent: int) -> Writing:
        texts = yield from each(self.declaration(part, indent) for part in expr.declarations)
        return f"{{{', '.join(texts)}}}"

    def list_literal(self, expr: ListLit, indent: int) -> Writing:
        texts = yield from each(self.element(part, indent) for part in elements(expr))
        return f"[{', '.join(texts)}]"

    def element(self, element: "Element", indent: int) -> Writing:
        """Write an element of a list."""
        match element:
            case Comprehension():
                return (yield from self.comprehension(element, indent))
            case Ellipsis(value=value):
                return "..." + ("" if value is None else (yield self.expression(value, indent)))
            case _:
                return (yield self.expression(element, indent))

    def declaration(self, declaration: Declaration, indent: int) -> Writing:
        match declaration:
            case Field():
                return " ".join((yield from self.field(declaration, indent)))
            case Let(name=name, value=value):
                text = yield self.expression(value, indent)
                return f"let {name.name} = {text}"
            case Embedding(value=value):
                return (yield self.expression(value, indent))
            case Attribute(text=text):
                return text
            case _:
                return (yield from self.element(declaration, indent))

    def field(self, field: Field, indent: int) -> Generator[Writing, str, list[str]]:
        """Write a field in columns: its labels, its value, its attributes if any."""
        labels = []
        while True:
            label = yield from self.label(field.label, indent)
            alias = f"{field.alias.name}=" if field.alias else ""
            labels.append(f"{alias}{label}{'?' if field.optional else ''}:")
            value = field.value
            if not (field.nested and isinstance(value, StructLit)):
                break
            (inner,) = value.declarations
            assert isinstance(inner, Field)  # what `nested` says
            field = inner
        columns = [" ".join(labels), (yield self.expression(field.value, indent))]
        if field.attributes:
            columns.append(" ".join(attribute.text for attribute in field.attributes))
        return columns

    def label(self, label: Label, indent: int) -> Writing:
        match label:
            case NameLabel(name=name):
                return name
            case TextLabel(text=text):
                return literal_text(text)
            case DynamicLabel(name=Interpolation() as name):
                return (yield self.expression(name, indent))
            case DynamicLabel(name=name):
                text = yield self.expression(name, indent)
                return f"({text})"
            case PatternLabel(pattern=pattern, alias=alias):
                text = yield self.expression(pattern, indent)
                return f"[{f'{alias.name}=' if alias else ''}{text}]"

    def comprehension(self, comprehension: Comprehension, indent: int) -> Writing:
        parts: list[str] = []
        end = 0
        for clause in comprehension.clauses:
            if parts:
                broken = self.is_broken(end, clause.span.start)
                parts.append(f"\n{TAB * indent}" if broken else " ")
            parts.append((yield from self.clause(clause, indent)))
            end = clause.span.end
        parts += (" ", (yield from self.struct(comprehension.value, indent)))
        return "".join(parts)

    def clause(self, clause: Clause, indent: int) -> Writing:
        match clause:
            case For(key=key, value=value, source=source):
                names = f"{key.name}, {value.name}" if key else value.name
                text = yield self.expression(source, indent)
                return f"for {names} in {text}"
            case If(condition=condition):
                text = yield self.expression(condition, indent)
                return f"if {text}"
            case Let():
                return (yield from self.declaration(clause, indent))


Element: TypeAlias = "Expr | Comprehension | Ellipsis"


def elements(expr: ListLit) -> tuple[Element, ...]:
    """Return all elements of a list, its ellipsis last."""
    return (*expr.elements, expr.ellipsis) if expr.ellipsis else expr.elements


def _chain(expr: Binary) -> tuple[list[Expr], list[Binary]]:
    """Flatten a tree of binary operators into operands and operators, as they are read."""
    operands: list[Expr] = []
    operators: list[Binary] = []
    waiting: list[tuple[Expr, Binary | None]] = [(expr, None)]
    while waiting:
        node, operator = waiting.pop()
        if operator is not None:
            operators.append(operator)
        if isinstance(node, Binary):
            # The operator is met again on the way to the right operand.
            waiting += [(node.right, node), (node.left, None)]
        else:
            operands.append(node)
    return operands, operators
