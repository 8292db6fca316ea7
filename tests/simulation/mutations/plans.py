"""Plans that show what general ones rarely bring about."""

import random
from dataclasses import replace

from tests.simulation.faults import Fault, FaultKind
from tests.simulation.mutations.mutation import long
from tests.simulation.run import Plan, make_plan
from tests.simulation.store import HOST
from tests.simulation.workload import plan_demands
from tests.simulation.world import Shape

__all__ = [
    "broken_link",
    "callers_that_come_again",
    "executors_away",
    "executors_that_end",
    "full_workers",
    "full_workers_whose_callers_leave",
    "gateways_without_redis",
    "killed_gateway",
    "long_drains",
    "lost_answers",
    "lost_workers",
    "redis_away",
    "restarted_gateway",
    "restarted_workers",
    "unheard_acknowledgements",
]


def broken_link(seed: int) -> Plan:
    """Long requests, and a worker whose connection breaks once while it runs some of them."""
    rng = random.Random(f"{seed} broken")
    plan = make_plan(seed)
    begin = rng.uniform(12, 16)
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(None, None)),
        faults=(Fault(kind=FaultKind.CUT, at=begin, seconds=0.0, node="wk-0", other="gw-0"),),
        demands=tuple(
            replace(long(demand, rng), at=rng.uniform(2, begin - 0.5)) for demand in plan.demands
        ),
    )


def unheard_acknowledgements(seed: int) -> Plan:
    """Long requests, and a worker whose connection breaks before its gateway hears of them."""
    rng = random.Random(f"{seed} unheard")
    plan = make_plan(seed)
    begin = rng.uniform(5, 20)
    place = {"node": "wk-0", "other": "gw-0"}
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(None, None)),
        faults=(
            Fault(kind=FaultKind.ONE_WAY, at=begin, seconds=3.0, **place),
            Fault(kind=FaultKind.CUT, at=begin + 2.9, seconds=0.0, **place),
        ),
        demands=tuple(
            replace(long(demand, rng), at=begin + rng.uniform(0.0, 2.5)) for demand in plan.demands
        ),
    )


def callers_that_come_again(seed: int) -> Plan:
    """Long requests whose callers leave, and ask again while the first worker runs on."""
    rng = random.Random(f"{seed} again")
    plan = make_plan(seed)
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(None, None)),
        faults=(),
        demands=tuple(
            replace(long(demand, rng), patience=rng.uniform(0.5, 3.0), twice_after=4.0)
            for demand in plan.demands
        ),
    )


def gateways_without_redis(seed: int) -> Plan:
    """Long requests, and a gateway that alone loses Redis; now and then its executor, too."""
    rng = random.Random(f"{seed} without redis")
    plan = make_plan(seed)
    begin = rng.uniform(8, 12)
    links = [("gw-0", HOST), ("ex-0", "gw-0")]
    return replace(
        plan,
        shape=Shape(gateways=2, executors=1, concurrency=(None, None)),
        streams=True,
        faults=tuple(
            Fault(kind=FaultKind.PARTITION, at=begin, seconds=45.0, node=node, other=other)
            for node, other in links[: rng.choice((1, 1, 2))]
        ),
        demands=tuple(replace(long(demand, rng), at=rng.uniform(3, 7)) for demand in plan.demands),
    )


def executors_away(seed: int) -> Plan:
    """Requests, some longer than a lease, while every executor is away for more than one."""
    rng = random.Random(f"{seed} away executors")
    plan = make_plan(seed)
    begin, executors = rng.uniform(8, 12), rng.choice((1, 2))
    return replace(
        plan,
        shape=Shape(gateways=1, executors=executors, concurrency=(None, None)),
        faults=tuple(
            Fault(kind=FaultKind.KILL, at=begin, seconds=rng.uniform(26, 40), node=f"ex-{number}")
            for number in range(executors)
        ),
        demands=tuple(
            replace(
                long(demand, rng),
                at=begin - rng.uniform(0.5, 3.0),
                seconds=rng.choice((rng.uniform(4.0, 6.0), rng.uniform(30.0, 50.0))),
            )
            for demand in plan.demands
        ),
    )


def executors_that_end(seed: int) -> Plan:
    """Requests longer than the drain, and an executor that ends in order while they run."""
    rng = random.Random(f"{seed} ending")
    plan = make_plan(seed)
    return replace(
        plan,
        shape=Shape(gateways=1, executors=2, concurrency=(None, None)),
        faults=(Fault(kind=FaultKind.RESTART, at=rng.uniform(10, 20), seconds=0.2, node="ex-0"),),
        demands=tuple(
            replace(long(demand, rng), at=rng.uniform(3, 10), seconds=rng.uniform(40, 60))
            for demand in plan.demands
        ),
    )


def full_workers(seed: int) -> Plan:
    """More requests than workers may have, and nothing else that goes wrong."""
    rng = random.Random(f"{seed} full")
    plan = make_plan(seed)
    demands = (*plan.demands, *plan_demands(rng, 15, 1.0, 20.0))
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(1, 2)),
        faults=(),
        demands=tuple(
            replace(demand, request=f"req-{number}", seconds=rng.uniform(2.0, 12.0))
            for number, demand in enumerate(demands)
        ),
    )


def full_workers_whose_callers_leave(seed: int) -> Plan:
    """More requests than workers may have, of which some are given up while they run."""
    rng = random.Random(f"{seed} leave")
    plan = full_workers(seed)
    demands = (replace(demand, patience=rng.uniform(0.2, 3.0)) for demand in plan.demands)
    return replace(plan, demands=tuple(demands))


def restarted_gateway(seed: int) -> Plan:
    """Long requests, and gateways that restart one after the other."""
    rng = random.Random(f"{seed} restarted")
    plan = make_plan(seed)
    restarts = ((10.0, "gw-0"), (100.0, "gw-1"))
    return replace(
        plan,
        shape=Shape(gateways=2, executors=1, concurrency=(None, None)),
        faults=tuple(
            Fault(kind=FaultKind.RESTART, at=at, seconds=0.2, node=node) for at, node in restarts
        ),
        demands=tuple(
            replace(long(demand, rng), at=rng.uniform(9.9, 10.1), seconds=rng.uniform(0.0, 5.0))
            for demand in plan.demands
        ),
    )


def long_drains(seed: int) -> Plan:
    """A gateway that restarts while its workers are busy for longer than the drain may last."""
    rng = random.Random(f"{seed} long drains")
    plan = make_plan(seed)
    begin = rng.uniform(10, 20)
    return replace(
        plan,
        shape=Shape(gateways=2, executors=1, concurrency=(None, None)),
        faults=(Fault(kind=FaultKind.RESTART, at=begin, seconds=0.2, node="gw-0"),),
        demands=tuple(
            replace(long(demand, rng), at=begin - rng.uniform(0.5, 5.0)) for demand in plan.demands
        ),
    )


def lost_workers(seed: int) -> Plan:
    """Long requests, and workers that hear nothing for longer than a lease."""
    rng = random.Random(f"{seed} lost")
    plan = make_plan(seed)
    faults = tuple(
        Fault(
            kind=FaultKind.PARTITION, at=rng.uniform(3, 10), seconds=45.0, node="wk-0", other=other
        )
        for other in ("gw-0", "gw-1", "api")
    )
    return replace(
        plan,
        shape=Shape(gateways=2, executors=1, concurrency=(None, None)),
        faults=faults,
        demands=tuple(long(demand, rng) for demand in plan.demands),
    )


def restarted_workers(seed: int) -> Plan:
    """Requests as a worker ends in good order, while another one stays."""
    rng = random.Random(f"{seed} restarted workers")
    plan = make_plan(seed)
    moments = (10.0, 30.0)
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(None, None)),
        faults=tuple(
            Fault(kind=FaultKind.RESTART, at=at, seconds=0.2, node="wk-0") for at in moments
        ),
        demands=tuple(
            replace(
                long(demand, rng),
                at=rng.choice(moments) + rng.uniform(-0.05, 0.05),
                seconds=rng.uniform(0.0, 1.0),
            )
            for demand in plan.demands
        ),
    )


def killed_gateway(seed: int) -> Plan:
    """Requests in the moments after a gateway is killed, while workers are at the other one."""
    rng = random.Random(f"{seed} killed")
    return replace(
        make_plan(seed),
        shape=Shape(gateways=2, executors=1, concurrency=(None,) * 8),
        faults=(Fault(kind=FaultKind.KILL, at=20.0, seconds=40.0, node="gw-0"),),
        demands=tuple(
            replace(long(demand, rng), seconds=0.0) for demand in plan_demands(rng, 40, 20.1, 24.0)
        ),
    )


def lost_answers(seed: int) -> Plan:
    """Short requests of workers that have limits, while Redis does not answer for a moment."""
    rng = random.Random(f"{seed} lost answers")
    plan = make_plan(seed)
    kind = rng.choice((FaultKind.REFUSING, FaultKind.FORGETFUL))
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(3, 3)),
        faults=(Fault(kind=kind, at=10.0, seconds=0.5),),
        demands=tuple(
            replace(long(demand, rng), at=rng.uniform(9.5, 10.5), seconds=rng.uniform(0.0, 0.5))
            for demand in plan.demands
        ),
    )


def redis_away(seed: int) -> Plan:
    """Requests after Redis was away for so long that all records are old."""
    rng = random.Random(f"{seed} away")
    plan = make_plan(seed)
    kind = rng.choice((FaultKind.REFUSING, FaultKind.HANGING))
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(None, None)),
        faults=(Fault(kind=kind, at=10.0, seconds=25.0),),
        demands=tuple(
            replace(long(demand, rng), at=rng.uniform(36.5, 45.0), seconds=rng.uniform(0.0, 1.0))
            for demand in plan.demands
        ),
    )
