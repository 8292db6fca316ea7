"""The client against a real Redis: logging in, TLS, restarts, forgotten scripts."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio

from connect.errors import ConfigurationError, StoreUnavailable
from connect.state.commands import CommandError, load_script
from connect.state.redis_client import RedisClient, open_redis
from tests.support.redis_server import RedisServer, redis_server
from tests.support.redis_traffic import traffic_through
from tests.support.tcp_proxy import open_proxy
from tests.support.tls import serve_tls

PASSWORD = "s3cret:/@%"


@pytest.fixture(scope="module")
def guarded_server() -> Iterator[RedisServer]:
    with redis_server(PASSWORD) as server:
        yield server


async def eventually(succeeds: Callable[[], Awaitable[object]]) -> object:
    """Repeat while the store is unavailable, for at most 10 seconds."""
    with trio.fail_after(10):
        while True:
            try:
                return await succeeds()
            except StoreUnavailable:
                await trio.sleep(0.01)


async def test_right_password_is_admitted(guarded_server: RedisServer) -> None:
    async with open_redis(guarded_server.url) as client:
        assert await client.execute("PING") == b"PONG"


async def test_user_with_a_password_is_admitted(guarded_server: RedisServer) -> None:
    async with open_redis(guarded_server.url) as client:
        await client.execute("ACL", "SETUSER", "ann", "on", ">pw", "~*", "+@all")
    async with open_redis(f"redis://ann:pw@127.0.0.1:{guarded_server.port}") as client:
        assert await client.execute("ACL", "WHOAMI") == b"ann"


@pytest.mark.parametrize("login", ["", ":wrong@", "nobody:wrong@"])
async def test_wrong_password_is_a_configuration_error_without_it(
    guarded_server: RedisServer, login: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        async with open_redis(f"redis://{login}127.0.0.1:{guarded_server.port}"):
            pass
    assert "wrong" not in str(raised.value).replace("WRONGPASS", "")
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("Redis refuses ")


async def test_unreachable_server_is_a_configuration_error() -> None:
    with redis_server() as server:
        pass
    with pytest.raises(ConfigurationError) as raised:
        async with open_redis(server.url):
            pass
    assert str(raised.value).startswith(f"cannot connect to Redis at 127.0.0.1:{server.port}: ")
    assert "refused" in str(raised.value)


async def test_server_that_says_nothing_is_a_configuration_error() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with pytest.raises(ConfigurationError, match="did not answer in time"):
            async with open_redis(f"redis://127.0.0.1:{port}", connect_timeout=0.05):
                pass


async def test_server_that_hangs_up_is_a_configuration_error() -> None:
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, trio.aclose_forcefully, [listener])
        with pytest.raises(ConfigurationError, match="cannot connect"):
            async with open_redis(f"redis://127.0.0.1:{port}"):
                pass
        nursery.cancel_scope.cancel()


async def test_database_of_the_url_is_used(shared_server: RedisServer) -> None:
    async with open_redis(f"{shared_server.url}/3") as third, open_redis(shared_server.url) as zero:
        await third.execute("SET", "only-in-3", "x")
        assert await zero.execute("GET", "only-in-3") is None
        assert await third.execute("GET", "only-in-3") == b"x"


async def test_database_that_does_not_exist_is_a_configuration_error(
    shared_server: RedisServer,
) -> None:
    with pytest.raises(ConfigurationError, match="SELECT"):
        async with open_redis(f"{shared_server.url}/99"):
            pass


async def test_unix_socket_is_used(guarded_server: RedisServer) -> None:
    async with open_redis(guarded_server.unix_url) as client:
        assert b"unixsocket" in b"".join(await client.execute("CONFIG", "GET", "unixsocket"))


async def test_flushed_scripts_are_loaded_again(client: RedisClient) -> None:
    script = load_script("load")
    for _ in range(2):
        await client.execute("SCRIPT", "FLUSH")
        assert await client.run(script, ["nothing"], ["0"]) == 0


async def test_refused_commands_leave_the_connection_well(client: RedisClient) -> None:
    await client.execute("SET", "x", "text")
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await client.execute("HGET", "x", "y")
    assert await client.execute("GET", "x") == b"text"


async def test_killed_connection_is_replaced(
    shared_server: RedisServer, client: RedisClient
) -> None:
    before = await client.execute("CLIENT", "ID")
    async with open_redis(shared_server.url) as other:
        await other.execute("CLIENT", "KILL", "ID", before)
    assert await eventually(lambda: client.execute("CLIENT", "ID")) != before


async def test_restarted_server_is_found_again() -> None:
    with redis_server() as server:
        async with open_redis(server.url) as client:
            await client.run(load_script("load"), ["nothing"], ["0"])
            await trio.to_thread.run_sync(server.restart)
            script = load_script("load")
            assert await eventually(lambda: client.run(script, ["nothing"], ["0"])) == 0


async def test_stopped_server_fails_commands_within_their_deadline() -> None:
    with redis_server() as server:
        async with open_redis(server.url, command_timeout=0.2) as client:
            server.kill()
            for _ in range(2):
                with trio.fail_after(2), pytest.raises(StoreUnavailable):
                    await client.execute("PING")


async def test_paused_server_fails_commands_within_their_deadline(
    shared_server: RedisServer,
) -> None:
    async with open_redis(shared_server.url, command_timeout=0.1) as client:
        await client.execute("CLIENT", "PAUSE", 300)
        with trio.fail_after(2), pytest.raises(StoreUnavailable):
            await client.execute("SET", "x", "y")
    async with open_redis(shared_server.url) as client:
        await client.execute("SET", "x", "y")


async def test_cancelled_callers_leave_replies_in_order(client: RedisClient) -> None:
    wrong: list[bytes] = []

    async def ask(number: int) -> None:
        with trio.move_on_after(0.0005 if number % 3 == 0 else 60):
            reply = await client.execute("ECHO", str(number))
            if reply != str(number).encode():
                wrong.append(reply)

    for _ in range(5):
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(ask, number)
    assert wrong == []
    assert await client.execute("ECHO", "last") == b"last"


async def test_tls_with_a_known_certificate_is_used(
    shared_server: RedisServer, certificate: tuple[Path, Path]
) -> None:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_tls, shared_server.port, certificate)
        async with open_redis(f"rediss://localhost:{port}?ssl_ca_certs={certificate[0]}") as client:
            assert await client.execute("ECHO", "x" * 100_000) == b"x" * 100_000
        nursery.cancel_scope.cancel()


async def test_tls_without_verification_is_used_when_asked(
    shared_server: RedisServer, certificate: tuple[Path, Path]
) -> None:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_tls, shared_server.port, certificate)
        async with open_redis(f"rediss://localhost:{port}?ssl_cert_reqs=none") as client:
            assert await client.execute("PING") == b"PONG"
        nursery.cancel_scope.cancel()


async def test_unknown_certificate_is_a_configuration_error(
    shared_server: RedisServer, certificate: tuple[Path, Path]
) -> None:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_tls, shared_server.port, certificate)
        with pytest.raises(ConfigurationError, match="CERTIFICATE_VERIFY_FAILED"):
            async with open_redis(f"rediss://localhost:{port}"):
                pass
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(6))
async def test_bad_network_gives_no_reply_to_the_wrong_caller(
    shared_server: RedisServer, client: RedisClient, seed: int
) -> None:
    async with open_proxy(("127.0.0.1", shared_server.port)) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        async with open_redis(url, command_timeout=0.3, connect_timeout=1.0) as bothered:
            traffic = await traffic_through(proxy, bothered, seed)
    assert traffic.wrong == []
