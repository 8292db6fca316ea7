"""Many workers in one process, as load for a gateway."""

import math
from collections.abc import Callable, Sequence

import trio

from connect.worker.worker import Worker

__all__ = ["run_fleet"]

# Connecting one after the other takes long, all at once meets deadlines.
_AT_ONCE = 16


class _Connected:
    """What a worker's `run` reports its first connection to; keeps who waits for it waiting.

    Attributes:
        over: set once the worker is connected, or has ended without.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self.over = trio.Event()
        self._tell = tell

    def started(self, value: Worker | None = None) -> None:
        self._tell()
        self.over.set()


async def run_fleet(
    workers: Sequence[Worker],
    *,
    per_second: float = math.inf,
    at_once: int = _AT_ONCE,
    connected: Callable[[int], None] = lambda count: None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run workers that share what can be shared, until all have shut down.

    Workers told to shut down before their turn to connect do not begin. Cancellation
    cancels them all; see `Worker.run`.

    Args:
        workers: at least one; all use the first one's HTTP client.
        per_second: how many begin to connect in a second, at most.
        at_once: how many may be connecting at the same time.
        connected: called with their number after each one that has connected.
        task_status: started once each is connected, or has ended without.

    Raises:
        ExceptionGroup: of a WorkerError: the service refuses one of them; the others are
            cancelled.
    """
    count = 0

    def tell() -> None:
        nonlocal count
        count += 1
        connected(count)

    connecting = trio.CapacityLimiter(at_once)
    async with workers[0].open_client() as client, trio.open_nursery() as running:

        async def run(worker: Worker, status: _Connected) -> None:
            try:
                await worker.run(client=client, task_status=status)
            finally:
                status.over.set()

        async def connect(worker: Worker) -> None:
            async with connecting:
                status = _Connected(tell)
                running.start_soon(run, worker, status)
                await status.over.wait()

        begin = trio.current_time()
        async with trio.open_nursery() as starting:
            for number, worker in enumerate(workers):
                if not worker.shutting_down:
                    await trio.sleep_until(begin + number / per_second)
                    starting.start_soon(connect, worker)
        task_status.started()
