"""The pipelined client: order, deadlines, broken connections, limits. Its server is in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hiredis
import pytest
import trio
import trio.testing

from connect.errors import ConfigurationError, StoreUnavailable
from connect.state.commands import CommandError, load_script
from connect.state.redis_client import RedisClient, open_redis
from connect.state.redis_dial import Connection
from connect.state.redis_url import RedisAddress

Clock = trio.testing.MockClock
ServerEnd = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


class FakeServer:
    """Hands out memory streams as connections; the test plays the server on each.

    Attributes:
        ends: the server's ends, one for each connection made.
        attempts: when connections were tried, on the Trio clock.
        down: True refuses connections.
    """

    def __init__(self) -> None:
        self.ends: list[ServerEnd] = []
        self.attempts: list[float] = []
        self.connected = trio.Event()
        self.down = False

    async def dial(self, address: RedisAddress, deadline: float) -> Connection:
        await trio.lowlevel.checkpoint()
        self.attempts.append(trio.current_time())
        if self.down:
            raise StoreUnavailable("down")
        client_end, server_end = trio.testing.memory_stream_pair()
        self.ends.append(server_end)
        self.connected.set()
        self.connected = trio.Event()
        return client_end, hiredis.Reader()

    async def received(self, connection: int = -1) -> list[list[bytes]]:
        """Return the commands that arrived since last asked."""
        await trio.testing.wait_all_tasks_blocked()
        reader = hiredis.Reader()
        with trio.move_on_after(0.001):
            reader.feed(bytes(await self.ends[connection].receive_some()))
        commands = []
        while (command := reader.gets()) is not False:
            commands.append(command)
        return commands

    async def reply(self, data: bytes, connection: int = -1) -> None:
        await self.ends[connection].send_all(data)
        await trio.testing.wait_all_tasks_blocked()


class Caller:
    """A task that runs one command and keeps what became of it."""

    def __init__(self, nursery: trio.Nursery, client: RedisClient, *args: str) -> None:
        self.reply: object = None
        self.error: Exception | None = None
        self.finished_at: float | None = None
        self.scope = trio.CancelScope()
        nursery.start_soon(self._run, client, args)

    async def _run(self, client: RedisClient, args: tuple[str, ...]) -> None:
        with self.scope:
            try:
                self.reply = await client.execute(*args)
            except (StoreUnavailable, CommandError) as error:
                self.error = error
            self.finished_at = trio.current_time()


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@asynccontextmanager
async def opened(
    server: FakeServer, **limits: int
) -> AsyncIterator[tuple[RedisClient, trio.Nursery]]:
    async with (
        open_redis("redis://fake", dial=server.dial, **limits) as client,
        trio.open_nursery() as nursery,
    ):
        yield client, nursery
        nursery.cancel_scope.cancel()


async def test_waiting_commands_are_written_in_one_go(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        callers = [Caller(nursery, client, "GET", str(i)) for i in range(3)]
        sent = await server.received()
        assert sorted(command[1] for command in sent) == [b"0", b"1", b"2"]
        await server.reply(b"".join(b"+%s\r\n" % command[1] for command in sent))
        assert [caller.reply for caller in callers] == [b"0", b"1", b"2"]
        assert client.round_trips == 3


async def test_reply_may_arrive_in_pieces(server: FakeServer, autojump_clock: Clock) -> None:
    async with opened(server) as (client, nursery):
        caller = Caller(nursery, client, "GET", "x")
        await server.received()
        for piece in (b"$5\r\nhe", b"llo\r", b"\n"):
            await server.reply(piece)
        assert caller.reply == b"hello"


async def test_cancelled_callers_reply_is_discarded_in_its_turn(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        first = Caller(nursery, client, "GET", "1")
        await server.received()
        second = Caller(nursery, client, "GET", "2")
        await server.received()
        first.scope.cancel()
        await server.reply(b"+one\r\n+two\r\n")
        assert (first.reply, second.reply) == (None, b"two")


async def test_command_cancelled_before_it_was_sent_is_never_sent(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        await server.ends[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        cancelled = Caller(nursery, client, "GET", "1")
        kept = Caller(nursery, client, "GET", "2")
        await trio.testing.wait_all_tasks_blocked()
        cancelled.scope.cancel()
        await reconnected(server)
        assert await server.received() == [[b"GET", b"2"]]
        await server.reply(b"+two\r\n")
        assert kept.reply == b"two"


async def reconnected(server: FakeServer, connections: int = 2) -> None:
    with trio.fail_after(60):
        while len(server.ends) < connections:
            await server.connected.wait()


@pytest.mark.parametrize("how", ["closed", "nonsense", "unasked", "unwritable"])
async def test_broken_connection_is_replaced(
    server: FakeServer, autojump_clock: Clock, how: str
) -> None:
    async with opened(server) as (client, nursery):
        if how == "closed":
            await server.ends[0].aclose()
        elif how == "nonsense":
            await server.reply(b"HTTP/1.1 400\r\n")
        elif how == "unasked":
            await server.reply(b"+hello\r\n")
        else:
            await server.ends[0].receive_stream.aclose()
            caller = Caller(nursery, client, "GET", "1")
        await reconnected(server)
        if how == "unwritable":
            assert isinstance(caller.error, StoreUnavailable)
        caller = Caller(nursery, client, "GET", "2")
        await server.received()
        await server.reply(b"+two\r\n")
        assert caller.reply == b"two"


async def test_command_that_may_have_been_sent_fails_and_is_not_repeated(
    server: FakeServer,
    autojump_clock: Clock,
) -> None:
    async with opened(server) as (client, nursery):
        caller = Caller(nursery, client, "INCR", "x")
        assert await server.received() == [[b"INCR", b"x"]]
        await server.ends[0].aclose()
        await reconnected(server)
        assert isinstance(caller.error, StoreUnavailable)
        assert await server.received() == []


async def test_unsent_commands_wait_for_the_next_connection(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        server.down = True
        await server.ends[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        caller = Caller(nursery, client, "GET", "x")
        await trio.sleep(3)
        server.down = False
        await reconnected(server)
        await server.received()
        await server.reply(b"+x\r\n")
        assert caller.reply == b"x"


async def test_unsent_command_fails_at_its_deadline(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        server.down = True
        await server.ends[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        caller = Caller(nursery, client, "GET", "x")
        await trio.sleep(10)
        assert isinstance(caller.error, StoreUnavailable)
        assert caller.finished_at == pytest.approx(start + 5, abs=0.01)


async def test_silent_server_fails_each_command_at_its_deadline(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        start = trio.current_time()
        caller = Caller(nursery, client, "GET", "x")
        await trio.sleep(10)
        assert isinstance(caller.error, StoreUnavailable)
        assert caller.finished_at == pytest.approx(start + 5, abs=0.01)


async def test_silent_connection_is_replaced_at_the_oldest_commands_deadline(
    server: FakeServer,
    autojump_clock: Clock,
) -> None:
    async with opened(server) as (client, nursery):
        start = trio.current_time()
        first = Caller(nursery, client, "GET", "x")
        await trio.sleep(3)
        second = Caller(nursery, client, "GET", "y")
        await trio.sleep(3)
        assert first.finished_at == second.finished_at == pytest.approx(start + 5)
        assert len(server.ends) == 2


async def test_deadlines_are_watched_again_after_a_quiet_time(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        Caller(nursery, client, "GET", "1")
        await server.received()
        await server.reply(b"+1\r\n")
        await trio.sleep(100)
        start = trio.current_time()
        caller = Caller(nursery, client, "GET", "2")
        await trio.sleep(6)
        assert caller.finished_at == pytest.approx(start + 5, abs=0.01)


async def test_reconnecting_backs_off_from_50_ms_to_half_a_second(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server):
        server.down = True
        start = trio.current_time()
        await server.ends[0].aclose()
        await trio.sleep(60)
        pauses = [b - a for a, b in zip(server.attempts[1:], server.attempts[2:], strict=False)]
        assert server.attempts[1] - start <= 0.05
        assert pauses[0] <= 0.1
        assert all(0.25 <= pause <= 0.5 for pause in pauses[6:])


async def test_server_is_reachable_from_the_start(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, _):
        await trio.testing.wait_all_tasks_blocked()
        assert client.unreachable_since is None


async def test_server_is_unreachable_since_its_connection_was_lost_whatever_is_tried(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, _):
        await trio.sleep(7)
        server.down = True
        await server.ends[0].aclose()
        lost_at = trio.current_time()
        await trio.sleep(30)
        assert len(server.attempts) > 5
        assert client.unreachable_since == lost_at


async def test_server_is_reachable_once_it_is_connected_again(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, _):
        server.down = True
        await server.ends[0].aclose()
        await trio.sleep(5)
        server.down = False
        await reconnected(server)
        await trio.testing.wait_all_tasks_blocked()
        assert client.unreachable_since is None


async def test_server_is_unreachable_anew_when_the_next_connection_is_lost(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, _):
        await server.ends[0].aclose()
        await reconnected(server)
        await trio.sleep(3)
        server.down = True
        await server.ends[1].aclose()
        lost_at = trio.current_time()
        await trio.sleep(3)
        assert client.unreachable_since == lost_at


async def test_silent_server_is_unreachable_no_sooner_than_a_command_has_failed(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        caller = Caller(nursery, client, "GET", "x")
        await server.received()
        server.down = True
        await trio.sleep(4)
        assert client.unreachable_since is None
        await trio.sleep(4)
        assert client.unreachable_since == caller.finished_at


async def test_caller_that_a_broken_connection_fails_finds_the_server_unreachable(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        found: list[float | None] = []

        async def call() -> None:
            with pytest.raises(StoreUnavailable):
                await client.execute("GET", "x")
            found.append(client.unreachable_since)

        server.down = True
        nursery.start_soon(call)
        await trio.sleep(10)
        assert None not in found
        assert len(found) == 1


async def test_too_many_waiting_commands_are_refused(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server, max_waiting=2) as (client, nursery):
        callers = [Caller(nursery, client, "GET", str(i)) for i in range(3)]
        await server.received()
        assert sorted(caller.error is not None for caller in callers) == [False, False, True]


async def test_too_many_waiting_bytes_are_refused(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server, max_waiting_bytes=1000) as (client, _):
        with pytest.raises(StoreUnavailable):
            await client.execute("SET", "x", "y" * 1000)


async def test_refused_command_is_a_command_error(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        caller = Caller(nursery, client, "GET")
        await server.received()
        await server.reply(b"-ERR wrong number of arguments\r\n")
        assert str(caller.error) == (
            "the state store refused a command: ERR wrong number of arguments"
        )


async def test_loading_server_is_unavailable_on_the_same_connection(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        caller = Caller(nursery, client, "GET", "x")
        await server.received()
        await server.reply(b"-LOADING Redis is loading the dataset in memory\r\n")
        assert isinstance(caller.error, StoreUnavailable)
        assert len(server.ends) == 1


async def test_read_only_server_is_unavailable_and_left(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        caller = Caller(nursery, client, "SET", "x", "y")
        await server.received()
        await server.reply(b"-READONLY You can't write against a read only replica.\r\n")
        await reconnected(server)
        assert isinstance(caller.error, StoreUnavailable)


async def test_late_read_only_answer_finds_no_connection_to_leave(
    server: FakeServer, autojump_clock: Clock
) -> None:
    async with opened(server) as (client, nursery):
        caller = Caller(nursery, client, "SET", "x", "y")
        await server.received()
        await server.ends[0].send_all(b"-READONLY You can't write.\r\n")
        await server.ends[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(caller.error, StoreUnavailable)


async def test_script_is_sent_with_its_text_once_the_server_has_forgotten_it(
    server: FakeServer,
    autojump_clock: Clock,
) -> None:
    script = load_script("find_function")
    async with opened(server) as (client, nursery):
        nursery.start_soon(client.run, script, ["a", "b"], ["c"])
        assert (await server.received())[0][:2] == [b"EVALSHA", script.sha1.encode()]
        await server.reply(b"-NOSCRIPT No matching script.\r\n")
        sent = await server.received()
        assert sent == [[b"EVAL", script.text.encode(), b"2", b"a", b"b", b"c"]]
        await server.reply(b"$-1\r\n")


async def test_refused_script_is_a_command_error(server: FakeServer, autojump_clock: Clock) -> None:
    async with opened(server) as (client, nursery):

        async def run() -> None:
            with pytest.raises(CommandError):
                await client.run(load_script("load"), ["a"])

        nursery.start_soon(run)
        await server.received()
        await server.reply(b"-ERR Error running script\r\n")


async def test_closing_fails_those_who_wait(server: FakeServer, autojump_clock: Clock) -> None:
    async with trio.open_nursery() as nursery:
        async with open_redis("redis://fake", dial=server.dial) as client:
            sent = Caller(nursery, client, "GET", "x")
            await server.received()
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(sent.error, StoreUnavailable)
        with pytest.raises(StoreUnavailable):
            await client.execute("GET", "y")


async def test_cleanup_in_a_cancelled_block_gets_its_replies(
    server: FakeServer, autojump_clock: Clock
) -> None:
    replies: list[object] = []
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            async with open_redis("redis://fake", dial=server.dial) as client:
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(deadline=trio.current_time() + 5, shield=True):
                        replies.append(await client.execute("DEL", "x"))

        nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert await server.received() == [[b"DEL", b"x"]]
            await server.reply(b":1\r\n")
    assert replies == [1]


async def test_error_in_the_block_arrives_as_it_is(
    server: FakeServer, autojump_clock: Clock
) -> None:
    with pytest.raises(KeyError):
        async with open_redis("redis://fake", dial=server.dial):
            raise KeyError


async def test_first_connection_failing_is_a_configuration_error(
    server: FakeServer, autojump_clock: Clock
) -> None:
    server.down = True
    with pytest.raises(ConfigurationError, match=r"^down$"):
        async with open_redis("redis://fake", dial=server.dial):
            pass
