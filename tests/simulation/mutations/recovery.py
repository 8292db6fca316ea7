"""Changes for the worse that stay: who does not come back, and what is left of what is over."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import trio

from connect.nursery.connection import Connection
from connect.nursery.forwards import Forwards
from connect.nursery.outbox import PendingForward
from connect.nursery.replies import ReplyKeeper
from connect.state import routing
from connect.state.connections import RedisConnectionStore
from connect.state.gateways import RedisGatewayStore
from connect.worker import Worker
from tests.simulation.faults import Fault, FaultKind
from tests.simulation.mutations import plans
from tests.simulation.mutations.mutation import Mutation, edit
from tests.simulation.run import Plan, make_plan

__all__ = ["MUTATIONS"]


def _undisturbed(seed: int) -> Plan:
    """Nothing goes wrong."""
    return replace(make_plan(seed), faults=())


def _cut_off_worker(seed: int) -> Plan:
    """A worker loses its connection, and finds neither its gateway nor the API for a while."""
    cut = Fault(kind=FaultKind.CUT, at=10.0, seconds=0.0, node="wk-0", other="gw-0")
    lost = (
        Fault(kind=FaultKind.PARTITION, at=9.9, seconds=20.0, node="wk-0", other=other)
        for other in ("gw-0", "api")
    )
    plan = make_plan(seed)
    return replace(plan, shape=replace(plan.shape, gateways=1), faults=(*lost, cut))


@contextmanager
def _despair() -> Iterator[None]:
    backoff = Worker._backoff

    def an_hour(self: Worker, failures: int) -> float:
        return 3600.0 if failures > 2 else backoff(self, failures)

    with mock.patch.object(Worker, "_backoff", an_hour):
        yield


@contextmanager
def _leave_tasks() -> Iterator[None]:
    settle = ReplyKeeper._settle

    async def and_stay(self: ReplyKeeper, connection: Connection, *args: Any) -> None:
        connection.background.start_soon(trio.sleep_forever)
        await settle(self, connection, *args)

    with mock.patch.object(ReplyKeeper, "_settle", and_stay):
        yield


def _remember_forwards() -> AbstractContextManager[object]:
    def leave(self: Forwards, request_id: str, pending: PendingForward) -> None:
        pending.settle(False)

    return mock.patch.object(Forwards, "leave", leave)


async def _do_nothing(*args: object) -> None:
    await trio.lowlevel.checkpoint()


def _keep_connections() -> AbstractContextManager[object]:
    return mock.patch.object(RedisConnectionStore, "delete", _do_nothing)


def _keep_gateways() -> AbstractContextManager[object]:
    return mock.patch.object(RedisGatewayStore, "delete", _do_nothing)


def _keep_replies() -> AbstractContextManager[object]:
    return edit(routing, "_COMPLETE", "or 'DEL'", "or 'EXISTS'")


def _take_workers_for_full() -> AbstractContextManager[object]:
    return edit(routing, "_COMPLETE", "settle(ARGV[16])", "local unused = ARGV[16]")


MUTATIONS: dict[str, Mutation] = {
    "a worker that has failed a few times waits for an hour": Mutation(
        apply=_despair, breaks="everything comes back", plan=_cut_off_worker
    ),
    "a worker that has room again stays among those that are full": Mutation(
        apply=_take_workers_for_full, breaks="everything comes back", plan=plans.full_workers
    ),
    "each reply leaves a task in its gateway": Mutation(
        apply=_leave_tasks, breaks="nothing is left", plan=_undisturbed
    ),
    "a gateway remembers what it has forwarded": Mutation(
        apply=_remember_forwards, breaks="nothing is left", plan=_undisturbed
    ),
    "a reply stays in Redis when its executor has it": Mutation(
        apply=_keep_replies, breaks="nothing is left", plan=_undisturbed
    ),
    "the record of a connection that has ended stays": Mutation(
        apply=_keep_connections, breaks="nothing is left", plan=_undisturbed
    ),
    "the record of a gateway that has ended stays": Mutation(
        apply=_keep_gateways, breaks="nothing is left", plan=_undisturbed
    ),
}
