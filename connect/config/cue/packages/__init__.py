"""The builtin packages of CUE as of v0.4.2, each in a module that is loaded when asked for."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from connect.config.cue.values import Package

__all__ = ["PACKAGE_PATHS", "package"]

_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "encoding/base64": "base64",
        "encoding/hex": "hex",
        "encoding/json": "json",
        "list": "lists",
        "math": "math",
        "math/bits": "bits",
        "regexp": "regexp",
        "strconv": "strconv",
        "strings": "strings",
        "struct": "struct",
        "time": "time",
    }
)

PACKAGE_PATHS: tuple[str, ...] = tuple(_MODULES)
"""The import paths of all of them, sorted."""


def package(path: str) -> Package | None:
    """Return a builtin package by its import path, None if there is none of this path."""
    module = _MODULES.get(path)
    if module is None:
        return None
    loaded: Package = import_module(f"{__name__}.{module}").PACKAGE
    return loaded
