"""Everything that is random comes from the seed, and nodes can be stopped."""

import os
import random
import uuid

import trio
import trio.testing
from ulid import ULID

from tests.simulation.determinism import NODE, Scheduler, seeded


def draw(seed: int) -> list[object]:
    """Return something from every source of randomness, and the order of some tasks."""

    async def run() -> list[int]:
        order: list[int] = []

        async def note(number: int) -> None:
            await trio.lowlevel.checkpoint()
            order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(note, number)
        return order

    with seeded(seed, lambda: 1_764_000_000.0):
        drawn = [random.random(), os.urandom(4), str(uuid.uuid4()), str(ULID())]
        return [*drawn, *trio.run(run)]


def test_one_seed_draws_the_same_again() -> None:
    assert draw(1) == draw(1)


def test_each_source_draws_something_else_with_another_seed() -> None:
    one, other = draw(1), draw(2)
    assert all(first != second for first, second in zip(one[:4], other[:4], strict=True))


def test_another_seed_has_another_order_of_tasks() -> None:
    assert draw(1)[4:] != draw(2)[4:]


def test_afterwards_everything_is_random_again() -> None:
    random.seed(5)
    expected = random.random()
    random.seed(5)
    with seeded(1, lambda: 0.0):
        random.random()
    assert random.random() == expected


def test_a_frozen_node_runs_nothing_until_it_is_thawed() -> None:
    ran: list[float] = []

    async def of_node() -> None:
        NODE.set("n")
        await trio.sleep(2)
        ran.append(trio.current_time())

    async def main(scheduler: Scheduler) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(of_node)
            await trio.sleep(1)
            scheduler.freeze("n")
            await trio.sleep(4)
            scheduler.thaw("n")

    with seeded(1, lambda: 0.0) as scheduler:
        trio.run(main, scheduler, clock=trio.testing.MockClock(autojump_threshold=0))
    assert ran == [5.0]


def test_other_nodes_go_on_beside_a_frozen_one() -> None:
    ran: list[float] = []

    async def main(scheduler: Scheduler) -> None:
        scheduler.freeze("n")
        await trio.sleep(2)
        ran.append(trio.current_time())

    with seeded(1, lambda: 0.0) as scheduler:
        trio.run(main, scheduler, clock=trio.testing.MockClock(autojump_threshold=0))
    assert ran == [2.0]


def test_a_node_is_frozen_once() -> None:
    scheduler = Scheduler(1)
    assert scheduler.freeze("n")
    assert not scheduler.freeze("n")
