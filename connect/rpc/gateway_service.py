"""The gRPC service of a gateway: ConnectGateway (Connect protocol, section 2)."""

from typing import Protocol

from connect.errors import ForwardInDoubt
from connect.protocol.envelope import decode_forward, encode_success, read_request
from connect.rpc.bridge import RpcHandler
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.methods import FORWARD, GATEWAY_PING, PONG

__all__ = ["Forwarder", "gateway_handlers"]


class Forwarder(Protocol):
    """Hands requests to the connections of this gateway."""

    async def forward(
        self, connection_id: str, request_id: str, request: bytes, *, vouched: str | None
    ) -> bool:
        """Send the request to the connection's worker and wait for the acknowledgement.

        Args:
            request: a serialized GatewayExecutorRequestData, to be passed on unopened.
            vouched: the lease that its executor answers for when the state store cannot, as
                ours do on their streams; None if it does not.

        Returns:
            Whether the worker acknowledged it (Connect protocol, section 4).

        Raises:
            ForwardInDoubt: it was sent, and no acknowledgement can come any more.

        It is cancelled when the executor gives the call up.
        """
        ...


def gateway_handlers(forwarder: Forwarder) -> dict[str, RpcHandler]:
    """Return the methods of ConnectGateway, for `Bridge.serve`.

    Forward refuses a call without connection id or request id as INVALID_ARGUMENT:
    it could be neither delivered nor acknowledged, and no other gateway could do better.
    An outcome in doubt is ABORTED for executors that ask for it, and no success for others.
    """

    async def forward(data: bytes) -> bytes:
        connection_id, request, tell_doubt = decode_forward(data)
        fields = read_request(request)
        if not connection_id:
            raise RpcError(RpcStatus.INVALID_ARGUMENT, "connectionID is empty")
        if not fields.request_id:
            raise RpcError(RpcStatus.INVALID_ARGUMENT, "data.request_id is empty")
        # Executors that ask for a doubt to be told are ours.
        vouched = fields.lease_id if tell_doubt else None
        try:
            return encode_success(
                await forwarder.forward(connection_id, fields.request_id, request, vouched=vouched)
            )
        except ForwardInDoubt as error:
            if tell_doubt:
                raise RpcError(RpcStatus.ABORTED, str(error)) from error
            return encode_success(False)

    async def ping(data: bytes) -> bytes:
        return PONG

    return {FORWARD: forward, GATEWAY_PING: ping}
