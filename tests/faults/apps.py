"""What the workers run: the function ``work`` takes as long as it is told to."""

from typing import Any

import trio

from connect.worker import App, Context, event

__all__ = [
    "APP_NAME",
    "EVENT",
    "LIMIT",
    "LIMITED_APP_NAME",
    "OFFICIAL_APP_NAME",
    "app",
    "limited_app",
]

APP_NAME = "ours"
LIMITED_APP_NAME = "limited"
OFFICIAL_APP_NAME = "official"
EVENT = "faults/work"

LIMIT = 3
"""How many requests a worker of the limited app runs at once."""

app = App(APP_NAME)
limited_app = App(LIMITED_APP_NAME)


@app.function("work", triggers=[event(EVENT)])
@limited_app.function("work", triggers=[event(EVENT)])
async def work(ctx: Context) -> Any:
    """Return the number of the request after so many seconds."""
    data = ctx.event.data
    await trio.sleep(data["seconds"])
    return data["number"]
