"""Replies that the state store did not take at once are kept, saved, and told to executors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.errors import StoreUnavailable
from connect.protocol.messages.connect import v1 as pb
from tests.nursery.rig import Peer, Rig, open_rig
from tests.nursery.test_durable_replies import acks, assigned, forwarded
from tests.nursery.test_extensions import INTERVAL, LEASE, ask, lease_id, running, taken, told


async def test_a_reply_whose_save_was_not_answered_is_pushed_all_the_same(
    autojump_clock: MockClock,
) -> None:
    """The executor may be cut off from the store, where the reply is."""
    async with open_rig() as rig:
        worker = await rig.worker()
        await assigned(rig)
        await forwarded(rig, worker)
        rig.outages.unanswered = {"save"}
        await worker.reply("r1", b'"done"')
        assert await acks(worker, seconds=5) == ["r1"]
        assert [(host, port) for host, port, _ in rig.pushes.pushed] == [("10.0.0.1", 7000)]


async def test_a_reply_that_is_never_saved_in_time_holds_up_no_others(
    autojump_clock: MockClock,
) -> None:
    """It is large, say, and the way to the store is slow."""
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.lease("r1", "r2")
        responses = rig.services.store.responses
        save = responses.save

        async def save_small(env_id: str, request_id: str, response: bytes, **how: Any) -> object:
            if request_id == "r1":
                await trio.sleep(5)
                raise StoreUnavailable("not saved in time")
            return await save(env_id, request_id, response, **how)

        responses.save = save_small  # type: ignore[method-assign,assignment] # slow for one
        await worker.reply("r1")
        await trio.sleep(12)
        rig.outages.down = True
        await worker.reply("r2")
        await wait_all_tasks_blocked()
        rig.outages.down = False
        assert await acks(worker, seconds=15) == ["r2"]


@asynccontextmanager
async def kept(*, vouched: bool = True) -> AsyncIterator[tuple[Rig, Peer]]:
    """A worker that has replied at a gateway without the store, and asks for nothing more."""
    async with running(vouched=vouched) as (rig, worker):
        await worker.reply("r1")
        await wait_all_tasks_blocked()
        yield rig, worker


async def test_the_lease_of_a_kept_reply_is_extended_in_its_workers_place(
    autojump_clock: MockClock,
) -> None:
    async with kept() as (rig, _):
        rig.vouchers.answer = lease_id(2 * LEASE)
        began = trio.current_time()
        await trio.sleep(LEASE)
        [first, *others] = rig.vouchers.asked
        assert first[0] - began <= LEASE / 2
        assert first[1].lease_id != rig.vouchers.answer  # the one that the request came with
        assert [asked.lease_id for _, asked in others] == [rig.vouchers.answer] * len(others)
        assert len(others) >= 1


async def test_the_lease_of_a_kept_reply_that_comes_again_over_a_new_connection_is_extended(
    autojump_clock: MockClock,
) -> None:
    """Which has not seen the lease."""
    async with open_rig() as rig:
        old, new = await rig.worker(), await rig.worker()
        await taken(rig, old, vouched=True)
        rig.outages.down = True
        for worker in (old, new):
            await worker.reply("r1")
            await wait_all_tasks_blocked()
        rig.vouchers.answer = lease_id(2 * LEASE)
        await trio.sleep(LEASE)
        assert len(rig.vouchers.asked) >= 2
        rig.outages.down = False
        assert await acks(new) == ["r1"]
        connection = rig.gateway.table.get(old.connection_id)
        assert connection is not None
        assert connection.idle


async def test_the_lease_of_a_reply_that_is_saved_is_not_extended(
    autojump_clock: MockClock,
) -> None:
    async with kept() as (rig, _):
        await rig.lease("r1")
        rig.outages.down = False
        await trio.sleep(2 * LEASE)
        assert rig.vouchers.asked == []


async def test_a_lease_that_is_lost_is_not_extended_again(autojump_clock: MockClock) -> None:
    async with kept() as (rig, _):
        rig.vouchers.answer = None
        await trio.sleep(2 * LEASE)
        assert len(rig.vouchers.asked) == 1


async def test_a_lease_that_nobody_answered_for_is_asked_for_again(
    autojump_clock: MockClock,
) -> None:
    async with kept() as (rig, _):
        await trio.sleep(2 * LEASE)
        assert len(rig.vouchers.asked) >= 4


async def test_a_failure_that_nobody_foresaw_costs_one_question(
    autojump_clock: MockClock,
) -> None:
    async with kept() as (rig, _):
        answer = rig.vouchers.extend_lease
        failed = trio.Event()

        async def fail(request: pb.ExtendLeaseRequest, *, timeout: float) -> str | None:
            failed.set()
            raise RuntimeError("broken for the test")

        rig.vouchers.extend_lease = fail  # type: ignore[method-assign] # fails as nothing should
        await failed.wait()
        rig.vouchers.extend_lease = answer  # type: ignore[method-assign] # as it was
        await trio.sleep(LEASE / 2)
        assert rig.vouchers.asked != []


async def test_a_request_whose_reply_is_saved_while_its_lease_is_extended_is_over(
    autojump_clock: MockClock,
) -> None:
    async with kept() as (rig, worker):
        await rig.lease("r1")

        async def answer_late(request: pb.ExtendLeaseRequest, *, timeout: float) -> str | None:
            rig.outages.down = False
            assert await acks(worker) == ["r1"]
            return request.lease_id

        rig.vouchers.extend_lease = answer_late  # type: ignore[method-assign] # saved meanwhile
        await trio.sleep(LEASE)
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        assert connection.in_flight == 0


async def test_a_request_whose_reply_is_saved_while_its_worker_asks_for_its_lease_is_over(
    autojump_clock: MockClock,
) -> None:
    async with kept() as (rig, worker):
        await rig.lease("r1")
        saved = trio.Event()

        async def answer_late(request: pb.ExtendLeaseRequest, *, timeout: float) -> str | None:
            rig.outages.down = False
            await saved.wait()
            return request.lease_id

        rig.vouchers.extend_lease = answer_late  # type: ignore[method-assign] # saved meanwhile
        await ask(worker, lease_id(LEASE))
        assert await acks(worker) == ["r1"]
        saved.set()
        await told(worker)
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        assert connection.in_flight == 0


async def test_no_lease_is_extended_that_no_executor_answers_for(
    autojump_clock: MockClock,
) -> None:
    async with kept(vouched=False) as (rig, _):
        await trio.sleep(2 * LEASE)
        assert rig.vouchers.asked == []


async def test_a_worker_that_goes_on_asking_after_its_reply_does_so_alone(
    autojump_clock: MockClock,
) -> None:
    """Or it would be told of a lease that is one behind."""
    async with kept() as (rig, worker):
        rig.vouchers.answer = held = lease_id(LEASE)
        for _ in range(6):
            await trio.sleep(INTERVAL)
            await ask(worker, held)
            assert await told(worker) == held
        assert len(rig.vouchers.asked) == 6
