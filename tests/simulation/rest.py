"""What must be so again once all faults are over, and nothing is asked of the service.

Damage that stays shows only then: a worker that does not come back, a connection to which
nothing is routed, a place on a worker that nobody gives back, a task or an entry of a table
that is left of each request. At the end of a run everything is gone in any case.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import trio

from connect.nursery.connection import Connection
from connect.protocol.lifecycle import Phase
from connect.settings import DEVELOPMENT_ENV_ID
from connect.state.encoding import decode_connection, decode_gateway
from connect.state.keys import Keys
from connect.state.records import ConnectionRecord, ConnectionStatus, GatewayRecord, GatewayStatus
from connect.state.redis_store import RedisStore
from connect.worker import Happening
from tests.simulation.determinism import NODE
from tests.simulation.entries import entries
from tests.simulation.facts import node_of
from tests.simulation.faults import Fault, FaultKind, may_leave_requests
from tests.simulation.history import (
    CallEnding,
    Faulty,
    Leftover,
    Missing,
    ReplyConfirmed,
    RunStarted,
)
from tests.simulation.nodes import GatewayNode
from tests.simulation.store import NodeCommands
from tests.simulation.workload import Demand, Workload
from tests.simulation.world import World

__all__ = [
    "AtRest",
    "count_at_first",
    "look_at_keys_of_requests",
    "look_at_records",
    "look_at_rest",
]

# What an end of a connection may not have noticed ends with the heartbeats: five of 10 s, and
# then the way back. Seconds from the end of the last fault.
_UNNOTICED = 60.0

# A lease without a holder, its grace, and the heartbeat at which its gateway forgets it. Seconds
# from the end of the last call.
_FORGOTTEN = 40.0

# What is asked then takes this long, and so much longer at most, in seconds.
_WORK = 1.0
_AT_ONCE = 1.0

# Whoever has no answer by then waits no longer, in seconds.
_PATIENCE = 60.0

# How often the tasks are counted, and the seconds between: what comes and goes is not there always.
_LOOKS = 5
_BETWEEN_LOOKS = 0.03

# By then all nodes are up, and nothing has been asked yet. Seconds since the run began.
_UP = 0.8

# Requests for a worker that has no limit.
_ENOUGH = 2

# A gateway that runs nothing for so long has little left of `Timing.cleanup`, in seconds.
_LONG_PAUSE = 4.0

# What an executor and a gateway run for each stream between them; it is opened when needed.
_TASKS_OF_STREAM = {
    "ex": (
        "connect.rpc.forward_streams.ForwardStreams._open_and_serve",
        "tests.simulation.rpc._Stream.read",
    ),
    "gw": ("tests.simulation.rpc._Service.serve", "tests.simulation.rpc._Stream.read"),
}

_ENV = DEVELOPMENT_ENV_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRest:
    """What there is while nothing happens.

    Attributes:
        tasks: how many, by the kind of their node and by what they run.
        streams: how many executors have to gateways.
    """

    tasks: Mapping[tuple[str, str], int]
    streams: int

    def beyond(self, before: "AtRest") -> Iterator[str]:
        """Say which tasks there are more of than before, but for those of streams."""
        streams = self.streams - before.streams
        for kind in sorted({kind for kind, _ in self.tasks}):
            more = Counter(self._of(kind))
            more.subtract(before._of(kind))
            more.subtract(dict.fromkeys(_TASKS_OF_STREAM.get(kind, ()), streams))
            for name, count in sorted((+more).items()):
                yield f"{count} tasks {name} of {kind}-*"

    def _of(self, kind: str) -> dict[str, int]:
        return {name: number for (of, name), number in self.tasks.items() if of == kind}


async def count_at_first(world: World) -> AtRest | None:
    """Count what there is as soon as all nodes are up; None if they take too long for that."""
    with trio.move_on_at(_UP) as in_time:
        for name in _names(world):
            await world.node(name).up.wait()
    return None if in_time.cancelled_caught else await _count(world)


async def _count(world: World) -> AtRest:
    """Count what there is now; what comes and goes meanwhile does not count."""
    least = _tasks()
    for _ in range(_LOOKS):
        await trio.sleep(_BETWEEN_LOOKS)
        least &= _tasks()
    return AtRest(tasks=least, streams=sum(_streams(world).values()))


async def look_at_rest(
    world: World,
    before: AtRest | None,
    faults: Sequence[Fault],
    rng: random.Random,
) -> None:
    """Wait until everything may be as it was, ask for some more, and note what is not.

    Args:
        before: what there was when nothing had been asked yet, if that is known.
        faults: that were carried out; some excuse what is stored.
        rng: which executor is asked first.
    """
    await _be_idle(world)
    _look_at_nodes(world)
    _look_at_stored_connections(world, faults)
    if not may_leave_requests(faults, len(world.executors)):
        _note_keys(world, _of_work())  # a reply that nobody took stays a little longer
    await _look_at_requests(world, rng)
    after = await _count(world)
    if before is not None:
        _note_left(world, after.beyond(before))
    _note_left(world, await _ends_that_stay(world))
    for name in _names(world):
        left = (f"{number} {what} of {name}" for what, number in entries(world.node(name)))
        _note_left(world, left)
    _look_at_stored_connections(world, faults)
    for instance in world.instances:
        if load := await _store(world).capacity.load(_ENV, instance):
            _note_left(world, [f"{load} requests on {instance}"])


async def _be_idle(world: World) -> None:
    history = world.around.history
    over = max((event.until for event in history if isinstance(event, Faulty)), default=0.0)
    await trio.sleep_until(max(over + _UNNOTICED, history.now + _FORGOTTEN))


# Nodes


def _look_at_nodes(world: World) -> None:
    """Note who is not there, or not where it should be: each worker is ready at one gateway."""
    for name in _names(world):
        node = world.node(name)
        if not node.up.is_set() or node.gone.is_set():
            _note_missing(world, f"{name} is not up")
        elif isinstance(node, GatewayNode) and node.gateway.draining:
            _note_missing(world, f"{name} drains")
    ready = Counter(worker for worker, _ in world.connected())
    for worker in world.workers:
        if ready[worker] != 1:
            _note_missing(world, f"{worker} is ready at {ready[worker]} gateways")


def _names(world: World) -> tuple[str, ...]:
    return *world.gateways, *world.executors, *world.workers, "api"


def _connections(world: World) -> Iterator[tuple[GatewayNode, Connection]]:
    for name in world.gateways:
        node = world.node(name)
        if isinstance(node, GatewayNode) and node.up.is_set() and not node.gone.is_set():
            for connection in node.gateway.table:
                yield node, connection


# Requests


async def _look_at_requests(world: World, rng: random.Random) -> None:
    """Fill all workers at once, then ask each executor once more, and note what does not run."""
    workload = Workload(world, rng)
    room = [await _room(world, node.process) for node in map(world.node, world.workers)]
    if not sum(room):
        return  # what a killed executor had counts for some minutes
    executors = list(world.executors)
    rng.shuffle(executors)
    asked = 0
    for count in (sum(room), len(executors) if sum(room) >= len(executors) else 1):
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                executor = executors[asked % len(executors)]
                nursery.start_soon(_ask, world, workload, executor, f"rest-{asked}")
                asked += 1


async def _room(world: World, instance: str) -> int:
    """Return how many requests a worker takes now; some, if it has no limit."""
    limit = world.shape.concurrency[world.workers.index(node_of(instance))]
    if limit is None:
        return _ENOUGH
    return max(0, limit - await _store(world).capacity.load(_ENV, instance))


async def _ask(world: World, workload: Workload, executor: str, request: str) -> None:
    history = world.around.history
    began = history.now
    demand = Demand(
        request=request,
        at=began,
        seconds=_WORK,
        size=0,
        fails=False,
        patience=None,
        twice_after=None,
    )
    ended, how = CallEnding.CANCELLED, ""
    with trio.move_on_after(_PATIENCE):
        call = await workload.ask(executor, demand)
        ended, how = call.how, f" {call.detail}".rstrip()
    took = history.now - began
    runs = sum(isinstance(event, RunStarted) and event.request == request for event in history)
    if ended is not CallEnding.ANSWERED or took > _WORK + _AT_ONCE or runs != 1:
        how = f"{ended}{how}"
        text = f"{request} of {executor} was {how} after {took:.1f} s, having run {runs} times"
        _note_missing(world, text)


def look_at_keys_of_requests(world: World, faults: Sequence[Fault]) -> None:
    """Note what Redis holds of requests, although none is in progress.

    A gateway whose save was not answered saves the reply again, and keeps it so for its time
    where the request was over in between.
    A worker that has flushed its reply over HTTP may have sent it before, to a gateway that
    takes it up later, when the request is over: it saw the worker acknowledge the request,
    and cannot tell this from a lease that Redis has lost. So it keeps the reply, for its time.
    """
    responses = Keys().response(_ENV, "")
    twice = {
        responses + event.request
        for event in world.around.history
        if isinstance(event, ReplyConfirmed) and event.how == Happening.REPLY_FLUSHED
    }
    if any(fault.can_displace for fault in faults):
        _note_keys(world, _of_work())
    else:
        _note_keys(world, (*_of_work(), responses), excused=twice)


def _of_work() -> tuple[str, ...]:
    """Return the beginnings of the keys that tell who runs a request."""
    keys = Keys()
    return (
        keys.lease(_ENV, ""),
        keys.request_worker(_ENV, ""),
        keys.requests_prefix(_ENV),  # a worker's, which is there as long as it has a member
    )


# What is stored


def look_at_records(world: World, faults: Sequence[Fault]) -> None:
    """Note records of connections and gateways, although all nodes have ended.

    A gateway that was killed, or could not reach Redis when a connection ended, leaves them
    to be collected.
    """
    if any(_loses_writes(fault) for fault in faults):
        return
    ended = _gateway_ids(world)
    for record in _stored_connections(world):
        if record.gateway_id in ended:
            where = ended[record.gateway_id]
            _note_left(world, [f"the record of a connection of {record.instance_id} to {where}"])
    for gateway in _stored_gateways(world):
        if gateway.id in ended:
            _note_left(world, [f"the record of {ended[gateway.id]}"])
    if not any(_kills_gateway(fault) for fault in faults):
        keys = Keys()
        of_records = (
            keys.connections(_ENV),
            keys.groups(_ENV),
            keys.group_prefix(_ENV),
            keys.app_prefix(_ENV),
            keys.gateways(),
        )
        _note_keys(world, of_records)


def _look_at_stored_connections(world: World, faults: Sequence[Fault]) -> None:
    """Compare the records with the tables of the gateways, one by one, and with the indexes."""
    stored = {record.id: record for record in _stored_connections(world)}
    gateways = {record.id: record for record in _stored_gateways(world)}
    alive = _gateway_ids(world)
    for gateway_id, name in alive.items():
        gateway = gateways.pop(gateway_id, None)
        if gateway is None or gateway.status is not GatewayStatus.ACTIVE:
            _note_missing(world, f"{name} is not stored as active")
    for node, connection in _connections(world):
        assert connection.joined is not None
        own = stored.pop(connection.joined.connection.id, None)
        worker = node_of(connection.joined.connection.instance_id)
        if own is None or own.status is not ConnectionStatus.READY:
            _note_missing(world, f"{worker} is not stored as ready at {node.name}")
        elif connection.machine.phase is Phase.READY and not _is_listed(
            world, own, may_be_full=any(fault.can_strand for fault in faults)
        ):
            _note_missing(world, f"{worker} is ready at {node.name}, and not listed so")
    killed = any(_kills_gateway(fault) for fault in faults)
    if any(_loses_writes(fault) for fault in faults):
        return
    for gateway in gateways.values() if not killed else ():
        _note_left(world, [f"the record of a gateway on {gateway.hostname} that is gone"])
    for record in stored.values():
        if not killed or record.gateway_id in alive:
            where = alive.get(record.gateway_id, "a gateway that is gone")
            _note_left(world, [f"the record of a connection of {record.instance_id} to {where}"])


def _gateway_ids(world: World) -> dict[str, str]:
    """Return the names of the gateways that were started last, by their ids."""
    nodes = (world.node(name) for name in world.gateways)
    return {
        node.gateway.services.gateway_id: node.name
        for node in nodes
        if isinstance(node, GatewayNode) and node.up.is_set()
    }


def _kills_gateway(fault: Fault) -> bool:
    return fault.kind is FaultKind.KILL and fault.node.startswith("gw-")


def _loses_writes(fault: Fault) -> bool:
    """Whether a gateway may have tried in vain to remove a record, within `Timing.cleanup`."""
    paused = fault.kind is FaultKind.PAUSE and fault.node.startswith("gw-")
    places = {place.partition("-")[0] for place in (fault.node, fault.other)}
    asked = places.isdisjoint(("ex", "api"))
    return (paused and fault.seconds >= _LONG_PAUSE) or (fault.can_displace and asked)


def _is_listed(world: World, record: ConnectionRecord, *, may_be_full: bool) -> bool:
    """Whether a connection stands where requests are routed to it, for all of its apps."""
    keys, database = Keys(), world.around.redis.database
    lists = (keys.ready, keys.full) if may_be_full else (keys.ready,)
    return bool(record.synced_groups) and all(
        any(
            database.execute(("ZSCORE", key(_ENV, app_id, group, record.gateway_id), record.id))
            is not None
            for key in lists
        )
        for app_id, group in record.synced_groups.items()
    )


def _stored_connections(world: World) -> list[ConnectionRecord]:
    stored = world.around.redis.database.execute(("HVALS", Keys().connections(_ENV)))
    return [decode_connection(value) for value in stored]


def _stored_gateways(world: World) -> list[GatewayRecord]:
    stored = world.around.redis.database.execute(("HVALS", Keys().gateways()))
    return [decode_gateway(value) for value in stored]


# Tasks and sockets


def _tasks() -> Counter[tuple[str, str]]:
    """Count the tasks of the nodes, by their nodes' kind and by what they run."""
    found: Counter[tuple[str, str]] = Counter()
    root = trio.lowlevel.current_root_task()
    left = [] if root is None else [root]
    while left:
        task = left.pop()
        if node := task.context.get(NODE):
            found[node.partition("-")[0], task.name] += 1
        left += (child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return found


def _streams(world: World) -> Counter[tuple[str, str]]:
    """Count the connections between executors and gateways that have two open ends."""
    pairs = world.around.network.open_between()
    return Counter(
        {
            pair: ends // 2
            for pair, ends in pairs.items()
            if pair[0].startswith("ex-") and pair[1].startswith("gw-")
        }
    )


async def _ends_that_stay(world: World) -> list[str]:
    """Find what is open for a while; executors try now and then whether there are streams."""
    found = set(_open_ends(world))
    for _ in range(_LOOKS):
        if found:
            await trio.sleep(_BETWEEN_LOOKS)
            found &= set(_open_ends(world))
    return sorted(found)


def _open_ends(world: World) -> Iterator[str]:
    """Find what is open beyond each worker's connection, and one stream for each pair."""
    expected: Counter[tuple[str, str]] = Counter()
    for worker, gateway in world.connected():
        expected[gateway, worker] += 2
    for pair in +_streams(world):
        expected[pair] += 2
    for pair, ends in sorted((world.around.network.open_between() - expected).items()):
        yield f"{ends} open ends between {' and '.join(pair)}"


# Notes


def _store(world: World) -> RedisStore:
    around = world.around
    timing = around.settings.timing
    commands = NodeCommands(around.redis, around.network, "observer", timing.store_command)
    return RedisStore(commands, now=around.now, timing=timing)


def _note_keys(world: World, beginnings: tuple[str, ...], excused: Collection[str] = ()) -> None:
    found = (key for key in world.around.redis.database.all_keys() if key.startswith(beginnings))
    _note_left(world, (f"the key {key}" for key in found if key not in excused))


def _note_left(world: World, found: Iterable[str]) -> None:
    history = world.around.history
    for what in found:
        history.add(Leftover(at=history.now, what=what))


def _note_missing(world: World, what: str) -> None:
    history = world.around.history
    history.add(Missing(at=history.now, what=what))
