"""What a running service counts, read from its admin API."""

import httpx
import trio

from connect.harness import RunningService

__all__ = ["ACKED", "metric", "wait_for_metric"]

ACKED = 'connect_forwards_total{outcome="acked"}'
"""Requests that a worker has taken."""


async def metric(service: RunningService, name: str) -> float:
    """Return a metric of the service, by its name with its labels; 0 where there is none yet."""
    async with httpx.AsyncClient(base_url=service.addresses["admin"], timeout=10) as client:
        shown = (await client.get("/metrics")).text
    found = [line for line in shown.splitlines() if line.startswith(f"{name} ")]
    return float(found[0].split()[1]) if found else 0.0


async def wait_for_metric(
    service: RunningService, name: str, value: float, *, seconds: float = 30.0
) -> None:
    """Return once the metric is at least this."""
    with trio.fail_after(seconds):
        while await metric(service, name) < value:
            await trio.sleep(0.05)
