"""What a load may not leave behind: in Redis, and in the processes that served it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families

from connect.settings import DEVELOPMENT_ENV_ID
from connect.state.keys import Keys
from connect.state.redis_client import RedisClient, open_redis
from tests.faults.deployment import Deployment
from tests.faults.load import Call
from tests.faults.nodes import Node

__all__ = ["Holding", "holding", "left_in_processes", "left_in_redis", "more_than_before"]

# Replies wait for so long that nobody takes; whatever else is left is sooner gone.
_GONE_SECONDS = 65.0
# Until connections and streams that broke have ended.
_SETTLED_SECONDS = 15.0
_POLL_SECONDS = 0.25
_SCAN_KEYS = 1000
# Heartbeats and the looking itself, whenever one looks.
_SLACK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What the gateways and the executors have open, all of them together.

    It depends on how many workers there are, not on where they are connected.

    Attributes:
        descriptors: files and sockets of gateways and executors.
        tasks: of the gateways.
        requests: that workers have in flight, as the gateways know it.
        replies: kept by the gateways while Redis is away.
    """

    descriptors: int
    tasks: int
    requests: int
    replies: int


async def holding(deployment: Deployment) -> Holding:
    """Count what there is now; all processes must run."""
    tasks = requests = replies = 0
    processes: list[Node[Any]] = [*deployment.gateways, *deployment.executors]
    for gateway in deployment.gateways:
        admin = gateway.running.addresses["admin"]
        metrics = _metrics((await deployment.http.get(f"{admin}/metrics")).text)
        tasks += metrics["connect_tasks"]
        replies += metrics["connect_replies_kept"]
        found = await deployment.http.get(f"{admin}/connections", params={"limit": "1000"})
        requests += sum(each["in_flight"] for each in found.json()["data"])
    return Holding(
        descriptors=sum(
            len(os.listdir(f"/proc/{node.running.process.pid}/fd")) for node in processes
        ),
        tasks=tasks,
        requests=requests,
        replies=replies,
    )


async def left_in_processes(deployment: Deployment, before: Holding) -> list[str]:
    """Say of what the processes have more than before, once they have had time to settle."""
    found = ["the processes do not tell what they hold"]
    with trio.move_on_after(_SETTLED_SECONDS):
        while True:
            try:
                found = more_than_before(before, await holding(deployment))
            except httpx.TransportError as error:
                found = [f"a gateway does not tell what it holds: {error!r}"]
            if not found:
                break
            await trio.sleep(_POLL_SECONDS)
    return found


def more_than_before(before: Holding, now: Holding) -> list[str]:
    """Say what has grown. Requests and replies must be gone, whatever there was."""
    found = [
        f"{getattr(now, what)} {what}, and {getattr(before, what)} before"
        for what in ("descriptors", "tasks")
        if getattr(now, what) > getattr(before, what) + _SLACK
    ]
    return found + [
        f"{getattr(now, what)} {what} left at the gateways"
        for what in ("requests", "replies")
        if getattr(now, what)
    ]


async def left_in_redis(
    deployment: Deployment, calls: Iterable[Call], *, strands: bool
) -> list[str]:
    """Say what Redis still holds of requests that are over, once it has had time to expire.

    Args:
        strands: whether somebody that was to clean up was killed, or had no way to Redis: then
            what expires by itself may be left.
    """
    ids = {call.request_id for call in calls}
    async with open_redis(deployment.redis.url) as redis:
        found = await _remains(redis, ids)
        with trio.move_on_after(0.0 if strands else _GONE_SECONDS):
            while found:
                await trio.sleep(_POLL_SECONDS)
                found = await _remains(redis, ids)
        if strands:
            found = [key for key in found if await redis.execute("PTTL", key) == -1]
    return [f"{key} is left of a request that is over" for key in found]


async def _remains(redis: RedisClient, ids: set[str]) -> list[str]:
    """The keys that there are because of these requests; sets only with members of theirs."""
    keys = Keys()
    found: list[str] = []
    for family in (keys.lease, keys.response, keys.request_worker):
        prefix = family(DEVELOPMENT_ENV_ID, "")
        every = await _scan(redis, f"{prefix}*")
        found += [key for key in every if key.removeprefix(prefix) in ids]
    for key in await _scan(redis, f"{keys.requests_prefix(DEVELOPMENT_ENV_ID)}*"):
        members = await redis.execute("ZRANGE", key, 0, -1)
        if ids.intersection(member.decode() for member in members):
            found.append(key)
    return found


async def _scan(redis: RedisClient, pattern: str) -> list[str]:
    found: set[str] = set()
    cursor: Any = b"0"
    while True:
        cursor, keys = await redis.execute("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_KEYS)
        found.update(key.decode() for key in keys)
        if int(cursor) == 0:
            return sorted(found)


def _metrics(text: str) -> dict[str, int]:
    return {
        sample.name: round(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in ("connect_tasks", "connect_replies_kept")
    }
