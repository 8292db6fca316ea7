"""Package ``encoding/base64``: the standard encoding, which the argument null stands for."""

import base64
import binascii
from types import MappingProxyType

from connect.config.cue.packages.arguments import byte_data, may_become
from connect.config.cue.packages.signature import Signatures
from connect.config.cue.values import BuiltinError, Concrete, Kind, NotConcrete, Package, kind_of

__all__ = ["PACKAGE"]


def _check_encoding(encoding: Concrete) -> None:
    if may_become(encoding, Kind.NULL):
        raise NotConcrete("the encoding is not concrete")
    if encoding is not None:
        raise BuiltinError(f"unsupported encoding of type {kind_of(encoding)}; expected null")


def _encoded_len(encoding: Concrete, size: int) -> int:
    _check_encoding(encoding)
    return max(size + 2, 0) // 3 * 4


def _decoded_len(encoding: Concrete, size: int) -> int:
    _check_encoding(encoding)
    return size // 4 * 3


def _encode(encoding: Concrete, data: str | bytes) -> str:
    _check_encoding(encoding)
    return base64.b64encode(byte_data(data)).decode()


def _decode(encoding: Concrete, text: str) -> bytes:
    _check_encoding(encoding)
    try:
        return base64.b64decode(text.translate({10: None, 13: None}), validate=True)
    except (binascii.Error, ValueError):
        raise BuiltinError(f"illegal base64: {text[:40]!r}") from None


def _package() -> Package:
    add = (signatures := Signatures("encoding/base64")).add
    encoding, whole, data = Kind.TOP, Kind.INT, Kind.BYTES | Kind.STRING
    add("EncodedLen", (encoding, whole), whole, _encoded_len)
    add("DecodedLen", (encoding, whole), whole, _decoded_len)
    add("Encode", (encoding, data), Kind.STRING, _encode)
    add("Decode", (encoding, Kind.STRING), Kind.BYTES, _decode)
    return Package("encoding/base64", MappingProxyType(signatures.members))


PACKAGE = _package()
