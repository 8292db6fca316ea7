"""Tests of `connect.runs.triggered`."""

from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.errors import Syscode, SyscodeError
from connect.protocol.messages.connect import v1 as pb
from connect.runs import Event, TooManyRuns, TriggeredRuns
from connect.settings import DEVELOPMENT_ENV_ID
from tests.runs.fakes import Apps, Worker, done, failed, function, make_runner

PAID = Event(id="e1", name="shop/paid", data={"n": 5})


async def _publish(
    script: Any, *definitions: dict[str, Any], events: tuple[Event, ...] = (PAID,)
) -> tuple[int, Worker]:
    """Publish events, let the runs end, and say how many there were."""
    runner, worker = make_runner(script, *definitions)
    async with trio.open_nursery() as nursery:
        triggered = TriggeredRuns(
            runner, Apps(*definitions), env_id=DEVELOPMENT_ENV_ID, nursery=nursery
        )
        started = await triggered.publish(events)
    assert triggered.running == 0
    return started, worker


async def test_an_event_starts_each_function_that_it_triggers_once(
    autojump_clock: MockClock,
) -> None:
    started, worker = await _publish(
        lambda *_: done(),
        function("a", triggers=[{"event": "shop/paid"}, {"event": "shop/paid"}]),
        function("b", triggers=[{"event": "shop/paid"}]),
        function("c", triggers=[{"event": "shop/sold"}]),
        function("d", triggers=[{"cron": "* * * * *"}]),
    )

    assert started == 2
    assert sorted(request.function_slug for request in worker.requests) == ["a", "b"]
    assert worker.payloads[0]["event"] == PAID.as_json()


async def test_a_star_ends_a_pattern_of_event_names(autojump_clock: MockClock) -> None:
    started, _ = await _publish(
        lambda *_: done(),
        function("a", triggers=[{"event": "shop/*"}]),
        function("b", triggers=[{"event": "app/*"}]),
    )

    assert started == 1


async def test_a_trigger_with_an_expression_starts_only_what_it_is_true_of(
    autojump_clock: MockClock,
) -> None:
    started, worker = await _publish(
        lambda *_: done(),
        function("big", triggers=[{"event": "shop/paid", "expression": "event.data.n > 3.5"}]),
        function("small", triggers=[{"event": "shop/paid", "expression": "event.data.n < 3"}]),
    )

    assert started == 1
    assert worker.requests[0].function_slug == "big"


async def test_a_trigger_with_a_bad_expression_is_logged_and_starts_nothing(
    autojump_clock: MockClock,
) -> None:
    with capture_logs() as logs:
        started, _ = await _publish(
            [], function("a", triggers=[{"event": "shop/paid", "expression": "event ="}])
        )

    assert started == 0
    assert [log["event"] for log in logs] == ["trigger ignored"]


async def test_a_trigger_that_could_take_too_long_is_logged_and_starts_nothing(
    autojump_clock: MockClock,
) -> None:
    costly = "event.data.l.all(x, event.data.l == event.data.l)"
    large = Event(id="e1", name="shop/paid", data={"l": list(range(9000))})
    with capture_logs() as logs:
        started, _ = await _publish(
            [],
            function("a", triggers=[{"event": "shop/paid", "expression": costly}]),
            events=(large,),
        )

    assert started == 0
    assert [entry["reason"] for entry in logs] == [
        "it could take too long with an event as large as this one"
    ]


async def test_an_event_goes_to_the_runs_that_wait_for_it(autojump_clock: MockClock) -> None:
    runner, _ = make_runner([])
    async with trio.open_nursery() as nursery:
        triggered = TriggeredRuns(runner, Apps(), env_id="e", nursery=nursery)
        nursery.start_soon(runner.events.wait, "shop/paid", lambda _event: True)
        await trio.testing.wait_all_tasks_blocked()
        await triggered.publish([PAID])

    assert runner.events.pending == 0


async def test_a_call_that_no_worker_answers_is_retried_when_nobody_waits_for_the_run(
    autojump_clock: MockClock,
) -> None:
    lost = SyscodeError(Syscode.NO_HEALTHY_CONNECTION, "none")

    _, worker = await _publish(
        [lost, lost, done()], function("a", triggers=[{"event": "shop/paid"}])
    )

    assert worker.times == [0.0, 1.0, 3.0]


async def test_a_run_whose_calls_are_lost_for_good_is_logged(autojump_clock: MockClock) -> None:
    def lose(_payload: object, _request: pb.GatewayExecutorRequestData) -> Exception:
        return SyscodeError(Syscode.NO_HEALTHY_CONNECTION, "none")

    with capture_logs() as logs:
        await _publish(lose, function("a", triggers=[{"event": "shop/paid"}]))

    assert [(log["event"], log["function"]) for log in logs] == [("run lost", "a")]


async def test_a_run_that_fails_is_logged(autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        await _publish(
            [failed("broke", no_retry=True)], function("a", triggers=[{"event": "shop/paid"}])
        )

    assert [log["event"] for log in logs] == ["run failed"]


async def test_more_runs_than_allowed_are_refused_and_nothing_is_published(
    autojump_clock: MockClock,
) -> None:
    definition = function("a", triggers=[{"event": "shop/paid"}])
    runner, worker = make_runner(lambda *_: done(), definition)
    async with trio.open_nursery() as nursery:
        triggered = TriggeredRuns(runner, Apps(definition), env_id="e", nursery=nursery, limit=1)
        nursery.start_soon(runner.events.wait, "shop/paid", lambda _event: True)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TooManyRuns, match="1 runs are in progress"):
            await triggered.publish([PAID, PAID])
        assert runner.events.pending == 1
        nursery.cancel_scope.cancel()

    assert worker.requests == []
