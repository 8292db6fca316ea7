"""The parts of one process wired together, over loopback."""

from typing import Any

import httpx
import pytest
import trio
from trio_websocket import WebSocketConnection
from ulid import ULID

from connect.api.app import create_api
from connect.app import open_service
from connect.nursery.pushes import Pushes
from connect.protocol.envelope import decode_message, encode_message
from connect.protocol.messages.connect import v1 as pb
from connect.rpc.channels import ChannelPool
from connect.settings import Listen, Role, Settings, Timing
from connect.worker.websocket import use_websocket

Kind = pb.GatewayMessageType

ON_LOOPBACK = Listen(
    host="127.0.0.1",
    api_port=0,
    gateway_port=0,
    gateway_rpc_port=0,
    executor_rpc_port=0,
    admin_port=0,
)
FUNCTIONS = b'[{"id": "shop-pay", "name": "pay", "triggers": [{"event": "pay"}], "steps": {}}]'


async def test_a_flushed_reply_goes_to_its_executor_on_the_gateways_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[bytes] = []

    async def reply(self: ChannelPool, host: str, port: int, response: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        called.append(response)
        return False

    monkeypatch.setattr(ChannelPool, "reply", reply)
    # Nothing else brings the reply in time: the poll of the buffer comes too late.
    settings = Settings(listen=ON_LOOPBACK, timing=Timing(reply_poll_min=60, reply_poll_max=60))
    runs: list[dict[str, Any]] = []
    with trio.fail_after(20):
        async with (
            open_service(settings) as service,
            httpx.AsyncClient(base_url=service.addresses.api or "", timeout=20) as client,
        ):

            async def invoke() -> None:
                run = await client.post("/v0/invoke", json={"function": "shop-pay", "data": {}})
                runs.append(run.json())

            async def work(socket: WebSocketConnection) -> None:
                await _introduce(socket, started)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(invoke)
                    request = await _take_request(socket)
                    response = pb.SdkResponse(
                        request_id=request.request_id,
                        env_id=request.env_id,
                        status=pb.SdkResponseStatus(1),  # DONE
                        body=b'"paid"',
                    )
                    await client.post("/v0/connect/flush", content=bytes(response))

            answer = await client.post("/v0/connect/start")
            started = pb.StartResponse().parse(answer.content)
            await use_websocket(service.addresses.gateway or "", work, deadline=5)
    assert [run["result"] for run in runs] == ["paid"]
    assert called == []


@pytest.fixture
def pushing(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the APIs that open push their flushed replies with."""
    given: list[object] = []

    def create(*args: Any, **options: Any) -> Any:
        given.append(options["replies"])
        return create_api(*args, **options)

    monkeypatch.setattr("connect.app.create_api", create)
    return given


async def test_flushed_replies_share_the_room_for_pushes_with_those_of_the_gateway(
    pushing: list[object],
) -> None:
    async with open_service(Settings(listen=ON_LOOPBACK)) as service:
        assert service.gateway is not None
        assert pushing == [service.gateway.pushes]


async def test_flushed_replies_of_an_api_alone_have_a_room_of_their_own(
    pushing: list[object],
) -> None:
    async with open_service(Settings(listen=ON_LOOPBACK, roles=frozenset({Role.API}))):
        assert [type(replies) for replies in pushing] == [Pushes]


async def _introduce(socket: WebSocketConnection, started: pb.StartResponse) -> None:
    hello = pb.WorkerConnectRequestData(
        connection_id=started.connection_id,
        instance_id=str(ULID()),
        auth_data=pb.AuthData(session_token=started.session_token),
        apps=[pb.AppConfiguration(app_name="shop", functions=FUNCTIONS)],
    )
    await _receive(socket, Kind.GATEWAY_HELLO)
    await socket.send_message(encode_message(int(Kind.WORKER_CONNECT), bytes(hello)))
    await _receive(socket, Kind.GATEWAY_CONNECTION_READY)


async def _take_request(socket: WebSocketConnection) -> pb.GatewayExecutorRequestData:
    payload = await _receive(socket, Kind.GATEWAY_EXECUTOR_REQUEST)
    request = pb.GatewayExecutorRequestData().parse(payload)
    ack = pb.WorkerRequestAckData(request_id=request.request_id)
    await socket.send_message(encode_message(int(Kind.WORKER_REQUEST_ACK), bytes(ack)))
    return request


async def _receive(socket: WebSocketConnection, expected: int) -> bytes:
    """The payload of the next message, which has to be of this kind."""
    message = await socket.get_message()
    assert isinstance(message, bytes)
    kind, payload = decode_message(message)
    assert kind == expected
    return payload
