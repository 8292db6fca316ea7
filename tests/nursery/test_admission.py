"""The limits of a gateway on its connections, one by one."""

from dataclasses import replace

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.errors import LimitReached, Syscode
from connect.metrics import Metrics
from connect.nursery import flapping
from connect.nursery.admission import Admission, Place
from connect.nursery.flapping import FlappingWorkers
from connect.protocol.lifecycle import Disconnect, DisconnectReason
from connect.settings import Settings, Timing
from tests.nursery.rig import with_limits

HERE, THERE = "192.0.2.1", "192.0.2.2"
LOST = Disconnect(DisconnectReason.UNEXPECTED)


class Door:
    """An admission whose settings can be changed."""

    def __init__(self, **limits: int) -> None:
        self.settings = with_limits(**limits)
        self.metrics = Metrics()
        self.admission = Admission(lambda: self.settings, self.metrics)

    def enter(self, address: str = HERE) -> Place:
        return self.admission.enter(address)

    def refusal(self, address: str = HERE) -> LimitReached:
        with pytest.raises(LimitReached) as caught:
            self.enter(address)
        return caught.value

    async def worker(self, instance: str = "w", account: str = "acct") -> Place:
        """Enter, introduce oneself, and join."""
        place = self.enter()
        await place.admit(account, instance)
        place.join()
        return place

    async def flap(self, times: int, *, reason: Disconnect = LOST, lived: float = 0) -> None:
        for _ in range(times):
            place = await self.worker()
            await trio.sleep(lived)
            place.leave(reason)

    async def reach(self, limit: str) -> None:
        """Be refused once because of this limit, which is 1."""
        if limit.startswith("pending"):
            with self.admission.awaiting_request(HERE), pytest.raises(LimitReached):
                self.admission.awaiting_request(HERE).__enter__()
        elif limit == "connections_per_account":
            await self.worker()
            await self.refused()
        elif limit == "flaps":
            await self.flap(6)
            await self.refused()
        else:
            self.enter()
            self.refusal()

    async def refused(self, instance: str = "w", account: str = "acct") -> LimitReached:
        place = self.enter()
        with pytest.raises(LimitReached) as caught:
            await place.admit(account, instance)
        place.leave()
        return caught.value


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


# Flapping


async def test_a_worker_may_flap_so_often_for_free(autojump_clock: MockClock) -> None:
    door = Door(flaps=3)
    await door.flap(3)
    await door.worker()
    assert trio.current_time() == 0


async def test_a_flapping_worker_is_slowed_more_and_more(autojump_clock: MockClock) -> None:
    door = Door(flaps=3)
    await door.flap(4)
    waits = []
    for _ in range(4):
        started = trio.current_time()
        await door.flap(1)
        waits.append(trio.current_time() - started)
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(0.5)
    assert waits[-1] > 2


async def test_a_worker_that_has_to_wait_long_is_refused_with_a_hint(
    autojump_clock: MockClock,
) -> None:
    door = Door(flaps=3)
    await door.flap(8)
    refusal = await door.refused()
    assert refusal.code == Syscode.RECONNECTING_TOO_OFTEN
    assert "keep ending within 10 s" in refusal.message
    await trio.sleep(refusal.retry_after)
    started = trio.current_time()
    await door.worker()
    assert trio.current_time() == started


async def test_no_wait_is_longer_than_the_setting(autojump_clock: MockClock) -> None:
    door = Door(flaps=1)
    door.settings = replace(door.settings, timing=Timing(flapping_delay=6.0))
    hints = []
    for _ in range(60):
        place = door.enter()
        try:
            await place.admit("acct", "w")
            place.join()
        except LimitReached as refusal:
            hints.append(refusal.retry_after)
            await trio.sleep(refusal.retry_after)
        place.leave(LOST)
    assert max(hints) == pytest.approx(6)


async def test_a_refused_attempt_makes_nothing_worse(autojump_clock: MockClock) -> None:
    door = Door(flaps=3)
    await door.flap(8)
    first = await door.refused()
    second = await door.refused()
    assert second.retry_after == pytest.approx(first.retry_after)


async def test_other_workers_are_not_slowed(autojump_clock: MockClock) -> None:
    door = Door(flaps=3)
    await door.flap(8)
    started = trio.current_time()
    await door.worker("other")
    await door.worker("w", account="other")
    assert trio.current_time() == started


async def test_flaps_are_forgotten_one_per_stable_time(autojump_clock: MockClock) -> None:
    door = Door(flaps=3)
    await door.flap(4)
    await trio.sleep(25)
    await door.flap(2)
    started = trio.current_time()
    await door.worker()
    assert trio.current_time() - started < 0.5


async def test_connections_that_lived_are_no_flaps(autojump_clock: MockClock) -> None:
    door = Door(flaps=1)
    started = trio.current_time()
    await door.flap(10, lived=10)
    assert trio.current_time() - started == pytest.approx(100)


@pytest.mark.parametrize(
    "reason",
    [
        DisconnectReason.WORKER_SHUTDOWN,
        DisconnectReason.GATEWAY_DRAINING,
        DisconnectReason.STORE_UNAVAILABLE,
    ],
)
async def test_ends_that_are_not_the_workers_fault_are_no_flaps(
    reason: DisconnectReason, autojump_clock: MockClock
) -> None:
    door = Door(flaps=1)
    await door.flap(10, reason=Disconnect(reason))
    assert trio.current_time() == 0


async def test_a_worker_that_never_joined_does_not_flap(autojump_clock: MockClock) -> None:
    door = Door(flaps=1)
    for _ in range(10):
        place = door.enter()
        await place.admit("acct", "w")
        place.leave(LOST)
    assert trio.current_time() == 0


async def test_a_worker_that_gives_up_waiting_counts_for_no_account(
    autojump_clock: MockClock,
) -> None:
    door = Door(flaps=1, connections_per_account=1)
    await door.flap(4)
    with trio.move_on_after(0.01) as scope:
        await door.worker()
    assert scope.cancelled_caught
    await trio.sleep(10)
    await door.worker()


async def test_no_time_is_too_short_to_be_stable_where_that_is_zero(
    autojump_clock: MockClock,
) -> None:
    door = Door(flaps=1)
    door.settings = replace(door.settings, timing=replace(door.settings.timing, stable=0.0))
    await door.flap(10)
    assert trio.current_time() == 0


async def test_so_many_flapping_workers_are_remembered_and_no_more(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flapping, "_WORKERS", 3)
    workers, settings = FlappingWorkers(), with_limits(flaps=1)
    for name in ("a", "b", "a", "c", "d"):
        for _ in range(3):
            workers.note(name, 0, settings)
    assert len(workers) == 3
    waits = {name: workers.wait_for(name, settings) for name in "abcd"}
    assert [name for name, wait in waits.items() if wait] == ["a", "c", "d"]


async def test_workers_whose_flaps_are_forgotten_are_forgotten_too(
    autojump_clock: MockClock,
) -> None:
    workers, settings = FlappingWorkers(), with_limits(flaps=1)
    workers.note("gone", 0, settings)
    for _ in range(3):
        workers.note("here", 0, settings)
    await trio.sleep(settings.timing.stable)
    workers.wait_for("somebody else", settings)
    assert len(workers) == 1
    await trio.sleep(2 * settings.timing.stable)
    workers.note("new", 0, settings)
    assert len(workers) == 1


async def test_flaps_from_before_a_reload_that_made_every_connection_stable_are_dropped(
    mock_clock: MockClock,
) -> None:
    workers, settings = FlappingWorkers(), with_limits(flaps=1)
    workers.note("a", 0, settings)
    workers.wait_for("a", replace(settings, timing=replace(settings.timing, stable=0.0)))
    assert len(workers) == 0


async def test_one_handshake_of_a_flapping_worker_is_held_and_its_others_are_refused(
    autojump_clock: MockClock,
) -> None:
    door = Door(flaps=1)
    await door.flap(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.worker)
        await wait_all_tasks_blocked()
        refusal = await door.refused()
        assert refusal.code == Syscode.RECONNECTING_TOO_OFTEN
        assert refusal.retry_after == pytest.approx(0.5)
        with trio.fail_after(0.1):
            await door.worker("another")
        assert door.admission.handshakes == 1
    assert door.admission.handshakes == 0


async def test_a_flapping_worker_whose_held_handshake_was_cancelled_is_held_again(
    autojump_clock: MockClock,
) -> None:
    door = Door(flaps=1)
    await door.flap(2)
    with trio.move_on_after(0.1):
        await door.worker()
    started = trio.current_time()
    await door.worker()
    assert trio.current_time() - started == pytest.approx(0.4)
