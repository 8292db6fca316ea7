"""A gateway's part in collecting garbage: standing for it, now and then."""

import random
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from connect.errors import ConnectError
from connect.nursery.services import Services
from connect.state.collector import CollectionReport, pause

__all__ = ["ELECTION_SECONDS", "GarbageOffice", "collect_garbage"]

# How long a collector that has died keeps others waiting.
ELECTION_SECONDS = 60.0

Collect = Callable[[Callable[[], Awaitable[None]]], Awaitable[CollectionReport]]


class GarbageOffice(Protocol):
    """What decides who collects; implemented by `connect.state.election.Election`."""

    async def stand(self) -> bool: ...

    async def keep(self, seconds: float | None = None) -> bool: ...


class _OfficeLost(ConnectError):
    """Another process collects now."""


async def collect_garbage(services: Services, office: GarbageOffice, collect: Collect) -> None:
    """Collect garbage every `Timing.garbage_every`, if elected; runs until cancelled.

    Whoever is elected holds the office until the next collection is due, so that one
    gateway of all collects once in that time.

    Args:
        collect: makes one pass, awaiting what it is given after each page.
    """
    timing = services.settings.timing
    delay = 0.0
    while True:
        await trio.sleep(delay + random.uniform(0.0, timing.garbage_jitter))
        delay = timing.garbage_every
        try:
            outcome = await _collect_once(services, office, collect)
        except _OfficeLost:
            outcome = "lost"
        except ConnectError as error:
            outcome = "failed"
            services.log.warning("garbage not collected", error=str(error))
        except Exception:  # the last resort: one pass fails, not the gateway
            outcome = "failed"
            services.log.exception("unforeseen failure while collecting garbage")
        services.metrics.garbage_collections.labels(outcome).inc()


async def _collect_once(services: Services, office: GarbageOffice, collect: Collect) -> str:
    if not await office.stand():
        return "not_elected"
    started = kept = trio.current_time()

    async def between_pages() -> None:
        nonlocal kept
        await pause()
        if trio.current_time() - kept >= ELECTION_SECONDS / 3:
            kept = trio.current_time()
            if not await office.keep():
                raise _OfficeLost

    report = await collect(between_pages)
    spent = trio.current_time() - started
    await office.keep(max(ELECTION_SECONDS, services.settings.timing.garbage_every - spent))
    _tell(services, report)
    return "done"


def _tell(services: Services, report: CollectionReport) -> None:
    counts = {
        "connections": report.connections,
        "gateways": report.gateways,
        "groups": report.groups,
        "index_entries": report.index_entries,
        "bad_records": report.bad_records,
    }
    for kind, count in counts.items():
        services.metrics.garbage.labels(kind).inc(count)
    services.log.info("garbage collected", seconds=round(report.seconds, 3), **counts)
    if report.bad_ids:
        services.log.error("records that cannot be read", some=report.bad_ids)
