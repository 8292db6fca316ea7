"""Child process: workers that come, stay for a while, and go again, in order.

Says ``{"ready": true}`` once the first one is connected; ends with its stdin.
"""

import argparse
from functools import partial
from itertools import count

import trio

from bench.child import prepare_child, tell, wait_to_be_asked
from bench.work import bench_app
from connect.logs import configure_logging
from connect.worker import Worker

__all__ = ["GUEST_SECONDS", "receive_guests"]

GUEST_SECONDS = 10.0
"""How long each stays, and takes requests like any other."""


async def receive_guests(api_url: str, per_second: float) -> None:
    """Run guests until there is nobody to run them for; they share an HTTP client.

    Args:
        per_second: how many come in a second; as many go.
    """
    app = bench_app()
    guests = (Worker(app, api_url=api_url, instance_id=f"guest-{number}") for number in count())

    async def stay(worker: Worker) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(worker.run, client=client))
            await trio.sleep(GUEST_SECONDS)
            worker.shutdown()

    async def come(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            first = next(guests)
            await nursery.start(partial(first.run, client=client))
            first.shutdown()
            task_status.started()
            begin = trio.current_time()
            for number, worker in enumerate(guests, 1):
                await trio.sleep_until(begin + number / per_second)
                nursery.start_soon(stay, worker)

    async with (
        Worker(app, api_url=api_url, instance_id="guests").open_client() as client,
        trio.open_nursery() as serving,
    ):
        await serving.start(come)
        tell({"ready": True})
        await wait_to_be_asked()
        serving.cancel_scope.cancel()


def main() -> None:
    """Read the arguments and receive them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--per-second", type=float, required=True)
    options = parser.parse_args()
    prepare_child()
    configure_logging(level="warning")
    trio.run(receive_guests, options.api_url, options.per_second)


if __name__ == "__main__":
    main()
