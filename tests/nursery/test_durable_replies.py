"""Replies are acknowledged once they are stored, and once more; some change nothing."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.protocol.messages.connect import v1 as pb
from connect.state.records import LeaseRecord
from connect.state.store import Acquired, AcquireRequest
from tests.nursery.rig import ENV, Kind, Peer, Rig, open_rig, request_bytes


async def assigned(rig: Rig, request_id: str = "r1") -> Acquired:
    """Have an executor route a request to the worker that is connected."""
    [app] = await rig.store.apps.all(ENV)
    outcome = await rig.store.routing.acquire(
        AcquireRequest(
            env_id=ENV,
            request_id=request_id,
            app_id=app.id,
            function_slug="my-app-hello",
            executor_host="10.0.0.1",
            executor_port=7000,
            lease_seconds=20,
            gateways=(rig.services.gateway_id,),
        )
    )
    assert isinstance(outcome, Acquired)
    return outcome


async def forwarded(rig: Rig, worker: Peer, request_id: str = "r1") -> None:
    """Have the worker ack a request."""

    async def forward() -> None:
        assert await rig.gateway.forward(
            worker.connection_id, request_id, request_bytes(request_id)
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(forward)
        await worker.take_request()
        await worker.ack(request_id)


async def complete(rig: Rig, request_id: str = "r1") -> None:
    await rig.store.routing.complete(ENV, request_id, None)


async def acks(worker: Peer, seconds: float = 2.0) -> list[str]:
    """Return the requests whose replies are acknowledged within so many seconds."""
    found = []
    with trio.move_on_after(seconds):
        while True:
            payload = await worker.expect(Kind.WORKER_REPLY_ACK)
            found.append(pb.WorkerReplyAckData().parse(payload).request_id)
    return found


async def stored(rig: Rig, request_id: str = "r1") -> bytes | None:
    kept = await rig.store.responses.get(ENV, request_id)
    return None if kept is None else pb.SdkResponse().parse(kept).body


async def keys(rig: Rig) -> dict[str, object]:
    """Everything that the store holds of requests."""
    commands = rig.store.connections.commands
    names = [name.decode() for name in await commands.execute("KEYS", "*request*")]
    names += [name.decode() for name in await commands.execute("KEYS", "*response*")]
    found = {}
    for name in names:
        kind = await commands.execute("TYPE", name)
        reading = ("GET", name) if kind == b"string" else ("ZRANGE", name, 0, -1, "WITHSCORES")
        found[name] = await commands.execute(*reading)
    return found


def counted(rig: Rig, outcome: str) -> float:
    return float(rig.services.metrics.replies.labels(outcome)._value.get())


@pytest.mark.parametrize("limit", [None, 1])
async def test_a_reply_is_stored_pushed_and_acknowledged_once(
    limit: int | None, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=limit)
        await assigned(rig)
        await worker.reply("r1", b'"done"')
        assert await acks(worker) == ["r1"]
        assert await stored(rig) == b'"done"'
        assert [(host, port) for host, port, _ in rig.pushes.pushed] == [("10.0.0.1", 7000)]


async def test_a_reply_is_not_acknowledged_before_it_is_stored(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await assigned(rig)
        rig.outages.delay = 3
        await worker.reply("r1")
        assert await acks(worker, seconds=2.9) == []
        assert await acks(worker) == ["r1"]


async def test_a_reply_that_comes_twice_is_stored_and_pushed_once_and_acknowledged_twice(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await assigned(rig)
        await worker.reply("r1", b'"first"')
        await worker.reply("r1", b'"second"')
        assert await acks(worker) == ["r1", "r1"]
        assert await stored(rig) == b'"first"'
        assert len(rig.pushes.pushed) == 1
        assert (counted(rig, "saved"), counted(rig, "repeated")) == (1, 1)


async def test_a_reply_that_comes_again_over_a_new_connection_is_acknowledged_there(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        old = await rig.worker()
        await assigned(rig)
        await old.reply("r1", b'"first"')
        await old.socket.aclose(1000, "")
        new = await rig.worker()
        await new.reply("r1", b'"second"')
        assert await acks(new) == ["r1"]
        assert await stored(rig) == b'"first"'


async def acks_after_an_outage(rig: Rig, worker: Peer, times: int) -> list[str]:
    """Have a reply come so often while the store is away; return what is acknowledged later."""
    await rig.lease("r1")
    rig.outages.down = True
    for _ in range(times):
        await worker.reply("r1")
        await wait_all_tasks_blocked()
    rig.outages.down = False
    return await acks(worker, seconds=5)


async def test_a_kept_reply_is_acknowledged_as_often_as_it_came(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        assert await acks_after_an_outage(rig, worker, 3) == ["r1"] * 3
        assert counted(rig, "saved") == 1


async def test_the_acknowledgements_of_a_kept_reply_are_bounded(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        assert await acks_after_an_outage(rig, worker, 30) == ["r1"] * 16


async def test_a_kept_reply_is_acknowledged_over_a_new_connection_as_often_as_it_came_there(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        old, new = await rig.worker(), await rig.worker()
        rig.outages.down = True
        for _ in range(2):
            await old.reply("r1")
            await wait_all_tasks_blocked()
        assert await acks_after_an_outage(rig, new, 1) == ["r1"]


async def test_a_push_that_fails_in_an_unforeseen_way_costs_neither_reply_nor_gateway(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:

        async def fail(host: str, port: int, response: bytes) -> bool:
            raise RuntimeError("broken for the test")

        rig.pushes.reply = fail  # type: ignore[method-assign] # fails as nothing should
        worker = await rig.worker()
        await assigned(rig)
        await worker.reply("r1", b'"done"')
        assert await acks(worker) == ["r1"]
        assert await stored(rig) == b'"done"'
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)


async def test_a_late_reply_is_acknowledged_and_changes_nothing(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=1)
        await assigned(rig)
        await worker.reply("r1")
        await acks(worker)
        await complete(rig)
        before = await keys(rig)
        await worker.reply("r1", b'"late"')
        assert await acks(worker) == ["r1"]
        assert await keys(rig) == before
        assert (len(rig.pushes.pushed), counted(rig, "late")) == (1, 1)


async def test_a_reply_to_a_request_that_was_given_up_changes_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await assigned(rig)
        await forwarded(rig, worker)
        await complete(rig)
        before = await keys(rig)
        await worker.reply("r1")
        assert await acks(worker) == ["r1"]
        assert await keys(rig) == before


async def test_a_reply_to_an_unknown_request_changes_nothing(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await worker.reply("r-unknown")
        assert await acks(worker) == ["r-unknown"]
        assert await keys(rig) == {}
        assert rig.pushes.pushed == []


@pytest.mark.parametrize("limit", [None, 1])
async def test_a_reply_to_another_workers_request_changes_nothing(
    limit: int | None, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await rig.worker(max_worker_concurrency=limit)
        await assigned(rig)
        other = await rig.worker(instance_id="other")
        before = await keys(rig)
        await other.reply("r1", b'"forged"')
        assert await acks(other) == []
        assert await keys(rig) == before
        assert (rig.pushes.pushed, counted(rig, "foreign")) == ([], 1)


async def given_to_another(rig: Rig) -> tuple[Peer, Peer]:
    """Have a worker that has acked a request stand still, until another one has it."""
    late = await rig.worker(instance_id="late")
    await assigned(rig)
    await forwarded(rig, late)
    await trio.sleep(26)  # lease and grace are over
    other = await rig.worker(instance_id="other")
    await assigned(rig)
    await forwarded(rig, other)
    return late, other


async def test_a_reply_changes_nothing_once_another_worker_was_given_the_request(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        late, other = await given_to_another(rig)
        before = await keys(rig)
        await late.reply("r1", b'"late"')
        assert await acks(late) == []
        assert (await keys(rig), rig.pushes.pushed) == (before, [])
        await other.reply("r1", b'"right"')
        assert await acks(other) == ["r1"]
        assert await stored(rig) == b'"right"'


async def test_a_reply_changes_nothing_once_another_worker_has_finished_the_request(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        late, other = await given_to_another(rig)
        await other.reply("r1", b'"right"')
        assert await acks(other) == ["r1"]
        await complete(rig)
        before = await keys(rig)
        await late.reply("r1", b'"late"')
        assert await acks(late) == ["r1"]
        assert await keys(rig) == before


async def test_the_reply_of_the_right_worker_counts_after_a_foreign_one(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        right = await rig.worker()
        await assigned(rig)
        other = await rig.worker(instance_id="other")
        await other.reply("r1", b'"forged"')
        await right.reply("r1", b'"right"')
        assert await acks(right) == ["r1"]
        assert await stored(rig) == b'"right"'


@pytest.mark.parametrize("first", ["right", "other"])
async def test_of_two_workers_replies_to_one_request_an_outage_confuses_nothing(
    first: str, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        workers = {"right": await rig.worker(instance_id="right")}
        await assigned(rig)
        workers["other"] = await rig.worker(instance_id="other")
        rig.outages.down = True
        for name in sorted(workers, key=lambda name: name != first):
            await workers[name].reply("r1", f'"{name}"'.encode())
            await wait_all_tasks_blocked()
        rig.outages.down = False
        assert await acks(workers["right"]) == ["r1"]
        assert await acks(workers["other"]) == []
        assert await stored(rig) == b'"right"'


async def test_a_running_request_is_answered_though_the_store_has_lost_everything(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await assigned(rig)
        await forwarded(rig, worker)
        await rig.store.connections.commands.execute("FLUSHALL")
        await worker.reply("r1", b'"done"')
        assert await acks(worker) == ["r1"]
        assert await stored(rig) == b'"done"'


async def test_a_reply_after_a_long_outage_is_kept_though_the_store_has_lost_everything(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.nursery.start_soon(worker.keep_alive)
        await assigned(rig)
        await forwarded(rig, worker)
        rig.outages.down = True
        await trio.sleep(40)
        await worker.reply("r1", b'"done"')
        await wait_all_tasks_blocked()
        await rig.store.connections.commands.execute("FLUSHALL")
        rig.outages.down = False
        await trio.sleep(5)
        assert await stored(rig) == b'"done"'


async def extend(worker: Peer, lease_id: str) -> str | None:
    """Ask for a longer lease; return its new id, None if it is refused."""
    asked = pb.WorkerRequestExtendLeaseData(
        request_id="r1", env_id=ENV, function_slug="my-app-hello", lease_id=lease_id
    )
    await worker.send(Kind.WORKER_REQUEST_EXTEND_LEASE, bytes(asked))
    payload = await worker.expect(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
    return pb.WorkerRequestExtendLeaseAckData().parse(payload).new_lease_id


@pytest.mark.parametrize("limit", [None, 1])
async def test_a_late_extension_is_refused_and_changes_nothing(
    limit: int | None, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(max_worker_concurrency=limit)
        route = await assigned(rig)
        await complete(rig)
        before = await keys(rig)
        assert await extend(worker, route.lease_id) is None
        assert await keys(rig) == before


@pytest.mark.parametrize("limit", [None, 1])
async def test_another_workers_extension_is_refused_and_changes_nothing(
    limit: int | None, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await rig.worker(max_worker_concurrency=limit)
        await assigned(rig)
        other = await rig.worker(instance_id="other", max_worker_concurrency=limit)
        before = await keys(rig)
        assert await extend(other, "01M82F598MQ01ECVS9NBA04DAY") is None
        assert await keys(rig) == before


async def test_an_ack_for_a_request_that_nobody_forwards_changes_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        before = await keys(rig)
        await worker.ack("r-unknown")
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
        connection = rig.gateway.table.get(worker.connection_id)
        assert connection is not None
        assert (connection.in_flight, await keys(rig)) == (0, before)


async def test_the_lease_names_the_executor_that_asked_last_and_it_gets_the_reply(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await assigned(rig)
        await rig.store.leases.lease(
            ENV, "r1", executor_host="10.0.0.2", executor_port=7001, seconds=20
        )
        await worker.reply("r1")
        await acks(worker)
        assert [(host, port) for host, port, _ in rig.pushes.pushed] == [("10.0.0.2", 7001)]
        lease = await rig.store.leases.get(ENV, "r1")
        assert isinstance(lease, LeaseRecord)
