"""The connection machine: what each message and event means in each phase."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from connect.errors import Syscode
from connect.protocol import machine as m
from connect.protocol.envelope import decode_message, encode_message
from connect.protocol.messages.connect import v1 as pb

Kind = pb.GatewayMessageType
CONNECTION_ID = "01JD8ZK3V4P5Q6R7S8T9V0W1X2"
LEASE_ID = "01JD8ZK3V4P5Q6R7S8T9V0W1X3"


def hello(
    *,
    connection_id: str = CONNECTION_ID,
    instance_id: str = "worker-1",
    apps: int = 1,
    manual: bool = False,
) -> bytes:
    return encode_message(
        Kind.WORKER_CONNECT,
        bytes(
            pb.WorkerConnectRequestData(
                connection_id=connection_id,
                instance_id=instance_id,
                auth_data=pb.AuthData(session_token="t"),
                apps=[pb.AppConfiguration(app_name=f"app-{i}") for i in range(apps)],
                worker_manual_readiness_ack=manual,
            )
        ),
    )


READY_DATA = pb.GatewayConnectionReadyData(heartbeat_interval="10s", extend_lease_interval="5s")


def joined(*, manual: bool = False) -> m.ConnectionMachine:
    machine = m.ConnectionMachine()
    machine.opened(gateway_draining=False)
    machine.receive(hello(manual=manual))
    machine.joined(READY_DATA)
    return machine


def close_of(effects: m.Effects) -> m.Close:
    [close] = [effect for effect in effects if isinstance(effect, m.Close)]
    return close


def sent_kinds(effects: m.Effects) -> list[int]:
    return [decode_message(e.message)[0] for e in effects if isinstance(e, m.Send)]


def test_an_opened_socket_is_greeted() -> None:
    effects = m.ConnectionMachine().opened(gateway_draining=False)
    assert sent_kinds(effects) == [Kind.GATEWAY_HELLO]


def test_a_draining_gateway_closes_a_new_socket_instead_of_greeting_it() -> None:
    effects = m.ConnectionMachine().opened(gateway_draining=True)
    assert effects == (m.Close(1001, "connect_gateway_closing", "GATEWAY_DRAINING"),)


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
    assert (close.code, close.reason) == (code, reason)


def test_a_handshake_that_takes_too_long_is_ended() -> None:
    machine = m.ConnectionMachine()
    close = close_of(machine.handshake_timed_out())
    assert (close.code, close.reason) == (1008, Syscode.HELLO_TIMEOUT)


def test_the_handshake_deadline_means_nothing_once_hello_has_come() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    assert machine.handshake_timed_out() == ()


def test_a_hello_asks_to_join() -> None:
    machine = m.ConnectionMachine()
    [effect] = machine.receive(hello())
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
    assert machine.receive(encode_message(Kind.WORKER_READY)) == (m.StoreStatus(),)
    assert machine.routable


def test_ready_from_a_worker_that_is_ready_changes_nothing() -> None:
    [effect] = joined().receive(encode_message(Kind.WORKER_READY))
    assert isinstance(effect, m.MessageIgnored)


def test_ready_while_the_gateway_drains_closes() -> None:
    machine = joined()
    machine.gateway_draining()
    close = close_of(machine.receive(encode_message(Kind.WORKER_READY)))
    assert (close.code, close.reason) == (1001, Syscode.GATEWAY_CLOSING)


def test_joining_after_a_close_changes_nothing() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    machine.failed()
    assert machine.joined(READY_DATA) == ()
    assert machine.join_failed("late") == []


def test_a_refused_sync_is_told_before_the_close() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    told = pb.SystemError(code="connect_invalid_function_config", message="why")
    effects = machine.join_failed(told.code, tell=told)
    assert sent_kinds(effects) == [Kind.SYNC_FAILED]
    assert (close_of(effects).code, effects.index(close_of(effects))) == (1008, 1)


def test_a_join_that_fails_on_our_side_closes_with_1011() -> None:
    machine = m.ConnectionMachine()
    machine.receive(hello())
    close = close_of(machine.join_failed(Syscode.INTERNAL_ERROR, internal=True))
    assert (close.code, close.reason) == (1011, "connect_internal_error")


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
    assert machine.receive(encode_message(Kind.WORKER_PAUSE)) == (
        m.RouteStopped(),
        m.StoreStatus(),
    )
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
    assert (close.code, close.reason) == (code, reason)


def test_bytes_that_are_no_message_close_an_open_connection() -> None:
    close = close_of(joined().receive(b"\xff"))
    assert (close.code, close.reason) == (1007, "failed to unmarshal Protobuf")


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


def test_a_gateway_drain_reaches_memory_before_the_store() -> None:
    machine = joined()
    effects = machine.gateway_draining()
    assert effects[0] == m.RouteStopped()
    assert sent_kinds(effects) == [Kind.GATEWAY_CLOSING]
    assert m.StoreStatus() not in effects
    assert machine.status == pb.ConnectionStatus.READY
    assert machine.awaits_drain_write
    assert not machine.routable


def test_a_drain_that_is_over_stores_and_closes() -> None:
    machine = joined()
    machine.gateway_draining()
    effects = machine.drain_over()
    assert effects[0] == m.StoreStatus()
    assert close_of(effects) == m.Close(1001, "connect_gateway_closing", "GATEWAY_DRAINING")
    assert machine.drain_over() == ()


def test_a_pause_during_a_gateway_drain_is_stored_at_once() -> None:
    machine = joined()
    machine.gateway_draining()
    assert machine.receive(encode_message(Kind.WORKER_PAUSE)) == (m.StoreStatus(),)
    assert machine.status == pb.ConnectionStatus.DRAINING


def test_a_paused_worker_is_told_that_the_gateway_closes() -> None:
    machine = joined()
    machine.receive(encode_message(Kind.WORKER_PAUSE))
    assert sent_kinds(machine.gateway_draining()) == [Kind.GATEWAY_CLOSING]


def test_a_worker_that_is_not_ready_yet_is_told_that_the_gateway_closes() -> None:
    machine = joined(manual=True)
    assert sent_kinds(machine.gateway_draining()) == [Kind.GATEWAY_CLOSING]
    assert machine.status == pb.ConnectionStatus.DRAINING


@pytest.mark.parametrize("joining", [False, True])
def test_a_gateway_drain_ends_handshakes(joining: bool) -> None:
    machine = m.ConnectionMachine()
    if joining:
        machine.receive(hello())
    assert close_of(machine.gateway_draining()).code == 1001


def test_a_drain_of_a_closed_connection_does_nothing() -> None:
    machine = joined()
    machine.socket_closed(1000, "WORKER_SHUTDOWN")
    assert machine.gateway_draining() == ()


def test_two_failed_store_writes_are_survived_however_long_they_take() -> None:
    machine = joined()
    assert machine.store_answered(failed=True, outage=1000, tolerated=60) == ()
    assert machine.store_answered(failed=True, outage=2000, tolerated=60) == ()


def test_the_third_failed_store_write_in_a_row_closes_after_a_long_outage() -> None:
    machine = joined()
    for _ in range(2):
        machine.store_answered(failed=True, outage=61, tolerated=60)
    assert close_of(machine.store_answered(failed=True, outage=61, tolerated=60)).code == 1011


def test_any_number_of_failed_store_writes_is_survived_in_a_short_outage() -> None:
    machine = joined()
    for _ in range(20):
        assert machine.store_answered(failed=True, outage=60, tolerated=60) == ()


def test_a_successful_store_write_forgives_the_failed_ones() -> None:
    machine = joined()
    for _ in range(5):
        machine.store_answered(failed=True, outage=61, tolerated=60)
        assert machine.store_answered(failed=False) == ()


def test_missed_heartbeats_are_the_recorded_reason() -> None:
    close = close_of(joined().heartbeats_missed())
    assert close.disconnect == "CONSECUTIVE_HEARTBEATS_MISSED"


def test_a_close_of_a_ready_connection_stops_routing_first() -> None:
    assert joined().write_stalled()[0] == m.RouteStopped()


@pytest.mark.parametrize(
    ("code", "reason", "recorded"),
    [
        (1000, "WORKER_SHUTDOWN", "WORKER_SHUTDOWN"),
        (1000, "my own words", "my own words"),
        (1000, "", "UNEXPECTED"),
        (None, None, "UNEXPECTED"),
        (1009, "Exceeded maximum message size", "MESSAGE_TOO_LARGE"),
    ],
)
def test_the_reason_of_a_closed_socket_is_recorded(
    code: int | None, reason: str | None, recorded: str
) -> None:
    machine = joined()
    assert machine.socket_closed(code, reason) == recorded
    assert machine.status == pb.ConnectionStatus.DISCONNECTED


def test_a_reply_is_kept_even_while_the_connection_is_being_closed() -> None:
    machine = joined()
    machine.heartbeats_missed()
    assert machine.status == pb.ConnectionStatus.DISCONNECTING
    reply = bytes(pb.SdkResponse(request_id="r1"))
    [effect] = machine.receive(encode_message(Kind.WORKER_REPLY, reply))
    assert isinstance(effect, m.ReplyReceived)


@pytest.mark.parametrize(
    "late", [b"\xff", encode_message(Kind.WORKER_HEARTBEAT), encode_message(6, b"\xff")]
)
def test_nothing_else_is_heard_while_the_connection_is_being_closed(late: bytes) -> None:
    machine = joined()
    machine.heartbeats_missed()
    assert machine.receive(late) == ()


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

    @rule(internal=st.booleans())
    def join_fails(self, internal: bool) -> None:
        self.note(self.machine.join_failed("no", internal=internal))

    @rule(
        event=st.sampled_from(
            [
                "handshake_timed_out",
                "gateway_draining",
                "drain_over",
                "heartbeats_missed",
                "write_stalled",
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
