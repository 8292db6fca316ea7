"""What a worker sees when a limit of its gateway is reached, and what the metrics say."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.errors import Syscode
from connect.protocol.lifecycle import DisconnectReason
from connect.protocol.messages.connect import v1 as pb
from connect.settings import Settings
from connect.state.records import GatewayRecord, GatewayStatus
from tests.nursery.rig import ENV, START, Kind, Rig, now, open_rig, with_limits
from tests.nursery.test_listener import UPGRADE, Port, open_peer, open_port


def functions(number: int) -> bytes:
    return json.dumps(
        [
            {"id": f"my-app-{each}", "name": "f", "triggers": [{"event": "a"}], "steps": {}}
            for each in range(number)
        ]
    ).encode()


async def refusal(rig: Rig, **hello: object) -> tuple[pb.SystemError, tuple[int, str]]:
    """Introduce a worker that is refused; return what it is told, and the close."""
    peer = await rig.dial()
    await peer.expect(Kind.GATEWAY_HELLO)
    await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello(**hello)))
    told = pb.SystemError().parse(await peer.expect(Kind.SYNC_FAILED))
    return told, await peer.closed()


def gateway_record(connections: int, **changes: object) -> GatewayRecord:
    fields: dict[str, object] = {
        "id": "other",
        "status": GatewayStatus.ACTIVE,
        "last_heartbeat_ms": round(now() * 1000),
        "hostname": "host",
        "ip": "10.0.0.2",
        "connections": connections,
    }
    return GatewayRecord(**(fields | changes))  # type: ignore[arg-type] # built by name


async def flap(rig: Rig, times: int) -> None:
    """Have a worker connect so often, and be lost at once each time."""
    for _ in range(times):
        worker = await rig.worker()
        await trio.aclose_forcefully(worker.stream)
        await wait_all_tasks_blocked()


# After the upgrade


async def test_an_account_at_its_limit_is_told_and_closed_with_try_again_later(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(connections_per_account=1)) as rig:
        await rig.worker()
        told, closed = await refusal(rig, instance_id="second")
        assert closed == (1013, "connect_too_many_connections_per_account")
        assert told.code == "connect_too_many_connections_per_account"
        assert told.message == "the account has 1 connections; 1 may be"
        assert 5 <= json.loads(told.data or b"")["retry_after"] <= 10


async def test_a_worker_that_is_refused_leaves_nothing_in_the_store(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(connections_per_account=1)) as rig:
        worker = await rig.worker()
        await refusal(rig, instance_id="second")
        stored = await rig.store.connections.all(ENV)
        assert [connection.id for connection in stored] == [worker.connection_id]


async def test_an_account_has_room_again_when_a_worker_is_gone(autojump_clock: MockClock) -> None:
    async with open_rig(with_limits(connections_per_account=1)) as rig:
        worker = await rig.worker()
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await wait_all_tasks_blocked()
        await rig.worker()


async def test_an_accounts_connections_at_other_gateways_count_within_a_heartbeat(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(connections_per_account=10)) as rig:
        await rig.store.gateways.upsert(gateway_record(10))
        await trio.sleep(6)
        _, closed = await refusal(rig)
        assert closed == (1013, Syscode.ACCOUNT_FULL)


@pytest.mark.parametrize(
    "state",
    [{"status": GatewayStatus.DRAINING}, {"last_heartbeat_ms": round(START * 1000) - 60_000}],
    ids=["draining", "dead"],
)
async def test_connections_at_gateways_that_take_none_do_not_count(
    state: dict[str, object], autojump_clock: MockClock
) -> None:
    async with open_rig(with_limits(connections_per_account=10)) as rig:
        await rig.store.gateways.upsert(gateway_record(10, **state))
        await trio.sleep(6)
        await rig.worker()


async def test_where_no_account_has_a_limit_other_gateways_are_not_asked_for(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(connections_per_account=0)) as rig:
        await trio.sleep(20)
        assert "all" not in rig.outages.calls


async def test_a_flapping_worker_is_let_in_later_within_its_handshake(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(flaps=2)) as rig:
        await flap(rig, 3)
        started = trio.current_time()
        await rig.worker()
        assert 0.3 < trio.current_time() - started <= 0.5


async def test_a_worker_that_goes_on_flapping_is_told_when_to_come_again(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(flaps=2)) as rig:
        await flap(rig, 7)
        told, closed = await refusal(rig)
        assert closed == (1013, "connect_reconnecting_too_often")
        assert told.code == "connect_reconnecting_too_often"
        await trio.sleep(json.loads(told.data or b"")["retry_after"])
        await rig.worker()


async def test_a_drain_ends_the_wait_of_a_flapping_worker(autojump_clock: MockClock) -> None:
    async with open_rig(with_limits(flaps=2)) as rig:
        await flap(rig, 5)
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello()))
        await wait_all_tasks_blocked()
        rig.gateway.start_drain()
        assert await peer.closed() == (1001, Syscode.GATEWAY_CLOSING)


async def test_an_app_with_too_many_functions_is_told_and_refused(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(functions_per_app=2)) as rig:
        apps = [pb.AppConfiguration(app_name="my-app", functions=functions(3))]
        told, closed = await refusal(rig, apps=apps)
        assert closed == (1008, "connect_too_many_functions_per_app")
        assert told.message == "app 'my-app' brings 3 functions; 2 may be"


@pytest.mark.parametrize(("number", "limit"), [(2, 2), (3, 0)])
async def test_an_app_within_its_limit_is_let_in(
    number: int, limit: int, autojump_clock: MockClock
) -> None:
    async with open_rig(with_limits(functions_per_app=limit)) as rig:
        await rig.worker(apps=[pb.AppConfiguration(app_name="my-app", functions=functions(number))])


async def test_each_refusal_is_told_apart_in_history_and_metrics(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(with_limits(connections_per_account=1)) as rig:
        await rig.worker()
        await refusal(rig, instance_id="second")
        await wait_all_tasks_blocked()
        closed = next(rig.gateway.closed_connections())
        assert closed.disconnect.reason is DisconnectReason.LIMIT_REACHED
        metrics = rig.services.metrics
        ended = metrics.connections_closed.labels("connect_too_many_connections_per_account")
        refused = metrics.connections_refused.labels(
            "connect_too_many_connections_per_account", "limits.connections_per_account"
        )
        assert (ended._value.get(), refused._value.get()) == (1, 1)


async def test_handshakes_in_progress_are_shown_as_a_metric(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.worker()
        peer = await rig.dial()
        await peer.expect(Kind.GATEWAY_HELLO)
        shown = rig.services.metrics.registry.get_sample_value("connect_handshakes")
        assert shown == 1


async def test_places_come_to_nothing_however_connections_end(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await flap(rig, 1)
        silent = await rig.dial()
        await silent.expect(Kind.GATEWAY_HELLO)
        await refused_token(rig)
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await silent.closed()
        await wait_all_tasks_blocked()
        admission = rig.gateway.admission
        assert (admission.places, admission.handshakes) == (0, 0)


async def refused_token(rig: Rig) -> None:
    peer = await rig.dial()
    await peer.expect(Kind.GATEWAY_HELLO)
    await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello(auth_data=pb.AuthData())))
    assert await peer.closed() == (1008, Syscode.AUTHENTICATION_FAILED)


# Before the upgrade, over real sockets


def body_of(answer: bytes) -> dict[str, object]:
    body: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return body


async def test_a_full_gateway_answers_503_and_when_to_come_again() -> None:
    async with open_port(with_limits(connections=1)) as port, open_peer(port) as peer:
        await peer.expect(Kind.GATEWAY_HELLO)
        answer = await port.upgrade()
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert body_of(answer) == {
            "error": "this gateway has 1 connections, its limit",
            "code": "connect_gateway_full",
            "status": 503,
        }
        [hint] = [line for line in answer.split(b"\r\n") if line.startswith(b"Retry-After: ")]
        assert 5 <= int(hint.split()[1]) <= 10


async def test_an_address_at_its_limit_gets_429() -> None:
    async with open_port(with_limits(connections_per_address=1)) as port, open_peer(port) as peer:
        await peer.expect(Kind.GATEWAY_HELLO)
        answer = await port.upgrade()
        assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert body_of(answer)["code"] == "connect_too_many_connections_per_address"


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"handshakes": 1}, "connect_too_many_handshakes"),
        ({"handshakes_per_second": 1}, "connect_too_many_handshakes_per_second"),
    ],
)
async def test_too_many_handshakes_get_503(limits: dict[str, int], code: str) -> None:
    async with open_port(with_limits(**limits)) as port, open_peer(port) as peer:
        await peer.expect(Kind.GATEWAY_HELLO)
        answer = await port.upgrade()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert body_of(answer)["code"] == code


@pytest.mark.parametrize(
    ("limit", "status", "code"),
    [
        ("pending_sockets", b"503", Syscode.TOO_MANY_HANDSHAKES),
        ("pending_sockets_per_address", b"429", Syscode.ADDRESS_FULL),
    ],
)
async def test_sockets_that_say_nothing_are_bounded(limit: str, status: bytes, code: str) -> None:
    async with open_port(with_limits(**{limit: 2})) as port:
        for _ in range(2):
            port.rig.nursery.start_soon(port.ask, b"GET")
        await pending(port, 2)
        answer = await port.ask(b"")
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert body_of(answer)["code"] == code


async def test_a_trusted_proxys_sockets_may_all_be_silent() -> None:
    settings = with_proxies(with_limits(pending_sockets_per_address=1), ("127.0.0.1",))
    async with open_port(settings) as port:
        port.rig.nursery.start_soon(port.ask, b"GET")
        await pending(port, 1)
        assert (await port.get("/ready")).startswith(b"HTTP/1.1 200 ")


async def test_a_socket_whose_request_has_come_is_pending_no_more() -> None:
    async with open_port(with_limits(pending_sockets=1)) as port, open_peer(port) as peer:
        await peer.expect(Kind.GATEWAY_HELLO)
        async with open_peer(port) as other:
            await other.expect(Kind.GATEWAY_HELLO)


async def silent_worker(port: Port) -> trio.SocketStream:
    """Open a WebSocket and say nothing, until the gateway has closed its side."""
    stream = await trio.open_tcp_stream("127.0.0.1", port.number)
    lines = ["GET /v0/connect HTTP/1.1", *(f"{name}: {value}" for name, value in UPGRADE.items())]
    await stream.send_all("\r\n".join([*lines, "", ""]).encode())
    async for _ in stream:
        pass
    return stream


async def is_read(stream: trio.SocketStream) -> bool:
    """Whether there is still somebody at the other end."""
    try:
        for _ in range(3):
            await stream.send_all(b"x")
            await trio.sleep(0.05)
    except trio.BrokenResourceError:
        return False
    return True


async def test_sockets_that_linger_are_bounded() -> None:
    settings = with_limits(pending_sockets=1)
    quick = replace(settings.timing, handshake=0.1, write=0.1)
    async with open_port(replace(settings, timing=quick)) as port:
        with trio.fail_after(10):
            first, second = await silent_worker(port), await silent_worker(port)
        async with first, second:
            assert [await is_read(first), await is_read(second)] == [True, False]


async def pending(port: Port, count: int) -> None:
    with trio.fail_after(10):
        while port.rig.gateway.admission.pending != count:
            await trio.sleep(0.01)


async def test_a_full_gateway_still_answers_whoever_asks_for_its_health() -> None:
    async with open_port(with_limits(connections=1)) as port, open_peer(port) as peer:
        await peer.expect(Kind.GATEWAY_HELLO)
        assert (await port.get("/ready")).startswith(b"HTTP/1.1 200 ")


async def test_a_worker_is_let_in_when_another_has_left() -> None:
    async with open_port(with_limits(connections=1)) as port:
        async with open_peer(port) as peer:
            await peer.expect(Kind.GATEWAY_HELLO)
        await places_left(port.rig, 0)
        async with open_peer(port) as peer:
            await peer.expect(Kind.GATEWAY_HELLO)


async def test_an_upgrade_that_is_not_finished_gives_its_place_back() -> None:
    async with open_port() as port:
        async with open_upgrade(port, "") as stream:
            await places_left(port.rig, 1)
            await trio.aclose_forcefully(stream)
        await places_left(port.rig, 0)


async def places_left(rig: Rig, count: int) -> None:
    with trio.fail_after(10):
        while rig.gateway.admission.places != count:
            await trio.sleep(0.01)


def with_proxies(settings: Settings, trusted: tuple[str, ...]) -> Settings:
    return replace(settings, listen=replace(settings.listen, trusted_proxies=trusted))


@asynccontextmanager
async def open_upgrade(port: Port, forwarded_for: str) -> AsyncIterator[trio.SocketStream]:
    """Ask for a WebSocket, as a proxy does for its client, and read what comes first."""
    headers = UPGRADE | {"X-Forwarded-For": forwarded_for}
    lines = ["GET /v0/connect HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    stream = await trio.open_tcp_stream("127.0.0.1", port.number)
    async with stream:
        await stream.send_all("\r\n".join([*lines, "", ""]).encode())
        yield stream


async def first_line(port: Port, forwarded_for: str) -> bytes:
    await places_left(port.rig, 1)
    async with open_upgrade(port, forwarded_for) as stream:
        with trio.fail_after(10):
            return await stream.receive_some(4096)


@pytest.mark.parametrize(("trusted", "refused"), [((), True), (("127.0.0.1",), False)])
async def test_clients_behind_a_trusted_proxy_are_counted_one_by_one(
    trusted: tuple[str, ...], refused: bool
) -> None:
    settings = with_limits(connections_per_address=1)
    async with (
        open_port(with_proxies(settings, trusted)) as port,
        open_upgrade(port, "198.51.100.1"),
    ):
        answer = await first_line(port, "198.51.100.2")
        assert answer.startswith(b"HTTP/1.1 429 " if refused else b"HTTP/1.1 101 ")


async def test_one_client_behind_a_trusted_proxy_has_one_share() -> None:
    settings = with_proxies(with_limits(connections_per_address=1), ("127.0.0.0/8",))
    async with open_port(settings) as port, open_upgrade(port, "198.51.100.1"):
        forged = "203.0.113.77, 198.51.100.1"
        assert (await first_line(port, forged)).startswith(b"HTTP/1.1 429 ")
