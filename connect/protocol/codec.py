"""Reading the generated messages from bytes that others wrote.

Writing one is `bytes(message)`. The hot path uses `connect.protocol.envelope`.
"""

from typing import TypeVar

import betterproto

from connect.errors import MalformedMessage
from connect.protocol.wire import MOST_FIELDS, read_fields

__all__ = ["decode"]

M = TypeVar("M", bound=betterproto.Message)


def decode(message_type: type[M], data: bytes, *, most_fields: int = MOST_FIELDS) -> M:
    """Read one generated message.

    Unknown fields are kept. Unlike in other protobuf implementations, an embedded
    message that occurs twice is replaced by its last occurrence, not merged.

    Args:
        message_type: a class of `connect.protocol.messages`.
        data: the whole message, nothing after it; empty bytes are all defaults.
        most_fields: how many fields it may have, repeated ones each.

    Returns:
        The message.

    Raises:
        MalformedMessage: these bytes are no such message: cut off, a known field with
            another wire type, text that is not UTF-8, a group, a timestamp outside the
            years 1 to 9999, or more fields than it may have.
    """
    for _ in read_fields(message_type.__name__, data, most_fields):
        pass
    try:
        return message_type().parse(data)
    except Exception as error:  # a foreign parser that names no errors; nothing is awaited
        raise MalformedMessage(message_type.__name__, str(error)) from error
