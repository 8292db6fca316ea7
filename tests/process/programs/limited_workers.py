"""Workers of limited capacity in one process, counting what they run.

Usage: python -m tests.process.programs.limited_workers API_URL WORKERS CAPACITY SUMMARY

The one function, ``limited-echo``, returns the data of its event after a millisecond.
SIGTERM ends the process; SUMMARY, a file, then gets one JSON object: ``most``, per worker
the most requests that it had at once, and ``ran``, how often each request was run.
"""

import json
import signal
import sys
from collections import Counter
from pathlib import Path

import trio

from connect.logs import configure_logging
from connect.worker import App, Context, Happening, JournalEntry, Worker

_WORK_SECONDS = 0.001


class CountingWorker:
    """One worker with an instance id of its own.

    Attributes:
        most: the most requests that it had at once, from their arrival to their reply.
        ran: how often each request arrived.
    """

    def __init__(self, api_url: str, instance_id: str, capacity: int) -> None:
        self.most = 0
        self.ran: Counter[str] = Counter()
        app = App("limited")

        @app.function("echo", retries=0)
        async def echo(ctx: Context) -> object:
            self.most = max(self.most, len(self.worker.request_ids))
            await trio.sleep(_WORK_SECONDS)
            return ctx.event.data

        self.worker = Worker(
            app,
            api_url=api_url,
            instance_id=instance_id,
            max_concurrency=capacity,
            journal=self._note,
        )

    def _note(self, entry: JournalEntry) -> None:
        if entry.what is Happening.REQUEST:
            self.ran[entry.request_id] += 1


async def serve(api_url: str, workers: int, capacity: int) -> dict[str, dict[str, int]]:
    """Serve until SIGTERM, then sum up."""
    counting = [CountingWorker(api_url, f"limited-{number}", capacity) for number in range(workers)]
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            for one in counting:
                await nursery.start(one.worker.run)
            print("all workers are connected", flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()
    ran = sum((one.ran for one in counting), Counter())
    most = {one.worker.instance_id: one.most for one in counting}
    return {"most": most, "ran": ran}


if __name__ == "__main__":
    configure_logging(level="warning")
    found = trio.run(serve, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    Path(sys.argv[4]).write_text(json.dumps(found))
