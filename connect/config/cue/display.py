"""The layout of values, which have none of their own."""

from typing import Final

from connect.config.cue.ast import Expr, Field, ListLit, StructLit
from connect.config.cue.layout import Line, laid_out
from connect.config.cue.writer import TAB, Writer, Writing, each, elements, written

__all__ = ["format_value"]

_WIDTH: Final = 80
"""Characters of the elements of a list that stands on one line."""


def format_value(expr: Expr) -> str:
    """Write a value with a line for each field, lists on one line if they are short.

    The outermost struct has no braces, as the body of a document.
    """
    writer = _ValueWriter()
    if isinstance(expr, StructLit):
        return written(writer.body(expr, 0))
    return written(writer.expression(expr, 0))


class _ValueWriter(Writer):
    def struct(self, expr: StructLit, indent: int) -> Writing:
        if not expr.declarations:
            return "{}"
        text = yield from self.body(expr, indent + 1)
        return f"{{\n{text}\n{TAB * indent}}}"

    def body(self, expr: StructLit, indent: int) -> Writing:
        lines = []
        for declaration in expr.declarations:
            if isinstance(declaration, Field):
                columns = yield from self.field(declaration, indent)
                is_aligned = not isinstance(declaration.value, StructLit | ListLit)
                lines.append(Line(columns, is_aligned=is_aligned))
            else:
                lines.append(Line([(yield self.declaration(declaration, indent))]))
        return laid_out(lines, TAB * indent)

    def list_literal(self, expr: ListLit, indent: int) -> Writing:
        texts = yield from each(self.element(part, indent + 1) for part in elements(expr))
        if sum(map(len, texts)) <= _WIDTH and not any("\n" in text for text in texts):
            return f"[{', '.join(texts)}]"
        inner = TAB * (indent + 1)
        return "[\n" + "".join(f"{inner}{text},\n" for text in texts) + f"{TAB * indent}]"
