"""What a connection's lease extensions do to the state store, or to executors without it."""

from typing import NamedTuple

import trio
from ulid import ULID

from connect.errors import ConnectError, StoreUnavailable
from connect.nursery.connection import Connection
from connect.protocol.envelope import ExtendLeaseFields, encode_extend_ack, encode_message
from connect.protocol.machine import ExtendLease, Send
from connect.protocol.messages.connect import v1 as pb

__all__ = ["extend_lease", "extend_replied"]

_EXTEND_ACK = int(pb.GatewayMessageType.WORKER_REQUEST_EXTEND_LEASE_ACK)

# Of a lease's intervals: how long the store has to extend it before executors are asked, and
# how long these have to answer, so that a worker has its answer before it asks again.
_STORED_WITHIN = 0.5
_ANSWERED_WITHIN = 0.5

# With so many intervals left it is refused, so that the worker has stopped when it ends. A
# worker asks at least once between the second last and the last.
_REFUSED_BEFORE_END = 2.0

# So many intervals after it last asked, a worker that has replied asks no more.
_LEFT_TO_WORKER = 1.5


class _Extension(NamedTuple):
    """What became of a lease.

    Attributes:
        lease_id: the one to hold from now on; None if the lease is lost.
        outcome: as it is counted.
        vouched_until: until when an executor answers for it, on the Trio clock, if one does.
    """

    lease_id: str | None
    outcome: str
    vouched_until: float | None = None


async def extend_lease(connection: Connection, extend: ExtendLease) -> None:
    """Extend a lease and tell the worker its new id, or none: stop (section 4).

    When the store does not answer, the executor that waits for the request extends the lease,
    or vouches for it, as others may reach the store and see the lease run out. Where no
    executor answers for it, nothing is sent, and the worker asks again; but it is told to stop
    before the end of a lease that an executor of ours should have answered for.

    What is asked of one lease is answered in order: a question that was overtaken by a later
    one would name a lease id from before, and be refused.

    Runs in the gateway's background nursery, and gives back one of the connection's store
    slots.
    """
    services = connection.services
    fields = extend.fields
    known = connection.running(fields.request_id) is not None
    try:
        async with connection.extending(fields.request_id):
            extension = await _extend(connection, fields.request_id, fields.lease_id)
    except ConnectError as error:
        services.metrics.store_failures.labels("extend_lease").inc()
        if not _must_stop(connection, fields):
            services.warn_unstored(
                connection.log, "lease not extended", error, request_id=fields.request_id
            )
            return
        extension = _Extension(None, "nobody_answers")
    except Exception:  # the last resort: the worker asks again
        connection.log.exception("lease not extended", request_id=fields.request_id)
        return
    finally:
        connection.store_slots.release(fields.size)
    over = known and connection.running(fields.request_id) is None  # its reply was saved meanwhile
    if extension.lease_id is not None and not over:
        connection.touch_in_flight(fields.request_id)
    _note(connection, fields.request_id, extension)
    ack = encode_extend_ack(
        fields.request_id,
        fields.account_id,
        fields.env_id,
        fields.app_id,
        fields.function_slug,
        extension.lease_id,
    )
    connection.apply((Send(encode_message(_EXTEND_ACK, ack)),))


async def extend_replied(connection: Connection, request_id: str) -> None:
    """Extend the lease of a request whose reply waits to be saved, in its worker's place.

    Nobody else gets the request meanwhile: the official SDKs extend no lease any more once
    they have replied. A worker that goes on asking, as ours does, is left to do so.
    Nothing is done about a lease that this connection has not seen, or that is lost.

    Cancelled, the lease may be extended.
    """
    interval = connection.services.settings.timing.extend_lease
    try:
        async with connection.extending(request_id):
            running = connection.running(request_id)
            if running is None or not running.lease_id:
                return
            if trio.current_time() < running.asked + _LEFT_TO_WORKER * interval:
                return
            extension = await _extend(connection, request_id, running.lease_id)
    except ConnectError as error:  # asked again after an interval
        connection.log.debug("lease not extended", request_id=request_id, error=str(error))
        return
    except Exception:  # the last resort: one lease is not extended
        connection.log.exception("lease not extended", request_id=request_id)
        return
    _note(connection, request_id, extension)


def _note(connection: Connection, request_id: str, extension: _Extension) -> None:
    services = connection.services
    services.metrics.lease_extensions.labels(extension.outcome).inc()
    if extension.lease_id is None:
        connection.forget_in_flight(request_id)
        connection.log.info("lease refused", request_id=request_id, outcome=extension.outcome)
        return
    running = connection.running(request_id)
    if running is None:  # its reply was saved meanwhile
        return
    timing = services.settings.timing
    running.lease_id = extension.lease_id
    running.until = trio.current_time() + timing.lease + timing.lease_grace
    if extension.vouched_until is not None:
        running.vouch(extension.vouched_until)


async def _extend(connection: Connection, request_id: str, lease_id: str) -> _Extension:
    """Have a lease extended, by the store or an executor.

    Raises:
        ConnectError: neither the store nor an executor answers for the lease.
    """
    joined = connection.joined
    assert joined is not None
    services = connection.services
    timing = services.settings.timing
    instance_id = joined.connection.instance_id
    try:
        with trio.move_on_after(_STORED_WITHIN * timing.extend_lease), services.health.attempt():
            result = await services.store.leases.extend(
                joined.env_id,
                request_id,
                lease_id=lease_id,
                instance_id=instance_id,
                seconds=timing.lease,
                limited=joined.limited,
            )
            return _Extension(result.lease_id, result.outcome.name.lower())
    except ConnectError:  # no answer, or a refusal
        if services.executors is None:
            raise
    if services.executors is None:
        raise StoreUnavailable("the state store does not answer in time")
    asked = trio.current_time()
    new_lease_id = await services.executors.extend_lease(
        pb.ExtendLeaseRequest(
            env_id=joined.env_id,
            request_id=request_id,
            lease_id=lease_id,
            instance_id=instance_id,
            limited=joined.limited,
        ),
        timeout=_ANSWERED_WITHIN * timing.extend_lease,
    )
    if new_lease_id is None:
        return _Extension(None, "refused_by_executor")
    return _Extension(new_lease_id, "by_executor", asked + timing.lease)


def _must_stop(connection: Connection, fields: ExtendLeaseFields) -> bool:
    """Whether the worker must be told to stop, since its lease ends before it asks again.

    The lease id tells when that is by the store; what was vouched for since lasts longer.
    """
    services = connection.services
    running = connection.running(fields.request_id)
    if running is None or running.vouched_until is None:
        return False
    left = max(
        ULID.from_str(fields.lease_id).milliseconds / 1000 - services.now(),
        running.vouched_until - trio.current_time(),
    )
    return left <= _REFUSED_BEFORE_END * services.settings.timing.extend_lease
