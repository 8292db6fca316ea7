"""Recursion that goes on upon new stacks."""

import contextvars
import gc
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress

import greenlet
import pytest

from connect.config.cue import stack as module
from connect.config.cue.stack import Stack
from tests.config.cue.frames import with_frames_left

LEVELS = 10
DEEP = 20_000

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)


def down(stack: Stack, levels: int, end: Callable[[], int] = lambda: 0) -> int:
    """Recurse so many levels, call `end` there, and add one for each level."""
    if not levels:
        return end()
    if not stack.room:
        return stack.call(down, stack, levels, end)
    stack.room -= 1
    result = 1 + down(stack, levels - 1, end)
    stack.room += 1
    return result


class Bottom(Exception):
    """Raised at the bottom of a recursion."""


def fail() -> int:
    raise Bottom


def waiting_greenlets() -> int:
    return sum(isinstance(item, greenlet.greenlet) and bool(item) for item in gc.get_objects())


def test_recursion_goes_deeper_than_the_recursion_limit() -> None:
    assert down(Stack(LEVELS), DEEP) == DEEP


def test_a_caller_that_is_deep_itself_needs_two_stacks_only() -> None:
    assert with_frames_left(4 * LEVELS, lambda: down(Stack(LEVELS), DEEP)) == DEEP


def test_without_levels_left_each_step_has_a_stack_of_its_own() -> None:
    assert down(Stack(1), 1000) == 1000


def test_the_levels_are_given_back() -> None:
    stack = Stack(LEVELS)
    down(stack, DEEP)
    assert stack.room == LEVELS


def test_an_error_arrives_where_the_call_was_made() -> None:
    stack = Stack(LEVELS)
    stack.room = 0
    with pytest.raises(Bottom):
        stack.call(fail)
    assert stack.room == 0


def test_an_error_passes_every_level_on_its_way() -> None:
    unwound = []

    def guarded(stack: Stack, levels: int) -> None:
        try:
            if not levels:
                raise Bottom
            stack.call(guarded, stack, levels - 1)
        finally:
            unwound.append(levels)

    with pytest.raises(Bottom):
        guarded(Stack(LEVELS), 5)
    assert unwound == [0, 1, 2, 3, 4, 5]


def test_an_error_may_be_caught_half_way() -> None:
    stack = Stack(LEVELS)

    def caught() -> int:
        with pytest.raises(Bottom):
            down(stack, DEEP, fail)
        return 1

    assert down(stack, DEEP, caught) == DEEP + 1


def test_the_traceback_shows_where_an_error_arose() -> None:
    with pytest.raises(Bottom) as caught:
        down(Stack(LEVELS), 3 * LEVELS, fail)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "fail"
    assert names.count("down") == 3 * LEVELS + 1 + 2  # twice where a new stack begins


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RecursionError, MemoryError])
def test_what_ends_a_program_arrives_too(error: type[BaseException]) -> None:
    def end() -> int:
        raise error

    with pytest.raises(error):
        down(Stack(LEVELS), DEEP, end)


def test_recursion_without_checkpoints_still_ends() -> None:
    def endless() -> int:
        return endless()

    with pytest.raises(RecursionError):
        down(Stack(LEVELS), DEEP, endless)


@pytest.mark.parametrize("end", [lambda: 0, fail], ids=["a result", "an error"])
def test_nothing_is_left_of_a_call(end: Callable[[], int]) -> None:
    before = waiting_greenlets()
    with suppress(Bottom):
        down(Stack(LEVELS), DEEP, end)
    assert waiting_greenlets() == before


def test_context_variables_are_those_of_the_caller() -> None:
    def end() -> int:
        value = variable.get()
        variable.set(value + 1)
        return value

    def work() -> tuple[int, int]:
        variable.set(7)
        return down(Stack(LEVELS), DEEP, end), variable.get()

    assert contextvars.Context().run(work) == (DEEP + 7, 8)


def test_a_stack_serves_within_itself() -> None:
    stack = Stack(LEVELS)
    assert down(stack, DEEP, lambda: down(stack, DEEP)) == 2 * DEEP


def test_a_stack_serves_again() -> None:
    stack = Stack(LEVELS)
    assert [down(stack, DEEP) for _ in range(3)] == [DEEP] * 3


def test_threads_have_stacks_of_their_own() -> None:
    barrier = threading.Barrier(4, timeout=10)
    results: list[int] = []

    def meet() -> int:
        barrier.wait()
        return 0

    threads = [
        threading.Thread(target=lambda: results.append(down(Stack(LEVELS), DEEP, meet)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [DEEP] * 4


def test_a_stack_that_cannot_be_made_is_an_error_of_whoever_wants_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack, made, told = Stack(LEVELS), [0], []
    make = module._started_by

    def scarce(*arguments: object) -> object:
        made[0] += 1
        if made[0] > 3:
            raise MemoryError
        return make(*arguments)  # type: ignore[arg-type]  # what it is called with

    def into(levels: int) -> int:
        try:
            return 1 + stack.call(into, levels - 1) if levels else 0
        except MemoryError:
            told.append(levels)
            raise

    monkeypatch.setattr(module, "_started_by", scarce)
    with pytest.raises(MemoryError):
        into(10)
    assert told == [7, 8, 9, 10]


def test_whoever_is_refused_a_stack_may_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, made = Stack(LEVELS), [0]
    make = module._started_by

    def scarce(*arguments: object) -> object:
        made[0] += 1
        if made[0] == 2:
            raise MemoryError
        return make(*arguments)  # type: ignore[arg-type]  # what it is called with

    def again() -> int:
        with pytest.raises(MemoryError):
            stack.call(int)
        return stack.call(lambda: 5)

    monkeypatch.setattr(module, "_started_by", scarce)
    assert stack.call(again) == 5


def test_the_recursion_limit_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(limit: int) -> None:
        raise AssertionError(f"the limit is set to {limit}")

    monkeypatch.setattr(sys, "setrecursionlimit", refuse)
    assert down(Stack(LEVELS), DEEP) == DEEP
