"""The end of a runner: it starts no more runs, and those in progress finish or are ended."""

import pytest
import trio
from trio.testing import MockClock

from connect.errors import ExecutorClosing, Syscode
from connect.runs import Event, TriggeredRuns
from connect.settings import DEVELOPMENT_ENV_ID
from tests.runs.fakes import Apps, done, function, make_runner, op, ops

SLUG = "shop-pay"
PAID = Event(id="e1", name="shop/paid", data={})
NAP = ops(op("Sleep", "s1", opts={"duration": "10s"}))


async def test_a_closed_runner_starts_no_runs(autojump_clock: MockClock) -> None:
    runner, worker = make_runner([done()])
    runner.close()

    with pytest.raises(ExecutorClosing) as caught:
        await runner.invoke(SLUG, timeout=10)

    assert caught.value.code == Syscode.EXECUTOR_CLOSING
    assert worker.requests == []


async def test_a_closed_runner_publishes_no_events(autojump_clock: MockClock) -> None:
    triggers = [{"event": "shop/paid"}]
    runner, worker = make_runner([done()], function("a", triggers=triggers))
    runner.close()
    async with trio.open_nursery() as nursery:
        triggered = TriggeredRuns(
            runner,
            Apps(function("a", triggers=triggers)),
            env_id=DEVELOPMENT_ENV_ID,
            nursery=nursery,
        )
        with pytest.raises(ExecutorClosing):
            await triggered.publish([PAID])

    assert worker.requests == []


async def test_a_run_in_progress_goes_on_making_calls_when_no_more_are_started(
    autojump_clock: MockClock,
) -> None:
    runner, _ = make_runner([NAP, done("ok")])
    results = []

    async def invoke() -> None:
        results.append((await runner.invoke(SLUG, timeout=60)).result)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(invoke)
        await trio.sleep(1)
        runner.close()

    assert results == ["ok"]


async def test_a_runner_is_idle_when_its_last_run_is_over(autojump_clock: MockClock) -> None:
    runner, _ = make_runner(lambda payload, _: done() if payload["steps"] else NAP)
    async with trio.open_nursery() as nursery:
        await runner.become_idle()
        assert (trio.current_time(), runner.running) == (0, 0)
        nursery.start_soon(lambda: runner.invoke(SLUG, timeout=60))
        await trio.sleep(5)
        nursery.start_soon(lambda: runner.invoke(SLUG, timeout=60))
        await trio.sleep(1)
        assert runner.running == 2
        await runner.become_idle()
        assert trio.current_time() == pytest.approx(15)


async def test_a_run_that_is_ended_tells_whoever_waits_for_it(autojump_clock: MockClock) -> None:
    runner, _ = make_runner([NAP])

    async def invoke() -> None:
        with pytest.raises(ExecutorClosing, match="ended before the run did"):
            await runner.invoke(SLUG, timeout=60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(invoke)
        await trio.sleep(1)
        runner.end()

    assert (trio.current_time(), runner.running) == (1, 0)
