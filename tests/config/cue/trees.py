"""Syntax trees made up by hypothesis, which stand nowhere."""

from decimal import Decimal

from hypothesis import strategies as st

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
    Selector,
    Slice,
    StructLit,
    TextLabel,
    Unary,
)
from connect.config.cue.expressions import PRECEDENCE
from connect.config.cue.source import Source, Span

__all__ = ["declarations", "expressions"]

_NOWHERE = Span(Source("nowhere", ""), 0, 0)

_names = st.sampled_from(["a", "b1", "_c", "#D", "_#e", "$f", "été", "日本"])
_idents = _names.map(lambda name: Ident(_NOWHERE, name))
_texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=8
)
_floats = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent),
    st.integers(0, 10**9),
    st.integers(-12, 12),
).map(lambda number: number if "." in str(number) or "E" in str(number) else number.scaleb(-1))
_literals = st.one_of(
    st.none(), st.booleans(), st.integers(0, 10**30), _floats, _texts, st.binary(max_size=6)
).map(lambda value: Literal(_NOWHERE, value))
_leaves = st.one_of(
    _idents, _literals, st.sampled_from(["_", "_|_"]).map(lambda name: Ident(_NOWHERE, name))
)
_attributes = st.sampled_from(["@a()", '@b(c,d="e")', "@f([g])"]).map(
    lambda text: Attribute(_NOWHERE, text)
)


def _grouped(expr: Expr) -> Expr:
    """Put in parentheses what cannot stand as an operand."""
    return Paren(_NOWHERE, expr) if isinstance(expr, Binary | Unary) else expr


def _selectable(expr: Expr) -> Expr:
    """Put in parentheses what no selector can follow; a number would take the point."""
    is_number = isinstance(expr, Literal) and not isinstance(expr.value, str | bytes)
    return Paren(_NOWHERE, expr) if is_number else _grouped(expr)


def _binary(operator: str, left: Expr, right: Expr, *, marked: bool) -> Expr:
    precedence = PRECEDENCE[operator]
    if isinstance(left, Binary) and PRECEDENCE[left.operator] < precedence:
        left = Paren(_NOWHERE, left)
    if isinstance(right, Binary) and PRECEDENCE[right.operator] <= precedence:
        right = Paren(_NOWHERE, right)
    if marked and operator == "|":
        right = Unary(_NOWHERE, "*", _grouped(right))
    return Binary(_NOWHERE, operator, left, right, _NOWHERE)


def _interpolation(parts: list[tuple[str, Expr]], last: str, is_bytes: bool) -> Expr:
    pieces: list[str | bytes | Expr] = []
    for text, expr in [*parts, (last, None)]:
        if text:
            pieces.append(text.encode() if is_bytes else text)
        if expr is not None:
            pieces.append(expr)
    return Interpolation(_NOWHERE, tuple(pieces), is_bytes)


def _chained(label: Label, inner: Field) -> Field:
    return Field(_NOWHERE, label, StructLit(_NOWHERE, (inner,)), nested=True)


def _labels(exprs: st.SearchStrategy[Expr]) -> st.SearchStrategy[Label]:
    return st.one_of(
        st.one_of(_names, st.sampled_from(["true", "null", "for", "div"])).map(
            lambda name: NameLabel(_NOWHERE, name)
        ),
        _texts.map(lambda text: TextLabel(_NOWHERE, text)),
        exprs.map(lambda name: DynamicLabel(_NOWHERE, name)),
        st.builds(PatternLabel, st.just(_NOWHERE), exprs, st.none() | _idents),
    )


def _comprehensions(exprs: st.SearchStrategy[Expr]) -> st.SearchStrategy[Comprehension]:
    first: st.SearchStrategy[Clause] = st.one_of(
        st.builds(For, st.just(_NOWHERE), st.none() | _idents, _idents, exprs),
        st.builds(If, st.just(_NOWHERE), exprs),
    )
    more = st.one_of(first, st.builds(Let, st.just(_NOWHERE), _idents, exprs))
    return st.builds(
        lambda one, others, value: Comprehension(
            _NOWHERE, (one, *others), StructLit(_NOWHERE, (Embedding(_NOWHERE, value),))
        ),
        first,
        st.lists(more, max_size=2),
        exprs,
    )


def _declarations(exprs: st.SearchStrategy[Expr]) -> st.SearchStrategy[Declaration]:
    values = st.one_of(exprs, exprs, st.builds(Alias, st.just(_NOWHERE), _idents, exprs))
    plain = st.builds(
        Field,
        st.just(_NOWHERE),
        _labels(exprs),
        values,
        st.none() | _idents,
        st.booleans(),
        st.lists(_attributes, max_size=2).map(tuple),
    )
    fields = st.one_of(plain, plain, st.builds(_chained, _labels(exprs), plain))
    return st.one_of(
        fields,
        fields,
        fields,
        exprs.map(lambda value: Embedding(_NOWHERE, value)),
        st.builds(Let, st.just(_NOWHERE), _idents, exprs),
        _comprehensions(exprs),
        _attributes,
        st.just(Ellipsis(_NOWHERE, None)),
    )


def _larger(exprs: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    nowhere = st.just(_NOWHERE)
    bounds = st.none() | exprs
    return st.one_of(
        exprs.map(lambda inner: Paren(_NOWHERE, inner)),
        st.builds(
            Unary,
            nowhere,
            st.sampled_from(["+", "-", "!", "!=", "<", "<=", ">", ">=", "=~", "!~"]),
            exprs.map(lambda expr: expr if isinstance(expr, Unary) else _grouped(expr)),
        ),
        st.builds(_binary, st.sampled_from(sorted(PRECEDENCE)), exprs, exprs, marked=st.booleans()),
        st.builds(Selector, nowhere, exprs.map(_selectable), _names, st.just(False)),
        st.builds(Selector, nowhere, exprs.map(_selectable), _texts, st.just(True)),
        st.builds(Index, nowhere, exprs.map(_selectable), exprs),
        st.builds(Slice, nowhere, exprs.map(_selectable), bounds, bounds),
        st.builds(Call, nowhere, exprs.map(_selectable), st.lists(exprs, max_size=3).map(tuple)),
        st.builds(
            _interpolation,
            st.lists(st.tuples(_texts, exprs), min_size=1, max_size=2),
            _texts,
            st.booleans(),
        ),
        st.builds(
            ListLit,
            nowhere,
            st.lists(exprs | _comprehensions(exprs), max_size=3).map(tuple),
            st.none() | st.builds(Ellipsis, nowhere, bounds),
        ),
        st.builds(StructLit, nowhere, st.lists(_declarations(exprs), max_size=4).map(tuple)),
    )


expressions: st.SearchStrategy[Expr] = st.recursive(_leaves, _larger, max_leaves=12)
declarations: st.SearchStrategy[Declaration] = _declarations(expressions)
