"""Finding and following the master that sentinels name. All servers are fake."""

from contextlib import AbstractAsyncContextManager

import pytest
import trio
import trio.testing

from connect.errors import ConfigurationError, StoreUnavailable
from connect.state.redis_client import RedisClient, open_redis
from tests.state.fake_nodes import SILENCE, Answer, Command, FakeNodes

Clock = trio.testing.MockClock

# Ports: sentinels are 1 and 2, servers 3 and 4.
URL = "redis+sentinel://:s3cret@node:1,node:2/state/5?sentinel_password=wh0"


class Watched:
    """Two sentinels that name port 3 as the master, which is so."""

    def __init__(self, nodes: FakeNodes) -> None:
        self.nodes = nodes
        self.masters = {3}
        for sentinel in (1, 2):
            self.name(sentinel, 3)
        for server in (3, 4):
            nodes.answers[server] = self.server(server)

    def name(self, sentinel: int, server: int | None) -> None:
        """Have a sentinel name the server as the master, or none."""
        reply = b"*-1\r\n" if server is None else b"*2\r\n$4\r\nnode\r\n$1\r\n%d\r\n" % server
        self.nodes.answers[sentinel] = lambda command: reply

    def server(self, port: int) -> Answer:
        def answer(command: Command) -> bytes:
            if command == [b"ROLE"]:
                role = b"master" if port in self.masters else b"slave"
                return b"*2\r\n$%d\r\n%s\r\n:0\r\n" % (len(role), role)
            return b"+%d\r\n" % port

        return answer

    def fail_over(self) -> None:
        """Make port 4 the master, and have all sentinels say so."""
        self.masters = {4}
        for sentinel in (1, 2):
            self.name(sentinel, 4)


@pytest.fixture
async def watched(nursery: trio.Nursery) -> Watched:
    return Watched(FakeNodes(nursery))


def opened(watched: Watched, url: str = URL) -> AbstractAsyncContextManager[RedisClient]:
    return open_redis(url, dial=watched.nodes.dial)


async def test_master_that_the_sentinels_name_is_used(
    watched: Watched, autojump_clock: Clock
) -> None:
    async with opened(watched) as client:
        assert await client.execute("GET", "x") == b"3"
    asked = [(1, [b"SENTINEL", b"get-master-addr-by-name", b"state"]), (3, [b"ROLE"])]
    assert watched.nodes.got[:2] == asked


async def test_sentinels_and_master_have_logins_of_their_own(
    watched: Watched, autojump_clock: Clock
) -> None:
    async with opened(watched):
        pass
    [sentinel, master] = watched.nodes.dialled
    assert (sentinel.port, sentinel.password, sentinel.db) == (1, "wh0", 0)
    assert (master.port, master.password, master.db) == (3, "s3cret", 5)


@pytest.mark.parametrize("how", ["down", "silent", "ignorant", "speechless", "odd"])
async def test_next_sentinel_is_asked_when_the_first_is_of_no_use(
    watched: Watched, autojump_clock: Clock, how: str
) -> None:
    if how == "ignorant":
        watched.name(1, None)
    elif how == "odd":
        watched.nodes.answers[1] = lambda command: b"*1\r\n:1\r\n"
    elif how == "speechless":
        watched.nodes.answers[1] = lambda command: SILENCE
    else:
        getattr(watched.nodes, how).add(1)
    start = trio.current_time()
    async with opened(watched) as client:
        assert trio.current_time() - start <= 1.01
        assert await client.execute("GET", "x") == b"3"


async def test_sentinel_that_was_of_use_is_asked_first_next_time(
    watched: Watched, autojump_clock: Clock
) -> None:
    watched.nodes.down = {1}
    async with opened(watched) as client:
        await watched.nodes.kill(3)
        watched.fail_over()
        watched.nodes.down = {3}
        await trio.testing.wait_all_tasks_blocked()
        assert await client.execute("GET", "x") == b"4"
    assert [address.port for address in watched.nodes.dialled] == [1, 2, 3, 2, 4]


async def test_server_that_is_no_master_is_not_used(
    watched: Watched, autojump_clock: Clock
) -> None:
    watched.masters = {4}
    watched.name(2, 4)
    async with opened(watched) as client:
        assert await client.execute("GET", "x") == b"4"
    await trio.testing.wait_all_tasks_blocked()
    assert not any(watched.nodes.open.values())


async def test_same_wrong_server_is_not_tried_twice_in_a_row(
    watched: Watched, autojump_clock: Clock
) -> None:
    watched.nodes.down = {3}
    with pytest.raises(ConfigurationError):
        async with opened(watched):
            pass
    assert [address.port for address in watched.nodes.dialled] == [1, 3, 2]


async def test_no_master_found_is_a_configuration_error_that_says_why(
    watched: Watched, autojump_clock: Clock
) -> None:
    watched.nodes.down = {1}
    watched.name(2, None)
    with pytest.raises(ConfigurationError) as raised:
        async with opened(watched):
            pass
    assert str(raised.value) == (
        "cannot connect to the master of 'state': node:1 is down; "
        "the sentinel at node:2 knows no master 'state'"
    )


@pytest.mark.parametrize("answer", [b"-NOPERM no ROLE for you\r\n", b"HTTP/1.1 400\r\n"])
async def test_server_that_does_not_say_its_role_is_a_configuration_error(
    watched: Watched, autojump_clock: Clock, answer: bytes
) -> None:
    watched.nodes.answers[3] = lambda command: answer
    with pytest.raises(ConfigurationError, match="ROLE"):
        async with opened(watched):
            pass
    await trio.testing.wait_all_tasks_blocked()
    assert not any(watched.nodes.open.values())


async def test_lost_master_is_replaced_by_the_one_named_then(
    watched: Watched, autojump_clock: Clock
) -> None:
    async with opened(watched) as client:
        await watched.nodes.kill(3)
        watched.fail_over()
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        assert await client.execute("GET", "x") == b"4"
        assert trio.current_time() - start < 0.1


@pytest.mark.parametrize(
    "refusal",
    [
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-ERR Error running script (call to f_0): @user_script:1: -READONLY You can't\r\n",
    ],
)
async def test_demoted_master_is_left(
    watched: Watched, autojump_clock: Clock, refusal: bytes
) -> None:
    async with opened(watched) as client:
        watched.fail_over()
        watched.nodes.answers[3] = lambda command: refusal
        with pytest.raises(StoreUnavailable):
            await client.execute("SET", "x", "y")
        assert await client.execute("GET", "x") == b"4"


async def test_replaced_master_that_still_answers_is_left_within_a_second(
    watched: Watched, autojump_clock: Clock
) -> None:
    async with opened(watched) as client:
        await trio.sleep(10)
        watched.fail_over()
        await trio.sleep(1.5)
        assert await client.execute("GET", "x") == b"4"


async def test_master_is_kept_while_no_sentinel_answers(
    watched: Watched, autojump_clock: Clock
) -> None:
    async with opened(watched) as client:
        watched.nodes.down = {1, 2}
        await trio.sleep(10)
        assert await client.execute("GET", "x") == b"3"
    assert [address.port for address in watched.nodes.dialled].count(3) == 1


async def test_cluster_is_no_place_for_this_client() -> None:
    with pytest.raises(ConfigurationError, match="names a cluster"):
        async with open_redis("redis+cluster://node"):
            pass
