"""Routing whose answer got lost: the lease that may be there is known by its id."""

import pytest

from connect.state.leases import lease_id_at
from connect.state.store import Acquired, AlreadyLeased, LeaseIsLive
from tests.state.harness import ENV, Harness


def _lease_of(harness: Harness) -> str:
    return lease_id_at(harness.now.ms + 20_000)


async def test_a_lease_has_the_id_that_is_chosen_for_it(harness: Harness) -> None:
    await harness.connect("c1")
    chosen = _lease_of(harness)
    outcome = await harness.acquire(lease_id=chosen)
    assert isinstance(outcome, Acquired)
    stored = await harness.store.leases.get(ENV, "req-1")
    assert (outcome.lease_id, stored and stored.id) == (chosen, chosen)


async def test_the_lease_of_this_id_is_completed_with_its_place_on_the_worker(
    harness: Harness,
) -> None:
    await harness.connect("c1", limit=1)
    chosen = _lease_of(harness)
    await harness.acquire(lease_id=chosen)
    assert await harness.store.routing.complete(ENV, "req-1", None, lease_id=chosen)
    assert await harness.store.leases.get(ENV, "req-1") is None
    assert await harness.store.capacity.load(ENV, "worker-c1") == 0


async def test_another_lease_is_left_alone_with_its_place_on_the_worker(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await harness.acquire()
    before = await harness.store.leases.get(ENV, "req-1")
    never_stored = _lease_of(harness)
    assert not await harness.store.routing.complete(ENV, "req-1", None, lease_id=never_stored)
    assert await harness.store.leases.get(ENV, "req-1") == before
    assert await harness.store.capacity.load(ENV, "worker-c1") == 1


async def test_a_response_stays_where_the_lease_is_not_there(harness: Harness) -> None:
    await harness.store.responses.save(ENV, "req-1", b"reply")
    done = await harness.store.routing.complete(ENV, "req-1", None, lease_id=_lease_of(harness))
    assert (done, await harness.store.responses.get(ENV, "req-1")) == (False, b"reply")


OTHER = ("10.0.0.2", 50053)


async def taken_over(harness: Harness) -> str:
    """Have an executor take a lease over and not hear of it; return the id that it chose."""
    await harness.connect("c1", limit=1)
    await harness.acquire()
    chosen = lease_id_at(harness.now.ms + 30_000)
    outcome = await harness.acquire(lease_id=chosen, executor_host=OTHER[0], executor_port=OTHER[1])
    assert isinstance(outcome, AlreadyLeased)
    return chosen


async def test_a_lease_that_was_taken_over_is_left_alone_while_it_lasts(harness: Harness) -> None:
    chosen = await taken_over(harness)
    with pytest.raises(LeaseIsLive):
        await harness.store.routing.complete(ENV, "req-1", None, executor=OTHER, lease_id=chosen)
    assert await harness.store.capacity.load(ENV, "worker-c1") == 1


async def test_a_lease_that_was_taken_over_is_completed_when_it_is_over(harness: Harness) -> None:
    chosen = await taken_over(harness)
    harness.now.seconds += 20
    done = await harness.store.routing.complete(ENV, "req-1", None, executor=OTHER, lease_id=chosen)
    assert done
    assert await harness.store.leases.get(ENV, "req-1") is None
    assert await harness.store.capacity.load(ENV, "worker-c1") == 0


async def test_a_lease_that_somebody_else_has_taken_over_since_is_left_alone(
    harness: Harness,
) -> None:
    chosen = await taken_over(harness)
    await harness.acquire()
    assert not await harness.store.routing.complete(
        ENV, "req-1", None, executor=OTHER, lease_id=chosen
    )
