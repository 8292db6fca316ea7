"""Opening a connection: what is stored, and every way to be refused."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from connect.errors import Syscode
from connect.protocol.messages.connect import v1 as pb
from connect.state.records import ConnectionStatus
from tests.nursery.rig import ENV, FUNCTIONS, Kind, now, open_rig, request_bytes, with_limits


async def test_a_worker_that_joins_is_stored_as_ready_with_its_group_and_app(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = await rig.store.connections.get(ENV, worker.connection_id)
        assert connection is not None
        assert connection.status is ConnectionStatus.READY
        [(app_id, group_hash)] = connection.synced_groups.items()
        group = await rig.store.connections.group(ENV, group_hash)
        assert group is not None
        assert (group.app_id, group.functions) == (app_id, ("my-app-hello",))
        found = await rig.store.apps.find_function(ENV, "my-app-hello")
        assert found is not None
        assert found.app.id == app_id


async def test_the_worker_is_told_its_intervals(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello()))
        ready = pb.GatewayConnectionReadyData().parse(
            await peer.expect(Kind.GATEWAY_CONNECTION_READY)
        )
        assert (ready.heartbeat_interval, ready.extend_lease_interval, ready.status_interval) == (
            "10s",
            "5s",
            "0s",
        )


async def test_a_second_worker_with_the_same_code_joins_the_same_sync(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        first = await rig.worker(instance_id="w1")
        second = await rig.worker(instance_id="w2")
        records = [
            await rig.store.connections.get(ENV, peer.connection_id) for peer in (first, second)
        ]
        assert records[0] is not None
        assert records[1] is not None
        assert records[0].synced_groups == records[1].synced_groups
        [app] = await rig.store.apps.all(ENV)
        assert app.name == "my-app"


async def test_a_capacity_limit_is_stored_and_taken_back(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.worker(max_worker_concurrency=3)
        assert await rig.store.capacity.limit(ENV, "worker-1") == 3
        await rig.worker()
        assert await rig.store.capacity.limit(ENV, "worker-1") is None


async def test_a_worker_that_says_nothing_is_closed_after_five_seconds(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        peer = await rig.dial()
        started = trio.current_time()
        assert await peer.closed() == (1008, Syscode.HELLO_TIMEOUT)
        assert trio.current_time() - started == pytest.approx(5)


async def test_a_worker_that_stops_within_its_first_message_is_closed_too(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        await peer.stream.send_all(b"\x82\xfe")  # a frame that promises more than it brings
        assert await peer.closed() == (1008, Syscode.HELLO_TIMEOUT)


@pytest.mark.parametrize(
    ("changes", "syscode"),
    [
        ({"connection_id": "nope"}, Syscode.HELLO_INVALID_PAYLOAD),
        ({"auth_data": pb.AuthData()}, Syscode.AUTHENTICATION_FAILED),
        ({"auth_data": pb.AuthData(session_token="a.b.c")}, Syscode.AUTHENTICATION_FAILED),
    ],
)
async def test_a_refused_worker_is_told_why(
    autojump_clock: MockClock, changes: dict[str, object], syscode: str
) -> None:
    async with open_rig() as rig:
        peer = await rig.dial()
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello(**changes)))
        assert await peer.closed() == (1008, syscode)
        assert await rig.store.connections.all(ENV) == []


async def test_an_expired_token_is_refused(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        token = rig.token()
        await trio.sleep(301)
        peer = await rig.dial()
        hello = rig.hello(auth_data=pb.AuthData(session_token=token))
        await peer.send(Kind.WORKER_CONNECT, bytes(hello))
        assert await peer.closed() == (1008, Syscode.AUTHENTICATION_FAILED)


@pytest.mark.parametrize(("entitled", "cap"), [(2, 100), (100, 2)])
async def test_more_apps_than_allowed_are_refused(
    autojump_clock: MockClock, entitled: int, cap: int
) -> None:
    async with open_rig(with_limits(apps_hard_cap=cap)) as rig:
        peer = await rig.dial()
        hello = rig.hello(
            auth_data=pb.AuthData(session_token=rig.token(entitled)),
            apps=[pb.AppConfiguration(app_name=f"a{i}", functions=b"[]") for i in range(3)],
        )
        await peer.send(Kind.WORKER_CONNECT, bytes(hello))
        assert await peer.closed() == (1008, Syscode.TOO_MANY_APPS)


@pytest.mark.parametrize("functions", [b"{", b'[{"name": "no id"}]', b'[{"id": 1e400}]'])
async def test_bad_functions_are_told_by_sync_failed_before_the_close(
    autojump_clock: MockClock, functions: bytes
) -> None:
    async with open_rig() as rig:
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        apps = [pb.AppConfiguration(app_name="my-app", functions=functions)]
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello(apps=apps)))
        error = pb.SystemError().parse(await peer.expect(Kind.SYNC_FAILED))
        assert error.code == Syscode.INVALID_FUNCTION_CONFIG
        assert error.message
        assert await peer.closed() == (1008, Syscode.INVALID_FUNCTION_CONFIG)


async def test_the_faults_of_all_apps_are_told_with_their_apps(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        apps = [
            pb.AppConfiguration(app_name="one", functions=b'[{"id": "a"}]'),
            pb.AppConfiguration(app_name="two", functions=FUNCTIONS),
            pb.AppConfiguration(app_name="three", functions=b"{}"),
        ]
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello(apps=apps)))
        error = pb.SystemError().parse(await peer.expect(Kind.SYNC_FAILED))
        assert error.message == (
            "one: a: triggers: missing; expected a list of objects; "
            "three: an object; expected a list of functions"
        )


@pytest.mark.parametrize("failure", ["down", "broken"])
async def test_a_store_that_fails_ends_the_handshake_with_1011(
    autojump_clock: MockClock, failure: str
) -> None:
    async with open_rig() as rig:
        setattr(rig.outages, failure, True)
        peer = await rig.dial()
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello()))
        assert await peer.closed() == (1011, Syscode.INTERNAL_ERROR)


async def test_manual_readiness_takes_requests_only_after_worker_ready(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(worker_manual_readiness_ack=True)
        record = await rig.store.connections.get(ENV, worker.connection_id)
        assert record is not None
        assert record.status is ConnectionStatus.CONNECTED
        assert not await rig.gateway.forward(worker.connection_id, "r", b"")
        await worker.send(Kind.WORKER_READY)
        await trio.testing.wait_all_tasks_blocked()
        record = await rig.store.connections.get(ENV, worker.connection_id)
        assert record is not None
        assert record.status is ConnectionStatus.READY


async def test_the_store_says_ready_no_later_than_the_worker_is_told(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.outages.delay = 0.5
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello()))
        await peer.expect(Kind.GATEWAY_CONNECTION_READY)
        [record] = await rig.store.connections.all(ENV)
        assert record.status is ConnectionStatus.READY


async def test_a_forward_during_the_handshake_follows_the_ready_message(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.outages.delay = 0.5
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        hello = rig.hello()
        await peer.send(Kind.WORKER_CONNECT, bytes(hello))
        while hello.connection_id not in [c.id for c in await rig.store.connections.all(ENV)]:
            await trio.sleep(0.1)
        while rig.gateway.table.get(hello.connection_id) is None:
            await trio.sleep(0.1)
        rig.nursery.start_soon(rig.gateway.forward, hello.connection_id, "r", request_bytes("r"))
        await peer.expect(Kind.GATEWAY_CONNECTION_READY)
        await peer.expect(Kind.GATEWAY_EXECUTOR_REQUEST)


@pytest.mark.parametrize("operation", ["set_limit", "upsert"])
async def test_a_store_that_fails_half_way_leaves_no_connection_behind(
    autojump_clock: MockClock, operation: str
) -> None:
    async with open_rig() as rig:
        peer = await rig.dial()
        rig.outages.fail_at = (operation, 2 if operation == "upsert" else 1)
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello()))
        assert await peer.closed() == (1011, Syscode.INTERNAL_ERROR)
        await trio.testing.wait_all_tasks_blocked()
        assert await rig.store.connections.all(ENV) == []
        assert len(rig.gateway.table) == 0


async def test_the_same_connection_id_again_replaces_the_old_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        old = await rig.worker()
        new = await rig.dial()
        await new.expect(Kind.GATEWAY_HELLO)
        await new.send(Kind.WORKER_CONNECT, bytes(rig.hello(connection_id=old.connection_id)))
        assert (await old.closed())[0] == 1008
        await new.expect(Kind.GATEWAY_CONNECTION_READY)
        await trio.testing.wait_all_tasks_blocked()
        record = await rig.store.connections.get(ENV, old.connection_id)
        assert record is not None
        assert len(rig.gateway.table) == 1


async def test_feature_observations_are_kept_as_a_hash(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        app = pb.AppConfiguration().parse(
            bytes(pb.AppConfiguration(app_name="my-app", functions=FUNCTIONS)) + b"\x2a\x02\x08\x01"
        )
        worker = await rig.worker(apps=[app])
        record = await rig.store.connections.get(ENV, worker.connection_id)
        assert record is not None
        group = await rig.store.connections.group(ENV, record.groups["my-app"])
        assert group is not None
        assert len(group.feature_observations_hash) == 64


async def test_a_group_keeps_its_creation_time_over_reconnects(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        first = await rig.worker()
        record = await rig.store.connections.get(ENV, first.connection_id)
        assert record is not None
        before = await rig.store.connections.group(ENV, record.groups["my-app"])
        rig.nursery.start_soon(first.keep_alive)
        await trio.sleep(100)
        await rig.worker()
        after = await rig.store.connections.group(ENV, record.groups["my-app"])
        assert before is not None
        assert after is not None
        assert (after.created_at, after.sync_id) == (before.created_at, before.sync_id)
        assert now() > 0
