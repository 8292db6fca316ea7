"""The drain of a gateway: its connections go elsewhere, one after the other.

Each worker is told by GATEWAY_CLOSING, and its connection served until the worker leaves
it or its time is over (Connect protocol, section 4, "Watchdog and drain"). Telling is
what makes workers reconnect, and so does closing; both are spread over the time there
is, each at a random moment of its own. Where the others take workers more slowly than
that, they are told more slowly, too. A connection that has not been told yet goes on
taking requests.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import trio

from connect.errors import ConnectError
from connect.nursery.connection import ACK_GRACE, Connection
from connect.nursery.replies import ReplyKeeper
from connect.nursery.services import Services
from connect.protocol.lifecycle import DisconnectReason, DrainProgress, Side
from connect.state.records import GatewayStatus

__all__ = ["Drain"]

# How many times `Timing.cleanup` a drain may last beyond `Timing.drain`: a connection that is
# closed last takes one to store DRAINING, one to be cleaned up, and one to save its last replies.
_CLEANUPS = 3

# The part of `Timing.drain` in which all workers are told; the rest is each one's own.
_TELLING = 0.5

# No more are told while as many idle connections are left of those told before as
# `Limits.drain_rate` sends away in this time, in seconds: their workers wait to be taken.
_MOVING = 0.5

# How often these are counted, in seconds.
_COUNT_EVERY = 0.05

# So much lateness of a busy gateway is made up for, in seconds; more would be a burst.
_CATCH_UP = 0.1


@dataclass(frozen=True, slots=True)
class _Turn:
    """When a worker is told to leave, and closed; moments of the Trio clock.

    Attributes:
        moment: when it is told, if all goes on time.
        latest: when it is told in any case.
        deadline: the latest moment to close it at.
    """

    connection: Connection
    moment: float
    latest: float
    deadline: float


class Drain:
    """One drain of a gateway.

    Args:
        connections: those to drain; no others join them.
        keeper: whose kept replies are waited for, too.

    Attributes:
        over: set when the last connection is cleaned up, or the drain is given up.
    """

    def __init__(
        self, services: Services, connections: Iterable[Connection], keeper: ReplyKeeper
    ) -> None:
        self.over = trio.Event()
        self._services = services
        self._keeper = keeper
        # Dictionaries, for their order: the same chances are to have the same outcome.
        self._open = dict.fromkeys(connections)
        self._total = len(self._open)
        self._told: dict[Connection, None] = {}
        self._times_told = 0
        self._closed = 0
        self._scope = trio.CancelScope()
        self._alone = False
        self._room = 0.0  # for workers on their way
        self._began = self._next_closing = trio.current_time()
        self._deadline = self._began + services.settings.timing.drain
        self._hard_deadline = self._deadline + _CLEANUPS * services.settings.timing.cleanup
        self._ended: float | None = None

    async def run(self) -> None:
        """Bring every connection to its end; return when the last is cleaned up.

        All of them are closed when `Timing.drain` is over, and as long is waited for the
        store to take the replies that are kept; those that have just come are saved first.
        It returns a few `Timing.cleanup` later at
        the latest, whatever is left. Cancelled, connections stay open that have not been
        closed.
        """
        with self._scope, trio.move_on_at(self._hard_deadline) as limit:
            async with trio.open_nursery() as looking:
                looking.start_soon(self._look_for_others)
                async with trio.open_nursery() as nursery:
                    await self._tell_all(nursery)
                with trio.move_on_after(self._services.settings.timing.cleanup):
                    await self._keeper.wait_saved()
                with trio.move_on_at(self._deadline):
                    await self._keeper.wait_empty()
                looking.cancel_scope.cancel()
            if kept := len(self._keeper):
                self._services.log.warning("replies not saved, left to be flushed", count=kept)
        if limit.cancelled_caught:
            self._services.log.error(
                "drain not over in time",
                connections=self.progress().open,
                replies=len(self._keeper),
            )
        if self._scope.cancelled_caught:
            self._let_go()
        self._ended = trio.current_time()
        self.over.set()

    def give_up(self) -> None:
        """Have `run` end now, and close no more connections.

        Workers that have been told leave by themselves; until then their connections are
        served, and stored as DRAINING.
        """
        self._scope.cancel()

    def _let_go(self) -> None:
        for connection in self._told:
            connection.forwards.fail_all(in_doubt=True)
            connection.drain_stored.set()
            connection.apply(connection.machine.hand_over())

    def progress(self) -> DrainProgress:
        """Say how far it has come."""
        now = trio.current_time() if self._ended is None else self._ended
        still = [connection for connection in self._open if not connection.finished.is_set()]
        return DrainProgress(
            over=self.over.is_set(),
            total=self._total,
            told=self._times_told,
            left=self._total - len(still),
            closed=self._closed,
            open=len(still),
            in_flight=sum(connection.in_flight for connection in still),
            replies_kept=len(self._keeper),
            seconds=now - self._began,
            seconds_left=0.0 if self.over.is_set() else max(0.0, self._hard_deadline - now),
        )

    async def _tell_all(self, nursery: trio.Nursery) -> None:
        joined = []
        for connection in self._open:
            if connection.opened.is_set():
                joined.append(connection)
            else:
                # Still shaking hands: refused, and nothing to wait for.
                nursery.start_soon(self._drain, connection, self._deadline)
        late = 0.0
        for turn in self._timetable(joined):
            await trio.sleep_until(min(turn.moment + late, turn.latest))
            await self._wait_for_room(turn.latest)
            late = max(late, trio.current_time() - turn.moment - _CATCH_UP)
            nursery.start_soon(self._drain, turn.connection, turn.deadline)

    def _timetable(self, connections: Sequence[Connection]) -> Iterator[_Turn]:
        """Say when each has its turn, in order."""
        settings = self._services.settings
        rate = settings.limits.drain_rate or float("inf")
        longest = settings.timing.drain * _TELLING
        span = min(longest, len(connections) / rate)
        own = settings.timing.drain - span
        shuffled = random.sample(connections, len(connections))
        for number, connection in enumerate(shuffled):
            part = (number + random.random()) / len(connections)
            moment = self._began + part * span
            yield _Turn(connection, moment, self._began + part * longest, moment + own)

    async def _wait_for_room(self, until: float) -> None:
        """Wait while the others have yet to take too many of the workers that have been told.

        A worker without requests leaves once it has another connection. Without another
        gateway there is nothing to wait for.

        Args:
            until: the latest moment (Trio clock).
        """
        rate = self._services.settings.limits.drain_rate
        if not rate:
            return
        while self._room < 1 and not self._alone and trio.current_time() < until:
            self._room = rate * _MOVING - sum(connection.idle for connection in self._told)
            if self._room < 1:
                await trio.sleep_until(min(until, trio.current_time() + _COUNT_EVERY))
        self._room -= 1

    async def _drain(self, connection: Connection, deadline: float) -> None:
        """Tell one worker, serve it until it leaves, close it at its deadline.

        Returns when the connection is cleaned up.

        Args:
            deadline: the latest moment (Trio clock) to close it at.
        """
        # The drain may have been given up since this task was started.
        await trio.lowlevel.checkpoint_if_cancelled()
        if not connection.ending:
            self._told[connection] = None
            self._times_told += 1
            connection.apply(connection.machine.gateway_draining())
            await self._serve(connection, deadline)
            connection.apply(connection.machine.drain_over())
        await connection.finished.wait()
        self._told.pop(connection, None)
        self._open.pop(connection, None)
        self._closed += _closed_here(connection)

    async def _serve(self, connection: Connection, deadline: float) -> None:
        """Return when the connection ends, or is to be closed and its DRAINING is stored."""
        timing = self._services.settings.timing
        told = trio.current_time()
        acks_until = told + ACK_GRACE
        alone_at = told + timing.drain_alone
        closing_at: float | None = None
        handover_at = min(told + timing.drain_handover, deadline)
        connection.forwards.fail_unsent()
        while not connection.ending:
            now = trio.current_time()
            if now >= acks_until:
                connection.forwards.fail_all(in_doubt=True)
            if now < alone_at or not self._alone or not connection.idle:
                closing_at = None
            elif closing_at is None:
                closing_at = self._take_closing(now)
            ends_at = deadline if closing_at is None else min(deadline, closing_at)
            if now >= ends_at:
                break
            if now >= handover_at and not connection.drain_stored.is_set():
                await self._hand_over(connection)
                continue
            # Until a moment that is still to come, or something changes.
            moments = [at for at in (acks_until, alone_at, handover_at) if at > now]
            connection.changed = trio.Event()
            with trio.move_on_at(min([ends_at, *moments])):
                await connection.changed.wait()
        if not connection.ending:
            connection.forwards.fail_all(in_doubt=True)
            if not connection.drain_stored.is_set():
                await self._hand_over(connection)

    def _take_closing(self, now: float) -> float:
        """Return a moment to close an idle connection at, when there is no other gateway.

        That is found out for all connections at once; closed at once, their workers would
        also come back at once. The moments keep to `Limits.drain_rate`, each at random.
        """
        rate = self._services.settings.limits.drain_rate
        if not rate:
            return now
        begin = max(now, self._next_closing)
        self._next_closing = begin + 1 / rate
        return begin + random.random() / rate

    async def _hand_over(self, connection: Connection) -> None:
        with trio.move_on_after(self._services.settings.timing.cleanup):
            await connection.hand_over()

    async def _look_for_others(self) -> None:
        """Keep track of whether there is another gateway to go to; until cancelled."""
        services = self._services
        timing = services.settings.timing
        while True:
            try:
                gateways = await services.store.gateways.all()
            except ConnectError:
                pass  # as far as is known
            else:
                oldest_ms = (services.now() - 2 * timing.gateway_heartbeat) * 1000
                self._alone = not any(
                    gateway.id != services.gateway_id
                    and gateway.status is GatewayStatus.ACTIVE
                    and gateway.last_heartbeat_ms >= oldest_ms
                    for gateway in gateways
                )
                if self._alone:
                    for connection in self._told:
                        connection.changed.set()
            await trio.sleep(timing.gateway_refresh)


def _closed_here(connection: Connection) -> bool:
    end = connection.disconnect
    return (
        end is not None
        and end.by is Side.GATEWAY
        and end.reason is DisconnectReason.GATEWAY_DRAINING
    )
