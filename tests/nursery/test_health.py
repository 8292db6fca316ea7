"""What a gateway knows of its state store."""

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.errors import ConnectError, StoreUnavailable
from connect.nursery.health import StoreAway, StoreHealth


async def test_a_failed_attempt_makes_the_store_known_to_be_away(mock_clock: MockClock) -> None:
    health = StoreHealth()
    with pytest.raises(StoreUnavailable), health.attempt():
        raise StoreUnavailable("gone")
    assert health.away
    with pytest.raises(StoreAway), health.attempt():
        raise AssertionError("not entered")


async def test_an_attempt_that_succeeds_makes_it_known_to_be_back(mock_clock: MockClock) -> None:
    health = StoreHealth()
    health.failed()
    with health.attempt(patience=1):
        pass
    assert (health.away, health.away_for) == (False, 0.0)


async def test_patience_lets_attempts_through_for_a_while(mock_clock: MockClock) -> None:
    health = StoreHealth()
    health.failed()
    mock_clock.jump(2)
    assert health.away_for == pytest.approx(2)
    with pytest.raises(StoreAway), health.attempt(patience=2):
        raise AssertionError("not entered")


async def test_a_store_without_a_connection_is_away_for_those_with_patience(
    mock_clock: MockClock,
) -> None:
    health = StoreHealth(lambda: 0.0)
    mock_clock.jump(1.9)
    with health.attempt(patience=2):
        pass
    mock_clock.jump(0.1)
    with pytest.raises(StoreAway), health.attempt(patience=2):
        raise AssertionError("not entered")


async def test_without_patience_an_attempt_waits_for_the_next_connection(
    mock_clock: MockClock,
) -> None:
    health = StoreHealth(lambda: 0.0)
    mock_clock.jump(100)
    with health.attempt():
        pass
    assert not health.away


async def test_whoever_is_refused_for_the_lost_connection_makes_the_outage_known(
    mock_clock: MockClock,
) -> None:
    health = StoreHealth(lambda: 0.0)
    mock_clock.jump(3)
    with pytest.raises(StoreAway), health.attempt(patience=2):
        raise AssertionError("not entered")
    assert health.away


async def test_an_outage_began_when_the_connection_was_lost(mock_clock: MockClock) -> None:
    lost: list[float | None] = [1.0]
    health = StoreHealth(lambda: lost[0])
    mock_clock.jump(6)
    assert health.unreachable_for == pytest.approx(5)
    assert health.away_for == pytest.approx(5)
    health.failed()
    lost[0] = None  # there is a connection again, on which nobody has been answered
    assert health.unreachable_for == 0.0
    assert health.away_for == pytest.approx(5)


async def test_another_failure_says_nothing_of_the_store(mock_clock: MockClock) -> None:
    health = StoreHealth()
    health.failed()
    with pytest.raises(KeyError), health.attempt(patience=1):
        raise KeyError
    assert health.away


@pytest.mark.parametrize("refusal", [None, ConnectError("refused")])
async def test_a_probe_that_is_answered_ends_the_outage(
    autojump_clock: MockClock, refusal: ConnectError | None
) -> None:
    health = StoreHealth()
    probes: list[float] = []

    async def probe() -> None:
        probes.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if len(probes) < 4:
            raise StoreUnavailable("gone")
        if refusal is not None:
            raise refusal

    async with trio.open_nursery() as nursery:
        nursery.start_soon(health.watch, probe)
        await health.wait_returned()  # at once: it has not been away
        for _ in range(2):
            probes.clear()
            health.failed()
            await health.wait_returned()
            assert not health.away
            assert len(probes) == 4
            assert probes[3] - probes[0] == pytest.approx(0.1 + 0.2 + 0.4)
        nursery.cancel_scope.cancel()


async def logged_reason(health: StoreHealth) -> object:
    """Return the reason that is logged for the store's being away."""

    async def probe() -> None:
        await trio.sleep_forever()

    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(health.watch, probe)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    [line] = logs
    assert (line["event"], line["log_level"]) == ("the state store does not answer", "warning")
    return line["reason"]


async def test_an_outage_is_logged_with_what_the_first_who_asked_was_told(
    mock_clock: MockClock,
) -> None:
    health = StoreHealth()
    for reason in ("no connection to Redis at here:6379: refused", "later"):
        with pytest.raises(StoreUnavailable), health.attempt(patience=1):
            raise StoreUnavailable(reason)
    assert await logged_reason(health) == "no connection to Redis at here:6379: refused"


async def test_an_outage_that_nobody_asked_in_is_logged_with_its_reason(
    mock_clock: MockClock,
) -> None:
    health = StoreHealth(lambda: 0.0)
    mock_clock.jump(3)
    with pytest.raises(StoreAway), health.attempt(patience=2):
        raise AssertionError("not entered")
    assert await logged_reason(health) == "there is no connection to it"
