"""One request's way through an executor (Connect protocol, section 5).

Route, forward, await the reply, clean up. A reply can arrive at any time from the
moment the request is in the executor's table, and then ends whatever is going on.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto

import structlog
import trio

from connect.errors import ConnectError, ExecutorClosing, StoreUnavailable, Syscode, SyscodeError
from connect.protocol.envelope import RequestFields, with_lease
from connect.protocol.messages.connect import v1 as pb
from connect.rpc.cleanup import Completion
from connect.rpc.errors import CallRefused, PeerUnreachable, RpcError
from connect.rpc.execution_parts import ExecutionParts
from connect.rpc.frames import LeaseAnswer
from connect.rpc.gateways import LiveGateways
from connect.rpc.lease_watch import LeaseWatch
from connect.state.leases import lease_id_at
from connect.state.store import (
    Abandoned,
    Acquired,
    AcquireOutcome,
    AcquireRequest,
    AlreadyLeased,
    Buffered,
    ExtendResult,
    NoRouteReason,
)

__all__ = ["Execution"]

# A gateway answers a Forward within its lease duration + 5 s; then a little for the way.
_FORWARD_SECONDS_AFTER_LEASE = 5.0 + 2.0

_POLL_BACKOFF = 1.5

# Between two looks whether a worker still runs a request that was given up, in seconds.
_ABANDONED_RETRY = 0.5

log = structlog.get_logger(__name__)


_NO_ROUTE = {
    NoRouteReason.ONLY_DRAINING: (
        Syscode.NO_HEALTHY_CONNECTION,
        "every worker that serves the function is draining",
    ),
    NoRouteReason.NONE_HEALTHY: (
        Syscode.NO_HEALTHY_CONNECTION,
        "no healthy worker that serves the function is connected",
    ),
    NoRouteReason.ALL_AT_CAPACITY: (
        Syscode.ALL_WORKERS_AT_CAPACITY,
        "all workers that serve the function are at capacity",
    ),
}


class _Forwarded(Enum):
    """What became of a forward."""

    TAKEN = auto()  # the worker has it, or its reply is here already
    REFUSED = auto()
    UNREACHABLE = auto()  # the gateway was not asked


class Execution:
    """One request in progress, for one or more callers that wait for the same reply.

    Attributes:
        callers: how many wait; without any the request is withdrawn.
        done: set when `response` or `error` is there and everything is cleaned up.
    """

    def __init__(self, parts: ExecutionParts, fields: RequestFields, request: bytes) -> None:
        self.request_id = fields.request_id
        self.env_id = fields.env_id
        self.callers = 1
        self.done = trio.Event()
        self.response: bytes | None = None
        self.error: Exception | None = None
        self._parts = parts
        self._fields = fields
        self._request = request
        self._scope = trio.CancelScope()
        self._reply: bytes | None = None
        self._replied = trio.Event()
        self._interruptible: trio.CancelScope | None = None
        self._held: Acquired | None = None
        self._taken_over: AlreadyLeased | None = None
        # The lease of an attempt to route whose outcome is not known, or not yet.
        self._unsure_of: str | None = None
        self._routed_among: LiveGateways | None = None
        self._buffered = False
        self._abandoned = False
        self._cleaned_up = False
        # Whether a worker has the request, or may have it.
        self._with_worker = False
        self._handed_over = False
        # Until then it is given to nobody else, whatever the store says of its lease.
        self._vouched_until = -math.inf
        self._failed = False
        self._lease = LeaseWatch(
            parts.store.leases,
            self.env_id,
            self.request_id,
            lasts=parts.timing.lease,
            now=parts.now,
        )

    def join(self) -> bool:
        """Count one more caller; False if the request is being withdrawn or handed over."""
        if self._scope.cancel_called:
            return False
        self.callers += 1
        return True

    def leave(self) -> bool:
        """Count one caller less; the last one withdraws the request, and gets True."""
        self.callers -= 1
        if self.callers == 0:
            self._scope.cancel()
        return self.callers == 0

    def hand_over(self) -> None:
        """End, and leave the request to whoever asks for it next; callers are told so."""
        if not self._scope.cancel_called:
            self._handed_over = True
            self._scope.cancel()

    def deliver(self, response: bytes) -> bool:
        """Take a pushed reply; the first one counts.

        Returns:
            False if nobody waits for it any more.
        """
        if self._scope.cancel_called:
            return False
        if self._reply is None:
            self._reply = response
            self._replied.set()
            if self._interruptible is not None:
                self._interruptible.cancel()
        return True

    async def extend_lease(self, request: pb.ExtendLeaseRequest) -> LeaseAnswer:
        """Extend the worker's lease, for a gateway that cannot as it has lost the store.

        When the store does not do it here either, the lease goes on as it is: for that long
        the request is given to nobody else. One of a worker that the request was taken from
        does not.
        """
        timing = self._parts.timing
        asked = trio.current_time()
        result: ExtendResult | None = None
        with suppress(ConnectError), trio.move_on_after(timing.extend_lease / 4):
            result = await self._parts.store.leases.extend(
                self.env_id,
                self.request_id,
                lease_id=request.lease_id,
                instance_id=request.instance_id,
                seconds=timing.lease,
                limited=request.limited,
            )
        if self._scope.cancel_called or self._reply is not None or self._failed:
            return LeaseAnswer(in_progress=False)
        if result is not None:
            return LeaseAnswer(in_progress=True, lease_id=result.lease_id or "")
        if not self._with_worker:  # it is being routed
            return LeaseAnswer(in_progress=False)
        if self._held is not None and self._held.instance_id != request.instance_id:
            return LeaseAnswer(in_progress=True)  # it was this worker's before
        self._vouched_until = max(self._vouched_until, asked + timing.lease)
        return LeaseAnswer(in_progress=True, lease_id=request.lease_id)

    async def run(self) -> None:
        """Carry the request out, to a response or an error, and clean up after it.

        A request that its callers withdraw is un-assigned and its lease deleted if this
        executor held it; another executor's lease is left alone. One that is handed over,
        as it is when this is cancelled, stays as it is if a worker may have it.
        """
        try:
            with self._scope:
                self.response = await self._carry_out()
        except Exception as error:  # noqa: BLE001 - raised again in every caller
            self.error = error
            await self._clean_up()
        finally:
            if self.response is None and self.error is None:
                # The scope doesn't catch the end of the executor, which ends callers, too.
                withdrawn = self._scope.cancelled_caught and not self._handed_over
                await self._let_go(withdrawn=withdrawn)
            self.done.set()

    async def _carry_out(self) -> bytes:
        too_long = trio.current_time() + self._parts.timing.longest_function
        try:
            await self._route()
            reply = await self._await_reply(too_long)
        except ConnectError:
            self._failed = True
            await self._clean_up(keep_response=True)
            # The worker may have replied up to now, and been told that its reply is safe.
            await self._poll()
            if self._reply is None:
                raise
            return self._reply
        await self._clean_up()
        return reply

    async def _let_go(self, *, withdrawn: bool) -> None:
        """End without a response; or with one that has come at the last moment."""
        self.error = ExecutorClosing(
            "the executor ends before the request does: ask another one for the same request id"
        )
        if self._reply is not None and not withdrawn:
            self.response, self.error = self._reply, None
        elif self._with_worker and not withdrawn:
            log.info("request handed over", request_id=self.request_id)
            return
        await self._clean_up()
        if withdrawn and not self._cleaned_up:
            await self._hand_back()

    async def _hand_back(self) -> None:
        """Leave the reply to the executor that the request was taken over from.

        Best effort: it finds the reply in the buffer, too, but only then cleans up after it.
        """
        parts = self._parts
        if self._taken_over is None or self._taken_over.executor is None:
            return
        with (
            trio.move_on_after(parts.timing.store_command, shield=True),
            suppress(ConnectError),
        ):
            await parts.store.leases.hand_back(
                self.env_id,
                self.request_id,
                executor=(parts.host, parts.port),
                to=self._taken_over.executor,
            )

    async def _route(self) -> None:
        """Find a worker that takes the request, unless somebody did before.

        Raises:
            SyscodeError: no worker takes it.
            StoreUnavailable: routing failed.
        """
        await self._parts.cleanup.settle(self.env_id, self.request_id)
        excluded: list[str] = []
        unreachable: set[str] = set()
        attempts = 0
        draining_attempts = self._parts.timing.draining_attempts
        looked_again = False
        while True:
            outcome = await self._acquire(excluded)
            if self._reply is not None or isinstance(outcome, AlreadyLeased | Buffered):
                self._with_worker = True
                return
            if isinstance(outcome, Abandoned):
                # Its worker is told at its next extension, and may end by itself before.
                if await self._wait(trio.current_time() + _ABANDONED_RETRY):
                    return
            elif isinstance(outcome, Acquired):
                forwarded = await self._forward(outcome)
                if forwarded is _Forwarded.TAKEN:
                    return
                if forwarded is _Forwarded.REFUSED:
                    excluded.append(outcome.connection_id)
                    attempts += 1
                else:  # no worker's fault, unless the gateway stays as it is
                    attempts += outcome.gateway_id in unreachable
                    unreachable.add(outcome.gateway_id)
                if attempts >= self._parts.limits.forward_attempts:
                    raise SyscodeError(
                        Syscode.NO_HEALTHY_CONNECTION,
                        f"no worker took the request in {attempts} attempts",
                    )
            elif self._may_come_back(outcome.reason) and draining_attempts > 0:
                draining_attempts -= 1
                if await self._wait(trio.current_time() + self._parts.timing.draining_retry):
                    return
            elif outcome.reason is NoRouteReason.NONE_HEALTHY and not looked_again:
                looked_again = True
                # Compared with what was routed among: the table may be newer by now.
                if self._parts.gateways.live() == self._routed_among:
                    await self._parts.gateways.look_again()
                # Or it has been seen that what there was may come back.
                if self._parts.gateways.live() == self._routed_among and not self._may_come_back(
                    outcome.reason
                ):
                    raise SyscodeError(*_NO_ROUTE[outcome.reason])
            else:
                raise SyscodeError(*_NO_ROUTE[outcome.reason])

    def _may_come_back(self, reason: NoRouteReason) -> bool:
        """Whether workers are about to be found again, as far as can be known.

        They are after an outage of the store, when a gateway cannot be reached, and while one
        drains, also when it has none of their connections any more: the official Python SDK
        closes its old connection before its new one is ready.
        """
        if reason is NoRouteReason.NONE_HEALTHY:
            gateways = self._parts.gateways
            draining = self._routed_among is not None and bool(self._routed_among.draining)
            return draining or gateways.recovering or gateways.leaves_out
        return reason is NoRouteReason.ONLY_DRAINING

    async def _acquire(self, excluded: Sequence[str]) -> AcquireOutcome:
        parts = self._parts
        live = self._routed_among = parts.gateways.live()
        held = self._held
        seconds = parts.timing.lease
        lease_id = lease_id_at(int((parts.now() + seconds) * 1000))
        request = AcquireRequest(
            env_id=self.env_id,
            request_id=self.request_id,
            app_id=self._fields.app_id,
            function_slug=self._fields.function_slug,
            executor_host=parts.host,
            executor_port=parts.port,
            lease_seconds=seconds,
            lease_id=lease_id,
            gateways=live.active,
            draining_gateways=live.draining,
            excluded=tuple(excluded),
            held_lease=held.lease_id if held else None,
            held_instance=held.instance_id if held else None,
        )
        self._unsure_of = lease_id
        outcome: AcquireOutcome | None = None
        # Interrupted here, it would be unknown what there is to clean up.
        with trio.move_on_after(parts.timing.store_command, shield=True):
            outcome = await parts.store.routing.acquire(request)
        if outcome is None:
            raise StoreUnavailable("routing took too long")
        self._unsure_of = None
        if isinstance(outcome, Acquired):
            self._held = outcome
        elif isinstance(outcome, AlreadyLeased):
            self._taken_over = outcome
            held = self._held
            if held is not None and outcome.first_lease_id not in ("", held.lease_id):
                self._held = None  # it ran out, and another executor has found another worker
        elif isinstance(outcome, Buffered):
            self._buffered = True
            self.deliver(outcome.response)
            return outcome
        await trio.lowlevel.checkpoint_if_cancelled()
        return outcome

    async def _forward(self, route: Acquired) -> _Forwarded:
        gateways = self._parts.gateways
        address = gateways.address(route.gateway_id)
        if address is None:
            return _Forwarded.REFUSED
        failed = _Forwarded.REFUSED
        accepted = in_doubt = False
        with_worker_before = self._with_worker
        self._with_worker = True
        reason = "the gateway could not deliver it"
        routed = trio.current_time()
        with self._until_reply():
            try:
                accepted = await self._parts.channels.forward(
                    *address,
                    route.connection_id,
                    with_lease(self._request, route.lease_id),
                    timeout=self._parts.timing.lease + _FORWARD_SECONDS_AFTER_LEASE,
                )
            except PeerUnreachable as error:
                reason = str(error)
                failed = _Forwarded.UNREACHABLE
                gateways.leave_out(route.gateway_id)
            except RpcError as error:
                reason = str(error)
                in_doubt = not isinstance(error, CallRefused)
        if accepted or self._reply is not None:
            return _Forwarded.TAKEN
        log.info(
            "forward failed",
            request_id=self.request_id,
            connection_id=route.connection_id,
            gateway_id=route.gateway_id,
            reason=reason,
        )
        if in_doubt:
            # The worker may be running it, and its reply come over another gateway. While
            # the lease lasts nobody else may; one that it has extended is found by the store.
            timing = self._parts.timing
            until = routed + timing.lease
            while trio.current_time() < until + timing.lease_grace:
                if await self._wait(until + timing.lease_grace):
                    return _Forwarded.TAKEN
                until = max(until, self._vouched_until)
            return failed
        self._with_worker = with_worker_before
        return failed

    async def _await_reply(self, too_long: float) -> bytes:
        """Wait for the pushed reply, looking into the buffer and at the lease meanwhile.

        Raises:
            SyscodeError: WORKER_STOPPED_RESPONDING, REQUEST_TOO_LONG.
        """
        timing = self._parts.timing
        started = trio.current_time()
        poll_interval = timing.reply_poll_min
        next_poll = started + poll_interval
        next_check = started + timing.extend_lease
        grace_end: float | None = None
        while self._reply is None:
            ends = next_check if grace_end is None else grace_end
            if await self._wait(min(next_poll, ends, too_long)):
                break
            now = trio.current_time()
            if now >= too_long:
                self._abandoned = True
                raise SyscodeError(
                    Syscode.REQUEST_TOO_LONG, f"no reply within {timing.longest_function:g} s"
                )
            if now >= next_poll or (grace_end is not None and now >= grace_end):
                await self._poll()
                poll_interval = min(poll_interval * _POLL_BACKOFF, timing.reply_poll_max)
                next_poll = trio.current_time() + poll_interval
            if self._reply is not None or now < ends:
                continue
            expired: bool | None = None
            with self._until_reply():
                expired = await self._lease.is_over()
            next_check = trio.current_time() + timing.extend_lease
            if expired is False or now < self._vouched_until:
                grace_end = None
            elif expired is None:  # unknown: ask again at the next check
                grace_end = next_check if grace_end is not None else None
            elif grace_end is None:
                grace_end = trio.current_time() + timing.lease_grace
            else:
                self._abandoned = True
                raise SyscodeError(
                    Syscode.WORKER_STOPPED_RESPONDING,
                    "the worker let the lease expire without a reply",
                )
        assert self._reply is not None
        return self._reply

    async def _poll(self) -> None:
        """Look for the reply in the buffer: its push may have been lost."""
        response: bytes | None = None
        with self._until_reply(), suppress(ConnectError):
            response = await self._parts.store.responses.get(self.env_id, self.request_id)
        if response is not None:
            self.deliver(response)

    async def _wait(self, until: float) -> bool:
        """Wait for the reply; return whether it is here."""
        with trio.CancelScope(deadline=until):
            await self._replied.wait()
        return self._reply is not None

    @contextmanager
    def _until_reply(self) -> Iterator[None]:
        """Let the reply cut short what is inside."""
        with trio.CancelScope() as scope:
            self._interruptible = scope
            try:
                yield
            finally:
                self._interruptible = None

    def _vouched_until_ms(self) -> int:
        left = self._vouched_until - trio.current_time()
        return int((self._parts.now() + left) * 1000) if left > 0 else 0

    def _made_with(self) -> tuple[str, ...]:
        """Return the ids that the lease may have been made with; none if that is not known.

        What cleans up may come late to the store, when the request has begun anew.
        """
        if self._buffered or self._unsure_of:
            return ()
        ids = [self._held.lease_id] if self._held else []
        if self._taken_over:
            ids.append(self._taken_over.first_lease_id)
        return tuple(dict.fromkeys(ids)) if all(ids) else ()

    async def _clean_up(self, *, keep_response: bool = False) -> None:
        # A lease that was only ever another executor's is not ours to delete, unless the
        # request is over.
        ours = self._held is not None or self._reply is not None or self._abandoned
        if self._cleaned_up or not (ours or self._unsure_of):
            return
        self._cleaned_up = True
        parts = self._parts
        sure_of = self._held if self._unsure_of is None else None
        completion = Completion(
            env_id=self.env_id,
            request_id=self.request_id,
            # Of a request that another executor leased, which may have died, or whose routing
            # was not answered, the store finds the worker out.
            instance_id=None if sure_of is None else sure_of.instance_id,
            # A reply taken from the buffer is whose it may be; the lease still names the
            # executor that died.
            executor=None if self._buffered else (parts.host, parts.port),
            lease_id=None if ours else self._unsure_of,
            keep_response=keep_response,
            may_run=self._with_worker and self._reply is None,
            vouched_until_ms=self._vouched_until_ms(),
            made_with=self._made_with(),
        )
        if ours:
            await parts.cleanup.complete(completion)
        else:  # nobody has the request, and its caller need not wait for the store any longer
            parts.cleanup.complete_later(completion, "routing was not answered")
