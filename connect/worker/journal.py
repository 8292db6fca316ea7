"""What a worker reports of its life, for logs, tests and the command line."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Happening", "Journal", "JournalEntry", "RunEnd"]


class Happening(StrEnum):
    """The kinds of journal entries."""

    CONNECTED = "connected"
    CONNECT_FAILED = "connect failed"
    GATEWAY_CLOSING = "gateway closing"
    GATEWAY_SUSPECTED = "gateway suspected"
    DISCONNECTED = "disconnected"
    REQUEST = "request"
    REQUEST_IGNORED = "request ignored"
    STARTED = "started"
    FINISHED = "finished"
    LEASE_EXTENDED = "lease extended"
    LEASE_LOST = "lease lost"
    REPLIED = "replied"
    REPLY_ACKED = "reply acked"
    REPLY_FLUSHED = "reply flushed"
    REPLY_DROPPED = "reply dropped"
    REPLY_TOO_LARGE = "reply too large"
    MESSAGE_IGNORED = "message ignored"
    SHUTTING_DOWN = "shutting down"


class RunEnd(StrEnum):
    """How the run of a request ended; the first three as its reply says (SDKResponseStatus)."""

    DONE = "done"
    ERROR = "error"
    NOT_COMPLETED = "not completed"
    LEASE_LOST = "lease lost"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One thing that happened; told at once, so that its time is now.

    A function's code runs between its request's STARTED and its FINISHED, and never outside.

    Attributes:
        connection_id, request_id, run_id: what it concerns, or empty.
        function: the function's slug, where a request begins or ends.
        end: how the run ended, of FINISHED.
        detail: for people: a reason, a lease id.
    """

    what: Happening
    connection_id: str = ""
    request_id: str = ""
    run_id: str = ""
    function: str = ""
    end: RunEnd | None = None
    detail: str = ""


Journal = Callable[[JournalEntry], None]
"""Takes entries, synchronously; what it raises ends the worker."""
