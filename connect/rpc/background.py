"""Contexts with tasks in the background, whose bodies raise what they raise.

A nursery wraps exceptions of its body in a group. That is right where the body is
one task among others; a library's ``async with`` block is the caller's own code, who
expects to catch errors by their types.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import trio

__all__ = ["body_apart", "open_background"]

T = TypeVar("T")


@asynccontextmanager
async def body_apart(context: AbstractAsyncContextManager[T, bool | None]) -> AsyncIterator[T]:
    """Enter the context, but keep an exception of the body away from it.

    The context is left as if the body had ended normally; then the exception is raised as
    it is, or together in a group with what the context itself raised.
    """
    failure: Exception | None = None
    try:
        async with context as value:
            try:
                yield value
            except Exception as error:  # noqa: BLE001 - raised again below
                failure = error
    except BaseException as error:
        if failure is None:
            raise
        raise BaseExceptionGroup("in the body and its background", [error, failure]) from None
    if failure is not None:
        raise failure


@asynccontextmanager
async def open_background() -> AsyncIterator[trio.Nursery]:
    """Open a nursery whose tasks are cancelled when the body ends.

    An exception of the body comes out as it is. A task that fails cancels the body, and
    its exception comes out inside a group, as from any nursery.
    """
    async with body_apart(trio.open_nursery()) as nursery:
        try:
            yield nursery
        finally:
            nursery.cancel_scope.cancel()
