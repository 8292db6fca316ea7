"""The port between the stores and whatever answers Redis commands."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Protocol, TypeAlias

from connect.errors import ConnectError, StoreUnavailable

__all__ = [
    "Argument",
    "CommandError",
    "Commands",
    "Now",
    "Reply",
    "Script",
    "load_script",
    "reply_error",
    "why_not_now",
]

Argument: TypeAlias = str | bytes | int

# bytes, int, None, or a list of replies. The commands asked and the scripts' headers
# say which; the stores rely on it.
Reply: TypeAlias = Any

_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)

# Errors of a server that is well but cannot serve now; the same command may succeed later.
# Within a script they come wrapped; part of the script may have taken effect then.
_NOT_NOW = re.compile(
    r"^(?:ERR Error running script .*?: -)?"
    r"(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|MISCONF|OOM|NOREPLICAS) ",
    re.DOTALL,
)

# What a script on Redis Cluster says of a key that is on its way to another node.
_MIGRATING = "attempted to access a non local key"


class CommandError(ConnectError):
    """The server refused a command: a fault of ours, or of what is stored.

    Attributes:
        message: the server's text.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"the state store refused a command: {self.message}"


def why_not_now(message: str) -> str | None:
    """Return the server's word for why it cannot serve now; None for other error replies."""
    found = _NOT_NOW.match(message)
    if found is not None:
        return found[1]
    return "TRYAGAIN" if _MIGRATING in message else None


def reply_error(message: str) -> CommandError | StoreUnavailable:
    """Translate the text of a server's error reply."""
    if why_not_now(message) is not None:
        return StoreUnavailable(f"the state store cannot serve now: {message}")
    return CommandError(message)


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script.

    Attributes:
        sha1: under which the server's script cache knows it.
    """

    name: str
    text: str
    sha1: str


@cache
def load_script(name: str) -> Script:
    """Return the script ``lua/NAME.lua`` of this package.

    A line ``-- include: OTHER`` is replaced by the text of ``lua/OTHER.lua``.
    """
    text = _INCLUDE.sub(lambda match: _read(match[1]), _read(name))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return resources.files("connect.state").joinpath("lua", f"{name}.lua").read_text("utf-8")


class Commands(Protocol):
    """Runs commands and scripts.

    Both methods raise StoreUnavailable when there is no answer in time, and CommandError
    when the server refuses. Cancelled, it is unknown whether the command took effect.
    """

    async def execute(self, *args: Argument) -> Reply: ...

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()
    ) -> Reply: ...

    @property
    def round_trips(self) -> int:
        """Commands and scripts sent so far."""
        ...

    @property
    def unreachable_since(self) -> float | None:
        """When the last connection to the server was lost, on the Trio clock.

        None while there is one, which does not say that the server answers on it. Attempts
        to connect that fail leave the moment as it is.
        """
        ...


Now: TypeAlias = Callable[[], float]
"""Tells the time in unix seconds."""
