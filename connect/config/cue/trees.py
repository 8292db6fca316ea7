"""Comparing syntax trees by what they say, not by where it stands."""

from decimal import Decimal
from typing import Final

from connect.config.cue.ast import Declaration, Expr, File, Import

__all__ = ["import_order", "same_tree"]

_PLACES: Final = frozenset({"span", "operator_span", "source", "comments"})


def same_tree(one: File | Expr | Declaration, other: File | Expr | Declaration) -> bool:
    """Tell whether two trees say the same.

    Places, comments, the order of imports, and how a literal is written don't count; the
    digits of a float do.
    """
    pairs: list[tuple[object, object]] = [(one, other)]
    while pairs:
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, tuple) and isinstance(right, tuple):
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif names := getattr(type(left), "__match_args__", ()):
            for name in names:
                if name in _PLACES:
                    continue
                parts = getattr(left, name), getattr(right, name)
                pairs.append(_sorted(*parts) if name == "imports" else parts)
        elif isinstance(left, Decimal):
            if str(left) != str(right):
                return False
        elif left != right:
            return False
    return True


def _sorted(
    one: tuple[Import, ...], other: tuple[Import, ...]
) -> tuple[tuple[Import, ...], tuple[Import, ...]]:
    return tuple(sorted(one, key=import_order)), tuple(sorted(other, key=import_order))


def import_order(item: Import) -> tuple[str, str]:
    """Return what imports are sorted by."""
    return item.path, item.name.name if item.name else ""
