"""An executor on asyncio with grpclib and generated stubs alone.

Usage: bare_executor.py STUBS REDIS_URL ENV_ID GATEWAY CONNECTION_ID

Leases a request, forwards it, waits for the reply on a server of its own, and prints
what happened as one line of JSON.
"""

import asyncio
import json
import sys

stubs, redis_url, env_id, gateway, connection_id = sys.argv[1:]
sys.path.insert(0, stubs)

import redis  # noqa: E402 - after the path is set
from connect.v1 import connect_pb2, rpc_pb2, service_grpc  # noqa: E402
from grpclib.client import Channel  # noqa: E402
from grpclib.server import Server  # noqa: E402

REQUEST_ID = "01JD8ZK3V4P5Q6R7S8T9V0W1X2"
LEASE_ID = "7ZZZZZZZZZ0000000000000000"  # a ULID that expires in the far future


class Executor(service_grpc.ConnectExecutorBase):
    def __init__(self) -> None:
        self.reply = asyncio.get_running_loop().create_future()

    async def Reply(self, stream):  # noqa: N802 - the name in the .proto file
        request = await stream.recv_message()
        if not self.reply.done():
            self.reply.set_result(request.data)
        await stream.send_message(rpc_pb2.ReplyResponse(success=True))

    async def Ack(self, stream):  # noqa: N802
        await stream.recv_message()
        await stream.send_message(rpc_pb2.AckResponse(success=True))

    async def Ping(self, stream):  # noqa: N802
        await stream.recv_message()
        await stream.send_message(rpc_pb2.PingResponse(message="ok"))


async def main() -> None:
    executor = Executor()
    server = Server([executor])
    await server.start("127.0.0.1", 0)
    port = server._server.sockets[0].getsockname()[1]

    lease = {"leaseID": LEASE_ID, "executorIP": "127.0.0.1", "executorPort": port}
    redis.from_url(redis_url).set(f"{{{env_id}}}:request-lease:{REQUEST_ID}", json.dumps(lease))

    host, _, gateway_port = gateway.rpartition(":")
    async with Channel(host, int(gateway_port)) as channel:
        client = service_grpc.ConnectGatewayStub(channel)
        pong = await client.Ping(rpc_pb2.PingRequest())
        event = {"id": "e1", "name": "demo/hello", "data": {"name": "gRPC"}, "ts": 1, "user": {}}
        payload = {
            "event": event,
            "events": [event],
            "steps": {},
            "ctx": {"run_id": "r", "fn_id": "f", "attempt": 0, "max_attempts": 1, "env": "dev",
                    "step_id": "step", "stack": {"stack": [], "current": 0},
                    "disable_immediate_execution": False, "use_api": False},
            "version": -1,
            "use_api": False,
        }  # fmt: skip
        forwarded = await client.Forward(
            rpc_pb2.ForwardRequest(
                connectionID=connection_id,
                data=connect_pb2.GatewayExecutorRequestData(
                    request_id=REQUEST_ID,
                    env_id=env_id,
                    app_name="demo",
                    function_slug="demo-hello",
                    request_payload=json.dumps(payload).encode(),
                    lease_id=LEASE_ID,
                ),
            )
        )
        unknown = await client.Forward(
            rpc_pb2.ForwardRequest(
                connectionID="01JD8ZK3V4P5Q6R7S8T9V0W1X9",
                data=connect_pb2.GatewayExecutorRequestData(request_id="other", env_id=env_id),
            )
        )
        reply = await asyncio.wait_for(executor.reply, 20)
    server.close()
    await server.wait_closed()
    print(
        json.dumps(
            {
                "ping": pong.message,
                "forwarded": forwarded.success,
                "unknown": unknown.success,
                "request_id": reply.request_id,
                "status": connect_pb2.SDKResponseStatus.Name(reply.status),
                "body": json.loads(reply.body),
            }
        )
    )


asyncio.run(main())
