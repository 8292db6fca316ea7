"""What makes a run depend on its seed alone: randomness, ids, and the order of tasks.

Time comes from a clock that jumps. Every source of randomness that the service draws from
is seeded; the simulation has sources of its own, so that a line changed in the service does
not move the faults. Which of the tasks that can run runs first is drawn, too.
"""

import os
import random
from collections.abc import Callable, Iterator, MutableSequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from unittest import mock

import trio
import ulid

__all__ = ["NODE", "Scheduler", "seeded"]

NODE: ContextVar[str] = ContextVar("NODE", default="")
"""The node that a task belongs to."""

# A task that could run lets the others go first this often, for one round of the scheduler.
_LATE = 0.02

# A run has some thousands of batches; one with this many goes round in circles.
_MOST_BATCHES = 1_000_000


class Scheduler(random.Random):
    """Decides in which order Trio runs the tasks that can run, and which have to wait.

    It stands in the place of the random numbers that Trio shuffles each batch with.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._frozen: set[str] = set()
        self._held: dict[str, list[trio.lowlevel.Task]] = {}
        self._batches = 0

    def freeze(self, node: str) -> bool:
        """Let no task of the node run, as SIGSTOP does to a process; False if none did before."""
        if node in self._frozen:
            return False
        self._frozen.add(node)
        return True

    def thaw(self, node: str) -> None:
        """Let the node's tasks run again; harmless if they do."""
        self._frozen.discard(node)
        for task in self._held.pop(node, ()):
            _run_later(task)

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Reorder a batch; take out of it what waits."""
        super().shuffle(x)
        self._batches += 1
        if self._batches > _MOST_BATCHES:
            raise RuntimeError("the simulation does not come to an end")
        if self._frozen:
            for task in tuple(x):
                node = task.context.get(NODE)
                if node in self._frozen:
                    x.remove(task)
                    self._held.setdefault(node, []).append(task)
        if len(x) > 1 and self.random() < _LATE:
            _run_later(x.pop())


def _run_later(task: trio.lowlevel.Task) -> None:
    trio._core._run.GLOBAL_RUN_CONTEXT.runner.runq.append(task)


@contextmanager
def seeded(seed: int, now: Callable[[], float]) -> Iterator[Scheduler]:
    """Have all that is random be drawn from the seed, for the length of the block.

    Args:
        now: unix seconds, for ids that contain the time.
    """
    before = random.getstate()
    scheduler = Scheduler(seed)
    run = trio._core._run
    ids = ulid.ULIDGenerator(
        clock=lambda: int(now() * 1000), randomness=lambda timestamp: os.urandom(10)
    )
    with (
        mock.patch.object(run, "_r", scheduler),
        # Set by trio for Hypothesis, so that each batch has an order to shuffle.
        mock.patch.object(run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        mock.patch.object(os, "urandom", random.Random(f"{seed} urandom").randbytes),
        mock.patch.object(ulid, "default_generator", ids),
    ):
        random.seed(seed)
        try:
            yield scheduler
        finally:
            random.setstate(before)
