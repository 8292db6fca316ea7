"""What the workers run: the function ``work`` takes as long as it is told to."""

from typing import Any

import trio

from connect.worker import App, Context, event

__all__ = ["APP_NAME", "EVENT", "OFFICIAL_APP_NAME", "app"]

APP_NAME = "ours"
OFFICIAL_APP_NAME = "official"
EVENT = "faults/work"

app = App(APP_NAME)


@app.function("work", triggers=[event(EVENT)])
async def work(ctx: Context) -> Any:
    """Return the number of the request after so many seconds."""
    data = ctx.event.data
    await trio.sleep(data["seconds"])
    return data["number"]
