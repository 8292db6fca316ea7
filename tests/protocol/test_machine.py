"""The connection machine: what each message and event means in each phase."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from connect.errors import Syscode
from connect.protocol import machine as m
from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from tests.protocol.machines import (
    CONNECTION_ID,
    DRAINED,
    LEASE_ID,
    READY_DATA,
    Kind,
    close_of,
    hello,
    joined,
    sent_kinds,
    without_phases,
)


def test_an_opened_socket_is_greeted() -> None:
    effects = m.ConnectionMachine().opened(gateway_draining=False)
    assert sent_kinds(effects) == [Kind.GATEWAY_HELLO]


def test_a_draining_gateway_closes_a_new_socket_instead_of_greeting_it() -> None:
    effects = m.ConnectionMachine().opened(gateway_draining=True)
    assert effects == (m.Close(DRAINED),)


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        pytest.param(
            encode_message(Kind.WORKER_HEARTBEAT),
            1008,
            Syscode.HELLO_INVALID_MESSAGE,
            id="another kind first",
        ),
        pytest.param(b"\xff\xff\xff", 1007, "failed to unmarshal Protobuf", id="no ConnectMessage"),
        pytest.param(
            encode_message(Kind.WORKER_CONNECT, b"\xff\xff"),
            1008,
            Syscode.HELLO_INVALID_PAYLOAD,
            id="no WorkerConnectRequestData",
        ),
        pytest.param(
            hello(connection_id="not-a-ulid"), 1008, Syscode.HELLO_INVALID_PAYLOAD, id="no ULID"
        ),
        pytest.param(
            hello(instance_id=""), 1008, Syscode.HELLO_INVALID_PAYLOAD, id="no instance id"
        ),
        pytest.param(hello(apps=0), 1008, Syscode.HELLO_INVALID_PAYLOAD, id="no apps"),
    ],
)
def test_a_bad_first_message_closes_with_its_syscode(
    message: bytes, code: int, reason: str
) -> None:
    machine = m.ConnectionMachine()
    machine.opened(gateway_draining=False)
    close = close_of(machine.receive(message))
    assert (close.code, close.detail) == (code, reason)


def test_a_handshake_that_takes_too_long_is_ended() -> None:
    machine = m.ConnectionMachine()
    close = close_of(machine.handshake_timed_out())
    assert (close.code, close.detail) == (1008, Syscode.HELLO_TIMEOUT)
    assert close.reason is m.DisconnectReason.HANDSHAKE_TIMEOUT


def test_the_handshake_deadline_means_nothing_once_hello_has_come() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    assert machine.handshake_timed_out() == ()


def test_a_worker_that_cannot_be_joined_in_time_is_closed_as_our_own_failure() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    close = close_of(machine.join_timed_out())
    assert (close.code, close.reason) == (1011, m.DisconnectReason.HANDSHAKE_TIMEOUT)


def test_the_deadline_for_joining_means_nothing_once_the_worker_has_joined() -> None:
    assert joined().join_timed_out() == ()


def test_a_hello_asks_to_join() -> None:
    machine = m.ConnectionMachine()
    [effect] = without_phases(machine.receive(hello()))
    assert isinstance(effect, m.Join)
    assert effect.hello.connection_id == CONNECTION_ID


def test_messages_while_joining_are_ignored() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    [effect] = machine.receive(encode_message(Kind.WORKER_HEARTBEAT))
    assert isinstance(effect, m.MessageIgnored)


def test_a_joined_worker_is_ready_at_once() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    effects = machine.joined(READY_DATA)
    assert sent_kinds(effects) == [Kind.GATEWAY_CONNECTION_READY]
    assert machine.status == pb.ConnectionStatus.READY
    assert machine.routable


def test_a_worker_with_manual_readiness_is_ready_only_when_it_says_so() -> None:
    machine = joined(manual=True)
    assert machine.status == pb.ConnectionStatus.CONNECTED
    assert not machine.routable
    effects = machine.receive(encode_message(Kind.WORKER_READY))
    assert without_phases(effects) == [m.StoreStatus()]
    assert machine.routable


def test_ready_from_a_worker_that_is_ready_changes_nothing() -> None:
    [effect] = joined().receive(encode_message(Kind.WORKER_READY))
    assert isinstance(effect, m.MessageIgnored)


@pytest.mark.parametrize("manual", [False, True])
def test_ready_while_the_gateway_drains_closes(manual: bool) -> None:
    machine = joined(manual=manual)
    machine.gateway_draining()
    assert close_of(machine.receive(encode_message(Kind.WORKER_READY))) == DRAINED


def test_joining_after_a_close_changes_nothing() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    machine.failed()
    assert machine.joined(READY_DATA) == ()
    assert machine.join_refused("late") == []


def test_a_refused_sync_is_told_before_the_close() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    told = pb.SystemError(code="connect_invalid_function_config", message="why")
    effects = machine.join_refused(told.code, tell=told)
    assert sent_kinds(effects) == [Kind.SYNC_FAILED]
    assert close_of(effects[1:]).code == 1008


def test_a_join_that_fails_on_our_side_closes_with_1011() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    close = close_of(machine.join_failed(m.DisconnectReason.STORE_UNAVAILABLE))
    assert (close.code, close.detail) == (1011, "connect_internal_error")
    assert close.reason is m.DisconnectReason.STORE_UNAVAILABLE


def test_a_heartbeat_is_to_be_stored_and_answered() -> None:
    machine = joined()
    assert machine.receive(encode_message(Kind.WORKER_HEARTBEAT)) == (m.HeartbeatReceived(),)


def test_a_heartbeat_never_turns_draining_back_to_ready() -> None:
    machine = joined()
    machine.receive(encode_message(Kind.WORKER_PAUSE))
    machine.receive(encode_message(Kind.WORKER_HEARTBEAT))
    machine.receive(encode_message(Kind.WORKER_READY))
    assert machine.status == pb.ConnectionStatus.DRAINING


def test_a_pause_stops_routing_before_it_is_stored() -> None:
    machine = joined()
    effects = machine.receive(encode_message(Kind.WORKER_PAUSE))
    assert without_phases(effects) == [m.RouteStopped(), m.StoreStatus()]
    assert not machine.routable


def test_an_ack_names_its_request() -> None:
    ack = bytes(pb.WorkerRequestAckData(request_id="r1"))
    assert joined().receive(encode_message(Kind.WORKER_REQUEST_ACK, ack)) == (m.AckReceived("r1"),)


def test_a_reply_is_passed_on_with_its_bytes() -> None:
    reply = bytes(pb.SdkResponse(request_id="r1", body=b"{}"))
    [effect] = joined().receive(encode_message(Kind.WORKER_REPLY, reply))
    assert isinstance(effect, m.ReplyReceived)
    assert (effect.fields.request_id, effect.response) == ("r1", reply)


def test_a_lease_extension_carries_its_lease() -> None:
    extend = bytes(pb.WorkerRequestExtendLeaseData(request_id="r1", lease_id=LEASE_ID))
    [effect] = joined().receive(encode_message(Kind.WORKER_REQUEST_EXTEND_LEASE, extend))
    assert isinstance(effect, m.ExtendLease)
    assert effect.fields.lease_id == LEASE_ID


@pytest.mark.parametrize("draining", ["worker", "gateway"])
@pytest.mark.parametrize(
    ("kind", "payload", "effect"),
    [
        (Kind.WORKER_HEARTBEAT, b"", m.HeartbeatReceived),
        (Kind.WORKER_REQUEST_ACK, b"", m.AckReceived),
        (Kind.WORKER_REPLY, b"", m.ReplyReceived),
        (
            Kind.WORKER_REQUEST_EXTEND_LEASE,
            bytes(pb.WorkerRequestExtendLeaseData(lease_id=LEASE_ID)),
            m.ExtendLease,
        ),
    ],
)
def test_work_in_flight_is_served_while_draining(
    draining: str, kind: int, payload: bytes, effect: type
) -> None:
    machine = joined()
    if draining == "worker":
        machine.receive(encode_message(Kind.WORKER_PAUSE))
    else:
        machine.gateway_draining()
    [found] = machine.receive(encode_message(kind, payload))
    assert isinstance(found, effect)


@pytest.mark.parametrize(
    ("kind", "payload", "code", "reason"),
    [
        (Kind.WORKER_REQUEST_ACK, b"\xff", 1008, Syscode.ACK_INVALID_PAYLOAD),
        (Kind.WORKER_REQUEST_EXTEND_LEASE, b"\xff", 1008, Syscode.EXTEND_LEASE_INVALID_PAYLOAD),
        (
            Kind.WORKER_REQUEST_EXTEND_LEASE,
            bytes(pb.WorkerRequestExtendLeaseData(lease_id="x")),
            1008,
            Syscode.EXTEND_LEASE_INVALID_PAYLOAD,
        ),
        (Kind.WORKER_REPLY, b"\xff", 1011, Syscode.INTERNAL_ERROR),
    ],
)
def test_an_unreadable_payload_closes_with_its_syscode(
    kind: int, payload: bytes, code: int, reason: str
) -> None:
    close = close_of(joined().receive(encode_message(kind, payload)))
    assert (close.code, close.detail) == (code, reason)
    assert close.reason is m.DisconnectReason.INVALID_MESSAGE


def test_bytes_that_are_no_message_close_an_open_connection() -> None:
    close = close_of(joined().receive(b"\xff"))
    assert (close.code, close.detail) == (1007, "failed to unmarshal Protobuf")


def test_an_unknown_kind_is_ignored() -> None:
    assert joined().receive(encode_message(99, b"x")) == (
        m.MessageIgnored(99, "unknown or unexpected kind"),
    )


def test_a_status_message_is_passed_on() -> None:
    status = pb.WorkerStatusData(in_flight_request_ids=["r1"])
    [effect] = joined().receive(encode_message(Kind.WORKER_STATUS, bytes(status)))
    assert isinstance(effect, m.StatusReceived)
    assert effect.status.in_flight_request_ids == ["r1"]


def test_an_unreadable_status_message_is_ignored() -> None:
    [effect] = joined().receive(encode_message(Kind.WORKER_STATUS, b"\xff"))
    assert isinstance(effect, m.MessageIgnored)


def test_a_status_names_thousands_of_requests() -> None:
    status = pb.WorkerStatusData(in_flight_request_ids=["r"] * 10_000)
    [effect] = joined().receive(encode_message(Kind.WORKER_STATUS, bytes(status)))
    assert effect == m.StatusReceived(status)


def test_a_status_that_names_any_number_of_requests_is_ignored() -> None:
    status = encode_message(Kind.WORKER_STATUS, b"\x0a\x00" * 10_001)
    [effect] = joined().receive(status)
    assert isinstance(effect, m.MessageIgnored)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_are_survived_in_every_phase(data: bytes) -> None:
    opened = m.ConnectionMachine()
    draining = joined()
    draining.gateway_draining()
    for machine in (opened, joined(), joined(manual=True), draining):
        machine.receive(data)


class AnyOrder(RuleBasedStateMachine):
    """Events in any order: phases only grow, and a connection is closed once."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = m.ConnectionMachine()
        self.highest = self.machine.phase
        self.closes = 0

    def note(self, effects: m.Effects) -> None:
        self.closes += sum(isinstance(effect, m.Close) for effect in effects)

    @rule(
        message=st.sampled_from(
            [hello(), hello(manual=True), b"\xff"]
            + [encode_message(kind) for kind in range(17)]
            + [encode_message(kind, b"\xff") for kind in range(17)]
        )
    )
    def message(self, message: bytes) -> None:
        self.note(self.machine.receive(message))

    @rule()
    def join_is_refused(self) -> None:
        self.note(self.machine.join_refused("no"))

    @rule()
    def join_fails(self) -> None:
        self.note(self.machine.join_failed(m.DisconnectReason.INTERNAL_ERROR))

    @rule(
        event=st.sampled_from(
            [
                "handshake_timed_out",
                "gateway_draining",
                "hand_over",
                "drain_over",
                "join_timed_out",
                "heartbeats_missed",
                "write_stalled",
                "reader_stuck",
                "replaced",
                "failed",
                "not_a_message",
            ]
        )
    )
    def event(self, event: str) -> None:
        self.note(getattr(self.machine, event)())

    @rule()
    def joins(self) -> None:
        self.note(self.machine.joined(READY_DATA))

    @rule(failed=st.booleans(), outage=st.floats(0, 120))
    def store_answers(self, failed: bool, outage: float) -> None:
        self.note(self.machine.store_answered(failed=failed, outage=outage, tolerated=60))

    @rule()
    def socket_closes(self) -> None:
        self.machine.socket_closed(None, None)

    @invariant()
    def phases_only_grow(self) -> None:
        assert self.machine.phase >= self.highest
        self.highest = self.machine.phase

    @invariant()
    def at_most_one_close(self) -> None:
        assert self.closes <= 1

    @invariant()
    def only_ready_is_routable(self) -> None:
        assert self.machine.routable == (self.machine.phase is m.Phase.READY)


TestAnyOrder = AnyOrder.TestCase
