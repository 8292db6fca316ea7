"""When two disjuncts are the same, so that one of them is enough ("Disjunction").

Equality, not subsumption: `int | 1` stays ambiguous. Structs are the same if they have
the same fields and values, are both closed or both open, and say the same, literally,
of fields that they do not have.
"""

from collections.abc import Hashable

from connect.config.cue.bounds import same_scalar
from connect.config.cue.closedness import is_closed_struct
from connect.config.cue.lattice import (
    NUMBER,
    Bottom,
    Bound,
    Conjunction,
    Disjunction,
    ListMarker,
    Scalar,
    StructMarker,
    TypeValue,
)
from connect.config.cue.vertex import Base, StructInfo, Vertex

__all__ = ["same_value", "shape_of"]


def same_value(left: Vertex, right: Vertex, *, ignore_plain: bool) -> bool:
    """Tell whether two evaluated vertices are the same ("Disjunction").

    Args:
        ignore_plain: structs of definitions need not be the same literal if they say
            nothing of fields that they do not have.
    """
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if one is other:
            continue
        inside = _pairs_inside(one, other, ignore_plain)
        if inside is None:
            return False
        pairs += inside
    return True


def _pairs_inside(
    left: Vertex, right: Vertex, ignore_plain: bool
) -> list[tuple[Vertex, Vertex]] | None:
    """Return the vertices inside that have to be the same too, None if these are not
    ("Disjunction").
    """
    if left.kind != right.kind or len(left.arcs) != len(right.arcs):
        return None
    if isinstance(left.base, StructMarker) and _is_closed(left) != _is_closed(right):
        return None
    if not _within(left, right, ignore_plain) or not _within(right, left, ignore_plain):
        return None
    pairs: list[tuple[Vertex, Vertex]] = []
    if isinstance(left.base, Disjunction) and isinstance(right.base, Disjunction):
        if len(left.base.values) != len(right.base.values):
            return None
        pairs += zip(left.base.values, right.base.values, strict=True)
    elif not _same_base(left.base, right.base):
        return None
    for label, arc in left.arcs.items():
        other = right.arcs.get(label)
        if other is None:
            return None
        pairs.append((arc, other))
    return pairs


def shape_of(vertex: Vertex) -> Hashable:
    """Return what is equal for vertices that are the same, seldom for others ("Disjunction")."""
    base = vertex.base
    if isinstance(base, Scalar):
        return NUMBER if base.kind & NUMBER else base.kind, base.value
    return vertex.kind, len(vertex.arcs)


def _is_closed(vertex: Vertex) -> bool:
    base = vertex.base
    if isinstance(base, StructMarker) and base.needs_close:
        return True
    return is_closed_struct(vertex)


def _within(left: Vertex, right: Vertex, ignore_plain: bool) -> bool:
    """Tell whether every struct of one vertex that matters is in the other ("Disjunction")."""
    literals = {id(info.term) for info in right.structs}
    return all(
        id(info.term) in literals or not _matters(info, ignore_plain) for info in left.structs
    )


def _matters(info: StructInfo, ignore_plain: bool) -> bool:
    return info.term.constrains or (not ignore_plain and info.close.defines)


def _same_base(left: Base, right: Base) -> bool:
    """Tell whether two values other than disjunctions are the same but for what is in them
    ("Disjunction").
    """
    if left is right:
        return True
    match left, right:
        case Scalar(), Scalar():
            return same_scalar(left, right)
        case (StructMarker(), StructMarker()) | (Bottom(), Bottom()):
            return True
        case ListMarker(), ListMarker():
            return True
        case TypeValue(), TypeValue():
            return left.kind == right.kind
        case Bound(), Bound():
            return left.operator == right.operator and same_scalar(left.value, right.value)
        case Conjunction(), Conjunction():
            if len(left.values) != len(right.values):
                return False
            return all(map(_same_part, left.values, right.values))
        case _:
            return False


def _same_part(left: object, right: object) -> bool:
    if isinstance(left, TypeValue | Bound) and isinstance(right, TypeValue | Bound):
        return _same_base(left, right)
    return left is right
