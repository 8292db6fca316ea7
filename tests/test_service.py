"""How a service ends: what it waits for, in which order, and for how long."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
import structlog
import trio
from trio.testing import MockClock

from connect.errors import ExecutorClosing
from connect.nursery.gateway import Gateway
from connect.reloading import Reloadable
from connect.runs import Runner
from connect.service import Service
from connect.settings import Settings, Timing
from tests.rpc.fakes import FakeRouting, Rig, open_rig, response, route
from tests.runs.fakes import Apps, function, now, op, ops

DRAIN = 20.0
SETTINGS = Settings(timing=Timing(drain=DRAIN))


@dataclass
class DrainingGateway:
    """A gateway whose drain takes so many seconds."""

    seconds: float
    draining: bool = False
    store_away: bool = False

    async def drain(self) -> None:
        self.draining = True
        await trio.sleep(self.seconds)


@dataclass
class Ending:
    """A service with an executor and runs.

    Attributes:
        ended: how each invoked run ended.
    """

    service: Service
    rig: Rig
    runner: Runner
    ended: list[object] = field(default_factory=list)

    async def invoke(self) -> None:
        try:
            self.ended.append((await self.runner.invoke("shop-pay", timeout=1000)).result)
        except ExecutorClosing as error:
            self.ended.append(error)

    async def reply_after(self, seconds: float, reply: bytes) -> None:
        """Answer the request that is in progress by then."""
        await trio.sleep(seconds)
        asked = self.rig.store.routing.acquired[-1]
        self.rig.executor.deliver(asked.request_id, reply)

    @property
    def routing(self) -> FakeRouting:
        return self.rig.store.routing


def new_service() -> Service:
    reloads = cast(Reloadable, SimpleNamespace(settings=SETTINGS))
    return Service(reloads, structlog.get_logger())


@asynccontextmanager
async def running() -> AsyncIterator[Ending]:
    service = new_service()
    async with open_rig(route(), timing=SETTINGS.timing) as rig:
        runner = Runner(Apps(function()), rig.executor.execute, settings=SETTINGS, now=now)
        service.executor, service.runner = rig.executor, runner
        yield Ending(service, rig, runner)


NAP = bytes(ops(op("Sleep", "s1", opts={"duration": "5s"})))
LONG_NAP = bytes(ops(op("Sleep", "s1", opts={"duration": "1h"})))
DONE = response(body=b'"ok"')


async def test_a_service_with_nothing_in_progress_stops_at_once(autojump_clock: MockClock) -> None:
    async with running() as ending:
        await ending.service.stop()
        assert trio.current_time() == 0


async def test_a_service_without_any_role_stops(autojump_clock: MockClock) -> None:
    service = new_service()
    await service.stop()
    assert service.not_ready() == "the service is stopping"


async def test_a_run_makes_all_its_calls_before_the_service_stops(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery, running() as ending:
        nursery.start_soon(ending.invoke)
        nursery.start_soon(ending.reply_after, 2, NAP)
        nursery.start_soon(ending.reply_after, 9, DONE)
        await trio.sleep(1)
        await ending.service.stop()
        assert trio.current_time() == pytest.approx(9)
        assert ending.ended == ["ok"]
        assert len(ending.routing.acquired) == 2


async def test_a_call_that_lasts_longer_is_handed_over_at_the_deadline(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery, running() as ending:
        nursery.start_soon(ending.invoke)
        await trio.sleep(1)
        await ending.service.stop()
        assert trio.current_time() == pytest.approx(1 + DRAIN)
        assert isinstance(ending.ended[0], ExecutorClosing)
        assert ending.routing.completed == []


async def test_a_run_that_sleeps_longer_ends_at_the_deadline(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery, running() as ending:
        nursery.start_soon(ending.invoke)
        nursery.start_soon(ending.reply_after, 1, LONG_NAP)
        await trio.sleep(2)
        await ending.service.stop()
        assert trio.current_time() == pytest.approx(2 + DRAIN)
        assert isinstance(ending.ended[0], ExecutorClosing)


async def test_once_it_stops_it_is_not_ready_and_starts_no_runs(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery, running() as ending:
        nursery.start_soon(ending.invoke)
        await trio.sleep(1)
        assert ending.service.not_ready() is None
        nursery.start_soon(ending.service.stop)
        await trio.sleep(1)
        assert ending.service.not_ready() == "the service is stopping"
        with pytest.raises(ExecutorClosing):
            await ending.runner.invoke("shop-pay", timeout=10)
        nursery.start_soon(ending.reply_after, 1, DONE)


async def test_the_gateway_drains_at_the_same_time(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery, running() as ending:
        gateway = DrainingGateway(seconds=10)
        ending.service.gateway = cast(Gateway, gateway)
        nursery.start_soon(ending.invoke)
        nursery.start_soon(ending.reply_after, 7, DONE)
        await trio.sleep(1)
        await ending.service.stop()
        assert trio.current_time() == pytest.approx(11)
        assert ending.service.accepting.cancel_called


async def test_a_second_stop_does_nothing(autojump_clock: MockClock) -> None:
    async with running() as ending:
        await ending.service.stop()
        deadline = ending.service.deadline
        await trio.sleep(1)
        await ending.service.stop()
        assert ending.service.deadline == deadline


async def test_requests_may_go_on_until_the_drain_is_over(autojump_clock: MockClock) -> None:
    async with running() as ending:
        await trio.sleep(3)
        assert ending.service.deadline < 0
        await ending.service.stop()
        assert ending.service.deadline == 3 + DRAIN
