r"""The grammar of expressions (specification: "Expressions").

Each method of the parser has its production as docstring. Binary operators are read with
a stack of pending operators, not by a method for each precedence, so that nesting costs few
frames of Python's stack.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from connect.config.cue.ast import (
    Alias,
    Binary,
    Call,
    Comprehension,
    Ellipsis,
    Expr,
    Ident,
    Index,
    Interpolation,
    ListLit,
    Literal,
    Paren,
    Selector,
    Slice,
    StructLit,
    Unary,
)
from connect.config.cue.literals import BadLiteral, StringForm, string_values
from connect.config.cue.scanner import (
    ATTRIBUTE,
    BOTTOM,
    COMMA,
    ELLIPSIS,
    END,
    IDENTIFIER,
    INTERPOLATION,
    KEYWORDS,
    LITERAL,
    TEXT,
    TEXT_END,
    Token,
)
from connect.config.cue.source import Span
from connect.config.cue.tokens import Refused, TokenReader

__all__ = ["BEHIND_A_NAME", "MAX_OPERANDS", "PRECEDENCE", "ExpressionParser"]

# The operands of one expression without parentheses.
MAX_OPERANDS: Final = 10_000

PRECEDENCE: Final = {
    "|": 1,
    "&": 2,
    "||": 3,
    "&&": 4,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "=~", "!~"), 5),
    **dict.fromkeys(("+", "-"), 6),
    **dict.fromkeys(("*", "/", "div", "mod", "quo", "rem"), 7),
}
_PREFIXES: Final = frozenset({"+", "-", "!", "*", "!=", "<", "<=", ">", ">=", "=~", "!~"})
_POSTFIXES: Final = frozenset({".", "[", "("})
_NAMES: Final = (KEYWORDS - {"null", "true", "false"}) | {IDENTIFIER}
# What may stand behind a keyword that is used as a name.
BEHIND_A_NAME: Final = frozenset({":", "?", COMMA, "}", "]", ")", END, ATTRIBUTE})


class ExpressionParser(TokenReader, ABC):
    """Reads expressions; what stands in structs is read by a subclass."""

    @abstractmethod
    def struct(self) -> StructLit:
        """StructLit = "{" { Declaration "," } "}" ."""

    @abstractmethod
    def comprehension(self) -> Comprehension:
        """Comprehension = Clauses StructLit ."""

    def starts_comprehension(self) -> bool:
        """Tell whether ``for`` or ``if`` begins a comprehension here, or is a name."""
        return self.token.kind in ("for", "if") and self.peek().kind not in BEHIND_A_NAME

    def expression(self) -> Expr:
        """Expression = UnaryExpr | Expression binary_op Expression ."""
        if len(self.open) > self.edge:
            return self.onward(self.expression)
        pending: list[tuple[int, Token, Expr]] = []
        for _ in range(MAX_OPERANDS):
            prefixes = self.prefixes() if self.token.kind in _PREFIXES else None
            kind = self.token.kind
            if kind == "{":
                operand: Expr = self.struct()
            elif kind in _OPERANDS:
                operand = _OPERANDS[kind](self)
            else:
                self.refuse("a value")
            if self.token.kind in _POSTFIXES:
                operand = self.primary(operand)
            if prefixes:
                operand = self.unary(prefixes, operand)
            precedence = PRECEDENCE.get(self.token.kind, 0)
            while pending and pending[-1][0] >= precedence:
                operand = self.binary(*pending.pop()[1:], operand)
            if not precedence:
                if type(operand) is Unary:
                    self.check_mark(operand)
                return operand
            pending.append((precedence, self.advance(), operand))
        return self.give_up(f"an expression of more than {MAX_OPERANDS} operands", self.token.start)

    def binary(self, operator: Token, left: Expr, right: Expr) -> Binary:
        """binary_op = "|" | "&" | "||" | "&&" | rel_op | add_op | mul_op ."""
        if operator.kind != "|":
            self.check_mark(left)
            self.check_mark(right)
        return Binary(
            Span(self.source, left.span.start, right.span.end),
            operator.kind,
            left,
            right,
            Span(self.source, operator.start, operator.end),
        )

    def check_mark(self, operand: Expr) -> None:
        """Note a default mark ``*`` outside of a disjunction ("Default values")."""
        if type(operand) is Unary and operand.operator == "*":
            self.fault(
                "the default mark * stands only in a disjunction, such as *1 | int",
                self.span(operand.span.start, operand.span.start + 1),
            )

    def prefixes(self) -> list[Token]:
        """unary_op = "+" | "-" | "!" | "*" | rel_op ."""
        prefixes = []
        while self.token.kind in _PREFIXES:
            prefixes.append(self.advance())
            self.nest("", self.token.start)
        return prefixes

    def unary(self, prefixes: list[Token], operand: Expr) -> Expr:
        """UnaryExpr = PrimaryExpr | unary_op UnaryExpr ."""
        end = operand.span.end
        for prefix in reversed(prefixes):
            if prefix.kind != "*":
                self.check_mark(operand)
            operand = Unary(Span(self.source, prefix.start, end), prefix.kind, operand)
        del self.open[-len(prefixes) :]
        return operand

    def primary(self, operand: Expr) -> Expr:
        """PrimaryExpr = Operand | PrimaryExpr Selector | PrimaryExpr Index | ... ."""
        for _ in range(self.depth):
            match self.token.kind:
                case ".":
                    operand = self.selector(operand)
                case "[":
                    operand = self.index(operand)
                case "(":
                    operand = self.call(operand)
                case _:
                    return operand
        return self.give_up(f"more than {self.depth} selectors in a row", self.token.start)

    def selector(self, operand: Expr) -> Expr:
        """Selector = "." identifier | "." simple_string_lit ."""
        self.advance()
        token = self.token
        name = self.token_text(token)
        quoted = token.kind == LITERAL and isinstance(token.value, str)
        if quoted and (name[0] != '"' or name.startswith('"""')):
            self.refuse('a selector such as .name or ."a name"')
        if not quoted and token.kind not in (IDENTIFIER, "div", "mod", "quo", "rem"):
            if token.kind in KEYWORDS:
                self.refuse(f'a selector (write ."{name}" for this one)')
            self.refuse('a selector such as .name or ."a name"')
        self.advance()
        span = Span(self.source, operand.span.start, token.end)
        return Selector(span, operand, str(token.value) if quoted else name, quoted)

    def index(self, operand: Expr) -> Expr:
        """Index = "[" Expression "]" . Slice = "[" [ Expression ] ":" [ Expression ] "]" ."""
        opened = self.advance()
        self.nest("]", opened.start)
        low = None if self.token.kind == ":" else self.expression()
        if low is not None and self.token.kind != ":":
            end = self.close("]", opened).end
            return Index(Span(self.source, operand.span.start, end), operand, low)
        self.advance()
        high = None if self.token.kind == "]" else self.expression()
        end = self.close("]", opened).end
        return Slice(Span(self.source, operand.span.start, end), operand, low, high)

    def call(self, operand: Expr) -> Expr:
        """Call = "(" [ Expression { "," Expression } [ "," ] ] ")" ."""
        opened = self.advance()
        self.nest(")", opened.start)
        level = len(self.open)
        arguments = []
        while self.token.kind not in (")", END):
            try:
                arguments.append(self.expression())
                self.separator(")", "an argument")
            except Refused:
                self.recover(level)
                if self.token.kind != ")" and self.token.kind in self.open:
                    raise
        end = self.close(")", opened).end
        return Call(Span(self.source, operand.span.start, end), operand, tuple(arguments))

    def separator(self, closer: str, what: str) -> None:
        """Pass the comma behind an element; a line break is one only before the end."""
        token = self.token
        if token.kind == COMMA:
            self.advance()
            if token.value == "\n" and self.token.kind not in (closer, END):
                self.fault(
                    f"missing ',' behind {what}: the line ends without",
                    self.span(token.start, token.end),
                )
        elif token.kind != closer:
            self.refuse(f"',' or '{closer}' behind {what}")

    def list_literal(self) -> ListLit:
        """ListLit = "[" [ Element { "," Element } [ "," ] ] "]" ."""
        opened = self.advance()
        self.nest("]", opened.start)
        level = len(self.open)
        elements: list[Expr | Comprehension] = []
        ellipsis = None
        aliased = None
        while self.token.kind not in ("]", END):
            try:
                if self.token.kind == ELLIPSIS:
                    ellipsis = self.list_ellipsis()
                    break
                if self.starts_comprehension():
                    elements.append(self.comprehension())
                else:
                    element = self.expression()
                    if self.token.kind == "=":
                        element = aliased = self.alias(element)
                    elements.append(element)
                self.separator("]", "an element")
            except Refused:
                self.recover(level)
                if self.token.kind != "]" and self.token.kind in self.open:
                    raise
        end = self.close("]", opened).end
        if aliased is not None and self.token.kind not in (":", "?"):
            self.fault("an element of a list cannot have an alias", aliased.name.span)
        span = Span(self.source, opened.start, end)
        return ListLit(span, tuple(elements), ellipsis)

    def list_ellipsis(self) -> Ellipsis:
        """Ellipsis = "..." [ Expression ] ."""
        token = self.advance()
        value = None if self.token.kind in (COMMA, "]", END) else self.expression()
        end = token.end if value is None else value.span.end
        if self.token.kind == COMMA:
            self.advance()
        if self.token.kind not in ("]", END):
            self.refuse("']': an ellipsis is the last element of a list")
        return Ellipsis(Span(self.source, token.start, end), value)

    def alias(self, name: Expr) -> Alias:
        """AliasExpr = identifier "=" Expression ."""
        if type(name) is not Ident:
            self.refuse("no alias here: only a name can be one")
        self.advance()
        value = self.expression()
        return Alias(Span(self.source, name.span.start, value.span.end), name, value)

    def paren(self) -> Paren:
        """Operand = "(" Expression ")" ."""
        opened = self.advance()
        self.nest(")", opened.start)
        inner = self.expression()
        end = self.close(")", opened).end
        return Paren(Span(self.source, opened.start, end), inner)

    def ident(self) -> Ident:
        """Operand = identifier ."""
        token = self.advance()
        name = str(token.value)
        span = Span(self.source, token.start, token.end)
        if name.startswith("__"):
            self.fault("names that begin with __ are reserved", span)
        return Ident(span, name)

    def literal(self) -> Literal:
        """BasicLit = int_lit | float_lit | string_lit | "null" | "true" | "false" ."""
        token = self.advance()
        value = _CONSTANTS.get(token.kind, token.value)
        assert not isinstance(value, StringForm)
        return Literal(Span(self.source, token.start, token.end), value)

    def interpolation(self) -> Interpolation:
        r"""interpolation = "\(" Expression ")" .

        What stands before it, between two of them and behind is the string's text.
        """
        opened = self.advance()
        form = opened.value
        assert isinstance(form, StringForm)
        self.nest(TEXT_END, opened.start)
        text = self.source.text
        start = opened.start + len(form.opening)
        if form.is_multiline:
            start = text.find("\n", start, opened.end) + 1 or start
        cut = 2 + form.hashes  # the length of \(
        texts = [(start, text[start : opened.end - cut])]
        values: list[Expr] = []
        while True:
            values.append(self.expression())
            token = self.token
            if token.kind == TEXT:
                self.advance()
                texts.append((token.start + 1, text[token.start + 1 : token.end - cut]))
                continue
            self.close(TEXT_END, opened)
            ending = len(form.closing) if text.endswith(form.closing, 0, token.end) else 0
            texts.append((token.start + 1, text[token.start + 1 : token.end - ending]))
            break
        span = Span(self.source, opened.start, token.end)
        return Interpolation(span, self.parts(form, texts, values), form.is_bytes)

    def parts(
        self, form: StringForm, texts: list[tuple[int, str]], values: list[Expr]
    ) -> tuple[str | bytes | Expr, ...]:
        """Put texts and expressions in turn, without empty texts."""
        try:
            decoded = string_values(form, texts)
        except BadLiteral as error:
            self.fault(error.message, self.span(error.start, error.end))
            return tuple(values)
        parts: list[str | bytes | Expr] = [decoded[0]]
        for number, value in enumerate(values, start=1):
            parts += (value, decoded[number])
        return tuple(part for part in parts if not isinstance(part, str | bytes) or part)


_CONSTANTS: Final = {"null": None, "true": True, "false": False}
_OPERANDS: Final[dict[str, Callable[[ExpressionParser], Expr]]] = {
    **dict.fromkeys(_NAMES, ExpressionParser.ident),
    **dict.fromkeys((LITERAL, *_CONSTANTS), ExpressionParser.literal),
    BOTTOM: ExpressionParser.ident,
    INTERPOLATION: ExpressionParser.interpolation,
    "(": ExpressionParser.paren,
    "[": ExpressionParser.list_literal,
}
