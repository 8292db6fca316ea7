"""Responses that are kept, and those that change nothing: late ones, and other workers'."""

import pytest

from connect.state.records import LeaseRecord
from connect.state.store import Acquired, RefusedResponse, SavedResponse
from tests.state.harness import ENV, TIMING, Harness


async def acquired(harness: Harness, *, limit: int) -> Acquired:
    """Have a worker get the request; it is `worker-c1`."""
    await harness.connect("c1", limit=limit)
    outcome = await harness.acquire("r1")
    assert isinstance(outcome, Acquired)
    return outcome


async def save(harness: Harness, sender: str = "", *, running: bool = False) -> SavedResponse:
    return await harness.store.responses.save(
        ENV, "r1", b"reply", instance_id=sender, running=running
    )


async def kept(harness: Harness) -> bytes | None:
    return await harness.store.responses.get(ENV, "r1")


@pytest.mark.parametrize("limit", [0, 1])
async def test_the_response_of_the_worker_that_has_the_request_is_kept(
    limit: int, harness: Harness
) -> None:
    await acquired(harness, limit=limit)
    assert (await save(harness, "worker-c1")).first
    assert await kept(harness) == b"reply"


@pytest.mark.parametrize("limit", [0, 1])
async def test_the_response_of_another_worker_is_not_kept(limit: int, harness: Harness) -> None:
    await acquired(harness, limit=limit)
    saved = await save(harness, "worker-other")
    assert (saved.first, saved.refused) == (False, RefusedResponse.FOREIGN)
    assert await kept(harness) is None


@pytest.mark.parametrize("limit", [0, 1])
async def test_the_response_of_a_worker_that_ran_the_request_before_is_not_kept(
    limit: int, harness: Harness
) -> None:
    await acquired(harness, limit=limit)
    saved = await save(harness, "worker-tried-before", running=True)
    assert saved.refused is RefusedResponse.FOREIGN
    assert await kept(harness) is None


async def test_a_worker_that_runs_a_request_without_a_lease_is_believed(
    harness: Harness,
) -> None:
    await acquired(harness, limit=1)
    await harness.commands.execute("DEL", harness.keys.lease(ENV, "r1"))
    assert (await save(harness, "worker-tried-before", running=True)).first


async def test_a_response_from_an_unknown_sender_is_kept_while_the_request_is_leased(
    harness: Harness,
) -> None:
    await acquired(harness, limit=1)
    assert (await save(harness)).first


async def test_a_response_is_kept_though_the_lease_has_expired(harness: Harness) -> None:
    await acquired(harness, limit=1)
    harness.now.seconds += 2 * TIMING.lease
    assert (await save(harness, "worker-c1")).first


async def test_a_response_is_kept_though_the_lease_does_not_tell_its_worker(
    harness: Harness,
) -> None:
    lease = await harness.store.leases.lease(
        ENV, "r1", executor_host="10.0.0.1", executor_port=50053, seconds=20
    )
    assert isinstance(lease, LeaseRecord)
    assert await save(harness, "worker-c1") == SavedResponse(first=True, lease=lease)


async def test_a_response_is_kept_though_the_lease_cannot_be_read(harness: Harness) -> None:
    await harness.commands.execute("SET", harness.keys.lease(ENV, "r1"), "{not json")
    assert (await save(harness, "worker-c1")).first


async def test_a_second_response_is_neither_kept_nor_refused(harness: Harness) -> None:
    await acquired(harness, limit=1)
    await save(harness, "worker-c1")
    again = await save(harness, "worker-c1")
    assert (again.first, again.refused) == (False, None)


async def test_a_response_to_an_unknown_request_is_not_kept(harness: Harness) -> None:
    assert await save(harness, "worker-c1") == SavedResponse(
        first=False, lease=None, refused=RefusedResponse.LATE
    )
    assert await kept(harness) is None


async def test_a_response_to_a_finished_request_is_not_kept(harness: Harness) -> None:
    await acquired(harness, limit=1)
    await save(harness, "worker-c1")
    await harness.store.routing.complete(ENV, "r1", "worker-c1")
    assert (await save(harness, "worker-c1")).refused is RefusedResponse.LATE
    assert await kept(harness) is None


async def test_a_response_to_an_abandoned_request_is_not_kept_though_it_still_runs(
    harness: Harness,
) -> None:
    await acquired(harness, limit=1)
    await harness.store.routing.complete(ENV, "r1", "worker-c1")
    saved = await save(harness, "worker-c1", running=True)
    assert saved.refused is RefusedResponse.LATE
    assert await kept(harness) is None


async def test_a_response_is_kept_when_the_lease_was_lost_with_all_data(harness: Harness) -> None:
    await acquired(harness, limit=1)
    await harness.commands.execute("DEL", harness.keys.lease(ENV, "r1"))
    assert (await save(harness, "worker-c1", running=True)).first


async def test_an_abandoned_request_is_remembered_for_a_minute(harness: Harness) -> None:
    await acquired(harness, limit=1)
    await harness.store.routing.complete(ENV, "r1", "worker-c1")
    ttl = await harness.ttl(harness.keys.abandoned(ENV, "r1"))
    assert ttl == pytest.approx(TIMING.buffered_response, abs=2)


async def test_a_request_with_a_response_leaves_no_mark(harness: Harness) -> None:
    await acquired(harness, limit=1)
    await save(harness, "worker-c1")
    await harness.store.routing.complete(ENV, "r1", "worker-c1")
    mark = harness.keys.abandoned(ENV, "r1")
    assert await harness.commands.execute("EXISTS", mark) == 0
