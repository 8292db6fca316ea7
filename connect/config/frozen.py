"""Decoded JSON that cannot be changed, and back."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["frozen", "thawed"]


def frozen(value: Any) -> Any:
    """Return decoded JSON with objects as read-only mappings and lists as tuples.

    Args:
        value: decoded JSON; it is copied, so that changing it later changes nothing here.
    """
    match value:
        case Mapping():
            return MappingProxyType({key: frozen(item) for key, item in value.items()})
        case list() | tuple():
            return tuple(map(frozen, value))
        case _:
            return value


def thawed(value: Any) -> Any:
    """Return what `frozen` was given, in dicts and lists of its own, as JSON's encoder takes it."""
    match value:
        case Mapping():
            return {key: thawed(item) for key, item in value.items()}
        case list() | tuple():
            return list(map(thawed, value))
        case _:
            return value
