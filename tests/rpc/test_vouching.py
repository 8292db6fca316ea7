"""What an executor says of leases to a gateway that has lost the state store."""

import pytest
import trio
from trio.testing import MockClock

from connect.errors import StoreUnavailable, Syscode
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import RpcError
from connect.rpc.errors import RpcStatus
from connect.rpc.frames import LeaseAnswer
from connect.state.store import ExtendOutcome, ExtendResult, LeaseState
from tests.rpc.fakes import ENV, REQUEST_ID, Rig, failing, open_rig, request, response, route

UNAVAILABLE = StoreUnavailable("gone")
LEASE = 20.0


def extension(env_id: str = ENV) -> pb.ExtendLeaseRequest:
    return pb.ExtendLeaseRequest(
        env_id=env_id,
        request_id=REQUEST_ID,
        lease_id="lease-1",
        instance_id="worker-1",
        limited=True,
    )


async def answered_after(rig: Rig, seconds: float) -> LeaseAnswer:
    """Execute the request, be asked about its lease after so long, and get the reply then."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.executor.execute, request())
        await trio.sleep(seconds)
        answer = await rig.executor.extend_lease(extension())
        rig.executor.deliver(REQUEST_ID, response())
    return answer


async def test_a_lease_is_extended_in_the_store(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        assert await answered_after(rig, 1) == LeaseAnswer(in_progress=True, lease_id="lease-2")
        assert rig.store.leases.extended == [(ENV, REQUEST_ID, "lease-1", "worker-1", LEASE, True)]


async def test_a_lease_that_the_store_refuses_is_lost(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.extension = ExtendResult(ExtendOutcome.SUPERSEDED)
        assert await answered_after(rig, 1) == LeaseAnswer(in_progress=True, lease_id="")


@pytest.mark.parametrize("delay", [0, 1000])
async def test_without_the_store_the_lease_goes_on_as_it_is(
    delay: float, autojump_clock: MockClock
) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.extension, rig.store.leases.delay = UNAVAILABLE, delay
        assert await answered_after(rig, 1) == LeaseAnswer(in_progress=True, lease_id="lease-1")


async def test_a_request_of_nobody_here_is_not_in_progress(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        assert await rig.executor.extend_lease(extension()) == LeaseAnswer(in_progress=False)


async def test_a_request_of_another_environment_is_not_in_progress(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.executor.execute, request())
        await trio.sleep(1)
        answer = await rig.executor.extend_lease(extension("env-2"))
        assert answer == LeaseAnswer(in_progress=False)
        rig.executor.deliver(REQUEST_ID, response())


async def test_a_request_that_is_answered_meanwhile_is_over(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        rig.store.leases.delay = 1
        nursery.start_soon(rig.executor.execute, request())
        nursery.start_soon(rig.reply_after, 1.5)
        await trio.sleep(1)
        assert await rig.executor.extend_lease(extension()) == LeaseAnswer(in_progress=False)


async def test_what_was_vouched_for_is_not_given_up_for_the_length_of_a_lease(
    autojump_clock: MockClock,
) -> None:
    """The lease in the store runs out meanwhile."""
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        leases = rig.store.leases
        leases.states = [UNAVAILABLE, UNAVAILABLE, LeaseState.EXPIRED]
        leases.extension = UNAVAILABLE

        async def vouch() -> None:
            await trio.sleep(12)
            await rig.executor.extend_lease(extension())

        nursery.start_soon(vouch)
        started = trio.current_time()
        assert await failing(rig) == Syscode.WORKER_STOPPED_RESPONDING
        assert trio.current_time() - started >= 12 + LEASE


async def test_what_was_vouched_for_in_doubt_goes_nowhere_else_for_the_length_of_a_lease(
    autojump_clock: MockClock,
) -> None:
    async def lose(connection_id: str, data: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        if connection_id == "conn-1":
            raise RpcError(RpcStatus.UNAVAILABLE, "the way broke")
        rig.executor.deliver(REQUEST_ID, response())
        return True

    async with open_rig(route(), route(2), forward=lose) as rig, trio.open_nursery() as nursery:
        rig.store.leases.extension = UNAVAILABLE

        async def vouch() -> None:
            await trio.sleep(18)
            await rig.executor.extend_lease(extension())

        nursery.start_soon(vouch)
        started = trio.current_time()
        await rig.executor.execute(request())
        assert trio.current_time() - started >= 18 + LEASE


async def test_a_request_that_has_failed_is_not_vouched_for(autojump_clock: MockClock) -> None:
    """While it is cleaned up, it is still known."""
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        rig.store.leases.states = [LeaseState.NONE]
        rig.store.leases.extension = UNAVAILABLE
        rig.store.routing.complete_delay = 4.5

        async def ask() -> None:
            await trio.sleep(12)
            answer = await rig.executor.extend_lease(extension())
            assert answer == LeaseAnswer(in_progress=False)

        nursery.start_soon(ask)
        assert await failing(rig) == Syscode.WORKER_STOPPED_RESPONDING
