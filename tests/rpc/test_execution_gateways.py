"""What an executor does when gateways cannot be reached, on a clock that jumps."""

import trio
from trio.testing import MockClock

from connect.errors import Syscode
from connect.rpc.errors import CallRefused, PeerUnreachable, RpcStatus
from connect.settings import Limits, Timing
from connect.state.store import NoRoute, NoRouteReason
from tests.rpc.fakes import (
    NOW,
    Rig,
    execute_with_reply,
    failing,
    gateway,
    open_rig,
    request,
    route,
)

DEAD, ALIVE = gateway("gw-1"), gateway("gw-2", ip="10.0.0.2")
NONE_HEALTHY = NoRoute(NoRouteReason.NONE_HEALTHY)


async def only_the_fourth_is_alive(connection_id: str, data: bytes) -> bool:
    await trio.lowlevel.checkpoint()
    if connection_id != "conn-4":
        raise PeerUnreachable(RpcStatus.UNAVAILABLE, "cannot connect")
    return True


async def knows_both(rig: Rig) -> None:
    """Have the executor know both gateways, of which one is dead."""
    rig.store.gateways.records = [DEAD, ALIVE]
    await trio.sleep(Timing().gateway_refresh + 0.5)


async def test_a_request_is_routed_past_a_gateway_that_cannot_be_reached(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(
        route(1), route(4, gateway_id="gw-2"), forward=only_the_fourth_is_alive
    ) as rig:
        await knows_both(rig)
        await execute_with_reply(rig, 1)
        asked = rig.store.routing.acquired
        assert [again.gateways for again in asked] == [("gw-1", "gw-2"), ("gw-2",)]


async def test_its_connection_may_be_tried_again(autojump_clock: MockClock) -> None:
    async with open_rig(
        route(1), route(4, gateway_id="gw-2"), forward=only_the_fourth_is_alive
    ) as rig:
        await knows_both(rig)
        await execute_with_reply(rig, 1)
        assert rig.store.routing.acquired[1].excluded == ()


async def test_a_gateway_that_cannot_be_reached_is_no_attempt(autojump_clock: MockClock) -> None:
    async with open_rig(
        route(1),
        route(2, gateway_id="gw-3"),
        route(4, gateway_id="gw-2"),
        forward=only_the_fourth_is_alive,
        limits=Limits(forward_attempts=1),
    ) as rig:
        rig.store.gateways.records = [DEAD, ALIVE, gateway("gw-3")]
        await trio.sleep(1.5)
        assert (await execute_with_reply(rig, 1)).body == b"done"


async def test_the_next_request_is_not_routed_to_it_either(autojump_clock: MockClock) -> None:
    async with open_rig(
        route(1), route(4, gateway_id="gw-2"), forward=only_the_fourth_is_alive
    ) as rig:
        await knows_both(rig)
        await execute_with_reply(rig, 0.1)
        await execute_with_reply(rig, 0.1)
        assert rig.store.routing.acquired[2].gateways == ("gw-2",)


async def test_its_workers_are_waited_for(autojump_clock: MockClock) -> None:
    """They come back over another gateway, or it does itself."""
    async with open_rig(
        route(1), NONE_HEALTHY, route(4, gateway_id="gw-2"), forward=only_the_fourth_is_alive
    ) as rig:
        await knows_both(rig)
        started = trio.current_time()
        assert (await execute_with_reply(rig, 2)).body == b"done"
        assert trio.current_time() - started >= Timing().draining_retry


async def test_a_gateway_that_stays_unreachable_is_given_up(autojump_clock: MockClock) -> None:
    async with open_rig(
        route(1), NONE_HEALTHY, route(1), NONE_HEALTHY, route(1), forward=only_the_fourth_is_alive
    ) as rig:
        assert await failing(rig) == Syscode.NO_HEALTHY_CONNECTION
        assert len(rig.forwarded) == 1 + Limits().forward_attempts


async def test_a_gateway_that_refuses_is_asked_again(autojump_clock: MockClock) -> None:
    async def refuse_the_first(connection_id: str, data: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        if connection_id == "conn-1":
            raise CallRefused(RpcStatus.UNAVAILABLE, "not ready")
        return True

    async with open_rig(route(1), route(2), forward=refuse_the_first) as rig:
        await execute_with_reply(rig, 1)
        again = rig.store.routing.acquired[1]
        assert (again.gateways, again.excluded) == (("gw-1",), ("conn-1",))


async def test_gateways_that_seem_dead_as_the_clock_was_set_are_waited_for(
    autojump_clock: MockClock,
) -> None:
    step = 0.0

    async with open_rig(NONE_HEALTHY, NONE_HEALTHY, route(1), now=lambda: NOW + step) as rig:
        await trio.sleep(3)
        step = 3600.0
        assert (await execute_with_reply(rig, 5)).body == b"done"
        assert [asked.gateways for asked in rig.store.routing.acquired] == [()] * 3


async def test_a_request_that_no_gateway_took_is_completed(autojump_clock: MockClock) -> None:
    async with open_rig(route(1), forward=only_the_fourth_is_alive) as rig:
        await failing(rig)
        assert rig.store.routing.completed == [(request().request_id, "worker-1")]
