"""Package ``encoding/hex``: bytes as hexadecimal digits, and dumps of them."""

import re
from types import MappingProxyType

from connect.config.cue.packages.arguments import byte_data
from connect.config.cue.packages.signature import Signatures
from connect.config.cue.values import RESULT_LIMIT, BuiltinError, Kind, Package, check_size

__all__ = ["PACKAGE"]

_OTHER = re.compile(r"[^0-9a-fA-F]")


def _encoded_len(size: int) -> int:
    return size * 2


def _decoded_len(size: int) -> int:
    return size // 2 if size >= 0 else -(-size // 2)


def _encode(data: str | bytes) -> str:
    return byte_data(data).hex()


def _decode(text: str) -> bytes:
    wrong = _OTHER.search(text)
    if wrong:
        raise BuiltinError(f"found {wrong[0]!r}, expected a hexadecimal digit")
    if len(text) % 2:
        raise BuiltinError(f"{len(text)} digits; expected an even number")
    return bytes.fromhex(text)


def _dump(data: str | bytes, *, limit: int = RESULT_LIMIT) -> str:
    """Write 16 bytes a line: offset, digits, and what is printable of ASCII."""
    octets = byte_data(data)
    check_size(-(-len(octets) // 16) * 79, limit, "characters")
    lines = []
    for offset in range(0, len(octets), 16):
        row = octets[offset : offset + 16]
        halves = (row[:8].hex(" "), row[8:].hex(" "))
        shown = "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in row)
        lines.append(f"{offset:08x}  {halves[0]:23}  {halves[1]:23}  |{shown}|\n")
    return "".join(lines)


def _package() -> Package:
    add = (signatures := Signatures("encoding/hex")).add
    whole, text, data = Kind.INT, Kind.STRING, Kind.BYTES | Kind.STRING
    add("EncodedLen", (whole,), whole, _encoded_len)
    add("DecodedLen", (whole,), whole, _decoded_len)
    add("Encode", (data,), text, _encode)
    add("Decode", (text,), Kind.BYTES, _decode)
    add("Dump", (data,), text, _dump, bounded=True)
    return Package("encoding/hex", MappingProxyType(signatures.members))


PACKAGE = _package()
