"""Reading a document into its syntax tree.

The grammar is that of CUE 0.4: each method has its production as docstring, in the notation
of the specification. A syntax fault does not end the reading: it goes on behind the next
comma or line, so that one look at a document finds every fault.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from connect.config.cue.ast import (
    Alias,
    Attribute,
    Clause,
    Comprehension,
    Declaration,
    DynamicLabel,
    Ellipsis,
    Embedding,
    Expr,
    Field,
    File,
    For,
    Ident,
    If,
    Import,
    Interpolation,
    Label,
    Let,
    ListLit,
    Literal,
    NameLabel,
    Paren,
    PatternLabel,
    StructLit,
    TextLabel,
)
from connect.config.cue.expressions import BEHIND_A_NAME, ExpressionParser
from connect.config.cue.scanner import ATTRIBUTE, COMMA, ELLIPSIS, END, IDENTIFIER, LITERAL
from connect.config.cue.source import Source, Span
from connect.config.cue.tokens import Refused, TooManyFaults

__all__ = ["MAX_DEPTH", "parse", "parse_expression"]

# Brackets in one another, labels in a row, prefix operators in a row.
MAX_DEPTH: Final = 200

_KEYWORD_LABELS: Final = {None: "null", True: "true", False: "false"}
_NOT_IN_PATH: Final = frozenset(" !\"#$%&'()*,;<=>?[\\]^`{|}\ufffd")


T = TypeVar("T")


def parse(source: Source, *, depth: int = MAX_DEPTH) -> File:
    """Read a document.

    Args:
        source: the document.
        depth: how deeply it may be nested: brackets and labels in one another.

    Raises:
        CueError: with all syntax faults that could be found, at most `MAX_FAULTS` of
            them, in the order of the document; of kind `BUDGET` when it is nested more
            deeply than allowed, or the caller has left too little of Python's stack.
    """
    parser = _Parser(source, depth)
    file = parser.guarded(parser.file)
    parser.finish()
    if file is None:
        raise AssertionError("a parser that gives up has a reason")
    return file


def parse_expression(source: Source, *, depth: int = MAX_DEPTH) -> Expr:
    """Read a document that is one expression, such as a path or a pattern.

    Raises:
        CueError: as `parse`.
    """
    parser = _Parser(source, depth)
    expression = parser.guarded(parser.only_expression)
    parser.finish()
    if expression is None:
        raise AssertionError("a parser that gives up has a reason")
    return expression


class _Parser(ExpressionParser):
    """Reads files, and what stands in structs."""

    def guarded(self, production: Callable[[], T]) -> T | None:
        """Read a production; when it is given up, return None with the reason noted."""
        try:
            return production()
        except (Refused, TooManyFaults):
            return None
        except RecursionError:
            with suppress(TooManyFaults):
                message = "nested more deeply than the caller has left room for on Python's stack"
                self.give_up(message, self.token.start)
            return None

    def only_expression(self) -> Expr:
        """Document = Expression [ "," ] ."""
        expression = self.expression()
        if self.token.kind == COMMA:
            self.advance()
        self.expect(END, "the end of the document")
        return expression

    # Files

    def file(self) -> File:
        """SourceFile = { attribute "," } [ PackageClause "," ] { attribute "," }
        { ImportDecl "," } { Declaration "," } .
        """
        declarations: list[Declaration] = []
        package = None
        imports: list[Import] = []
        try:
            declarations += self.attribute_declarations()
            if self.at_word("package"):
                package = self.package_clause()
            declarations += self.attribute_declarations()
            while self.at_word("import"):
                imports += self.import_declaration()
        except Refused:
            self.recover(0)
        while self.token.kind != END:
            self.declaration(END, declarations)
        body = StructLit(Span(self.source, 0, len(self.source.text)), tuple(declarations))
        return File(self.source, package, tuple(imports), body, tuple(self.scanner.comments))

    def at_word(self, word: str) -> bool:
        return self.token.kind == IDENTIFIER and self.token.value == word

    def attribute_declarations(self) -> list[Declaration]:
        """Attributes = { attribute "," } ."""
        attributes: list[Declaration] = []
        while self.token.kind == ATTRIBUTE:
            attributes.append(self.attribute())
            self.end_of_declaration(END)
        return attributes

    def package_clause(self) -> Ident:
        """PackageClause = "package" identifier ."""
        self.advance()
        name = self.name("the name of the package")
        self.end_of_declaration(END)
        return name

    def import_declaration(self) -> list[Import]:
        """ImportDecl = "import" ( ImportSpec | "(" { ImportSpec "," } ")" ) ."""
        self.advance()
        imports = []
        if self.token.kind == "(":
            opened = self.advance()
            self.nest(")", opened.start)
            while self.token.kind not in (")", END):
                imports.append(self.import_spec())
                self.end_of_declaration(")")
            self.close(")", opened)
        else:
            imports.append(self.import_spec())
        self.end_of_declaration(END)
        return imports

    def import_spec(self) -> Import:
        """ImportSpec = [ identifier ] `"` path [ ":" identifier ] `"` ."""
        name = None
        start = self.token.start
        if self.token.kind == IDENTIFIER:
            name = self.name("the name of the package")
        token = self.token
        text = self.token_text(token)
        if token.kind != LITERAL or text[0] != '"' or text.startswith('"""'):
            self.refuse('the path of a package, such as "strings"')
        path = str(token.value)
        if not path or not path.isprintable() or _NOT_IN_PATH.intersection(path):
            self.fault(f'"{path}" is no path of a package', self.token_span())
        self.advance()
        return Import(self.span(start, token.end), path, name)

    # Structs

    def struct(self) -> StructLit:
        """StructLit = "{" { Declaration "," } "}" ."""
        opened = self.advance()
        self.nest("}", opened.start)
        declarations: list[Declaration] = []
        while self.token.kind not in ("}", END):
            self.declaration("}", declarations)
            if self.token.kind != "}" and self.token.kind in self.open:
                break
        end = self.close("}", opened).end
        return StructLit(Span(self.source, opened.start, end), tuple(declarations))

    def declaration(self, closer: str, declarations: list[Declaration]) -> None:
        """Declaration = Field | Ellipsis | Embedding | LetClause | attribute ."""
        level = len(self.open)
        kind = self.token.kind
        try:
            if kind in _DECLARATIONS and (
                kind not in _WORDS or self.peek().kind not in BEHIND_A_NAME
            ):
                declarations.append(_DECLARATIONS[kind](self))
            else:
                declarations.append(self.field())
            self.end_of_declaration(closer, declarations[-1])
        except Refused:
            self.recover(level)

    def end_of_declaration(self, closer: str, last: Declaration | None = None) -> None:
        """Pass the comma behind a declaration, which the last one need not have."""
        if self.token.kind == COMMA:
            self.advance()
        elif self.token.kind not in (closer, END):
            self.refuse("a comma or a new line" + self.likely_meaning(last))

    def likely_meaning(self, last: Declaration | None) -> str:
        """Say what people mean who go on after a declaration like this."""
        if self.token.kind == "!":
            return " (a field cannot be marked as required)"
        match last:
            case Embedding(value=Ident(name="package" | "import" as word)):
                return f" ({word} clauses stand before all fields)"
            case Embedding(value=Ident(name="#")):
                return " (comments begin with //)"
            case _:
                return ""

    def field(self) -> Declaration:
        """Field = Label ":" { Label ":" } AliasExpr { attribute } . Embedding = Expression ."""
        level = len(self.open)
        labels: list[tuple[int, Label, Ident | None, bool]] = []
        while True:
            start = self.token.start
            if not labels and self.token.kind == COMMA:
                self.refuse("a field or a value to embed")
            value = self.expression()
            name = None
            if self.token.kind == "=":
                bound = self.alias(value)
                name, value = bound.name, bound.value
            optional = self.token.kind == "?"
            if optional:
                self.advance()
            if self.token.kind != ":":
                break
            labels.append((start, self.label(value), name, optional))
            if len(labels) > 1:
                self.nest("", start)
            self.advance()
            if self.token.kind == ":":
                self.refuse("a value (a definition is written #name: value)")
        if optional:
            self.refuse("':' behind the optional field")
        if name is not None:
            span = Span(self.source, start, value.span.end)
            if not labels:
                self.fault(f"an alias cannot stand alone; write let {name.name} = ...", span)
            value = Alias(span, name, value)
        if not labels:
            return Embedding(value.span, value)
        attributes = []
        while self.token.kind == ATTRIBUTE:
            attributes.append(self.attribute())
        del self.open[level:]
        return self.chain(labels, value, tuple(attributes))

    def chain(
        self,
        labels: list[tuple[int, Label, Ident | None, bool]],
        value: Expr,
        attributes: tuple[Attribute, ...],
    ) -> Field:
        """Put the fields of ``a: b: c: value`` into one another."""
        end = attributes[-1].span.end if attributes else value.span.end
        nested = False
        while True:
            start, label, alias, optional = labels.pop()
            span = Span(self.source, start, end)
            field = Field(span, label, value, alias, optional, attributes, nested)
            if not labels:
                return field
            value = StructLit(span, (field,))
            attributes, nested = (), True

    def label(self, label: Expr) -> Label:
        """Label = [ identifier "=" ] ( identifier | string_lit | Paren | "[" AliasExpr "]" ) ."""
        match label:
            case Ident(name="_" | "_|_" as name):
                self.fault(f"{name} cannot be a label", label.span)
            case Ident(name=name):
                return NameLabel(label.span, name)
            case Literal(value=str() as text):
                return TextLabel(label.span, text)
            case Literal(value=bytes() as raw):
                return TextLabel(label.span, raw.decode("utf-8", "replace"))
            case Literal(value=(None | True | False) as value):
                return NameLabel(label.span, _KEYWORD_LABELS[value])
            case Paren(inner=name):
                return DynamicLabel(label.span, name)
            case Interpolation():
                return DynamicLabel(label.span, label)
            case ListLit(elements=(pattern,), ellipsis=None) if not isinstance(
                pattern, Comprehension
            ):
                if isinstance(pattern, Alias):
                    return PatternLabel(label.span, pattern.value, pattern.name)
                return PatternLabel(label.span, pattern, None)
            case ListLit():
                self.fault("a pattern in brackets is exactly one value", label.span)
            case Literal():
                text = label.span.text
                self.fault(f'a number cannot be a label; write "{text}" for a name', label.span)
            case _:
                self.fault(
                    "no label: expected a name, a string, (expression) or [pattern] before ':'",
                    label.span,
                )
        return TextLabel(label.span, "")

    def ellipsis(self) -> Ellipsis:
        """Ellipsis = "..." ."""
        token = self.advance()
        if self.token.kind not in (COMMA, "}", END):
            self.refuse("a comma or a new line: an ellipsis in a struct takes no value")
        return Ellipsis(self.span(token.start, token.end), None)

    def attribute(self) -> Attribute:
        """attribute = "@" identifier "(" { attr_token } ")" ."""
        token = self.advance()
        span = self.span(token.start, token.end)
        return Attribute(span, span.text)

    def let(self) -> Let:
        """LetClause = "let" identifier "=" Expression ."""
        start = self.advance().start
        name = self.name("the name that let declares")
        self.expect("=", "'='")
        value = self.expression()
        return Let(self.span(start, value.span.end), name, value)

    def name(self, expected: str) -> Ident:
        """Name = identifier ."""
        token = self.expect(IDENTIFIER, expected)
        return Ident(self.span(token.start, token.end), str(token.value))

    # Comprehensions

    def comprehension(self) -> Comprehension:
        """Comprehension = StartClause { [ "," ] Clause } [ "," ] StructLit ."""
        if len(self.open) > self.edge:
            return self.onward(self.comprehension)
        start = self.token.start
        clauses = []
        while self.token.kind in _CLAUSES:
            clauses.append(_CLAUSES[self.token.kind](self))
            if self.token.kind == COMMA:
                self.advance()
        if self.token.kind != "{":
            self.refuse("'{' or another clause")
        value = self.struct()
        return Comprehension(self.span(start, value.span.end), tuple(clauses), value)

    def for_clause(self) -> For:
        """ForClause = "for" identifier [ "," identifier ] "in" Expression ."""
        start = self.advance().start
        key = None
        value = self.name("the name of an element")
        if self.token.kind == COMMA:
            self.advance()
            key = value
            value = self.name("the name of an element")
        self.expect("in", "'in'")
        source = self.expression()
        return For(self.span(start, source.span.end), key, value, source)

    def if_clause(self) -> If:
        """GuardClause = "if" Expression ."""
        start = self.advance().start
        condition = self.expression()
        return If(self.span(start, condition.span.end), condition)


_CLAUSES: Final[dict[str, Callable[[_Parser], Clause]]] = {
    "for": _Parser.for_clause,
    "if": _Parser.if_clause,
    "let": _Parser.let,
}
_WORDS: Final = frozenset(_CLAUSES)
_DECLARATIONS: Final[dict[str, Callable[[_Parser], Declaration]]] = {
    ATTRIBUTE: _Parser.attribute,
    ELLIPSIS: _Parser.ellipsis,
    "for": _Parser.comprehension,
    "if": _Parser.comprehension,
    "let": _Parser.let,
}
