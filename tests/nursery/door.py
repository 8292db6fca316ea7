"""An admission for tests, and who comes through it."""

import pytest
import trio

from connect.errors import LimitReached
from connect.metrics import Metrics
from connect.nursery.admission import Admission, Place
from connect.protocol.lifecycle import Disconnect, DisconnectReason
from tests.nursery.rig import with_limits

__all__ = ["HERE", "LOST", "THERE", "Door"]

HERE, THERE = "192.0.2.1", "192.0.2.2"
LOST = Disconnect(DisconnectReason.UNEXPECTED)


class Door:
    """An admission whose settings can be changed."""

    def __init__(self, **limits: int) -> None:
        self.settings = with_limits(**limits)
        self.metrics = Metrics()
        self.admission = Admission(lambda: self.settings, self.metrics)

    def enter(self, address: str = HERE) -> Place:
        return self.admission.enter(address)

    def refusal(self, address: str = HERE) -> LimitReached:
        with pytest.raises(LimitReached) as caught:
            self.enter(address)
        return caught.value

    async def worker(self, instance: str = "w", account: str = "acct") -> Place:
        """Enter, introduce oneself, and join."""
        place = self.enter()
        await place.admit(account, instance)
        place.join()
        return place

    async def flap(self, times: int, *, reason: Disconnect = LOST, lived: float = 0) -> None:
        for _ in range(times):
            place = await self.worker()
            await trio.sleep(lived)
            place.leave(reason)

    async def reach(self, limit: str) -> None:
        """Be refused once because of this limit, which is 1."""
        if limit.startswith("pending"):
            with self.admission.awaiting_request(HERE), pytest.raises(LimitReached):
                self.admission.awaiting_request(HERE).__enter__()
        elif limit == "connections_per_account":
            await self.worker()
            await self.refused()
        elif limit == "flaps":
            await self.flap(6)
            await self.refused()
        else:
            self.enter()
            self.refusal()

    async def refused(self, instance: str = "w", account: str = "acct") -> LimitReached:
        place = self.enter()
        with pytest.raises(LimitReached) as caught:
            await place.admit(account, instance)
        place.leave()
        return caught.value
