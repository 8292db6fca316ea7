"""The gRPC service of an executor: ConnectExecutor (Connect protocol, section 2)."""

from typing import Protocol

from connect.protocol.codec import decode
from connect.protocol.envelope import decode_reply, encode_success, read_response
from connect.protocol.messages.connect import v1 as pb
from connect.rpc.bridge import RpcHandler
from connect.rpc.methods import ACK, EXECUTOR_PING, PONG, REPLY

__all__ = ["ReplyTable", "executor_handlers"]


class ReplyTable(Protocol):
    """The requests of this executor that are in progress."""

    def deliver(self, request_id: str, response: bytes) -> bool:
        """Give the reply to whoever waits for it; only the first one counts.

        Args:
            response: a serialized SDKResponse.

        Returns:
            False if the request is not in progress here.
        """
        ...

    def awaits(self, request_id: str) -> bool:
        """Return whether the request is in progress here."""
        ...


def executor_handlers(replies: ReplyTable) -> dict[str, RpcHandler]:
    """Return the methods of ConnectExecutor, for `Bridge.serve`.

    Reply and Ack answer success when the request is in progress here, also if its reply
    came before; otherwise success is false, and nothing happens.
    """

    async def reply(data: bytes) -> bytes:
        response = decode_reply(data)
        return encode_success(replies.deliver(read_response(response).request_id, response))

    async def ack(data: bytes) -> bytes:
        return encode_success(replies.awaits(decode(pb.AckMessage, data).request_id))

    async def ping(data: bytes) -> bytes:
        return PONG

    return {REPLY: reply, ACK: ack, EXECUTOR_PING: ping}
