"""Faults of our own making, put into the service: the simulation has to find each of them."""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import trio

from connect.nursery.connection import Connection
from connect.nursery.gateway import Gateway
from connect.nursery.outbox import PendingForward
from connect.nursery.replies import ReplyKeeper
from connect.protocol.envelope import encode_message, encode_reply_ack
from connect.protocol.machine import ReplyReceived, Send
from connect.protocol.messages.connect import v1 as pb
from connect.rpc.cleanup import Cleanup
from connect.rpc.execution import Execution
from connect.rpc.executor_streams import ExecutorStreams
from connect.rpc.gateways import GatewayTable
from connect.settings import Limits, Settings
from connect.state import leases, responses, routing
from connect.state.capacity import RedisCapacityStore
from connect.state.commands import Script
from connect.worker.leases import HeldLease, Leases
from tests.simulation.faults import Fault, FaultKind
from tests.simulation.run import Plan, make_plan
from tests.simulation.store import HOST
from tests.simulation.workload import Demand, plan_demands
from tests.simulation.world import Shape

__all__ = ["MUTATIONS", "Mutation"]

_REPLY_ACK = int(pb.GatewayMessageType.WORKER_REPLY_ACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A change for the worse.

    Attributes:
        apply: makes the change, for the length of a block.
        breaks: the invariant that does not hold then.
        plan: draws what shows it, from a seed.
    """

    apply: Callable[[], AbstractContextManager[object]]
    breaks: str
    plan: Callable[[int], Plan] = make_plan


@contextmanager
def _acknowledge_before_saving() -> Iterator[None]:
    keep = ReplyKeeper.keep

    async def too_early(
        self: ReplyKeeper, connection: Connection, reply: ReplyReceived, *args: Any
    ) -> None:
        ack = encode_reply_ack(reply.fields.request_id)
        connection.apply((Send(encode_message(_REPLY_ACK, ack)),))
        await keep(self, connection, reply, *args)

    with mock.patch.object(ReplyKeeper, "keep", too_early):
        yield


def _vouch_unasked() -> AbstractContextManager[object]:
    async def extend_lease(
        self: ExecutorStreams, request: pb.ExtendLeaseRequest, *, timeout: float
    ) -> str:
        await trio.lowlevel.checkpoint()
        return request.lease_id

    return mock.patch.object(ExecutorStreams, "extend_lease", extend_lease)


@contextmanager
def _ignore_doubts() -> Iterator[None]:
    settle = PendingForward.settle

    def surely(self: PendingForward, success: bool, *, in_doubt: bool = False) -> None:
        settle(self, success)

    with mock.patch.object(PendingForward, "settle", surely):
        yield


def _forget_to_clean_up() -> AbstractContextManager[object]:
    async def nothing(self: Execution, **how: object) -> None:
        pass

    return mock.patch.object(Execution, "_clean_up", nothing)


def _clean_up_only_once() -> AbstractContextManager[object]:
    def nothing(self: Cleanup, *args: object) -> None:
        pass

    return mock.patch.object(Cleanup, "complete_later", nothing)


@contextmanager
def _withdraw_at_the_end() -> Iterator[None]:
    let_go = Execution._let_go

    async def always(self: Execution, *, withdrawn: bool) -> None:
        await let_go(self, withdrawn=True)

    with mock.patch.object(Execution, "_let_go", always), _forget_what_may_run():
        yield


@contextmanager
def _extend_any_lease() -> Iterator[None]:
    condition = "if lease.leaseID ~= given and is_live(lease, now_ms) then"
    with _edit(leases, "_EXTEND", condition, "if false then"), _forget_what_may_run():
        yield


def _overwrite_replies() -> AbstractContextManager[object]:
    condition = "if redis.call('EXISTS', KEYS[1]) == 1 then"
    return _edit(responses, "_SAVE", condition, "if false then")


@contextmanager
def _work_on_without_a_lease() -> Iterator[None]:
    def nothing(self: object, *args: object) -> None:
        pass

    with (
        mock.patch.object(HeldLease, "last_until", nothing),
        mock.patch.object(Leases, "answered", nothing),
    ):
        yield


def _forget_what_may_run() -> AbstractContextManager[object]:
    return _edit(routing, "_ACQUIRE", "if over > now_ms then", "if false then")


def _leave_counted() -> AbstractContextManager[object]:
    counted = "redis.call('ZREM', set, request)"
    return _edit(routing, "_COMPLETE", counted, "redis.call('EXISTS', set)")


def _forget_limits() -> AbstractContextManager[object]:
    async def nothing(self: RedisCapacityStore, *args: object) -> None:
        pass

    return mock.patch.object(RedisCapacityStore, "set_limit", nothing)


def _count_to_one_more() -> AbstractContextManager[object]:
    return _edit(
        routing, "_ACQUIRE", "if limit and limit > 0 then\n    return limit\n",
        "if limit and limit > 0 then\n    return limit + 1\n",
    )  # fmt: skip


def _run_what_waits() -> AbstractContextManager[object]:
    return mock.patch.object(trio, "Semaphore", return_value=nullcontext())


def _end_without_a_drain() -> AbstractContextManager[object]:
    async def nothing(self: Gateway) -> None:
        pass

    return mock.patch.object(Gateway, "drain", nothing)


def _give_up_at_the_first_refusal() -> AbstractContextManager[object]:
    once = Settings(limits=Limits(forward_attempts=1))
    return mock.patch("tests.simulation.run.Settings", return_value=once)


def _wait_for_nobody() -> AbstractContextManager[object]:
    return mock.patch.object(Execution, "_may_come_back", return_value=False)


def _believe_in_dead_gateways() -> AbstractContextManager[object]:
    return mock.patch.object(GatewayTable, "leave_out")


@contextmanager
def _stop_beating_in_a_drain() -> Iterator[None]:
    wait = Gateway._wait_to_beat

    async def unless_draining(self: Gateway, seconds: float) -> None:
        await wait(self, seconds)
        if self.draining:
            await trio.sleep_forever()

    with mock.patch.object(Gateway, "_wait_to_beat", unless_draining):
        yield


def _edit(module: object, name: str, old: str, new: str) -> AbstractContextManager[object]:
    """Change a script in one place."""
    script: Script = getattr(module, name)
    assert script.text.count(old) == 1, f"{script.name}.lua has changed"
    text = script.text.replace(old, new)
    sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return mock.patch.object(module, name, replace(script, text=text, sha1=sha1))


def _unheard_acknowledgements(seed: int) -> Plan:
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
            replace(_long(demand, rng), at=begin + rng.uniform(0.0, 2.5)) for demand in plan.demands
        ),
    )


def _callers_that_come_again(seed: int) -> Plan:
    """Long requests whose callers leave, and ask again while the first worker runs on."""
    rng = random.Random(f"{seed} again")
    plan = make_plan(seed)
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(None, None)),
        faults=(),
        demands=tuple(
            replace(_long(demand, rng), patience=rng.uniform(0.5, 3.0), twice_after=4.0)
            for demand in plan.demands
        ),
    )


def _gateways_without_redis(seed: int) -> Plan:
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
        demands=tuple(replace(_long(demand, rng), at=rng.uniform(3, 7)) for demand in plan.demands),
    )


def _executors_that_end(seed: int) -> Plan:
    """Requests longer than the drain, and an executor that ends in order while they run."""
    rng = random.Random(f"{seed} ending")
    plan = make_plan(seed)
    return replace(
        plan,
        shape=Shape(gateways=1, executors=2, concurrency=(None, None)),
        faults=(Fault(kind=FaultKind.RESTART, at=rng.uniform(10, 20), seconds=0.2, node="ex-0"),),
        demands=tuple(
            replace(_long(demand, rng), at=rng.uniform(3, 10), seconds=rng.uniform(40, 60))
            for demand in plan.demands
        ),
    )


def _full_workers(seed: int) -> Plan:
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


def _full_workers_whose_callers_leave(seed: int) -> Plan:
    """More requests than workers may have, of which some are given up while they run."""
    rng = random.Random(f"{seed} leave")
    plan = _full_workers(seed)
    demands = (replace(demand, patience=rng.uniform(0.2, 3.0)) for demand in plan.demands)
    return replace(plan, demands=tuple(demands))


def _restarted_gateway(seed: int) -> Plan:
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
            replace(_long(demand, rng), at=rng.uniform(9.9, 10.1), seconds=rng.uniform(0.0, 5.0))
            for demand in plan.demands
        ),
    )


def _long_drains(seed: int) -> Plan:
    """A gateway that restarts while its workers are busy for longer than the drain may last."""
    rng = random.Random(f"{seed} long drains")
    plan = make_plan(seed)
    begin = rng.uniform(10, 20)
    return replace(
        plan,
        shape=Shape(gateways=2, executors=1, concurrency=(None, None)),
        faults=(Fault(kind=FaultKind.RESTART, at=begin, seconds=0.2, node="gw-0"),),
        demands=tuple(
            replace(_long(demand, rng), at=begin - rng.uniform(0.5, 5.0)) for demand in plan.demands
        ),
    )


def _lost_workers(seed: int) -> Plan:
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
        demands=tuple(_long(demand, rng) for demand in plan.demands),
    )


def _restarted_workers(seed: int) -> Plan:
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
                _long(demand, rng),
                at=rng.choice(moments) + rng.uniform(-0.05, 0.05),
                seconds=rng.uniform(0.0, 1.0),
            )
            for demand in plan.demands
        ),
    )


def _killed_gateway(seed: int) -> Plan:
    """Requests in the moments after a gateway is killed, while workers are at the other one."""
    rng = random.Random(f"{seed} killed")
    return replace(
        make_plan(seed),
        shape=Shape(gateways=2, executors=1, concurrency=(None,) * 8),
        faults=(Fault(kind=FaultKind.KILL, at=20.0, seconds=40.0, node="gw-0"),),
        demands=tuple(
            replace(_long(demand, rng), seconds=0.0) for demand in plan_demands(rng, 40, 20.1, 24.0)
        ),
    )


def _lost_answers(seed: int) -> Plan:
    """Short requests of workers that have limits, while Redis does not answer for a moment."""
    rng = random.Random(f"{seed} lost answers")
    plan = make_plan(seed)
    kind = rng.choice((FaultKind.REFUSING, FaultKind.FORGETFUL))
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(3, 3)),
        faults=(Fault(kind=kind, at=10.0, seconds=0.5),),
        demands=tuple(
            replace(_long(demand, rng), at=rng.uniform(9.5, 10.5), seconds=rng.uniform(0.0, 0.5))
            for demand in plan.demands
        ),
    )


def _redis_away(seed: int) -> Plan:
    """Requests after Redis was away for so long that all records are old."""
    rng = random.Random(f"{seed} away")
    plan = make_plan(seed)
    kind = rng.choice((FaultKind.REFUSING, FaultKind.HANGING))
    return replace(
        plan,
        shape=Shape(gateways=1, executors=1, concurrency=(None, None)),
        faults=(Fault(kind=kind, at=10.0, seconds=25.0),),
        demands=tuple(
            replace(_long(demand, rng), at=rng.uniform(36.5, 45.0), seconds=rng.uniform(0.0, 1.0))
            for demand in plan.demands
        ),
    )


def _long(demand: Demand, rng: random.Random) -> Demand:
    return replace(demand, seconds=rng.uniform(25, 45), patience=None, twice_after=None)


MUTATIONS = {
    "replies are acknowledged before they are saved": Mutation(
        apply=_acknowledge_before_saving, breaks="confirmed replies are stored"
    ),
    "executors leave leases and capacity behind": Mutation(
        apply=_forget_to_clean_up, breaks="nothing is left"
    ),
    "what Redis does not take at once is never cleaned up": Mutation(
        apply=_clean_up_only_once, breaks="nothing is left", plan=_lost_answers
    ),
    "an executor that ends cleans up after what runs": Mutation(
        apply=_withdraw_at_the_end, breaks="nothing runs twice at once", plan=_executors_that_end
    ),
    "a gateway without Redis vouches for leases of its own accord": Mutation(
        apply=_vouch_unasked, breaks="nothing runs twice at once", plan=_gateways_without_redis
    ),
    "a request that its worker may run is given to another": Mutation(
        apply=_ignore_doubts, breaks="nothing runs twice at once", plan=_unheard_acknowledgements
    ),
    "a lease is extended for whoever asks": Mutation(
        apply=_extend_any_lease, breaks="one worker holds a lease", plan=_callers_that_come_again
    ),
    "a reply that comes again takes the place of the first": Mutation(
        apply=_overwrite_replies, breaks="replies are stored once"
    ),
    "a request that is given up may be run by the next at once": Mutation(
        apply=_forget_what_may_run,
        breaks="nothing runs twice at once",
        plan=_callers_that_come_again,
    ),
    "a request that is over stays counted on its worker": Mutation(
        apply=_leave_counted, breaks="nothing is left", plan=_full_workers
    ),
    "nobody is told how many requests a worker takes": Mutation(
        apply=_forget_limits, breaks="failures have causes", plan=_full_workers
    ),
    "a worker is given one request too many": Mutation(
        apply=_count_to_one_more, breaks="workers keep their limits", plan=_full_workers
    ),
    "a worker runs all that it has at once": Mutation(
        apply=_run_what_waits,
        breaks="workers keep their limits",
        plan=_full_workers_whose_callers_leave,
    ),
    "a gateway ends without a drain": Mutation(
        apply=_end_without_a_drain, breaks="failures have causes", plan=_restarted_gateway
    ),
    "a request that one worker does not take is offered to no other": Mutation(
        apply=_give_up_at_the_first_refusal,
        breaks="failures have causes",
        plan=_restarted_workers,
    ),
    "workers that are about to come back are not waited for": Mutation(
        apply=_wait_for_nobody, breaks="failures have causes", plan=_redis_away
    ),
    "a gateway that cannot be reached is tried again and again": Mutation(
        apply=_believe_in_dead_gateways, breaks="failures have causes", plan=_killed_gateway
    ),
    "a draining gateway stops its own heartbeat": Mutation(
        apply=_stop_beating_in_a_drain, breaks="draining gateways beat", plan=_long_drains
    ),
    "workers go on without a lease": Mutation(
        apply=_work_on_without_a_lease, breaks="nothing runs twice at once", plan=_lost_workers
    ),
}
