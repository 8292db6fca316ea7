"""The requests on their way to one worker, until its acks settle them."""

import math

from connect.nursery.outbox import Outbox, PendingForward
from connect.protocol.envelope import encode_message
from connect.protocol.messages.connect import v1 as pb

__all__ = ["Forwards"]

_EXECUTOR_REQUEST = int(pb.GatewayMessageType.GATEWAY_EXECUTOR_REQUEST)


class Forwards:
    """Forwards of one connection that await the worker's ack, by request id.

    Args:
        outbox: where the requests go.
    """

    __slots__ = ("_outbox", "_pending")

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._pending: dict[str, PendingForward] = {}

    def __len__(self) -> int:
        """How many requests await their ack."""
        return sum(pending.success is None for pending in self._pending.values())

    def enter(
        self, request_id: str, request: bytes, *, until: float = math.inf
    ) -> PendingForward | None:
        """Queue a request and wait for it; None if no more may be queued.

        A request that is on its way already is waited for, not sent again. Whoever gets
        a pending forward gives it back with `leave`.

        Args:
            until: when its lease is over, on the Trio clock; it is not sent after that.
        """
        pending = self._pending.get(request_id)
        if pending is None:
            if self._outbox.stalled:
                self.fail_unsent()  # others may take them
            # The waiter is there before the message: no ack can slip by.
            pending = PendingForward(until)
            if not self._outbox.put_data(encode_message(_EXECUTOR_REQUEST, request), pending):
                return None
            self._pending[request_id] = pending
        pending.waiters += 1
        return pending

    def leave(self, request_id: str, pending: PendingForward) -> None:
        """Wait no longer; what nobody waits for and is not sent will not be sent."""
        pending.waiters -= 1
        if not pending.waiters:
            pending.settle(False)
            if self._pending.get(request_id) is pending:
                del self._pending[request_id]

    def acknowledge(self, request_id: str) -> bool:
        """Settle a request by the worker's ack; False if nobody waits for it."""
        pending = self._pending.get(request_id)
        if pending is None or pending.success is not None:
            return False
        pending.settle(True)
        return True

    def fail_unsent(self) -> None:
        """Fail those whose message has not left: they will not be sent."""
        for pending in self._pending.values():
            if not pending.sent:
                pending.settle(False)

    def fail_all(self, *, in_doubt: bool) -> None:
        """Fail every one whose ack is still awaited.

        Args:
            in_doubt: whether the worker may run those that were sent to it.
        """
        for pending in self._pending.values():
            pending.settle(False, in_doubt=in_doubt)
