"""What an execution leaves behind, however it ends: nothing."""

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked
from ulid import ULID

from connect.errors import StoreUnavailable, Syscode
from connect.settings import Timing
from connect.state.store import (
    AcquireOutcome,
    AlreadyLeased,
    Buffered,
    LeaseState,
    NoRoute,
    NoRouteReason,
)
from tests.rpc.fakes import (
    NOW,
    REQUEST_ID,
    execute_with_reply,
    failing,
    open_rig,
    refuse,
    request,
    response,
    route,
)

UNAVAILABLE = StoreUnavailable("gone")
OURS = [(REQUEST_ID, "worker-1")]


async def test_a_finished_request_is_completed_once_with_its_instance(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        await execute_with_reply(rig, 1)
        assert rig.store.routing.completed == OURS


async def test_a_buffered_response_is_completed_whoever_holds_its_lease(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(Buffered(response())) as rig:
        await rig.executor.execute(request())
        assert rig.store.routing.completed == [(REQUEST_ID, None)]
        assert rig.store.routing.completed_by == [None]


async def test_a_request_is_completed_only_while_its_lease_names_this_executor(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        await execute_with_reply(rig, 1)
        assert rig.store.routing.completed_by == [("executor-1", 9999)]


@pytest.mark.parametrize(
    ("outcomes", "ids"),
    [
        ((route(1), route(2)), (route(2).lease_id,)),
        ((AlreadyLeased("lease-x", None, "lease-w"),), ("lease-w",)),
        ((route(1), AlreadyLeased("lease-x", None, "lease-w")), ("lease-w",)),
        ((route(1), AlreadyLeased("lease-x", None, route(1).lease_id)), (route(1).lease_id,)),
        ((route(1), AlreadyLeased("lease-x")), ()),
        ((Buffered(response()),), ()),
    ],
)
async def test_a_request_is_completed_only_while_its_lease_is_one_of_this_run(
    outcomes: tuple[AcquireOutcome, ...], ids: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async def refuse_first(connection_id: str, data: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        return connection_id != "conn-1"

    async with open_rig(*outcomes, forward=refuse_first) as rig:
        await execute_with_reply(rig, 1)
        assert rig.store.routing.made_with == [ids]


async def test_a_request_that_another_executor_has_routed_meanwhile_is_completed_for_its_worker(
    autojump_clock: MockClock,
) -> None:
    routed = AlreadyLeased("lease-x", None, "lease-w")
    async with open_rig(route(), routed, forward=refuse) as rig:
        await execute_with_reply(rig, 1)
        assert rig.store.routing.completed == [(REQUEST_ID, None)]


async def test_a_request_that_another_executor_took_over_is_left_to_it(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.routing.taken = True
        with capture_logs() as logs:
            assert (await execute_with_reply(rig, 1)).body == b"done"
        assert "request left to another executor" in [entry["event"] for entry in logs]


async def test_the_reply_to_a_request_leased_by_another_completes_it(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(AlreadyLeased("lease-x")) as rig:
        await execute_with_reply(rig, 1)
        assert rig.store.routing.completed == [(REQUEST_ID, None)]


async def test_refused_forwards_leave_nothing_behind(autojump_clock: MockClock) -> None:
    async with open_rig(route(1), route(2), route(3), forward=refuse) as rig:
        await failing(rig)
        assert rig.store.routing.completed == [(REQUEST_ID, "worker-3")]


async def test_a_reply_that_comes_while_a_request_fails_is_its_answer(
    autojump_clock: MockClock,
) -> None:
    """The worker of a forward that failed has been told that its reply is safe."""
    async with open_rig(route(), NoRoute(NoRouteReason.ALL_AT_CAPACITY), forward=refuse) as rig:
        rig.store.responses.buffered = response(body=b"nonetheless")
        assert (await rig.executor.execute(request())).body == b"nonetheless"


async def test_a_request_that_fails_leaves_a_reply_it_has_not_seen(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route(), NoRoute(NoRouteReason.ALL_AT_CAPACITY), forward=refuse) as rig:
        rig.store.responses.error = UNAVAILABLE
        await failing(rig)
        assert rig.store.routing.kept_responses == [True]


async def test_a_request_that_is_answered_leaves_no_reply(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        await execute_with_reply(rig, 1)
        assert rig.store.routing.kept_responses == [False]


async def test_no_route_after_a_refused_forward_completes_the_held_lease(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route(), NoRoute(NoRouteReason.ALL_AT_CAPACITY), forward=refuse) as rig:
        assert await failing(rig) == Syscode.ALL_WORKERS_AT_CAPACITY
        assert rig.store.routing.completed == OURS


async def test_an_expired_request_is_completed(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.states = [LeaseState.EXPIRED]
        await failing(rig)
        assert rig.store.routing.completed == OURS


async def test_an_expired_request_of_another_executor_is_completed(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(AlreadyLeased("lease-x")) as rig:
        rig.store.leases.states = [LeaseState.EXPIRED]
        await failing(rig)
        assert rig.store.routing.completed == [(REQUEST_ID, None)]


async def test_a_request_of_another_executor_that_takes_too_long_is_completed(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(AlreadyLeased("lease-x"), timing=Timing(longest_function=60)) as rig:
        assert await failing(rig) == Syscode.REQUEST_TOO_LONG
        assert rig.store.routing.completed == [(REQUEST_ID, None)]


async def test_a_fresh_request_without_route_fails_and_completes_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(NoRoute(NoRouteReason.NONE_HEALTHY)) as rig:
        assert await failing(rig) == Syscode.NO_HEALTHY_CONNECTION
        assert rig.store.routing.completed == []


async def test_routing_that_fails_completes_the_lease_that_it_may_have_made(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(UNAVAILABLE) as rig:
        with pytest.raises(StoreUnavailable):
            await rig.executor.execute(request())
        await wait_all_tasks_blocked()
        routing = rig.store.routing
        assert routing.completed == [(REQUEST_ID, None)]
        assert routing.completed_leases == [routing.acquired[0].lease_id]
        assert routing.completed_by == [rig.executor.address]


async def test_a_lease_ends_when_its_id_says(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        await execute_with_reply(rig, 1)
        lease_id = rig.store.routing.acquired[0].lease_id
        assert lease_id is not None
        assert ULID.from_str(lease_id).milliseconds == (NOW + Timing().lease) * 1000


async def test_routing_again_that_fails_completes_whichever_lease_this_executor_has(
    autojump_clock: MockClock,
) -> None:
    """The request may be assigned to another worker by now."""
    async with open_rig(route(), UNAVAILABLE, forward=refuse) as rig:
        with pytest.raises(StoreUnavailable):
            await rig.executor.execute(request())
        routing = rig.store.routing
        assert routing.completed == [(REQUEST_ID, None)]
        assert routing.completed_leases == [None]
        assert routing.completed_by == [("executor-1", 9999)]


async def test_a_completion_that_fails_does_not_hold_the_reply_up(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.routing.complete_error = UNAVAILABLE
        assert (await execute_with_reply(rig, 1)).body == b"done"
        assert trio.current_time() == pytest.approx(1)


async def test_a_completion_that_fails_is_made_up_for(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.routing.complete_error = UNAVAILABLE
        await execute_with_reply(rig, 1)
        rig.store.routing.complete_error = None
        await trio.sleep(1)
        assert rig.store.routing.completed == OURS


async def test_a_completion_that_fails_is_made_up_for_when_the_executor_ends(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.routing.complete_error = UNAVAILABLE
        await execute_with_reply(rig, 1)
        rig.store.routing.complete_error = None
    assert rig.store.routing.completed == OURS


async def test_a_request_whose_last_run_is_not_cleaned_up_is_not_routed(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.routing.complete_error = UNAVAILABLE
        await execute_with_reply(rig, 1)
        with pytest.raises(StoreUnavailable, match="not cleaned up yet"):
            await rig.executor.execute(request())
        assert len(rig.store.routing.acquired) == 1


async def test_a_completion_that_hangs_is_given_up(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.routing.complete_delay = 100
        assert (await execute_with_reply(rig, 1)).body == b"done"
        assert trio.current_time() == pytest.approx(6)


@pytest.mark.parametrize("after", [0.5, 1.5, 3, 7])
async def test_cancelled_anywhere_after_routing_began_the_request_is_completed(
    after: float, autojump_clock: MockClock
) -> None:
    async def slow(connection_id: str, data: bytes) -> bool:
        await trio.sleep(1)
        return True

    async with open_rig(route(), forward=slow) as rig:
        rig.store.routing.delay = 1
        with trio.move_on_after(after) as scope:
            await rig.executor.execute(request())
        assert scope.cancelled_caught
        assert rig.store.routing.completed == OURS


async def test_cancelled_while_completing_the_completion_is_finished(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.routing.complete_delay = 2
        with trio.move_on_after(2):
            await execute_with_reply(rig, 1)
        assert rig.store.routing.completed == OURS


async def test_cancelled_while_another_executor_holds_the_lease_leaves_it_alone(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(AlreadyLeased("lease-x")) as rig:
        with trio.move_on_after(3):
            await rig.executor.execute(request())
        assert rig.store.routing.completed == []


async def test_cancelled_it_leaves_the_reply_to_the_executor_that_it_took_the_lease_over_from(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(AlreadyLeased("lease-x", ("executor-2", 1234))) as rig:
        with trio.move_on_after(3):
            await rig.executor.execute(request())
        [handed_back] = rig.store.leases.handed_back
        assert handed_back == (REQUEST_ID, ("executor-1", 9999), ("executor-2", 1234))


async def test_a_request_that_is_answered_is_handed_back_to_nobody(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(AlreadyLeased("lease-x", ("executor-2", 1234))) as rig:
        await execute_with_reply(rig, 1)
        assert rig.store.leases.handed_back == []


async def test_a_store_that_hangs_does_not_hold_up_who_hands_a_lease_back(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(AlreadyLeased("lease-x", ("executor-2", 1234))) as rig:
        rig.store.leases.delay = 1000
        with trio.move_on_after(3):
            await rig.executor.execute(request())
        assert trio.current_time() <= 3 + Timing().store_command


async def test_cancelled_while_waiting_for_a_replacement_completes_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(NoRoute(NoRouteReason.ONLY_DRAINING)) as rig:
        with trio.move_on_after(3):
            await rig.executor.execute(request())
        assert rig.store.routing.completed == []


async def test_a_reply_after_the_cancellation_is_refused(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.routing.complete_delay = 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.executor.execute, request())
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                assert not rig.executor.deliver(REQUEST_ID, response())
