"""The connection machine on the way to its end: drain, failures, reasons, phases."""

import pytest

from connect.protocol import machine as m
from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb
from tests.protocol.machines import (
    DRAINED,
    READY_DATA,
    Kind,
    close_of,
    hello,
    joined,
    phase_of,
    sent_kinds,
)


def test_a_gateway_drain_reaches_memory_before_the_store() -> None:
    machine = joined()
    effects = machine.gateway_draining()
    assert sent_kinds(effects) == [Kind.GATEWAY_CLOSING]
    assert m.StoreStatus() not in effects
    assert machine.status == pb.ConnectionStatus.READY
    assert machine.awaits_drain_write
    assert not machine.routable


def test_a_connection_that_is_handed_over_is_stored_as_draining_and_goes_on() -> None:
    machine = joined()
    machine.gateway_draining()
    assert machine.hand_over() == (m.StoreStatus(),)
    assert machine.status == pb.ConnectionStatus.DRAINING
    assert machine.phase is m.Phase.DRAINING


@pytest.mark.parametrize("phase", ["open", "closing"])
def test_only_a_draining_connection_is_handed_over(phase: str) -> None:
    machine = joined()
    if phase == "closing":
        machine.failed()
    before = machine.status
    assert machine.hand_over() == ()
    assert machine.status == before


def test_a_drain_that_is_over_closes_once() -> None:
    machine = joined()
    machine.gateway_draining()
    assert close_of(machine.drain_over()) == DRAINED
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
    assert machine.status == pb.ConnectionStatus.CONNECTED
    machine.hand_over()
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
    assert close.reason is m.DisconnectReason.CONSECUTIVE_HEARTBEATS_MISSED


def test_a_close_of_a_ready_connection_stops_routing() -> None:
    machine = joined()
    machine.write_stalled()
    assert not machine.routable


@pytest.mark.parametrize(
    ("event", "code", "reason"),
    [
        ("write_stalled", 1001, m.DisconnectReason.WRITE_STALLED),
        ("reader_stuck", 1011, m.DisconnectReason.READER_STUCK),
        ("replaced", 1008, m.DisconnectReason.REPLACED),
        ("failed", 1011, m.DisconnectReason.INTERNAL_ERROR),
    ],
)
def test_each_cause_of_an_end_has_its_reason(
    event: str, code: int, reason: m.DisconnectReason
) -> None:
    close = close_of(getattr(joined(), event)())
    assert (close.code, close.reason, close.by) == (code, reason, m.Side.GATEWAY)


@pytest.mark.parametrize(
    ("code", "reason", "recorded", "by"),
    [
        (1000, "WORKER_SHUTDOWN", "WORKER_SHUTDOWN", "worker"),
        (1000, "my own words", "WORKER_CLOSED", "worker"),
        (1000, "READER_STUCK", "WORKER_CLOSED", "worker"),
        (1000, "", "UNEXPECTED", "worker"),
        (None, None, "UNEXPECTED", "network"),
        (1006, "connection lost", "UNEXPECTED", "network"),
        (1002, "bad opcode", "INVALID_MESSAGE", "gateway"),
        (1009, "Exceeded maximum message size", "MESSAGE_TOO_LARGE", "gateway"),
    ],
)
def test_the_reason_of_a_closed_socket_is_recorded(
    code: int | None, reason: str | None, recorded: str, by: str
) -> None:
    machine = joined()
    end = machine.socket_closed(code, reason)
    assert (end.reason, end.by, end.detail) == (recorded, by, reason or "")
    assert machine.status == pb.ConnectionStatus.DISCONNECTED


@pytest.mark.parametrize("code", [1000, 1001, 1005])
@pytest.mark.parametrize("reason", ["", None])
def test_a_worker_that_was_told_to_leave_need_not_say_why_it_leaves(
    code: int, reason: str | None
) -> None:
    machine = joined()
    machine.gateway_draining()
    assert machine.socket_closed(code, reason) == m.Disconnect(
        m.DisconnectReason.GATEWAY_DRAINING, "", m.Side.WORKER, code
    )


@pytest.mark.parametrize(
    ("code", "reason", "recorded", "by"),
    [
        (1000, "WORKER_SHUTDOWN", "WORKER_SHUTDOWN", "worker"),
        (1000, "my own words", "WORKER_CLOSED", "worker"),
        (1011, "", "UNEXPECTED", "worker"),
        (1002, "", "INVALID_MESSAGE", "gateway"),
        (1006, "", "UNEXPECTED", "network"),
        (None, None, "UNEXPECTED", "network"),
    ],
)
def test_what_else_ends_a_connection_in_a_drain_is_recorded_as_it_is(
    code: int | None, reason: str | None, recorded: str, by: str
) -> None:
    machine = joined()
    machine.gateway_draining()
    end = machine.socket_closed(code, reason)
    assert (end.reason, end.by) == (recorded, by)


def test_a_worker_that_pauses_by_itself_is_not_taken_for_sent_away() -> None:
    machine = joined()
    machine.receive(encode_message(Kind.WORKER_PAUSE))
    assert machine.socket_closed(1000, "").reason is m.DisconnectReason.UNEXPECTED


def test_each_phase_of_an_open_connection_comes_with_its_reason() -> None:
    machine = m.ConnectionMachine()
    reasons = [
        phase_of(machine.receive(hello(manual=True))),
        phase_of(machine.joined(READY_DATA)),
        phase_of(machine.receive(encode_message(Kind.WORKER_READY))),
        phase_of(machine.receive(encode_message(Kind.WORKER_PAUSE))),
    ]
    assert reasons == [
        (m.Phase.JOINING, m.PhaseReason.WORKER_CONNECT),
        (m.Phase.CONNECTED, m.PhaseReason.JOINED),
        (m.Phase.READY, m.PhaseReason.WORKER_READY),
        (m.Phase.DRAINING, m.PhaseReason.WORKER_PAUSE),
    ]


def test_a_drain_of_the_gateway_is_the_reason_of_its_phase() -> None:
    assert phase_of(joined().gateway_draining()) == (
        m.Phase.DRAINING,
        m.PhaseReason.GATEWAY_DRAINING,
    )


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


def test_a_limit_is_told_before_the_worker_is_closed_to_come_again() -> None:
    machine = m.ConnectionMachine()
    machine.opened(gateway_draining=False)
    machine.receive(hello())
    tell = pb.SystemError(code="connect_gateway_full", message="full")
    effects = machine.limit_reached("connect_gateway_full", tell=tell)
    assert sent_kinds(effects) == [Kind.SYNC_FAILED]
    assert close_of(effects) == m.Disconnect(
        m.DisconnectReason.LIMIT_REACHED, "connect_gateway_full", m.Side.GATEWAY, 1013
    )


def test_a_limit_is_not_told_to_a_connection_that_is_closing() -> None:
    machine = m.ConnectionMachine()
    machine.opened(gateway_draining=False)
    machine.receive(hello())
    machine.gateway_draining()
    assert machine.limit_reached("connect_gateway_full", tell=pb.SystemError()) == ()
