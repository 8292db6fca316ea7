"""What seeds stand for; and plans in which what goes wrong must cost no request."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio

from connect.nursery.connection import Connection
from connect.settings import Timing
from tests.simulation.facts import Facts, node_of
from tests.simulation.faults import Fault, FaultKind, plan_rolling_restarts
from tests.simulation.history import CallEnding
from tests.simulation.run import Outcome, Plan, make_plan, simulate
from tests.simulation.workload import Demand, plan_demands, plan_flood
from tests.simulation.world import Shape

PLANS = [make_plan(seed) for seed in range(400)]

TWO_GATEWAYS = Shape(gateways=2, executors=2, concurrency=(None, None))


def share(found: Sequence[object]) -> float:
    return len(found) / len(PLANS)


# What is drawn


def test_a_fault_is_often_alone() -> None:
    assert share([plan for plan in PLANS if len(plan.faults) == 1]) > 0.2


def test_the_api_is_killed_restarted_paused_and_loses_redis() -> None:
    faults = [fault for plan in PLANS for fault in plan.faults]
    kinds = {fault.kind for fault in faults if fault.node == "api" and not fault.other}
    assert kinds == {FaultKind.KILL, FaultKind.RESTART, FaultKind.PAUSE}
    assert any({fault.node, fault.other} == {"api", "redis"} for fault in faults)


@pytest.mark.parametrize(("kind", "nodes"), [(FaultKind.DRAIN, "gw"), (FaultKind.DEAF, "wk")])
def test_gateways_drain_and_workers_are_deaf(kind: FaultKind, nodes: str) -> None:
    places = {fault.node for plan in PLANS for fault in plan.faults if fault.kind is kind}
    assert {place.partition("-")[0] for place in places} == {nodes}


def test_gateways_restart_in_turn() -> None:
    rolling = [
        plan
        for plan in PLANS
        if Counter(fault.node for fault in plan.faults if fault.kind is FaultKind.RESTART)
        == dict.fromkeys((f"gw-{number}" for number in range(plan.shape.gateways)), 3)
    ]
    assert 0.01 < share(rolling) < 0.1


def test_functions_outlive_two_leases() -> None:
    long = [plan for plan in PLANS if any(demand.seconds > 40 for demand in plan.demands)]
    assert share(long) > 0.15


def test_many_requests_are_made_at_one_moment() -> None:
    crowded = [plan for plan in PLANS if _most_at_one_moment(plan) >= 20]
    assert 0.03 < share(crowded) < 0.3


def test_requests_are_made_again_after_a_lease() -> None:
    again = [demand.twice_after for plan in PLANS for demand in plan.demands]
    assert any(seconds is not None and seconds > Timing().lease for seconds in again)


def _most_at_one_moment(plan: Plan) -> int:
    return max(Counter(demand.at for demand in plan.demands).values())


# What must cost nothing


def short(rng: random.Random, count: int, begin: float, end: float) -> tuple[Demand, ...]:
    """Draw requests of a second at most, whose callers wait for them."""
    return tuple(
        replace(
            demand, seconds=rng.uniform(0, 1), fails=False, patience=None, twice_after=None
        )
        for demand in plan_demands(rng, count, begin, end)
    )  # fmt: skip


def assert_answered_once(outcome: Outcome) -> None:
    facts = Facts(outcome.history)
    requests = [demand.request for demand in outcome.plan.demands]
    calls = [call for request in requests for call in facts.calls_of(request)]
    assert not outcome.violations
    assert [(call.request, call.how) for call in calls] == [
        (request, CallEnding.ANSWERED) for request in requests
    ]
    assert all(len(facts.runs_of(request)) == 1 for request in requests)


@pytest.mark.parametrize("seed", range(3))
def test_restarts_of_all_gateways_in_turn_cost_nothing(seed: int) -> None:
    faults = plan_rolling_restarts(TWO_GATEWAYS, 3.0, apart=8.0)
    demands = short(random.Random(f"{seed} rolling"), 60, 2.0, faults[-1].at + 5)
    plan = replace(make_plan(seed), shape=TWO_GATEWAYS, faults=tuple(faults), demands=demands)
    assert_answered_once(simulate(plan))


@pytest.mark.parametrize("seconds", [0.2, 4.0, 40.0])
@pytest.mark.parametrize("seed", range(2))
def test_a_drain_that_is_taken_back_costs_nothing(seed: int, seconds: float) -> None:
    rng = random.Random(f"{seed} drained")
    drains = (
        Fault(kind=FaultKind.DRAIN, at=at, seconds=seconds, node=gateway)
        for at, gateway in ((5.0, "gw-0"), (5.0 + seconds + 8.0, "gw-1"))
    )
    demands = short(rng, 30, 2.0, 20.0 + 2 * seconds)
    long = (replace(demand, seconds=rng.uniform(20, 45)) for demand in demands[:4])
    plan = replace(
        make_plan(seed),
        shape=TWO_GATEWAYS,
        faults=tuple(drains),
        demands=(*long, *demands[4:]),
    )
    assert_answered_once(simulate(plan))


@pytest.mark.parametrize("kind", [FaultKind.KILL, FaultKind.PAUSE, FaultKind.RESTART])
def test_workers_need_no_api_for_what_they_are_sent(kind: FaultKind) -> None:
    fault = Fault(kind=kind, at=5.0, seconds=30.0, node="api")
    demands = short(random.Random(f"{kind} api"), 30, 2.0, 40.0)
    plan = replace(make_plan(0), shape=TWO_GATEWAYS, faults=(fault,), demands=demands)
    assert_answered_once(simulate(plan))


@pytest.mark.parametrize("seed", range(3))
def test_a_worker_that_does_not_read_is_disconnected_and_others_are_served(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled: list[tuple[str, float]] = []

    def note(connection: Connection) -> None:
        assert connection.joined is not None
        worker = node_of(connection.joined.connection.instance_id)
        stalled.append((worker, trio.current_time()))
        write_stalled(connection)

    write_stalled = Connection.write_stalled
    monkeypatch.setattr(Connection, "write_stalled", note)
    deaf = Fault(kind=FaultKind.DEAF, at=10.0, seconds=30.0, node="wk-0")
    outcome = simulate(
        replace(
            make_plan(seed),
            shape=replace(TWO_GATEWAYS, concurrency=(None, None, None)),
            faults=(deaf,),
            demands=tuple(plan_flood(20, deaf.at + 0.1)),
        )
    )
    assert not outcome.violations
    [(worker, at)] = stalled
    assert worker == "wk-0"
    assert at <= deaf.at + 0.1 + Timing().write + 1.0
    facts = Facts(outcome.history)
    requests = [demand.request for demand in outcome.plan.demands]
    calls = [facts.calls_of(request)[-1] for request in requests]
    assert {call.how for call in calls} == {CallEnding.ANSWERED}
    runs = [run for request in requests for run in facts.runs_of(request)]
    prompt = {run.request for run in runs if run.began < deaf.at + 2.0}
    assert len(prompt) >= len(requests) / 3
    assert {node_of(run.worker) for run in runs if run.request in prompt} == {"wk-1", "wk-2"}


@pytest.mark.parametrize("seed", range(4))
def test_an_executor_that_asks_for_anothers_request_and_leaves_changes_nothing(seed: int) -> None:
    first = Demand(
        request="req-0", at=5.0, seconds=27.0, size=0, fails=False, patience=None, twice_after=None
    )
    second = replace(first, at=5.05 + seed * 0.5, patience=1.0)
    plan = replace(
        make_plan(seed),
        shape=Shape(gateways=1, executors=2, concurrency=(3, 2, 3)),
        faults=(),
        demands=(first, second),
    )
    outcome = simulate(plan)
    assert not outcome.violations
    calls = Facts(outcome.history).calls_of("req-0")
    assert CallEnding.ANSWERED in {call.how for call in calls}
