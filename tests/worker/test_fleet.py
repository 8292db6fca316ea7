"""Many workers in one process."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from connect.worker import WorkerError, run_fleet
from tests.worker.conftest import MakeWorker
from tests.worker.gateway import FakeGateway, error_body


async def test_a_fleet_starts_once_all_are_connected(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    workers = [make_worker(instance_id=f"w{number}") for number in range(5)]

    await nursery.start(run_fleet, workers)

    assert [len(worker.connection_ids) for worker in workers] == [1] * 5


async def test_each_worker_of_a_fleet_is_itself(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    workers = [make_worker(instance_id=f"w{number}") for number in range(3)]
    nursery.start_soon(run_fleet, workers)

    ids = {(await gateway.session()).hello.instance_id for _ in workers}

    assert ids == {"w0", "w1", "w2"}


async def test_a_fleet_tells_how_many_are_connected(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    told: list[int] = []
    workers = [make_worker() for _ in range(3)]

    await nursery.start(partial(run_fleet, workers, connected=told.append))

    assert told == [1, 2, 3]


async def test_a_fleet_ends_when_all_have_shut_down(
    gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    workers = [make_worker() for _ in range(3)]
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(run_fleet, workers)
            for worker in workers:
                worker.shutdown()


async def test_workers_that_are_shut_down_before_their_turn_do_not_begin(
    gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    workers = [make_worker() for _ in range(3)]
    for worker in workers:
        worker.shutdown()

    with trio.fail_after(5):
        await run_fleet(workers)

    assert gateway.starts == []


async def test_a_worker_that_ends_before_it_is_connected_holds_nobody_up(
    gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    gateway.start_answers = [(503, b"")] * 1000
    workers = [make_worker() for _ in range(3)]
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(run_fleet, workers, at_once=1))
            while len(gateway.starts) < 2:
                await trio.sleep(0.005)
            for worker in workers:
                worker.shutdown()


async def test_a_refusal_ends_the_fleet(gateway: FakeGateway, make_worker: MakeWorker) -> None:
    gateway.start_answers = [(401, error_body("wrong key"))]
    workers = [make_worker() for _ in range(3)]

    with pytest.raises(ExceptionGroup) as raised:
        await run_fleet(workers, at_once=1)

    assert raised.group_contains(WorkerError, match="wrong key", depth=None)


async def test_workers_begin_at_the_rate_that_is_set(
    nursery: trio.Nursery, make_worker: MakeWorker, autojump_clock: MockClock
) -> None:
    began: list[float] = []
    workers = [make_worker() for _ in range(5)]
    for worker in workers:

        async def run(**options: object) -> None:
            began.append(trio.current_time())

        worker.run = run  # type: ignore[method-assign] # only its moment counts

    start = trio.current_time()
    await run_fleet(workers, per_second=2)

    assert [at - start for at in began] == pytest.approx([0, 0.5, 1, 1.5, 2], abs=0.01)
