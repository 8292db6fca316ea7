"""Faults of our own making, put into the service: the simulation has to find each of them."""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from connect.nursery.connection import Connection
from connect.nursery.outbox import PendingForward
from connect.nursery.replies import ReplyKeeper
from connect.protocol.envelope import encode_message, encode_reply_ack
from connect.protocol.machine import ReplyReceived, Send
from connect.protocol.messages.connect import v1 as pb
from connect.rpc.execution import Execution
from connect.state import leases, responses
from connect.state.commands import Script
from connect.worker.leases import HeldLease, Leases
from tests.simulation.faults import Fault, FaultKind
from tests.simulation.run import Plan, make_plan
from tests.simulation.workload import Demand
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


def _extend_any_lease() -> AbstractContextManager[object]:
    condition = "if lease.leaseID ~= given and is_live(lease, now_ms) then"
    return _edit(leases, "_EXTEND", condition, "if false then")


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


def _long(demand: Demand, rng: random.Random) -> Demand:
    return replace(demand, seconds=rng.uniform(25, 45), patience=None, twice_after=None)


MUTATIONS = {
    "replies are acknowledged before they are saved": Mutation(
        apply=_acknowledge_before_saving, breaks="confirmed replies are stored"
    ),
    "executors leave leases and capacity behind": Mutation(
        apply=_forget_to_clean_up, breaks="nothing is left"
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
    "workers go on without a lease": Mutation(
        apply=_work_on_without_a_lease, breaks="nothing runs twice at once", plan=_lost_workers
    ),
}
