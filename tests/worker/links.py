"""A connection for tests of what goes over one."""

import trio

from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb
from connect.worker.request import Request

__all__ = ["FakeLink", "make_request"]


class FakeLink:
    """Keeps what is sent over it.

    Attributes:
        ended: nothing is taken any more.
        suspected: it has left an extension unanswered.
        blocks: writes wait, until `unblock`.
        sent: kinds and payloads.
    """

    def __init__(self, name: str = "c1", *, interval: float = 5.0) -> None:
        self.id = name
        self.ended = False
        self.suspected = False
        self.blocks = False
        self._unblocked = trio.Event()
        self.extend_lease_interval = interval
        self.sent: list[tuple[int, bytes]] = []

    async def send(self, kind: int, payload: bytes = b"") -> bool:
        if self.blocks:
            await self._unblocked.wait()
        if not self.ended:
            self.sent.append((kind, payload))
        return not self.ended

    def suspect(self) -> None:
        self.suspected = True

    def unblock(self) -> None:
        self.suspected = False
        self.blocks = False
        self._unblocked.set()

    def count(self, kind: int) -> int:
        return sum(sent == kind for sent, _ in self.sent)

    @property
    def lease_ids(self) -> list[str]:
        """Those that extensions were asked for."""
        kind = pb.GatewayMessageType.WORKER_REQUEST_EXTEND_LEASE
        return [
            decode(pb.WorkerRequestExtendLeaseData, payload).lease_id
            for sent, payload in self.sent
            if sent == kind
        ]


def make_request(request_id: str = "r1", *, lease_id: str = "lease-1") -> Request:
    return Request(
        request_id=request_id,
        app_name="app",
        function_slug="app-f",
        run_id="run-1",
        lease_id=lease_id,
    )
