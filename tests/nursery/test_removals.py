"""Connections that cannot be removed from the store as they end are removed later."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.errors import StoreUnavailable
from connect.nursery import removals
from connect.nursery.removals import Removals
from tests.nursery.rig import ENV, Kind, Rig, open_rig


async def stored(rig: Rig) -> list[str]:
    return [record.id for record in await rig.store.connections.all(ENV)]


@pytest.mark.parametrize("lost", ["refresh", "delete"])
async def test_an_ended_connection_is_not_stored_although_an_answer_of_the_store_got_lost(
    lost: str, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.fail_at = (lost, 1)
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.sleep(1)
        assert await stored(rig) == []


@pytest.mark.parametrize("command", ["refresh", "delete"])
async def test_a_store_that_answers_too_late_for_the_cleanup_removes_the_connection_after_it(
    command: str, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        port = rig.services.store.connections
        answer = getattr(port, command)
        called = trio.Event()

        async def hang(*args: object, **kwargs: object) -> object:
            if called.is_set():
                return await answer(*args, **kwargs)
            called.set()
            return await trio.sleep_forever()

        setattr(port, command, hang)
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.sleep(6)
        assert await stored(rig) == []


async def test_what_ends_in_an_outage_is_removed_once_the_store_answers(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        workers = [await rig.worker(instance_id=f"w{number}") for number in range(3)]
        rig.outages.down = True
        for worker in workers:
            await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.sleep(5)
        assert len(await stored(rig)) == 3
        rig.outages.down = False
        await trio.sleep(2)
        assert await stored(rig) == []


async def test_a_removal_that_the_store_refuses_keeps_no_other_waiting(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        refused, other = await rig.worker(instance_id="a"), await rig.worker(instance_id="b")
        rig.outages.refused = {"get", "delete"}
        await refused.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.sleep(1)
        rig.outages.refused = set()
        rig.outages.fail_at = ("delete", 1)
        await other.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.sleep(1)
        assert await stored(rig) == [refused.connection_id]


async def test_a_removal_that_fails_unforeseen_ends_nothing(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.broken = True
        rig.gateway._removals.add(ENV, "01JD0000000000000000000000")
        await wait_all_tasks_blocked()
        rig.outages.broken = False
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        assert len(rig.gateway._removals) == 0


async def test_a_worker_that_has_come_back_with_its_id_stays_stored(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.gateway._removals.add(ENV, worker.connection_id)
        await trio.sleep(1)
        assert await stored(rig) == [worker.connection_id]
        assert len(rig.gateway._removals) == 0


async def test_a_worker_that_has_gone_to_another_gateway_with_its_id_stays_stored(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        record = await rig.store.connections.get(ENV, worker.connection_id)
        assert record is not None
        gone = replace(record, id="01JD0000000000000000000000", gateway_id="another")
        await rig.store.connections.upsert(ENV, gone)
        rig.gateway._removals.add(ENV, gone.id)
        await trio.sleep(1)
        assert gone.id in await stored(rig)
        assert len(rig.gateway._removals) == 0


async def test_what_waits_for_the_store_is_bounded(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "_MOST", 2)
    async with open_rig() as rig:
        due = Removals(rig.services, rig.gateway.table.has)
        for number in range(4):
            due.add(ENV, f"c{number}")
        assert len(due) == 2


async def test_while_the_store_is_away_it_is_not_asked(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        with pytest.raises(StoreUnavailable), rig.services.health.attempt():
            raise StoreUnavailable("down for the test")
        rig.outages.calls.clear()
        rig.gateway._removals.add(ENV, "c1")
        await wait_all_tasks_blocked()
        assert "get" not in rig.outages.calls
