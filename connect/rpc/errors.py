"""How a remote call fails: the statuses of gRPC, and the error that carries one."""

from enum import IntEnum

from connect.errors import ConnectError

__all__ = ["RpcError", "RpcStatus"]


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
    """

    def __init__(self, status: RpcStatus, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message

    def __str__(self) -> str:
        return f"{self.status.name}: {self.message}"
