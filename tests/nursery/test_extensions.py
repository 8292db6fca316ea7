"""Lease extensions while the gateway cannot reach the state store: executors answer for them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock
from ulid import ULID

from connect.protocol.messages.connect import v1 as pb
from tests.nursery.rig import ENV, Kind, Peer, Rig, now, open_rig, request_bytes

LEASE = 20.0
INTERVAL = LEASE / 4


def lease_id(seconds: float) -> str:
    """The id of a lease with so many seconds left."""
    return str(ULID.from_timestamp(now() + seconds))


async def ask(worker: Peer, lease: str) -> None:
    data = pb.WorkerRequestExtendLeaseData(request_id="r1", env_id=ENV, lease_id=lease)
    await worker.send(Kind.WORKER_REQUEST_EXTEND_LEASE, bytes(data))


async def told(worker: Peer) -> str | None:
    payload = await worker.expect(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
    return pb.WorkerRequestExtendLeaseAckData().parse(payload).new_lease_id


async def silent(worker: Peer, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        await worker.receive()
        return False
    return True


async def taken(rig: Rig, worker: Peer, *, vouched: bool) -> None:
    """Have a worker ack a request."""

    async def forward() -> None:
        lease = lease_id(LEASE) if vouched else None
        request = request_bytes("r1")
        assert await rig.gateway.forward(worker.connection_id, "r1", request, vouched=lease)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(forward)
        await worker.take_request()
        await worker.ack("r1")


@asynccontextmanager
async def running(*, vouched: bool) -> AsyncIterator[tuple[Rig, Peer]]:
    """A worker that runs a request, and a gateway that has lost the store since."""
    async with open_rig() as rig:
        worker = await rig.worker()
        await taken(rig, worker, vouched=vouched)
        rig.outages.down = True
        yield rig, worker


async def test_the_executor_is_asked_about_worker_and_lease(autojump_clock: MockClock) -> None:
    async with running(vouched=True) as (rig, worker):
        rig.vouchers.answer = "01JD8ZK3V4P5Q6R7S8T9V0W1X2"
        held = lease_id(15)
        await ask(worker, held)
        await told(worker)
        assert [request for _, request in rig.vouchers.asked] == [
            pb.ExtendLeaseRequest(
                env_id=ENV,
                request_id="r1",
                lease_id=held,
                instance_id="worker-1",
                limited=False,
            )
        ]


async def test_what_the_executor_extends_the_worker_is_told(autojump_clock: MockClock) -> None:
    async with running(vouched=True) as (rig, worker):
        rig.vouchers.answer = "01JD8ZK3V4P5Q6R7S8T9V0W1X2"
        await ask(worker, lease_id(15))
        assert await told(worker) == "01JD8ZK3V4P5Q6R7S8T9V0W1X2"


async def test_what_the_executor_refuses_the_worker_is_told(autojump_clock: MockClock) -> None:
    async with running(vouched=True) as (rig, worker):
        rig.vouchers.answer = None
        await ask(worker, lease_id(15))
        assert await told(worker) is None


async def test_a_store_that_hangs_leaves_time_to_ask_the_executor(
    autojump_clock: MockClock,
) -> None:
    async with running(vouched=True) as (rig, worker):
        rig.outages.down, rig.outages.delay = False, 1000
        rig.vouchers.answer = "01JD8ZK3V4P5Q6R7S8T9V0W1X2"
        asked = trio.current_time()
        await ask(worker, lease_id(15))
        assert await told(worker) == "01JD8ZK3V4P5Q6R7S8T9V0W1X2"
        assert trio.current_time() - asked <= INTERVAL


async def test_a_store_that_refuses_is_no_better_than_one_that_is_away(
    autojump_clock: MockClock,
) -> None:
    async with running(vouched=True) as (rig, worker):
        rig.outages.down, rig.outages.refused = False, {"extend"}
        rig.vouchers.answer = "01JD8ZK3V4P5Q6R7S8T9V0W1X2"
        await ask(worker, lease_id(15))
        assert await told(worker) == "01JD8ZK3V4P5Q6R7S8T9V0W1X2"


async def test_while_the_lease_lasts_a_worker_that_nobody_answers_for_asks_again(
    autojump_clock: MockClock,
) -> None:
    async with running(vouched=True) as (_, worker):
        await ask(worker, lease_id(15))
        assert await silent(worker, INTERVAL)


async def test_a_worker_that_nobody_answers_for_is_stopped_before_its_lease_ends(
    autojump_clock: MockClock,
) -> None:
    async with running(vouched=True) as (_, worker):
        end = trio.current_time() + 7.5
        await ask(worker, lease_id(7.5))
        assert await told(worker) is None
        assert trio.current_time() < end


async def vouch(rig: Rig, worker: Peer, lease: str, seconds: float) -> None:
    """Have the executor vouch for a lease for so long, and answer no more."""
    silence, rig.vouchers.answer = rig.vouchers.answer, lease
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        await ask(worker, lease)
        assert await told(worker) == lease
        await trio.sleep(INTERVAL)
    rig.vouchers.answer = silence


async def test_what_was_vouched_for_outlasts_a_question_without_an_answer(
    autojump_clock: MockClock,
) -> None:
    """The lease id says when the lease ended by the store, which is long ago."""
    async with running(vouched=True) as (rig, worker):
        held = lease_id(15)
        await vouch(rig, worker, held, 30)
        await ask(worker, held)
        assert await silent(worker, INTERVAL)


@pytest.mark.parametrize("vouched", [True, False])
async def test_a_worker_is_stopped_before_what_was_vouched_for_ends(
    vouched: bool, autojump_clock: MockClock
) -> None:
    """Also where the request was forwarded over another connection."""
    async with running(vouched=vouched) as (rig, worker):
        held = lease_id(15)
        await vouch(rig, worker, held, 30)
        end = trio.current_time() - INTERVAL + LEASE
        await ask(worker, held)
        assert await silent(worker, INTERVAL)
        await ask(worker, held)
        assert await told(worker) is None
        assert trio.current_time() < end


async def test_a_worker_whose_executor_never_answers_is_left_alone(
    autojump_clock: MockClock,
) -> None:
    """Executors of others don't know the question; theirs is the risk, and the retry."""
    async with running(vouched=False) as (_, worker):
        await ask(worker, lease_id(2))
        assert await silent(worker, 4 * INTERVAL)


async def test_a_request_that_is_over_is_vouched_for_no_longer(
    autojump_clock: MockClock,
) -> None:
    async with running(vouched=True) as (rig, worker):
        rig.outages.down = False
        await rig.lease("r1")
        await worker.reply("r1")
        await worker.expect(Kind.WORKER_REPLY_ACK)
        rig.outages.down = True
        await ask(worker, lease_id(2))
        assert await silent(worker, 4 * INTERVAL)


async def test_questions_about_one_lease_are_answered_in_order(
    autojump_clock: MockClock,
) -> None:
    """The second names a lease id from before the first was answered."""
    async with running(vouched=True) as (rig, worker):
        rig.outages.down = False
        await rig.lease("r1")
        first = await rig.store.leases.get(ENV, "r1")
        assert first is not None
        rig.outages.delay = 1
        for _ in range(2):
            await ask(worker, first.id)
        answers = [await told(worker) for _ in range(2)]
        assert answers[0] is not None
        assert answers[0] == answers[1]
