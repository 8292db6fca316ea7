"""Changes for the worse to what becomes of running work when something breaks."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from unittest import mock

from connect.state import routing
from connect.worker.connection import Connection
from tests.simulation.mutations import plans
from tests.simulation.mutations.mutation import Mutation, edit

__all__ = ["MUTATIONS"]


@contextmanager
def _give_up_with_the_connection() -> Iterator[None]:
    end = Connection._end

    def all_at_once(self: Connection, reason: str) -> None:
        end(self, reason)
        for lease in tuple(self._work.leases._held.values()):
            if lease.link is self:
                lease.scope.cancel()

    with mock.patch.object(Connection, "_end", all_at_once):
        yield


def _lease_anew() -> AbstractContextManager[object]:
    condition = "if lease and lease.leaseID ~= held and is_live(lease, now_ms) then"
    return edit(routing, "_ACQUIRE", condition, "if false then")


MUTATIONS: dict[str, Mutation] = {
    "a worker gives up what it runs when its connection breaks": Mutation(
        apply=_give_up_with_the_connection, breaks="failures have causes", plan=plans.broken_link
    ),
    "an executor that comes back has running work run again": Mutation(
        apply=_lease_anew, breaks="work is not lost", plan=plans.executors_away
    ),
}
