"""What a worker raises, and what a function may raise to steer its retries."""

import math

from connect.errors import ConnectError

__all__ = [
    "ConnectionFailed",
    "MalformedPayload",
    "NonRetriableError",
    "ReplyTooLarge",
    "RetryAfterError",
    "StepError",
    "WorkerError",
]


class WorkerError(ConnectError):
    """The worker cannot go on as it is configured; the text is one line for its operator.

    Attributes:
        code: the syscode that the other side gave, or empty.
        message: what is wrong.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message, code)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} ({self.code})" if self.code else self.message


class ConnectionFailed(ConnectError):
    """A connection could not be opened; another attempt may succeed.

    Attributes:
        reason: what happened.
        gateway_group: the group of the gateway that failed, empty if none was named yet.
        retry_after: the seconds that the other side asks to wait before the next attempt;
            None where it does not say.
    """

    def __init__(
        self, reason: str, *, gateway_group: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(reason, gateway_group, retry_after)
        self.reason = reason
        self.gateway_group = gateway_group
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.reason


class ReplyTooLarge(ConnectError):
    """The service takes no reply of this size; a smaller one may be taken."""


class MalformedPayload(ConnectError):
    """A request's payload, or a stored result within it, is not what it should be."""


class NonRetriableError(Exception):
    """Raised by a function or a step that no retry can help."""


class RetryAfterError(Exception):
    """Raised by a function or a step that is to be retried at a later time.

    Args:
        message: what went wrong.
        seconds: how long to wait before the next attempt; whole seconds travel, rounded up.

    Raises:
        ValueError: the seconds are no finite number.
    """

    def __init__(self, message: str, seconds: float) -> None:
        if not isinstance(seconds, int | float) or not -math.inf < seconds < math.inf:
            raise ValueError(f"the seconds to retry after must be a number: {seconds!r}")
        super().__init__(message)
        self.seconds = seconds


class StepError(Exception):
    """Raised inside a function for a step that failed for good.

    Attributes:
        name: the name of the error that the step raised.
        message: its text.
        stack: its traceback, empty if unknown.
    """

    def __init__(self, name: str, message: str, stack: str = "") -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message
        self.stack = stack

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.name else self.message
