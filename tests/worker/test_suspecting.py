"""A worker whose gateway no longer answers for leases, while another one would."""

from dataclasses import replace

import pytest
import trio

from connect.protocol.messages.connect import v1 as pb
from connect.worker import Happening, JournalEntry, Worker
from tests.worker.conftest import QUICK, Gate, MakeWorker, until_happened
from tests.worker.gateway import FakeGateway, Kind, Session


@pytest.fixture
def ready(gateway: FakeGateway) -> None:
    """Leases last 0.4 s, and are extended each 0.1 s."""
    gateway.ready.extend_lease_interval = "100ms"


async def _begin(
    nursery: trio.Nursery, gateway: FakeGateway, worker: Worker, gate: Gate
) -> Session:
    nursery.start_soon(worker.run)
    first = await gateway.session()
    await first.request("app-gated", data={"echo": 4})
    await gate.entered.wait()
    return first


async def test_a_run_goes_on_under_a_lease_that_another_gateway_extends(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate, ready: None
) -> None:
    await _begin(nursery, gateway, make_worker(), gate)

    second = await gateway.session()
    for number in range(5):  # longer than a lease
        await second.extension()
        await second.answer_extension("r1", f"lease-{number + 2}")
    gate.release.set()

    assert ((await second.reply()).body, gate.cancelled) == (b"4", False)


async def test_a_suspected_gateway_that_refuses_late_does_not_end_what_another_one_extends(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate, ready: None
) -> None:
    first = await _begin(nursery, gateway, make_worker(), gate)
    second = await gateway.session()
    for number in range(3):
        await second.extension()
        await second.answer_extension("r1", f"lease-{number + 2}")

    await first.answer_extension("r1", None)  # it was asked by lease-1, which is over
    await second.extension()
    await second.answer_extension("r1", "lease-5")
    gate.release.set()

    assert ((await second.reply()).body, gate.cancelled) == (b"4", False)


async def test_a_suspected_gateway_is_told_to_send_no_more_and_left_when_the_work_is_done(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate, ready: None
) -> None:
    worker = make_worker()
    first = await _begin(nursery, gateway, worker, gate)

    second = await gateway.session()
    await first.expect(Kind.WORKER_PAUSE, pb.WorkerStatusData)
    both = worker.connection_ids
    gate.release.set()
    await second.reply()

    assert both == ("connection-1", "connection-2")
    assert await first.close_code() == (1000, "CONSECUTIVE_HEARTBEATS_MISSED")


async def test_a_suspected_gateway_is_avoided(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate, ready: None
) -> None:
    await _begin(nursery, gateway, make_worker(), gate)

    await gateway.session()

    assert gateway.starts[-1][1].exclude_gateways == ["group-1"]


async def test_a_gateway_that_answers_again_before_there_is_another_is_kept(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    gate: Gate,
    journal: list[JournalEntry],
    ready: None,
) -> None:
    timing = replace(QUICK, backoff_first=0.3, backoff_most=0.3)
    first = await _begin(nursery, gateway, make_worker(timing=timing, jitter=lambda: 1.0), gate)
    await until_happened(journal, Happening.GATEWAY_SUSPECTED)

    await first.answer_extension("r1", "lease-2")
    gate.release.set()
    await first.reply()
    await trio.sleep(0.35)

    assert len(gateway.starts) == 1


async def test_without_another_gateway_a_suspected_one_still_gets_replies(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    gate: Gate,
    journal: list[JournalEntry],
    ready: None,
) -> None:
    first = await _begin(nursery, gateway, make_worker(), gate)
    gateway.start_answers = [(503, b"")] * 1000
    await until_happened(journal, Happening.GATEWAY_SUSPECTED)

    gate.release.set()

    assert (await first.reply()).body == b"4"
