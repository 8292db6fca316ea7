"""What an executor does with one request, on a clock that jumps."""

import pytest
import trio
from trio.testing import MockClock

from connect.errors import ConnectError, StoreUnavailable, Syscode
from connect.rpc import RpcError
from connect.rpc.errors import CallRefused, RpcStatus
from connect.settings import Limits, Timing
from connect.state.commands import CommandError
from connect.state.encoding import BadRecord
from connect.state.records import GatewayStatus
from connect.state.store import (
    Abandoned,
    AlreadyLeased,
    Buffered,
    LeaseState,
    NoRoute,
    NoRouteReason,
)
from tests.rpc.fakes import (
    REQUEST_ID,
    execute_with_reply,
    failing,
    gateway,
    open_rig,
    refuse,
    request,
    response,
    route,
)

UNAVAILABLE = StoreUnavailable("gone")
REFUSED = CommandError("NOPERM this user has no permissions")
OURS = [(REQUEST_ID, "worker-1")]


async def test_a_pushed_reply_is_the_result(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        assert (await execute_with_reply(rig, 1)).body == b"done"


async def test_a_reply_within_two_seconds_costs_no_poll_and_no_lease_check(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        await execute_with_reply(rig, 1.9)
        assert (rig.store.responses.polls, rig.store.leases.checks) == ([], [])


async def test_the_request_is_forwarded_under_its_lease_to_the_routed_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        await execute_with_reply(rig, 1)
        sent = rig.forwarded[0]
        assert (sent.host, sent.port, sent.connection_id, sent.lease_id) == (
            "10.0.0.1",
            7001,
            "conn-1",
            "lease-1",
        )


async def test_a_forward_may_take_longer_than_the_gateway_waits_for_the_ack(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        await execute_with_reply(rig, 1)
        assert rig.forwarded[0].timeout > Timing().lease + 5


async def test_routing_is_told_the_executor_address_and_the_live_gateways(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        await execute_with_reply(rig, 1)
        asked = rig.store.routing.acquired[0]
        assert (asked.executor_host, asked.executor_port, asked.gateways) == (
            "executor-1",
            9999,
            ("gw-1",),
        )


async def test_a_request_that_its_worker_may_still_run_is_asked_for_until_it_does_not(
    autojump_clock: MockClock,
) -> None:
    over = Abandoned(until=0)
    async with open_rig(over, over, over, route()) as rig:
        await execute_with_reply(rig, 10)
        assert len(rig.forwarded) == 1
        assert len(rig.store.routing.acquired) == 4


async def test_a_request_given_up_that_no_worker_has_may_be_run_by_the_next_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(Abandoned(until=0)) as rig:
        with trio.move_on_after(3):
            await rig.executor.execute(request())
        assert rig.store.routing.may_run == []


async def test_a_request_given_up_that_a_worker_has_is_marked_as_such(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        with trio.move_on_after(3):
            await rig.executor.execute(request())
        assert rig.store.routing.may_run == [True]


async def test_a_request_that_is_answered_is_not_run_any_more(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        await execute_with_reply(rig, 1)
        assert rig.store.routing.may_run == [False]


async def test_a_request_that_no_worker_took_is_not_run(autojump_clock: MockClock) -> None:
    async with open_rig(route(), NoRoute(NoRouteReason.NONE_HEALTHY), forward=refuse) as rig:
        await failing(rig)
        assert rig.store.routing.may_run == [False]


async def test_a_buffered_response_is_returned_without_forwarding(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(Buffered(response(body=b"kept"))) as rig:
        assert (await rig.executor.execute(request())).body == b"kept"
        assert rig.forwarded == []


async def test_a_request_leased_by_another_is_awaited_but_not_forwarded(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(AlreadyLeased("lease-x")) as rig:
        assert (await execute_with_reply(rig, 1)).body == b"done"
        assert rig.forwarded == []


async def test_a_refused_forward_is_routed_again_without_that_connection(
    autojump_clock: MockClock,
) -> None:
    answers = iter([False, True])

    async def second_takes_it(connection_id: str, data: bytes) -> bool:
        return next(answers)

    async with open_rig(route(1), route(2), forward=second_takes_it) as rig:
        await execute_with_reply(rig, 1)
        again = rig.store.routing.acquired[1]
        assert (again.excluded, again.held_lease, again.held_instance) == (
            ("conn-1",),
            "lease-1",
            "worker-1",
        )
        assert rig.store.routing.completed == [(REQUEST_ID, "worker-2")]


async def test_an_unreachable_gateway_counts_as_a_refused_forward(
    autojump_clock: MockClock,
) -> None:
    async def unreachable(connection_id: str, data: bytes) -> bool:
        if connection_id == "conn-1":
            raise CallRefused(RpcStatus.UNAVAILABLE, "nobody there")
        return True

    async with open_rig(route(1), route(2), forward=unreachable) as rig:
        await execute_with_reply(rig, 1)
        assert [sent.connection_id for sent in rig.forwarded] == ["conn-1", "conn-2"]


async def _lost(connection_id: str, data: bytes) -> bool:
    """Fail as a connection that is cut while the gateway passes the request on."""
    if connection_id == "conn-1":
        raise RpcError(RpcStatus.UNAVAILABLE, "the connection is lost")
    return True


async def test_a_forward_of_unknown_outcome_is_routed_again_once_its_lease_is_over(
    autojump_clock: MockClock,
) -> None:
    timing = Timing()
    async with open_rig(route(1), route(2), forward=_lost) as rig:
        await execute_with_reply(rig, timing.lease + timing.lease_grace - 0.1)
        assert [sent.connection_id for sent in rig.forwarded] == ["conn-1"]
    async with open_rig(route(1), route(2), forward=_lost) as rig:
        await execute_with_reply(rig, timing.lease + timing.lease_grace + 0.1)
        assert [sent.connection_id for sent in rig.forwarded] == ["conn-1", "conn-2"]


async def test_the_reply_to_a_forward_of_unknown_outcome_is_taken(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route(1), route(2), forward=_lost) as rig:
        assert (await execute_with_reply(rig, 3)).body == b"done"
        assert trio.current_time() < Timing().lease


async def test_a_gateway_that_left_the_table_counts_as_a_refused_forward(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route(1, gateway_id="gw-gone"), route(2)) as rig:
        await execute_with_reply(rig, 1)
        assert [sent.connection_id for sent in rig.forwarded] == ["conn-2"]


async def test_no_more_connections_than_the_limit_are_tried(autojump_clock: MockClock) -> None:
    async with open_rig(
        route(1), route(2), forward=refuse, limits=Limits(forward_attempts=2)
    ) as rig:
        assert await failing(rig) == Syscode.NO_HEALTHY_CONNECTION
        assert len(rig.forwarded) == 2


async def test_a_lease_that_the_tried_worker_extended_is_awaited(autojump_clock: MockClock) -> None:
    async with open_rig(route(), AlreadyLeased("lease-1b"), forward=refuse) as rig:
        await execute_with_reply(rig, 1)
        assert rig.store.routing.completed == OURS


async def test_a_reply_while_forwarding_ends_the_forward(autojump_clock: MockClock) -> None:
    async def never(connection_id: str, data: bytes) -> bool:
        await trio.sleep_forever()
        raise AssertionError

    async with open_rig(route(), forward=never) as rig:
        assert (await execute_with_reply(rig, 3)).body == b"done"
        assert trio.current_time() == pytest.approx(3)


async def test_a_reply_while_routing_again_ends_the_routing(autojump_clock: MockClock) -> None:
    async with open_rig(route(), NoRoute(NoRouteReason.NONE_HEALTHY), forward=refuse) as rig:

        def reply_to_second(count: int) -> None:
            if count == 2:
                rig.executor.deliver(REQUEST_ID, response())

        rig.store.routing.on_acquire = reply_to_second
        assert (await rig.executor.execute(request())).body == b"done"


async def test_a_reply_between_routing_and_forwarding_is_enough(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.routing.on_acquire = lambda count: None

        async def replies_at_once(connection_id: str, data: bytes) -> bool:
            rig.executor.deliver(REQUEST_ID, response())
            await trio.lowlevel.checkpoint()
            raise AssertionError

        rig.bridge.forward = replies_at_once
        assert (await rig.executor.execute(request())).body == b"done"


async def test_the_second_of_two_replies_changes_nothing(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:

        async def replies_twice(connection_id: str, data: bytes) -> bool:
            rig.executor.deliver(REQUEST_ID, response(body=b"first"))
            assert rig.executor.deliver(REQUEST_ID, response(body=b"second"))
            return True

        rig.bridge.forward = replies_twice
        assert (await rig.executor.execute(request())).body == b"first"


async def test_a_reply_nobody_waits_for_is_refused(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        assert not rig.executor.deliver(REQUEST_ID, response())


async def test_a_reply_whose_push_was_lost_is_found_in_the_buffer(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.responses.buffered = response(body=b"polled")
        rig.store.responses.available_at = 4
        assert (await rig.executor.execute(request())).body == b"polled"


async def test_polls_back_off_to_the_longest_interval(autojump_clock: MockClock) -> None:
    async with open_rig(route(), timing=Timing(lease=1000)) as rig:
        await execute_with_reply(rig, 30)
        polls = rig.store.responses.polls
        gaps = [later - earlier for earlier, later in zip([0, *polls], polls, strict=False)]
        assert gaps[:4] == pytest.approx([2, 3, 4.5, 5], abs=0.01)


async def test_the_lease_is_checked_every_quarter_of_its_length(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        await execute_with_reply(rig, 16)
        assert rig.store.leases.checks == pytest.approx([5, 10, 15], abs=0.01)


@pytest.mark.parametrize("state", [LeaseState.EXPIRED, LeaseState.NONE])
async def test_an_expired_or_missing_lease_without_reply_fails_after_the_grace(
    state: LeaseState, autojump_clock: MockClock
) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.states = [state]
        assert await failing(rig) == Syscode.WORKER_STOPPED_RESPONDING
        assert trio.current_time() == pytest.approx(10)


async def test_a_lease_that_nobody_extends_is_over_though_its_end_is_far_away(
    autojump_clock: MockClock,
) -> None:
    """As its end is when the clock is set back."""
    async with open_rig(route()) as rig:
        rig.store.leases.never_extended = True
        assert await failing(rig) == Syscode.WORKER_STOPPED_RESPONDING
        timing = Timing()
        assert trio.current_time() == pytest.approx(
            timing.extend_lease + timing.lease + timing.lease_grace
        )


async def test_a_lease_that_is_extended_is_awaited_however_long(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        assert (await execute_with_reply(rig, 1000)).body == b"done"


async def test_a_lease_that_cannot_be_read_is_over(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.states = [BadRecord("lease", "no JSON")]
        assert await failing(rig) == Syscode.WORKER_STOPPED_RESPONDING


async def test_a_reply_within_the_grace_is_taken(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.states = [LeaseState.EXPIRED]
        assert (await execute_with_reply(rig, 9)).body == b"done"


async def test_a_reply_buffered_within_the_grace_is_taken(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.states = [LeaseState.EXPIRED]
        rig.store.responses.buffered = response(body=b"late")
        rig.store.responses.available_at = 9.9
        assert (await rig.executor.execute(request())).body == b"late"


async def test_a_lease_extended_within_the_grace_is_awaited_further(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.states = [LeaseState.EXPIRED, LeaseState.LEASED]
        assert (await execute_with_reply(rig, 60)).body == b"done"


@pytest.mark.parametrize("error", [UNAVAILABLE, REFUSED])
async def test_a_store_that_does_not_tell_is_never_taken_for_an_expired_lease(
    error: ConnectError, autojump_clock: MockClock
) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.states = [error]
        rig.store.responses.error = error
        assert (await execute_with_reply(rig, 100)).body == b"done"


async def test_a_store_unavailable_at_the_end_of_the_grace_prolongs_it(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.states = [LeaseState.EXPIRED, UNAVAILABLE, LeaseState.EXPIRED]
        assert await failing(rig) == Syscode.WORKER_STOPPED_RESPONDING
        assert trio.current_time() == pytest.approx(15)


async def test_a_reply_during_a_slow_lease_check_ends_it(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.leases.delay = 4
        await execute_with_reply(rig, 6)
        assert trio.current_time() == pytest.approx(6)


async def test_a_request_ends_after_the_longest_function(autojump_clock: MockClock) -> None:
    async with open_rig(route(), timing=Timing(longest_function=50)) as rig:
        assert await failing(rig) == Syscode.REQUEST_TOO_LONG
        assert trio.current_time() == pytest.approx(50)


async def test_only_draining_workers_are_tried_again_as_often_as_configured(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(NoRoute(NoRouteReason.ONLY_DRAINING)) as rig:
        assert await failing(rig) == Syscode.NO_HEALTHY_CONNECTION
        assert len(rig.store.routing.acquired) == 11
        assert trio.current_time() == pytest.approx(10)


async def test_a_replacement_for_draining_workers_gets_the_request(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(NoRoute(NoRouteReason.ONLY_DRAINING), route()) as rig:
        assert (await execute_with_reply(rig, 2)).body == b"done"
        assert len(rig.forwarded) == 1


async def test_without_any_worker_those_of_a_draining_gateway_are_waited_for(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(NoRoute(NoRouteReason.NONE_HEALTHY), route()) as rig:
        rig.store.gateways.records.append(gateway("gw-2", status=GatewayStatus.DRAINING))
        await trio.sleep(1.5)  # the table is renewed meanwhile
        started = trio.current_time()
        assert (await execute_with_reply(rig, 2)).body == b"done"
        assert trio.current_time() - started >= Timing().draining_retry
        assert len(rig.forwarded) == 1


async def test_without_any_worker_those_of_a_store_that_was_away_are_waited_for(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(NoRoute(NoRouteReason.NONE_HEALTHY), route()) as rig:
        rig.store.gateways.error = StoreUnavailable("down")
        await trio.sleep(3)
        rig.store.gateways.error = None
        await trio.sleep(3)
        started = trio.current_time()
        assert (await execute_with_reply(rig, 5)).body == b"done"
        assert trio.current_time() - started >= Timing().draining_retry


async def test_workers_of_a_draining_gateway_that_do_not_come_back_are_given_up(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(NoRoute(NoRouteReason.NONE_HEALTHY)) as rig:
        rig.store.gateways.records.append(gateway("gw-2", status=GatewayStatus.DRAINING))
        await trio.sleep(1.5)
        assert await failing(rig) == Syscode.NO_HEALTHY_CONNECTION
        assert len(rig.store.routing.acquired) > Timing().draining_attempts


async def test_a_reply_while_waiting_for_a_replacement_ends_the_wait(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(NoRoute(NoRouteReason.ONLY_DRAINING)) as rig:
        assert (await execute_with_reply(rig, 2.5)).body == b"done"


async def test_a_gateway_that_just_started_is_found_before_giving_up(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(NoRoute(NoRouteReason.NONE_HEALTHY), route(1, gateway_id="gw-2")) as rig:
        await trio.sleep(0.5)
        rig.store.gateways.records.append(gateway("gw-2", status=GatewayStatus.DRAINING))
        await execute_with_reply(rig, 1)
        assert rig.store.routing.acquired[1].draining_gateways == ("gw-2",)


async def test_a_table_renewed_while_routing_was_under_way_is_routed_by(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(NoRoute(NoRouteReason.NONE_HEALTHY), route(1, gateway_id="gw-2")) as rig:
        rig.store.routing.delay = 3

        async def another_gateway() -> None:
            await trio.sleep(1)  # seen by the background read, before routing has its answer
            rig.store.gateways.records.append(gateway("gw-2", status=GatewayStatus.ACTIVE))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(another_gateway)
            await execute_with_reply(rig, 8)
        assert len(rig.store.routing.acquired) == 2


async def test_routing_that_hangs_is_given_up(autojump_clock: MockClock) -> None:
    async with open_rig(route()) as rig:
        rig.store.routing.delay = 100
        with pytest.raises(StoreUnavailable):
            await rig.executor.execute(request())
        assert trio.current_time() == pytest.approx(5)
