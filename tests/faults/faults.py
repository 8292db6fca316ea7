"""The faults: what is done to a deployment, and undone."""

import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import trio

from tests.faults.apps import APP_NAME, LIMITED_APP_NAME, OFFICIAL_APP_NAME
from tests.faults.bounds import Period
from tests.faults.deployment import Deployment
from tests.faults.load import Load
from tests.faults.nodes import Node
from tests.faults.under_way import Running, UnderWay
from tests.support.tcp_proxy import Direction, Proxy

__all__ = ["ALL_APPS", "FAULTS", "OFFICIAL_HOLDS", "ROLLING_RESTART", "STRANDING", "Fault", "Scene"]

# Parts of a lease: what stands still is longer than a lease, what is slow may be shorter.
_STANDSTILL_LEASES = (1.25, 1.75)
_DISTURBANCE_LEASES = (0.5, 1.75)
# Two leases, 40 s by default: what runs needs more than one extension meanwhile.
_STORE_CUT_LEASES = 2.0
# An executor has an eighth of a lease to extend it. So much lateness of this process alone says
# that the machine may be too busy for that.
_TIMELY_LEASES = 1 / 32
_AWAY_SECONDS = (0.3, 1.0)
# So long that leases run out unless workers extend them, and that replies wait for an executor.
_EXECUTORS_AWAY_LEASES = (1.5, 2.5)
# A run is worth to be disturbed while so much of it is left.
_LEFT_LEASES = 0.25
_RUN_SECONDS = 30.0
_CUTS = 3
_BETWEEN_CUTS_SECONDS = 0.2
_BACK_SECONDS = 30.0
# What is sent to a worker that does not read must fill the buffers on its way, some megabytes;
# then its gateway waits for as long as a write may take.
_PADDING_BYTES = 48 * 1024
_UNREAD = frozenset({"WRITE_STALLED", "CONSECUTIVE_HEARTBEATS_MISSED"})
_DEAF_SECONDS = 30.0
_DEAF_POLL_SECONDS = 0.1
_POLL_SECONDS = 0.02

# The apps whose leases are extended whatever happens, unless their workers are away for long; the
# official SDK's workers don't tell when they are. And those of which it holds where no worker loses
# its connection.
OURS = frozenset({APP_NAME, LIMITED_APP_NAME})
ALL_APPS = OURS | {OFFICIAL_APP_NAME}

ROLLING_RESTART = "rolling-restart"
# What the official SDK's worker must get long requests through, or begin them anew after. Where
# leases run out it goes on nonetheless, and so may run what others have been given.
OFFICIAL_HOLDS = frozenset(
    {"kill-worker", "kill-executor", "kill-executors", "cut-rpc", "cut-redis"}
)
# Who cleans up after a request is killed, or cut off from Redis: what expires may be left.
STRANDING = frozenset(
    {"kill-executor", "kill-executors", "kill-redis", "empty-redis", "stop-redis", "stop-executor",
     "cut-redis", "stall-redis", "drop-redis"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault acts on, and what it notes.

    Attributes:
        load: the requests meanwhile.
        under_way: what the workers run.
        rounds: of a rolling restart.
        moments: what happened when, in unix seconds.
        back: seconds from each gateway's death until all workers of ours were ready at the
            other. Those of the official SDK take their own time.
        forgotten: when Redis lost all it knew, in unix seconds.
        broken: what did not go as it must.
        periods: what the faults leave alone; the first is the time before any.
    """

    deployment: Deployment
    load: Load
    under_way: UnderWay
    random: random.Random
    rounds: int = 3
    moments: list[tuple[float, str]] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    forgotten: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)

    def note(self, what: str) -> None:
        """Note that something happens now."""
        self.moments.append((time.time(), what))

    def begin(
        self,
        what: str,
        *,
        spared: frozenset[str] = frozenset(),
        extended: frozenset[str] = frozenset(),
        kills_executor: bool = False,
    ) -> None:
        """Note that a fault begins now, and what it leaves alone: the fields of its `Period`."""
        self.note(what)
        self.periods.append(
            Period(
                since=time.time(), spared=spared, extended=extended, kills_executor=kills_executor
            )
        )

    async def spared(self, *lost: Node[Any]) -> frozenset[str]:
        """Find the apps of which a worker is left, at a gateway that is left, without these."""
        deployment = self.deployment
        apps = {
            APP_NAME: deployment.workers,
            LIMITED_APP_NAME: deployment.limited_workers,
            OFFICIAL_APP_NAME: deployment.official_workers,
        }
        left = [gateway for gateway in deployment.gateways if gateway not in lost]
        found = set()
        for app, workers in apps.items():
            connected = sum([await deployment.connections(gateway, app) for gateway in left])
            if connected > sum(worker in lost for worker in workers):
                found.add(app)
        return frozenset(found)

    async def wait_for_run(self, wanted: Callable[[Running], bool] = lambda run: True) -> None:
        """Wait until a run goes on of which there is a while left: a fault without is none."""
        least = self.deployment.plan.lease * _LEFT_LEASES
        with trio.move_on_after(_RUN_SECONDS):
            while True:
                now, calls = time.time(), {call.request_id: call for call in self.load.calls}
                for run in filter(wanted, self.under_way.look()):
                    call = calls.get(run.request_id)
                    if call is not None and run.since + call.seconds - now >= least:
                        return
                await trio.sleep(_POLL_SECONDS)
        self.broken.append(f"nothing was running that a fault could disturb for {_RUN_SECONDS:g} s")

    def seconds(self, leases: tuple[float, float]) -> float:
        """Draw a duration between two, given in leases."""
        return self.deployment.plan.lease * self.random.uniform(*leases)


Fault = Callable[[Scene], Awaitable[None]]
"""Does it once, and mends it."""


async def _kill_gateway(scene: Scene) -> None:
    deployment = scene.deployment
    # The one that holds more workers of ours, so that there are some to come back.
    held = [await deployment.connections(one, APP_NAME) for one in deployment.gateways]
    gateway = deployment.gateways[held.index(max(held))]
    [other] = [one for one in deployment.gateways if one is not gateway]
    spared = await scene.spared(gateway)
    await scene.wait_for_run(lambda run: run.group == gateway.name)
    scene.begin(f"kill {gateway.incarnation}", spared=spared, extended=OURS)
    await gateway.kill()
    since = trio.current_time()
    with trio.move_on_after(_BACK_SECONDS) as waiting:
        while await deployment.connections(other, APP_NAME) < len(deployment.workers):
            await trio.sleep(_POLL_SECONDS)
    scene.back.append(trio.current_time() - since)
    if waiting.cancelled_caught:
        scene.broken.append(f"the workers of {gateway.name} did not come back")
    await gateway.start()


async def _kill_worker(scene: Scene) -> None:
    """A worker ends amid a run, which another one then begins anew."""
    deployment = scene.deployment
    workers = [
        *deployment.workers,
        *(deployment.official_workers if scene.load.official_long else ()),
    ]
    worker = scene.random.choice(workers)
    spared = await scene.spared(worker)
    await scene.wait_for_run(lambda run: run.worker == worker.incarnation)
    scene.begin(f"kill {worker.incarnation}", spared=spared)
    await worker.kill()
    await trio.sleep(scene.random.uniform(*_AWAY_SECONDS))
    await worker.start()


async def _kill_executor(scene: Scene) -> None:
    executor = scene.random.choice(scene.deployment.executors)
    spared = await scene.spared()
    await scene.wait_for_run()
    what = f"kill {executor.incarnation}"
    scene.begin(what, spared=spared, extended=ALL_APPS, kills_executor=True)
    await executor.kill()
    await trio.sleep(scene.random.uniform(*_AWAY_SECONDS))
    await executor.start()


async def _kill_executors(scene: Scene) -> None:
    """No executor is left for so long that replies are kept until there is one."""
    executors = scene.deployment.executors
    seconds = scene.seconds(_EXECUTORS_AWAY_LEASES)
    spared = await scene.spared()
    await scene.wait_for_run()
    what = f"kill all executors for {seconds:.2f} s"
    scene.begin(what, spared=spared, extended=ALL_APPS, kills_executor=True)
    async with trio.open_nursery() as killing:
        for executor in executors:
            killing.start_soon(executor.kill)
    await trio.sleep(seconds)
    async with trio.open_nursery() as starting:
        for executor in executors:
            starting.start_soon(executor.start)


async def _freeze(nodes: Callable[[Deployment], Sequence[Node[Any]]], scene: Scene) -> None:
    node = scene.random.choice(nodes(scene.deployment))
    seconds = scene.seconds(_STANDSTILL_LEASES)
    # An executor that wakes does not know what there is.
    wakes = node in scene.deployment.executors
    scene.begin(
        f"stop {node.incarnation} for {seconds:.2f} s",
        spared=frozenset() if wakes else await scene.spared(node),
    )
    await node.freeze(seconds)


async def _restart_redis(empty: bool, scene: Scene) -> None:
    away = scene.seconds(_DISTURBANCE_LEASES)
    scene.begin(f"Redis is away for {away:.2f} s" + (", and has lost all" if empty else ""))
    if empty:
        scene.forgotten.append(time.time())
    await scene.deployment.restart_redis(away, empty=empty)


async def _freeze_redis(scene: Scene) -> None:
    seconds = scene.seconds(_STANDSTILL_LEASES)
    scene.begin(f"stop Redis for {seconds:.2f} s")
    await scene.deployment.freeze_redis(seconds)


async def _deafen_worker(scene: Scene) -> None:
    """A worker reads nothing more while so much is sent to it that its gateway sees that."""
    deployment = scene.deployment
    worker = scene.random.choice(deployment.workers)
    before = await deployment.ended(worker.incarnation)
    scene.begin(f"{worker.incarnation} reads no more", spared=await scene.spared(worker))
    scene.load.padding = _PADDING_BYTES
    reasons: list[str] = []
    try:
        with worker.standing_still(), trio.move_on_after(_DEAF_SECONDS):
            while not reasons:
                await trio.sleep(_DEAF_POLL_SECONDS)
                ended = await deployment.ended(worker.incarnation)
                reasons = [reason for each, reason in ended.items() if each not in before]
    finally:
        scene.load.padding = 0
    what = f"the connection of {worker.incarnation}: {', '.join(reasons) or 'it goes on'}"
    scene.note(what)
    if not reasons or not _UNREAD.issuperset(reasons):
        scene.broken.append(f"nothing was read, and {what}")


async def _lose_api(disturb: Callable[[Proxy], None], scene: Scene) -> None:
    """Disturb the way to the API just when all workers need it, having lost their connections."""
    seconds = scene.seconds(_DISTURBANCE_LEASES)
    what = f"no connections, and no way to the API for {seconds:.2f} s"
    await scene.wait_for_run()
    scene.begin(what, extended=OURS)
    proxy = scene.deployment.to_api
    with trio.move_on_after(seconds):
        disturb(proxy)
        for link in scene.deployment.to_gateways:
            link.cut()
        while True:
            await trio.sleep(_BETWEEN_CUTS_SECONDS)
            disturb(proxy)
    proxy.resume()


async def _drop_api(scene: Scene) -> None:
    direction = scene.random.choice(tuple(Direction))
    scene.note(f"drop {direction.name.lower()} the API")
    await _lose_api(lambda proxy: proxy.drop(direction), scene)


async def _cut_store(scene: Scene) -> None:
    """One gateway alone has no way to Redis for so long that leases run out unless extended."""
    gateway = scene.random.choice(scene.deployment.gateways)
    seconds = scene.deployment.plan.lease * _STORE_CUT_LEASES
    what = f"{gateway.incarnation} alone has lost Redis for {seconds:.2f} s"
    await scene.wait_for_run()
    scene.begin(what, spared=await scene.spared(gateway), extended=OURS)
    latest = 0.0
    with scene.deployment.to_redis[gateway.name].refusing():
        end = trio.current_time() + seconds
        while (now := trio.current_time()) < end:
            await trio.sleep(_POLL_SECONDS)
            latest = max(latest, trio.current_time() - now - _POLL_SECONDS)
    if latest > scene.deployment.plan.lease * _TIMELY_LEASES:
        scene.note(f"the machine was {latest:.2f} s late: leases may run out")
        scene.periods[-1] = replace(scene.periods[-1], extended=frozenset())


async def _spared_behind(scene: Scene, proxy: Proxy) -> frozenset[str]:
    """Find the apps that keep a worker when this proxy is disturbed."""
    deployment = scene.deployment
    if proxy in deployment.to_redis.values():
        return frozenset()  # gateways seem dead, or the executor behind it knows nothing
    for gateway, to_workers in zip(deployment.gateways, deployment.to_gateways, strict=True):
        if proxy in (to_workers, deployment.rpc[gateway.name]):
            return await scene.spared(gateway)
    return await scene.spared()


async def _cut(proxies: Callable[[Deployment], list[Proxy]], scene: Scene) -> None:
    """Cut a way that no worker's connection goes, amid a run."""
    proxy = scene.random.choice(proxies(scene.deployment))
    await scene.wait_for_run()
    await _cut_before(proxy, scene, extended=ALL_APPS)


async def _cut_workers(scene: Scene) -> None:
    """Cut the connections of a gateway that workers of ours are connected to, amid a run."""
    deployment = scene.deployment
    links = [
        (gateway.name, link)
        for gateway, link in zip(deployment.gateways, deployment.to_gateways, strict=True)
        if await deployment.connections(gateway, APP_NAME)
    ]
    name, link = scene.random.choice(links)
    await scene.wait_for_run(lambda run: run.group == name)
    await _cut_before(link, scene, extended=OURS)


async def _cut_before(proxy: Proxy, scene: Scene, *, extended: frozenset[str]) -> None:
    spared = await _spared_behind(scene, proxy)
    scene.begin(f"cut before {proxy.target}", spared=spared, extended=extended)
    for _ in range(_CUTS):
        proxy.cut()
        await trio.sleep(_BETWEEN_CUTS_SECONDS)


async def _stall(proxies: Callable[[Deployment], list[Proxy]], scene: Scene) -> None:
    proxy = scene.random.choice(proxies(scene.deployment))
    seconds = scene.seconds(_DISTURBANCE_LEASES)
    scene.begin(
        f"stall before {proxy.target} for {seconds:.2f} s",
        spared=await _spared_behind(scene, proxy),
    )
    proxy.stall()
    await trio.sleep(seconds)
    proxy.resume()


async def _drop(proxies: Callable[[Deployment], list[Proxy]], scene: Scene) -> None:
    proxy = scene.random.choice(proxies(scene.deployment))
    direction = scene.random.choice(tuple(Direction))
    seconds = scene.seconds(_DISTURBANCE_LEASES)
    what = f"drop {direction.name.lower()} {proxy.target} for {seconds:.2f} s"
    scene.begin(what, spared=await _spared_behind(scene, proxy))
    proxy.drop(direction)
    await trio.sleep(seconds)
    proxy.resume()


async def _rolling_restart(scene: Scene) -> None:
    for _ in range(scene.rounds):
        for gateway in scene.deployment.gateways:
            scene.note(f"terminate {gateway.incarnation}")
            code = await gateway.terminate()
            if code != 0:
                scene.broken.append(f"{gateway.incarnation} ended with {code}")
            await gateway.start()
            scene.note(f"{gateway.incarnation} is up")
            if not await scene.deployment.whole():
                scene.broken.append(f"the workers did not come back after {gateway.name}")


def _gateways(deployment: Deployment) -> Sequence[Node[Any]]:
    return deployment.gateways


def _executors(deployment: Deployment) -> Sequence[Node[Any]]:
    return deployment.executors


def _own_workers(deployment: Deployment) -> Sequence[Node[Any]]:
    # A worker that wakes must look at its leases before it goes on: ours does.
    return deployment.workers


def _worker_links(deployment: Deployment) -> list[Proxy]:
    return deployment.to_gateways


def _rpc_links(deployment: Deployment) -> list[Proxy]:
    return [*deployment.rpc.values()]


def _redis_links(deployment: Deployment) -> list[Proxy]:
    return [*deployment.to_redis.values()]


_LINKS = {"workers": _worker_links, "rpc": _rpc_links, "redis": _redis_links}

FAULTS: Mapping[str, Fault] = {
    "kill-gateway": _kill_gateway,
    "kill-executor": _kill_executor,
    "kill-executors": _kill_executors,
    "kill-worker": _kill_worker,
    "kill-redis": partial(_restart_redis, False),
    "empty-redis": partial(_restart_redis, True),
    "stop-gateway": partial(_freeze, _gateways),
    "stop-redis": _freeze_redis,
    "stop-executor": partial(_freeze, _executors),
    "stop-worker": partial(_freeze, _own_workers),
    "deaf-worker": _deafen_worker,
    "cut-api": partial(_lose_api, Proxy.cut),
    "stall-api": partial(_lose_api, Proxy.stall),
    "drop-api": _drop_api,
    "cut-store": _cut_store,
    "cut-workers": _cut_workers,
    "cut-rpc": partial(_cut, _rpc_links),
    "cut-redis": partial(_cut, _redis_links),
    **{f"stall-{name}": partial(_stall, links) for name, links in _LINKS.items()},
    **{f"drop-{name}": partial(_drop, links) for name, links in _LINKS.items()},
    ROLLING_RESTART: _rolling_restart,
}
