"""Child process: so many workers of the one app, each a connection and an instance of its own.

Says ``{"ready": N}`` once all are ready; ends with its stdin.
"""

import argparse
from functools import partial

import trio

from bench.child import prepare_child, tell, wait_to_be_asked
from bench.work import bench_app
from connect.logs import configure_logging
from connect.worker import Worker

__all__ = ["serve_workers"]

# Connecting one after the other takes long, all at once meets deadlines.
_AT_ONCE = 16


async def serve_workers(api_url: str, count: int, prefix: str) -> None:
    """Run workers until there is nobody to serve them for.

    Args:
        prefix: what their instance ids begin with.
    """
    connecting = trio.CapacityLimiter(_AT_ONCE)

    async def connect(nursery: trio.Nursery, number: int) -> None:
        worker = Worker(bench_app(), api_url=api_url, instance_id=f"{prefix}-{number}")
        async with connecting:
            await nursery.start(worker.run)

    async with trio.open_nursery() as serving:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(connect, serving, number)
        tell({"ready": count})
        await wait_to_be_asked()
        serving.cancel_scope.cancel()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--prefix", required=True)
    options = parser.parse_args()
    prepare_child()
    configure_logging(level="warning")
    trio.run(partial(serve_workers, options.api_url, options.count, options.prefix))


if __name__ == "__main__":
    main()
