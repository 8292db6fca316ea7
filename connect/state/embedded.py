"""The state store within the process: the same scripts over an emulated Redis.

For development and tests. Nothing outlives the process, and keys expire by the
machine's clock, whatever `now` says.
"""

from collections.abc import Callable, Sequence

import fakeredis
import redis.exceptions
import trio

from connect.settings import KeyLayout, Timing
from connect.state.commands import Argument, Now, Reply, Script, reply_error
from connect.state.redis_store import RedisStore

__all__ = ["EmbeddedCommands", "open_embedded_store"]


class EmbeddedCommands:
    """`Commands` over a Redis emulated in process, each with a database of its own."""

    def __init__(self) -> None:
        server = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer(), protocol=2)
        # Replies as the server gives them, not as redis-py would shape them.
        server.response_callbacks.clear()
        self._send: Callable[..., Reply] = server.execute_command
        self._round_trips = 0

    @property
    def round_trips(self) -> int:
        return self._round_trips

    @property
    def unreachable_since(self) -> None:
        """None: a server within the process is never lost."""
        return None

    async def execute(self, *args: Argument) -> Reply:
        await trio.lowlevel.checkpoint()
        return self._answer(args)

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()
    ) -> Reply:
        await trio.lowlevel.checkpoint()
        try:
            return self._answer(("EVALSHA", script.sha1, len(keys), *keys, *args))
        except redis.exceptions.NoScriptError:
            return self._answer(("EVAL", script.text, len(keys), *keys, *args))

    def _answer(self, command: Sequence[Argument]) -> Reply:
        self._round_trips += 1
        try:
            return self._send(*command)
        except redis.exceptions.NoScriptError:
            raise
        except redis.exceptions.RedisError as error:
            raise reply_error(str(error)) from error


def open_embedded_store(
    *, now: Now, timing: Timing, layout: KeyLayout = KeyLayout.CONNECT
) -> RedisStore:
    """Return a new, empty store; there is nothing to close.

    Args:
        now: tells the time in unix seconds.
    """
    return RedisStore(EmbeddedCommands(), now=now, timing=timing, layout=layout)
