"""The frames of ConnectGateway.StreamV1, read and written by hand: two pass per forward and reply.

Like `connect.protocol.envelope`, which has the rules of reading: what is wrong raises
MalformedMessage. Writers return a frame as gRPC sends it, with the prefix of a message,
so that many can be joined and written at once; what follows the prefix is byte for byte
what the generated messages write.

A request or a response of more than `PIECE_BYTES` travels in pieces, between which other
frames find their way.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from connect.protocol.messages.connect import v1 as pb
from connect.protocol.wire import content_field, layout, read, text_field, write_varint
from connect.rpc.errors import RpcError

__all__ = [
    "LARGEST_ID",
    "OUTCOME",
    "PIECE_BYTES",
    "RECEIPT",
    "REPLY",
    "EXECUTOR_HELLO",
    "EXTEND",
    "EXTENDED",
    "FORWARD",
    "GATEWAY_HELLO",
    "WITHDRAW",
    "ExecutorFrame",
    "GatewayFrame",
    "LeaseAnswer",
    "extend_frame",
    "extended_frame",
    "forward_frame",
    "forward_frames",
    "hello_frame",
    "next_id",
    "outcome_frame",
    "read_executor_frame",
    "read_gateway_frame",
    "receipt_frame",
    "refusal_frame",
    "reply_frame",
    "reply_frames",
    "welcome_frame",
    "withdraw_frame",
]

# What fits one piece; half of the largest HTTP/2 frame that the bridge lets others send.
PIECE_BYTES = 32 * 1024

LARGEST_ID = 2**31 - 1

EXECUTOR_HELLO = int(pb.ExecutorFrameKind.EXECUTOR_FRAME_HELLO)
FORWARD = int(pb.ExecutorFrameKind.EXECUTOR_FRAME_FORWARD)
WITHDRAW = int(pb.ExecutorFrameKind.EXECUTOR_FRAME_WITHDRAW)
RECEIPT = int(pb.ExecutorFrameKind.EXECUTOR_FRAME_RECEIPT)
EXTENDED = int(pb.ExecutorFrameKind.EXECUTOR_FRAME_EXTENDED)

GATEWAY_HELLO = int(pb.GatewayFrameKind.GATEWAY_FRAME_HELLO)
OUTCOME = int(pb.GatewayFrameKind.GATEWAY_FRAME_OUTCOME)
REPLY = int(pb.GatewayFrameKind.GATEWAY_FRAME_REPLY)
EXTEND = int(pb.GatewayFrameKind.GATEWAY_FRAME_EXTEND)


class ExecutorFrame(NamedTuple):
    """What an executor sends; which fields count depends on the kind.

    Attributes:
        kind: an ExecutorFrameKind, or a number that it does not know yet.
    """

    kind: int
    id: int
    connection_id: str
    data: bytes
    more: bool
    success: bool
    host: str
    port: int


class GatewayFrame(NamedTuple):
    """What a gateway sends; which fields count depends on the kind.

    Attributes:
        kind: a GatewayFrameKind, or a number that it does not know yet.
    """

    kind: int
    id: int
    data: bytes
    more: bool
    success: bool
    status: int
    message: str


class LeaseAnswer(NamedTuple):
    """What an executor says to an ExtendLeaseRequest.

    Attributes:
        in_progress: whether it waits for the request.
        lease_id: the one to hold from now on; "" when the lease is lost.
    """

    in_progress: bool
    lease_id: str = ""


# An int32 is written like an enum.
_EXECUTOR_FRAME = layout(
    "ExecutorFrame", range(1, 9), texts=(3, 7), contents=(4,), enums=(1, 2, 8), bools=(5, 6)
)
_GATEWAY_FRAME = layout(
    "GatewayFrame", range(1, 8), texts=(7,), contents=(3,), enums=(1, 2, 6), bools=(4, 5)
)


def read_executor_frame(data: bytes) -> ExecutorFrame:
    """Read a frame from an executor; raise MalformedMessage if it is none."""
    return ExecutorFrame._make(read(_EXECUTOR_FRAME, data))


def read_gateway_frame(data: bytes) -> GatewayFrame:
    """Read a frame from a gateway; raise MalformedMessage if it is none."""
    return GatewayFrame._make(read(_GATEWAY_FRAME, data))


def next_id(previous: int) -> int:
    """Return the id that follows; after the largest comes 1 again."""
    return previous + 1 if previous < LARGEST_ID else 1


def hello_frame(host: str, port: int) -> bytes:
    """Write the first frame of an executor, with the address that it advertises."""
    return _with_prefix(text_field(7, host) + b"\x40" + write_varint(port))


def forward_frame(number: int, connection_id: str, request: bytes, *, more: bool = False) -> bytes:
    """Write a forward, or the first piece of one.

    Args:
        number: its id.
        request: a GatewayExecutorRequestData, written already, or a piece of one.
        more: whether more pieces follow.
    """
    return _with_prefix(
        b"\x08\x01\x10"
        + write_varint(number)
        + text_field(3, connection_id)
        + (content_field(4, request) if request else b"")
        + (b"\x28\x01" if more else b"")
    )


def forward_frames(number: int, connection_id: str, request: bytes) -> Iterator[bytes]:
    """Write a forward in pieces, each when it is asked for."""

    def piece(data: bytes, first: bool, more: bool) -> bytes:
        return forward_frame(number, connection_id if first else "", data, more=more)

    return _pieces(request, piece)


def withdraw_frame(number: int) -> bytes:
    """Write that the forward with this id is given up."""
    return _with_prefix(b"\x08\x02\x10" + write_varint(number))


def receipt_frame(number: int, *, taken: bool) -> bytes:
    """Write that the reply with this id arrived, and whether somebody waited for it."""
    return _with_prefix(b"\x08\x03\x10" + write_varint(number) + (b"\x30\x01" if taken else b""))


def extended_frame(number: int, answer: LeaseAnswer) -> bytes:
    """Write what there is to say to the extension with this id."""
    return _with_prefix(
        b"\x08\x04\x10"
        + write_varint(number)
        + (content_field(4, answer.lease_id.encode()) if answer.lease_id else b"")
        + (b"\x30\x01" if answer.in_progress else b"")
    )


def welcome_frame() -> bytes:
    """Write the first frame of a gateway."""
    return _with_prefix(b"")


def outcome_frame(number: int, *, success: bool) -> bytes:
    """Write whether the worker acknowledged the forward with this id."""
    return _with_prefix(b"\x08\x01\x10" + write_varint(number) + (b"\x28\x01" if success else b""))


def refusal_frame(number: int, error: RpcError) -> bytes:
    """Write why the forward with this id was not tried."""
    return _with_prefix(
        b"\x08\x01\x10"
        + write_varint(number)
        + b"\x30"
        + write_varint(error.status)
        + text_field(7, error.message)
    )


def extend_frame(number: int, request: bytes) -> bytes:
    """Write a lease's extension.

    Args:
        number: its id.
        request: an ExtendLeaseRequest, written already.
    """
    return _with_prefix(b"\x08\x03\x10" + write_varint(number) + content_field(3, request))


def reply_frame(number: int, response: bytes, *, more: bool = False) -> bytes:
    """Write a reply, or a piece of one.

    Args:
        number: its id.
        response: an SDKResponse, written already, or a piece of one.
        more: whether more pieces follow.
    """
    return _with_prefix(
        b"\x08\x02\x10"
        + write_varint(number)
        + (content_field(3, response) if response else b"")
        + (b"\x20\x01" if more else b"")
    )


def reply_frames(number: int, response: bytes) -> Iterator[bytes]:
    """Write a reply in pieces, each when it is asked for."""

    def piece(data: bytes, first: bool, more: bool) -> bytes:
        return reply_frame(number, data, more=more)

    return _pieces(response, piece)


def _pieces(content: bytes, write: Callable[[bytes, bool, bool], bytes]) -> Iterator[bytes]:
    for start in range(0, len(content), PIECE_BYTES):
        end = start + PIECE_BYTES
        yield write(content[start:end], start == 0, end < len(content))


def _with_prefix(frame: bytes) -> bytes:
    """Return the frame as a gRPC message that is not compressed."""
    return len(frame).to_bytes(5, "big") + frame
