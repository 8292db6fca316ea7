"""How a run ends from within: exceptions that travel up to it and never leave it."""

from collections.abc import Mapping
from typing import Any

from connect.errors import ConnectError

__all__ = ["Completed", "Failed", "failure"]


class Completed(ConnectError):
    """The function returned."""

    def __init__(self, result: object) -> None:
        super().__init__()
        self.result = result


class Failed(ConnectError):
    """The function failed for good, or cannot be run on; `error` says why."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__()
        self.error = error


def failure(name: str, message: str) -> Failed:
    """Return a failure of this service's own making."""
    return Failed({"name": name, "message": message})
