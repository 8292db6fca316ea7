"""How a remote call fails: the statuses of gRPC, and the error that carries one."""

from collections.abc import Mapping
from enum import IntEnum

from connect.errors import ConnectError, Syscode, SyscodeError, TryLater

__all__ = ["CallFailed", "CallRefused", "PeerUnreachable", "RpcError", "RpcStatus", "rpc_error"]


class RpcStatus(IntEnum):
    """The status codes of gRPC, as numbered on the wire."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(ConnectError):
    """A remote call that did not succeed, or a handler's way to say so.

    Attributes:
        status: the gRPC status.
        message: one sentence for people; safe to show to the other side.
        retry_after: seconds after which another attempt may do better; None where the
            server has no opinion. Travels as ``grpc-retry-pushback-ms`` (gRPC's proposal A6).
    """

    def __init__(
        self, status: RpcStatus, message: str, *, retry_after: float | None = None
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.status.name}: {self.message}"


class CallFailed(RpcError):
    """A call that the server answered with an error of its own."""


class CallRefused(RpcError):
    """A call that certainly had no effect: it was not sent, or the server did not take it up."""


class PeerUnreachable(CallRefused):
    """A call that was not sent, as no connection to its peer could be made."""


_STATUS_OF: Mapping[str, RpcStatus] = {
    Syscode.NO_HEALTHY_CONNECTION: RpcStatus.UNAVAILABLE,
    Syscode.ALL_WORKERS_AT_CAPACITY: RpcStatus.RESOURCE_EXHAUSTED,
    Syscode.WORKER_AT_CAPACITY: RpcStatus.RESOURCE_EXHAUSTED,
    Syscode.EXECUTOR_AT_CAPACITY: RpcStatus.RESOURCE_EXHAUSTED,
    Syscode.EXECUTOR_CLOSING: RpcStatus.UNAVAILABLE,
    Syscode.WORKER_STOPPED_RESPONDING: RpcStatus.ABORTED,
    Syscode.REQUEST_TOO_LONG: RpcStatus.DEADLINE_EXCEEDED,
}


def rpc_error(error: SyscodeError) -> RpcError:
    """Return how an executor's error goes out over gRPC; its text begins with the syscode."""
    return RpcError(
        _STATUS_OF.get(error.code, RpcStatus.INTERNAL),
        str(error),
        retry_after=error.retry_after if isinstance(error, TryLater) else None,
    )
