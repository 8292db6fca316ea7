"""Workers whose connections keep ending are slowed, and forgotten in time."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.errors import LimitReached, Syscode
from connect.nursery import flapping
from connect.nursery.flapping import FlappingWorkers
from connect.protocol.lifecycle import Disconnect, DisconnectReason
from connect.settings import Timing
from tests.nursery.door import LOST, Door
from tests.nursery.rig import with_limits


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
