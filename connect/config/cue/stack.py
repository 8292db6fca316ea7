"""Recursion that takes no more of Python's stack however deep it goes.

Whoever recurses counts the levels that the stack of the moment has left. Where none is left,
the next level begins upon a new stack: a greenlet. All greenlets are started from the same
place, that of the first call that needed one, so that each begins at that one's depth, in
CPython's count of frames as on the C stack. Together they are still one synchronous call in
one thread, and none outlasts it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from greenlet import getcurrent, greenlet

__all__ = ["Stack"]

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")


class _Wanted(NamedTuple):
    """A call that the hub is asked to make upon a new stack."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Stack:
    """As many stacks as a piece of work needs, one after the other.

    Args:
        levels: of recursion upon each. The first and one more must find room in what the
            caller leaves of Python's recursion limit.

    Attributes:
        room: levels that are left upon the stack of the moment. Whoever recurses takes one
            and gives it back; where there is none left, `call` makes the next step. What
            raises need not give back if whoever catches it restores what there was.
    """

    __slots__ = ("_asker", "_hub", "_levels", "room")

    def __init__(self, levels: int) -> None:
        self.room = self._levels = levels
        self._hub: Any = None
        self._asker: Any = None

    def call(self, function: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """Call a function upon a new stack, with all levels to go; restore `room` afterwards.

        Context variables are the caller's. What the function raises is raised here, with its
        traceback: also what interrupts it, such as `KeyboardInterrupt`.
        """
        room, self.room = self.room, self._levels
        try:
            if self._hub is None:
                return self._serve(function, arguments)
            self._asker = getcurrent()
            result: _Result = self._hub.switch(_Wanted(function, arguments))
            return result
        finally:
            self.room = room

    def _serve(self, function: Callable[..., _Result], arguments: tuple[Any, ...]) -> _Result:
        """Make a call, and every other one that is asked for until it returns.

        A greenlet that ends hands its result or its exception to its parent, the one that
        waits for it. So the hub hears of requests only, and of the end of the first call;
        whatever is raised here meanwhile belongs to whoever waits.
        """
        self._hub = getcurrent()
        first = _started_by(self._hub, function)
        step = partial(first.switch, *arguments)
        try:
            while True:
                try:
                    answer = step()
                    if not first:
                        result: _Result = answer
                        return result
                    following = _started_by(self._asker, answer.function)
                    step = partial(following.switch, *answer.arguments)
                except BaseException as error:
                    if not first:
                        raise
                    step = partial(self._asker.throw, error)
        finally:
            self._hub = self._asker = None


def _started_by(asker: Any, function: Callable[..., Any]) -> Any:
    """Return a greenlet, not yet running, whose outcome goes to another one that waits."""
    new = greenlet(function, asker)
    new.gr_context = asker.gr_context
    return new
