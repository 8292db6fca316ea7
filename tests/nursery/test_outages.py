"""The state store goes away, comes back, or forgets: sockets stay, and nothing is lost."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from connect.errors import StoreUnavailable, Syscode
from connect.protocol.lifecycle import DisconnectReason
from connect.protocol.messages.connect import v1 as pb
from connect.state.records import ConnectionStatus
from tests.nursery.rig import (
    ENV,
    Kind,
    Peer,
    Rig,
    now,
    open_rig,
    with_limits,
    with_timing,
)


async def answered_at_once(worker: Peer) -> bool:
    started = trio.current_time()
    await worker.heartbeat()
    await worker.expect(Kind.GATEWAY_HEARTBEAT)
    return trio.current_time() - started < 0.1


async def stored_heartbeat(rig: Rig, worker: Peer) -> int:
    record = await rig.store.connections.get(ENV, worker.connection_id)
    return 0 if record is None else record.last_heartbeat_ms


async def acked(worker: Peer) -> str:
    payload = await worker.expect(Kind.WORKER_REPLY_ACK)
    return pb.WorkerReplyAckData().parse(payload).request_id


def outcomes(rig: Rig, outcome: str) -> float:
    return float(rig.services.metrics.replies.labels(outcome)._value.get())


async def test_an_outage_of_thirty_seconds_closes_nothing_and_heartbeats_are_answered(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.down = True
        for _ in range(15):
            await trio.sleep(2)
            assert await answered_at_once(worker)
        rig.outages.down = False
        await trio.sleep(6)
        assert rig.gateway.table.get(worker.connection_id) is not None
        record = await rig.store.connections.get(ENV, worker.connection_id)
        assert record is not None
        assert record.status is ConnectionStatus.READY


async def test_an_outage_longer_than_tolerated_closes_with_1011(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.nursery.start_soon(worker.keep_alive)
        rig.outages.down = True
        started = trio.current_time()
        assert await worker.closed() == (1011, Syscode.INTERNAL_ERROR)
        assert 60 < trio.current_time() - started < 80  # from the first heartbeat, at 10 s


async def test_how_long_an_outage_is_tolerated_is_a_setting(autojump_clock: MockClock) -> None:
    async with open_rig(with_timing(store_outage=3)) as rig:
        worker = await rig.worker()
        rig.outages.down = True
        await worker.heartbeat()
        started = trio.current_time()
        assert await worker.closed() == (1011, Syscode.INTERNAL_ERROR)
        assert 3 < trio.current_time() - started < 10


async def test_a_status_write_is_tried_again_without_another_heartbeat(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        before = await stored_heartbeat(rig, worker)
        await trio.sleep(9)
        rig.outages.down = True
        await worker.heartbeat()
        await trio.sleep(4)
        rig.outages.down = False
        await trio.sleep(6)
        assert await stored_heartbeat(rig, worker) - before == pytest.approx(9000, abs=100)


async def test_heartbeats_are_answered_although_the_store_takes_long(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.delay = 5
        started = trio.current_time()
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert trio.current_time() - started <= 2


async def test_while_the_store_is_away_only_a_probe_asks_it(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        workers = [await rig.worker(instance_id=f"w{number}") for number in range(20)]
        for worker in workers:
            rig.nursery.start_soon(worker.keep_alive)
        rig.outages.down = True
        await trio.sleep(15)
        rig.outages.calls.clear()
        await trio.sleep(10)
        assert "refresh" not in rig.outages.calls
        assert rig.outages.calls.count("delete") == pytest.approx(10, abs=1)


async def test_connections_write_again_one_after_the_other_when_the_store_is_back(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        workers = [await rig.worker(instance_id=f"w{number}") for number in range(40)]
        rig.outages.down = True
        for worker in workers:
            await worker.heartbeat()
        await trio.sleep(30)
        rig.outages.down = False
        rig.outages.calls.clear()
        written: list[int] = []
        for _ in range(70):
            await trio.sleep(0.1)
            written.append(rig.outages.calls.count("refresh"))
            rig.outages.calls.clear()
        assert sum(written) == 40
        assert max(written) <= 10


async def test_readiness_tells_that_the_store_is_away(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.down = True
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert rig.gateway.store_away
        rig.outages.down = False
        await trio.sleep(2)
        assert not rig.gateway.store_away


async def handshake_result(rig: Rig) -> tuple[float, tuple[int, str] | None]:
    """Return the seconds that a handshake took, and how it was closed, if it was."""
    peer = await rig.dial()
    await peer.expect(Kind.GATEWAY_HELLO)
    started = trio.current_time()
    await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello(instance_id="new")))
    kind = None
    with trio.move_on_after(0.2 + rig.outages.delay * 4):
        kind = await peer.closed()
    return trio.current_time() - started, kind


async def test_a_handshake_fails_at_once_while_the_store_is_known_to_be_away(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.down = True
        rig.outages.delay = 5
        await worker.heartbeat()
        await trio.sleep(8)
        seconds, closed = await handshake_result(rig)
        assert closed == (1011, Syscode.INTERNAL_ERROR)
        assert seconds < 0.1


def ends(rig: Rig) -> list[DisconnectReason]:
    """Return why connections have ended, the latest first."""
    return [closed.disconnect.reason for closed in rig.gateway.closed_connections()]


async def test_handshakes_that_an_outage_fails_are_recorded_as_such(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.outages.down = True
        await handshake_result(rig)  # finds the store away
        await trio.sleep(8)
        await handshake_result(rig)  # is refused without asking
        await trio.sleep(8)
        assert ends(rig) == [DisconnectReason.STORE_UNAVAILABLE] * 2


async def test_a_handshake_that_the_store_refuses_is_no_outage(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.outages.refused = {"upsert"}
        _, closed = await handshake_result(rig)
        assert closed == (1011, Syscode.INTERNAL_ERROR)
        await trio.sleep(8)
        assert ends(rig) == [DisconnectReason.INTERNAL_ERROR]


def lose_connection(rig: Rig) -> None:
    """Have the store unreachable, and what is asked of it fail at its deadline."""
    rig.outages.unreachable_since = trio.current_time()
    rig.outages.down = True
    rig.outages.delay = rig.services.settings.timing.store_command
    rig.outages.calls.clear()


async def test_a_handshake_fails_at_once_when_the_store_has_had_no_connection_for_two_seconds(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        lose_connection(rig)
        await trio.sleep(2)
        seconds, closed = await handshake_result(rig)
        assert closed == (1011, Syscode.INTERNAL_ERROR)
        assert seconds < 0.1
        assert "upsert" not in rig.outages.calls


async def test_a_gateway_beats_at_once_when_the_store_is_back(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.down = True
        await worker.heartbeat()
        await trio.sleep(30)
        rig.outages.down = False
        await rig.services.health.wait_returned()
        await trio.sleep(0.02)
        [record] = await rig.store.gateways.all()
        assert now() * 1000 - record.last_heartbeat_ms < 50


async def test_readiness_tells_after_two_seconds_without_a_connection_to_the_store(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.outages.unreachable_since = trio.current_time()
        await trio.sleep(1.9)
        told = [rig.gateway.store_away]
        await trio.sleep(0.2)
        told.append(rig.gateway.store_away)
        rig.outages.unreachable_since = None
        told.append(rig.gateway.store_away)
        assert told == [False, True, False]


async def test_a_handshake_that_is_refused_lets_readiness_tell_and_the_probe_ask(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        lose_connection(rig)
        await trio.sleep(2)
        await handshake_result(rig)
        assert rig.gateway.store_away
        rig.outages.down, rig.outages.delay, rig.outages.unreachable_since = False, 0.0, None
        await trio.sleep(1)
        assert not rig.gateway.store_away


async def test_a_handshake_that_begins_with_an_outage_ends_with_the_deadline_of_a_command(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        lose_connection(rig)
        seconds, closed = await handshake_result(rig)
        assert closed == (1011, Syscode.INTERNAL_ERROR)
        assert seconds == pytest.approx(5, abs=0.1)


async def test_a_handshake_that_a_silent_store_fails_waits_little_longer_to_be_taken_back(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        lose_connection(rig)
        rig.outages.unreachable_since = None
        seconds, closed = await handshake_result(rig)
        assert closed == (1011, Syscode.INTERNAL_ERROR)
        assert seconds == pytest.approx(6, abs=0.1)


async def test_a_handshake_that_the_store_fails_half_way_is_taken_back_over_the_next_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.outages.fail_at = ("set_limit", 1)
        rig.outages.delay = 1.5  # the one for the next connection is what counts here
        _, closed = await handshake_result(rig)
        assert closed == (1011, Syscode.INTERNAL_ERROR)
        assert await rig.store.connections.all(ENV) == []


async def test_a_handshake_survives_a_store_that_was_away_for_a_moment(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.services.health.failed()
        _, closed = await handshake_result(rig)
        assert closed is None
        assert len(rig.gateway.table) == 1


async def test_a_reply_is_kept_while_the_store_is_away_and_acknowledged_once_saved(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.store.leases.lease(
            ENV, "r1", executor_host="executor", executor_port=7, seconds=20
        )
        rig.outages.down = True
        await worker.reply("r1", b'"done"')
        await trio.sleep(10)
        assert await rig.store.responses.get(ENV, "r1") is None
        assert rig.gateway.describe()["replies_kept"] == 1
        rig.outages.down = False
        assert await acked(worker) == "r1"
        assert await rig.store.responses.get(ENV, "r1") is not None
        await trio.testing.wait_all_tasks_blocked()
        assert [push[:2] for push in rig.pushes.pushed] == [("executor", 7)]
        assert rig.gateway.describe()["replies_kept"] == 0


async def test_kept_replies_survive_the_end_of_their_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.lease(*(f"r{number}" for number in range(40)))
        rig.outages.down = True
        for number in range(40):
            await worker.reply(f"r{number}")
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.sleep(20)
        rig.outages.down = False
        await trio.sleep(2)
        for number in range(40):
            assert await rig.store.responses.get(ENV, f"r{number}") is not None


async def test_a_reply_sent_again_is_kept_once_and_acknowledged_where_it_came_last(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        old, new = await rig.worker(), await rig.worker()
        await rig.lease("r1")
        rig.outages.down = True
        await old.reply("r1", b'"first"')
        await trio.testing.wait_all_tasks_blocked()
        await new.reply("r1", b'"second"')
        await trio.testing.wait_all_tasks_blocked()
        rig.outages.down = False
        assert await acked(new) == "r1"
        stored = await rig.store.responses.get(ENV, "r1")
        assert stored is not None
        assert pb.SdkResponse().parse(stored).body == b'"first"'
        assert outcomes(rig, "kept") == 1


@pytest.mark.parametrize(
    "limits", [{"kept_replies": 2}, {"kept_reply_bytes": 2500}], ids=["number", "bytes"]
)
async def test_replies_beyond_the_bound_are_dropped_without_acknowledgement(
    autojump_clock: MockClock, limits: dict[str, int]
) -> None:
    async with open_rig(with_limits(**limits)) as rig:
        worker = await rig.worker()
        rig.outages.down = True
        for name in ("r1", "r2", "r3"):
            await worker.reply(name, b"x" * 1000)
            await trio.testing.wait_all_tasks_blocked()
        rig.outages.down = False
        assert sorted([await acked(worker), await acked(worker)]) == ["r1", "r2"]
        assert await rig.store.responses.get(ENV, "r3") is None
        assert (outcomes(rig, "kept"), outcomes(rig, "dropped")) == (2, 1)
        await worker.reply("r3", b"x" * 1000)  # there is room again, and no need for it
        assert await acked(worker) == "r3"


async def test_a_kept_reply_that_the_store_refuses_is_given_up(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.down = True
        await worker.reply("r1")
        await trio.testing.wait_all_tasks_blocked()
        rig.outages.down, rig.outages.broken = False, True
        rig.services.health.answered()
        await trio.sleep(1)
        rig.outages.broken = False
        assert rig.gateway.describe()["replies_kept"] == 0
        assert outcomes(rig, "not_saved") == 1


async def test_a_store_that_fails_again_and_again_is_asked_less_and_less(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.down = True
        for number in range(20):
            await worker.reply(f"r{number}")
        await trio.testing.wait_all_tasks_blocked()
        rig.outages.down = False
        attempts = 0

        async def refuse(*_args: object) -> object:
            nonlocal attempts
            attempts += 1
            raise StoreUnavailable("OOM")

        responses = rig.services.store.responses
        original, responses.save = responses.save, refuse  # type: ignore[method-assign,assignment] # full
        await trio.sleep(20)
        assert attempts < 50
        responses.save = original  # type: ignore[method-assign] # as it was
        await trio.sleep(3)
        assert rig.gateway.describe()["replies_kept"] == 0


async def test_a_drain_waits_for_kept_replies(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.lease("r1")
        rig.outages.down = True
        await worker.reply("r1")
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")

        async def recover() -> None:
            await trio.sleep(15)
            rig.outages.down = False

        rig.nursery.start_soon(recover)
        started = trio.current_time()
        await rig.gateway.drain()
        assert 15 <= trio.current_time() - started < 18
        assert await rig.store.responses.get(ENV, "r1") is not None


async def test_a_drain_waits_for_kept_replies_no_longer_than_its_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.down = True
        await worker.reply("r1")
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.sleep(1)
        started = trio.current_time()
        await rig.gateway.drain()
        assert trio.current_time() - started == pytest.approx(25, abs=0.5)
