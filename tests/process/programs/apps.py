"""Functions that the process tests run on the project's own worker."""

from typing import Any

import trio

from connect.worker import App, Context

app = App("test")


@app.function("echo")
async def echo(ctx: Context) -> Any:
    return ctx.event.data


@app.function("slow", retries=0)
async def slow(ctx: Context) -> str:
    await trio.sleep(float(ctx.event.data["seconds"]))
    return "slept"


@app.function("fails", retries=0)
async def fails(ctx: Context) -> None:
    raise RuntimeError("no luck")
