"""Package ``struct``: validators of how many fields a struct has."""

from types import MappingProxyType

from connect.config.cue.packages.signature import Signatures
from connect.config.cue.values import Concrete, Kind, NotConcrete, Package

__all__ = ["PACKAGE"]


def _min_fields(fields: dict[str, Concrete], least: int) -> bool:
    """Tell that there are enough regular fields; more may yet come, so too few is no error."""
    if len(fields) < least:
        raise NotConcrete(f"there are {len(fields)} fields; expected at least {least}")
    return True


def _max_fields(fields: dict[str, Concrete], most: int) -> bool:
    return len(fields) <= most


def _package() -> Package:
    add = (signatures := Signatures("struct")).add
    add("MinFields", (Kind.STRUCT, Kind.INT), Kind.BOOL, _min_fields, open_list=True)
    add("MaxFields", (Kind.STRUCT, Kind.INT), Kind.BOOL, _max_fields, open_list=True)
    return Package("struct", MappingProxyType(signatures.members))


PACKAGE = _package()
