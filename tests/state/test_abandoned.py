"""Requests that were given up: nobody gets them while their worker may still run them."""

from dataclasses import replace

import pytest

from connect.state.redis_store import RedisStore
from connect.state.store import Abandoned, Acquired, Buffered
from tests.state.harness import ENV, TIMING, Harness, ulid_ms

WORKER = "worker-c1"


async def given_up(harness: Harness, *, limit: int = 0) -> float:
    """Have a request given up that a worker may run; return when its lease is over."""
    await harness.connect("c1")
    if limit:
        await harness.store.capacity.set_limit(ENV, WORKER, limit)
    outcome = await harness.acquire("r1")
    assert isinstance(outcome, Acquired)
    await harness.store.routing.complete(ENV, "r1", outcome.instance_id, may_run=True)
    return ulid_ms(outcome.lease_id) / 1000


@pytest.mark.parametrize("limit", [0, 1])
async def test_nobody_gets_a_request_whose_worker_may_run_it(harness: Harness, limit: int) -> None:
    over = await given_up(harness, limit=limit)
    assert await harness.acquire("r1") == Abandoned(over)


async def test_another_request_is_not_concerned(harness: Harness) -> None:
    await given_up(harness)
    assert isinstance(await harness.acquire("r2"), Acquired)


async def test_the_worker_of_a_request_that_is_given_up_has_room_again(harness: Harness) -> None:
    await given_up(harness, limit=1)
    assert isinstance(await harness.acquire("r2"), Acquired)


async def test_giving_up_once_more_changes_nothing(harness: Harness) -> None:
    """Whoever got no answer from the store asks again."""
    over = await given_up(harness)
    await harness.store.routing.complete(ENV, "r1", WORKER, may_run=True)
    assert await harness.acquire("r1") == Abandoned(over)


async def test_when_its_lease_is_over_a_request_is_anybodys(harness: Harness) -> None:
    over = await given_up(harness)
    harness.now.seconds = over
    assert isinstance(await harness.acquire("r1"), Acquired)


async def test_the_lease_of_a_request_that_is_given_up_is_not_extended(harness: Harness) -> None:
    over = await given_up(harness)
    result = await harness.store.leases.extend(
        ENV,
        "r1",
        lease_id="01JD8ZK3V4P5Q6R7S8T9V0W1X2",
        instance_id=WORKER,
        seconds=20,
        limited=False,
    )
    assert result.lease_id is None
    assert await harness.acquire("r1") == Abandoned(over)


async def test_when_its_worker_has_replied_a_request_is_anybodys(harness: Harness) -> None:
    await given_up(harness)
    await harness.store.responses.save(ENV, "r1", b"reply", instance_id=WORKER, running=True)
    assert isinstance(await harness.acquire("r1"), Acquired)


@pytest.mark.parametrize("sender", ["worker-that-had-it-before", ""])
async def test_the_reply_of_another_worker_does_not_tell_that_this_one_has_ended(
    harness: Harness, sender: str
) -> None:
    over = await given_up(harness)
    await harness.store.responses.save(ENV, "r1", b"reply", instance_id=sender)
    assert await harness.acquire("r1") == Abandoned(over)


async def test_a_late_reply_leaves_no_mark_where_nothing_was_given_up(harness: Harness) -> None:
    await harness.store.responses.save(ENV, "r1", b"reply", instance_id=WORKER)
    mark = harness.keys.abandoned(ENV, "r1")
    assert await harness.commands.execute("EXISTS", mark) == 0


async def test_a_request_that_reached_no_worker_is_anybodys_at_once(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.acquire("r1")
    await harness.store.routing.complete(ENV, "r1", WORKER)
    assert isinstance(await harness.acquire("r1"), Acquired)


async def test_a_response_is_found_all_the_same(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.acquire("r1")
    await harness.store.responses.save(ENV, "r1", b"reply", instance_id=WORKER)
    await harness.store.routing.complete(ENV, "r1", WORKER, keep_response=True, may_run=True)
    assert await harness.acquire("r1") == Buffered(b"reply")


async def test_the_mark_lasts_as_long_as_the_lease(harness: Harness) -> None:
    await harness.connect("c1")
    outcome = await harness.acquire("r1", lease_seconds=600.0)
    assert isinstance(outcome, Acquired)
    patient = RedisStore(
        harness.commands,
        now=harness.now,
        timing=replace(TIMING, lease=600.0),
        layout=harness.keys.layout,
    )
    await patient.routing.complete(ENV, "r1", outcome.instance_id, may_run=True)
    assert await harness.ttl(harness.keys.abandoned(ENV, "r1")) == pytest.approx(600, abs=2)


async def test_a_clock_that_is_set_back_makes_nobody_wait_longer_than_a_lease(
    harness: Harness,
) -> None:
    await harness.connect("c1")
    outcome = await harness.acquire("r1")
    assert isinstance(outcome, Acquired)
    harness.now.seconds -= 3600
    await harness.store.routing.complete(ENV, "r1", outcome.instance_id, may_run=True)
    assert await harness.acquire("r1") == Abandoned(harness.now.seconds + TIMING.lease)


async def test_a_request_that_was_vouched_for_is_nobodys_until_that_ends(
    harness: Harness,
) -> None:
    """The lease in Redis ran out while nobody could extend it there."""
    over = await lapsed(harness, vouched_for=10.0)
    assert await harness.acquire("r1") == Abandoned(over)


async def test_a_request_whose_lease_was_extended_past_what_was_vouched_for_is_nobodys_until_then(
    harness: Harness,
) -> None:
    await harness.connect("c1")
    outcome = await harness.acquire("r1")
    assert isinstance(outcome, Acquired)
    await harness.store.routing.complete(
        ENV, "r1", WORKER, may_run=True, vouched_until_ms=harness.now.ms + 1000
    )
    assert await harness.acquire("r1") == Abandoned(ulid_ms(outcome.lease_id) / 1000)


async def test_when_what_was_vouched_for_is_over_a_request_is_anybodys(harness: Harness) -> None:
    over = await lapsed(harness, vouched_for=10.0)
    harness.now.seconds = over
    await harness.store.connections.refresh(ENV, harness.connection("c1"))
    assert isinstance(await harness.acquire("r1"), Acquired)


async def lapsed(harness: Harness, *, vouched_for: float) -> float:
    """Have a request given up whose lease is over, but not what it is vouched for."""
    await harness.connect("c1")
    await harness.acquire("r1")
    harness.now.seconds += 25
    await harness.store.connections.refresh(ENV, harness.connection("c1"))
    over = harness.now.seconds + vouched_for
    await harness.store.routing.complete(
        ENV, "r1", WORKER, may_run=True, vouched_until_ms=int(over * 1000)
    )
    return over
