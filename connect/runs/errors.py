"""What can go wrong with a run, apart from the function itself failing."""

from connect.config.expressions import ExpressionError
from connect.errors import ConnectError

__all__ = [
    "ExpressionError",
    "FunctionNotFound",
    "InvalidEvent",
    "MalformedReply",
    "RunTimeout",
    "TooManyRuns",
    "TooManyWaits",
]


class FunctionNotFound(ConnectError):
    """No registered app serves the function.

    Attributes:
        slug: the slug that was asked for.
        suggestions: the registered slugs that look most like it, best first.
    """

    def __init__(self, slug: str, suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(slug, suggestions)
        self.slug = slug
        self.suggestions = suggestions

    def __str__(self) -> str:
        text = f"no app serves the function {self.slug!r}"
        if self.suggestions:
            text += f"; did you mean {' or '.join(map(repr, self.suggestions))}?"
        return text


class RunTimeout(ConnectError):
    """A run did not end in time; it was cancelled.

    Attributes:
        run_id: the run, a ULID.
        slug: the function.
        seconds: the time that it had.
    """

    def __init__(self, run_id: str, slug: str, seconds: float) -> None:
        super().__init__(run_id, slug, seconds)
        self.run_id = run_id
        self.slug = slug
        self.seconds = seconds

    def __str__(self) -> str:
        return f"the run of {self.slug!r} did not end within {self.seconds:g} s"


class InvalidEvent(ConnectError):
    """A JSON value that is no event.

    Attributes:
        path: where in the value, such as ``event.name``.
        reason: what is wrong there.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class MalformedReply(ConnectError):
    """A worker's reply whose body is not what its status says; the text says where."""


class TooManyRuns(ConnectError):
    """As many runs as may be in progress are in progress.

    Attributes:
        limit: how many that is.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.limit} runs are in progress, which is the limit"


class TooManyWaits(ConnectError):
    """As many waits for events as the bus can hold are pending.

    Attributes:
        limit: how many that is.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.limit} runs wait for events already, which is the limit"
