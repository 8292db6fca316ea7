"""Capacity: how many requests a worker runs, against its limit."""

import pytest

from connect.state.store import Assignment
from tests.state.harness import ENV, TIMING, Harness

WORKER = "worker-1"


async def assign(harness: Harness, request_id: str, worker: str = WORKER) -> Assignment:
    return await harness.store.capacity.assign(ENV, worker, request_id)


async def limit(harness: Harness, number: int) -> None:
    await harness.store.capacity.set_limit(ENV, WORKER, number)


async def test_worker_without_a_limit_is_unlimited(harness: Harness) -> None:
    assert await harness.store.capacity.limit(ENV, WORKER) is None
    assert await assign(harness, "r1") is Assignment.UNLIMITED
    assert await harness.commands.execute("KEYS", "*") == []


async def test_limit_can_be_read_and_lives_90_minutes(harness: Harness) -> None:
    await limit(harness, 3)
    assert await harness.store.capacity.limit(ENV, WORKER) == 3
    ttl = await harness.ttl(harness.keys.capacity(ENV, WORKER))
    assert ttl == pytest.approx(TIMING.capacity, abs=2)


@pytest.mark.parametrize("number", [0, -1])
async def test_limit_of_0_or_less_removes_it(harness: Harness, number: int) -> None:
    await limit(harness, 3)
    await limit(harness, number)
    assert await harness.store.capacity.limit(ENV, WORKER) is None


async def test_requests_are_refused_at_the_limit(harness: Harness) -> None:
    await limit(harness, 2)
    outcomes = [await assign(harness, f"r{i}") for i in range(3)]
    assert outcomes == [Assignment.ASSIGNED, Assignment.ASSIGNED, Assignment.AT_CAPACITY]
    assert await harness.store.capacity.load(ENV, WORKER) == 2


async def test_assigning_the_same_request_again_is_no_second_one(harness: Harness) -> None:
    await limit(harness, 1)
    await assign(harness, "r1")
    assert await assign(harness, "r1") is Assignment.ASSIGNED
    assert await harness.store.capacity.load(ENV, WORKER) == 1


async def test_assignment_is_scored_in_seconds_and_mapped(harness: Harness) -> None:
    await limit(harness, 1)
    await assign(harness, "r1")
    requests = harness.keys.requests(ENV, WORKER)
    mapping = harness.keys.request_worker(ENV, "r1")
    score = await harness.commands.execute("ZSCORE", requests, "r1")
    assert float(score) == harness.now.seconds + TIMING.request_worker
    assert await harness.commands.execute("GET", mapping) == WORKER.encode()
    assert await harness.ttl(mapping) == pytest.approx(TIMING.request_worker, abs=2)
    assert await harness.ttl(requests) == pytest.approx(TIMING.capacity, abs=2)


async def test_expired_entries_make_room(harness: Harness) -> None:
    await limit(harness, 1)
    await assign(harness, "r1")
    harness.now.seconds += TIMING.request_worker
    assert await harness.store.capacity.load(ENV, WORKER) == 0
    assert await assign(harness, "r2") is Assignment.ASSIGNED


async def test_entry_in_milliseconds_expires_at_its_time(harness: Harness) -> None:
    """The reference implementation's extensions write such entries."""
    await limit(harness, 1)
    requests = harness.keys.requests(ENV, WORKER)
    await harness.commands.execute("ZADD", requests, harness.now.ms + 20_000, "theirs")
    assert await harness.store.capacity.load(ENV, WORKER) == 1
    assert await assign(harness, "r1") is Assignment.AT_CAPACITY
    harness.now.seconds += 20
    assert await harness.store.capacity.load(ENV, WORKER) == 0
    assert await assign(harness, "r1") is Assignment.ASSIGNED


async def test_unassign_makes_room(harness: Harness) -> None:
    await limit(harness, 1)
    await assign(harness, "r1")
    assert await harness.store.capacity.unassign(ENV, WORKER, "r1")
    assert await assign(harness, "r2") is Assignment.ASSIGNED


async def test_unassign_may_be_repeated(harness: Harness) -> None:
    await limit(harness, 1)
    await assign(harness, "r1")
    for _ in range(2):
        assert await harness.store.capacity.unassign(ENV, WORKER, "r1")
    assert await harness.store.capacity.load(ENV, WORKER) == 0


async def test_unassign_of_anothers_request_is_refused(harness: Harness) -> None:
    await limit(harness, 1)
    await assign(harness, "r1")
    assert not await harness.store.capacity.unassign(ENV, "worker-2", "r1")
    assert await harness.store.capacity.load(ENV, WORKER) == 1


async def test_unassign_counts_down_though_the_mapping_expired(harness: Harness) -> None:
    await limit(harness, 1)
    await assign(harness, "r1")
    await harness.commands.execute("DEL", harness.keys.request_worker(ENV, "r1"))
    assert await harness.store.capacity.unassign(ENV, WORKER, "r1")
    assert await harness.store.capacity.load(ENV, WORKER) == 0


@pytest.mark.parametrize("event", ["refresh", "unassign"])
async def test_ttls_are_renewed(harness: Harness, event: str) -> None:
    await limit(harness, 2)
    await assign(harness, "r1")
    await assign(harness, "r2")
    keys = [harness.keys.capacity(ENV, WORKER), harness.keys.requests(ENV, WORKER)]
    for key in keys:
        await harness.commands.execute("PEXPIRE", key, 5000)
    if event == "refresh":
        await harness.store.capacity.refresh(ENV, WORKER)
    else:
        await harness.store.capacity.unassign(ENV, WORKER, "r1")
    ttls = [await harness.ttl(key) for key in keys]
    assert ttls == pytest.approx([TIMING.capacity] * 2, abs=2)


async def test_refresh_of_an_unlimited_worker_does_nothing(harness: Harness) -> None:
    await harness.store.capacity.refresh(ENV, WORKER)
    assert await harness.commands.execute("KEYS", "*") == []


async def test_running_requests_stay_counted_when_a_worker_reconnects(harness: Harness) -> None:
    await limit(harness, 1)
    await assign(harness, "r1")
    await limit(harness, 1)
    assert await assign(harness, "r2") is Assignment.AT_CAPACITY
