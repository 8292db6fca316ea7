"""What stays wrong after a run is noted: each kind of it, done to a service that was well."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from unittest import mock

import pytest
import trio

from connect.nursery.connection import Connection
from connect.settings import DEVELOPMENT_ENV_ID
from connect.state.keys import Keys
from connect.state.records import ConnectionStatus, GatewayStatus
from tests.simulation import rest
from tests.simulation.executors import ExecutorNode
from tests.simulation.faults import Fault, FaultKind
from tests.simulation.history import CallStarted, ReplyStored
from tests.simulation.nodes import GatewayNode, WorkerNode
from tests.simulation.run import Plan, make_plan, simulate
from tests.simulation.workload import Workload
from tests.simulation.world import Shape, World

_ENV = DEVELOPMENT_ENV_ID
_KEYS = Keys()


def plan() -> Plan:
    """Nothing is asked, and nothing goes wrong."""
    shape = Shape(gateways=1, executors=1, concurrency=(None, 2))
    return replace(make_plan(0), shape=shape, faults=(), demands=())


def gateway(world: World) -> GatewayNode:
    node = world.node("gw-0")
    assert isinstance(node, GatewayNode)
    return node


def connection(world: World) -> Connection:
    """Return that of wk-0."""
    [found] = (
        connection
        for connection in gateway(world).gateway.table
        if connection.joined is not None
        and connection.joined.connection.instance_id == world.node("wk-0").process
    )
    return found


# What goes wrong as the service comes to rest


async def leave_a_task(world: World) -> None:
    world.node("gw-0").spawn(world._nursery, trio.sleep_forever)


async def leave_a_socket(world: World) -> None:
    await world.around.network.dial("wk-0", "gw-0", 8289)


async def kill_a_worker(world: World) -> None:
    world.node("wk-0").kill()


async def drain(world: World) -> None:
    gateway(world).gateway.start_drain()


async def leave_an_entry_in_a_gateway(world: World) -> None:
    connection(world)._extending["lost"] = trio.Lock()


async def leave_an_entry_in_an_executor(world: World) -> None:
    node = world.node("ex-0")
    assert isinstance(node, ExecutorNode)
    assert node._executor is not None
    node._executor._request_bytes += 7


async def leave_an_entry_in_a_worker(world: World) -> None:
    node = world.node("wk-0")
    assert isinstance(node, WorkerNode)
    assert node._worker._work is not None
    node._worker._work._in_flight["lost"] = mock.Mock()


async def stay_counted(world: World) -> None:
    await rest._store(world).capacity.assign(_ENV, world.node("wk-1").process, "lost")


async def leave_an_assignment(world: World) -> None:
    key, worker = _KEYS.request_worker(_ENV, "lost"), world.node("wk-1").process
    world.around.redis.database.execute(("SET", key, worker))


async def lose_a_place_in_the_lists(world: World) -> None:
    record = connection(world).record()
    for app_id, group in record.synced_groups.items():
        listed = _KEYS.ready(_ENV, app_id, group, record.gateway_id)
        world.around.redis.database.execute(("ZREM", listed, record.id))


async def be_stored_as_draining(world: World) -> None:
    record = replace(connection(world).record(), status=ConnectionStatus.DRAINING)
    await rest._store(world).connections.upsert(_ENV, record)


async def leave_the_record_of_a_connection(world: World) -> None:
    record = replace(connection(world).record(), id="lost", instance_id="wk-9.9")
    await rest._store(world).connections.upsert(_ENV, record)


async def leave_the_record_of_a_gateway(world: World) -> None:
    [record] = rest._stored_gateways(world)
    await rest._store(world).gateways.upsert(replace(record, id="lost", hostname="gw-9"))


async def be_stored_as_a_draining_gateway(world: World) -> None:
    gateway(world).gateway._mark(GatewayStatus.DRAINING)
    await gateway(world).gateway._beat()


DAMAGE: dict[Callable[[World], Awaitable[None]], str] = {
    leave_a_task: "1 tasks trio.sleep_forever of gw-*",
    leave_a_socket: "2 open ends between gw-0 and wk-0",
    kill_a_worker: "wk-0 is ready at 0 gateways",
    drain: "gw-0 drains",
    leave_an_entry_in_a_gateway: "1 leases being extended of gw-0",
    leave_an_entry_in_an_executor: "7 bytes of requests of ex-0",
    leave_an_entry_in_a_worker: "1 requests in flight of wk-0",
    stay_counted: "1 requests on wk-1",
    leave_an_assignment: f"the key {_KEYS.request_worker(_ENV, 'lost')}",
    lose_a_place_in_the_lists: "wk-0 is ready at gw-0, and not listed so",
    be_stored_as_draining: "wk-0 is not stored as ready at gw-0",
    leave_the_record_of_a_connection: "the record of a connection of wk-9.9 to gw-0",
    leave_the_record_of_a_gateway: "the record of a gateway on gw-9 that is gone",
    be_stored_as_a_draining_gateway: "gw-0 is not stored as active",
}


def noted_after(damage: Callable[[World], Awaitable[None]]) -> list[str]:
    """Return what is noted of a run after which something goes wrong."""
    be_idle = rest._be_idle

    async def idle_no_more(world: World) -> None:
        await be_idle(world)
        await trio.sleep(1.0)  # the heartbeats of this moment are over, which mend a record
        await damage(world)
        await trio.sleep(0.1)

    with mock.patch.object(rest, "_be_idle", idle_no_more):
        return [violation.text for violation in simulate(plan()).violations]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_what_stays_wrong_is_noted(damage: Callable[[World], Awaitable[None]]) -> None:
    assert any(text.startswith(DAMAGE[damage]) for text in noted_after(damage))


def test_of_a_service_that_is_well_nothing_is_noted() -> None:
    assert not simulate(plan()).violations


def test_a_reply_that_a_paused_gateway_keeps_after_it_was_flushed_is_excused() -> None:
    paused = Fault(kind=FaultKind.PAUSE, at=2.5, seconds=7.0, node="gw-0")
    demand = replace(
        make_plan(0).demands[0],
        at=1.5,
        seconds=2.0,
        size=0,
        fails=False,
        patience=None,
        twice_after=None,
    )
    outcome = simulate(replace(plan(), faults=(paused,), demands=(demand,)))
    stored = [event.request for event in outcome.history if isinstance(event, ReplyStored)]
    assert stored.count(demand.request) == 2
    assert not outcome.violations


def test_what_is_asked_at_rest_is_told_from_the_calls_before() -> None:
    outcome = simulate(replace(make_plan(0), faults=()))
    numbers = [event.call for event in outcome.history if isinstance(event, CallStarted)]
    assert len(numbers) > len(outcome.plan.demands)
    assert len({*numbers}) == len(numbers)


def test_a_request_that_has_no_outcome_at_rest_is_noted() -> None:
    async def never(*args: object) -> None:
        await trio.sleep_forever()

    with mock.patch.object(Workload, "ask", never):
        texts = [violation.text for violation in simulate(plan()).violations]
    assert "rest-0 of ex-0 was cancelled after 60.0 s, having run 0 times" in texts


def test_a_request_that_takes_too_long_at_rest_is_noted() -> None:
    async def slow_down(world: World) -> None:
        world.around.network.slow_down("gw-0", "wk-0", 3.0)
        world.around.network.slow_down("gw-0", "wk-1", 3.0)

    assert any("was answered" in text for text in noted_after(slow_down))
