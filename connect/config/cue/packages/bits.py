"""Package ``math/bits``: the bits of integers of any size, negative ones in two's complement."""

from types import MappingProxyType

from connect.config.cue.packages.signature import Signatures
from connect.config.cue.values import RESULT_LIMIT, BuiltinError, Kind, Package, check_size

__all__ = ["PACKAGE"]

_MOST_BITS = 100_000


def _check_position(position: int) -> None:
    if position < 0:
        raise BuiltinError("a number of bits is negative; it must be 0 or more")


def _lsh(value: int, count: int, *, limit: int = RESULT_LIMIT) -> int:
    _check_position(count)
    check_size(value.bit_length() + count, min(limit, _MOST_BITS), "bits")
    return value << count


def _rsh(value: int, count: int) -> int:
    _check_position(count)
    return value >> count


def _at(value: int, position: int) -> int:
    _check_position(position)
    return value >> position & 1


def _set(value: int, position: int, bit: int, *, limit: int = RESULT_LIMIT) -> int:
    if bit not in (0, 1):
        raise BuiltinError(f"the bit is {bit}; expected 0 or 1")
    mask = _lsh(1, position, limit=limit)
    return value | mask if bit else value & ~mask


def _and(left: int, right: int) -> int:
    return left & right


def _or(left: int, right: int) -> int:
    return left | right


def _xor(left: int, right: int) -> int:
    return left ^ right


def _clear(left: int, right: int) -> int:
    return left & ~right


def _package() -> Package:
    add = (signatures := Signatures("math/bits")).add
    whole = Kind.INT
    add("Lsh", (whole, whole), whole, _lsh, big=True, bounded=True)
    add("Rsh", (whole, whole), whole, _rsh, big=True)
    add("At", (whole, whole), whole, _at, big=True)
    add("Set", (whole, whole, whole), whole, _set, big=True, bounded=True)
    add("And", (whole, whole), whole, _and, big=True)
    add("Or", (whole, whole), whole, _or, big=True)
    add("Xor", (whole, whole), whole, _xor, big=True)
    add("Clear", (whole, whole), whole, _clear, big=True)
    add("OnesCount", (whole,), whole, lambda value: abs(value).bit_count(), big=True)
    add("Len", (whole,), whole, lambda value: value.bit_length(), big=True)
    return Package("math/bits", MappingProxyType(signatures.members))


PACKAGE = _package()
