"""The signals that a process of ours answers.

A service takes them before it imports or reads anything else, so that none ends it half-way: until
something is begun, SIGINT and SIGTERM exit the process; while the service starts, the first one
cancels the start; once it is up, that ends it in order. The second one exits at once, always. So
this module imports Trio and the log when they are used.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import trio

__all__ = ["ServiceSignals", "take_signals", "termination"]

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def termination() -> Iterator[Callable[[], Awaitable[None]]]:
    """Take SIGINT and SIGTERM for the length of the block.

    Yields:
        a function that returns with the first of them; the second exits the process.
    """
    import trio

    with trio.open_signal_receiver(*_ENDING) as signals:

        async def wait_for_signal() -> None:
            number = await anext(signals)
            _exit_at_the_next()
            _log(number)

        yield wait_for_signal


def take_signals() -> "ServiceSignals":
    """Take SIGINT, SIGTERM and SIGHUP for the rest of the process's life.

    From now on the first SIGINT or SIGTERM exits the process with code 0, until
    `ServiceSignals.keep`, and SIGHUP is kept for `ServiceSignals.received`.
    """
    signals = ServiceSignals()
    for number in _ENDING:
        signal.signal(number, signals.take_end)
    signal.signal(signal.SIGHUP, signals.take_hangup)
    return signals


class ServiceSignals:
    """The signals of a service's process; `take_signals` makes it."""

    def __init__(self) -> None:
        self._terminal = _terminal()
        self._exits = True
        self._first: int | None = None  # the SIGINT or SIGTERM that ends the service
        self._hung_up = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._ended: trio.Event
        self._hangup: trio.Event
        self._start: trio.CancelScope

    def keep(self) -> None:
        """From now on keep SIGINT and SIGTERM for `received`, instead of exiting."""
        self._exits = False

    @contextmanager
    def received(self) -> Iterator[None]:
        """Receive signals in Trio for the length of the block; what was kept comes first.

        SIGINT or SIGTERM cancels the block until `started` is called; the block then ends
        without an error. After it, SIGHUP is ignored: the process is at its end.
        """
        import trio

        self._ended, self._hangup = trio.Event(), trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._start:
            try:
                self._deliver()
                yield
            finally:
                self._token = None
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def started(self) -> None:
        """From now on leave it to the block of `received` to end in order."""
        import trio

        self._start = trio.CancelScope()  # of nothing

    async def wait_for_end(self) -> None:
        """Return with the first SIGINT or SIGTERM, or with `end`."""
        await self._ended.wait()

    async def wait_for_hangup(self) -> bool:
        """Return with the next SIGHUP; of several that come at once it may miss some.

        Returns:
            True, or False if the terminal that the process was started from has gone: SIGHUP
            tells of that, too.
        """
        await self._hangup.wait()
        self._hung_up = False
        self._hangup = type(self._hangup)()
        return self._terminal is None or os.isatty(self._terminal)

    def end(self) -> None:
        """End as with SIGTERM; does nothing if the end has come already."""
        if self._first is None:
            signal.raise_signal(signal.SIGTERM)

    def take_end(self, number: int, frame: object) -> None:
        """Handle a SIGINT or SIGTERM, the first one."""
        _exit_at_the_next()
        self._first = number
        if self._exits:
            sys.exit(0)
        self._wake()

    def take_hangup(self, number: int, frame: object) -> None:
        """Handle a SIGHUP."""
        self._hung_up = True
        self._wake()

    def _wake(self) -> None:
        if self._token is not None:
            self._token.run_sync_soon(self._deliver)

    def _deliver(self) -> None:
        """Tell the tasks that wait; in Trio, not in a handler."""
        if self._first is not None and not self._ended.is_set():
            _log(self._first)
            self._ended.set()
            self._start.cancel()
        if self._hung_up:
            self._hangup.set()


def _exit_at_the_next() -> None:
    for number in _ENDING:
        signal.signal(number, _exit_at_once)


def _exit_at_once(number: int, frame: object) -> NoReturn:
    # Not by print: the handler may have interrupted another one.
    with suppress(OSError):
        os.write(2, b"connect: second signal, exiting at once\n")
    os._exit(128 + number)


def _log(number: int) -> None:
    import structlog

    structlog.get_logger().info("signal received", signal=signal.Signals(number).name)


def _terminal() -> int | None:
    """Return the descriptor of the terminal that is read from, if one is."""
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, ValueError, OSError):
        return None  # closed, or not a file at all
    return descriptor if os.isatty(descriptor) else None
