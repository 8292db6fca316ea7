"""Child process: so many idle workers, which go where gateways send them.

Says ``{"ready": N}`` once all are ready. Asked ``{"at_once": N}``, it has at most so many
connect at the same time from now on (null: any number), and says what became of the
attempts since it was last asked. Ends with its stdin.
"""

import argparse
import math
from functools import partial

import trio

from bench.child import prepare_child, tell, wait_to_be_asked
from bench.idle_worker import IdleWorker, Tally
from bench.work import bench_app
from connect.logs import configure_logging
from connect.memory import settle_memory

__all__ = ["hold_workers"]


async def hold_workers(api_url: str, count: int, prefix: str, at_once: int) -> None:
    """Run workers until there is nobody to hold them for.

    Args:
        prefix: what their instance ids begin with.
        at_once: how many may be connecting at the same time, to begin with.
    """
    app = bench_app()
    tally = Tally()
    connecting = trio.CapacityLimiter(at_once)
    async with trio.open_nursery() as serving:
        async with trio.open_nursery() as starting:
            for number in range(count):
                worker = IdleWorker(
                    app,
                    api_url=api_url,
                    instance_id=f"{prefix}-{number}",
                    tally=tally,
                    connecting=connecting,
                )
                starting.start_soon(serving.start, worker.run)
        settle_memory()
        tell({"ready": count})
        while (asked := await wait_to_be_asked()) is not None:
            connecting.total_tokens = asked["at_once"] or math.inf
            tell({"connected": tally.connected, "failed": dict(tally.failed)})
            tally.clear()
        serving.cancel_scope.cancel()


def main() -> None:
    """Read the arguments and hold them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--at-once", type=int, required=True)
    options = parser.parse_args()
    prepare_child()
    configure_logging(level="warning")
    trio.run(partial(hold_workers, options.api_url, options.count, options.prefix, options.at_once))


if __name__ == "__main__":
    main()
