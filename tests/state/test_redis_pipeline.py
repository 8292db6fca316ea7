"""Why a pipeline has no connection: in errors, and in the log."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import hiredis
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from structlog.typing import EventDict
from trio.testing import MockClock

from connect.errors import StoreUnavailable
from connect.state.redis_dial import Connection, pack
from connect.state.redis_pipeline import RedisLimits, RedisPipeline

NAME = "Redis at here:6379"


class Server:
    """Refuses connections for a reason, or takes them when there is none."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.end: trio.abc.Stream | None = None

    async def dial(self, deadline: float) -> Connection:
        await trio.lowlevel.checkpoint()
        if self.reason:
            raise StoreUnavailable(self.reason)
        ours, self.end = trio.testing.memory_stream_pair()
        return ours, hiredis.Reader()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[RedisPipeline]:
    pipeline = RedisPipeline(NAME, server.dial, RedisLimits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipeline.serve)
        yield pipeline
        nursery.cancel_scope.cancel()


async def failure(pipeline: RedisPipeline) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        await pipeline.call(pack(("PING",)), trio.current_time() + 5)
    return str(caught.value)


def told(logs: Sequence[EventDict]) -> list[object]:
    """Return the reasons that were logged."""
    return [line["reason"] for line in logs if line["log_level"] == "warning"]


async def test_command_that_no_connection_took_tells_why_there_is_none(
    autojump_clock: MockClock,
) -> None:
    async with serving(Server("Redis refuses AUTH: WRONGPASS")) as pipeline:
        assert await failure(pipeline) == f"no connection to {NAME}: Redis refuses AUTH: WRONGPASS"


async def test_reason_does_not_name_the_server_again(autojump_clock: MockClock) -> None:
    async with serving(Server(f"cannot connect to {NAME}: Connection refused")) as pipeline:
        assert await failure(pipeline) == f"no connection to {NAME}: Connection refused"


async def test_reason_is_that_of_the_last_attempt(autojump_clock: MockClock) -> None:
    server = Server("refused")
    async with serving(server) as pipeline:
        await trio.sleep(10)
        server.reason = "the certificate has expired"
        assert (await failure(pipeline)).endswith(": the certificate has expired")


async def test_attempts_that_fail_for_one_reason_are_one_line_in_the_log(
    autojump_clock: MockClock,
) -> None:
    with capture_logs() as logs:
        async with serving(Server("refused")):
            await trio.sleep(3600)
    [line] = logs
    assert (line["log_level"], line["server"], line["reason"]) == ("warning", NAME, "refused")


async def test_another_reason_is_logged_too(autojump_clock: MockClock) -> None:
    server = Server("refused")
    with capture_logs() as logs:
        async with serving(server):
            await trio.sleep(60)
            server.reason = "max number of clients reached"
            await trio.sleep(60)
    assert told(logs) == ["refused", "max number of clients reached"]


async def test_reasons_that_alternate_fill_no_log(autojump_clock: MockClock) -> None:
    server = Server("refused")
    with capture_logs() as logs:
        async with serving(server):
            for number in range(600):
                server.reason = f"reason {number}"
                await trio.sleep(0.1)
    assert 1 < len(told(logs)) <= 7


async def test_the_end_of_what_was_logged_is_logged(autojump_clock: MockClock) -> None:
    server = Server("refused")
    with capture_logs() as logs:
        async with serving(server):
            await trio.sleep(60)
            server.reason = ""
            await trio.sleep(60)
    assert [line["event"] for line in logs] == [
        "no connection to the state store",
        "connected to the state store again",
    ]


async def test_next_outage_for_the_same_reason_is_logged_anew(autojump_clock: MockClock) -> None:
    server = Server("refused")
    with capture_logs() as logs:
        async with serving(server):
            await trio.sleep(60)
            server.reason = ""
            await trio.sleep(60)
            server.reason = "refused"
            assert server.end is not None
            await server.end.aclose()
            await trio.sleep(60)
    assert told(logs) == ["refused", "refused"]


async def test_connections_made_at_once_are_not_logged(autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with serving(Server("")):
            await trio.sleep(60)
    assert logs == []
