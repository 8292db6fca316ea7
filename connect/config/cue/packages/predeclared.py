"""Predeclared functions that need nothing but their arguments ("Builtin Functions")."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from connect.config.cue.numbers import binary
from connect.config.cue.packages.signature import Signatures
from connect.config.cue.sequences import length
from connect.config.cue.values import Builtin, Kind

__all__ = ["PREDECLARED_FUNCTIONS"]

_signatures = Signatures("")
_signatures.add(
    "len",
    (Kind.STRING | Kind.BYTES | Kind.LIST | Kind.STRUCT,),
    Kind.INT,
    length,
    open_list=True,
)
for _name in ("div", "mod", "quo", "rem"):
    _signatures.add(_name, (Kind.INT, Kind.INT), Kind.INT, partial(binary, _name), big=True)

PREDECLARED_FUNCTIONS: Mapping[str, Builtin] = MappingProxyType(_signatures.members)
"""`len`, `div`, `mod`, `quo` and `rem` by name."""
