"""What goes wrong: which fault, when, where and for how long, drawn from the seed."""

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import trio

from tests.simulation.history import Faulty, Paused
from tests.simulation.nodes import GatewayNode
from tests.simulation.store import HOST, Condition
from tests.simulation.world import Shape, World

__all__ = [
    "Fault",
    "FaultKind",
    "carry_out",
    "may_leave_requests",
    "plan_faults",
    "plan_rolling_restarts",
]

# After this long without a sign of its peer, an RPC connection is given up (`watch_peer`).
_USER_TIMEOUT = 15.0


class FaultKind(StrEnum):
    """The kinds of faults."""

    KILL = "kill"  # and started again after the duration
    RESTART = "restart"  # in good order, and started again at once
    DRAIN = "drain"  # of a gateway, which is active again after the duration
    PAUSE = "pause"
    DEAF = "deaf"  # a worker reads nothing from its connections
    PARTITION = "partition"  # nothing gets from one host to the other, nor back
    ONE_WAY = "one way"  # nothing gets from one host to the other
    CUT = "cut"  # connections between two hosts break
    SLOW = "slow"  # what one host sends to another takes seconds
    REFUSING = "redis refuses"
    HANGING = "redis hangs"
    FORGETFUL = "redis answers get lost"


_CONDITIONS = {
    FaultKind.REFUSING: Condition.REFUSING,
    FaultKind.HANGING: Condition.HANGING,
    FaultKind.FORGETFUL: Condition.FORGETFUL,
}

# What happens to a node as a whole; all others but those of Redis are of links.
_OF_NODES = (
    FaultKind.KILL,
    FaultKind.RESTART,
    FaultKind.DRAIN,
    FaultKind.PAUSE,
    FaultKind.DEAF,
)

_WEIGHTS = {
    FaultKind.KILL: 5,
    FaultKind.RESTART: 3,
    FaultKind.DRAIN: 2,
    FaultKind.PAUSE: 4,
    FaultKind.DEAF: 2,
    FaultKind.PARTITION: 3,
    FaultKind.ONE_WAY: 3,
    FaultKind.CUT: 3,
    FaultKind.SLOW: 2,
    FaultKind.REFUSING: 2,
    FaultKind.HANGING: 2,
    FaultKind.FORGETFUL: 2,
}

_DURATIONS = (0.05, 0.5, 2.0, 8.0, 16.0, 28.0, 45.0)

# How many faults there are; one alone excuses little.
_COUNTS = (0, 1, 1, 1, 2, 2, 3, 4, 5, 7)

# Every gateway restarts so often in a plan of restarts, each so long after the one before that
# this is long over, in seconds.
_ROUNDS = 3
_APART = 32.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        at: when, in seconds since the run began.
        seconds: how long.
        node: where; empty for one of Redis as a whole.
        other: the other host of a link.
    """

    kind: FaultKind
    at: float
    seconds: float
    node: str = ""
    other: str = ""

    @property
    def can_strand(self) -> bool:
        """Whether an executor may end without having cleaned up after its requests."""
        ends = self.kind in (FaultKind.KILL, FaultKind.RESTART)
        return ends and self.node.startswith("ex-")

    @property
    def can_displace(self) -> bool:
        """Whether Redis may name an executor in a lease that has been told nothing of it.

        Then another one, which has the reply, leaves the lease and the place on the worker
        alone, until they run out of themselves. And one that was not told that it has taken
        over a lease may end before that is over.
        """
        return self.kind in _CONDITIONS or HOST in (self.node, self.other)

    def __str__(self) -> str:
        where = " ".join(name for name in (self.node, self.other) if name)
        return f"{self.kind} {where} for {self.seconds:.3f} s".replace("  ", " ")


def may_leave_requests(faults: Iterable[Fault], executors: int) -> bool:
    """Whether requests may be over that nobody has cleaned up after, with so many executors."""
    return any(fault.can_strand or (executors > 1 and fault.can_displace) for fault in faults)


def plan_faults(rng: random.Random, shape: Shape, begin: float, end: float) -> list[Fault]:
    """Draw faults for a span of time; now and then none."""
    gateways, executors, workers = _names(shape)
    places = {kind: [*gateways, *executors, *workers, "api"] for kind in _OF_NODES}
    places[FaultKind.DRAIN], places[FaultKind.DEAF] = gateways, workers
    links = [
        *((worker, gateway) for worker in workers for gateway in gateways),
        *((executor, gateway) for executor in executors for gateway in gateways),
        *((node, HOST) for node in gateways + executors),
        *((worker, "api") for worker in workers),
        ("api", HOST),
    ]
    faults = []
    for _ in range(rng.choice(_COUNTS)):
        kind = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        node, other = _place(rng, kind, places, links)
        faults.append(
            Fault(
                kind=kind,
                at=rng.uniform(begin, end),
                seconds=rng.uniform(0.5, 1.0) * rng.choice(_DURATIONS),
                node=node,
                other=other,
            )
        )
    return sorted(faults, key=lambda fault: fault.at)


def plan_rolling_restarts(shape: Shape, begin: float, apart: float = _APART) -> list[Fault]:
    """Have all gateways restart in turn, some rounds of it, and nothing else go wrong.

    Args:
        apart: seconds from one restart to the next.
    """
    gateways, _, _ = _names(shape)
    return [
        Fault(kind=FaultKind.RESTART, at=begin + number * apart, seconds=0.2, node=gateway)
        for number, gateway in enumerate(gateways * _ROUNDS)
    ]


def _names(shape: Shape) -> tuple[list[str], list[str], list[str]]:
    """Return the names of gateways, executors, and workers."""
    return (
        [f"gw-{number}" for number in range(shape.gateways)],
        [f"ex-{number}" for number in range(shape.executors)],
        [f"wk-{number}" for number in range(len(shape.concurrency))],
    )


def _place(
    rng: random.Random,
    kind: FaultKind,
    nodes: Mapping[FaultKind, Sequence[str]],
    links: Sequence[tuple[str, str]],
) -> tuple[str, str]:
    if kind in _CONDITIONS:
        return "", ""
    if kind in nodes:
        return rng.choice(nodes[kind]), ""
    one, other = rng.choice(links)
    return (one, other) if rng.random() < 0.5 else (other, one)


async def carry_out(world: World, faults: Sequence[Fault]) -> None:
    """Have the faults happen at their times; return when all are over."""
    async with trio.open_nursery() as nursery:
        for fault in faults:
            nursery.start_soon(_happen, world, fault)


async def _happen(world: World, fault: Fault) -> None:
    await trio.sleep_until(fault.at)
    history = world.around.history
    began, connected = history.now, world.connected()
    await _ACTS[fault.kind](world, fault)
    history.add(
        Faulty(
            at=began,
            kind=fault.kind,
            fault=str(fault),
            places=(fault.node, fault.other),
            until=history.now,
            connected=connected,
        )
    )


async def _end_process(world: World, fault: Fault) -> None:
    node = world.node(fault.node)
    if node.gone.is_set() or node.dead or node.stopping:
        return  # another fault has it already
    kill = fault.kind is FaultKind.KILL
    await world.restart(fault.node, fault.seconds if kill else 0.2, kill=kill)


async def _pause(world: World, fault: Fault) -> None:
    began = world.around.history.now
    if not world.around.scheduler.freeze(fault.node):
        return  # another fault has it already
    await trio.sleep(fault.seconds)
    world.around.scheduler.thaw(fault.node)
    world.around.history.add(Paused(at=began, node=fault.node, until=world.around.history.now))


async def _drain(world: World, fault: Fault) -> None:
    node = world.node(fault.node)
    assert isinstance(node, GatewayNode)
    async with trio.open_nursery() as nursery:
        node.spawn(nursery, node.drain_for, fault.seconds)


async def _deafen(world: World, fault: Fault) -> None:
    world.around.network.deafen(fault.node)
    await trio.sleep(fault.seconds)
    world.around.network.hear(fault.node)


async def _block(world: World, fault: Fault) -> None:
    network = world.around.network
    ways = [(fault.node, fault.other)]
    if fault.kind is FaultKind.PARTITION:
        ways.append((fault.other, fault.node))
    for way in ways:
        network.block(*way)
    await trio.sleep(min(fault.seconds, _USER_TIMEOUT))
    if fault.seconds > _USER_TIMEOUT:
        network.give_up(fault.node, fault.other)
        await trio.sleep(fault.seconds - _USER_TIMEOUT)
    for way in ways:
        network.unblock(*way)


async def _cut(world: World, fault: Fault) -> None:
    world.around.network.cut(fault.node, fault.other)
    await trio.lowlevel.checkpoint()


async def _slow_down(world: World, fault: Fault) -> None:
    network = world.around.network
    network.slow_down(fault.node, fault.other, min(fault.seconds / 4, 4.0))
    await trio.sleep(fault.seconds)
    network.slow_down(fault.node, fault.other, 0.0)


async def _trouble_redis(world: World, fault: Fault) -> None:
    redis = world.around.redis
    redis.become(_CONDITIONS[fault.kind])
    await trio.sleep(fault.seconds)
    redis.become(Condition.WELL)


_ACTS: dict[FaultKind, Callable[[World, Fault], Awaitable[None]]] = {
    FaultKind.KILL: _end_process,
    FaultKind.RESTART: _end_process,
    FaultKind.DRAIN: _drain,
    FaultKind.PAUSE: _pause,
    FaultKind.DEAF: _deafen,
    FaultKind.PARTITION: _block,
    FaultKind.ONE_WAY: _block,
    FaultKind.CUT: _cut,
    FaultKind.SLOW: _slow_down,
    FaultKind.REFUSING: _trouble_redis,
    FaultKind.HANGING: _trouble_redis,
    FaultKind.FORGETFUL: _trouble_redis,
}
