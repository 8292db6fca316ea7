"""A worker on the official Python SDK whose function notes when it starts and ends.

Usage: python -m tests.faults.official_worker JOURNAL INSTANCE

The lines are those of `connect.worker.JournalFile`. The SDK tells its functions no request
id; whoever sends the requests gives each the same id as its run.
"""

import asyncio
import os
import sys
import time
from dataclasses import replace

import inngest
from inngest.connect import connect

from connect.worker import Happening, JournalEntry, JournalFile, RunEnd
from tests.faults.apps import EVENT, OFFICIAL_APP_NAME

__all__ = ["main"]


def main(journal_path: str, instance: str) -> None:
    """Serve until SIGTERM."""
    client = inngest.Inngest(app_id=OFFICIAL_APP_NAME, is_production=False)
    with JournalFile(journal_path, now=time.time) as file:
        note = file.of(instance)

        @client.create_function(fn_id="work", trigger=inngest.TriggerEvent(event=EVENT), retries=0)
        async def work(ctx: inngest.Context) -> int:
            run = JournalEntry(what=Happening.STARTED, request_id=ctx.run_id, run_id=ctx.run_id)
            note(run)
            try:
                await asyncio.sleep(float(str(ctx.event.data["seconds"])))
            finally:
                note(replace(run, what=Happening.FINISHED, end=RunEnd.DONE))
            return int(str(ctx.event.data["number"]))

        asyncio.run(connect([(client, [work])], instance_id=instance).start())


if __name__ == "__main__":
    os.environ.setdefault("INNGEST_DEV", "1")
    main(*sys.argv[1:])
