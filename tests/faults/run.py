"""One fault under load, from a whole deployment to a whole one."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trio

from connect.errors import Syscode
from tests.faults.apps import LIMIT
from tests.faults.at_once import most_at_once
from tests.faults.bounds import Period, unexplained
from tests.faults.checker import Figures, check
from tests.faults.deployment import Deployment
from tests.faults.faults import ALL_APPS, FAULTS, OFFICIAL_HOLDS, ROLLING_RESTART, STRANDING, Scene
from tests.faults.load import Load
from tests.faults.remains import holding, left_in_processes, left_in_redis
from tests.faults.repeated import Around, Busy, Work
from tests.faults.under_way import UnderWay

__all__ = ["FaultReport", "besides_refusals", "run_fault"]

# Before the first fault, so that all is in motion.
_WARM_SECONDS = 0.5
# The longest that all may be well between two faults.
_CALM_SECONDS = 3.0
# The official SDK understands no intervals of less than a second: a lease has four.
_OFFICIAL_LEAST_LEASE = 4.0
# How closely this process looks at how late it is woken.
_TICK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultReport:
    """What a fault did to the requests meanwhile.

    Attributes:
        seconds: from the first request to the last answer.
        times: how often it was done.
        moments: what happened, in seconds since the load began.
        back: seconds from each killed gateway's death until our workers were back.
        spanned: requests that were running when a fault began which may lose no work.
        violations: what does not hold, in words.
    """

    fault: str
    seed: int
    rate: float
    seconds: float
    times: int
    moments: Sequence[tuple[float, str]]
    figures: Figures
    back: Sequence[float]
    spanned: int
    violations: Sequence[str]


async def run_fault(
    deployment: Deployment,
    fault: str,
    *,
    seconds: float,
    rate: float,
    seed: int,
    rounds: int = 3,
) -> FaultReport:
    """Do a fault again and again, at random moments under load, and check what came of it.

    Args:
        fault: a key of `FAULTS`.
        seconds: how long faults may begin; the first one happens in any case. The rolling
            restart is done once.
        rate: requests per second.
        seed: draws the moments, the victims and the requests.
        rounds: of a rolling restart.
    """
    official_long = (
        fault in OFFICIAL_HOLDS
        and deployment.plan.lease >= _OFFICIAL_LEAST_LEASE
        and bool(deployment.official_workers)
    )
    load = Load(deployment, rate=rate, seed=seed, official_long=official_long)
    under_way = UnderWay(deployment.journal_path)
    scene = Scene(deployment, load, under_way, random.Random(f"{fault} {seed}"), rounds)
    scene.periods.append(Period(since=time.time(), spared=await scene.spared(), extended=ALL_APPS))
    busy: list[Busy] = []
    await _warm_up(deployment, rate)
    before = await holding(deployment)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        watching = await nursery.start(_watch_lateness, busy)
        await trio.sleep(_WARM_SECONDS)
        calm = min(_CALM_SECONDS, seconds / 4)
        times = 0
        while True:
            await trio.sleep(scene.random.uniform(0, calm))
            await FAULTS[fault](scene)
            times += 1
            # So that faults of one kind don't add up to another one.
            await deployment.whole()
            if fault == ROLLING_RESTART or trio.current_time() - began >= seconds:
                break
        await trio.sleep(_WARM_SECONDS)
        load.stop()
        await load.wait_answered()
        watching.cancel()
    took = trio.current_time() - began
    broken = [*scene.broken, *deployment.died()]
    if not await deployment.whole():
        broken.append("not every worker has one connection again")
    else:
        strands = fault in STRANDING
        broken += await left_in_redis(deployment, load.calls, strands=strands)
        broken += await left_in_processes(deployment, before)
    workers, journal = deployment.worker_nodes, deployment.journal()
    around = Around(
        periods=scene.periods,
        executors_killed=[at for node in deployment.executors for at in node.killed.values()],
        busy=busy,
        lease=deployment.plan.lease,
    )
    work = Work(journal, around)
    at_once = most_at_once(journal)
    broken += [
        f"{name} ran {at_once[name]} requests at once, and may run {LIMIT}"
        for node in deployment.limited_workers
        for name in node.incarnations
        if at_once.get(name, 0) > LIMIT
    ]
    figures = check(
        load.calls,
        journal,
        killed={name: at for node in workers for name, at in node.killed.items()},
        standstills={name: when for node in workers for name, when in node.frozen.items()},
        lease=deployment.plan.lease,
        forgotten=scene.forgotten,
    )
    if fault == ROLLING_RESTART and (failed := besides_refusals(figures.attempts)):
        broken.append(f"requests failed: {failed}")
    if fault != ROLLING_RESTART:
        broken += unexplained(load.calls, scene.periods, lost=work.excuses)
    broken += map(str, work.repetitions(load.calls))
    if figures.failed:
        broken.append(f"requests were not answered in time: {dict(figures.failed)}")
    start = load.calls[0].began
    return FaultReport(
        fault=fault,
        seed=seed,
        rate=rate,
        seconds=took,
        times=times,
        moments=[(at - start, what) for at, what in scene.moments],
        figures=figures,
        back=scene.back,
        spanned=sum(map(work.spanned, load.calls)),
        violations=[*broken, *figures.violations],
    )


def besides_refusals(attempts: Mapping[str, int]) -> dict[str, int]:
    """The failed attempts, but for those that a worker's limit refused: such are no faults."""
    refused = Syscode.ALL_WORKERS_AT_CAPACITY
    return {reason: count for reason, count in attempts.items() if reason != refused}


async def _warm_up(deployment: Deployment, rate: float) -> None:
    """Have a few requests carried out, so that what is opened once and kept is there."""
    load = Load(deployment, rate=rate, seed=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        await trio.sleep(_WARM_SECONDS)
        load.stop()


async def _watch_lateness(
    busy: list[Busy], *, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    """Note whenever this process is woken too late, until cancelled."""
    with trio.CancelScope() as scope:
        task_status.started(scope)
        while True:
            due = trio.current_time() + _TICK_SECONDS
            await trio.sleep_until(due)
            late = trio.current_time() - due
            if late > _TICK_SECONDS:
                busy.append(Busy(time.time(), late))
