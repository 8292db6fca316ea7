"""The canonical layout of documents, as ``cue fmt`` has it.

- Tabs indent; values of fields in consecutive lines stand below one another.
- A struct or list written in one line stays so; with a line break before, between or after
  its parts it has a line for each declaration, or keeps its rows of elements.
- Of several blank lines one is kept. Comments stay before or behind what they belong to;
  those inside of an expression come before the whole.
- Literals stay as they are written; imports are sorted within groups between blank lines.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial

from connect.config.cue.ast import (
    Call,
    Comment,
    Declaration,
    Ellipsis,
    Field,
    File,
    Import,
    Interpolation,
    Label,
    ListLit,
    Literal,
    StructLit,
    TextLabel,
)
from connect.config.cue.layout import Line, laid_out
from connect.config.cue.source import Span
from connect.config.cue.trees import import_order
from connect.config.cue.writer import (
    TAB,
    Element,
    Writer,
    Writing,
    each,
    elements,
    expression_text,
    literal_text,
    written,
)

__all__ = ["expression_text", "format_file"]


def format_file(file: File) -> str:
    """Write a document in its canonical layout.

    Args:
        file: as parsed; its nodes must stand where they say in its source.

    Returns:
        The text, with a line break at its end unless it is empty. Formatting it again
        changes nothing, and it parses to the same tree (`trees.same_tree`).
    """
    text = written(_Formatter(file).file(file))
    return f"{text}\n" if text else ""


@dataclass(frozen=True, slots=True)
class _Row:
    """What goes on one line, and comments around it.

    Attributes:
        span: where it stands in the source.
        write: writes the line, given the number of tabs before it.
        is_apart: a blank line comes behind.
    """

    span: Span
    write: Callable[[int], Generator[Writing, str, Line]]
    is_apart: bool = False


class _Formatter(Writer):
    """Writes with the layout of the source; takes each comment once."""

    def __init__(self, file: File) -> None:
        self._source = file.source
        self._text = file.source.text
        self._comments: list[Comment | None] = list(file.comments)
        self._starts = [comment.span.start for comment in file.comments]

    # What is kept from the source

    def is_broken(self, start: int, end: int) -> bool:
        return self._text.find("\n", start, end) >= 0

    def _take(self, start: int, end: int) -> list[Comment]:
        """Return the comments in a stretch that nothing has taken yet."""
        low, high = bisect_left(self._starts, start), bisect_left(self._starts, end)
        taken = [comment for comment in self._comments[low:high] if comment is not None]
        self._comments[low:high] = [None] * (high - low)
        return taken

    def literal(self, expr: Literal, indent: int) -> str:
        return self._as_written(expr.span, indent)

    def interpolation(self, expr: Interpolation, indent: int) -> Writing:
        yield from ()  # a generator, as the writers of what has parts are
        self._take(expr.span.start, expr.span.end)  # comments inside stay there
        return self._as_written(expr.span, indent)

    def _as_written(self, span: Span, indent: int) -> str:
        """Return a literal's own text, a multi-line one indented anew where it can be."""
        text = span.text
        if "\n" not in text:
            return text
        first, *lines = text.replace("\r\n", "\n").split("\n")
        opening = first.lstrip("#")
        old = lines[-1][: len(lines[-1]) - len(lines[-1].lstrip(" \t"))]
        new = TAB * (indent + 1)
        if opening not in ('"""', "'''") or any(
            line and not line.startswith(old) for line in lines
        ):
            return text
        if not lines[-1][len(old) :].startswith(opening):
            return text
        return "\n".join([first, *(new + line[len(old) :] if line else "" for line in lines)])

    def label(self, label: Label, indent: int) -> Writing:
        if isinstance(label, TextLabel):
            text = label.span.text
            is_plain = text[0] == '"' and not text.startswith('"""')
            return text if is_plain else literal_text(label.text)
        return (yield from super().label(label, indent))

    # Documents

    def file(self, file: File) -> Writing:
        rows = [self._declaration_row(part) for part in file.body.declarations]
        if file.package is not None:
            package = Line([f"package {file.package.name}"])
            rows.append(_Row(file.package.span, partial(self._ready, package), is_apart=True))
        if file.imports:
            start = self._imports_start(file.imports[0])
            span = Span(self._source, start, file.imports[-1].span.end)
            rows.append(_Row(span, partial(self._imports, file.imports, start), is_apart=True))
        rows.sort(key=lambda row: row.span.start)
        lines = yield from self._lines(rows, Span(self._source, 0, len(self._text)), 0)
        return laid_out(lines, "")

    def _ready(self, line: Line, indent: int) -> Generator[Writing, str, Line]:
        yield from ()  # a generator, as the writers of other rows are
        return line

    def _imports_start(self, first: Import) -> int:
        """Return where the first import's keyword stands."""
        start = first.span.start
        while True:
            start = self._text.rfind("import", 0, start)
            before = bisect_left(self._starts, start + 1) - 1
            comment = self._comments[before] if before >= 0 else None
            if comment is None or comment.span.end <= start:
                return start

    def _imports(
        self, imports: Sequence[Import], start: int, indent: int
    ) -> Generator[Writing, str, Line]:
        """Write all imports as one, those of a group in order."""
        yield from ()  # a generator, as the writers of other rows are
        if len(imports) == 1:
            return Line([f"import {_import_text(imports[0])}"])
        groups: list[list[tuple[Import, list[Line]]]] = [[]]
        end = start
        for item in imports:
            if groups[-1] and _BLANK_LINE.search(self._text, end, item.span.start):
                groups.append([])
            lines = [line for group in groups for _, unit in group for line in unit][-1:]
            known = len(lines)
            self._put_comments(lines, self._take(end, item.span.start), None)
            groups[-1].append((item, [*lines[known:], Line([_import_text(item)])]))
            end = item.span.end
        text = []
        for group in groups:
            group.sort(key=lambda unit: import_order(unit[0]))
            lines = [line for _, unit in group for line in unit]
            text.append(laid_out(lines, TAB * (indent + 1)))
        return Line(["import (\n" + "\n\n".join(text) + "\n)"])

    # Structs, lists and arguments

    def struct(self, expr: StructLit, indent: int) -> Writing:
        rows = [self._declaration_row(part) for part in expr.declarations]
        ellipsis_inside = any(isinstance(part, Ellipsis) for part in expr.declarations[:-1])
        if not ellipsis_inside and not self._has_breaks(expr.span, [row.span for row in rows]):
            return (yield from super().struct(expr, indent))
        return (yield from self._block("{", rows, "}", expr.span, indent))

    def list_literal(self, expr: ListLit, indent: int) -> Writing:
        parts = elements(expr)
        if not self._has_breaks(expr.span, [part.span for part in parts]):
            return (yield from super().list_literal(expr, indent))
        return (yield from self._block("[", self._rows(parts), "]", expr.span, indent))

    def arguments(self, call: Call, indent: int) -> Writing:
        start = self._text.index("(", call.function.span.end)
        span = Span(self._source, start, call.span.end)
        if not self._has_breaks(span, [argument.span for argument in call.arguments]):
            return (yield from super().arguments(call, indent))
        return (yield from self._block("", self._rows(call.arguments), "", span, indent))

    def _has_breaks(self, around: Span, parts: Sequence[Span]) -> bool:
        """Tell whether a line breaks before, between or behind the parts."""
        start = around.start
        for part in parts:
            if self.is_broken(start, part.start):
                return True
            start = part.end
        return self.is_broken(start, around.end)

    def _rows(self, parts: Sequence[Element]) -> list[_Row]:
        """Put the elements of a list that stand in one line together."""
        rows: list[list[Element]] = []
        for part in parts:
            if rows and not self.is_broken(rows[-1][-1].span.end, part.span.start):
                rows[-1].append(part)
            else:
                rows.append([part])
        return [
            _Row(
                Span(self._source, row[0].span.start, row[-1].span.end),
                partial(self._elements_line, row),
            )
            for row in rows
        ]

    def _elements_line(self, row: Sequence[Element], indent: int) -> Generator[Writing, str, Line]:
        texts = yield from each(self.element(element, indent) for element in row)
        return Line([", ".join(texts) + ","], is_aligned=True)

    def _declaration_row(self, declaration: Declaration) -> _Row:
        return _Row(declaration.span, partial(self._declaration_line, declaration))

    def _declaration_line(
        self, declaration: Declaration, indent: int
    ) -> Generator[Writing, str, Line]:
        if not isinstance(declaration, Field):
            return Line([(yield self.declaration(declaration, indent))])
        columns = yield from self.field(declaration, indent)
        value = declaration.value
        is_block = isinstance(value, StructLit | ListLit) or (
            isinstance(value, Literal | Interpolation) and "\n" in columns[1]
        )
        return Line([" ".join(columns)]) if is_block else Line(columns, is_aligned=True)

    def _block(
        self, opening: str, rows: Sequence[_Row], closing: str, span: Span, indent: int
    ) -> Writing:
        """Write rows between brackets, each on a line of its own."""
        behind: list[str] = []
        lines = yield from self._lines(rows, span, indent + 1, behind)
        if not lines and not behind:
            return opening + closing
        texts = [" ".join([opening, *behind])]
        if lines:
            texts.append(laid_out(lines, TAB * (indent + 1)))
        return "\n".join([*texts, TAB * indent + closing])

    def _lines(
        self, rows: Sequence[_Row], around: Span, indent: int, behind: list[str] | None = None
    ) -> Generator[Writing, str, list[Line]]:
        """Write rows, and the comments before, between and behind them.

        Args:
            around: where the rows' comments stand.
            behind: gets the comment that stands behind the opening bracket, if there is
                a bracket.
        """
        lines: list[Line] = []
        last: int | None = None  # the line of the source that was written last
        cursor = around.start
        for row in rows:
            last = self._put_comments(lines, self._take(cursor, row.span.start), last, behind)
            line = yield from row.write(indent)
            line.follows_blank = _is_apart(last, row.span.position.line)
            for comment in self._take(row.span.start, row.span.end):
                lines.append(_comment_line(comment, follows_blank=line.follows_blank))
                line.follows_blank = False
            lines.append(line)
            cursor = row.span.end
            last = self._source.position(cursor).line - (2 if row.is_apart else 0)
        self._put_comments(lines, self._take(cursor, around.end), last, behind)
        return lines

    def _put_comments(
        self,
        lines: list[Line],
        comments: Sequence[Comment],
        last: int | None,
        behind: list[str] | None = None,
    ) -> int | None:
        """Put comments behind the last line, or on lines of their own.

        Returns:
            The line of the source that was written last.
        """
        for comment in comments:
            if not comment.own_line and not lines and behind is not None:
                behind.append(comment.text)
            elif not comment.own_line and lines and lines[-1].can_have_comment:
                lines[-1].comment = comment.text
            else:
                number = comment.span.position.line
                lines.append(_comment_line(comment, follows_blank=_is_apart(last, number)))
                last = number
        return last


_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")


def _is_apart(last: int | None, line: int) -> bool:
    """Tell whether a line of the source comes after a blank one."""
    return last is not None and line > last + 1


def _comment_line(comment: Comment, *, follows_blank: bool) -> Line:
    return Line([comment.text], is_comment=True, follows_blank=follows_blank)


def _import_text(item: Import) -> str:
    name = f"{item.name.name} " if item.name else ""
    return name + literal_text(item.path)
