"""What a worker reports of its life, for logs, tests and the command line."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Happening", "Journal", "JournalEntry"]


class Happening(StrEnum):
    """The kinds of journal entries."""

    CONNECTED = "connected"
    CONNECT_FAILED = "connect failed"
    GATEWAY_CLOSING = "gateway closing"
    DISCONNECTED = "disconnected"
    REQUEST = "request"
    REQUEST_IGNORED = "request ignored"
    LEASE_EXTENDED = "lease extended"
    LEASE_LOST = "lease lost"
    REPLIED = "replied"
    REPLY_ACKED = "reply acked"
    REPLY_FLUSHED = "reply flushed"
    REPLY_DROPPED = "reply dropped"
    MESSAGE_IGNORED = "message ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One thing that happened.

    Attributes:
        connection_id, request_id: what it concerns, or empty.
        detail: for people: a reason, a function slug, a lease id.
    """

    what: Happening
    connection_id: str = ""
    request_id: str = ""
    detail: str = ""


Journal = Callable[[JournalEntry], None]
