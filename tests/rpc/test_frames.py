"""The frames of the stream, held against the generated messages."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.errors import MalformedMessage
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import frames
from connect.rpc.errors import RpcError, RpcStatus

ids = st.integers(1, frames.LARGEST_ID) | st.sampled_from([127, 128, 16_384])
numbers = st.integers(-(2**31), 2**31 - 1)
texts = st.text(max_size=20) | st.sampled_from([127, 128]).map(lambda n: "x" * n)
contents = st.binary(max_size=40) | st.sampled_from([127, 128, 16_384]).map(bytes)
kinds = numbers | st.integers(0, 4)

executor_frames = st.builds(
    pb.ExecutorFrame,
    kind=kinds,
    id=numbers,
    connection_id=texts,
    data=contents,
    more=st.booleans(),
    success=st.booleans(),
    host=texts,
    port=numbers,
)
gateway_frames = st.builds(
    pb.GatewayFrame,
    kind=kinds,
    id=numbers,
    data=contents,
    more=st.booleans(),
    success=st.booleans(),
    status=numbers,
    message=texts,
)


def with_prefix(message: Any) -> bytes:
    """Return a generated message as gRPC sends it."""
    body = bytes(message)
    return b"\0" + len(body).to_bytes(4, "big") + body


@given(executor_frames)
def test_what_an_executor_sends_is_read_as_by_the_generated_message(message: Any) -> None:
    read = frames.read_executor_frame(bytes(message))
    assert read == tuple(getattr(message, name) for name in frames.ExecutorFrame._fields)


@given(gateway_frames)
def test_what_a_gateway_sends_is_read_as_by_the_generated_message(message: Any) -> None:
    read = frames.read_gateway_frame(bytes(message))
    assert read == tuple(getattr(message, name) for name in frames.GatewayFrame._fields)


@pytest.mark.parametrize("read", [frames.read_executor_frame, frames.read_gateway_frame])
@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_malformed(read: Callable[[bytes], object], data: bytes) -> None:
    with suppress(MalformedMessage):
        read(data)


@given(texts, st.integers(1, 65535))
def test_a_hello_is_written_as_by_the_generated_message(host: str, port: int) -> None:
    assert frames.hello_frame(host, port) == with_prefix(pb.ExecutorFrame(host=host, port=port))


def test_a_welcome_is_written_as_by_the_generated_message() -> None:
    assert frames.welcome_frame() == with_prefix(pb.GatewayFrame())


@given(ids, texts, contents, st.booleans())
def test_a_forward_is_written_as_by_the_generated_message(
    number: int, connection_id: str, request: bytes, more: bool
) -> None:
    assert frames.forward_frame(number, connection_id, request, more=more) == with_prefix(
        pb.ExecutorFrame(
            kind=pb.ExecutorFrameKind(1),
            id=number,
            connection_id=connection_id,
            data=request,
            more=more,
        )
    )


@given(ids)
def test_a_withdrawal_is_written_as_by_the_generated_message(number: int) -> None:
    assert frames.withdraw_frame(number) == with_prefix(
        pb.ExecutorFrame(kind=pb.ExecutorFrameKind(2), id=number)
    )


@given(ids, st.booleans())
def test_a_receipt_is_written_as_by_the_generated_message(number: int, taken: bool) -> None:
    assert frames.receipt_frame(number, taken=taken) == with_prefix(
        pb.ExecutorFrame(kind=pb.ExecutorFrameKind(3), id=number, success=taken)
    )


@given(ids, st.booleans(), texts)
def test_an_answer_about_a_lease_is_written_as_by_the_generated_message(
    number: int, in_progress: bool, lease_id: str
) -> None:
    answer = frames.LeaseAnswer(in_progress, lease_id)
    assert frames.extended_frame(number, answer) == with_prefix(
        pb.ExecutorFrame(
            kind=pb.ExecutorFrameKind(4), id=number, data=lease_id.encode(), success=in_progress
        )
    )


@given(ids, contents.filter(bool))
def test_an_extension_is_written_as_by_the_generated_message(number: int, asked: bytes) -> None:
    assert frames.extend_frame(number, asked) == with_prefix(
        pb.GatewayFrame(kind=pb.GatewayFrameKind(3), id=number, data=asked)
    )


@given(ids, st.booleans())
def test_an_outcome_is_written_as_by_the_generated_message(number: int, success: bool) -> None:
    assert frames.outcome_frame(number, success=success) == with_prefix(
        pb.GatewayFrame(kind=pb.GatewayFrameKind(1), id=number, success=success)
    )


@given(ids, st.sampled_from(RpcStatus), texts)
def test_a_refusal_is_written_as_by_the_generated_message(
    number: int, status: RpcStatus, message: str
) -> None:
    assert frames.refusal_frame(number, RpcError(status, message)) == with_prefix(
        pb.GatewayFrame(
            kind=pb.GatewayFrameKind(1),
            id=number,
            status=status,
            message=message,
        )
    )


@given(ids, contents, st.booleans())
def test_a_reply_is_written_as_by_the_generated_message(
    number: int, response: bytes, more: bool
) -> None:
    assert frames.reply_frame(number, response, more=more) == with_prefix(
        pb.GatewayFrame(kind=pb.GatewayFrameKind(2), id=number, data=response, more=more)
    )


def test_ids_start_again_after_the_largest() -> None:
    assert (frames.next_id(0), frames.next_id(frames.LARGEST_ID)) == (1, 1)


@pytest.mark.parametrize("size", [1, frames.PIECE_BYTES, frames.PIECE_BYTES + 1, 100_000])
def test_the_pieces_of_a_forward_make_up_the_request(size: int) -> None:
    request = bytes(index % 251 for index in range(size))
    pieces = [
        frames.read_executor_frame(piece[5:])
        for piece in frames.forward_frames(7, "conn-1", request)
    ]
    assert b"".join(piece.data for piece in pieces) == request
    assert [piece.more for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert [piece.connection_id for piece in pieces] == ["conn-1"] + [""] * (len(pieces) - 1)


def test_the_pieces_of_a_reply_make_up_the_response() -> None:
    response = bytes(index % 251 for index in range(100_000))
    pieces = [frames.read_gateway_frame(piece[5:]) for piece in frames.reply_frames(7, response)]
    assert b"".join(piece.data for piece in pieces) == response
    assert [piece.more for piece in pieces] == [True, True, True, False]
