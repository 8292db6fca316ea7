"""One connection to one Redis server, on which all tasks' commands are pipelined.

Each call appends its packed command to a queue and parks its task. One task writes all
that is queued in one go; another parses replies and wakes the callers in order. A third
watches deadlines: as every call has the same timeout, the oldest call is the next to
expire. While the connection is down, unsent commands wait for the next one; those that
may have been sent fail at once, and are never repeated.
"""

import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import hiredis
import outcome
import structlog
import trio

from connect.errors import StoreUnavailable
from connect.state.commands import Reply
from connect.state.redis_dial import CONNECTION_ERRORS, Connection, RedisStream

__all__ = ["NOT_SENT", "Redial", "RedisLimits", "RedisPipeline", "background"]

NOT_SENT = hiredis.ReplyError("NOTSENT the connection to this server is given up")
"""The reply to a call whose command did not leave before its pipeline was retired."""

Redial: TypeAlias = Callable[[float], Awaitable[Connection]]
"""Connects until a deadline on the Trio clock; raises StoreUnavailable when it cannot."""

_CHUNK = 65536
_BACKOFF_MIN = 0.05  # seconds
_BACKOFF_MAX = 0.5  # seconds; a server that is back must not wait for its clients

# Between two lines in the log about why there is no connection.
_LOG_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisLimits:
    """Bounds of one pipeline.

    Attributes:
        command_timeout: seconds for one command, waiting for a connection included.
        connect_timeout: seconds for one attempt to connect and log in.
        max_waiting: commands without a reply at which further ones are refused.
        max_waiting_bytes: unsent bytes at which further commands are refused.
    """

    command_timeout: float = 5.0
    connect_timeout: float = 5.0
    max_waiting: int = 100_000
    max_waiting_bytes: int = 256 * 1024 * 1024


class _Call:
    """One command and the task that waits for its reply.

    Attributes:
        packed: the bytes to send.
        task: None once nobody waits any more; the reply is then discarded in its turn.
        skipped: replies to discard before the one that counts.
    """

    __slots__ = ("deadline", "packed", "sent", "skipped", "task")

    def __init__(
        self, packed: bytes, task: trio.lowlevel.Task, deadline: float, skipped: int
    ) -> None:
        self.packed = packed
        self.task: trio.lowlevel.Task | None = task
        self.deadline = deadline
        self.skipped = skipped
        self.sent = False

    def answer(self, reply: Reply) -> None:
        if self.task is not None:
            trio.lowlevel.reschedule(self.task, outcome.Value(reply))
            self.task = None

    def fail(self, message: str) -> None:
        if self.task is not None:
            trio.lowlevel.reschedule(self.task, outcome.Error(StoreUnavailable(message)))
            self.task = None


class _Parking:
    """A place for one task to sleep until it is woken."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    async def sleep(self) -> None:
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._leave)

    def _leave(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None


class RedisPipeline:
    """Sends packed commands to one server, or to whichever takes its place.

    Args:
        name: of the server, for texts of errors and the log.
        redial: makes the next connection; which server it leads to may change.
        on_loss: called when a connection breaks, and when an attempt to connect fails.
        unreachable_since: the moment to begin with, when the server takes the place of one
            that was lost; now when None.

    Attributes:
        unreachable_since: when the last connection was lost, on the Trio clock; None while
            there is one.
    """

    def __init__(
        self,
        name: str,
        redial: Redial,
        limits: RedisLimits,
        *,
        on_loss: Callable[[], None] = lambda: None,
        unreachable_since: float | None = None,
    ) -> None:
        self.name = name
        self.unreachable_since: float | None = (
            trio.current_time() if unreachable_since is None else unreachable_since
        )
        self._redial = redial
        self._on_loss = on_loss
        self._connect_timeout = limits.connect_timeout
        self._max_waiting = limits.max_waiting
        self._max_waiting_bytes = limits.max_waiting_bytes
        self._unsent: deque[_Call] = deque()
        self._unsent_bytes = 0
        self._sent: deque[_Call] = deque()
        self._writer = _Parking()
        self._watch = _Parking()
        self._connection: trio.CancelScope | None = None
        self._why_not = ""  # the last attempt to connect failed
        self._logged: tuple[float, str] = (-math.inf, "")
        self._serving = trio.CancelScope()
        self._closed: str | None = None
        self._retired = False
        self._round_trips = 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self.unreachable_since is None

    @property
    def round_trips(self) -> int:
        """Commands sent so far."""
        return self._round_trips

    async def call(self, packed: bytes, deadline: float, *, skipped: int = 0) -> Reply:
        """Send a packed command and return the server's reply to it.

        Args:
            deadline: on the Trio clock; calls come in the order of their deadlines, or
                look after their own.
            skipped: replies to discard first, when ``packed`` holds more than one command.

        Returns:
            bytes, int, None, a list of these, or a `hiredis.ReplyError`; `NOT_SENT` once
            the pipeline is retired.

        Raises:
            StoreUnavailable: no answer until the deadline, the connection broke
                meanwhile, or too much is waiting already.

        Cancelled, a command not yet sent is dropped, and one already sent may still take
        effect; other callers' replies are not disturbed.
        """
        if self._retired:
            return NOT_SENT
        if self._closed is not None:
            raise StoreUnavailable(self._closed)
        if (
            len(self._unsent) + len(self._sent) >= self._max_waiting
            or self._unsent_bytes + len(packed) > self._max_waiting_bytes
        ):
            raise StoreUnavailable("too many commands are waiting for Redis")
        call = _Call(packed, trio.lowlevel.current_task(), deadline, skipped)

        def abandon(_raise_cancel: object) -> trio.lowlevel.Abort:
            call.task = None
            self._drop_unsent(call)
            return trio.lowlevel.Abort.SUCCEEDED

        self._unsent.append(call)
        self._unsent_bytes += len(packed)
        self._writer.wake()
        self._watch.wake()
        return await trio.lowlevel.wait_task_rescheduled(abandon)

    def _drop_unsent(self, call: _Call) -> None:
        """Free the bytes of a call that nobody waits for; its place is cleared later."""
        if not call.sent:
            self._unsent_bytes -= len(call.packed)
            call.packed = b""

    def reconnect(self) -> None:
        """Break the connection, if there is one, and make the next."""
        if self._connection is not None:
            self._connection.cancel()
            self._note_loss()

    def _note_loss(self) -> None:
        if self.unreachable_since is None:
            self.unreachable_since = trio.current_time()

    def retire(self) -> None:
        """Take no more calls: what is unsent comes back as `NOT_SENT`, what is sent is awaited."""
        self._retired = True
        while self._unsent:
            call = self._unsent.popleft()
            self._drop_unsent(call)
            call.answer(NOT_SENT)
        if not self._sent:
            self._serving.cancel()

    async def serve(self, connection: Connection | None = None) -> None:
        """Keep connected until retired or cancelled; fail all calls then.

        Args:
            connection: to begin with; without it, one is made.
        """
        try:
            with self._serving:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_deadlines)
                    pause = 0.0
                    while not self._retired:
                        if connection is None:
                            connection = await self._reconnected(pause)
                        await self._use(*connection)
                        connection, pause = None, _BACKOFF_MIN
                    nursery.cancel_scope.cancel()
        finally:
            self._close("the connection to Redis is closed")
            if connection is not None:
                await trio.aclose_forcefully(connection[0])

    async def _use(self, stream: RedisStream, reader: hiredis.Reader) -> None:
        """Use one connection until it breaks."""
        try:
            async with trio.open_nursery() as nursery:
                self._connection = nursery.cancel_scope
                self.unreachable_since = None
                self._note_connected()
                nursery.start_soon(self._write_to, stream)
                nursery.start_soon(self._read_from, stream, reader)
        finally:
            self._connection = None
            self._note_loss()
            while self._sent:
                self._sent.popleft().fail(
                    f"the connection to {self.name} broke; "
                    "whether the command took effect is unknown"
                )
            self._on_loss()
            await trio.aclose_forcefully(stream)

    async def _write_to(self, stream: RedisStream) -> None:
        while True:
            while not self._unsent:
                await self._writer.sleep()
            packed: list[bytes] = []
            while self._unsent:
                call = self._unsent.popleft()
                if call.task is None:
                    continue
                self._unsent_bytes -= len(call.packed)
                packed.append(call.packed)
                call.packed = b""
                call.sent = True
                self._sent.append(call)
            if packed:
                self._round_trips += len(packed)
                try:
                    await stream.send_all(b"".join(packed))
                except CONNECTION_ERRORS:
                    self.reconnect()
                    return

    async def _read_from(self, stream: RedisStream, reader: hiredis.Reader) -> None:
        sent = self._sent
        try:
            while data := await stream.receive_some(_CHUNK):
                reader.feed(bytes(data))
                while (reply := reader.gets()) is not False:
                    if not sent:
                        # Only a server that ends the connection speaks unasked.
                        self.reconnect()
                        return
                    if sent[0].skipped:
                        sent[0].skipped -= 1
                    else:
                        sent.popleft().answer(reply)
                if self._retired and not sent:
                    break
        except CONNECTION_ERRORS:
            pass  # ended like a connection that the server closed
        self.reconnect()

    async def _reconnected(self, pause: float) -> Connection:
        while True:
            await trio.sleep(pause * random.uniform(0.5, 1.0))
            try:
                return await self._redial(trio.current_time() + self._connect_timeout)
            except StoreUnavailable as error:
                self._note_failure(error)
                pause = min(max(pause * 2, _BACKOFF_MIN), _BACKOFF_MAX)
                self._on_loss()

    def _note_failure(self, error: StoreUnavailable) -> None:
        """Keep why there is no connection; log it when it is another reason, but not too often."""
        self._why_not = str(error).removeprefix(f"cannot connect to {self.name}: ")
        logged_at, logged = self._logged
        now = trio.current_time()
        if self._why_not != logged and now - logged_at >= _LOG_SECONDS:
            self._logged = (now, self._why_not)
            structlog.get_logger().warning(
                "no connection to the state store", server=self.name, reason=self._why_not
            )

    def _note_connected(self) -> None:
        self._why_not = ""
        logged_at, logged = self._logged
        if logged:
            self._logged = (logged_at, "")
            structlog.get_logger().info("connected to the state store again", server=self.name)

    def _no_connection(self) -> str:
        return f"no connection to {self.name}" + (f": {self._why_not}" if self._why_not else "")

    async def _watch_deadlines(self) -> None:
        """Fail calls in time; break a connection whose oldest call has got no reply."""
        while True:
            now = trio.current_time()
            if self._sent and self._sent[0].deadline <= now:
                self.reconnect()
                for call in self._sent:
                    if call.deadline > now:
                        break
                    call.fail("Redis did not answer in time")
            while self._unsent and (
                self._unsent[0].task is None or self._unsent[0].deadline <= now
            ):
                call = self._unsent.popleft()
                if call.task is not None:
                    self._drop_unsent(call)
                    call.fail(self._no_connection())
            wake_at = min(
                self._sent[0].deadline if self._sent else math.inf,
                self._unsent[0].deadline if self._unsent else math.inf,
            )
            if wake_at == math.inf:
                await self._watch.sleep()
            else:
                await trio.sleep_until(max(wake_at, now + 0.001))

    def _close(self, reason: str) -> None:
        self._closed = reason
        for calls in (self._sent, self._unsent):
            while calls:
                calls.popleft().fail(reason)


@asynccontextmanager
async def background(serve: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run a task that serves the block, and cancel it when the block ends.

    It is shielded, as cleanup in a cancelled block still needs its commands answered; the
    block's end is the deadline. An error in the block arrives as it is, in no group.
    """
    serving = trio.CancelScope(shield=True)

    async def run() -> None:
        with serving:
            await serve()

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the nursery
            failure = error  # so that it does not arrive in a group
        finally:
            serving.cancel()
    if failure is not None:
        raise failure
