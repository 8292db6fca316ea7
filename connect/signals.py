"""The signals that a service's process answers."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog
import trio

__all__ = ["hangups", "termination"]


@contextmanager
def termination() -> Iterator[Callable[[], Awaitable[None]]]:
    """Take SIGINT and SIGTERM for the length of the block.

    Yields:
        a function that returns with the first of them; the second exits the process.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

        async def wait_for_signal() -> None:
            number = await anext(signals)
            for again in (signal.SIGINT, signal.SIGTERM):
                signal.signal(again, _exit_at_once)
            structlog.get_logger().info("signal received", signal=signal.Signals(number).name)

        yield wait_for_signal


def _exit_at_once(number: int, frame: object) -> None:
    print("connect: second signal, exiting at once", file=sys.stderr, flush=True)
    os._exit(128 + number)


@contextmanager
def hangups() -> Iterator[Callable[[], Awaitable[bool]]]:
    """Take SIGHUP for the length of the block, which would end the process.

    Yields:
        a function that returns with the next one; of several that come at once it may miss
        some. It returns True, or False if the terminal that the process was started from
        has gone: SIGHUP tells of that, too.
    """
    terminal = _terminal()
    with trio.open_signal_receiver(signal.SIGHUP) as signals:

        async def wait_for_hangup() -> bool:
            await anext(signals)
            return terminal is None or os.isatty(terminal)

        yield wait_for_hangup


def _terminal() -> int | None:
    """Return the descriptor of the terminal that is read from, if one is."""
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, ValueError, OSError):
        return None  # closed, or not a file at all
    return descriptor if os.isatty(descriptor) else None
