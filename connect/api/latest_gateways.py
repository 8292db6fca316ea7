"""The gateways as they were a moment ago, for all the workers that ask at the same time."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from connect.errors import StoreUnavailable
from connect.state.records import GatewayRecord

__all__ = ["LatestGateways"]

# For so many seconds what was read is the answer to whoever asks. Gateways store themselves
# anew every few seconds.
FRESH_SECONDS = 0.05

# A read may take so many seconds: a worker waits for all of its answer only five, and what it
# no longer waits for is done for nobody.
READ_SECONDS = 2.0


class LatestGateways:
    """Reads the gateways once for all who ask meanwhile, and for a moment after.

    When the gateway of ten thousand workers is gone, all of them ask at once, and each answer
    takes the same records. A store that is slow at that moment is asked by one at a time.

    Args:
        read_all: `GatewayStore.all`.
    """

    def __init__(self, read_all: Callable[[], Awaitable[Sequence[GatewayRecord]]]) -> None:
        self._read_all = read_all
        self._reading = trio.Lock()
        self._found: Sequence[GatewayRecord] | StoreUnavailable = ()
        self._until = -float("inf")  # Trio clock

    async def read(self) -> Sequence[GatewayRecord]:
        """Return all stored gateways, as they were `FRESH_SECONDS` ago or later.

        Who is cancelled while it reads for others leaves that to the next of them.

        Raises:
            StoreUnavailable: the store did not answer, or not within `READ_SECONDS`; whoever
                asks meanwhile, and for a moment after, hears the same.
        """
        async with self._reading:
            if trio.current_time() >= self._until:
                self._found = await self._ask()
                self._until = trio.current_time() + FRESH_SECONDS
            if isinstance(self._found, StoreUnavailable):
                raise StoreUnavailable(str(self._found))
            return self._found

    async def _ask(self) -> Sequence[GatewayRecord] | StoreUnavailable:
        with trio.move_on_after(READ_SECONDS):
            try:
                return await self._read_all()
            except StoreUnavailable as error:
                return error
        return StoreUnavailable(f"the gateways could not be read within {READ_SECONDS:g} s")
