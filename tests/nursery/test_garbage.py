"""When a gateway collects garbage, and when it leaves that to another one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio
from trio.testing import MockClock

from connect.errors import StoreUnavailable
from connect.nursery.garbage import collect_garbage
from connect.state.collector import CollectionReport, collect
from connect.state.election import Election
from tests.nursery.rig import ENV, Rig, open_rig


@dataclass
class Office:
    """An office that is given and taken as the test wants."""

    elected: bool = True
    held: bool = True
    down: bool = False
    kept: list[float | None] = field(default_factory=list)

    async def stand(self) -> bool:
        await trio.lowlevel.checkpoint()
        if self.down:
            raise StoreUnavailable("down for the test")
        return self.elected

    async def keep(self, seconds: float | None = None) -> bool:
        await trio.lowlevel.checkpoint()
        self.kept.append(seconds)
        return self.held


@dataclass
class Passes:
    """Passes over a store that takes a number of pages, each some seconds."""

    pages: int = 0
    page_seconds: float = 0.0
    report: CollectionReport = field(default_factory=CollectionReport)
    started: list[float] = field(default_factory=list)

    async def __call__(self, between_pages: Callable[[], Awaitable[None]]) -> CollectionReport:
        self.started.append(trio.current_time())
        for _ in range(self.pages):
            await trio.sleep(self.page_seconds)
            await between_pages()
        return self.report


def outcome(rig: Rig, name: str) -> float:
    return float(rig.services.metrics.garbage_collections.labels(name)._value.get())


async def test_garbage_is_collected_every_half_hour_or_a_little_later(
    autojump_clock: MockClock,
) -> None:
    passes = Passes()
    async with open_rig() as rig:
        rig.nursery.start_soon(collect_garbage, rig.services, Office(), passes)
        await trio.sleep(3 * 3600)
    assert passes.started[0] <= 180
    between = [b - a for a, b in zip(passes.started, passes.started[1:], strict=False)]
    assert len(between) >= 4
    assert all(1800 <= seconds <= 1981 for seconds in between)


async def test_who_is_not_elected_does_not_collect(autojump_clock: MockClock) -> None:
    passes = Passes()
    async with open_rig() as rig:
        rig.nursery.start_soon(collect_garbage, rig.services, Office(elected=False), passes)
        await trio.sleep(4000)
        assert outcome(rig, "not_elected") >= 2
    assert passes.started == []


async def test_the_office_is_kept_during_a_long_pass_and_until_the_next_is_due(
    autojump_clock: MockClock,
) -> None:
    office = Office()
    async with open_rig() as rig:
        rig.nursery.start_soon(collect_garbage, rig.services, office, Passes(5, 15.0))
        await trio.sleep(300)
    assert office.kept[:-1] == [None, None]
    assert office.kept[-1] is not None
    assert 1700 < office.kept[-1] < 1725


async def test_a_collector_that_has_lost_the_office_stops(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        passes = Passes(100, 10.0)
        rig.nursery.start_soon(collect_garbage, rig.services, Office(held=False), passes)
        await trio.sleep(300)
        assert outcome(rig, "lost") == 1
        assert outcome(rig, "done") == 0


async def test_a_store_that_is_away_leaves_the_garbage_to_the_next_time(
    autojump_clock: MockClock,
) -> None:
    office, passes = Office(down=True), Passes()
    async with open_rig() as rig:
        rig.nursery.start_soon(collect_garbage, rig.services, office, passes)
        await trio.sleep(300)
        office.down = False
        await trio.sleep(2000)
        assert (outcome(rig, "failed"), outcome(rig, "done")) == (1, 1)


async def test_a_pass_that_fails_unforeseen_leaves_the_gateway_and_the_next_pass(
    autojump_clock: MockClock,
) -> None:
    failures = [ValueError("unforeseen")]

    async def make_pass(between_pages: Callable[[], Awaitable[None]]) -> CollectionReport:
        await between_pages()
        if failures:
            raise failures.pop()
        return CollectionReport()

    async with open_rig() as rig:
        rig.nursery.start_soon(collect_garbage, rig.services, Office(), make_pass)
        await trio.sleep(2300)
        assert (outcome(rig, "failed"), outcome(rig, "done")) == (1, 1)


async def test_what_was_removed_is_counted(autojump_clock: MockClock) -> None:
    report = CollectionReport(connections=2, gateways=1, groups=3, index_entries=4)
    report.note_bad("connection", "c1")
    async with open_rig() as rig:
        rig.nursery.start_soon(collect_garbage, rig.services, Office(), Passes(report=report))
        await trio.sleep(300)
        counted = {
            kind: rig.services.metrics.garbage.labels(kind)._value.get()
            for kind in ("connections", "gateways", "groups", "index_entries", "bad_records")
        }
    assert counted == {
        "connections": 2, "gateways": 1, "groups": 3, "index_entries": 4, "bad_records": 1
    }  # fmt: skip


async def test_of_two_gateways_one_collects(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        [record] = await rig.store.connections.all(ENV)
        await rig.store.connections.upsert(ENV, record)

        async def make_pass(between_pages: Callable[[], Awaitable[None]]) -> CollectionReport:
            return await collect(rig.store, ENV, between_pages=between_pages)

        for owner in ("a", "b"):
            office = Election(rig.store, ENV, owner=owner, seconds=60)
            rig.nursery.start_soon(collect_garbage, rig.services, office, make_pass)
        rig.nursery.start_soon(worker.keep_alive)
        await trio.sleep(300)
        assert (outcome(rig, "done"), outcome(rig, "not_elected")) == (1, 1)
