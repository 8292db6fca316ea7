"""Reading generated messages from bytes that others wrote."""

import time
from datetime import UTC, datetime

import betterproto
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.errors import MalformedMessage
from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb

MESSAGE_TYPES: list[type[betterproto.Message]] = [
    value
    for value in vars(pb).values()
    if isinstance(value, type)
    and issubclass(value, betterproto.Message)
    and value is not betterproto.Message
]

HELLO = pb.WorkerConnectRequestData(
    connection_id="01HZZZZZZZZZZZZZZZZZZZZZZZ",
    instance_id="worker-1",
    auth_data=pb.AuthData(session_token="token", sync_token="key"),
    capabilities=b"{}",
    apps=[
        pb.AppConfiguration(app_name="a", app_version="1", functions=b"[]"),
        pb.AppConfiguration(app_name="b", functions=b"[]"),
    ],
    system_attributes=pb.SystemAttributes(cpu_cores=2, mem_bytes=2**40, os="linux"),
    platform="",
    started_at=datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    max_worker_concurrency=10,
)


def embedded(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + betterproto.encode_varint(len(data)) + data


def started_at(seconds: int, nanoseconds: int) -> bytes:
    time = b"\x08" + betterproto.encode_varint(seconds)
    return embedded(13, time + b"\x10" + betterproto.encode_varint(nanoseconds))


def test_what_was_written_is_read() -> None:
    assert decode(pb.WorkerConnectRequestData, bytes(HELLO)) == HELLO


def test_empty_bytes_are_a_message_of_defaults() -> None:
    assert decode(pb.WorkerConnectRequestData, b"") == pb.WorkerConnectRequestData()


def test_unknown_fields_are_kept() -> None:
    data = bytes(pb.WorkerReplyAckData(request_id="r")) + embedded(9, b"new")
    assert bytes(decode(pb.WorkerReplyAckData, data)) == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x08\x01", id="a number where text should be"),
        pytest.param(b"\x0d\x01\x01\x01\x01", id="four bytes where text should be"),
        pytest.param(b"\x2a\x02\x08\x01", id="a wrong type within an embedded message"),
        pytest.param(b"\x30" + b"\xff" * 10 + b"\x01", id="a varint of eleven bytes"),
        pytest.param(b"\x0a\x02\xff\xfe", id="text that is not UTF-8"),
        pytest.param(b"\x0a\x05ab", id="a text that is cut off"),
        pytest.param(b"\x0a", id="a tag without a value"),
        pytest.param(b"\x0a" + b"\xff" * 9 + b"\x01", id="a length of 2^64 - 1"),
        pytest.param(b"\x0a\xff\xff\xff\xff\x07", id="a length of 2^31 - 1"),
        pytest.param(b"\x02\x00", id="field number 0"),
        pytest.param(b"\x1b\x1c", id="a group"),
        pytest.param(b"\x1b" * 50_000 + b"\x1c" * 50_000, id="deeply nested groups"),
        pytest.param(b"\x07\x00", id="wire type 7"),
        pytest.param(started_at(2**62, 0), id="a time far in the future"),
        pytest.param(started_at(-(2**63), 0), id="a time far in the past"),
        pytest.param(started_at(253_402_300_800, 0), id="the year 10000"),
        pytest.param(started_at(-62_135_596_801, 0), id="the year 0"),
        pytest.param(started_at(0, -1), id="negative nanoseconds"),
        pytest.param(started_at(0, 2**31 - 1), id="too many nanoseconds"),
    ],
)
def test_malformed_bytes_are_refused_by_the_name_of_the_message(data: bytes) -> None:
    with pytest.raises(MalformedMessage, match=r"^not a WorkerConnectRequestData: ."):
        decode(pb.WorkerConnectRequestData, data)


@given(st.sampled_from(MESSAGE_TYPES), st.binary(max_size=200))
def test_random_bytes_are_a_message_or_malformed(
    message_type: type[betterproto.Message], data: bytes
) -> None:
    try:
        message = decode(message_type, data)
    except MalformedMessage:
        return
    assert isinstance(message, message_type)


@given(st.sampled_from(MESSAGE_TYPES), st.data())
def test_a_damaged_message_is_a_message_or_malformed(
    message_type: type[betterproto.Message], draw: st.DataObject
) -> None:
    data = bytearray(bytes(HELLO))
    for position in draw.draw(st.lists(st.integers(0, len(data) - 1), max_size=4)):
        data[position] = draw.draw(st.integers(0, 255))
    try:
        message = decode(message_type, bytes(data[: draw.draw(st.integers(0, len(data)))]))
    except MalformedMessage:
        return
    bytes(message)


@pytest.mark.parametrize(
    ("message_type", "field"),
    [
        pytest.param(pb.StartRequest, b"\x0a\x00", id="excluded gateways"),
        pytest.param(pb.WorkerStatusData, b"\x0a\x00", id="requests in flight"),
        pytest.param(pb.AckMessage, b"\x12\x00", id="times"),
        pytest.param(pb.SdkResponse, b"\x98\x06\x00", id="unknown fields"),
    ],
)
def test_megabytes_of_small_fields_are_refused_at_once(
    message_type: type[betterproto.Message], field: bytes
) -> None:
    data = field * (8 * 1024 * 1024 // len(field))
    began = time.process_time()
    with pytest.raises(MalformedMessage, match=r"it has more than 1000 fields$"):
        decode(message_type, data)
    assert time.process_time() - began < 0.5


def test_a_reader_may_expect_more_fields() -> None:
    ids = [str(number) for number in range(1001)]
    data = bytes(pb.StartRequest(exclude_gateways=ids))
    assert decode(pb.StartRequest, data, most_fields=1001).exclude_gateways == ids
