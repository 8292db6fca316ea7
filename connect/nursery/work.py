"""What a connection's lease extensions do to the state store."""

from connect.errors import StoreUnavailable
from connect.nursery.connection import Connection
from connect.protocol.envelope import encode_extend_ack, encode_message
from connect.protocol.machine import ExtendLease, Send
from connect.protocol.messages.connect import v1 as pb

__all__ = ["extend_lease"]

_EXTEND_ACK = int(pb.GatewayMessageType.WORKER_REQUEST_EXTEND_LEASE_ACK)


async def extend_lease(connection: Connection, extend: ExtendLease) -> None:
    """Extend a lease and tell the worker its new id, or none: stop (section 4).

    When the store does not answer nothing is sent: the work goes on and the worker
    asks again. Runs in the gateway's background nursery, and gives back one of the
    connection's store slots.
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
        connection.store_slots.release(0)
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
