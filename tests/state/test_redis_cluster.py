"""The cluster client: where commands go, and which are sent again. Its nodes are fake."""

from contextlib import AbstractAsyncContextManager

import pytest
import redis.crc
import trio
import trio.testing

from connect.errors import ConfigurationError, StoreUnavailable
from connect.state.commands import CommandError, Script, load_script
from connect.state.redis_cluster import ClusterClient, open_cluster
from connect.state.redis_dial import Connection
from connect.state.redis_pipeline import NOT_SENT, RedisLimits, RedisPipeline
from tests.state.fake_nodes import SILENCE, Answer, FakeNodes, FakeRange

Clock = trio.testing.MockClock

# Keys whose slots nodes 1 and 2 serve.
LOW, HIGH = "b", "a"
SLOT = redis.crc.key_slot(HIGH.encode())


@pytest.fixture
async def nodes(nursery: trio.Nursery) -> FakeNodes:
    return FakeNodes(nursery)


def opened(nodes: FakeNodes, **limits: int) -> AbstractAsyncContextManager[ClusterClient]:
    return open_cluster("redis+cluster://node:1,node:2", dial=nodes.dial, **limits)


def moved(to: str, slot: int = SLOT) -> Answer:
    return lambda command: f"-MOVED {slot} {to}\r\n".encode()


def in_turn(*answers: bytes) -> Answer:
    """Answer with each in turn, and with the last one from then on."""
    left = list(answers)
    return lambda command: left.pop(0) if len(left) > 1 else left[0]


async def failure_of(client: ClusterClient, *command: str) -> Exception | None:
    try:
        await client.execute(*command)
    except (StoreUnavailable, CommandError) as error:
        return error
    return None


def test_the_keys_of_these_tests_are_where_they_say() -> None:
    assert redis.crc.key_slot(LOW.encode()) < 8192 <= SLOT


async def test_command_goes_to_the_node_of_its_key(nodes: FakeNodes, autojump_clock: Clock) -> None:
    async with opened(nodes) as client:
        assert await client.execute("GET", LOW) == b"1"
        assert await client.execute("GET", HIGH) == b"2"
        assert await client.execute("GET", f"{{{HIGH}}}:any") == b"2"
        assert await client.execute("GET", HIGH.encode()) == b"2"
        assert await client.execute("EVAL", "return 1", 1, HIGH) == b"2"
        assert await client.execute("OBJECT", "ENCODING", HIGH) == b"2"
        assert client.round_trips == 6


async def test_script_goes_to_the_node_of_its_first_key_and_is_loaded_there(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.answers[2] = in_turn(b"-NOSCRIPT No matching script.\r\n", b":7\r\n")
    script = load_script("load")
    async with opened(nodes) as client:
        assert await client.run(script, [HIGH], ["0"]) == 7
    assert [(port, command[:2]) for port, command in nodes.got] == [
        (2, [b"EVALSHA", script.sha1.encode()]),
        (2, [b"EVAL", script.text.encode()]),
    ]


async def test_refused_script_is_a_command_error(nodes: FakeNodes, autojump_clock: Clock) -> None:
    nodes.answers[2] = in_turn(b"-ERR bad\r\n")
    async with opened(nodes) as client:
        with pytest.raises(CommandError):
            await client.run(load_script("load"), [HIGH])


async def test_command_that_names_no_key_is_refused(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    async with opened(nodes) as client:
        for command in (("INFO",), ("SCAN", "0"), ("GET",)):
            assert isinstance(await failure_of(client, *command), CommandError)
        with pytest.raises(CommandError):
            await client.run(Script("keyless", "return 1", "0" * 40), [])
    assert nodes.got == []


async def test_ping_asks_every_master(nodes: FakeNodes, autojump_clock: Clock) -> None:
    async with opened(nodes) as client:
        await client.execute("PING")
    assert sorted(nodes.got) == [(1, [b"PING"]), (2, [b"PING"])]


async def test_lists_of_every_master_are_joined(nodes: FakeNodes, autojump_clock: Clock) -> None:
    nodes.answers[1] = in_turn(b"*1\r\n+x\r\n")
    nodes.answers[2] = in_turn(b"*1\r\n+y\r\n")
    async with opened(nodes) as client:
        assert sorted(await client.execute("KEYS", "*")) == [b"x", b"y"]


async def test_ping_fails_when_one_master_refuses(nodes: FakeNodes, autojump_clock: Clock) -> None:
    nodes.answers[2] = in_turn(b"-MASTERDOWN Link with MASTER is down\r\n")
    async with opened(nodes) as client:
        with pytest.raises(StoreUnavailable):
            await client.execute("PING")


async def test_ping_fails_while_slots_have_no_master(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.ranges = (FakeRange(0, 8191, (1,)),)
    async with opened(nodes) as client:
        with pytest.raises(StoreUnavailable, match="no master"):
            await client.execute("PING")


async def test_moved_slot_is_followed_and_remembered(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.answers[2] = moved("node:3")
    async with opened(nodes) as client:
        for _ in range(2):
            assert await client.execute("GET", HIGH) == b"3"
    assert [port for port, _ in nodes.got] == [2, 3, 3]


async def test_moved_slot_has_the_topology_read_again(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.answers[2] = moved("node:3")
    async with opened(nodes) as client:
        nodes.ranges = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (3,)))
        await client.execute("GET", HIGH)
        await trio.sleep(1)
        assert nodes.open.get(2) == []
        assert await client.execute("GET", "d") == b"3"
    assert [port for port, _ in nodes.got] == [2, 3, 3]


async def test_moved_without_a_host_means_the_host_that_was_asked(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.answers[2] = moved(":3")
    async with opened(nodes) as client:
        await client.execute("GET", HIGH)
    assert {(address.host, address.port) for address in nodes.dialled} >= {("node", 3)}


async def test_nodes_that_send_each_other_commands_are_given_up_at_the_deadline(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.answers[1] = moved("node:2")
    nodes.answers[2] = moved("node:1")
    async with opened(nodes, command_timeout=2) as client:
        start = trio.current_time()
        assert isinstance(await failure_of(client, "GET", HIGH), StoreUnavailable)
        assert trio.current_time() - start == pytest.approx(2, abs=0.01)
    assert len(nodes.got) < 30


async def test_asked_command_follows_asking_and_the_slot_stays(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.answers[2] = in_turn(f"-ASK {SLOT} node:1\r\n".encode(), b"+two\r\n")
    nodes.answers[1] = lambda command: b"+OK\r\n" if command == [b"ASKING"] else b"+one\r\n"
    async with opened(nodes) as client:
        assert await client.execute("GET", HIGH) == b"one"
        assert await client.execute("GET", HIGH) == b"two"
    get = [b"GET", HIGH.encode()]
    assert nodes.got == [(2, get), (1, [b"ASKING"]), (1, get), (2, get)]


@pytest.mark.parametrize("word", ["TRYAGAIN", "CLUSTERDOWN"])
async def test_what_cannot_be_served_for_a_moment_is_sent_again(
    nodes: FakeNodes, autojump_clock: Clock, word: str
) -> None:
    nodes.answers[2] = in_turn(*[f"-{word} wait\r\n".encode()] * 4, b"+done\r\n")
    async with opened(nodes) as client:
        assert await client.execute("GET", HIGH) == b"done"


@pytest.mark.parametrize("word", ["TRYAGAIN", "CLUSTERDOWN"])
async def test_what_cannot_be_served_in_time_is_unavailable(
    nodes: FakeNodes, autojump_clock: Clock, word: str
) -> None:
    nodes.answers[2] = in_turn(f"-{word} wait\r\n".encode())
    async with opened(nodes) as client:
        start = trio.current_time()
        error = await failure_of(client, "GET", HIGH)
        assert isinstance(error, StoreUnavailable)
        assert word in str(error)
        assert trio.current_time() - start == pytest.approx(5, abs=0.01)


async def test_other_refusals_are_not_sent_again(nodes: FakeNodes, autojump_clock: Clock) -> None:
    nodes.answers[2] = in_turn(b"-ERR wrong\r\n", b"-LOADING wait\r\n")
    async with opened(nodes) as client:
        assert isinstance(await failure_of(client, "GET", HIGH), CommandError)
        assert isinstance(await failure_of(client, "GET", HIGH), StoreUnavailable)
    assert len(nodes.got) == 2


async def test_slot_without_a_master_is_served_when_it_gets_one(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    whole, nodes.ranges = nodes.ranges, (FakeRange(0, 8191, (1,)),)
    async with opened(nodes) as client, trio.open_nursery() as nursery:
        replies: list[bytes] = []

        async def get() -> None:
            replies.append(await client.execute("GET", HIGH))

        nursery.start_soon(get)
        await trio.sleep(2)
        assert replies == []
        nodes.ranges = whole
        await trio.sleep(2)
        assert replies == [b"2"]


async def test_commands_wait_for_the_replica_of_a_dead_master(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.ranges = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (2, 3)))
    async with opened(nodes) as client, trio.open_nursery() as nursery:
        replies: list[bytes] = []

        async def get() -> None:
            replies.append(await client.execute("GET", HIGH))

        await nodes.kill(2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(get)
        await trio.sleep(2)
        nodes.ranges = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (3,)))
        await trio.sleep(2)
        assert replies == [b"3"]
        assert client.round_trips == 1


async def test_command_that_a_dead_master_may_have_executed_is_not_repeated(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.ranges = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (2, 3)))
    nodes.answers[2] = in_turn(SILENCE)
    async with opened(nodes) as client, trio.open_nursery() as nursery:
        errors: list[Exception | None] = []

        async def increment() -> None:
            errors.append(await failure_of(client, "INCR", HIGH))

        nursery.start_soon(increment)
        await trio.testing.wait_all_tasks_blocked()
        nodes.ranges = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (3,)))
        await nodes.kill(2)
        await trio.sleep(2)
        assert isinstance(errors[0], StoreUnavailable)
        assert [port for port, _ in nodes.got] == [2]


async def test_cluster_is_reachable_while_any_master_is_connected(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    async with opened(nodes) as client:
        await nodes.kill(2)
        await trio.sleep(10)
        assert client.unreachable_since is None


async def test_cluster_is_unreachable_since_its_last_master_was_lost(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    async with opened(nodes) as client:
        await nodes.kill(2)
        await trio.sleep(10)
        await nodes.kill(1)
        lost_at = trio.current_time()
        await trio.sleep(10)
        assert client.unreachable_since == lost_at
        nodes.down = {2}
        await trio.sleep(3)
        assert client.unreachable_since is None


async def test_master_that_takes_the_place_of_another_ends_no_outage_before_it_is_connected(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.ranges = (FakeRange(0, 16383, (1, 3)),)
    async with opened(nodes) as client:
        await nodes.kill(1)
        lost_at = trio.current_time()
        nodes.down.add(2)
        await trio.sleep(5)
        nodes.ranges = (FakeRange(0, 16383, (2, 3)),)
        await trio.sleep(5)
        assert 2 in [address.port for address in nodes.dialled]
        assert client.unreachable_since == lost_at
        nodes.down.remove(2)
        await trio.sleep(3)
        assert client.unreachable_since is None


async def test_reply_of_a_node_that_has_lost_its_slots_is_awaited(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.answers[2] = in_turn(SILENCE, f"-MOVED {SLOT} node:3\r\n".encode())
    async with opened(nodes) as client, trio.open_nursery() as nursery:
        replies: list[bytes] = []

        async def get() -> None:
            replies.append(await client.execute("GET", HIGH))

        nursery.start_soon(get)
        await trio.testing.wait_all_tasks_blocked()
        nodes.ranges = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (3,)))
        nodes.answers[1] = moved("node:3", slot=0)
        await client.execute("GET", LOW)
        await trio.sleep(1)
        assert replies == []
        await nodes.open[2][0].send_all(b"+late\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert replies == [b"late"]
        assert nodes.open[2] == []


async def test_retired_pipeline_sends_nothing(autojump_clock: Clock) -> None:
    async def never(deadline: float) -> Connection:
        raise StoreUnavailable("never")

    pipeline = RedisPipeline("a node", never, RedisLimits())
    pipeline.retire()
    assert await pipeline.call(b"", trio.current_time() + 5) is NOT_SENT
    await pipeline.serve()


async def test_ping_that_meets_a_replaced_master_is_unavailable(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    async with opened(nodes) as client:
        await nodes.kill(2)
        await trio.testing.wait_all_tasks_blocked()
        nodes.ranges = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (3,)))
        with pytest.raises(StoreUnavailable, match="replaced"):
            await client.execute("PING")
        assert await client.execute("PING") == b"3"


async def test_old_view_of_a_node_that_was_cut_off_is_not_believed(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    old = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (2, 4)))
    new = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (3,)))
    async with opened(nodes) as client:
        nodes.ranges = new
        nodes.views = {1: (b"fail", 9, old), 4: (b"ok", 1, old), 2: (b"ok", 2, new)}
        nodes.answers[2] = moved("node:3")
        await client.execute("GET", HIGH)
        await trio.sleep(1)
        assert await client.execute("GET", "d") == b"3"


async def test_node_that_was_reset_is_not_believed(nodes: FakeNodes, autojump_clock: Clock) -> None:
    async with opened(nodes) as client:
        nodes.ranges = ()
        nodes.answers[2] = in_turn(b"-LOADING wait\r\n", b"+well\r\n")
        await failure_of(client, "GET", HIGH)
        await trio.sleep(1)
        assert await client.execute("GET", HIGH) == b"well"


async def test_node_that_hangs_up_when_asked_is_passed_over(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.rude = {1}
    async with open_cluster("redis+cluster://node:1,node:2", dial=nodes.dial) as client:
        assert await client.execute("GET", HIGH) == b"2"


async def test_silent_node_does_not_keep_others_from_being_asked(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.ranges = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (2, 3)))
    async with opened(nodes) as client:
        nodes.silent = {3}
        await nodes.kill(2)
        nodes.silent.add(2)
        await trio.testing.wait_all_tasks_blocked()
        nodes.ranges = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (4,)))
        start = trio.current_time()
        assert await client.execute("GET", HIGH) == b"4"
        assert trio.current_time() - start < 1


async def test_topology_is_read_once_a_second_at_most_while_nothing_answers(
    nodes: FakeNodes, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connect.state.redis_pipeline._BACKOFF_MAX", 2.0)
    async with opened(nodes):
        for port in (1, 2):
            await nodes.kill(port)
        await trio.sleep(10)
        nodes.dialled.clear()
        await trio.sleep(60)
        # Each reading tries two nodes, and each node's own pipeline goes on trying, too.
        assert len(nodes.dialled) <= 2 * 120 + 2 * 60


async def test_too_many_commands_between_attempts_are_refused(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.answers[2] = in_turn(b"-TRYAGAIN wait\r\n")
    async with opened(nodes, max_waiting=2) as client:
        errors: list[Exception | None] = []

        async def get() -> None:
            errors.append(await failure_of(client, "GET", HIGH))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(get)
                await trio.testing.wait_all_tasks_blocked()
        assert sum("too many" in str(error) for error in errors) == 2


async def test_cancelled_command_is_not_sent_again(nodes: FakeNodes, autojump_clock: Clock) -> None:
    nodes.answers[2] = in_turn(b"-TRYAGAIN wait\r\n", b"+done\r\n")
    async with opened(nodes) as client:
        with trio.move_on_after(0) as scope:
            await client.execute("GET", HIGH)
        assert scope.cancelled_caught
        await trio.sleep(1)
    assert len(nodes.got) <= 1


async def test_nodes_get_the_login_and_tls_of_the_url(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    url = "rediss+cluster://ann:s3cret@node:1"
    async with open_cluster(url, dial=nodes.dial):
        pass
    assert {(address.username, address.password) for address in nodes.dialled} == {
        ("ann", "s3cret")
    }
    assert {address.port for address in nodes.dialled} == {1, 2}
    assert None not in {address.tls for address in nodes.dialled}


async def test_first_seeds_may_be_down(nodes: FakeNodes, autojump_clock: Clock) -> None:
    nodes.down = {3, 4, 5, 6, 7, 8}
    places = ",".join(f"node:{port}" for port in (3, 4, 5, 6, 7, 8, 1))
    async with open_cluster(f"redis+cluster://{places}", dial=nodes.dial) as client:
        assert await client.execute("GET", HIGH) == b"2"


@pytest.mark.parametrize("how", ["down", "silent"])
async def test_no_seed_answering_is_a_configuration_error(
    nodes: FakeNodes, autojump_clock: Clock, how: str
) -> None:
    getattr(nodes, how).update({1, 2})
    with pytest.raises(ConfigurationError, match=r"node:1 .*any other node") as raised:
        async with opened(nodes):
            pass
    assert "\n" not in str(raised.value)


async def test_unreachable_master_is_a_configuration_error_and_nothing_stays_open(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.ranges = (FakeRange(0, 8191, (1,)), FakeRange(8192, 16383, (3,)))
    nodes.down = {3}
    with pytest.raises(ConfigurationError, match=r"^node:3 is down$"):
        async with opened(nodes):
            pass
    await trio.testing.wait_all_tasks_blocked()
    assert not any(nodes.open.values())


async def test_cluster_without_slots_is_a_configuration_error(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.ranges = ()
    with pytest.raises(ConfigurationError, match="serves no slots"):
        async with opened(nodes):
            pass


async def test_cluster_that_answers_oddly_is_a_configuration_error(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.odd = {1, 2}
    with pytest.raises(ConfigurationError, match="unknown form"):
        async with opened(nodes):
            pass


async def test_url_of_one_server_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="names no cluster"):
        async with open_cluster("redis://node"):
            pass


async def test_closing_fails_those_who_wait_and_leaves_nothing_open(
    nodes: FakeNodes, autojump_clock: Clock
) -> None:
    nodes.answers[2] = in_turn(SILENCE)
    errors: list[Exception | None] = []
    async with trio.open_nursery() as nursery, opened(nodes) as client:

        async def get() -> None:
            errors.append(await failure_of(client, "GET", HIGH))

        nursery.start_soon(get)
        await trio.testing.wait_all_tasks_blocked()
    assert isinstance(errors[0], StoreUnavailable)
    assert isinstance(await failure_of(client, "GET", LOW), StoreUnavailable)
    await trio.testing.wait_all_tasks_blocked()
    assert not any(nodes.open.values())
