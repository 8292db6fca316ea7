"""Leases: every row of the tables of outcomes."""

import json

import pytest

from connect.state.encoding import BadRecord
from connect.state.records import LeaseRecord
from connect.state.store import (
    AlreadyLeased,
    Assignment,
    ExtendOutcome,
    ExtendResult,
    LeaseState,
)
from tests.state.harness import ENV, TIMING, Harness, ulid_ms

WORKER = "worker-1"


async def lease(harness: Harness, seconds: float = 20.0) -> str:
    outcome = await harness.store.leases.lease(
        ENV, "req-1", executor_host="10.0.0.1", executor_port=50053, seconds=seconds
    )
    assert isinstance(outcome, LeaseRecord)
    return outcome.id


async def extend(
    harness: Harness,
    lease_id: str,
    *,
    instance_id: str = WORKER,
    seconds: float = 20.0,
    limited: bool = False,
) -> ExtendResult:
    return await harness.store.leases.extend(
        ENV,
        "req-1",
        lease_id=lease_id,
        instance_id=instance_id,
        seconds=seconds,
        limited=limited,
    )


async def extended(harness: Harness, lease_id: str, *, limited: bool = False) -> str:
    result = await extend(harness, lease_id, limited=limited)
    assert result.outcome is ExtendOutcome.EXTENDED
    assert result.lease_id is not None
    return result.lease_id


async def assign(harness: Harness, instance_id: str = WORKER) -> None:
    await harness.store.capacity.set_limit(ENV, instance_id, 1)
    outcome = await harness.store.capacity.assign(ENV, instance_id, "req-1")
    assert outcome is Assignment.ASSIGNED


async def stored(harness: Harness) -> LeaseRecord:
    record = await harness.store.leases.get(ENV, "req-1")
    assert record is not None
    return record


async def test_free_request_is_leased_until_its_ids_time(harness: Harness) -> None:
    lease_id = await lease(harness)
    assert ulid_ms(lease_id) == harness.now.ms + 20_000
    assert await stored(harness) == LeaseRecord(
        id=lease_id, executor_host="10.0.0.1", executor_port=50053
    )


async def test_lease_key_lives_as_long_as_the_longest_function(harness: Harness) -> None:
    await lease(harness)
    ttl = await harness.ttl(harness.keys.lease(ENV, "req-1"))
    assert ttl == pytest.approx(TIMING.longest_function + 20, abs=2)


async def test_held_lease_keeps_everything_but_the_executors_address(harness: Harness) -> None:
    lease_id = await extended(harness, await lease(harness))
    before = await stored(harness)
    outcome = await harness.store.leases.lease(
        ENV, "req-1", executor_host="10.0.0.2", executor_port=7, seconds=20
    )
    assert outcome == AlreadyLeased(lease_id)
    assert await stored(harness) == LeaseRecord(
        id=lease_id,
        previous_id=before.previous_id,
        worker_id=WORKER,
        executor_host="10.0.0.2",
        executor_port=7,
    )


async def test_held_lease_keeps_its_ttl(harness: Harness) -> None:
    await lease(harness)
    key = harness.keys.lease(ENV, "req-1")
    await harness.commands.execute("PEXPIRE", key, 5000)
    await harness.store.leases.lease(ENV, "req-1", executor_host="h", executor_port=1, seconds=20)
    assert await harness.ttl(key) == pytest.approx(5, abs=2)


async def test_expired_lease_is_replaced(harness: Harness) -> None:
    first = await extended(harness, await lease(harness))
    harness.now.seconds += 20
    second = await lease(harness)
    assert second != first
    assert (await stored(harness)).previous_id == ""


async def test_extending_without_a_lease_is_refused(harness: Harness) -> None:
    assert await extend(harness, "0" * 26) == ExtendResult(ExtendOutcome.NOT_LEASED)


async def test_extending_after_completion_recreates_nothing(harness: Harness) -> None:
    lease_id = await lease(harness)
    await harness.store.responses.save(ENV, "req-1", b"reply")
    await harness.store.routing.complete(ENV, "req-1", WORKER)
    await extend(harness, lease_id)
    assert await harness.commands.execute("KEYS", "*") == []


async def test_unreadable_lease_counts_as_none(harness: Harness) -> None:
    await harness.commands.execute("SET", harness.keys.lease(ENV, "req-1"), "{not json")
    assert (await extend(harness, "0" * 26)).outcome is ExtendOutcome.NOT_LEASED
    assert await harness.store.leases.state(ENV, "req-1") is LeaseState.NONE
    with pytest.raises(BadRecord):
        await harness.store.leases.get(ENV, "req-1")


@pytest.mark.parametrize("mapped_to", [None, "worker-2"])
async def test_limited_worker_cannot_extend_what_is_not_mapped_to_it(
    harness: Harness, mapped_to: str | None
) -> None:
    lease_id = await lease(harness)
    if mapped_to is not None:
        await assign(harness, mapped_to)
    result = await extend(harness, lease_id, limited=True)
    assert result == ExtendResult(ExtendOutcome.OTHER_WORKER)


@pytest.mark.parametrize("limited", [True, False])
async def test_retry_of_an_extension_gets_the_current_lease_id(
    harness: Harness, limited: bool
) -> None:
    await assign(harness)
    first = await lease(harness)
    current = await extended(harness, first, limited=limited)
    result = await extend(harness, first, limited=limited)
    assert result == ExtendResult(ExtendOutcome.CURRENT, current)


async def test_retry_by_another_worker_is_superseded(harness: Harness) -> None:
    first = await lease(harness)
    await extended(harness, first)
    result = await extend(harness, first, instance_id="worker-2")
    assert result == ExtendResult(ExtendOutcome.SUPERSEDED)


async def test_lease_id_older_than_the_previous_one_is_superseded(harness: Harness) -> None:
    first = await lease(harness)
    await extended(harness, await extended(harness, first))
    assert await extend(harness, first) == ExtendResult(ExtendOutcome.SUPERSEDED)


async def test_same_lease_id_is_extended(harness: Harness) -> None:
    first = await lease(harness)
    harness.now.seconds += 5
    second = await extended(harness, first)
    record = await stored(harness)
    assert ulid_ms(second) == harness.now.ms + 20_000
    assert (record.id, record.previous_id, record.worker_id) == (second, first, WORKER)


async def test_extension_keeps_the_executors_address(harness: Harness) -> None:
    await extended(harness, await lease(harness))
    record = await stored(harness)
    assert (record.executor_host, record.executor_port) == ("10.0.0.1", 50053)


async def test_expired_lease_is_extended_whatever_its_id(harness: Harness) -> None:
    first = await lease(harness)
    second = await extended(harness, first)
    harness.now.seconds += 20
    await extended(harness, first)
    assert (await stored(harness)).previous_id == second


async def test_a_worker_that_missed_two_leases_may_repeat_its_last_question(
    harness: Harness,
) -> None:
    """Commands that were on their way while its gateway was cut off come late."""
    held = await lease(harness)
    await extended(harness, held)
    harness.now.seconds += 20
    current = await extended(harness, held)
    assert await extend(harness, held) == ExtendResult(ExtendOutcome.CURRENT, current)


async def test_extension_by_a_limited_worker_leaves_worker_id_out(harness: Harness) -> None:
    await assign(harness)
    await extended(harness, await lease(harness), limited=True)
    assert (await stored(harness)).worker_id == ""


async def test_extension_moves_the_score_of_a_limited_request_in_seconds(
    harness: Harness,
) -> None:
    await assign(harness)
    await extended(harness, await lease(harness), limited=True)
    score = await harness.commands.execute("ZSCORE", harness.keys.requests(ENV, WORKER), "req-1")
    assert float(score) == harness.now.seconds + 20


async def test_extension_renews_the_ttl_of_a_limited_requests_mapping(harness: Harness) -> None:
    await assign(harness)
    mapping = harness.keys.request_worker(ENV, "req-1")
    await harness.commands.execute("PEXPIRE", mapping, 5000)
    await extended(harness, await lease(harness), limited=True)
    assert await harness.ttl(mapping) == pytest.approx(TIMING.request_worker, abs=2)


async def test_extension_renews_the_ttl_of_the_lease(harness: Harness) -> None:
    first = await lease(harness)
    key = harness.keys.lease(ENV, "req-1")
    await harness.commands.execute("PEXPIRE", key, 5000)
    await extended(harness, first)
    assert await harness.ttl(key) == pytest.approx(TIMING.longest_function + 20, abs=2)


@pytest.mark.parametrize("seconds", [0.0, -5.0, -1e12])
async def test_extension_that_would_be_over_drops_the_lease(
    harness: Harness, seconds: float
) -> None:
    await assign(harness)
    first = await lease(harness)
    result = await extend(harness, first, seconds=seconds, limited=True)
    assert result == ExtendResult(ExtendOutcome.DROPPED)
    assert await harness.store.leases.state(ENV, "req-1") is LeaseState.NONE
    assert await harness.commands.execute("KEYS", "*request-worker*") == []
    assert await harness.store.capacity.load(ENV, WORKER) == 0


async def test_dropping_leaves_the_mapping_of_another_worker(harness: Harness) -> None:
    await assign(harness, "worker-2")
    await extend(harness, await lease(harness), seconds=0)
    assert await harness.store.capacity.load(ENV, "worker-2") == 1


async def test_state_follows_the_clock(harness: Harness) -> None:
    assert await harness.store.leases.state(ENV, "req-1") is LeaseState.NONE
    await lease(harness)
    harness.now.seconds += 19.999
    assert await harness.store.leases.state(ENV, "req-1") is LeaseState.LEASED
    harness.now.seconds += 0.001
    assert await harness.store.leases.state(ENV, "req-1") is LeaseState.EXPIRED


async def test_lease_whose_id_is_no_ulid_is_expired(harness: Harness) -> None:
    text = json.dumps({"leaseID": "nonsense", "executorIP": "h"})
    await harness.commands.execute("SET", harness.keys.lease(ENV, "req-1"), text)
    assert await harness.store.leases.state(ENV, "req-1") is LeaseState.EXPIRED


async def test_delete_may_be_repeated(harness: Harness) -> None:
    await lease(harness)
    for _ in range(2):
        await harness.store.leases.delete(ENV, "req-1")
    assert await harness.store.leases.get(ENV, "req-1") is None


FIRST, SECOND = ("10.0.0.1", 50053), ("10.0.0.2", 0)


async def take_over(harness: Harness, executor: tuple[str, int]) -> None:
    host, port = executor
    await harness.store.leases.lease(
        ENV, "req-1", executor_host=host, executor_port=port, seconds=20.0
    )


async def test_a_lease_is_handed_back_to_the_executor_before(harness: Harness) -> None:
    lease_id = await lease(harness)
    await take_over(harness, SECOND)
    assert await harness.store.leases.hand_back(ENV, "req-1", executor=SECOND, to=FIRST)
    assert await stored(harness) == LeaseRecord(
        id=lease_id, executor_host="10.0.0.1", executor_port=50053
    )


async def test_a_lease_that_names_another_executor_by_now_is_not_handed_back(
    harness: Harness,
) -> None:
    await lease(harness)
    await take_over(harness, ("10.0.0.3", 50053))
    assert not await harness.store.leases.hand_back(ENV, "req-1", executor=SECOND, to=FIRST)
    assert (await stored(harness)).executor_host == "10.0.0.3"


async def test_a_lease_of_another_port_is_not_handed_back(harness: Harness) -> None:
    await lease(harness)
    elsewhere = ("10.0.0.1", 50054)
    assert not await harness.store.leases.hand_back(ENV, "req-1", executor=elsewhere, to=SECOND)
    assert (await stored(harness)).executor_host == "10.0.0.1"


async def test_a_lease_that_is_gone_is_not_handed_back(harness: Harness) -> None:
    assert not await harness.store.leases.hand_back(ENV, "req-1", executor=SECOND, to=FIRST)
    assert await harness.store.leases.get(ENV, "req-1") is None
