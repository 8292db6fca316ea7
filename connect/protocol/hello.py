"""Reading WORKER_CONNECT, the one message that anybody may send.

Who sends it is not known before it has been read: its token is in it. So what it may cost is
bounded here, in time as well as in what is kept and logged of it, whatever its bytes are.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Optional

from connect.errors import MalformedMessage
from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.wire import MOST_FIELDS, content_field, read_fields

__all__ = ["LONGEST_TEXT", "LONGEST_TOKEN", "read_hello"]

LONGEST_TEXT = 1024
"""Characters of an instance id, an app's name or version, and what a worker says of itself.

Such texts are kept as long as their connection, in memory and in the store, and logged.
"""

LONGEST_TOKEN = 16 * 1024
"""Characters of a session token or a sync token."""

# The fields of the message itself: a few, and its apps. More apps than a gateway can allow are
# refused as too many apps as long as they are not more than this.
_MOST_OWN_FIELDS = 10_000

_LENGTH = 2


class _Shape(NamedTuple):
    """What has to be known of a message.

    Attributes:
        embedded: the fields that are messages; None: what such a one holds is not looked at.
        repeated: the one of them that may occur several times.
    """

    name: str
    embedded: Mapping[int, Optional["_Shape"]] = {}
    repeated: int = 0


# Field numbers are those of section 2 of the Connect protocol.
_HELLO = _Shape(
    "WorkerConnectRequestData",
    {
        3: _Shape("AuthData"),
        5: _Shape("AppConfiguration", {5: None}),  # feature observations are opaque
        7: _Shape("SystemAttributes"),
        13: _Shape("Timestamp"),
    },
    repeated=5,  # the apps
)


def read_hello(data: bytes, most_apps: int) -> pb.WorkerConnectRequestData:
    """Read a WorkerConnectRequestData.

    Of a field that occurs twice the last one counts, and embedded messages are merged, as
    proto3 says.

    Args:
        data: the whole message.
        most_apps: how many apps a worker can be allowed. Of more, one is read beyond that, to
            tell that they are too many.

    Raises:
        MalformedMessage: these bytes are no such message, have more fields than any worker
            sends, or texts longer than `LONGEST_TEXT` or `LONGEST_TOKEN`.
    """
    hello = decode(pb.WorkerConnectRequestData, _compact(_HELLO, data, most_apps + 1))
    for name, text, longest in _texts(hello):
        if len(text) > longest:
            raise MalformedMessage(
                _HELLO.name, f"{name} has {len(text)} characters; {longest} may be"
            )
    return hello


def _compact(shape: _Shape, data: bytes, most_repeated: int) -> bytes:
    """Write a message anew, with every field at most once but the repeated one."""
    fields: dict[int, bytes] = {}
    embedded: dict[int, list[bytes]] = {}
    repeated: list[bytes] = []
    most = _MOST_OWN_FIELDS if shape.repeated else MOST_FIELDS
    for tag, start, value, end in read_fields(shape.name, data, most):
        number = tag >> 3
        if tag & 7 != _LENGTH or number not in shape.embedded:
            fields[tag] = data[start:end]
        elif number != shape.repeated:
            embedded.setdefault(number, []).append(data[value:end])
        elif len(repeated) < most_repeated:
            repeated.append(data[value:end])
    merged = [(number, b"".join(pieces)) for number, pieces in embedded.items()]
    written = list(fields.values())
    for number, content in (*merged, *((shape.repeated, each) for each in repeated)):
        inner = shape.embedded[number]
        compact = content if inner is None else _compact(inner, content, most_repeated)
        written.append(content_field(number, compact))
    return b"".join(written)


def _texts(hello: pb.WorkerConnectRequestData) -> Iterator[tuple[str, str, int]]:
    """Go through all texts: where each stands, and how long it may be."""
    yield "auth_data.session_token", hello.auth_data.session_token, LONGEST_TOKEN
    yield "auth_data.sync_token", hello.auth_data.sync_token, LONGEST_TOKEN
    for name, text in (
        ("connection_id", hello.connection_id),
        ("instance_id", hello.instance_id),
        ("system_attributes.os", hello.system_attributes.os),
        ("environment", hello.environment),
        ("framework", hello.framework),
        ("platform", hello.platform),
        ("sdk_version", hello.sdk_version),
        ("sdk_language", hello.sdk_language),
    ):
        yield name, text or "", LONGEST_TEXT
    for index, app in enumerate(hello.apps):
        yield f"apps[{index}].app_name", app.app_name, LONGEST_TEXT
        yield f"apps[{index}].app_version", app.app_version or "", LONGEST_TEXT
