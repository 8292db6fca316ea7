"""The limits of a gateway on its connections, one by one."""

import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.errors import LimitReached, Syscode
from connect.settings import Settings
from tests.nursery.door import HERE, LOST, THERE, Door
from tests.nursery.rig import with_limits


async def test_a_full_gateway_refuses_until_somebody_leaves(mock_clock: MockClock) -> None:
    door = Door(connections=2)
    first, _ = door.enter(), door.enter(THERE)
    refusal = door.refusal()
    assert refusal.code == Syscode.GATEWAY_FULL
    assert refusal.message == "this gateway has 2 connections, its limit"
    first.leave()
    door.enter()


async def test_an_address_has_its_share_and_others_theirs(mock_clock: MockClock) -> None:
    door = Door(connections_per_address=2)
    first, _ = door.enter(), door.enter()
    refusal = door.refusal()
    assert refusal.code == Syscode.ADDRESS_FULL
    assert refusal.message.startswith("192.0.2.1 has 2 connections to this gateway")
    door.enter(THERE)
    first.leave()
    door.enter()


async def test_handshakes_in_progress_are_bounded_until_workers_have_joined(
    mock_clock: MockClock,
) -> None:
    door = Door(handshakes=1)
    place = door.enter()
    refusal = door.refusal()
    assert refusal.code == Syscode.TOO_MANY_HANDSHAKES
    assert refusal.message == "this gateway has 1 handshakes in progress, its limit"
    place.join()
    assert (door.admission.handshakes, door.admission.places) == (0, 1)
    door.enter()


async def test_handshakes_in_progress_from_one_address_are_bounded_and_others_come_in(
    mock_clock: MockClock,
) -> None:
    door = Door(handshakes_per_address=2)
    first, second = door.enter(), door.enter()
    refusal = door.refusal()
    assert refusal.code == Syscode.ADDRESS_FULL
    assert refusal.message == "192.0.2.1 has 2 handshakes in progress, the limit for one address"
    door.enter(THERE)
    first.join()
    door.enter()
    second.leave()
    door.enter()
    door.refusal()


async def test_one_address_cannot_take_all_handshakes(mock_clock: MockClock) -> None:
    door = Door()
    limits = door.settings.limits
    for _ in range(limits.handshakes_per_address):
        door.enter()
    door.refusal()
    mock_clock.jump(1)
    for _ in range(limits.handshakes - limits.handshakes_per_address):
        door.enter(THERE)


async def test_a_handshake_that_fails_makes_room_for_another(mock_clock: MockClock) -> None:
    door = Door(handshakes=1)
    door.enter().leave()
    door.enter()


async def test_sockets_whose_request_is_awaited_are_bounded(mock_clock: MockClock) -> None:
    door = Door(pending_sockets=1)
    with (
        door.admission.awaiting_request(HERE),
        pytest.raises(LimitReached) as caught,
        door.admission.awaiting_request(THERE),
    ):
        raise AssertionError("let in")
    assert caught.value.code == Syscode.TOO_MANY_HANDSHAKES
    assert caught.value.message == "this gateway awaits the requests of 1 sockets, its limit"
    with door.admission.awaiting_request(HERE):
        pass


async def test_an_address_has_its_share_of_sockets_whose_request_is_awaited(
    mock_clock: MockClock,
) -> None:
    door = Door(pending_sockets_per_address=1)
    with (
        door.admission.awaiting_request(HERE),
        door.admission.awaiting_request(THERE),
        pytest.raises(LimitReached) as caught,
        door.admission.awaiting_request(HERE),
    ):
        raise AssertionError("let in")
    assert caught.value.code == Syscode.ADDRESS_FULL
    assert caught.value.message == (
        "192.0.2.1 has 1 sockets whose requests are awaited, the limit for one address"
    )
    with door.admission.awaiting_request(HERE):
        pass


async def test_a_trusted_proxys_sockets_have_no_share_to_keep(mock_clock: MockClock) -> None:
    door = Door(pending_sockets_per_address=1)
    with door.admission.awaiting_request(None), door.admission.awaiting_request(None):
        pass


async def test_sockets_that_linger_are_bounded_too(mock_clock: MockClock) -> None:
    door = Door(pending_sockets=1)
    with door.admission.lingering() as first, door.admission.lingering() as second:
        assert (first, second) == (True, False)
    with door.admission.lingering() as again:
        assert again


async def test_sockets_that_linger_keep_no_request_away(mock_clock: MockClock) -> None:
    door = Door(pending_sockets=1)
    with door.admission.lingering() as lingers, door.admission.awaiting_request(HERE):
        assert lingers


async def test_handshakes_begin_at_a_rate_after_a_burst(mock_clock: MockClock) -> None:
    door = Door(handshakes_per_second=10)
    for _ in range(10):
        door.enter()
    refusal = door.refusal()
    assert refusal.code == Syscode.HANDSHAKES_TOO_FAST
    assert refusal.message == "this gateway begins 10 handshakes per second, its limit"
    mock_clock.jump(0.2)
    door.enter()
    door.enter()
    assert door.refusal().code == Syscode.HANDSHAKES_TOO_FAST


async def test_a_quiet_hour_saves_up_no_more_than_one_burst(mock_clock: MockClock) -> None:
    door = Door(handshakes_per_second=10)
    mock_clock.jump(3600)
    for _ in range(10):
        door.enter()
    door.refusal()


async def test_whoever_is_refused_for_another_reason_uses_up_no_rate(
    mock_clock: MockClock,
) -> None:
    door = Door(handshakes_per_second=2, connections_per_address=1)
    door.enter()
    for _ in range(5):
        assert door.refusal().code == Syscode.ADDRESS_FULL
    door.enter(THERE)


async def test_zero_is_no_limit(mock_clock: MockClock) -> None:
    door = Door(
        connections=0,
        connections_per_address=0,
        connections_per_account=0,
        handshakes=0,
        handshakes_per_address=0,
        handshakes_per_second=0,
        pending_sockets=0,
        pending_sockets_per_address=0,
        flaps=0,
    )
    for _ in range(100):
        place = await door.worker()
    place.leave(LOST)
    await door.worker()


async def test_limits_are_on_by_default() -> None:
    limits = Settings().limits
    assert min(
        limits.connections,
        limits.connections_per_account,
        limits.connections_per_address,
        limits.handshakes,
        limits.handshakes_per_address,
        limits.handshakes_per_second,
        limits.message_bytes,
        limits.apps_per_connection,
        limits.functions_per_app,
        limits.flaps,
    ) > 0  # fmt: skip


async def test_a_limit_that_is_changed_counts_from_then_on(mock_clock: MockClock) -> None:
    door = Door(connections=1)
    door.enter()
    door.refusal()
    door.settings = with_limits(connections=2)
    door.enter()


@pytest.mark.parametrize("seconds", [5, 1])
async def test_the_retry_hints_of_many_are_spread(seconds: int, mock_clock: MockClock) -> None:
    door = Door(connections=1) if seconds == 5 else Door(handshakes=1)
    door.enter()
    hints = {door.refusal().retry_after for _ in range(50)}
    assert seconds <= min(hints) < max(hints) <= 2 * seconds


async def test_refusals_are_counted_by_code_and_limit(mock_clock: MockClock) -> None:
    door = Door(connections=1)
    door.enter()
    for _ in range(3):
        door.refusal()
    counted = door.metrics.connections_refused.labels(Syscode.GATEWAY_FULL, "limits.connections")
    assert counted._value.get() == 3


@pytest.mark.parametrize(
    "limit",
    [
        "pending_sockets",
        "pending_sockets_per_address",
        "connections",
        "connections_per_address",
        "handshakes",
        "handshakes_per_address",
        "handshakes_per_second",
        "connections_per_account",
        "flaps",
    ],
)
async def test_the_log_names_the_setting_that_refuses(
    limit: str, autojump_clock: MockClock
) -> None:
    door = Door(**{limit: 1})
    with capture_logs() as logs:
        await door.reach(limit)
    [line] = logs
    assert line["limit"] == f"limits.{limit}"


async def test_limits_with_the_same_code_have_lines_of_their_own(mock_clock: MockClock) -> None:
    door = Door(connections_per_address=2, handshakes_per_address=1)
    place = door.enter()
    with capture_logs() as logs:
        door.refusal()
        place.join()
        door.enter()
        door.refusal()
    assert [line["limit"] for line in logs] == [
        "limits.handshakes_per_address",
        "limits.connections_per_address",
    ]


async def test_a_flood_of_refusals_fills_no_log(mock_clock: MockClock) -> None:
    door = Door(connections=1)
    door.enter()
    with capture_logs() as logs:
        for _ in range(100):
            door.refusal()
        mock_clock.jump(10)
        door.refusal()
    assert [(entry["code"], entry["more"]) for entry in logs] == [
        ("connect_gateway_full", 0),
        ("connect_gateway_full", 99),
    ]


async def test_leaving_twice_frees_one_place(mock_clock: MockClock) -> None:
    door = Door(connections=2)
    first, _ = door.enter(), door.enter()
    first.leave()
    first.leave(LOST)
    assert door.admission.places == 1


async def test_joining_after_leaving_changes_nothing(mock_clock: MockClock) -> None:
    door = Door()
    place = door.enter()
    place.leave()
    place.join()
    assert door.admission.handshakes == 0


# Accounts


async def test_an_account_has_its_limit(mock_clock: MockClock) -> None:
    door = Door(connections_per_account=1)
    place = await door.worker()
    refusal = await door.refused()
    assert refusal.code == Syscode.ACCOUNT_FULL
    assert refusal.message == "the account has 1 connections; 1 may be"
    await door.worker(account="other")
    place.leave()
    await door.worker()


async def test_an_accounts_connections_elsewhere_count(mock_clock: MockClock) -> None:
    door = Door(connections_per_account=5)
    door.admission.elsewhere = 4
    await door.worker()
    assert (await door.refused()).code == Syscode.ACCOUNT_FULL


async def test_whoever_is_refused_counts_for_no_account(mock_clock: MockClock) -> None:
    door = Door(connections_per_account=1)
    place = await door.worker()
    await door.refused()
    place.leave()
    await door.worker()
