"""The hot path's messages, held against the generated ones."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import betterproto
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.errors import MalformedMessage
from connect.protocol import envelope
from connect.protocol.messages.connect import v1 as pb

Reader = Callable[[bytes], Any]


class Case(NamedTuple):
    """A reader, the generated message it reads, and the fields it returns."""

    read: Reader
    message_type: type[betterproto.Message]
    fields: Sequence[str]


FIELD_READERS = [
    Case(
        envelope.read_request,
        pb.GatewayExecutorRequestData,
        envelope.RequestFields._fields,
    ),
    Case(envelope.read_ack, pb.WorkerRequestAckData, envelope.AckFields._fields),
    Case(
        envelope.read_extend_lease,
        pb.WorkerRequestExtendLeaseData,
        envelope.ExtendLeaseFields._fields,
    ),
    Case(envelope.read_response, pb.SdkResponse, envelope.ResponseFields._fields),
    Case(envelope.decode_message, pb.ConnectMessage, ("kind", "payload")),
    Case(lambda data: (envelope.decode_success(data),), pb.ForwardResponse, ("success",)),
    Case(lambda data: (envelope.decode_success(data),), pb.ReplyResponse, ("success",)),
    Case(lambda data: (envelope.decode_success(data),), pb.AckResponse, ("success",)),
]
READERS: list[Reader] = [
    *(case.read for case in FIELD_READERS),
    envelope.decode_forward,
    envelope.decode_reply,
]

# Lengths around those that need a second and a third byte are likely.
texts = st.text(max_size=20) | st.sampled_from([127, 128, 16_383, 16_384]).map(lambda n: "x" * n)
contents = st.binary(max_size=40) | st.sampled_from([127, 128, 16_384]).map(bytes)
kinds = st.integers(min_value=-(2**31), max_value=2**31 - 1) | st.integers(0, 20)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    betterproto.TYPE_STRING: texts,
    betterproto.TYPE_BYTES: contents,
    betterproto.TYPE_BOOL: st.booleans(),
    betterproto.TYPE_ENUM: kinds,
    betterproto.TYPE_UINT32: st.integers(0, 2**32 - 1),
}


def messages(message_type: type[betterproto.Message]) -> st.SearchStrategy[betterproto.Message]:
    """Build flat messages with any of their fields set."""
    generated: Any = message_type  # betterproto's types hide that it is a dataclass
    fields = {
        entry.name: betterproto.FieldMetadata.get(entry) for entry in dataclasses.fields(generated)
    }
    return st.fixed_dictionaries(
        {}, optional={name: VALUES[meta.proto_type] for name, meta in fields.items()}
    ).map(lambda values: message_type(**values))


requests = messages(pb.GatewayExecutorRequestData)
responses = messages(pb.SdkResponse)
any_case = st.sampled_from(FIELD_READERS)


def field(number: int, content: bytes) -> bytes:
    """Write a field with a length."""
    tag = betterproto.encode_varint(number << 3 | 2)
    return tag + betterproto.encode_varint(len(content)) + content


def fields_of(case: Case, message: betterproto.Message) -> tuple[Any, ...]:
    return tuple(getattr(message, name) for name in case.fields)


@given(st.data())
def test_whatever_a_generated_message_writes_is_read(draw: st.DataObject) -> None:
    case = draw.draw(any_case)
    message = draw.draw(messages(case.message_type))
    assert tuple(case.read(bytes(message))) == fields_of(case, message)


@given(st.data())
def test_what_both_readers_accept_they_read_alike(draw: st.DataObject) -> None:
    case = draw.draw(any_case)
    data = bytearray(bytes(draw.draw(messages(case.message_type))))
    data += draw.draw(st.binary(max_size=12))
    for position in draw.draw(st.lists(st.integers(0, max(0, len(data) - 1)), max_size=3)):
        data[position : position + 1] = draw.draw(st.binary(max_size=2))
    try:
        ours = tuple(case.read(bytes(data)))
        theirs = fields_of(case, case.message_type().parse(bytes(data)))
    except (MalformedMessage, RuntimeError):
        return
    assert ours == theirs


@given(st.sampled_from(READERS), st.binary(max_size=60))
def test_random_bytes_are_read_or_malformed(read: Reader, data: bytes) -> None:
    try:
        read(data)
    except MalformedMessage:
        return


@given(st.data())
def test_a_message_that_is_cut_off_anywhere_is_never_read_beyond_its_end(
    draw: st.DataObject,
) -> None:
    case = draw.draw(any_case)
    data = bytes(draw.draw(messages(case.message_type)))
    short = data[: draw.draw(st.integers(0, len(data)))]
    try:
        ours = tuple(case.read(short))
    except MalformedMessage:
        with pytest.raises(RuntimeError):
            case.message_type().parse(short)
        return
    assert ours == fields_of(case, case.message_type().parse(short))


@given(kinds, contents)
def test_a_connect_message_is_written_as_generated(kind: int, payload: bytes) -> None:
    # An enum of betterproto can be any number, though its type does not say so.
    message = pb.ConnectMessage(kind=kind, payload=payload)  # type: ignore[arg-type]
    written = envelope.encode_message(kind, payload)
    assert written == bytes(message)
    assert envelope.decode_message(written) == (kind, payload)


@given(texts, requests, st.booleans())
def test_a_forward_is_written_as_generated(
    connection_id: str, request: pb.GatewayExecutorRequestData, tell_doubt: bool
) -> None:
    embedded = pb.GatewayExecutorRequestData().parse(bytes(request))  # set, even if empty
    message = pb.ForwardRequest(connection_id=connection_id, data=embedded, tell_doubt=tell_doubt)
    written = envelope.encode_forward(connection_id, bytes(request), tell_doubt=tell_doubt)
    assert written == bytes(message)
    assert envelope.decode_forward(written) == (connection_id, bytes(request), tell_doubt)


@given(responses)
def test_a_reply_is_written_as_generated(response: pb.SdkResponse) -> None:
    embedded = pb.SdkResponse().parse(bytes(response))  # set, even if empty
    written = envelope.encode_reply(bytes(response))
    assert written == bytes(pb.ReplyRequest(data=embedded))
    assert envelope.decode_reply(written) == bytes(response)


@given(texts, texts, texts, texts, texts, st.none() | texts)
def test_an_extension_ack_is_written_as_generated(
    request_id: str,
    account_id: str,
    env_id: str,
    app_id: str,
    function_slug: str,
    new_lease_id: str | None,
) -> None:
    message = pb.WorkerRequestExtendLeaseAckData(
        request_id=request_id,
        account_id=account_id,
        env_id=env_id,
        app_id=app_id,
        function_slug=function_slug,
        new_lease_id=new_lease_id,
    )
    written = envelope.encode_extend_ack(
        request_id, account_id, env_id, app_id, function_slug, new_lease_id
    )
    assert written == bytes(message)


@given(texts)
def test_a_reply_ack_is_written_as_generated(request_id: str) -> None:
    message = pb.WorkerReplyAckData(request_id=request_id)
    assert envelope.encode_reply_ack(request_id) == bytes(message)


@pytest.mark.parametrize("success", [True, False])
@pytest.mark.parametrize("message_type", [pb.ForwardResponse, pb.ReplyResponse, pb.AckResponse])
def test_a_success_is_written_as_generated(
    message_type: type[pb.ForwardResponse], success: bool
) -> None:
    assert envelope.encode_success(success) == bytes(message_type(success=success))


@given(requests, texts)
def test_the_lease_of_a_request_is_set_whether_it_had_one_or_not(
    request: pb.GatewayExecutorRequestData, lease_id: str
) -> None:
    leased = envelope.with_lease(bytes(request), lease_id)
    request.lease_id = lease_id
    assert pb.GatewayExecutorRequestData().parse(leased) == request
    assert envelope.read_request(leased).lease_id == lease_id


@pytest.mark.parametrize(
    ("read", "defaults"),
    [
        (envelope.decode_message, (0, b"")),
        (envelope.decode_forward, ("", b"", False)),
        (envelope.decode_reply, b""),
        (envelope.decode_success, False),
        (envelope.read_request, ("",) * 8),
        (envelope.read_ack, ("",)),
        (envelope.read_extend_lease, ("",) * 6),
        (envelope.read_response, ("", "", "", "", 0, "")),
    ],
)
def test_empty_bytes_are_a_message_of_defaults(read: Reader, defaults: object) -> None:
    assert read(b"") == defaults


def test_the_last_occurrence_of_a_field_counts() -> None:
    assert envelope.read_ack(field(1, b"first") + field(1, b"last")).request_id == "last"


def test_embedded_messages_that_occur_twice_are_merged() -> None:
    first = bytes(pb.SdkResponse(request_id="first", env_id="env"))
    second = bytes(pb.SdkResponse(request_id="second"))

    merged = envelope.decode_reply(field(1, first) + field(1, second))
    _, forwarded, _ = envelope.decode_forward(field(2, first) + field(2, second))

    assert envelope.read_response(merged)[:3] == ("second", "", "env")
    assert forwarded == merged


def test_an_embedded_message_in_as_many_pieces_as_there_may_be_is_merged() -> None:
    assert envelope.decode_reply(field(1, b"x") * 1000) == b"x" * 1000


@pytest.mark.parametrize("number", [14, 16, 2047, 2048, 2**29 - 1])
def test_unknown_fields_of_every_wire_type_are_skipped(number: int) -> None:
    tag = number << 3
    unknown = (
        betterproto.encode_varint(tag | 0)
        + b"\xff" * 9
        + b"\x01"
        + betterproto.encode_varint(tag | 1)
        + b"\xff" * 8
        + field(number, b"\xff" * 300)
        + betterproto.encode_varint(tag | 5)
        + b"\xff" * 4
    )
    assert envelope.read_ack(unknown + field(1, b"r") + unknown).request_id == "r"


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"\x0a", "it is cut off"),
        (b"\x0a\x05ab", "field 1 is cut off"),
        (b"\x0a\x80", "it is cut off"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "field 1 is cut off"),
        (b"\x0a" + b"\xff" * 9 + b"\x02", "a varint of more than 64 bits"),
        (b"\x0a" + b"\xff" * 10, "a varint of more than 10 bytes"),
        (b"\x80", "it is cut off"),
        (b"\xa0\x01\xff", "it is cut off"),
        (b"\xa1\x01\xff", "the last field is cut off"),
        (b"\xa5\x01\xff", "the last field is cut off"),
        (b"\x00\x00", "field number 0"),
        (b"\x80\x80\x80\x80\x10\x00", "a field number of more than 29 bits"),
        (b"\x80\x00\x00", "field number 0"),
        (b"\x08\x01", "field 1 has wire type 0"),
        (b"\x0d\x01\x01\x01\x01", "field 1 has wire type 5"),
        (b"\x0b\x0c", "field 1 has wire type 3"),
        (b"\xa3\x01\xa4\x01", "field 20 has wire type 3"),
        (b"\xa4\x01", "field 20 has wire type 4"),
        (b"\xa6\x01", "field 20 has wire type 6"),
        (b"\xa7\x01", "field 20 has wire type 7"),
        (b"\x0a\x02\xc3\x28", "a string is not UTF-8"),
        (b"\x0a\x03\xed\xa0\x80", "a string is not UTF-8"),
        (b"\x12\x01\xff", "a string is not UTF-8"),
    ],
)
def test_what_is_malformed_is_told(data: bytes, detail: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        envelope.read_ack(data)
    assert str(caught.value) == f"not a WorkerRequestAckData: {detail}"


@pytest.mark.parametrize(
    ("read", "data", "name"),
    [
        (envelope.decode_message, b"\x0a\x00", "ConnectMessage"),
        (envelope.decode_message, b"\x10\x00", "ConnectMessage"),
        (envelope.decode_forward, b"\x08\x00", "ForwardRequest"),
        (envelope.decode_reply, b"\x08\x00", "ReplyRequest"),
        (envelope.decode_success, b"\x0a\x00", "response with a success flag"),
        (envelope.read_request, b"\x08\x00", "GatewayExecutorRequestData"),
        (envelope.read_ack, b"\x08\x00", "WorkerRequestAckData"),
        (envelope.read_extend_lease, b"\x08\x00", "WorkerRequestExtendLeaseData"),
        (envelope.read_response, b"\x2a\x00", "SDKResponse"),
        (envelope.read_response, b"\x3a\x00", "SDKResponse"),
    ],
)
def test_a_malformed_message_is_named(read: Reader, data: bytes, name: str) -> None:
    with pytest.raises(MalformedMessage, match=f"^not a {name}: field . has wire type ."):
        read(data)


def test_text_that_utf8_cannot_express_is_not_written() -> None:
    with pytest.raises(UnicodeEncodeError):
        envelope.encode_reply_ack("\ud800")


def test_megabytes_of_small_fields_are_refused_at_once() -> None:
    data = b"\x18\x00" * 4 * 1024 * 1024
    began = time.process_time()
    with pytest.raises(MalformedMessage, match=r"it has more than 1000 fields$"):
        envelope.decode_message(data)
    assert time.process_time() - began < 0.5


def test_as_many_fields_as_there_may_be_are_read() -> None:
    assert envelope.read_ack(b"\x58\x00" * 999 + field(1, b"r")).request_id == "r"
