"""Changes for the worse to how requests, leases, replies and drains are handled."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
from connect.worker.leases import HeldLease, Leases
from tests.simulation.mutations import plans
from tests.simulation.mutations.mutation import Mutation, edit

__all__ = ["MUTATIONS"]

_REPLY_ACK = int(pb.GatewayMessageType.WORKER_REPLY_ACK)


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
    with edit(leases, "_EXTEND", condition, "if false then"), _forget_what_may_run():
        yield


def _overwrite_replies() -> AbstractContextManager[object]:
    condition = "if redis.call('EXISTS', KEYS[1]) == 1 then"
    return edit(responses, "_SAVE", condition, "if false then")


def _look_for_no_reply() -> AbstractContextManager[object]:
    return edit(routing, "_ACQUIRE", "if response then", "if false then")


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
    return edit(routing, "_ACQUIRE", "if over > now_ms then", "if false then")


def _leave_counted() -> AbstractContextManager[object]:
    counted = "redis.call('ZREM', set, request)"
    return edit(routing, "_COMPLETE", counted, "redis.call('EXISTS', set)")


def _forget_limits() -> AbstractContextManager[object]:
    async def nothing(self: RedisCapacityStore, *args: object) -> None:
        pass

    return mock.patch.object(RedisCapacityStore, "set_limit", nothing)


def _count_to_one_more() -> AbstractContextManager[object]:
    return edit(
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


MUTATIONS: dict[str, Mutation] = {
    "replies are acknowledged before they are saved": Mutation(
        apply=_acknowledge_before_saving, breaks="confirmed replies are stored"
    ),
    "executors leave leases and capacity behind": Mutation(
        apply=_forget_to_clean_up, breaks="nothing is left"
    ),
    "what Redis does not take at once is never cleaned up": Mutation(
        apply=_clean_up_only_once, breaks="nothing is left", plan=plans.lost_answers
    ),
    "an executor that ends cleans up after what runs": Mutation(
        apply=_withdraw_at_the_end,
        breaks="nothing runs twice at once",
        plan=plans.executors_that_end,
    ),
    "a gateway without Redis vouches for leases of its own accord": Mutation(
        apply=_vouch_unasked, breaks="nothing runs twice at once", plan=plans.gateways_without_redis
    ),
    "a request that its worker may run is given to another": Mutation(
        apply=_ignore_doubts,
        breaks="nothing runs twice at once",
        plan=plans.unheard_acknowledgements,
    ),
    "a lease is extended for whoever asks": Mutation(
        apply=_extend_any_lease,
        breaks="one worker holds a lease",
        plan=plans.callers_that_come_again,
    ),
    "a reply that comes again takes the place of the first": Mutation(
        apply=_overwrite_replies, breaks="replies are stored once"
    ),
    "a request whose reply is stored is run again": Mutation(
        apply=_look_for_no_reply, breaks="replies are not made again", plan=plans.executors_away
    ),
    "a request that is given up may be run by the next at once": Mutation(
        apply=_forget_what_may_run,
        breaks="nothing runs twice at once",
        plan=plans.callers_that_come_again,
    ),
    "a request that is over stays counted on its worker": Mutation(
        apply=_leave_counted, breaks="nothing is left", plan=plans.full_workers
    ),
    "nobody is told how many requests a worker takes": Mutation(
        apply=_forget_limits, breaks="failures have causes", plan=plans.full_workers
    ),
    "a worker is given one request too many": Mutation(
        apply=_count_to_one_more, breaks="workers keep their limits", plan=plans.full_workers
    ),
    "a worker runs all that it has at once": Mutation(
        apply=_run_what_waits,
        breaks="workers keep their limits",
        plan=plans.full_workers_whose_callers_leave,
    ),
    "a gateway ends without a drain": Mutation(
        apply=_end_without_a_drain, breaks="failures have causes", plan=plans.restarted_gateway
    ),
    "a request that one worker does not take is offered to no other": Mutation(
        apply=_give_up_at_the_first_refusal,
        breaks="failures have causes",
        plan=plans.restarted_workers,
    ),
    "workers that are about to come back are not waited for": Mutation(
        apply=_wait_for_nobody, breaks="failures have causes", plan=plans.redis_away
    ),
    "a gateway that cannot be reached is tried again and again": Mutation(
        apply=_believe_in_dead_gateways, breaks="failures have causes", plan=plans.killed_gateway
    ),
    "a draining gateway stops its own heartbeat": Mutation(
        apply=_stop_beating_in_a_drain, breaks="draining gateways beat", plan=plans.long_drains
    ),
    "workers go on without a lease": Mutation(
        apply=_work_on_without_a_lease, breaks="nothing runs twice at once", plan=plans.lost_workers
    ),
}
