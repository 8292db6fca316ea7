"""How a worker ends: asked to, cancelled, or refused by the service."""

from dataclasses import replace
from functools import partial

import pytest
import trio

from connect.protocol.messages.connect import v1 as pb
from connect.worker import Happening, JournalEntry, Worker, WorkerError
from connect.worker.connection import Connection
from tests.worker.conftest import QUICK, Gate, MakeWorker, serve_in, until_happened
from tests.worker.gateway import FakeGateway, Kind, Session, error_body


async def test_shutdown_finishes_work_in_flight_and_closes_with_its_reason(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    worker, session = await serve_in(nursery, gateway, make_worker())
    await session.request("app-gated", data={"echo": 9})
    await gate.entered.wait()

    worker.shutdown()
    await session.expect(Kind.WORKER_PAUSE, pb.WorkerStatusData)
    gate.release.set()
    reply = await session.reply()

    assert reply.body == b"9"
    assert await session.close_code() == (1000, "WORKER_SHUTDOWN")


async def test_shutdown_ends_the_run(gateway: FakeGateway, make_worker: MakeWorker) -> None:
    worker = make_worker()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run)
            worker.shutdown()


async def test_a_request_during_shutdown_is_met_with_silence(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    gate: Gate,
    journal: list[JournalEntry],
) -> None:
    worker, session = await serve_in(nursery, gateway, make_worker())
    await session.request("app-gated")
    await session.acked()
    worker.shutdown()
    await session.expect(Kind.WORKER_PAUSE, pb.WorkerStatusData)

    await session.request(request_id="late")
    await until_happened(journal, Happening.REQUEST_IGNORED)

    assert not any(kind == Kind.WORKER_REQUEST_ACK for kind, _ in session.received)


async def test_shutdown_waits_for_the_last_reply_to_be_confirmed(
    gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    worker = make_worker(timing=replace(QUICK, flush_after=0.1))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            _, session = await serve_in(nursery, gateway, worker)
            await session.request()
            await session.reply(ack=False)
            worker.shutdown()

    assert [reply.request_id for reply in gateway.flushed] == ["r1"]


async def test_cancelling_a_worker_closes_its_connection(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    async with trio.open_nursery() as own:
        _, session = await serve_in(own, gateway, make_worker())
        own.cancel_scope.cancel()

    assert await session.close_code() == (1000, "WORKER_SHUTDOWN")


async def test_a_worker_runs_only_once(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    worker, _ = await serve_in(nursery, gateway, make_worker())

    with pytest.raises(RuntimeError, match="only once"):
        await worker.run()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_signing_key_ends_the_run(
    gateway: FakeGateway, make_worker: MakeWorker, status: int
) -> None:
    gateway.start_answers = [(status, error_body("wrong key"))]

    with pytest.raises(WorkerError) as raised:
        await make_worker().run()

    assert str(raised.value) == f"{gateway.api_url} refuses the signing key: wrong key"


async def test_functions_that_the_gateway_refuses_end_the_run(
    gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    async def refuse(session: Session) -> None:
        error = pb.SystemError(code="connect_invalid_function_config", message="no triggers")
        await session.send(Kind.SYNC_FAILED, error)
        await session.socket.aclose(1008, "connect_invalid_function_config")

    gateway.admit = refuse

    with pytest.raises(WorkerError) as raised:
        await make_worker().run()

    assert raised.value.code == "connect_invalid_function_config"
    assert str(raised.value) == (
        "the gateway refuses the functions: no triggers (connect_invalid_function_config)"
    )


async def test_an_unreadable_sync_failure_ends_the_run_too(
    gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    async def refuse(session: Session) -> None:
        await session.socket.send_message(b"\x08\x0e\x12\x02\x0a\x09")

    gateway.admit = refuse

    with pytest.raises(WorkerError, match="gives no reason"):
        await make_worker().run()


@pytest.mark.parametrize(
    "code", ["connect_too_many_connections_per_account", "connect_reconnecting_too_often"]
)
async def test_a_limit_of_the_gateway_does_not_end_the_run(
    code: str, nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    admit = gateway.admit

    async def refuse_once(session: Session) -> None:
        gateway.admit = admit
        await session.send(Kind.SYNC_FAILED, pb.SystemError(code=code, message="come again"))
        await session.socket.aclose(1013, code)

    gateway.admit = refuse_once

    await serve_in(nursery, gateway, make_worker())
    session = await gateway.session()
    await session.request(data={"echo": 1})

    assert (await session.reply()).body == b"1"


async def test_a_hopeless_close_code_ends_the_run(
    gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    async def refuse(session: Session) -> None:
        await session.socket.aclose(1008, "connect_too_many_apps_per_connection")

    gateway.admit = refuse

    with pytest.raises(WorkerError) as raised:
        await make_worker().run()

    assert raised.value.code == "connect_too_many_apps_per_connection"


async def test_a_worker_that_was_connected_once_is_not_ended_by_a_refusal(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    journal: list[JournalEntry],
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())
    gateway.start_answers = [(401, error_body("wrong key"))] * 2

    await session.socket.aclose(1011)
    second = await gateway.session()
    await second.request(data={"echo": 1})

    assert (await second.reply()).body == b"1"


async def test_a_refusal_does_not_cost_the_work_in_flight(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())
    await session.request("app-gated", data={"echo": 3})
    await gate.entered.wait()
    gateway.start_answers = [(401, error_body("wrong key"))]

    await session.socket.aclose(1011)
    second = await gateway.session()
    await second.extension()
    gate.release.set()

    assert (await second.reply()).body == b"3"


async def _with_two_connections(
    nursery: trio.Nursery, gateway: FakeGateway, worker: Worker, gate: Gate
) -> Session:
    """Return the second; the first is kept by its work."""
    gateway.ready.extend_lease_interval = "10s"
    _, first = await serve_in(nursery, gateway, worker)
    await first.request("app-gated")
    await gate.entered.wait()
    await first.send(Kind.GATEWAY_CLOSING)
    second = await gateway.session()
    await second.extension()
    return second


@pytest.fixture
def first_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither WORKER_PAUSE nor WORKER_READY gets through to the first gateway."""
    send, stuck = Connection.send, {Kind.WORKER_PAUSE, Kind.WORKER_READY}

    async def block(connection: Connection, kind: int, payload: bytes = b"") -> bool:
        if connection.id == "connection-1" and kind in stuck:
            await trio.sleep_forever()
        return await send(connection, kind, payload)

    monkeypatch.setattr(Connection, "send", block)


async def test_a_gateway_that_takes_nothing_keeps_no_other_from_hearing_of_the_shutdown(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    gate: Gate,
    first_takes_nothing: None,
) -> None:
    worker = make_worker()
    second = await _with_two_connections(nursery, gateway, worker, gate)

    worker.shutdown()

    with trio.fail_after(3):
        await second.expect(Kind.WORKER_PAUSE, pb.WorkerStatusData)


async def test_a_gateway_that_takes_nothing_keeps_no_other_from_hearing_of_the_readiness(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    gate: Gate,
    first_takes_nothing: None,
) -> None:
    worker = make_worker(manual_ready=True)
    second = await _with_two_connections(nursery, gateway, worker, gate)

    nursery.start_soon(worker.ready)

    with trio.fail_after(3):
        await second.expect(Kind.WORKER_READY, pb.WorkerStatusData)


async def test_shutting_down_is_told(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    journal: list[JournalEntry],
) -> None:
    worker, _ = await serve_in(nursery, gateway, make_worker())

    worker.shutdown()
    entry = await until_happened(journal, Happening.SHUTTING_DOWN)

    assert (worker.shutting_down, entry.detail) == (True, "0 requests in flight")


async def test_a_client_that_was_lent_stays_open(
    gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    worker = make_worker()
    async with worker.open_client() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(worker.run, client=client))
            await gateway.session()
            worker.shutdown()

        assert not client.is_closed
