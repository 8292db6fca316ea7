"""A small Trio worker: the demo's, the harness's, and a model of what an SDK should do.

app = App("shop")

@app.function("order", triggers=[event("shop/order")])
async def order(ctx: Context) -> str:
    total = await ctx.step.run("total", lambda: 42)
    await ctx.step.sleep("rest", "1s")
    return f"{total} for {ctx.event.data['name']}"

trio.run(Worker(app).run)
"""

from connect.worker.app import App, Function, Trigger, cron, event
from connect.worker.errors import NonRetriableError, RetryAfterError, StepError, WorkerError
from connect.worker.fleet import run_fleet
from connect.worker.journal import Happening, Journal, JournalEntry, RunEnd
from connect.worker.journal_file import JournalFile, Overlap, find_overlaps, read_journal
from connect.worker.loading import load_apps
from connect.worker.steps import Context, Event, Steps
from connect.worker.timing import WorkerLimits, WorkerTiming
from connect.worker.worker import DEFAULT_API_URL, Worker, new_instance_id

__all__ = [
    "App",
    "Context",
    "DEFAULT_API_URL",
    "Event",
    "Function",
    "Happening",
    "Journal",
    "JournalEntry",
    "JournalFile",
    "NonRetriableError",
    "Overlap",
    "RetryAfterError",
    "RunEnd",
    "StepError",
    "Steps",
    "Trigger",
    "Worker",
    "WorkerError",
    "WorkerLimits",
    "WorkerTiming",
    "cron",
    "event",
    "find_overlaps",
    "load_apps",
    "new_instance_id",
    "read_journal",
    "run_fleet",
]
