"""Changes for the worse that a second way would hide: all is answered in the end, only later."""

import random
from contextlib import AbstractContextManager
from dataclasses import replace
from unittest import mock

import trio

from connect.nursery import replies
from connect.nursery.connection import Connection
from connect.nursery.pushes import Pushes
from connect.protocol.messages.connect import v1 as pb
from connect.worker.connection import Connection as WorkerConnection
from connect.worker.delivery import Delivery
from connect.worker.excluded import ExcludedGateways
from connect.worker.work import Work
from tests.simulation.faults import Fault, FaultKind
from tests.simulation.mutations import plans
from tests.simulation.mutations.mutation import Mutation, long
from tests.simulation.run import Plan, make_plan
from tests.simulation.workload import plan_demands
from tests.simulation.world import Shape

__all__ = ["MUTATIONS"]


def _undisturbed(seed: int) -> Plan:
    """Nothing goes wrong, and there is room for all."""
    plan = make_plan(seed)
    shape = replace(plan.shape, concurrency=(None, None))
    return replace(plan, shape=shape, faults=())


def _silent_worker(seed: int) -> Plan:
    """A worker and its gateway hear nothing of each other for longer than both put up with."""
    begin = random.Random(f"{seed} silent").uniform(5, 15)
    return replace(
        make_plan(seed),
        shape=Shape(gateways=1, executors=1, concurrency=(None, None)),
        faults=(
            Fault(kind=FaultKind.PARTITION, at=begin, seconds=80.0, node="wk-0", other="gw-0"),
        ),
    )


def _cut_off_gateway(seed: int) -> Plan:
    """Workers have done their work as they cannot tell their gateway so, but the API."""
    rng = random.Random(f"{seed} cut off")
    plan = make_plan(seed)
    begin = rng.uniform(8, 12)
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(None, None)),
        faults=tuple(
            Fault(kind=FaultKind.PARTITION, at=begin, seconds=25.0, node=worker, other="gw-0")
            for worker in ("wk-0", "wk-1")
        ),
        demands=tuple(
            replace(
                long(demand, rng), at=begin - rng.uniform(0.5, 3.0), seconds=rng.uniform(4.0, 10.0)
            )
            for demand in plan.demands
        ),
    )


def _stopped_worker(seed: int) -> Plan:
    """Requests as a worker finishes what it has, for a while, and takes no more."""
    rng = random.Random(f"{seed} stopped worker")
    plan = make_plan(seed)
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(None, None)),
        faults=(Fault(kind=FaultKind.RESTART, at=10.0, seconds=0.2, node="wk-0"),),
        demands=tuple(
            replace(long(demand, rng), at=rng.uniform(5.0, 20.0), seconds=rng.uniform(8.0, 15.0))
            for demand in (*plan.demands, *plan_demands(rng, 10, 5.0, 20.0))
        ),
    )


def _busy_drain(seed: int) -> Plan:
    """A gateway restarts while its workers are busy, for less time than it gives them."""
    plan = plans.long_drains(seed)
    rng = random.Random(f"{seed} busy drain")
    demands = (replace(demand, seconds=rng.uniform(10.0, 20.0)) for demand in plan.demands)
    return replace(plan, demands=tuple(demands))


async def _do_nothing(*args: object) -> None:
    await trio.lowlevel.checkpoint()


async def _never(*args: object) -> None:
    await trio.sleep_forever()


def _acknowledge_nothing() -> AbstractContextManager[object]:
    heartbeat = int(pb.GatewayMessageType.GATEWAY_HEARTBEAT)
    return mock.patch.object(replies, "_REPLY_ACK", heartbeat)


def _push_nothing() -> AbstractContextManager[object]:
    return mock.patch.object(Pushes, "reply", _do_nothing)


def _leave_heartbeats_unanswered() -> AbstractContextManager[object]:
    return mock.patch.object(Connection, "_answer_heartbeats", return_value=None)


def _flush_nothing() -> AbstractContextManager[object]:
    return mock.patch.object(Delivery, "run", _never)


def _stop_in_silence() -> AbstractContextManager[object]:
    return mock.patch.object(WorkerConnection, "pause", _do_nothing)


def _watch_nobody() -> AbstractContextManager[object]:
    return mock.patch("connect.nursery.gateway.watch", _never)


def _leave_at_once() -> AbstractContextManager[object]:
    return mock.patch.object(Work, "until_done_with", _do_nothing)


def _avoid_nobody() -> AbstractContextManager[object]:
    return mock.patch.object(ExcludedGateways, "add", return_value=None)


MUTATIONS: dict[str, Mutation] = {
    "replies are not acknowledged over the socket": Mutation(
        apply=_acknowledge_nothing,
        breaks="undisturbed replies are acknowledged",
        plan=_undisturbed,
    ),
    "replies are not pushed": Mutation(
        apply=_push_nothing,
        breaks="undisturbed requests are answered at once",
        plan=_undisturbed,
    ),
    "heartbeats are not answered": Mutation(
        apply=_leave_heartbeats_unanswered,
        breaks="connections end for a reason",
        plan=_undisturbed,
    ),
    "replies are not flushed": Mutation(
        apply=_flush_nothing, breaks="replies are flushed in time", plan=_cut_off_gateway
    ),
    "a worker that ends does not say so": Mutation(
        apply=_stop_in_silence,
        breaks="workers that pause are given nothing",
        plan=_stopped_worker,
    ),
    "a gateway does not look for silent workers": Mutation(
        apply=_watch_nobody, breaks="silent connections end", plan=_silent_worker
    ),
    "a worker leaves a gateway that drains at once": Mutation(
        apply=_leave_at_once,
        breaks="connections stay until their work is done",
        plan=_busy_drain,
    ),
    "a worker goes back to the gateway that it has lost": Mutation(
        apply=_avoid_nobody,
        breaks="workers avoid gateways that they have lost",
        plan=plans.killed_gateway,
    ),
}
