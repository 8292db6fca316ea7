"""Child process: so many workers of the one app, each a connection and an instance of its own.

Says ``{"ready": N}`` once all are ready; ends with its stdin.
"""

import argparse
import math
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice

import trio

from bench.child import prepare_child, tell, wait_to_be_asked
from bench.work import bench_app
from connect.logs import configure_logging
from connect.memory import settle_memory
from connect.worker import Worker, run_fleet

__all__ = ["LIMIT", "serve_workers"]

LIMIT = 8
"""How many requests a worker with a limit runs at once."""


async def serve_workers(
    api_url: str, count: int, prefix: str, per_second: float, limited_one_in: int = 0
) -> None:
    """Run workers until there is nobody to serve them for.

    Args:
        prefix: what their instance ids begin with.
        per_second: how many begin to connect in a second, at most.
        limited_one_in: one worker in so many has a limit; none has when 0.
    """
    app = bench_app()
    workers = [
        Worker(app, api_url=api_url, instance_id=f"{prefix}-{number}", max_concurrency=limit)
        for number, limit in enumerate(_limits(count, limited_one_in))
    ]
    async with trio.open_nursery() as serving:
        await serving.start(partial(run_fleet, workers, per_second=per_second))
        settle_memory()
        tell({"ready": count})
        await wait_to_be_asked()
        serving.cancel_scope.cancel()


def _limits(count: int, one_in: int) -> Iterator[int | None]:
    every = (LIMIT, *(None,) * (one_in - 1)) if one_in else (None,)
    return islice(cycle(every), count)


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--per-second", type=float, default=math.inf)
    parser.add_argument("--limited-one-in", type=int, default=0)
    options = parser.parse_args()
    prepare_child()
    configure_logging(level="warning")
    trio.run(
        serve_workers,
        options.api_url,
        options.count,
        options.prefix,
        options.per_second,
        options.limited_one_in,
    )


if __name__ == "__main__":
    main()
