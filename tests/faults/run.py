"""One fault under load, from a whole deployment to a whole one."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from tests.faults.bounds import Period, unexplained
from tests.faults.checker import Figures, check
from tests.faults.deployment import Deployment
from tests.faults.faults import FAULTS, ROLLING_RESTART, Scene
from tests.faults.load import Load

__all__ = ["FaultReport", "run_fault"]

# Before the first fault, so that all is in motion.
_WARM_SECONDS = 0.5
# The longest that all may be well between two faults.
_CALM_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultReport:
    """What a fault did to the requests meanwhile.

    Attributes:
        seconds: from the first request to the last answer.
        times: how often it was done.
        moments: what happened, in seconds since the load began.
        back: seconds from each killed gateway's death until our workers were back.
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
    load = Load(deployment, rate=rate, seed=seed)
    scene = Scene(deployment, load, random.Random(f"{fault} {seed}"), rounds)
    scene.periods.append(Period(since=time.time(), spared=await scene.spared()))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
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
    took = trio.current_time() - began
    broken = [*scene.broken, *deployment.died()]
    if not await deployment.whole():
        broken.append("not every worker has one connection again")
    workers = deployment.worker_nodes
    figures = check(
        load.calls,
        deployment.journal(),
        killed={name: at for node in workers for name, at in node.killed.items()},
        standstills={name: when for node in workers for name, when in node.frozen.items()},
        lease=deployment.plan.lease,
        forgotten=scene.forgotten,
    )
    if fault == ROLLING_RESTART and figures.attempts:
        broken.append(f"requests failed: {dict(figures.attempts)}")
    if fault != ROLLING_RESTART:
        broken += unexplained(load.calls, scene.periods)
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
        violations=[*broken, *figures.violations],
    )
