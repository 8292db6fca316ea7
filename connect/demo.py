"""The functions of ``python -m connect dev``, to try things with."""

from typing import Any

from connect.worker import App, Context, NonRetriableError, event

__all__ = ["app"]

app = App("demo")


@app.function("hello", triggers=[event("demo/hello")])
async def hello(ctx: Context) -> dict[str, str]:
    """Greet ``name``."""
    name = ctx.event.data.get("name", "world")
    return {"message": f"Hello, {name}!"}


@app.function("steps", triggers=[event("demo/steps")])
async def steps(ctx: Context) -> dict[str, Any]:
    """Two steps, with a second's sleep between them."""
    numbers = await ctx.step.run("numbers", lambda: [1, 2, 3])
    await ctx.step.sleep("nap", "1s")
    total = await ctx.step.run("total", sum, numbers)
    return {"numbers": numbers, "total": total}


@app.function("parallel", triggers=[event("demo/parallel")])
async def parallel(ctx: Context) -> dict[str, Any]:
    """Two steps side by side."""
    left, right = await ctx.step.gather(
        ctx.step.run("left", lambda: "left"), ctx.step.run("right", lambda: "right")
    )
    return {"left": left, "right": right}


@app.function("fail", triggers=[event("demo/fail")], retries=0)
async def fail(ctx: Context) -> None:
    """Fail for good, with the message that the event brings."""
    raise NonRetriableError(str(ctx.event.data.get("message", "this function always fails")))
