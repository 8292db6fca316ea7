"""What the figures of the state store come to, and the calls that they come from."""

import math

import pytest

from bench.state_process import Caller, UnexpectedOutcome
from bench.state_results import Load, RequestCalls, Round, StateRow, script_cost
from connect.settings import Timing
from connect.state.embedded import open_embedded_store
from connect.state.redis_store import RedisStore
from tests.bench.reports import make_cost, make_report, make_state

NOW = 1_750_000_000.0
ENV = "env"


def now() -> float:
    return NOW


@pytest.fixture
def store() -> RedisStore:
    return open_embedded_store(now=now, timing=Timing())


def test_cost_of_a_call_is_the_median_of_rounds_of_any_length() -> None:
    rounds = [
        Round(trips_us=[10.0, 20.0], redis_us=8.0, script_us=4.0, client_us=2.0),
        Round(trips_us=[30.0], redis_us=5.0, script_us=3.0, client_us=9.0),
        Round(trips_us=[99.0], redis_us=50.0, script_us=30.0, client_us=90.0),
    ]
    cost = script_cost(rounds)
    assert (cost.calls, cost.redis_us, cost.script_us, cost.client_us) == (4, 5.0, 3.0, 9.0)
    assert (cost.p50_us, cost.p99_us) == (20.0, 99.0)


def test_growth_is_told_for_loads_with_several_numbers_of_connections() -> None:
    (found,) = make_state().ratios
    assert (found.load, found.fewest, found.most) == (Load.ROOM, 1, 1000)
    assert (found.redis, found.client, found.p50) == (1.2, 1.0, 1.5)


def test_growth_within_the_bound_meets_the_targets() -> None:
    targets = make_report(state=make_state()).targets
    assert len(targets) == 4
    assert all(target.met for target in targets)


def test_growth_beyond_the_bound_misses_the_target() -> None:
    rows = [
        StateRow(connections=number, load=Load.BUSY, acquire=cost, complete=None)
        for number, cost in ((1, make_cost()), (1000, make_cost(redis_us=91.0)))
    ]
    redis, p50 = make_state(rows=tuple(rows), calls=()).targets
    assert (redis.met, p50.met) == (False, True)


def test_round_trips_that_grow_with_workers_miss_a_target() -> None:
    calls = tuple(
        RequestCalls(workers=workers, round_trips=trips, scripts=trips, commands=20.0)
        for workers, trips in ((1, 2.0), (100, 3.0))
    )
    most, same = make_state(rows=(), calls=calls).targets
    assert (most.met, same.met) == (True, False)


def test_round_trip_times_are_marked_where_something_else_kept_the_machine_busy() -> None:
    targets = make_state(other_cpus=0.9).targets
    assert [target.name.split(",")[1] for target in targets if target.disturbed] == [" p50"]


@pytest.mark.parametrize("load", list(Load))
async def test_workers_come_under_the_load_that_is_asked_for(store: RedisStore, load: Load) -> None:
    caller = Caller(store, now)
    await caller.connect(ENV, 4, load)
    answer = await caller.acquire(ENV, 2, math.inf, load)
    assert len(answer["trips_us"]) == 2


async def test_routing_that_comes_to_something_else_is_an_error(store: RedisStore) -> None:
    caller = Caller(store, now)
    await caller.connect(ENV, 2, Load.UNLIMITED)
    with pytest.raises(UnexpectedOutcome, match="all busy"):
        await caller.acquire(ENV, 1, math.inf, Load.BUSY)


async def test_request_that_cannot_be_acquired_is_not_counted(store: RedisStore) -> None:
    with pytest.raises(UnexpectedOutcome):
        await Caller(store, now).requests(ENV, 1)


async def test_half_of_the_workers_are_busy_and_of_one_none(store: RedisStore) -> None:
    caller = Caller(store, now)
    await caller.connect(ENV, 5, Load.HALF)
    busy = [await store.capacity.load(ENV, f"worker-{n:06}.bench.example.com") for n in range(5)]
    assert busy == [0, 1, 0, 1, 0]


async def test_calls_end_with_the_time_that_is_given(store: RedisStore) -> None:
    caller = Caller(store, now)
    await caller.connect(ENV, 1, Load.UNLIMITED)
    answer = await caller.acquire(ENV, 1000, 0.0, Load.UNLIMITED)
    assert len(answer["trips_us"]) == 1


async def test_completing_leaves_nothing_acquired(store: RedisStore) -> None:
    caller = Caller(store, now)
    await caller.connect(ENV, 1, Load.ROOM)
    await caller.acquire(ENV, 3, math.inf, Load.ROOM)
    assert len((await caller.complete())["trips_us"]) == 3
    assert await store.capacity.load(ENV, "worker-000000.bench.example.com") == 0


async def test_all_that_a_request_asks_for_takes_three_round_trips(store: RedisStore) -> None:
    caller = Caller(store, now)
    await caller.connect(ENV, 3, Load.ROOM)
    await caller.requests(ENV, 1)
    assert await caller.requests(ENV, 10) == {"round_trips": 30}
