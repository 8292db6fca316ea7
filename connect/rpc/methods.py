"""Names and default ports of the gRPC methods (Connect protocol, sections 1 and 2)."""

from connect.protocol.messages.connect import v1 as pb

__all__ = [
    "ACK",
    "DEFAULT_EXECUTOR_PORT",
    "DEFAULT_GATEWAY_PORT",
    "EXECUTOR_PING",
    "FORWARD",
    "GATEWAY_PING",
    "PONG",
    "REPLY",
    "STREAM_V1",
]

FORWARD = "/connect.v1.ConnectGateway/Forward"
STREAM_V1 = "/connect.v1.ConnectGateway/StreamV1"
GATEWAY_PING = "/connect.v1.ConnectGateway/Ping"
REPLY = "/connect.v1.ConnectExecutor/Reply"
ACK = "/connect.v1.ConnectExecutor/Ack"
EXECUTOR_PING = "/connect.v1.ConnectExecutor/Ping"

# What holds when a stored gateway or lease names no port.
DEFAULT_GATEWAY_PORT = 50052
DEFAULT_EXECUTOR_PORT = 50053

PONG = bytes(pb.PingResponse(message="ok"))
