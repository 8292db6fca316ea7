"""Work on one connection, without a network."""

from collections.abc import Callable
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb
from connect.worker import App, Context, Happening, JournalEntry, WorkerLimits, WorkerTiming
from connect.worker.delivery import Routes
from connect.worker.errors import ReplyTooLarge
from connect.worker.request import Request
from connect.worker.work import Work
from tests.worker.links import FakeLink
from tests.worker.payloads import make_payload

__all__ = ["Kind", "MakeRig", "WorkRig", "work_request"]

Kind = pb.GatewayMessageType


def work_request(
    request_id: str = "r1", *, lease_id: str = "lease-1", function: str = "f"
) -> Request:
    return Request(
        request_id=request_id,
        app_name="app",
        function_slug=f"app-{function}",
        payload=make_payload(),
        run_id="run-1",
        lease_id=lease_id,
    )


class WorkRig:
    """Work on one connection; ``app-f`` waits to be released, and notes what it does."""

    def __init__(self, nursery: trio.Nursery, **options: Any) -> None:
        self.link = FakeLink()
        self.journal: list[JournalEntry] = []
        self.release = trio.Event()
        self.cleanup_seconds = 0.0
        self.result: object = "done"
        self.running = 0
        self.flush_most: int | None = None
        self.flushed: list[bytes] = []
        app = App("app")
        app.function("f")(self._function)
        settings: dict[str, Any] = {
            "max_concurrency": None,
            "limits": WorkerLimits(),
            "timing": WorkerTiming(),
        }
        self.work = Work(
            nursery,
            {"app": app},
            routes=Routes(connection=lambda: self.link, flush=self._flush),
            jitter=lambda: 1.0,
            journal=self.journal.append,
            **(settings | options),
        )
        nursery.start_soon(self.work.run)

    async def _flush(self, payload: bytes) -> bool:
        assert self.flush_most is not None, "nothing is to go by HTTP"
        if len(payload) > self.flush_most:
            raise ReplyTooLarge("413")
        self.flushed.append(payload)
        return True

    async def _function(self, ctx: Context) -> object:
        self.running += 1
        try:
            await self.release.wait()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.cleanup_seconds)
            self.running -= 1
        return self.result

    async def take(self, *requests: Request) -> None:
        for request in requests:
            self.work.accept(self.link, request)
        await wait_all_tasks_blocked()

    async def finish(self) -> None:
        self.release.set()
        await wait_all_tasks_blocked()

    async def lose_lease(self, request_id: str = "r1") -> None:
        """Have its next extension refused."""
        await trio.sleep(5.1)
        answer = pb.WorkerRequestExtendLeaseAckData(request_id=request_id)
        self.work.leases.answered(self.link, answer)

    def happened(self, what: Happening) -> list[JournalEntry]:
        return [entry for entry in self.journal if entry.what == what]

    @property
    def replies(self) -> list[pb.SdkResponse]:
        return [
            decode(pb.SdkResponse, payload)
            for kind, payload in self.link.sent
            if kind == Kind.WORKER_REPLY
        ]


MakeRig = Callable[..., WorkRig]
