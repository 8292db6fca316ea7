"""A worker on one connection: handshake, requests, leases, replies."""

import json
from dataclasses import replace
from typing import Any

import pytest
import trio

from connect.protocol.messages.connect import v1 as pb
from connect.worker import App, Happening, JournalEntry, WorkerLimits
from tests.worker.conftest import QUICK, Gate, MakeWorker, happened, serve_in, until_happened
from tests.worker.gateway import FakeGateway, Kind

DONE = pb.SdkResponseStatus.DONE
ERROR = pb.SdkResponseStatus.ERROR


async def test_a_worker_starts_with_itself_once_it_is_connected(
    nursery: trio.Nursery, make_worker: MakeWorker
) -> None:
    worker = make_worker()

    assert await nursery.start(worker.run) is worker


async def test_a_worker_introduces_itself(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    worker = make_worker(max_concurrency=3, env="branch", instance_id="me", now=lambda: 60.0)
    _, session = await serve_in(nursery, gateway, worker)

    hello = session.hello
    assert (hello.connection_id, hello.instance_id) == ("connection-1", "me")
    assert (hello.auth_data.session_token, hello.auth_data.sync_token) == ("session", "sync")
    assert (hello.max_worker_concurrency, hello.environment) == (3, "branch")
    assert hello.started_at.timestamp() == 60
    assert not hello.worker_manual_readiness_ack
    assert hello.system_attributes.cpu_cores > 0


async def test_a_worker_registers_its_functions(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())

    (registered,) = session.hello.apps
    slugs = [function["id"] for function in json.loads(registered.functions)]
    assert (registered.app_name, registered.app_version) == ("app", "v7")
    assert slugs == ["app-f", "app-gated"]


async def test_only_the_hash_of_the_signing_key_is_sent(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    worker = make_worker(signing_key="signkey-test-00ff", env="branch")
    await serve_in(nursery, gateway, worker)

    headers, _ = gateway.starts[0]
    assert headers["authorization"] == (
        "Bearer signkey-test-06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8"
    )
    assert headers["x-inngest-env"] == "branch"


async def test_a_request_is_acknowledged_and_answered(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())

    await session.request(data={"echo": 5})
    ack, reply = await session.acked(), await session.reply()

    assert (ack.request_id, ack.run_id, ack.function_slug) == ("r1", "run-1", "app-f")
    assert (reply.request_id, reply.status, reply.body) == ("r1", DONE, b"5")
    assert (reply.account_id, reply.env_id, reply.app_id) == ("account", "env", "app-id")
    assert (reply.system_trace_ctx, reply.user_trace_ctx) == (b"system", b"user")
    assert (reply.run_id, reply.request_version) == ("run-1", 1)


async def test_requests_run_side_by_side(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    worker, session = await serve_in(nursery, gateway, make_worker())

    await session.request("app-gated", request_id="slow")
    await gate.entered.wait()
    await session.request(request_id="quick")

    assert (await session.reply()).request_id == "quick"
    assert worker.request_ids == ("slow",)


async def test_a_request_for_an_unknown_app_is_met_with_silence(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    journal: list[JournalEntry],
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())

    await session.request(app="other", request_id="lost")
    await session.request(request_id="next")

    assert (await session.acked()).request_id == "next"
    assert happened(journal, Happening.REQUEST_IGNORED)[0].detail == "unknown app 'other'"


async def test_a_request_for_an_unknown_function_fails_for_good(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())

    await session.request("app-gone")
    await session.acked()
    reply = await session.reply()

    assert (reply.status, reply.no_retry) == (ERROR, True)
    assert "has no function 'app-gone'" in json.loads(reply.body)["message"]


async def test_a_request_sent_again_while_in_flight_is_only_acknowledged_again(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())
    await session.request("app-gated")
    await session.acked()

    await session.request("app-gated", lease_id="lease-2")
    await session.acked()
    gate.release.set()
    await session.reply()

    assert not any(kind == Kind.WORKER_REPLY for kind, _ in session.received)


async def test_a_request_sent_again_when_it_is_done_has_its_reply_sent_again(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())
    await session.request(data={"echo": 1})
    await session.reply(ack=False)

    await session.request(data={"echo": 2})

    assert (await session.reply()).body == b"1"


async def test_a_lease_is_extended_with_the_id_that_was_given_last(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())
    await session.request("app-gated", lease_id="lease-1")

    first = await session.extension()
    await session.answer_extension("r1", "lease-2")
    second = await session.extension()
    while second.lease_id == "lease-1":
        second = await session.extension()

    assert (first.request_id, first.lease_id, first.run_id) == ("r1", "lease-1", "run-1")
    assert second.lease_id == "lease-2"


async def test_a_lost_lease_cancels_the_function_and_sends_no_reply(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    gate: Gate,
    journal: list[JournalEntry],
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())
    await session.request("app-gated")
    await session.extension()

    await session.answer_extension("r1", None)
    await session.request(request_id="next")
    reply = await session.reply()

    assert gate.cancelled
    assert reply.request_id == "next"
    assert happened(journal, Happening.LEASE_LOST)


async def test_an_answer_about_an_unknown_lease_is_ignored(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())

    await session.answer_extension("gone", None)
    await session.request()

    assert (await session.reply()).status == DONE


async def test_heartbeats_are_sent_at_the_gateways_interval(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())

    with trio.fail_after(3):
        for _ in range(5):
            await session.expect(Kind.WORKER_HEARTBEAT, pb.WorkerStatusData)

    assert not session.closed.is_set()


async def test_the_status_tells_the_requests_in_flight(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    gateway.ready.status_interval = "20ms"
    _, session = await serve_in(nursery, gateway, make_worker())
    await session.request("app-gated")
    await gate.entered.wait()
    session.received.clear()

    status = await session.expect(Kind.WORKER_STATUS, pb.WorkerStatusData)

    assert (status.in_flight_request_ids, status.shutdown_requested) == (["r1"], False)


@pytest.mark.parametrize("garbage", ["text", b"\xff\xff", b"\x08\x63", b"\x08\x03\x12\x02\x0a\x09"])
async def test_a_message_that_cannot_be_read_is_ignored(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    journal: list[JournalEntry],
    garbage: str | bytes,
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())

    await session.socket.send_message(garbage)
    await session.request()

    assert (await session.reply()).status == DONE
    assert happened(journal, Happening.MESSAGE_IGNORED)


async def test_an_unconfirmed_reply_is_delivered_by_http(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, journal: Any
) -> None:
    worker = make_worker(timing=replace(QUICK, flush_after=0.05))
    _, session = await serve_in(nursery, gateway, worker)
    await session.request(data={"echo": 5})
    await session.reply(ack=False)

    await until_happened(journal, Happening.REPLY_FLUSHED)

    (flushed,) = gateway.flushed
    assert (flushed.request_id, flushed.body) == ("r1", b"5")


async def test_without_a_setting_replies_wait_for_one_lease_extension_interval(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, journal: Any
) -> None:
    worker = make_worker(timing=replace(QUICK, flush_after=None))
    _, session = await serve_in(nursery, gateway, worker)
    await session.request()
    await session.reply(ack=False)

    await until_happened(journal, Happening.REPLY_FLUSHED)


async def test_a_reply_that_cannot_be_delivered_now_is_tried_again(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, journal: Any
) -> None:
    gateway.flush_statuses = [503, 401]
    worker = make_worker(timing=replace(QUICK, flush_after=0.0))
    _, session = await serve_in(nursery, gateway, worker)
    await session.request()
    await session.reply(ack=False)

    await until_happened(journal, Happening.REPLY_FLUSHED)

    assert gateway.flush_attempts == 3


async def test_a_reply_that_the_api_will_never_take_is_dropped(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, journal: Any
) -> None:
    gateway.flush_statuses = [400]
    worker = make_worker(timing=replace(QUICK, flush_after=0.0))
    _, session = await serve_in(nursery, gateway, worker)
    await session.request()
    await session.reply(ack=False)

    dropped = await until_happened(journal, Happening.REPLY_DROPPED)

    assert (dropped.request_id, dropped.detail) == ("r1", "refused by the API")


async def test_a_reply_that_cannot_be_delivered_for_too_long_is_dropped(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, journal: Any
) -> None:
    gateway.flush_statuses = [503] * 1000
    worker = make_worker(timing=replace(QUICK, flush_after=0.0, reply_lifetime=0.1))
    _, session = await serve_in(nursery, gateway, worker)
    await session.request()
    await session.reply(ack=False)

    dropped = await until_happened(journal, Happening.REPLY_DROPPED)

    assert "answered 503" in dropped.detail


async def test_unconfirmed_replies_are_bounded_in_bytes(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, journal: Any
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker(limits=WorkerLimits(reply_bytes=300)))
    for number in range(3):
        await session.request(request_id=f"r{number}", data={"echo": "x" * 100})
        await session.reply(ack=False)

    dropped = await until_happened(journal, Happening.REPLY_DROPPED)

    assert dropped.request_id == "r0"


async def test_a_manual_worker_says_when_it_is_ready(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    worker, session = await serve_in(nursery, gateway, make_worker(manual_ready=True))
    assert session.hello.worker_manual_readiness_ack

    await worker.ready()

    await session.expect(Kind.WORKER_READY, pb.WorkerStatusData)


async def test_several_apps_share_a_connection(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, app: App
) -> None:
    other = App("other")
    other.function("f")(app.functions["app-f"].handler)
    _, session = await serve_in(nursery, gateway, make_worker(apps=[app, other]))

    await session.request("other-f", app="other", data={"echo": 1})

    assert (await session.reply()).body == b"1"


async def test_a_worker_needs_no_journal(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker(journal=None))

    await session.request()

    assert (await session.reply()).status == DONE


async def test_a_confirmation_of_no_known_reply_is_ignored(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())

    await session.send(Kind.WORKER_REPLY_ACK, pb.WorkerReplyAckData(request_id="gone"))
    await session.request()

    assert (await session.reply()).status == DONE


async def test_a_connection_is_told_with_its_gateway(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    journal: list[JournalEntry],
) -> None:
    await serve_in(nursery, gateway, make_worker())

    (entry,) = happened(journal, Happening.CONNECTED)
    assert (entry.connection_id, entry.detail) == ("connection-1", "group-1")


async def test_a_closing_gateway_is_told_once(
    nursery: trio.Nursery,
    gateway: FakeGateway,
    make_worker: MakeWorker,
    journal: list[JournalEntry],
    gate: Gate,
) -> None:
    _, session = await serve_in(nursery, gateway, make_worker())
    await session.request("app-gated")
    await gate.entered.wait()
    for _ in range(2):
        await session.send(Kind.GATEWAY_CLOSING)
    gate.release.set()
    await session.close_code()

    assert len(happened(journal, Happening.GATEWAY_CLOSING)) == 1


async def test_a_heartbeat_of_the_gateway_unasked_for_is_ignored(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker
) -> None:
    gateway.ready.heartbeat_interval = "0s"
    _, session = await serve_in(nursery, gateway, make_worker())

    await session.send(Kind.GATEWAY_HEARTBEAT)
    await session.request()

    assert (await session.reply()).status == DONE


async def test_heartbeats_that_are_answered_keep_no_work_going_whose_lease_is_not_extended(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    gateway.ready.heartbeat_interval = "20ms"
    _, session = await serve_in(nursery, gateway, make_worker())
    await session.request("app-gated")

    with trio.fail_after(10):
        while not gate.cancelled:
            await trio.sleep(0.02)


async def test_a_request_is_acknowledged_as_held_while_it_runs(
    nursery: trio.Nursery, gateway: FakeGateway, make_worker: MakeWorker, gate: Gate
) -> None:
    """Silence of all kinds, such as of a full worker, is for requests that it does not hold."""
    worker = make_worker(limits=WorkerLimits(requests=1))
    _, session = await serve_in(nursery, gateway, worker)
    await session.request("app-gated")
    await session.acked()
    await session.request("app-gated", lease_id="lease-2")

    assert (await session.acked()).request_id == "r1"
