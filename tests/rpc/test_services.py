"""The two gRPC services, called without a wire."""

import pytest

from connect.errors import ForwardInDoubt, MalformedMessage
from connect.protocol.envelope import decode_success, encode_forward, encode_reply
from connect.protocol.messages.connect import v1 as pb
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.executor_service import executor_handlers
from connect.rpc.gateway_service import gateway_handlers
from connect.rpc.methods import ACK, EXECUTOR_PING, FORWARD, GATEWAY_PING, REPLY


class Worker:
    """A forwarder that remembers."""

    def __init__(self, accepts: bool | ForwardInDoubt = True) -> None:
        self.accepts = accepts
        self.forwarded: list[tuple[str, str, bytes]] = []

    async def forward(
        self, connection_id: str, request_id: str, request: bytes, *, vouched: str | None
    ) -> bool:
        self.forwarded.append((connection_id, request_id, request))
        if isinstance(self.accepts, ForwardInDoubt):
            raise self.accepts
        return self.accepts


class Replies:
    """A table with one request in progress."""

    def __init__(self) -> None:
        self.delivered: list[bytes] = []

    def deliver(self, request_id: str, response: bytes) -> bool:
        self.delivered.append(response)
        return request_id == "req-1"

    def awaits(self, request_id: str) -> bool:
        return request_id == "req-1"


def request(request_id: str = "req-1") -> bytes:
    return bytes(pb.GatewayExecutorRequestData(request_id=request_id, request_payload=b"{}"))


def reply(request_id: str = "req-1") -> bytes:
    return bytes(pb.SdkResponse(request_id=request_id, body=b"done"))


async def test_forward_hands_the_request_on_unopened() -> None:
    worker = Worker()
    await gateway_handlers(worker)[FORWARD](encode_forward("conn-1", request()))
    assert worker.forwarded == [("conn-1", "req-1", request())]


@pytest.mark.parametrize("accepts", [True, False])
async def test_forward_answers_whether_the_worker_accepted(accepts: bool) -> None:
    answer = await gateway_handlers(Worker(accepts))[FORWARD](encode_forward("conn-1", request()))
    assert decode_success(answer) is accepts


async def test_forward_tells_an_outcome_in_doubt_to_executors_that_ask_for_it() -> None:
    handlers = gateway_handlers(Worker(ForwardInDoubt("the socket broke")))
    with pytest.raises(RpcError, match="the socket broke") as caught:
        await handlers[FORWARD](encode_forward("conn-1", request(), tell_doubt=True))
    assert caught.value.status is RpcStatus.ABORTED


async def test_forward_in_doubt_is_no_success_for_other_executors() -> None:
    handlers = gateway_handlers(Worker(ForwardInDoubt("the socket broke")))
    answer = await handlers[FORWARD](encode_forward("conn-1", request()))
    assert not decode_success(answer)


@pytest.mark.parametrize(("connection_id", "request_id"), [("", "req-1"), ("conn-1", "")])
async def test_forward_without_an_id_is_an_invalid_argument(
    connection_id: str, request_id: str
) -> None:
    with pytest.raises(RpcError) as caught:
        await gateway_handlers(Worker())[FORWARD](
            encode_forward(connection_id, request(request_id))
        )
    assert caught.value.status is RpcStatus.INVALID_ARGUMENT


async def test_forward_of_a_malformed_request_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        await gateway_handlers(Worker())[FORWARD](encode_forward("conn-1", b"\xff"))


async def test_a_gateway_answers_pings() -> None:
    answer = await gateway_handlers(Worker())[GATEWAY_PING](b"")
    assert pb.PingResponse().parse(answer).message == "ok"


async def test_an_executor_answers_pings() -> None:
    answer = await executor_handlers(Replies())[EXECUTOR_PING](b"")
    assert pb.PingResponse().parse(answer).message == "ok"


async def test_reply_delivers_the_response_unopened() -> None:
    replies = Replies()
    await executor_handlers(replies)[REPLY](encode_reply(reply()))
    assert replies.delivered == [reply()]


@pytest.mark.parametrize(("request_id", "awaited"), [("req-1", True), ("req-2", False)])
async def test_reply_answers_whether_somebody_waits(request_id: str, awaited: bool) -> None:
    answer = await executor_handlers(Replies())[REPLY](encode_reply(reply(request_id)))
    assert decode_success(answer) is awaited


@pytest.mark.parametrize(("request_id", "awaited"), [("req-1", True), ("req-2", False)])
async def test_ack_answers_whether_somebody_waits(request_id: str, awaited: bool) -> None:
    answer = await executor_handlers(Replies())[ACK](bytes(pb.AckMessage(request_id=request_id)))
    assert decode_success(answer) is awaited


@pytest.mark.parametrize("method", [REPLY, ACK])
async def test_malformed_messages_to_an_executor_are_refused(method: str) -> None:
    with pytest.raises(MalformedMessage):
        await executor_handlers(Replies())[method](b"\xff")
