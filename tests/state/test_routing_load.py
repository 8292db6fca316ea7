"""Routing under load: full workers are passed over, found again, and never visited one by one."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import trio

from connect.state.commands import Argument, Reply, Script
from connect.state.keys import Keys
from connect.state.records import ConnectionStatus
from connect.state.redis_store import RedisStore
from connect.state.store import Acquired, AlreadyLeased, LeaseState, NoRoute, NoRouteReason
from tests.simulation.redis import MemoryRedis
from tests.state.harness import APP, ENV, GROUP, TIMING, Harness, SettableNow, group

ALL_AT_CAPACITY = NoRoute(NoRouteReason.ALL_AT_CAPACITY)
ONLY_DRAINING = NoRoute(NoRouteReason.ONLY_DRAINING)

# Of how often one of two comes that are drawn alike, in 400 draws.
FOUR_SIGMA = 40

Key = Callable[[str, str, str, str], str]


async def acquired(harness: Harness, request_id: str = "req-1", **changes: Any) -> Acquired:
    outcome = await harness.acquire(request_id, **changes)
    assert isinstance(outcome, Acquired)
    return outcome


@pytest.fixture
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of the test draws the same."""
    monkeypatch.setattr("connect.state.routing.random", random.Random(1))


async def heartbeat(harness: Harness, connection_id: str = "c1", **changes: Any) -> None:
    record = harness.connection(connection_id, **changes)
    assert await harness.store.connections.refresh(ENV, record, limited=True)


async def test_worker_leaves_the_ready_set_when_full_and_comes_back(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    place = (ENV, APP, GROUP, "gw-1")
    sizes = []
    await acquired(harness)
    sizes.append([await size(harness, key(*place)) for key in both(harness)])
    await harness.store.routing.complete(ENV, "req-1", "worker-c1")
    sizes.append([await size(harness, key(*place)) for key in both(harness)])
    assert sizes == [[0, 1], [1, 0]]
    assert await harness.commands.execute("EXISTS", harness.keys.busy(ENV)) == 0


async def test_every_connection_of_a_full_worker_is_passed_over(harness: Harness) -> None:
    for connection_id in ("c1", "c2"):
        await harness.connect(connection_id, limit=1, instance_id="same")
    await acquired(harness)
    assert await size(harness, harness.keys.ready(ENV, APP, GROUP, "gw-1")) == 0
    assert await harness.acquire("other") == ALL_AT_CAPACITY


async def test_full_worker_that_connects_again_is_still_full(harness: Harness) -> None:
    await harness.connect("c1", limit=1, instance_id="same")
    await acquired(harness)
    await harness.store.connections.delete(ENV, "c1")
    await harness.connect("c2", limit=1, instance_id="same")
    assert await harness.acquire("other") == ALL_AT_CAPACITY


async def test_higher_limit_makes_room_and_a_lower_one_takes_it(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness, "r1")
    await harness.store.capacity.set_limit(ENV, "worker-c1", 2)
    await acquired(harness, "r2")
    await harness.store.routing.complete(ENV, "r2", "worker-c1")
    await harness.store.capacity.set_limit(ENV, "worker-c1", 1)
    assert await harness.acquire("r3") == ALL_AT_CAPACITY


async def test_worker_without_limit_any_more_has_room(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness, "r1")
    await harness.store.capacity.set_limit(ENV, "worker-c1", 0)
    assert not (await acquired(harness, "r2")).limited


async def test_request_assigned_beside_routing_fills_the_worker(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await harness.store.capacity.assign(ENV, "worker-c1", "other")
    assert await harness.acquire() == ALL_AT_CAPACITY
    await harness.store.capacity.unassign(ENV, "worker-c1", "other")
    await acquired(harness)


async def test_full_worker_has_room_once_an_unextended_lease_is_over(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    first = await acquired(harness, "r1")
    await harness.store.leases.extend(
        ENV,
        "r1",
        lease_id=first.lease_id,
        instance_id="worker-c1",
        seconds=20,
        limited=True,
    )
    assert await harness.acquire("r2") == ALL_AT_CAPACITY
    harness.now.seconds += 20
    await acquired(harness, "r2")


async def test_busy_worker_is_looked_at_again_when_its_first_request_expires(
    harness: Harness,
) -> None:
    await harness.connect("c1", limit=2)
    first = await acquired(harness, "r1")
    await acquired(harness, "r2")
    await harness.store.leases.extend(
        ENV, "r1", lease_id=first.lease_id, instance_id="worker-c1", seconds=20, limited=True
    )
    busy = await harness.commands.execute("ZRANGE", harness.keys.busy(ENV), 0, -1, "WITHSCORES")
    assert float(busy[1]) == harness.now.seconds + 20


async def test_entry_that_others_wrote_in_milliseconds_makes_room_in_time(
    harness: Harness,
) -> None:
    await harness.connect("c1", limit=2)
    requests = harness.keys.requests(ENV, "worker-c1")
    await harness.commands.execute("ZADD", requests, harness.now.ms + 20_000, "theirs")
    await acquired(harness, "r1")
    assert await harness.acquire("r2") == ALL_AT_CAPACITY
    harness.now.seconds += 20
    await heartbeat(harness)
    await acquired(harness, "r2")


async def test_dropped_lease_makes_room(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    first = await acquired(harness, "r1")
    await harness.store.leases.extend(
        ENV, "r1", lease_id=first.lease_id, instance_id="worker-c1", seconds=0, limited=True
    )
    await acquired(harness, "r2")


async def test_extension_is_refused_when_the_requests_place_was_taken(harness: Harness) -> None:
    """The worker would run more than its limit."""
    await harness.connect("c1", limit=1)
    first = await acquired(harness, "r1")
    harness.now.seconds += TIMING.request_worker
    await heartbeat(harness)
    await acquired(harness, "r2")
    result = await harness.store.leases.extend(
        ENV, "r1", lease_id=first.lease_id, instance_id="worker-c1", seconds=20, limited=True
    )
    assert result.lease_id is None
    assert await harness.store.leases.state(ENV, "r1") is LeaseState.EXPIRED
    assert await harness.store.capacity.load(ENV, "worker-c1") == 1


async def test_assignment_of_an_expired_lease_is_taken_over(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await harness.connect("c2", limit=1)
    first = await acquired(harness)
    harness.now.seconds += 20
    for connection_id in ("c1", "c2"):
        await heartbeat(harness, connection_id)
    second = await acquired(harness, excluded=(first.connection_id,))
    loads = [
        await harness.store.capacity.load(ENV, outcome.instance_id) for outcome in (first, second)
    ]
    assert loads == [0, 1]


async def test_request_finds_its_own_place_on_a_full_worker(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await acquired(harness)
    harness.now.seconds += 20
    await heartbeat(harness)
    await acquired(harness)
    assert await harness.store.capacity.load(ENV, "worker-c1") == 1


async def test_assignment_is_not_taken_over_while_the_lease_is_live(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    first = await acquired(harness)
    assert await harness.acquire() == AlreadyLeased(first.lease_id)
    assert await harness.store.capacity.load(ENV, "worker-c1") == 1


async def test_full_worker_on_an_active_gateway_leaves_the_draining_one(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await harness.connect("c2", gateway_id="gw-2")
    first = await acquired(harness, "r1", draining_gateways=("gw-2",))
    second = await acquired(harness, "r2", draining_gateways=("gw-2",))
    assert (first.connection_id, second.connection_id) == ("c1", "c2")


async def test_excluded_full_worker_is_no_reason_to_wait_for_capacity(harness: Harness) -> None:
    await harness.connect("c1", limit=1)
    await harness.connect("c2", status=ConnectionStatus.DRAINING)
    await acquired(harness, "r1")
    assert await harness.acquire("r2", excluded=("c1",)) == ONLY_DRAINING


async def test_excluded_full_worker_on_a_draining_gateway_is_worth_waiting_for(
    harness: Harness,
) -> None:
    await harness.connect("c1", limit=1, gateway_id="gw-2")
    await acquired(harness, "r1", draining_gateways=("gw-2",))
    outcome = await harness.acquire("r2", draining_gateways=("gw-2",), excluded=("c1",))
    assert outcome == ONLY_DRAINING


async def test_acquire_names_the_app_as_its_worker_does(harness: Harness) -> None:
    await harness.connect("c1", groups={"billing": "else", "shop": GROUP, "zoo": GROUP})
    assert (await acquired(harness)).app_name == "shop"


async def test_app_without_a_name_has_an_empty_one(harness: Harness) -> None:
    await harness.connect("c1", groups={})
    assert (await acquired(harness)).app_name == ""


@pytest.mark.parametrize(
    "created",
    [
        ("2025-08-04T09:00:00.5Z", "2025-08-04T09:00:00.5Z"),
        ("2025-08-04T09:00:00.5Z", "2025-08-04T09:00:00.500+00:00"),
        ("2025-08-04T09:00:00Z", "2025-08-04T09:00:00.000Z"),
    ],
)
async def test_groups_created_at_the_same_time_are_drawn_from_alike(
    harness: Harness, seeded: None, created: tuple[str, str]
) -> None:
    for name, moment in zip("ab", created, strict=True):
        await harness.connect(f"c-{name}", group_record=group(name, created_at=moment))
    counts = Counter([(await acquired(harness, f"r{i}")).connection_id for i in range(400)])
    assert abs(counts["c-a"] - 200) <= FOUR_SIGMA


async def test_groups_created_together_are_both_preferred_to_an_older_one(
    harness: Harness, seeded: None
) -> None:
    """The weights are 1, 10 and 10."""
    for name, moment in (("old", "08-04"), ("a", "08-05"), ("b", "08-05")):
        record = group(name, created_at=f"2025-{moment}T09:00:00Z")
        await harness.connect(f"c-{name}", group_record=record)
    counts = Counter([(await acquired(harness, f"r{i}")).connection_id for i in range(400)])
    assert 0 < counts["c-old"] <= 400 / 21 + 17  # 17 are 4 sigma, too
    assert abs(counts["c-a"] - counts["c-b"]) <= 2 * FOUR_SIGMA


@pytest.mark.parametrize("case", ["healthy", "full", "draining gateway", "dead gateway", "status"])
async def test_acquire_asks_and_reads_no_more_of_many_connections_than_of_few(case: str) -> None:
    options: dict[str, Any] = {}
    if "gateway" in case:
        options["gateways"] = ("gw-9",)
    if case == "draining gateway":
        options["draining_gateways"] = ("gw-1",)
    few, many = [await cost_of_acquire(number, case, options) for number in (4, 400)]
    assert many[0] <= few[0] + 2
    assert many[1] <= few[1] + 4


async def cost_of_acquire(connections: int, case: str, options: dict[str, Any]) -> tuple[int, int]:
    """Return how many commands it runs within Redis, and how many values these answer."""
    now = SettableNow()
    counted = CountedRedis(now)
    commands = MemoryCommands(counted)
    harness = Harness(RedisStore(commands, now=now, timing=TIMING), commands, now, Keys())
    for number in range(connections):
        record = await harness.connect(f"c{number}", limit=1)
        if case == "full":
            await harness.store.capacity.assign(ENV, record.instance_id, f"before-{number}")
        elif case == "status":
            draining = replace(record, status=ConnectionStatus.DRAINING)
            await harness.store.connections.refresh(ENV, draining)
    before = counted.commands, counted.values
    await harness.acquire(**options)
    return counted.commands - before[0], counted.values - before[1]


class CountedRedis(MemoryRedis):
    """Counts what is done within scripts, too, and how many values come of it."""

    commands = values = 0

    def do(self, name: str, args: list[bytes]) -> Any:
        reply = super().do(name, args)
        self.commands += 1
        self.values += len(reply) if isinstance(reply, list) else 1
        return reply


class MemoryCommands:
    """`Commands` over a Redis in memory."""

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis
        self.round_trips = 0
        self.unreachable_since: float | None = None

    async def execute(self, *args: Argument) -> Reply:
        await trio.lowlevel.checkpoint()
        self.round_trips += 1
        return self._redis.execute(args)

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()
    ) -> Reply:
        await trio.lowlevel.checkpoint()
        self.round_trips += 1
        return self._redis.run(script, keys, args)


async def size(harness: Harness, key: str) -> int:
    count: int = await harness.commands.execute("ZCARD", key)
    return count


def both(harness: Harness) -> tuple[Key, Key]:
    return harness.keys.ready, harness.keys.full
