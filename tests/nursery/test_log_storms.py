"""What many connections, or one noisy worker, may write to the log."""

from collections.abc import Sequence

import pytest
import trio
from structlog.testing import capture_logs
from structlog.typing import EventDict
from trio.testing import MockClock, wait_all_tasks_blocked
from ulid import ULID

from connect.protocol.messages.connect import v1 as pb
from tests.nursery.rig import ENV, Kind, Peer, Rig, now, open_rig

WORKERS = 5


async def workers(rig: Rig) -> list[Peer]:
    return [await rig.worker(instance_id=f"w{number}") for number in range(WORKERS)]


async def extend(worker: Peer, request_id: str) -> None:
    lease_id = str(ULID.from_timestamp(now() + 15))
    data = pb.WorkerRequestExtendLeaseData(request_id=request_id, env_id=ENV, lease_id=lease_id)
    await worker.send(Kind.WORKER_REQUEST_EXTEND_LEASE, bytes(data))


def told(logs: Sequence[EventDict]) -> list[str]:
    """Return the events that are logged at the usual level."""
    return [line["event"] for line in logs if line["log_level"] != "debug"]


async def test_an_outage_is_one_line_however_many_connections_cannot_store_their_status(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        peers = await workers(rig)
        rig.outages.down, rig.outages.delay = True, 5  # all are waiting when the first fails
        with capture_logs() as logs:
            for peer in peers:
                await peer.heartbeat()
            await trio.sleep(20)
    assert told(logs) == ["the state store does not answer", "gateway heartbeat not stored"]


async def test_a_refusal_of_the_store_is_one_line_for_all_connections(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        peers = await workers(rig)
        rig.outages.refused = {"refresh"}
        with capture_logs() as logs:
            for peer in peers:
                await peer.heartbeat()
            await trio.sleep(5)
    [line] = [line for line in logs if line["event"] == "status not stored"]
    assert line["log_level"] == "warning"
    assert line["instance_id"].startswith("w")
    assert "NOPERM" in line["error"]


async def test_a_handshake_in_an_outage_is_one_line(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        with capture_logs() as logs:
            rig.outages.down = True
            for _ in range(3):
                peer = await rig.dial()
                await peer.expect(Kind.GATEWAY_HELLO)
                await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello()))
                assert (await peer.closed())[0] == 1011
                await trio.sleep(3)
    about_workers = [event for event in told(logs) if event != "gateway heartbeat not stored"]
    assert about_workers.count("the state store does not answer") == 1
    about_workers.remove("the state store does not answer")
    assert about_workers == ["worker disconnected"] * 3


async def test_leases_that_an_outage_keeps_from_being_extended_are_no_lines(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.down = True
        with capture_logs() as logs:
            for number in range(10):
                await extend(worker, f"r{number}")
            await trio.sleep(4)
    assert told(logs) == ["the state store does not answer"]


async def test_leases_that_a_slow_store_does_not_extend_are_one_line(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        peers = await workers(rig)
        rig.outages.delay = 4
        with capture_logs() as logs:
            for peer in peers:
                await extend(peer, "r1")
            await trio.sleep(6)
    assert told(logs) == ["lease not extended"]


async def test_connections_that_the_store_has_lost_are_one_line(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        peers = await workers(rig)
        await rig.store.connections.commands.execute("FLUSHALL")
        with capture_logs() as logs:
            for peer in peers:
                await peer.heartbeat()
            await trio.sleep(1)
    assert told(logs).count("the store has lost the connection") == 1


@pytest.mark.parametrize(
    ("kind", "payload", "event"),
    [
        (77, b"", "message ignored"),
        (Kind.WORKER_READY, b"", "message ignored"),
        (
            Kind.WORKER_REQUEST_ACK,
            bytes(pb.WorkerRequestAckData(request_id="r1")),
            "ack for a request that nobody forwards",
        ),
    ],
)
async def test_what_a_worker_repeats_is_logged_once(
    autojump_clock: MockClock, kind: int, payload: bytes, event: str
) -> None:
    async with open_rig() as rig:
        worker, other = await rig.worker(), await rig.worker(instance_id="other")
        with capture_logs() as logs:
            for _ in range(50):
                await worker.send(kind, payload)
            await other.send(kind, payload)
            await trio.sleep(1)
            await wait_all_tasks_blocked()
    assert told(logs) == [event] * 2
    assert [line["event"] for line in logs].count(event) == 51
