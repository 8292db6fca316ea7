"""Finding a Redis master by asking sentinels, and following it through failovers.

The rules are those of Redis' guidelines for Sentinel clients: ask the sentinels in turn,
put the one that answered first, and believe a server to be the master only when it says
so itself (``ROLE``).
"""

from dataclasses import replace
from typing import TypeAlias

import trio

from connect.errors import StoreUnavailable
from connect.state.commands import Reply
from connect.state.redis_dial import CONNECTION_ERRORS, Connection, Dial, ask
from connect.state.redis_url import RedisAddress, RedisSentinels

__all__ = ["SentinelDial"]

# A sentinel that says nothing must not use up the time that others need.
_PATIENCE = 1.0  # seconds

_Place: TypeAlias = tuple[str, int]


class SentinelDial:
    """Connects to the master that sentinels name.

    Args:
        place: the sentinels, and how to log in to the master.
        dial: connects to one address, whatever it is.
    """

    def __init__(self, place: RedisSentinels, dial: Dial) -> None:
        self._place = place
        self._dial = dial
        self._sentinels = list(place.sentinels)
        self._master: _Place | None = None

    async def __call__(self, deadline: float) -> Connection:
        """Connect to the master.

        Args:
            deadline: on the Trio clock.

        Raises:
            StoreUnavailable: no sentinel answers or knows the master, or the server that
                they name cannot be reached, refuses, or is no master (any more).

        Cancelled, nothing stays open.
        """
        failures: dict[str, None] = {}
        tried: set[_Place] = set()
        for sentinel in tuple(self._sentinels):
            try:
                place = await self._master_by(sentinel, deadline)
                if place in tried:
                    continue
                tried.add(place)
                connection = await self._connect(place, deadline)
            except StoreUnavailable as error:
                failures[str(error)] = None
                continue
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            self._master = place
            return connection
        raise StoreUnavailable(f"cannot connect to {self._place}: {'; '.join(failures)}")

    async def replaced(self, deadline: float) -> bool:
        """Whether the sentinels name another master than the one connected to last.

        The first sentinel that answers decides; if none does, nothing is known.

        Args:
            deadline: on the Trio clock.
        """
        for sentinel in tuple(self._sentinels):
            try:
                return await self._master_by(sentinel, deadline) != self._master
            except StoreUnavailable:
                continue  # another may know
        return False

    async def _master_by(self, sentinel: RedisAddress, deadline: float) -> _Place:
        service = self._place.service
        deadline = min(deadline, trio.current_time() + _PATIENCE)
        connection = await self._dial(sentinel, deadline)
        try:
            answer = await _ask_until(
                deadline, connection, "SENTINEL", "get-master-addr-by-name", service
            )
        finally:
            await trio.aclose_forcefully(connection[0])
        if answer is None:
            raise StoreUnavailable(f"the sentinel at {sentinel} knows no master {service!r}")
        try:
            host, port = answer
            return host.decode(), int(port)
        except (AttributeError, TypeError, ValueError) as error:
            raise StoreUnavailable(
                f"the sentinel at {sentinel} names the master in an unknown form: {error}"
            ) from error

    async def _connect(self, place: _Place, deadline: float) -> Connection:
        host, port = place
        address = replace(self._place.master, host=host, port=port, path=None)
        connection = await self._dial(address, deadline)
        is_master = False
        try:
            role = await _ask_until(deadline, connection, "ROLE")
            is_master = isinstance(role, list) and role[:1] == [b"master"]
        finally:
            if not is_master:
                await trio.aclose_forcefully(connection[0])
        if not is_master:
            raise StoreUnavailable(f"Redis at {address} is not the master")
        return connection


async def _ask_until(deadline: float, connection: Connection, *command: str) -> Reply:
    with trio.CancelScope(deadline=deadline):
        try:
            return await ask(connection, *command)
        except CONNECTION_ERRORS as error:
            raise StoreUnavailable(f"the connection broke at {command[0]}: {error}") from error
    raise StoreUnavailable(f"no answer to {command[0]} in time")
