"""Calling with little of Python's stack left."""

import sys
from collections.abc import Callable
from typing import TypeVar

__all__ = ["with_frames_left"]

T = TypeVar("T")


def with_frames_left(frames: int, function: Callable[[], T]) -> T:
    """Call a function so deep that only so many frames are left of the recursion limit."""
    used, frame = 0, sys._getframe()
    while frame.f_back is not None:
        used, frame = used + 1, frame.f_back

    def down(levels: int) -> T:
        return down(levels - 1) if levels > 0 else function()

    return down(sys.getrecursionlimit() - frames - used - 3)
