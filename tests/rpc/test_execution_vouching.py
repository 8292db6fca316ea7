"""An executor extends a worker's lease for a gateway that has lost the store."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from connect.errors import ConnectError, StoreUnavailable, Syscode, SyscodeError
from connect.protocol.messages.connect import v1 as pb
from connect.rpc.frames import LeaseAnswer
from connect.state.commands import CommandError
from connect.state.store import AlreadyLeased, ExtendOutcome, ExtendResult, LeaseState
from tests.rpc.fakes import (
    ENV,
    NOW,
    REQUEST_ID,
    Rig,
    execute_with_reply,
    open_rig,
    refuse,
    request,
    route,
)

ASKED = pb.ExtendLeaseRequest(
    env_id=ENV, request_id=REQUEST_ID, lease_id="lease-1", instance_id="worker-1", limited=True
)


async def _answer(rig: Rig, asked: pb.ExtendLeaseRequest = ASKED) -> LeaseAnswer:
    """Ask while the request is in progress."""
    answers = []

    async def ask() -> None:
        await trio.sleep(1)
        answers.append(await rig.executor.extend_lease(asked))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await execute_with_reply(rig, 10)
    return answers[0]


async def test_the_store_extends_it(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        assert await _answer(rig) == LeaseAnswer(in_progress=True, lease_id="lease-2")
        assert rig.store.leases.extended == [(ENV, REQUEST_ID, "lease-1", "worker-1", 20.0, True)]


async def test_what_the_store_does_not_extend_is_extended_no_more(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.extension = ExtendResult(ExtendOutcome.NOT_LEASED)
        assert await _answer(rig) == LeaseAnswer(in_progress=True, lease_id="")


@pytest.mark.parametrize("error", [StoreUnavailable("down"), CommandError("NOPERM")])
async def test_what_the_store_cannot_extend_goes_on_as_it_is(
    error: ConnectError, autojump_clock: MockClock
) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.extension = error
        assert await _answer(rig) == LeaseAnswer(in_progress=True, lease_id="lease-1")


async def test_no_lease_goes_on_for_a_worker_that_does_not_have_the_request(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.extension = StoreUnavailable("down")
        before = replace(ASKED, instance_id="worker-that-had-it-before")
        assert await _answer(rig, before) == LeaseAnswer(in_progress=True, lease_id="")


async def test_no_lease_goes_on_before_it_is_known_who_has_the_request(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.extension = StoreUnavailable("down")
        rig.store.routing.delay = 3  # it may come to another worker
        assert await _answer(rig) == LeaseAnswer(in_progress=False)


async def test_the_lease_of_a_request_that_another_executor_routed_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(AlreadyLeased("lease-1")) as rig:
        rig.store.leases.extension = StoreUnavailable("down")
        assert await _answer(rig) == LeaseAnswer(in_progress=True, lease_id="lease-1")


async def test_the_lease_of_a_request_that_another_executor_routed_meanwhile_goes_on(
    autojump_clock: MockClock,
) -> None:
    routed = AlreadyLeased("lease-1", None, "lease-w")
    async with open_rig(route(2), routed, forward=refuse) as rig:
        rig.store.leases.extension = StoreUnavailable("down")
        assert await _answer(rig) == LeaseAnswer(in_progress=True, lease_id="lease-1")


async def test_what_goes_on_as_it_is_is_not_taken_for_expired(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        rig.store.leases.extension = StoreUnavailable("down")
        rig.store.leases.states = [LeaseState.EXPIRED]

        async def ask_once() -> None:
            await trio.sleep(4)
            await rig.executor.extend_lease(ASKED)

        nursery.start_soon(ask_once)
        with pytest.raises(SyscodeError, match=Syscode.WORKER_STOPPED_RESPONDING):
            await rig.executor.execute(request())
        assert trio.current_time() > 4 + 20


@pytest.mark.parametrize(("given_up", "until"), [(30, NOW + 24 + 20 - 30), (50, 0)])
async def test_a_request_that_is_given_up_is_marked_until_what_it_was_vouched_for_is_over(
    given_up: float, until: float, autojump_clock: MockClock
) -> None:
    async with open_rig(route()) as rig, trio.open_nursery() as nursery:
        rig.store.leases.extension = StoreUnavailable("down")
        nursery.start_soon(rig.executor.execute, request())
        await trio.sleep(24)
        await rig.executor.extend_lease(ASKED)
        await trio.sleep(given_up - 24)
        nursery.cancel_scope.cancel()
    assert rig.store.routing.vouched_until_ms == [int(until * 1000)]


async def test_a_request_that_is_not_in_progress_is_not_answered_for(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        other = pb.ExtendLeaseRequest(env_id="env-2", request_id=REQUEST_ID, lease_id="lease-1")
        told = [await rig.executor.extend_lease(ASKED), await _answer(rig, other)]
        assert told == [LeaseAnswer(in_progress=False)] * 2
        assert rig.store.leases.extended == []


async def test_a_request_that_is_answered_meanwhile_is_not_in_progress(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.delay = 1.2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute_with_reply, rig, 2)
            await trio.sleep(1.5)
            answer = await rig.executor.extend_lease(ASKED)
        assert not answer.in_progress
