"""What a connection knows of one request that its worker runs."""

import math
from dataclasses import dataclass

__all__ = ["RunningRequest"]


@dataclass(slots=True)
class RunningRequest:
    """A request from its worker's ack until its reply is acknowledged.

    Times are on the Trio clock.

    Attributes:
        asked: when the worker acked it, or last asked for a longer lease and got one.
        until: when its lease and the grace after it are over, if nobody extends it again.
        lease_id: the lease that the worker was told last; "" if this connection told none.
        vouched_until: until when its executor has answered for the lease, -inf if it was not
            asked yet; None if it does not answer for leases, as far as is known.
    """

    asked: float
    until: float
    lease_id: str = ""
    vouched_until: float | None = None

    def vouch(self, until: float = -math.inf) -> None:
        """Note that its executor answers for the lease, and did until then."""
        known = self.vouched_until
        self.vouched_until = until if known is None else max(known, until)
