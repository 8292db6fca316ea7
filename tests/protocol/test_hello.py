"""Reading WORKER_CONNECT: what it may cost, and what proto3 says of fields that come twice."""

import sys
import time
from dataclasses import replace

import pytest

from connect.errors import MalformedMessage, Syscode
from connect.protocol import machine as m
from connect.protocol.envelope import encode_message
from connect.protocol.hello import LONGEST_TEXT, LONGEST_TOKEN, read_hello
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.wire import content_field
from tests.protocol.machines import CONNECTION_ID, close_of
from tests.protocol.test_codec import HELLO

MEBIBYTE = 1024 * 1024
SECONDS = 0.5  # some hundred times what it takes at most


def app(name: str, observations: bytes = b"") -> bytes:
    configuration = pb.AppConfiguration(app_name=name, functions=b"[]")
    return bytes(configuration) + (content_field(5, observations) if observations else b"")


def test_a_hello_is_read_as_it_was_written() -> None:
    assert read_hello(bytes(HELLO), 10) == HELLO


def test_embedded_messages_that_come_twice_are_merged() -> None:
    hello = read_hello(
        content_field(3, content_field(1, b"old")) + content_field(3, content_field(2, b"key"))
        + content_field(3, content_field(1, b"new")),
        10,
    )  # fmt: skip
    assert hello.auth_data == pb.AuthData(session_token="new", sync_token="key")


def test_apps_stay_in_their_order() -> None:
    data = b"".join(content_field(5, app(name)) for name in ("b", "a", "c"))
    assert [each.app_name for each in read_hello(data, 10).apps] == ["b", "a", "c"]


def test_of_too_many_apps_one_is_read_beyond_those_allowed() -> None:
    assert len(read_hello(content_field(5, app("a")) * 500, 3).apps) == 4


def test_feature_observations_are_kept_as_they_came() -> None:
    observations = b"\x08\x01\x12\x03abc" * 2000
    [read] = read_hello(content_field(5, app("a", observations)), 10).apps
    assert bytes(read.feature_observations) == observations


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(b"\x2a\x00", id="apps"),
        pytest.param(b"\x3a\x00", id="system attributes"),
        pytest.param(b"\x1a\x00", id="auth data"),
        pytest.param(b"\x6a\x00", id="times"),
        pytest.param(b"\x0a\x00", id="texts"),
        pytest.param(b"\xf8\x07\x00", id="unknown fields"),
    ],
)
@pytest.mark.parametrize("within", [0, 3, 5, 7, 13])
def test_megabytes_of_small_fields_are_refused_at_once(field: bytes, within: int) -> None:
    data = field * (8 * MEBIBYTE // len(field))
    began = time.process_time()
    with pytest.raises(MalformedMessage, match=r"has more than .* fields"):
        read_hello(content_field(within, data) if within else data, 100)
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize(
    "repeated",
    [
        pytest.param(b"\x2a\x00" * 9_900, id="apps"),
        pytest.param(b"\x3a\x00" * 9_900, id="system attributes"),
        pytest.param(content_field(5, b"\x2a\x00" * 990) * 101, id="feature observations"),
    ],
)
def test_as_many_fields_as_there_may_be_are_read_quickly(repeated: bytes) -> None:
    began = time.process_time()
    read_hello(repeated, 100)
    # Where lines are traced, for coverage, a hundred thousand take several times as long.
    assert time.process_time() - began < SECONDS * (4 if sys.gettrace() else 1)


@pytest.mark.parametrize(
    ("hello", "named", "longest"),
    [
        (pb.WorkerConnectRequestData(instance_id="x" * 1025), "instance_id", LONGEST_TEXT),
        (pb.WorkerConnectRequestData(platform="x" * 1025), "platform", LONGEST_TEXT),
        (
            pb.WorkerConnectRequestData(apps=[pb.AppConfiguration(app_version="x" * 1025)]),
            r"apps\[0\].app_version",
            LONGEST_TEXT,
        ),
        (
            pb.WorkerConnectRequestData(auth_data=pb.AuthData(session_token="x" * 16385)),
            "auth_data.session_token",
            LONGEST_TOKEN,
        ),
    ],
)
def test_a_text_that_is_too_long_is_refused(
    hello: pb.WorkerConnectRequestData, named: str, longest: int
) -> None:
    length = longest + 1
    with pytest.raises(
        MalformedMessage, match=rf": {named} has {length} characters; {longest} may be$"
    ):
        read_hello(bytes(hello), 10)


def test_a_text_as_long_as_it_may_be_is_taken() -> None:
    hello = replace(HELLO, instance_id="x" * LONGEST_TEXT)
    assert read_hello(bytes(hello), 10) == hello


def test_the_machine_refuses_megabytes_of_empty_apps_at_once() -> None:
    machine = m.ConnectionMachine()
    machine.opened(gateway_draining=False)
    message = encode_message(pb.GatewayMessageType.WORKER_CONNECT, b"\x2a\x00" * 4 * MEBIBYTE)
    began = time.process_time()
    closed = close_of(machine.receive(message))
    assert time.process_time() - began < SECONDS
    assert closed.detail == Syscode.HELLO_INVALID_PAYLOAD


def test_the_machine_says_for_the_log_why_a_hello_cannot_be_read() -> None:
    machine = m.ConnectionMachine()
    machine.opened(gateway_draining=False)
    hello = pb.WorkerConnectRequestData(instance_id="x" * 1025)
    effects = machine.receive(encode_message(pb.GatewayMessageType.WORKER_CONNECT, bytes(hello)))
    [why] = [effect.why for effect in effects if isinstance(effect, m.MessageIgnored)]
    assert why == ("not a WorkerConnectRequestData: instance_id has 1025 characters; 1024 may be")


def test_the_machine_passes_on_apps_that_are_too_many_only_to_be_told_so() -> None:
    machine = m.ConnectionMachine(most_apps=2)
    machine.opened(gateway_draining=False)
    hello = pb.WorkerConnectRequestData(
        connection_id=CONNECTION_ID, instance_id="w", apps=[pb.AppConfiguration()] * 5
    )
    effects = machine.receive(encode_message(pb.GatewayMessageType.WORKER_CONNECT, bytes(hello)))
    [join] = [effect for effect in effects if isinstance(effect, m.Join)]
    assert len(join.hello.apps) == 3
