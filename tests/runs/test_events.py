"""Tests of `connect.runs.events`."""

import pytest
import trio
import trio.testing
from ulid import ULID

from connect.runs.errors import ExpressionError, InvalidEvent, TooManyWaits
from connect.runs.events import Event, EventBus


def _always(_event: Event) -> bool:
    return True


def _event(name: str = "paid", **data: object) -> Event:
    return Event(id="1", name=name, data=data)


def test_an_event_keeps_what_its_sender_chose() -> None:
    sent = {"id": "x", "name": "paid", "data": {"a": 1}, "user": {"b": 2}, "ts": 3}

    assert Event.from_json(sent, now=9.0).as_json() == sent


def test_an_event_gets_an_id_and_a_time_when_it_has_none() -> None:
    event = Event.from_json({"name": "paid", "data": None}, now=1_700_000_000.5)

    assert event.ts == 1_700_000_000_500
    assert event.data == {}
    assert ULID.from_str(event.id).milliseconds == event.ts


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "event: expected an object"),
        ({}, "event.name: expected a non-empty string"),
        ({"name": 7}, "event.name: expected a non-empty string"),
        ({"name": "a", "id": 7}, "event.id: expected a string"),
        ({"name": "a", "ts": "now"}, "event.ts: expected unix milliseconds"),
        ({"name": "a", "ts": True}, "event.ts: expected unix milliseconds"),
        ({"name": "a", "data": []}, "event.data: expected an object"),
        ({"name": "a", "user": 1}, "event.user: expected an object"),
    ],
)
def test_what_is_no_event_is_refused_with_the_place(value: object, message: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        Event.from_json(value, now=0.0)

    assert str(caught.value) == message


async def test_an_event_goes_to_every_wait_that_it_matches() -> None:
    bus = EventBus()
    got: list[str] = []

    async def wait(label: str) -> None:
        await bus.wait("paid", lambda event: label in event.data)
        got.append(label)

    async with trio.open_nursery() as nursery:
        for label in ("a", "b", "c"):
            nursery.start_soon(wait, label)
        await trio.testing.wait_all_tasks_blocked()
        taken = bus.publish(_event(a=1, b=1))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert taken == 2
    assert sorted(got) == ["a", "b"]


async def test_a_wait_takes_the_first_of_two_events() -> None:
    bus = EventBus()
    got: list[Event] = []

    async def wait() -> None:
        got.append(await bus.wait("paid", _always))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert (bus.publish(_event(n=1)), bus.publish(_event(n=2))) == (1, 0)

    assert got == [_event(n=1)]


async def test_an_event_of_another_name_is_not_taken() -> None:
    bus = EventBus()
    with trio.move_on_after(0) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bus.wait, "paid", _always)
            await trio.testing.wait_all_tasks_blocked()
            assert bus.publish(_event("refunded")) == 0
            scope.cancel()


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    bus = EventBus()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bus.wait("paid", _always)

    assert bus.pending == 0
    assert bus.publish(_event()) == 0


async def test_a_condition_that_breaks_ends_its_own_wait_only() -> None:
    bus = EventBus()
    errors: list[ExpressionError] = []

    def broken(_event: Event) -> bool:
        raise ExpressionError("x", "broken")

    async def wait() -> None:
        try:
            await bus.wait("paid", broken)
        except ExpressionError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(bus.wait, "paid", _always)
        await trio.testing.wait_all_tasks_blocked()
        assert bus.publish(_event()) == 1

    assert [error.reason for error in errors] == ["broken"]


async def test_a_full_bus_takes_no_more_waits() -> None:
    bus = EventBus(max_waits=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bus.wait, "paid", _always)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TooManyWaits, match="1 runs wait for events already"):
            await bus.wait("paid", _always)
        bus.publish(_event())
