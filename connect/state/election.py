"""An office that one process of many holds: a key with an owner and a lifetime."""

from connect.state.commands import load_script
from connect.state.redis_store import RedisStore

__all__ = ["Election"]

_KEEP = load_script("collect_keep")


class Election:
    """The office of one environment's garbage collector.

    Who stands for it and finds it free holds it for `seconds`, and longer by keeping it. A
    holder that dies loses it by that.

    Args:
        owner: name of this candidate, unlike that of all others.
        seconds: how long the office lasts unless kept.
    """

    def __init__(self, store: RedisStore, env_id: str, *, owner: str, seconds: float) -> None:
        self._commands = store.connections.commands
        # Beside the indexes, as it is none of the keys shared with other implementations.
        self._key = f"{store.connections.keys.index_prefix(env_id)}collector"
        self._owner = owner
        self._seconds = seconds

    async def stand(self) -> bool:
        """Take the office if nobody holds it; return whether it is ours now.

        Raises:
            StoreUnavailable: the store did not answer; the office may be ours or not.
        """
        taken = await self._commands.execute(
            "SET", self._key, self._owner, "NX", "PX", int(self._seconds * 1000)
        )
        return taken is not None

    async def keep(self, seconds: float | None = None) -> bool:
        """Hold the office for this long from now; return whether it is still ours.

        Args:
            seconds: instead of those given at first.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        lifetime = self._seconds if seconds is None else seconds
        kept = await self._commands.run(
            _KEEP, (self._key,), (self._owner, max(1, int(lifetime * 1000)))
        )
        return bool(kept)
