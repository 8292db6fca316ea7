"""What a request needs of the connection that it came over."""

from typing import Protocol

__all__ = ["Link"]


class Link(Protocol):
    """One connection to a gateway, as the work on it sees it."""

    @property
    def id(self) -> str: ...

    @property
    def ended(self) -> bool:
        """Whether nothing can be sent any more."""
        ...

    @property
    def extend_lease_interval(self) -> float:
        """Seconds between lease extensions, as the gateway told; 0 if off."""
        ...

    async def send(self, kind: int, payload: bytes = b"") -> bool:
        """Write a message; False when the connection has ended, before or thereby."""
        ...

    def suspect(self) -> None:
        """Take notice that it has left a lease extension unanswered for a whole interval."""
        ...
