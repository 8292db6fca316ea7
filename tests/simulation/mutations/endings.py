"""Changes for the worse to how nodes come to their ends."""

from contextlib import AbstractContextManager
from unittest import mock

import trio

from connect.nursery.gateway import Gateway
from connect.rpc import Executor
from connect.worker.work import Work
from tests.simulation.mutations import plans
from tests.simulation.mutations.mutation import Mutation

__all__ = ["MUTATIONS"]

# Longer than a node takes that nothing holds up, and shorter than anybody would notice who only
# waits for its end. Seconds.
_LINGERING = 5.0


def _linger_after_a_drain() -> AbstractContextManager[object]:
    drain = Gateway.drain

    async def slowly(self: Gateway) -> None:
        await drain(self)
        await trio.sleep(_LINGERING)

    return mock.patch.object(Gateway, "drain", slowly)


def _drain_without_a_deadline() -> AbstractContextManager[object]:
    drain = Executor.drain

    async def patiently(self: Executor, seconds: float | None = None) -> None:
        await drain(self, float("inf"))

    return mock.patch.object(Executor, "drain", patiently)


def _linger_when_idle() -> AbstractContextManager[object]:
    until_idle = Work.until_idle

    async def slowly(self: Work) -> None:
        await until_idle(self)
        await trio.sleep(_LINGERING)

    return mock.patch.object(Work, "until_idle", slowly)


MUTATIONS: dict[str, Mutation] = {
    "a gateway that has drained stays for a while": Mutation(
        apply=_linger_after_a_drain, breaks="nodes end in time", plan=plans.long_drains
    ),
    "an executor that ends waits for as long as its requests take": Mutation(
        apply=_drain_without_a_deadline, breaks="nodes end in time", plan=plans.executors_that_end
    ),
    "a worker that has done its work stays for a while": Mutation(
        apply=_linger_when_idle, breaks="nodes end in time", plan=plans.restarted_workers
    ),
}
