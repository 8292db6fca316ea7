"""One simulation: from a seed to a history and what is wrong with it."""

import logging
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import structlog
import trio
import trio.testing

from connect.settings import DEVELOPMENT_ENV_ID, Settings
from connect.state.collector import collect
from connect.state.keys import Keys
from connect.state.redis_store import RedisStore
from tests.simulation.checker import Violation, check
from tests.simulation.determinism import seeded
from tests.simulation.executors import ExecutorNode
from tests.simulation.faults import (
    Fault,
    FaultKind,
    carry_out,
    may_leave_requests,
    plan_faults,
    plan_rolling_restarts,
)
from tests.simulation.history import Began, History, Leftover
from tests.simulation.network import Network
from tests.simulation.nodes import Surroundings
from tests.simulation.redis import MemoryRedis
from tests.simulation.rest import (
    count_at_first,
    look_at_keys_of_requests,
    look_at_records,
    look_at_rest,
)
from tests.simulation.store import NodeCommands, RedisServer
from tests.simulation.workload import (
    Demand,
    Workload,
    make_app,
    plan_crowd,
    plan_demands,
    plan_flood,
)
from tests.simulation.world import START, Shape, World

__all__ = ["Outcome", "Plan", "make_plan", "simulate"]

# Requests are made, and faults begin, until then; seconds since the run began.
_BUSY_UNTIL = 45.0

# How often the gateways are restarted in turn, and how often many requests come at one moment.
_ROLLING = 0.04
_CROWDED = 0.08

# Many requests; and what is more than the workers' sockets take, once a worker does not read.
_CROWD = (20, 60)
_FLOOD = 20
_FLOODED = 0.7

# How long executors may take to clean up after the last call, in seconds.
_CLEANED_UP_WITHIN = 6.0

# How long everything may take once the last fault is over, in seconds.
_SETTLED_WITHIN = 180.0

# A lease and its grace, and a little, in seconds.
_LEASE_RUNS_OUT = 30.0

# When the marks and mappings of what was lost have run out, in seconds; see `Timing`.
_FORGOTTEN_AFTER = 3 * 3600.0

_ENV = DEVELOPMENT_ENV_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a seed stands for.

    Attributes:
        streams: whether gateways know the methods that stream.
    """

    seed: int
    shape: Shape
    faults: tuple[Fault, ...]
    demands: tuple[Demand, ...]
    streams: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a plan."""

    plan: Plan
    history: History
    violations: tuple[Violation, ...]


def make_plan(seed: int) -> Plan:
    """Draw everything that is decided beforehand."""
    rng = random.Random(f"{seed} plan")
    limits = rng.choice(((None,), (None, 1, 2), (2, 3)))
    shape = Shape(
        gateways=rng.choice((1, 2, 2, 3)),
        executors=rng.choice((1, 2, 2)),
        concurrency=tuple(rng.choice(limits) for _ in range(rng.choice((1, 2, 3)))),
    )
    if rng.random() < _ROLLING and shape.gateways > 1:
        faults = plan_rolling_restarts(shape, rng.uniform(1.0, 10.0))
    else:
        faults = plan_faults(rng, shape, 1.0, _BUSY_UNTIL)
    return Plan(
        seed=seed,
        shape=shape,
        faults=tuple(faults),
        demands=tuple(_plan_demands(rng, faults)),
        streams=rng.random() < 0.7,
    )


def _plan_demands(rng: random.Random, faults: Sequence[Fault]) -> Iterator[Demand]:
    """Draw requests for as long as faults begin; now and then there are many at once."""
    until = max([_BUSY_UNTIL, *(fault.at for fault in faults)])
    yield from plan_demands(rng, rng.randint(6, 18), 1.0, until)
    if rng.random() < _CROWDED:
        yield from plan_crowd(rng, rng.randint(*_CROWD), rng.uniform(1.0, until))
    for fault in faults:
        if fault.kind is FaultKind.DEAF and rng.random() < _FLOODED:
            yield from plan_flood(_FLOOD, fault.at)
            return


def simulate(plan: Plan) -> Outcome:
    """Carry a plan out, and check what came of it."""
    history = History(_elapsed)
    with _logging_to(history), seeded(plan.seed, _now) as scheduler:
        clock = trio.testing.MockClock(autojump_threshold=0.0)
        clock._real_clock = lambda: 0.0  # it is never asked for anything but 0 seconds
        rng = random.Random(f"{plan.seed} network")
        network = Network(rng)
        around = Surroundings(
            settings=Settings(),
            network=network,
            redis=RedisServer(MemoryRedis(_now), network, rng),
            scheduler=scheduler,
            history=history,
            now=_now,
            streams=plan.streams,
        )
        trio.run(_run, plan, around, clock=clock)
    return Outcome(plan=plan, history=history, violations=tuple(check(history)))


def _elapsed() -> float:
    return round(trio.current_time(), 6)


def _now() -> float:
    return START + trio.current_time()


@contextmanager
def _logging_to(history: History) -> Iterator[None]:
    """Log nothing, which would take most of the time; but note what nobody has foreseen."""

    def note(logger: object, method: str, event: structlog.typing.EventDict) -> NoReturn:
        if event.get("exc_info"):
            what = f"{event['event']}: {sys.exc_info()[1]!r}"
            history.add(Leftover(at=history.now, what=what))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), processors=[note]
    )
    try:
        yield
    finally:
        structlog.configure(**before)


async def _run(plan: Plan, around: Surroundings) -> None:
    running: dict[str, str] = {}
    tidy = not may_leave_requests(plan.faults, plan.shape.executors)
    async with trio.open_nursery() as nursery:
        shape = plan.shape
        around.history.add(
            Began(
                at=0.0,
                gateways=shape.gateways,
                limits=shape.concurrency,
                streams=plan.streams,
            )
        )
        world = World(around, plan.shape, make_app(running), running, nursery)
        with world.dialling():
            await world.start_all()
            before = await count_at_first(world)
            await _be_busy(plan, world)
            if tidy:
                await trio.sleep(_CLEANED_UP_WITHIN)
                look_at_keys_of_requests(world, plan.faults)
            rng = random.Random(f"{plan.seed} rest")
            await look_at_rest(world, before, plan.faults, rng)
            await _shut_down(world)
            nursery.cancel_scope.cancel()
    _note_leftovers(
        around.history,
        (around.network.open_ends, "open ends of connections"),
        (around.network.listening, "ports listened on"),
    )
    look_at_records(world, plan.faults)
    if tidy:
        look_at_keys_of_requests(world, plan.faults)
    await _look_at_redis(world)


async def _be_busy(plan: Plan, world: World) -> None:
    """Make the requests amid the faults, until all have their outcomes."""
    workload = Workload(world, random.Random(f"{plan.seed} workload"))
    ends = (fault.at + fault.seconds for fault in plan.faults)
    over = max([_BUSY_UNTIL, *ends, *(demand.at for demand in plan.demands)])
    with trio.move_on_at(over + _SETTLED_WITHIN):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry_out, world, plan.faults)
            nursery.start_soon(workload.run, list(plan.demands))
    history = world.around.history
    for who in workload.waiting:
        history.add(Leftover(at=history.now, what=f"{who} has no outcome"))


async def _shut_down(world: World) -> None:
    """Stop all nodes in good order."""
    history = world.around.history
    stages: tuple[tuple[str, ...], ...] = (
        world.workers, world.executors, world.gateways, ("api",),
    )  # fmt: skip
    for names in stages:
        for name in names:
            if isinstance(node := world.node(name), ExecutorNode) and node.in_progress:
                what = f"{name} has {node.in_progress} requests in progress"
                history.add(Leftover(at=history.now, what=what))
        with trio.move_on_after(_SETTLED_WITHIN) as stopping:
            await world.stop(*names)
        if stopping.cancelled_caught:
            left = [name for name in names if not world.node(name).gone.is_set()]
            history.add(Leftover(at=history.now, what=f"{', '.join(left)} did not end"))


def _note_leftovers(history: History, *counts: tuple[int, str]) -> None:
    for count, what in counts:
        if count:
            history.add(Leftover(at=history.now, what=f"{count} {what}"))


async def _look_at_redis(world: World) -> None:
    """Note which keys stay for good, and what is counted against workers."""
    around, history = world.around, world.around.history
    timing = around.settings.timing
    commands = NodeCommands(around.redis, around.network, "observer", timing.store_command)
    store = RedisStore(commands, now=around.now, timing=timing)
    keys = Keys()
    # As soon as what was not cleaned up must count no longer: of itself, not by being deleted.
    await trio.sleep(_LEASE_RUNS_OUT)
    for instance in world.instances:
        if load := await store.capacity.load(_ENV, instance):
            history.add(Leftover(at=history.now, what=f"{load} requests on {instance}"))
    await trio.sleep(_FORGOTTEN_AFTER)
    await collect(store, _ENV)
    await trio.sleep(_FORGOTTEN_AFTER)  # what the collection leaves for a while
    registry = keys.apps(_ENV).removesuffix("apps")
    for key in around.redis.database.all_keys():
        if not key.startswith(registry):
            history.add(Leftover(at=history.now, what=f"the key {key}"))
