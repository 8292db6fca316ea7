"""The wire format of protobuf: reading chosen fields of a message, and writing fields.

What `connect.protocol.envelope` is built on; it knows no message of its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from connect.errors import MalformedMessage

__all__ = [
    "LARGEST_VARINT",
    "MOST_FIELDS",
    "Field",
    "Layout",
    "content_field",
    "layout",
    "read",
    "read_fields",
    "text_field",
    "write_varint",
]

LARGEST_VARINT = 2**64 - 1

MOST_FIELDS = 1000
"""So many fields a message may have, unless its reader says otherwise. None has nearly as many:
what does is there to keep its reader busy."""

# What to do with a field, once its tag (number and wire type) is known.
_SKIP, _TEXT, _CHECK_TEXT, _CONTENT, _MERGE, _ENUM, _BOOL, _WRONG_TYPE = range(8)

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

_UNKNOWN_FIELD = (_SKIP, 0)
_LARGEST_TAG = 2**32 - 1


class Layout(NamedTuple):
    """How to read one message.

    Attributes:
        name: the message's name, for errors.
        fields: tag to what to do with the field and the place of its value. The tags
            of a known field with a wrong wire type are here too.
        defaults: the values of absent fields, by place.
        embedded_place: the place of the embedded message, if the message has one.
    """

    name: str
    fields: Mapping[int, tuple[int, int]]
    defaults: tuple[Any, ...]
    embedded_place: int


_DEFAULTS: Mapping[int, Any] = {_TEXT: "", _CONTENT: b"", _MERGE: b"", _ENUM: 0, _BOOL: False}


def layout(
    name: str,
    returned: Sequence[int],
    *,
    texts: Iterable[int] = (),
    contents: Iterable[int] = (),
    embedded: int | None = None,
    enums: Iterable[int] = (),
    bools: Iterable[int] = (),
    integers: Iterable[int] = (),
) -> Layout:
    """Build a layout from the numbers of a message's fields.

    Args:
        name: the message's name.
        returned: the fields whose values are returned, in this order.
        texts: string fields; one that is not returned is still checked for UTF-8.
        contents: bytes fields.
        embedded: the field of the embedded message, which is returned, if there is one.
        enums: enum fields.
        bools: bool fields.
        integers: other varint fields, which are never returned.
    """
    fields: dict[int, tuple[int, int]] = {}
    defaults: list[Any] = [None] * len(returned)
    for numbers, wire_type, action, otherwise in (
        (texts, _LENGTH, _TEXT, _CHECK_TEXT),
        (contents, _LENGTH, _CONTENT, _SKIP),
        (() if embedded is None else (embedded,), _LENGTH, _MERGE, _SKIP),
        (enums, _VARINT, _ENUM, _SKIP),
        (bools, _VARINT, _BOOL, _SKIP),
        (integers, _VARINT, _SKIP, _SKIP),
    ):
        for number in numbers:
            for wrong in (_VARINT, _FIXED64, _LENGTH, _FIXED32):
                fields[number << 3 | wrong] = (_WRONG_TYPE, 0)
            if number in returned:
                place = returned.index(number)
                defaults[place] = _DEFAULTS[action]
                fields[number << 3 | wire_type] = (action, place)
            else:
                fields[number << 3 | wire_type] = (otherwise, 0)
    embedded_place = 0 if embedded is None else returned.index(embedded)
    return Layout(name, fields, tuple(defaults), embedded_place)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the varint at the position, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift == 70:
            raise ValueError("a varint of more than 10 bytes")
    if value > LARGEST_VARINT:
        raise ValueError("a varint of more than 64 bits")
    return value, position


def _scan(message: Layout, data: bytes) -> list[Any]:  # noqa: C901 - one loop, for speed
    """Read the message; what is wrong raises ValueError or IndexError."""
    values = list(message.defaults)
    pieces: list[bytes] = []  # of the embedded message
    action_of = message.fields.get
    position = 0
    end = len(data)
    for _ in range(MOST_FIELDS):
        if position >= end:
            break
        tag = data[position]
        if tag < 0x80:
            position += 1
        else:
            tag, position = _read_varint(data, position)
            if tag > _LARGEST_TAG:
                raise ValueError("a field number of more than 29 bits")
        action, place = action_of(tag, _UNKNOWN_FIELD)
        if action == _WRONG_TYPE:
            raise ValueError(f"field {tag >> 3} has wire type {tag & 7}")
        if tag < 8:
            raise ValueError("field number 0")
        wire_type = tag & 7

        if wire_type == _LENGTH:
            length = data[position]
            if length < 0x80:
                start = position + 1
            else:
                length, start = _read_varint(data, position)
            position = start + length
            if position > end:
                raise ValueError(f"field {tag >> 3} is cut off")
            if action == _TEXT:
                values[place] = data[start:position].decode()
            elif action == _CHECK_TEXT:
                data[start:position].decode()
            elif action == _CONTENT:
                values[place] = data[start:position]
            elif action == _MERGE:
                pieces.append(data[start:position])
        elif wire_type == _VARINT:
            value, position = _read_varint(data, position)
            if action == _ENUM:  # an int32, whose upper half is dropped
                values[place] = (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
            elif action == _BOOL:
                values[place] = value != 0
        elif wire_type == _FIXED64:
            position += 8
        elif wire_type == _FIXED32:
            position += 4
        else:
            raise ValueError(f"field {tag >> 3} has wire type {wire_type}")
    if position < end:
        raise ValueError(f"it has more than {MOST_FIELDS} fields")
    if position > end:
        raise ValueError("the last field is cut off")
    if pieces:
        values[message.embedded_place] = b"".join(pieces)
    return values


def read(message: Layout, data: bytes) -> list[Any]:
    """Read a message.

    Args:
        message: its layout.
        data: the whole message.

    Returns:
        The values of the fields that the layout returns, in its order.

    Raises:
        MalformedMessage: the bytes are no such message.
    """
    try:
        return _scan(message, data)
    except IndexError:
        raise MalformedMessage(message.name, "it is cut off") from None
    except UnicodeDecodeError:
        raise MalformedMessage(message.name, "a string is not UTF-8") from None
    except ValueError as error:
        raise MalformedMessage(message.name, str(error)) from None


class Field(NamedTuple):
    """One field as it stands in a message: where it begins, where its value does, where both end.

    Of a text, of bytes and of an embedded message the value begins after its length.
    """

    tag: int
    start: int
    value: int
    end: int


def read_fields(name: str, data: bytes, most: int = MOST_FIELDS) -> Iterator[Field]:
    """Go through the fields of a message, whatever they mean.

    Args:
        name: the message's name.
        data: the whole message.
        most: how many fields it may have. A field costs about half a microsecond.

    Raises:
        MalformedMessage: the bytes are no message, or have more fields than that; what comes
            before has been returned then.
    """
    try:
        yield from _walk(data, most)
    except IndexError:
        raise MalformedMessage(name, "it is cut off") from None
    except ValueError as error:
        raise MalformedMessage(name, str(error)) from None


def _walk(data: bytes, most: int) -> Iterator[Field]:
    """Go through the fields; what is wrong raises ValueError or IndexError."""
    position = 0
    end = len(data)
    for _ in range(most):
        if position >= end:
            return
        start = position
        tag, position = _read_varint(data, position)
        value = position
        wire_type = tag & 7
        if wire_type == _LENGTH:
            length, value = _read_varint(data, position)
            position = value + length
        elif wire_type == _VARINT:
            _, position = _read_varint(data, position)
        elif wire_type in (_FIXED64, _FIXED32):
            position += 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"field {tag >> 3} has wire type {wire_type}")
        if position > end:
            raise ValueError(f"field {tag >> 3} is cut off")
        yield Field(tag, start, value, position)
    if position < end:
        raise ValueError(f"it has more than {most} fields")


def write_varint(value: int) -> bytes:
    """Write an unsigned number."""
    if value < 0x80:
        return bytes((value,))
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def content_field(number: int, value: bytes) -> bytes:
    """Write a field of bytes, text or an embedded message; numbers are at most 15."""
    length = len(value)
    if length < 0x80:
        return bytes((number << 3 | _LENGTH, length)) + value
    return bytes((number << 3 | _LENGTH,)) + write_varint(length) + value


def text_field(number: int, value: str) -> bytes:
    """Write a string, or nothing if it is empty."""
    return content_field(number, value.encode()) if value else b""
