"""A worker on the official Python SDK, unmodified, in development mode."""

import asyncio
import datetime
import logging
from typing import Any

import inngest
from inngest.connect import connect

client = inngest.Inngest(app_id="my-app", is_production=False)


@client.create_function(fn_id="hello", trigger=inngest.TriggerEvent(event="my/hello"))
async def hello(ctx: inngest.Context) -> dict[str, str]:
    return {"message": f"Hello, {ctx.event.data.get('name')}!"}


@client.create_function(fn_id="steps", trigger=inngest.TriggerEvent(event="my/steps"))
async def steps(ctx: inngest.Context) -> int:
    async def load() -> int:
        return 41

    loaded = await ctx.step.run("load", load)
    await ctx.step.sleep("nap", datetime.timedelta(milliseconds=300))

    async def add() -> int:
        return loaded + 1

    return await ctx.step.run("add", add)


@client.create_function(fn_id="parallel", trigger=inngest.TriggerEvent(event="my/parallel"))
async def parallel(ctx: inngest.Context) -> list[str]:
    async def left() -> str:
        return "left"

    async def right() -> str:
        return "right"

    return list(
        await ctx.group.parallel(
            (lambda: ctx.step.run("left", left), lambda: ctx.step.run("right", right))
        )
    )


@client.create_function(fn_id="waits", trigger=inngest.TriggerEvent(event="my/waits"))
async def waits(ctx: inngest.Context) -> object:
    found = await ctx.step.wait_for_event(
        "approval",
        event="my/approved",
        if_exp="async.data.order == event.data.order",
        timeout=datetime.timedelta(seconds=20),
    )
    return None if found is None else found.data


@client.create_function(fn_id="invokes", trigger=inngest.TriggerEvent(event="my/invokes"))
async def invokes(ctx: inngest.Context) -> object:
    return await ctx.step.invoke("call", function=hello, data={"name": "Grace"})


@client.create_function(fn_id="fails", retries=0, trigger=inngest.TriggerEvent(event="my/fails"))
async def fails(ctx: inngest.Context) -> None:
    raise ValueError("it went wrong")


@client.create_function(fn_id="flaky", retries=2, trigger=inngest.TriggerEvent(event="my/flaky"))
async def flaky(ctx: inngest.Context) -> int:
    if ctx.attempt == 0:
        raise inngest.RetryAfterError("not yet", 100)
    return ctx.attempt


@client.create_function(fn_id="slow", trigger=inngest.TriggerEvent(event="my/slow"))
async def slow(ctx: inngest.Context) -> str:
    await asyncio.sleep(float(str(ctx.event.data["seconds"])))
    return "slept"


logging.basicConfig(level=logging.INFO)
functions: list[inngest.Function[Any]] = [
    hello,
    steps,
    parallel,
    waits,
    invokes,
    fails,
    flaky,
    slow,
]
asyncio.run(connect([(client, functions)]).start())
