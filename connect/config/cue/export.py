"""A finished graph as plain data: values, all of which must be concrete ("Values")."""

import base64
from typing import Any

from connect.config.cue.lattice import Disjunction, ListMarker, Scalar
from connect.config.cue.vertex import Vertex

__all__ = ["default_vertex", "plain"]


def default_vertex(vertex: Vertex) -> Vertex:
    """Return the default of a disjunction, again and again; else the vertex itself."""
    while isinstance(vertex.base, Disjunction) and vertex.base.defaults == 1:
        vertex = vertex.base.values[0]
    return vertex


def plain(root: Vertex) -> Any:
    """Return a final, concrete value as Python's own.

    Structs become dicts of their regular fields in order, lists lists, bytes base64;
    ints, floats (`Decimal`), strings, bools and null stay what they are.
    """
    result: list[Any] = [None]
    pending: list[tuple[Vertex, Any, Any]] = [(root, result, 0)]
    while pending:
        vertex, container, key = pending.pop()
        vertex = default_vertex(vertex)
        base = vertex.base
        if isinstance(base, Scalar):
            value: Any = base.value
            if isinstance(value, bytes):
                value = base64.b64encode(value).decode()
            container[key] = value
        elif isinstance(base, ListMarker):
            elements = vertex.elements()
            container[key] = items = [None] * len(elements)
            pending += [(item, items, index) for index, item in enumerate(elements)]
        else:
            fields = {label: arc for label, arc in vertex.arcs.items() if isinstance(label, str)}
            container[key] = struct = dict.fromkeys(fields)
            pending += [(arc, struct, label) for label, arc in fields.items()]
    return result[0]
