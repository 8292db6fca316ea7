"""What a connection's replies and lease extensions do to the state store.

Both run in the gateway's background nursery, so that a reply which has arrived is kept
even when its connection ends the moment after. Both hold one of the connection's store
slots, and give it back.
"""

from connect.errors import StoreUnavailable
from connect.nursery.connection import Connection
from connect.protocol.envelope import encode_extend_ack, encode_message, encode_reply_ack
from connect.protocol.machine import ExtendLease, ReplyReceived, Send
from connect.protocol.messages.connect import v1 as pb

__all__ = ["extend_lease", "keep_reply"]

# The reference implementation's executors listen here and leave the port out of leases.
DEFAULT_EXECUTOR_PORT = 50053

_REPLY_ACK = int(pb.GatewayMessageType.WORKER_REPLY_ACK)
_EXTEND_ACK = int(pb.GatewayMessageType.WORKER_REQUEST_EXTEND_LEASE_ACK)


async def keep_reply(connection: Connection, reply: ReplyReceived) -> None:
    """Save a reply, acknowledge it to the worker, and push it to its executor.

    The acknowledgement follows the save, never the push (Connect protocol, section 4).
    When the store does not answer there is none: the worker then keeps the reply and
    flushes it over HTTP.
    """
    joined = connection.joined
    assert joined is not None
    services = connection.services
    request_id = reply.fields.request_id
    try:
        # The session's environment, not the message's: a worker writes to its own only.
        saved = await services.store.responses.save(joined.env_id, request_id, reply.response)
    except StoreUnavailable as error:
        services.metrics.replies.labels("not_saved").inc()
        connection.log.warning("reply not saved", request_id=request_id, error=str(error))
        return
    except Exception:  # the last resort: one reply is left to be flushed
        services.metrics.replies.labels("not_saved").inc()
        connection.log.exception("reply not saved", request_id=request_id)
        return
    finally:
        connection.store_slots.release()
    connection.apply((Send(encode_message(_REPLY_ACK, encode_reply_ack(request_id))),))
    connection.forget_in_flight(request_id)
    services.metrics.replies.labels("saved" if saved.first else "repeated").inc()
    lease = saved.lease
    if lease is None or not lease.executor_host:
        return
    port = lease.executor_port or DEFAULT_EXECUTOR_PORT
    if not await services.replies.reply(lease.executor_host, port, reply.response):
        services.metrics.replies.labels("not_pushed").inc()
        connection.log.info("executor not told; it polls", request_id=request_id)


async def extend_lease(connection: Connection, extend: ExtendLease) -> None:
    """Extend a lease and tell the worker its new id, or none: stop (section 4).

    When the store does not answer nothing is sent: the work goes on and the worker
    asks again.
    """
    joined = connection.joined
    assert joined is not None
    services = connection.services
    fields = extend.fields
    try:
        result = await services.store.leases.extend(
            joined.env_id,
            fields.request_id,
            lease_id=fields.lease_id,
            instance_id=joined.connection.instance_id,
            seconds=services.settings.timing.lease,
            limited=joined.limited,
        )
    except StoreUnavailable as error:
        services.metrics.store_failures.labels("extend_lease").inc()
        connection.log.warning("lease not extended", request_id=fields.request_id, error=str(error))
        return
    except Exception:  # the last resort: the worker asks again
        connection.log.exception("lease not extended", request_id=fields.request_id)
        return
    finally:
        connection.store_slots.release()
    services.metrics.lease_extensions.labels(result.outcome.name.lower()).inc()
    if result.lease_id is None:
        connection.forget_in_flight(fields.request_id)
        connection.log.info(
            "lease refused", request_id=fields.request_id, outcome=result.outcome.name
        )
    else:
        connection.touch_in_flight(fields.request_id)
    ack = encode_extend_ack(
        fields.request_id,
        fields.account_id,
        fields.env_id,
        fields.app_id,
        fields.function_slug,
        result.lease_id,
    )
    connection.apply((Send(encode_message(_EXTEND_ACK, ack)),))
