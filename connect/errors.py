"""The errors that cross module borders, and the syscodes that cross the wire.

A syscode is the short machine-readable name that travels as a WebSocket close
reason, as the code of a ``SystemError`` message, or in the JSON of an HTTP error.
"""

from collections.abc import Sequence
from enum import StrEnum

__all__ = [
    "ConfigurationError",
    "ConnectError",
    "ExecutorClosing",
    "LimitReached",
    "MalformedMessage",
    "RegistrationUnavailable",
    "SeveralFaults",
    "StoreUnavailable",
    "Syscode",
    "SyscodeError",
    "TryLater",
]

# When whoever asked an executor that ends should ask again, in seconds: whatever balances
# the load has taken it out by then.
_NEXT_EXECUTOR_SECONDS = 1.0


class Syscode(StrEnum):
    """Every syscode that this service emits (Connect protocol, sections 3 to 5)."""

    HELLO_TIMEOUT = "connect_worker_hello_timeout"
    HELLO_INVALID_MESSAGE = "connect_worker_hello_invalid_msg"
    HELLO_INVALID_PAYLOAD = "connect_worker_hello_invalid_payload"
    AUTHENTICATION_FAILED = "connect_authentication_failed"
    TOO_MANY_APPS = "connect_too_many_apps_per_connection"
    TOO_MANY_FUNCTIONS = "connect_too_many_functions_per_app"
    INVALID_FUNCTION_CONFIG = "connect_invalid_function_config"
    INTERNAL_ERROR = "connect_internal_error"
    GATEWAY_CLOSING = "connect_gateway_closing"
    ACK_INVALID_PAYLOAD = "connect_worker_request_ack_invalid_payload"
    EXTEND_LEASE_INVALID_PAYLOAD = "connect_worker_request_extend_lease_invalid_payload"

    # Limits of a gateway: another one may take the connection, or the same one later.
    GATEWAY_FULL = "connect_gateway_full"
    ACCOUNT_FULL = "connect_too_many_connections_per_account"
    ADDRESS_FULL = "connect_too_many_connections_per_address"
    TOO_MANY_HANDSHAKES = "connect_too_many_handshakes"
    HANDSHAKES_TOO_FAST = "connect_too_many_handshakes_per_second"
    RECONNECTING_TOO_OFTEN = "connect_reconnecting_too_often"

    NO_HEALTHY_CONNECTION = "connect_no_healthy_connection"
    ALL_WORKERS_AT_CAPACITY = "connect_all_workers_at_capacity"
    WORKER_AT_CAPACITY = "connect_requested_worker_reached_capacity"
    WORKER_STOPPED_RESPONDING = "connect_worker_stopped_responding"
    REQUEST_TOO_LONG = "request_too_long"
    EXECUTOR_AT_CAPACITY = "connect_executor_at_capacity"
    EXECUTOR_CLOSING = "connect_executor_closing"


class ConnectError(Exception):
    """Base of every error that this package raises on purpose."""


class SyscodeError(ConnectError):
    """A failure with a syscode that the other side understands.

    Attributes:
        code: the syscode.
        message: one sentence for people; safe to show to the other side.
    """

    def __init__(self, code: Syscode | str, message: str) -> None:
        super().__init__(code, message)
        self.code = str(code)
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class TryLater(SyscodeError):
    """Something is refused now, and may be taken later, or elsewhere.

    Attributes:
        retry_after: seconds after which another attempt may do better.
    """

    def __init__(self, code: Syscode, message: str, *, retry_after: float) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


class LimitReached(TryLater):
    """Something is refused because of a limit."""


class ExecutorClosing(TryLater):
    """An executor comes to its end: it takes no more calls, or hands one over.

    Another executor may be asked for the same request id at once: if a worker has the
    request, it is not sent again.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Syscode.EXECUTOR_CLOSING, message, retry_after=_NEXT_EXECUTOR_SECONDS)


class MalformedMessage(ConnectError):
    """Bytes that are not the protobuf message they should be.

    Attributes:
        expected: the name of the message that was expected.
        detail: what was found instead.
    """

    def __init__(self, expected: str, detail: str) -> None:
        super().__init__(expected, detail)
        self.expected = expected
        self.detail = detail

    def __str__(self) -> str:
        return f"not a {self.expected}: {self.detail}"


class StoreUnavailable(ConnectError):
    """The state store did not answer, or not in time; trying again later may work."""


class ForwardInDoubt(ConnectError):
    """A request was sent to a worker whose acknowledgement cannot come any more.

    The worker may run it, or never have got it.
    """


class RegistrationUnavailable(ConnectError):
    """The API that apps are registered at said nothing of use; trying again later may work."""


class ConfigurationError(ConnectError):
    """The service cannot start as asked; the text is one line for the operator."""


class SeveralFaults(ConfigurationError):
    """There may be more than one reason why the service cannot start as asked.

    Attributes:
        faults: all of them, a line each.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(self.faults)
