"""A Redis client for Trio: one connection on which all tasks' commands are pipelined.

Each call appends its packed command to a queue and parks its task. One task writes all
that is queued in one go; another parses replies and wakes the callers in order. A third
watches deadlines: as every call has the same timeout, the oldest call is the next to
expire. While the connection is down, unsent commands wait for the next one; those that
may have been sent fail at once, and are never repeated.
"""

import math
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import hiredis
import outcome
import trio

from connect.errors import ConfigurationError, StoreUnavailable
from connect.state.commands import Argument, CommandError, Reply, Script, reply_error
from connect.state.redis_url import (
    CONNECTION_ERRORS,
    RedisAddress,
    RedisStream,
    connect,
    pack,
    parse_address,
)

__all__ = ["CommandError", "RedisClient", "open_redis"]

_CHUNK = 65536
_BACKOFF_MIN = 0.05  # seconds
_BACKOFF_MAX = 2.0  # seconds

_LOST = "the connection to Redis broke; whether the command took effect is unknown"


class _Call:
    """One command and the task that waits for its reply.

    Attributes:
        packed: the bytes to send.
        task: None once nobody waits any more; the reply is then discarded in its turn.
    """

    __slots__ = ("deadline", "packed", "sent", "task")

    def __init__(self, packed: bytes, task: trio.lowlevel.Task, deadline: float) -> None:
        self.packed = packed
        self.task: trio.lowlevel.Task | None = task
        self.deadline = deadline
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


class RedisClient:
    """Runs commands and scripts on one Redis server; made by `open_redis`.

    Implements `connect.state.commands.Commands`.
    """

    def __init__(
        self,
        address: RedisAddress,
        *,
        command_timeout: float,
        connect_timeout: float,
        max_waiting: int,
        max_waiting_bytes: int,
    ) -> None:
        self._address = address
        self._command_timeout = command_timeout
        self._connect_timeout = connect_timeout
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._unsent: deque[_Call] = deque()
        self._unsent_bytes = 0
        self._sent: deque[_Call] = deque()
        self._writer = _Parking()
        self._watch = _Parking()
        self._connection: trio.CancelScope | None = None
        self._closed: str | None = None
        self._round_trips = 0

    @property
    def round_trips(self) -> int:
        """Commands and scripts sent so far."""
        return self._round_trips

    async def execute(self, *args: Argument) -> Reply:
        """Run one command.

        Returns:
            The server's reply: bytes, int, None, or a list of these.

        Raises:
            StoreUnavailable: no answer within the client's command timeout (waiting for
                a connection included), the connection broke meanwhile, too much is
                waiting already, or the server cannot serve now.
            CommandError: the server refused the command.

        Cancelled, a command not yet sent is dropped, and one already sent may still take
        effect; other callers' replies are not disturbed.
        """
        deadline = trio.current_time() + self._command_timeout
        reply = await self._call(pack(args), deadline)
        if isinstance(reply, hiredis.ReplyError):
            raise self._error(str(reply))
        return reply

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()
    ) -> Reply:
        """Run a script, by its hash where the server has it cached.

        Returns, raises and cancellation are those of `execute`. A server that has
        forgotten the script has not run it, so that sending it again with its text
        cannot run it twice.
        """
        deadline = trio.current_time() + self._command_timeout
        rest = (len(keys), *keys, *args)
        reply = await self._call(pack(("EVALSHA", script.sha1, *rest)), deadline)
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            packed = pack(("EVAL", script.text, *rest))
            reply = await self._call(packed, deadline)
        if isinstance(reply, hiredis.ReplyError):
            raise self._error(str(reply))
        return reply

    async def _call(self, packed: bytes, deadline: float) -> Reply:
        if self._closed is not None:
            raise StoreUnavailable(self._closed)
        if (
            len(self._unsent) + len(self._sent) >= self._max_waiting
            or self._unsent_bytes + len(packed) > self._max_waiting_bytes
        ):
            raise StoreUnavailable("too many commands are waiting for Redis")
        call = _Call(packed, trio.lowlevel.current_task(), deadline)

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

    def _error(self, message: str) -> CommandError | StoreUnavailable:
        if message.startswith("READONLY"):
            # After a failover the name may lead to the new primary: connect again.
            self._break()
        return reply_error(message)

    def _break(self) -> None:
        if self._connection is not None:
            self._connection.cancel()

    async def keep_connected(self, stream: RedisStream, reader: hiredis.Reader) -> None:
        """Serve connections, one after the other, until cancelled; fail all calls then."""
        try:
            while True:
                await self._serve(stream, reader)
                stream, reader = await self._reconnect()
        finally:
            self._close("the connection to Redis is closed")

    async def _serve(self, stream: RedisStream, reader: hiredis.Reader) -> None:
        """Use one connection until it breaks."""
        try:
            async with trio.open_nursery() as nursery:
                self._connection = nursery.cancel_scope
                nursery.start_soon(self._write_to, stream)
                nursery.start_soon(self._read_from, stream, reader)
        finally:
            self._connection = None
            while self._sent:
                self._sent.popleft().fail(_LOST)
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
                    self._break()
                    return

    async def _read_from(self, stream: RedisStream, reader: hiredis.Reader) -> None:
        sent = self._sent
        try:
            while data := await stream.receive_some(_CHUNK):
                reader.feed(bytes(data))
                while (reply := reader.gets()) is not False:
                    if not sent:
                        # Only a server that ends the connection speaks unasked.
                        self._break()
                        return
                    sent.popleft().answer(reply)
        except CONNECTION_ERRORS:
            pass  # ended like a connection that the server closed
        self._break()

    async def _reconnect(self) -> tuple[RedisStream, hiredis.Reader]:
        pause = _BACKOFF_MIN
        while True:
            await trio.sleep(pause * random.uniform(0.5, 1.0))
            try:
                deadline = trio.current_time() + self._connect_timeout
                return await connect(self._address, deadline, new_reader=hiredis.Reader)
            except StoreUnavailable:
                pause = min(pause * 2, _BACKOFF_MAX)

    async def watch_deadlines(self) -> None:
        """Fail calls in time; break a connection whose oldest call has got no reply."""
        while True:
            now = trio.current_time()
            if self._sent and self._sent[0].deadline <= now:
                self._break()
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
                    call.fail(f"no connection to Redis at {self._address}")
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
async def open_redis(
    url: str,
    *,
    command_timeout: float = 5.0,
    connect_timeout: float = 5.0,
    max_waiting: int = 100_000,
    max_waiting_bytes: int = 256 * 1024 * 1024,
) -> AsyncIterator[RedisClient]:
    """Connect to Redis, and stay connected for the length of the block.

    When the block is cancelled, commands work until it ends, so that shielded cleanup
    can use them.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; see `redis_url.parse_address`.
        command_timeout: seconds for one command, waiting for a connection included.
        connect_timeout: seconds for one attempt to connect and log in.
        max_waiting: commands without a reply at which further ones are refused.
        max_waiting_bytes: unsent bytes at which further commands are refused.

    Raises:
        ConfigurationError: the URL is bad, or the first attempt to connect and log in
            fails; the text is one line, without the password.
    """
    address = parse_address(url)
    deadline = trio.current_time() + connect_timeout
    try:
        stream, reader = await connect(address, deadline, new_reader=hiredis.Reader)
    except StoreUnavailable as error:
        raise ConfigurationError(str(error)) from error
    client = RedisClient(
        address,
        command_timeout=command_timeout,
        connect_timeout=connect_timeout,
        max_waiting=max_waiting,
        max_waiting_bytes=max_waiting_bytes,
    )
    # Shielded, as cleanup in a cancelled block still needs its commands answered; the
    # block's end is the deadline.
    serving = trio.CancelScope(shield=True)

    async def serve() -> None:
        with serving:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(client.keep_connected, stream, reader)
                tasks.start_soon(client.watch_deadlines)

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            yield client
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the nursery
            failure = error  # so that it does not arrive in a group
        finally:
            serving.cancel()
    if failure is not None:
        raise failure
