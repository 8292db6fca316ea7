"""The hot path's messages, read and written by hand.

A request and a reply pass through the gateway unopened: the bytes of one field here
are the bytes of another field there. So this module wraps and unwraps those bytes,
and reads the few fields that the gateway needs, in microseconds; everything else
uses `connect.protocol.codec` and the generated messages.

Every reader checks the complete wire structure of its message (Connect protocol,
section 2; protobuf's encoding): lengths, varints of at most 64 bits, the wire types of
known fields, UTF-8 in known strings, no field number 0, no groups, at most
`connect.protocol.wire.MOST_FIELDS` fields. Unknown fields are skipped. Of a field that
occurs twice the last one counts, and embedded messages are merged, as proto3 says. A
field that is absent has its default; so empty bytes are a valid message. What is wrong
raises `connect.errors.MalformedMessage`.

Every writer leaves default values out, but not an embedded message that is empty, and
writes byte for byte what the generated messages write. Text that UTF-8 cannot express
raises UnicodeEncodeError.
"""

from typing import NamedTuple

from connect.protocol.wire import (
    LARGEST_VARINT,
    content_field,
    layout,
    read,
    text_field,
    write_varint,
)

__all__ = [
    "AckFields",
    "ExtendLeaseFields",
    "RequestFields",
    "ResponseFields",
    "decode_forward",
    "decode_message",
    "decode_reply",
    "decode_success",
    "encode_extend_ack",
    "encode_forward",
    "encode_message",
    "encode_reply",
    "encode_reply_ack",
    "encode_success",
    "read_ack",
    "read_extend_lease",
    "read_request",
    "read_response",
    "with_lease",
]


class RequestFields(NamedTuple):
    """What is read of a GatewayExecutorRequestData."""

    request_id: str
    env_id: str
    account_id: str
    app_id: str
    app_name: str
    function_slug: str
    lease_id: str
    run_id: str


class AckFields(NamedTuple):
    """What is read of a WorkerRequestAckData."""

    request_id: str


class ExtendLeaseFields(NamedTuple):
    """What is read of a WorkerRequestExtendLeaseData."""

    request_id: str
    account_id: str
    env_id: str
    app_id: str
    function_slug: str
    lease_id: str

    @property
    def size(self) -> int:
        """Characters that are held of the message."""
        return sum(map(len, self))


class ResponseFields(NamedTuple):
    """What is read of an SDKResponse.

    Attributes:
        status: an SDKResponseStatus, or a number that it does not know yet.
    """

    request_id: str
    account_id: str
    env_id: str
    app_id: str
    status: int
    run_id: str


# Field numbers are those of section 2 of the Connect protocol; the order of what is
# returned is that of the tuples above.
_MESSAGE = layout("ConnectMessage", (1, 2), enums=(1,), contents=(2,))
_FORWARD = layout("ForwardRequest", (1, 2, 1000), texts=(1,), embedded=2, bools=(1000,))
_REPLY = layout("ReplyRequest", (1,), embedded=1)
_SUCCESS = layout("response with a success flag", (1,), bools=(1,))
_REQUEST = layout(
    "GatewayExecutorRequestData",
    (1, 3, 2, 4, 5, 7, 13, 12),
    texts=(1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14),
    contents=(9, 10, 11),
)
_ACK = layout("WorkerRequestAckData", (1,), texts=(1, 2, 3, 4, 5, 6, 9), contents=(7, 8))
_EXTEND_LEASE = layout(
    "WorkerRequestExtendLeaseData",
    (1, 2, 3, 4, 5, 10),
    texts=(1, 2, 3, 4, 5, 6, 9, 10),
    contents=(7, 8),
)
_RESPONSE = layout(
    "SDKResponse",
    (1, 2, 3, 4, 5, 13),
    texts=(1, 2, 3, 4, 8, 9, 13),
    contents=(6, 11, 12),
    enums=(5,),
    integers=(7, 10),
)

# Kinds below 128, which all known ones are, each as a complete field.
_KIND_FIELDS = (b"", *(bytes((0x08, kind)) for kind in range(1, 0x80)))
_PAYLOAD_TAG = b"\x12"
_TELL_DOUBT = b"\xc0\x3e\x01"  # field 1000 of ForwardRequest: true


def encode_message(kind: int, payload: bytes = b"") -> bytes:
    """Write a ConnectMessage, which every WebSocket message is.

    Args:
        kind: a GatewayMessageType.
        payload: the message that belongs to the kind, written already.
    """
    known = 0 <= kind < 0x80
    head = _KIND_FIELDS[kind] if known else b"\x08" + write_varint(kind & LARGEST_VARINT)
    if not payload:
        return head
    return b"".join((head, _PAYLOAD_TAG, write_varint(len(payload)), payload))


def decode_message(data: bytes) -> tuple[int, bytes]:
    """Read a ConnectMessage.

    Returns:
        The kind, which may be one that GatewayMessageType does not know, and the
        payload, unread.

    Raises:
        MalformedMessage: the bytes are no ConnectMessage.
    """
    kind, payload = read(_MESSAGE, data)
    return kind, payload


def encode_forward(connection_id: str, request: bytes, *, tell_doubt: bool = False) -> bytes:
    """Write a ForwardRequest.

    Args:
        connection_id: the connection to forward to.
        request: a GatewayExecutorRequestData, written already.
        tell_doubt: whether a gateway of ours is to tell an outcome in doubt as such.
    """
    doubt = _TELL_DOUBT if tell_doubt else b""
    return b"".join((text_field(1, connection_id), content_field(2, request), doubt))


def decode_forward(data: bytes) -> tuple[str, bytes, bool]:
    """Read a ForwardRequest.

    Returns:
        The connection id, the GatewayExecutorRequestData, unread, and whether an outcome in
        doubt is to be told as such.

    Raises:
        MalformedMessage: the bytes are no ForwardRequest; what the request's own bytes
            hold is not checked here but by `read_request`.
    """
    connection_id, request, tell_doubt = read(_FORWARD, data)
    return connection_id, request, tell_doubt


def encode_reply(response: bytes) -> bytes:
    """Write a ReplyRequest around an SDKResponse that is written already."""
    return content_field(1, response)


def decode_reply(data: bytes) -> bytes:
    """Read a ReplyRequest.

    Returns:
        The SDKResponse, unread.

    Raises:
        MalformedMessage: the bytes are no ReplyRequest; what the response's own bytes
            hold is not checked here but by `read_response`.
    """
    response: bytes = read(_REPLY, data)[0]
    return response


def with_lease(request: bytes, lease_id: str) -> bytes:
    """Set the lease id of a GatewayExecutorRequestData, whether it had one or not.

    Args:
        request: the message as bytes; they are not checked.
        lease_id: the lease id to append; the last occurrence of a field is what counts.
    """
    return request + content_field(13, lease_id.encode())


def read_request(data: bytes) -> RequestFields:
    """Read the ids of a GatewayExecutorRequestData.

    Raises:
        MalformedMessage: the bytes are no such message.
    """
    return RequestFields._make(read(_REQUEST, data))


def read_ack(data: bytes) -> AckFields:
    """Read the request id of a WorkerRequestAckData.

    Raises:
        MalformedMessage: the bytes are no such message.
    """
    return AckFields._make(read(_ACK, data))


def read_extend_lease(data: bytes) -> ExtendLeaseFields:
    """Read the ids of a WorkerRequestExtendLeaseData.

    Raises:
        MalformedMessage: the bytes are no such message.
    """
    return ExtendLeaseFields._make(read(_EXTEND_LEASE, data))


def read_response(data: bytes) -> ResponseFields:
    """Read the ids and the status of an SDKResponse.

    Raises:
        MalformedMessage: the bytes are no such message.
    """
    return ResponseFields._make(read(_RESPONSE, data))


def encode_extend_ack(
    request_id: str,
    account_id: str,
    env_id: str,
    app_id: str,
    function_slug: str,
    new_lease_id: str | None,
) -> bytes:
    """Write a WorkerRequestExtendLeaseAckData.

    Args:
        request_id: of the request whose lease was to be extended; this and the ids
            after it are repeated from the worker's message.
        account_id: the account.
        env_id: the environment.
        app_id: the app.
        function_slug: the function.
        new_lease_id: the lease id to use from now on; None tells the worker to stop
            extending.
    """
    return b"".join(
        (
            text_field(1, request_id),
            text_field(2, account_id),
            text_field(3, env_id),
            text_field(4, app_id),
            text_field(5, function_slug),
            b"" if new_lease_id is None else content_field(6, new_lease_id.encode()),
        )
    )


def encode_reply_ack(request_id: str) -> bytes:
    """Write a WorkerReplyAckData."""
    return text_field(1, request_id)


def encode_success(success: bool) -> bytes:
    """Write a ForwardResponse, ReplyResponse or AckResponse."""
    return b"\x08\x01" if success else b""


def decode_success(data: bytes) -> bool:
    """Read a ForwardResponse, ReplyResponse or AckResponse.

    Raises:
        MalformedMessage: the bytes are none of them.
    """
    success: bool = read(_SUCCESS, data)[0]
    return success
