"""gRPC between executors and gateways, and the executor as a library."""

from connect.rpc.errors import RpcError
from connect.rpc.executor import Executor, open_executor

__all__ = ["Executor", "RpcError", "open_executor"]
