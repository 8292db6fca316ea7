"""Replies on their way from the worker into the state store.

A reply is saved in a task of the gateway, so that one which has arrived is saved although
its connection ends the moment after. While the store is away it is kept in memory, up to
a bound of the gateway, and saved when the store is back.
"""

from dataclasses import dataclass
from typing import TypeAlias

import trio

from connect.errors import ConnectError, StoreUnavailable
from connect.nursery.connection import Connection
from connect.nursery.health import StoreAway
from connect.nursery.pushes import Pushes
from connect.nursery.services import Services
from connect.nursery.work import extend_replied
from connect.protocol.envelope import encode_message, encode_reply_ack
from connect.protocol.machine import ReplyReceived, Send
from connect.protocol.messages.connect import v1 as pb
from connect.state.store import RefusedResponse, SavedResponse

__all__ = ["ReplyKeeper"]

# The reference implementation's executors listen here and leave the port out of leases.
DEFAULT_EXECUTOR_PORT = 50053

# Replies saved at the same time once the store is back: those kept must not crowd out
# what is going on.
_AT_ONCE = 16

# Between attempts while the store fails, in seconds.
_RETRY_MIN = 0.05
_RETRY_MAX = 1.0

# A kept reply that came again is acknowledged as often as it came, but no more often than this.
_ACKS_AT_MOST = 16

_REPLY_ACK = int(pb.GatewayMessageType.WORKER_REPLY_ACK)

# What makes a reply the same one: environment, worker and request.
_Key: TypeAlias = tuple[str, str, str]


@dataclass(slots=True)
class _Kept:
    """A reply that the store has not taken yet.

    Attributes:
        connection: the one to acknowledge it over: where it came from last.
        earlier: where it came from before, and its worker may have been given the request.
        running: whether its worker was known to run the request when it came.
        since: when it was kept, on the Trio clock.
        times: how often it came there, each to be acknowledged.
    """

    connection: Connection
    earlier: Connection
    reply: ReplyReceived
    running: bool
    since: float
    times: int = 1

    @property
    def leased(self) -> Connection:
        """The connection over which its worker has the lease, if one of the two is."""
        known = self.connection.running(self.reply.fields.request_id) is not None
        return self.connection if known else self.earlier


class ReplyKeeper:
    """Saves the replies of one gateway's workers, then acknowledges and pushes them.

    The acknowledgement follows the save, never the push (Connect protocol, section 4).

    Attributes:
        pushes: what the replies go through.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self.pushes = Pushes(services.replies, settings=services.settings, metrics=services.metrics)
        self._kept: dict[_Key, _Kept] = {}
        self._bytes = 0
        self._saving = 0
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._saved = trio.Event()
        services.metrics.replies_kept.set_function(lambda: len(self._kept))

    def __len__(self) -> int:
        """How many replies wait for the store to come back."""
        return len(self._kept)

    async def keep(self, connection: Connection, reply: ReplyReceived) -> None:
        """Save a reply, acknowledge it to the worker, and push it to its executor.

        While the store is away, or refuses, the reply is kept, to be saved by `run`. It is
        dropped if as much is kept already as may, or if the store has refused it for
        `Timing.store_outage`; there is no acknowledgement then, and the worker flushes it
        over HTTP. Gives back one of the connection's store slots.

        A reply to a request that is over is acknowledged, and nothing else; one to a request
        that another worker has changes nothing, and is not acknowledged.

        Cancelled, the reply may be lost; it is not acknowledged then.
        """
        self._saving += 1
        try:
            if self._keep_again(connection, reply):
                return
            running = connection.runs(reply.fields.request_id)
            try:
                saved = await self._save(connection, reply, running=running)
            except ConnectError:
                self._hold(connection, reply, running=running)
                return
        finally:
            connection.store_slots.release(len(reply.response))
            self._saving -= 1
            if not self._saving:
                self._saved.set()
        await self._settle(connection, reply, saved)

    async def run(self) -> None:
        """Save what is kept as soon as the store takes it; runs until cancelled."""
        health = self._services.health
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._extend_leases)
            pause = _RETRY_MIN
            while True:
                await self._filled.wait()
                await health.wait_returned()
                # After a failure one goes ahead; the others follow when it is saved.
                at_once = _AT_ONCE if pause == _RETRY_MIN else 1
                before = len(self._kept)
                async with trio.open_nursery() as attempts:
                    for key, kept in list(self._kept.items())[:at_once]:
                        attempts.start_soon(self._retry, key, kept, nursery)
                if len(self._kept) < before:
                    pause = _RETRY_MIN
                else:
                    await trio.sleep(pause)
                    pause = min(2 * pause, _RETRY_MAX)

    async def _extend_leases(self) -> None:
        """Extend the leases of those whose replies are kept, or they would be run again."""
        while True:
            await self._filled.wait()
            await trio.sleep(self._services.settings.timing.extend_lease)
            async with trio.open_nursery() as nursery:
                for kept in tuple(self._kept.values()):
                    request_id = kept.reply.fields.request_id
                    nursery.start_soon(extend_replied, kept.leased, request_id)

    async def wait_saved(self) -> None:
        """Return once no reply is on its way into the store; some may be kept."""
        while self._saving:
            self._saved = trio.Event()
            await self._saved.wait()

    async def wait_empty(self) -> None:
        """Return once nothing is kept any more."""
        while self._kept:
            self._emptied = trio.Event()
            await self._emptied.wait()

    async def _retry(self, key: _Key, kept: _Kept, pushes: trio.Nursery) -> None:
        try:
            saved = await self._save(kept.connection, kept.reply, running=kept.running)
        except StoreAway:
            return
        except ConnectError as error:
            # One that is refused, or cannot be saved in time, holds up no others.
            self._kept[key] = self._kept.pop(key)
            patience = self._services.settings.timing.store_outage
            if (
                isinstance(error, StoreUnavailable)
                or trio.current_time() - kept.since < patience
            ):  # fmt: skip
                return
            self._services.metrics.replies.labels("not_saved").inc()
            kept.connection.log.error(
                "reply not saved", request_id=kept.reply.fields.request_id, error=str(error)
            )
            saved = None
        del self._kept[key]
        self._bytes -= len(kept.reply.response)
        if not self._kept:
            self._filled = trio.Event()
            self._emptied.set()
        pushes.start_soon(self._settle_kept, kept, saved)

    def _keep_again(self, connection: Connection, reply: ReplyReceived) -> bool:
        """Whether the request's reply is kept already; it is acknowledged over this one."""
        kept = self._kept.get(_key(connection, reply))
        if kept is None:
            return False
        if kept.connection is not connection:
            kept.earlier = kept.leased
            kept.connection, kept.times = connection, 0
        kept.times = min(kept.times + 1, _ACKS_AT_MOST)
        return True

    def _hold(self, connection: Connection, reply: ReplyReceived, *, running: bool) -> None:
        if self._keep_again(connection, reply):
            return
        limits = self._services.settings.limits
        replies = self._services.metrics.replies
        size = len(reply.response)
        if (
            len(self._kept) >= limits.kept_replies
            or self._bytes + size > limits.kept_reply_bytes
        ):  # fmt: skip
            replies.labels("dropped").inc()
            connection.log.warning(
                "reply dropped: no room until the store is back",
                request_id=reply.fields.request_id,
            )
            return
        replies.labels("kept").inc()
        self._kept[_key(connection, reply)] = _Kept(
            connection, connection, reply, running, trio.current_time()
        )
        self._bytes += size
        self._filled.set()

    async def _save(
        self, connection: Connection, reply: ReplyReceived, *, running: bool
    ) -> SavedResponse | None:
        """Save a reply; None if that went wrong in a way that trying again does not mend.

        Raises:
            ConnectError: the store refused, and may do so for a while only.
            StoreUnavailable: the store did not answer, or is known to be away.
        """
        services = self._services
        request_id = reply.fields.request_id
        joined = connection.joined
        assert joined is not None
        try:
            with services.health.attempt():
                # The session's environment, not the message's: a worker writes to its own.
                return await services.store.responses.save(
                    joined.env_id,
                    request_id,
                    reply.response,
                    instance_id=joined.connection.instance_id,
                    running=running,
                )
        except ConnectError as error:
            connection.log.debug("reply not saved yet", request_id=request_id, error=str(error))
            raise
        except Exception:  # the last resort: one reply is left to be flushed
            services.metrics.replies.labels("not_saved").inc()
            connection.log.exception("reply not saved", request_id=request_id)
            return None

    async def _settle(
        self, connection: Connection, reply: ReplyReceived, saved: SavedResponse | None
    ) -> None:
        if saved is None:
            return
        self._acknowledge(connection, reply, saved, times=1)
        # What is stored is the first one; whoever waits has been told of that.
        if saved.first:
            await self._tell(connection, reply, saved)

    async def _settle_kept(self, kept: _Kept, saved: SavedResponse | None) -> None:
        if saved is None:
            return
        self._acknowledge(kept.connection, kept.reply, saved, times=kept.times)
        if saved.refused is not RefusedResponse.FOREIGN:
            kept.earlier.forget_in_flight(kept.reply.fields.request_id)
        # It may be stored since a save that was not answered, and nobody been told of it.
        if saved.refused is None:
            await self._tell(kept.connection, kept.reply, saved)

    def _acknowledge(
        self, connection: Connection, reply: ReplyReceived, saved: SavedResponse, *, times: int
    ) -> None:
        services = self._services
        request_id = reply.fields.request_id
        if saved.refused is not None:
            services.metrics.replies.labels(saved.refused.name.lower()).inc()
            connection.log.info(
                "reply not kept", request_id=request_id, why=saved.refused.name.lower()
            )
        else:
            services.metrics.replies.labels("saved" if saved.first else "repeated").inc()
        if saved.refused is RefusedResponse.FOREIGN:
            return
        ack = Send(encode_message(_REPLY_ACK, encode_reply_ack(request_id)))
        connection.apply((ack,) * times)
        connection.forget_in_flight(request_id)

    async def _tell(
        self, connection: Connection, reply: ReplyReceived, saved: SavedResponse
    ) -> None:
        """Push a reply to the executor that the lease names, if any."""
        services = self._services
        request_id = reply.fields.request_id
        lease = saved.lease
        if lease is None or not lease.executor_host:
            return
        port = lease.executor_port or DEFAULT_EXECUTOR_PORT
        told = False
        try:
            told = await self.pushes.reply(lease.executor_host, port, reply.response)
        except Exception:  # the last resort: one push fails, not the gateway
            connection.log.exception("unforeseen failure of a push", request_id=request_id)
        if not told:
            services.metrics.replies.labels("not_pushed").inc()
            connection.log.info("executor not told; it polls", request_id=request_id)


def _key(connection: Connection, reply: ReplyReceived) -> _Key:
    joined = connection.joined
    assert joined is not None
    # Of one request each worker's is kept: whose counts, only the store can tell.
    return joined.env_id, joined.connection.instance_id, reply.fields.request_id
