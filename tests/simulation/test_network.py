"""The simulated network: order, latency, faults; and the ways that are built on it."""

import random
from collections.abc import Awaitable, Callable

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from trio.testing import MockClock

from connect.errors import StoreUnavailable
from connect.rpc.channels import open_channel_pool
from connect.rpc.errors import CallRefused, RpcError, RpcStatus
from tests.simulation.http import SimulatedTransport, serve_request
from tests.simulation.network import ByteStream, End, Network, Refused
from tests.simulation.redis import MemoryRedis
from tests.simulation.rpc import SimulatedBridge
from tests.simulation.store import HOST, Condition, NodeCommands, RedisServer

ECHO = "/test/Echo"


class Place:
    """A network with a client `a` and a server `b`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.network = Network(random.Random(0))
        self.nursery = nursery
        self.accepted: list[End] = []

    async def connect(self) -> tuple[End, End]:
        self.network.listen("b", 1, self.accepted.append)
        return await self.network.dial("a", "b", 1), self.accepted[-1]

    def spawn(
        self, nursery: trio.Nursery, function: Callable[..., Awaitable[object]], *args: object
    ) -> None:
        nursery.start_soon(function, *args)

    async def serve(self, handler: Callable[[bytes], Awaitable[bytes]]) -> SimulatedBridge:
        """Serve one unary method on `b`; return the bridge of `a`."""
        bridge = SimulatedBridge(self.network, "b", self, streams=False)

        async def serve(*, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
            await bridge.serve({ECHO: handler}, host="b", port=1, task_status=task_status)

        await self.nursery.start(serve)
        return SimulatedBridge(self.network, "a", self, streams=False)


@pytest.fixture
def place(nursery: trio.Nursery) -> Place:
    return Place(nursery)


async def echo(data: bytes) -> bytes:
    return data


async def test_things_arrive_later_and_in_order(place: Place, autojump_clock: MockClock) -> None:
    ours, theirs = await place.connect()
    sent = trio.current_time()
    for number in range(20):
        ours.put(number)
    assert [await theirs.receive() for _ in range(20)] == list(range(20))
    assert trio.current_time() > sent


async def test_nobody_is_reached_where_nobody_listens(
    place: Place, autojump_clock: MockClock
) -> None:
    with pytest.raises(Refused):
        await place.network.dial("a", "b", 1)


async def test_what_is_blocked_arrives_once_it_is_open(
    place: Place, autojump_clock: MockClock
) -> None:
    ours, theirs = await place.connect()
    place.network.block("a", "b")
    ours.put("late")
    with trio.move_on_after(10) as waiting:
        await theirs.receive()
    assert waiting.cancelled_caught
    place.network.unblock("a", "b")
    assert await theirs.receive() == "late"


async def test_a_way_blocked_twice_is_open_when_both_are_over(
    place: Place, autojump_clock: MockClock
) -> None:
    for _ in range(2):
        place.network.block("a", "b")
    place.network.unblock("a", "b")
    assert place.network.is_blocked("a", "b")
    place.network.unblock("a", "b")
    assert not place.network.is_blocked("a", "b")


async def test_the_other_direction_is_not_blocked(place: Place, autojump_clock: MockClock) -> None:
    ours, theirs = await place.connect()
    place.network.block("a", "b")
    theirs.put("back")
    assert await ours.receive() == "back"


async def test_a_deaf_host_reads_nothing_until_it_hears_again(
    place: Place, autojump_clock: MockClock
) -> None:
    ours, theirs = await place.connect()
    place.network.deafen("b")
    await ours.send("late", 100_000)
    theirs.put("back")
    assert await ours.receive() == "back"
    with trio.move_on_after(10) as waiting:
        await theirs.receive()
    assert waiting.cancelled_caught
    with trio.move_on_after(10) as stalled:
        await ours.send("more", 1)
    assert stalled.cancelled_caught
    place.network.hear("b")
    assert await theirs.receive() == "late"


async def test_a_deaf_host_takes_connections(place: Place, autojump_clock: MockClock) -> None:
    place.network.deafen("b")
    await place.connect()
    place.network.crash("a")
    assert place.network.open_ends == 1


async def test_a_sender_waits_for_a_reader_that_is_a_window_behind(
    place: Place, autojump_clock: MockClock
) -> None:
    ours, theirs = await place.connect()
    await ours.send("first", 100_000)
    with trio.move_on_after(10) as waiting:
        await ours.send("second", 1)
    assert waiting.cancelled_caught
    await theirs.receive()
    await ours.send("second", 1)
    assert await theirs.receive() == "second"


async def test_a_cut_breaks_both_ends(place: Place, autojump_clock: MockClock) -> None:
    ours, theirs = await place.connect()
    place.network.cut("b", "a")
    with pytest.raises(trio.BrokenResourceError):
        ours.put("x")
    with pytest.raises(trio.BrokenResourceError):
        await theirs.receive()


async def test_only_watched_connections_are_given_up(
    place: Place, autojump_clock: MockClock
) -> None:
    ours, _ = await place.connect()
    place.network.give_up("a", "b")
    ours.put("x")
    ours.watched = True
    place.network.give_up("a", "b")
    with pytest.raises(trio.BrokenResourceError):
        ours.put("x")


async def test_the_peer_of_a_crashed_host_reads_what_was_sent_and_then_the_end(
    place: Place,
    autojump_clock: MockClock,
) -> None:
    ours, theirs = await place.connect()
    theirs.put("last words")
    place.network.crash("b")
    assert await ours.receive() == "last words"
    with pytest.raises(trio.EndOfChannel):
        await ours.receive()


async def test_a_crashed_host_can_send_nothing(place: Place, autojump_clock: MockClock) -> None:
    _, theirs = await place.connect()
    place.network.crash("b")
    with pytest.raises(trio.ClosedResourceError):
        theirs.put("x")


async def test_a_slow_way_takes_longer(place: Place, autojump_clock: MockClock) -> None:
    ours, theirs = await place.connect()
    place.network.slow_down("a", "b", 3.0)
    sent = trio.current_time()
    ours.put("slow")
    await theirs.receive()
    assert trio.current_time() - sent >= 3


async def test_closed_ends_are_not_counted(place: Place, autojump_clock: MockClock) -> None:
    ours, theirs = await place.connect()
    assert place.network.open_ends == 2
    ours.close()
    theirs.close()
    assert place.network.open_ends == 0


async def test_bytes_come_in_the_pieces_that_are_asked_for(
    place: Place, autojump_clock: MockClock
) -> None:
    ours, theirs = map(ByteStream, await place.connect())
    await ours.send_all(b"abcde")
    await ours.send_eof()
    received = [await theirs.receive_some(2) for _ in range(4)]
    assert received == [b"ab", b"cd", b"e", b""]


# Calls


async def test_a_call_is_answered(place: Place, autojump_clock: MockClock) -> None:
    channel = (await place.serve(echo)).connect("b", 1)
    assert await channel.call(ECHO, b"x", timeout=5) == b"x"


async def test_a_method_that_nobody_knows_is_refused(
    place: Place, autojump_clock: MockClock
) -> None:
    channel = (await place.serve(echo)).connect("b", 1)
    with pytest.raises(RpcError) as caught:
        await channel.call("/test/Other", b"x", timeout=5)
    assert caught.value.status is RpcStatus.UNIMPLEMENTED


async def test_a_call_to_nobody_had_no_effect(place: Place, autojump_clock: MockClock) -> None:
    channel = SimulatedBridge(place.network, "a", place, streams=False).connect("b", 1)
    with pytest.raises(CallRefused):
        await channel.call(ECHO, b"x", timeout=5)


async def test_a_call_without_an_answer_runs_out_of_time(
    place: Place, autojump_clock: MockClock
) -> None:
    async def stuck(data: bytes) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    channel = (await place.serve(stuck)).connect("b", 1)
    with pytest.raises(RpcError) as caught:
        await channel.call(ECHO, b"x", timeout=5)
    assert caught.value.status is RpcStatus.DEADLINE_EXCEEDED


async def test_a_call_whose_connection_breaks_may_have_had_an_effect(
    place: Place, autojump_clock: MockClock
) -> None:
    async def cut(data: bytes) -> bytes:
        place.network.cut("a", "b")
        await trio.sleep_forever()
        raise AssertionError

    channel = (await place.serve(cut)).connect("b", 1)
    with pytest.raises(RpcError) as caught:
        await channel.call(ECHO, b"x", timeout=5)
    assert not isinstance(caught.value, CallRefused)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RpcError(RpcStatus.NOT_FOUND, "no"), RpcStatus.NOT_FOUND),
        (StoreUnavailable("no"), RpcStatus.UNAVAILABLE),
    ],
    ids=str,
)
async def test_what_a_handler_raises_is_the_status(
    place: Place, autojump_clock: MockClock, error: Exception, status: RpcStatus
) -> None:
    async def failing(data: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        raise error

    channel = (await place.serve(failing)).connect("b", 1)
    with pytest.raises(RpcError) as caught:
        await channel.call(ECHO, b"x", timeout=5)
    assert caught.value.status is status


async def test_a_caller_that_gives_up_cancels_the_handler(
    place: Place, autojump_clock: MockClock
) -> None:
    cancelled = trio.Event()

    async def stuck(data: bytes) -> bytes:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    channel = (await place.serve(stuck)).connect("b", 1)
    with trio.move_on_after(1):
        await channel.call(ECHO, b"x", timeout=50)
    with trio.fail_after(1):
        await cancelled.wait()


async def test_the_real_pool_of_channels_works_over_it(
    place: Place, autojump_clock: MockClock
) -> None:
    bridge = await place.serve(echo)
    async with open_channel_pool(bridge) as pool:  # type: ignore[arg-type] # in its place
        assert await pool.call("b", 1, ECHO, b"x", timeout=5) == b"x"


# HTTP


async def answer(request: Request) -> Response:
    return Response(await request.body() + b"!", 201)


async def post(place: Place, content: bytes = b"x") -> httpx.Response:
    transport = SimulatedTransport(place.network, "a")
    async with httpx.AsyncClient(transport=transport, timeout=3.0) as client:
        return await client.post("http://b:1/path", content=content)


async def test_a_request_is_answered_by_the_application(
    place: Place, autojump_clock: MockClock
) -> None:
    app = Starlette(routes=[Route("/path", answer, methods=["POST"])])
    place.network.listen("b", 1, lambda end: place.nursery.start_soon(serve_request, app, end))
    response = await post(place)
    assert (response.status_code, response.content) == (201, b"x!")


async def test_a_request_to_nobody_fails(place: Place, autojump_clock: MockClock) -> None:
    with pytest.raises(httpx.ConnectError):
        await post(place)


async def test_a_request_without_an_answer_runs_out_of_time(
    place: Place, autojump_clock: MockClock
) -> None:
    place.network.listen("b", 1, place.accepted.append)
    with pytest.raises(httpx.ReadTimeout):
        await post(place)


async def test_a_request_fails_whose_server_is_gone(
    place: Place, autojump_clock: MockClock
) -> None:
    place.network.listen("b", 1, lambda end: place.network.crash("b"))
    with pytest.raises(httpx.ReadError):
        await post(place)


# Redis


class Redis:
    """The server, and the commands of a node `a`."""

    def __init__(self, network: Network) -> None:
        rng = random.Random(0)
        self.network = network
        self.server = RedisServer(MemoryRedis(trio.current_time), network, rng)
        self.commands = NodeCommands(self.server, network, "a", 5.0)

    def value(self) -> object:
        return self.server.database.execute(("GET", "key"))


@pytest.fixture
def redis(place: Place) -> Redis:
    return Redis(place.network)


async def test_commands_are_carried_out_in_the_order_in_which_they_are_sent(
    redis: Redis, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(redis.commands.execute, "HSET", "order", str(number), "x")
            await trio.lowlevel.checkpoint()
    order = await redis.commands.execute("HKEYS", "order")
    assert order == [b"%d" % number for number in range(20)]


async def test_a_redis_that_refuses_carries_nothing_out(
    redis: Redis, autojump_clock: MockClock
) -> None:
    redis.server.become(Condition.REFUSING)
    with pytest.raises(StoreUnavailable):
        await redis.commands.execute("SET", "key", "x")
    assert redis.value() is None


async def test_it_is_known_since_when_redis_refuses(
    redis: Redis, autojump_clock: MockClock
) -> None:
    began = trio.current_time()
    redis.server.become(Condition.REFUSING)
    await trio.sleep(3)
    assert redis.commands.unreachable_since == began
    redis.server.become(Condition.HANGING)
    assert redis.commands.unreachable_since is None


async def test_a_redis_that_forgets_answers_carries_out(
    redis: Redis, autojump_clock: MockClock
) -> None:
    redis.server.become(Condition.FORGETFUL)
    with pytest.raises(StoreUnavailable):
        await redis.commands.execute("SET", "key", "x")
    assert redis.value() == b"x"


async def test_a_redis_that_hangs_carries_out_later(
    redis: Redis, autojump_clock: MockClock
) -> None:
    redis.server.become(Condition.HANGING)
    with pytest.raises(StoreUnavailable):
        await redis.commands.execute("SET", "key", "x")
    redis.server.become(Condition.WELL)
    assert redis.value() == b"x"


async def test_what_cannot_reach_redis_in_time_is_not_carried_out(
    redis: Redis, autojump_clock: MockClock
) -> None:
    redis.network.block("a", HOST)
    with pytest.raises(StoreUnavailable):
        await redis.commands.execute("SET", "key", "x")
    redis.network.unblock("a", HOST)
    await trio.sleep(10)
    assert redis.value() is None


async def test_an_answer_that_cannot_come_back_is_none(
    redis: Redis, autojump_clock: MockClock
) -> None:
    redis.network.block(HOST, "a")
    with pytest.raises(StoreUnavailable):
        await redis.commands.execute("SET", "key", "x")
    assert redis.value() == b"x"


async def test_a_dead_node_asks_nothing(
    redis: Redis, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def ask() -> None:
        with pytest.raises(StoreUnavailable):
            await redis.commands.execute("SET", "key", "x")

    nursery.start_soon(ask)
    await trio.testing.wait_all_tasks_blocked()
    redis.commands.die()
    await ask()
    await trio.sleep(10)
    assert redis.value() is None
