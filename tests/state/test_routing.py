"""Routing: one script takes a buffered response, or routes, leases and assigns."""

from collections import Counter
from functools import partial
from typing import Any

import pytest

from connect.state.leases import lease_id_at
from connect.state.records import ConnectionStatus, LeaseRecord
from connect.state.store import (
    Acquired,
    AlreadyLeased,
    Buffered,
    LeaseState,
    NoRoute,
    NoRouteReason,
)
from tests.state.harness import ENV, TIMING, Harness, group, ulid_ms

NONE_HEALTHY = NoRoute(NoRouteReason.NONE_HEALTHY)
ONLY_DRAINING = NoRoute(NoRouteReason.ONLY_DRAINING)
ALL_AT_CAPACITY = NoRoute(NoRouteReason.ALL_AT_CAPACITY)


async def acquired(harness: Harness, request_id: str = "req-1", **changes: object) -> Acquired:
    outcome = await harness.acquire(request_id, **changes)
    assert isinstance(outcome, Acquired)
    return outcome


async def test_acquire_names_the_connection_its_gateway_and_its_worker(harness: Harness) -> None:
    await harness.connect("c1")
    outcome = await acquired(harness)
    assert (outcome.connection_id, outcome.gateway_id, outcome.instance_id) == (
        "c1",
        "gw-1",
        "worker-c1",
    )
    assert not outcome.limited


async def test_acquire_leases_the_request_to_the_executor(harness: Harness) -> None:
    await harness.connect("c1")
    outcome = await acquired(harness)
    assert await harness.store.leases.get(ENV, "req-1") == LeaseRecord(
        id=outcome.lease_id,
        executor_host="10.0.0.1",
        executor_port=50053,
        worker_id="worker-c1",
    )


async def test_acquired_lease_expires_after_its_duration(harness: Harness) -> None:
    await harness.connect("c1")
    outcome = await acquired(harness, lease_seconds=20.0)
    assert ulid_ms(outcome.lease_id) == harness.now.ms + 20_000


async def test_acquired_lease_lives_as_long_as_the_longest_function(harness: Harness) -> None:
    await harness.connect("c1")
    await acquired(harness)
    ttl = await harness.ttl(harness.keys.lease(ENV, "req-1"))
    assert ttl == pytest.approx(TIMING.longest_function + 20, abs=2)


async def test_acquire_counts_the_request_on_a_limited_worker(harness: Harness) -> None:
    await harness.connect("c1", limit=2)
    outcome = await acquired(harness)
    assert outcome.limited
    assert await harness.store.capacity.load(ENV, "worker-c1") == 1


async def test_acquire_does_not_track_requests_of_unlimited_workers(harness: Harness) -> None:
    await harness.connect("c1")
    await acquired(harness)
    mapping = harness.keys.request_worker(ENV, "req-1")
    assert await harness.commands.execute("GET", mapping) is None


async def test_acquire_takes_one_round_trip(harness: Harness) -> None:
    await harness.connect("c1", limit=5)
    await acquired(harness, "warm-up")
    before = harness.store.round_trips
    await acquired(harness)
    assert harness.store.round_trips - before == 1


async def test_request_with_save_and_complete_takes_three_round_trips(harness: Harness) -> None:
    await harness.connect("c1", limit=5)
    for request_id in ("warm-up", "req-1"):
        before = harness.store.round_trips
        await acquired(harness, request_id)
        await harness.store.responses.save(ENV, request_id, b"done")
        await harness.store.routing.complete(ENV, request_id, "worker-c1")
    assert harness.store.round_trips - before == 3


async def test_buffered_response_is_found(harness: Harness) -> None:
    await harness.store.responses.save(ENV, "req-1", b"\x00\xffreply")
    assert await harness.acquire() == Buffered(b"\x00\xffreply")


async def test_buffered_response_is_found_again(harness: Harness) -> None:
    """The first answer may have been lost."""
    await harness.store.responses.save(ENV, "req-1", b"reply")
    await harness.acquire()
    assert await harness.acquire() == Buffered(b"reply")


async def test_buffered_response_is_found_also_when_routing_again(harness: Harness) -> None:
    """The forward may have failed, and its worker have replied nonetheless."""
    await harness.connect("c1")
    first = await acquired(harness)
    await harness.store.responses.save(ENV, "req-1", b"reply")
    outcome = await harness.acquire(
        held_lease=first.lease_id, held_instance=first.instance_id, excluded=("c1",)
    )
    assert outcome == Buffered(b"reply")


async def test_live_lease_is_already_leased_and_names_the_new_executor(harness: Harness) -> None:
    await harness.connect("c1")
    first = await acquired(harness)
    outcome = await harness.acquire(executor_host="10.0.0.2", executor_port=0)
    assert outcome == AlreadyLeased(first.lease_id)
    assert outcome.executor == ("10.0.0.1", 50053)
    lease = await harness.store.leases.get(ENV, "req-1")
    assert lease is not None
    assert (lease.id, lease.executor_host, lease.executor_port) == (first.lease_id, "10.0.0.2", 0)


async def test_expired_lease_does_not_hinder_acquiring(harness: Harness) -> None:
    await harness.connect("c1")
    first = await acquired(harness, lease_seconds=5.0)
    harness.now.seconds += 5
    second = await acquired(harness)
    assert second.lease_id != first.lease_id


@pytest.mark.parametrize("stored", ["{not json", "7", '{"leaseID": 7}', '{"leaseID": "x"}'])
async def test_unreadable_lease_does_not_hinder_acquiring(harness: Harness, stored: str) -> None:
    await harness.connect("c1")
    await harness.commands.execute("SET", harness.keys.lease(ENV, "req-1"), stored)
    await acquired(harness)


async def test_no_route_leaves_nothing_behind_for_a_fresh_request(harness: Harness) -> None:
    before = await harness.commands.execute("KEYS", "*")
    assert await harness.acquire() == NONE_HEALTHY
    assert await harness.commands.execute("KEYS", "*") == before


async def test_rerouting_renews_the_lease_without_a_previous_one(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.connect("c2")
    first = await acquired(harness)
    second = await acquired(harness, held_lease=first.lease_id, excluded=(first.connection_id,))
    lease = await harness.store.leases.get(ENV, "req-1")
    assert second.connection_id != first.connection_id
    assert lease is not None
    assert (lease.id, lease.previous_id) == (second.lease_id, "")


async def test_rerouting_moves_the_request_to_the_other_worker(harness: Harness) -> None:
    for connection_id in ("c1", "c2"):
        await harness.connect(connection_id, limit=1)
    first = await acquired(harness)
    second = await acquired(
        harness,
        held_lease=first.lease_id,
        held_instance=first.instance_id,
        excluded=(first.connection_id,),
    )
    loads = [
        await harness.store.capacity.load(ENV, outcome.instance_id) for outcome in (first, second)
    ]
    assert loads == [0, 1]


async def test_rerouting_may_use_the_room_it_frees_on_the_same_worker(harness: Harness) -> None:
    for connection_id in ("c1", "c2"):
        await harness.connect(connection_id, limit=1, instance_id="same")
    first = await acquired(harness)
    second = await acquired(
        harness,
        held_lease=first.lease_id,
        held_instance="same",
        excluded=(first.connection_id,),
    )
    assert second.connection_id != first.connection_id
    assert await harness.store.capacity.load(ENV, "same") == 1


async def test_rerouting_without_a_route_keeps_the_held_lease(harness: Harness) -> None:
    await harness.connect("c1")
    first = await acquired(harness)
    outcome = await harness.acquire(held_lease=first.lease_id, excluded=("c1",))
    assert outcome == NONE_HEALTHY
    assert await harness.store.leases.state(ENV, "req-1") is LeaseState.LEASED


async def test_rerouting_stops_when_the_worker_extended_meanwhile(harness: Harness) -> None:
    await harness.connect("c1")
    first = await acquired(harness)
    extended = await harness.store.leases.extend(
        ENV,
        "req-1",
        lease_id=first.lease_id,
        instance_id="worker-c1",
        seconds=20,
        limited=False,
    )
    assert extended.lease_id is not None
    outcome = await harness.acquire(held_lease=first.lease_id, held_instance="worker-c1")
    assert outcome == AlreadyLeased(extended.lease_id)


async def test_rerouting_into_anothers_lease_leaves_the_assignment(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    outcome = await harness.acquire(held_lease="0" * 26, held_instance="worker-c1")
    assert isinstance(outcome, AlreadyLeased)
    assert await harness.store.capacity.load(ENV, "worker-c1") == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": ConnectionStatus.CONNECTED}, NONE_HEALTHY),
        ({"status": ConnectionStatus.DRAINING}, ONLY_DRAINING),
        ({"status": ConnectionStatus.DISCONNECTING}, NONE_HEALTHY),
        ({"status": ConnectionStatus.DISCONNECTED}, NONE_HEALTHY),
        ({"gateway_id": "gw-dead"}, NONE_HEALTHY),
        ({"gateway_id": "gw-dead", "status": ConnectionStatus.DRAINING}, NONE_HEALTHY),
        ({"last_heartbeat_ms": 0}, NONE_HEALTHY),
        ({"last_heartbeat_ms": 0, "status": ConnectionStatus.DRAINING}, NONE_HEALTHY),
    ],
)
async def test_connection_that_is_no_candidate_is_not_chosen(
    harness: Harness, changes: dict[str, Any], reason: NoRoute
) -> None:
    await harness.connect("c1", **changes)
    assert await harness.acquire() == reason


async def test_heartbeat_two_intervals_old_still_counts(harness: Harness) -> None:
    await harness.connect("c1")
    harness.now.seconds += 2 * TIMING.worker_heartbeat
    await acquired(harness)


async def test_heartbeat_over_two_intervals_old_does_not_count(harness: Harness) -> None:
    await harness.connect("c1")
    harness.now.seconds += 2 * TIMING.worker_heartbeat + 0.001
    assert await harness.acquire() == NONE_HEALTHY


async def test_group_without_the_function_is_not_chosen(harness: Harness) -> None:
    await harness.connect("c1", group_record=group(functions=("shop-other",)))
    assert await harness.acquire() == NONE_HEALTHY


async def test_connection_of_another_app_is_not_chosen(harness: Harness) -> None:
    await harness.connect("c1", group_record=group(app_id="app-2"))
    assert await harness.acquire() == NONE_HEALTHY


async def test_unsynced_group_is_not_chosen(harness: Harness) -> None:
    await harness.connect("c1", synced_groups={})
    assert await harness.acquire() == NONE_HEALTHY


async def test_full_worker_is_at_capacity(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness, "other")
    assert await harness.acquire() == ALL_AT_CAPACITY


async def test_full_worker_among_unhealthy_ones_is_at_capacity(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await harness.connect("c2", status=ConnectionStatus.DRAINING)
    await harness.connect("c3", gateway_id="gw-dead")
    for number in range(4, 8):
        await harness.connect(f"c{number}", limit=1, instance_id="worker-c1")
    await acquired(harness, "other")
    assert await harness.acquire() == ALL_AT_CAPACITY


async def test_full_worker_has_room_again_when_the_lease_of_its_request_ran_out(
    harness: Harness,
) -> None:
    """Nobody cleans up after an executor that died before the first extension."""
    await harness.connect("c1", limit=1)
    await acquired(harness, "other")
    harness.now.seconds += 20
    await harness.store.connections.refresh(ENV, harness.connection("c1"))
    await acquired(harness)


async def test_excluded_connection_is_not_chosen(harness: Harness) -> None:
    await harness.connect("c1")
    await harness.connect("c2")
    chosen = {(await acquired(harness, f"r{i}", excluded=("c1",))).connection_id for i in range(8)}
    assert chosen == {"c2"}


async def test_draining_gateway_is_used_when_nothing_else_is_there(harness: Harness) -> None:
    await harness.connect("c1", gateway_id="gw-2")
    outcome = await acquired(harness, draining_gateways=("gw-2",))
    assert outcome.gateway_id == "gw-2"


async def test_draining_gateway_is_used_when_no_gateway_is_active(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    outcome = await acquired(harness, gateways=(), draining_gateways=("gw-1",))
    assert outcome.limited


async def test_active_gateway_is_preferred_to_a_draining_one(harness: Harness) -> None:
    await harness.connect("c1")
    for number in range(2, 12):
        await harness.connect(f"c{number}", gateway_id="gw-2")
    chosen = {
        (await acquired(harness, f"r{i}", draining_gateways=("gw-2",))).connection_id
        for i in range(8)
    }
    assert chosen == {"c1"}


async def test_tried_connection_on_a_draining_gateway_is_worth_waiting_for(
    harness: Harness,
) -> None:
    """Its worker is about to reconnect elsewhere, though DRAINING is not stored yet."""
    await harness.connect("c1", gateway_id="gw-2")
    outcome = await harness.acquire(draining_gateways=("gw-2",), excluded=("c1",))
    assert outcome == ONLY_DRAINING


async def test_candidate_is_found_behind_many_that_are_none(harness: Harness) -> None:
    for number in range(60):
        await harness.connect(f"c{number}", gateway_id="gw-dead")
    await harness.connect("good")
    for i in range(5):
        assert (await acquired(harness, f"r{i}")).connection_id == "good"


async def test_connections_of_a_group_share_the_requests(harness: Harness) -> None:
    for number in range(4):
        await harness.connect(f"c{number}")
    counts = Counter([(await acquired(harness, f"r{i}")).connection_id for i in range(200)])
    assert len(counts) == 4
    assert min(counts.values()) > 20


async def test_less_loaded_worker_of_two_is_chosen(harness: Harness) -> None:
    await harness.connect("c1", limit=10)
    await harness.connect("c2", limit=10)
    for i in range(5):
        await harness.store.capacity.assign(ENV, "worker-c1", f"before-{i}")
    chosen = {(await acquired(harness, f"r{i}")).connection_id for i in range(5)}
    assert chosen == {"c2"}


async def test_newer_group_is_preferred_ten_to_one(harness: Harness) -> None:
    old = group("old", created_at="2025-08-04T09:00:00Z")
    new = group("new", created_at="2025-08-04T09:00:00.5Z")
    await harness.connect("c-old", group_record=old)
    await harness.connect("c-new", group_record=new)
    counts = Counter([(await acquired(harness, f"r{i}")).connection_id for i in range(300)])
    assert 0 < counts["c-old"] < 60


async def test_complete_removes_assignment_lease_and_response(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    await harness.store.responses.save(ENV, "req-1", b"reply")
    await harness.store.routing.complete(ENV, "req-1", "worker-c1")
    assert await harness.store.capacity.load(ENV, "worker-c1") == 0
    assert await harness.store.leases.get(ENV, "req-1") is None
    assert await harness.store.responses.get(ENV, "req-1") is None


async def test_complete_can_leave_the_response_to_whoever_asks_next(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    await harness.store.responses.save(ENV, "req-1", b"reply")
    await harness.store.routing.complete(ENV, "req-1", "worker-c1", keep_response=True)
    assert await harness.store.capacity.load(ENV, "worker-c1") == 0
    assert await harness.store.leases.get(ENV, "req-1") is None
    assert await harness.acquire() == Buffered(b"reply")


async def test_complete_that_would_leave_a_response_takes_no_later_one(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    await harness.store.routing.complete(ENV, "req-1", "worker-c1", keep_response=True)
    await harness.store.responses.save(ENV, "req-1", b"late", instance_id="worker-c1")
    assert await harness.store.responses.get(ENV, "req-1") is None


async def test_complete_may_be_repeated(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    for _ in range(2):
        await harness.store.routing.complete(ENV, "req-1", "worker-c1")
    assert await harness.store.capacity.load(ENV, "worker-c1") == 0


async def test_complete_leaves_anothers_assignment(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    await harness.store.routing.complete(ENV, "req-1", "worker-other")
    assert await harness.store.capacity.load(ENV, "worker-c1") == 1


async def test_complete_without_an_instance_deletes_lease_and_response(harness: Harness) -> None:
    await harness.connect("c1")
    await acquired(harness)
    await harness.store.responses.save(ENV, "req-1", b"reply")
    await harness.store.routing.complete(ENV, "req-1", None)
    assert await harness.acquire() != Buffered(b"reply")


async def test_complete_without_an_instance_finds_the_worker_out(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    await harness.store.routing.complete(ENV, "req-1", None)
    assert await harness.store.capacity.load(ENV, "worker-c1") == 0


async def test_complete_by_the_executor_of_the_lease_is_done(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    lease = await harness.store.leases.get(ENV, "req-1")
    assert lease is not None
    executor = (lease.executor_host, lease.executor_port)
    assert await harness.store.routing.complete(ENV, "req-1", "worker-c1", executor=executor)
    assert await harness.store.leases.get(ENV, "req-1") is None


@pytest.mark.parametrize("executor", [("10.9.9.9", 50053), ("10.0.0.1", 1)])
async def test_complete_leaves_a_request_that_another_executor_waits_for(
    executor: tuple[str, int], harness: Harness
) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    before = await harness.store.leases.get(ENV, "req-1")
    assert not await harness.store.routing.complete(ENV, "req-1", "worker-c1", executor=executor)
    assert await harness.store.leases.get(ENV, "req-1") == before
    assert await harness.store.capacity.load(ENV, "worker-c1") == 1


@pytest.mark.parametrize("executor", [("10.9.9.9", 50053), ("10.0.0.1", 1)])
async def test_a_worker_that_has_replied_has_room_again_whoever_waits_for_the_reply(
    executor: tuple[str, int], harness: Harness
) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    before = await harness.store.leases.get(ENV, "req-1")
    await harness.store.responses.save(ENV, "req-1", b"reply")
    assert not await harness.store.routing.complete(ENV, "req-1", "worker-c1", executor=executor)
    assert await harness.store.leases.get(ENV, "req-1") == before
    assert await harness.store.responses.get(ENV, "req-1") == b"reply"
    assert await harness.store.capacity.load(ENV, "worker-c1") == 0


async def test_complete_that_comes_late_leaves_the_next_run_of_the_request(
    harness: Harness,
) -> None:
    await harness.connect("c1", limit=1)
    first = await acquired(harness)
    complete = partial(
        harness.store.routing.complete, ENV, "req-1", "worker-c1", made_with=[first.lease_id]
    )
    assert await complete()
    harness.now.seconds += 1
    await acquired(harness)
    before = await harness.store.leases.get(ENV, "req-1")
    await harness.store.responses.save(ENV, "req-1", b"reply")
    assert not await complete()
    assert await harness.store.leases.get(ENV, "req-1") == before
    assert await harness.store.responses.get(ENV, "req-1") == b"reply"
    assert await harness.store.capacity.load(ENV, "worker-c1") == 1


async def test_complete_knows_a_lease_that_was_extended_and_taken_over(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    first = await acquired(harness)
    await harness.store.leases.extend(
        ENV, "req-1", lease_id=first.lease_id, instance_id="worker-c1", seconds=20, limited=True
    )
    outcome = await harness.acquire()
    assert isinstance(outcome, AlreadyLeased)
    assert outcome.first_lease_id == first.lease_id != outcome.lease_id
    made_with = [lease_id_at(5), outcome.first_lease_id]
    assert await harness.store.routing.complete(ENV, "req-1", None, made_with=made_with)
    assert await harness.store.capacity.load(ENV, "worker-c1") == 0


async def test_complete_takes_a_lease_whose_first_id_is_not_known_for_the_same(
    harness: Harness,
) -> None:
    lease = await harness.store.leases.lease(
        ENV, "req-1", executor_host="10.0.0.1", executor_port=1, seconds=20
    )
    assert isinstance(lease, LeaseRecord)
    assert await harness.store.routing.complete(ENV, "req-1", None, made_with=[lease_id_at(5)])
    assert await harness.store.leases.get(ENV, "req-1") is None


async def test_complete_of_a_request_whose_lease_is_lost_is_done(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    await harness.store.leases.delete(ENV, "req-1")
    done = await harness.store.routing.complete(
        ENV, "req-1", "worker-c1", executor=("10.9.9.9", 50053)
    )
    assert done
    assert await harness.store.capacity.load(ENV, "worker-c1") == 0
