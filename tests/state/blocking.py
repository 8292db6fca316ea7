"""Commands without waiting, for tests that play thousands of operations one after another."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import redis

from connect.state.commands import Argument, Reply, Script

__all__ = ["BlockingCommands", "run"]

T = TypeVar("T")


class BlockingCommands:
    """`Commands` over a client of redis-py, which blocks: a model test has one task only.

    Routing looks at some full workers before it refuses, in case others freed them. That
    would hide faults of the indexes, and is left out here.
    """

    def __init__(self, client: redis.Redis) -> None:
        client.response_callbacks.clear()
        self._send: Callable[..., Reply] = client.execute_command
        self.round_trips = 0
        self.unreachable_since: float | None = None

    async def execute(self, *args: Argument) -> Reply:
        self.round_trips += 1
        return self._send(*args)

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()
    ) -> Reply:
        text = script.text.replace("local CHECKED = 2", "local CHECKED = 0")
        sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        try:
            return await self.execute("EVALSHA", sha1, len(keys), *keys, *args)
        except redis.exceptions.NoScriptError:
            return await self.execute("EVAL", text, len(keys), *keys, *args)


def run(operation: Awaitable[T]) -> T:
    """Run an operation that never waits for anything."""
    try:
        operation.__await__().__next__()
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("the operation waits")
