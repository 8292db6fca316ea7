"""The maintenance API's endpoints about the gateway: what they show, take and refuse."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry

from connect.api import create_admin
from connect.protocol.lifecycle import (
    ClosedConnection,
    Disconnect,
    DisconnectReason,
    DrainProgress,
    OpenConnection,
    Phase,
    PhaseReason,
    Side,
    Transition,
    WorkerStatus,
)
from connect.settings import Settings
from connect.state.records import GatewayRecord, GatewayStatus

OPENED = Transition(Phase.HANDSHAKING, 1_764_000_000.0, PhaseReason.SOCKET_ACCEPTED)
SHUT_DOWN = Disconnect(DisconnectReason.WORKER_SHUTDOWN, "WORKER_SHUTDOWN", Side.WORKER, 1000)


def an_open_connection(**changes: Any) -> OpenConnection:
    known: dict[str, Any] = {
        "id": "c1",
        "instance_id": "worker-1",
        "apps": ("shop",),
        "sdk": "py 0.5",
        "phase": Phase.READY,
        "status": "READY",
        "heartbeat_age": 1.23456,
        "in_flight": 2,
        "transitions": (OPENED, Transition(Phase.READY, 1_764_000_001.5, PhaseReason.JOINED)),
    }
    return OpenConnection(**(known | changes))


def a_closed_connection(**changes: Any) -> ClosedConnection:
    known: dict[str, Any] = {
        "id": "c1",
        "instance_id": "worker-1",
        "apps": ("shop",),
        "sdk": "py 0.5",
        "disconnect": SHUT_DOWN,
        "in_flight": 0,
        "transitions": (
            OPENED,
            Transition(Phase.CLOSED, 1_764_000_002.0, DisconnectReason.WORKER_SHUTDOWN),
        ),
    }
    return ClosedConnection(**(known | changes))


def a_progress(**changes: Any) -> DrainProgress:
    known: dict[str, Any] = {
        "over": False, "total": 5, "told": 4, "left": 2, "closed": 1, "open": 3, "in_flight": 7,
        "replies_kept": 0, "seconds": 1.23456, "seconds_left": 23.76544,
    }  # fmt: skip
    return DrainProgress(**(known | changes))


@dataclass
class FakeGateway:
    """A gateway that is told what to show."""

    opened: list[OpenConnection] = field(default_factory=list)
    closed: list[ClosedConnection] = field(default_factory=list)
    progress: DrainProgress | None = None
    drains: int = 0
    activations: int = 0

    def describe(self) -> Mapping[str, Any]:
        return {"id": "gw-1"}

    def start_drain(self) -> None:
        self.drains += 1
        self.progress = a_progress()

    async def activate(self) -> bool:
        await trio.lowlevel.checkpoint()
        self.activations += 1
        return True

    def drain_progress(self) -> DrainProgress | None:
        return self.progress

    def open_connections(self) -> Iterable[OpenConnection]:
        return self.opened

    def closed_connections(self) -> Iterable[ClosedConnection]:
        return self.closed


async def ping() -> None:
    await trio.lowlevel.checkpoint()


async def ask(
    path: str,
    method: str = "GET",
    *,
    gateway: FakeGateway | None = None,
    not_ready: str | None = None,
    stopping: bool = False,
    at: float = 1_764_000_008.5,
    heartbeat_ms: int = 1_764_000_000_000,
) -> httpx.Response:
    record = GatewayRecord(
        id="gw-1",
        status=GatewayStatus.ACTIVE,
        last_heartbeat_ms=heartbeat_ms,
        hostname="host-1",
        ip="10.0.0.1",
        group="default",
        version="1",
        connections=3,
        admin="http://127.0.0.1:8290",
    )

    async def gateways() -> list[GatewayRecord]:
        await trio.lowlevel.checkpoint()
        return [record]

    app = create_admin(
        settings=Settings(),
        ping=ping,
        registry=CollectorRegistry(),
        gateway=gateway,
        gateways=gateways,
        ready=lambda: not_ready,
        stopping=lambda: stopping,
        now=lambda: at,
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        return await client.request(method, path)


async def test_the_gateway_describes_itself() -> None:
    response = await ask("/gateway", gateway=FakeGateway())
    assert response.json() == {"id": "gw-1", "not_ready": None}


async def test_a_gateway_that_takes_no_work_says_why() -> None:
    response = await ask("/gateway", gateway=FakeGateway(), not_ready="it drains")
    assert response.json()["not_ready"] == "it drains"


async def test_a_process_without_a_gateway_says_so() -> None:
    assert (await ask("/gateway")).json() == {"status": "not running here"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/connections"),
        ("GET", "/connections/closed"),
        ("POST", "/drain"),
        ("GET", "/drained"),
        ("POST", "/activate"),
    ],
)
async def test_what_only_a_gateway_can_do_is_not_found_without_one(method: str, path: str) -> None:
    response = await ask(path, method)
    assert response.status_code == 404
    assert response.json()["error"] == "no gateway runs in this process"


async def test_all_gateways_are_shown_with_their_maintenance_apis() -> None:
    assert (await ask("/gateways")).json() == {
        "data": [
            {
                "id": "gw-1",
                "status": "active",
                "alive": True,
                "group": "default",
                "hostname": "host-1",
                "connections": 3,
                "last_heartbeat_at": "2025-11-24T16:00:00.000Z",
                "heartbeat_age": 8.5,
                "version": "1",
                "admin": "http://127.0.0.1:8290",
            }
        ]
    }


@pytest.mark.parametrize(("silent", "alive"), [(10.0, True), (10.1, False)])
async def test_a_gateway_is_alive_that_was_heard_of_within_two_intervals(
    silent: float, alive: bool
) -> None:
    response = await ask("/gateways", at=1_764_000_000 + silent)
    assert response.json()["data"][0]["alive"] is alive


async def test_a_gateway_that_was_never_heard_of_has_no_age() -> None:
    [shown] = (await ask("/gateways", heartbeat_ms=0)).json()["data"]
    assert (shown["heartbeat_age"], shown["last_heartbeat_at"], shown["alive"]) == (
        None,
        None,
        False,
    )


async def test_an_open_connection_is_shown() -> None:
    response = await ask("/connections", gateway=FakeGateway([an_open_connection()]))
    assert response.json() == {
        "matching": 1,
        "data": [
            {
                "id": "c1",
                "instance_id": "worker-1",
                "apps": ["shop"],
                "sdk": "py 0.5",
                "status": "READY",
                "phase": "READY",
                "opened_at": "2025-11-24T16:00:00.000Z",
                "heartbeat_age": 1.235,
                "in_flight": 2,
                "worker_status": None,
                "transitions": [
                    {
                        "phase": "HANDSHAKING",
                        "at": "2025-11-24T16:00:00.000Z",
                        "reason": "SOCKET_ACCEPTED",
                    },
                    {"phase": "READY", "at": "2025-11-24T16:00:01.500Z", "reason": "JOINED"},
                ],
            }
        ],
    }


async def test_a_closed_connection_is_shown_with_its_typed_reason() -> None:
    gateway = FakeGateway(closed=[a_closed_connection()])
    [shown] = (await ask("/connections/closed", gateway=gateway)).json()["data"]
    assert {name: shown[name] for name in ("status", "reason", "detail", "by", "code")} == {
        "status": "DISCONNECTED",
        "reason": "WORKER_SHUTDOWN",
        "detail": "WORKER_SHUTDOWN",
        "by": "worker",
        "code": 1000,
    }
    assert (shown["opened_at"], shown["closed_at"]) == (
        "2025-11-24T16:00:00.000Z",
        "2025-11-24T16:00:02.000Z",
    )


STALLED = Disconnect(DisconnectReason.WRITE_STALLED, "write timed out", Side.GATEWAY)
CLOSED = [
    a_closed_connection(id="c1"),
    a_closed_connection(id="c2", instance_id="worker-2"),
    a_closed_connection(id="c3", apps=("mail", "shop")),
    a_closed_connection(id="c4", disconnect=STALLED, apps=()),
]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["c1", "c2", "c3", "c4"]),
        ("?limit=2", ["c1", "c2"]),
        ("?limit=0", []),
        ("?reason=WRITE_STALLED", ["c4"]),
        ("?reason=write_stalled", ["c4"]),
        ("?by=gateway", ["c4"]),
        ("?instance=worker-2", ["c2"]),
        ("?app=shop", ["c1", "c2", "c3"]),
        ("?app=shop&instance=worker-1&limit=1", ["c1"]),
        ("?app=sho", []),
    ],
)
async def test_closed_connections_are_filtered(query: str, expected: list[str]) -> None:
    response = await ask(f"/connections/closed{query}", gateway=FakeGateway(closed=CLOSED))
    assert [connection["id"] for connection in response.json()["data"]] == expected


async def test_the_number_of_matching_connections_does_not_depend_on_the_limit() -> None:
    response = await ask("/connections/closed?limit=1&app=shop", gateway=FakeGateway(closed=CLOSED))
    assert response.json()["matching"] == 3


async def test_what_a_worker_says_of_itself_is_shown() -> None:
    status = WorkerStatus(
        at=1_764_000_001.0, request_ids=("r1",), in_flight=1, shutdown_requested=True
    )
    gateway = FakeGateway([an_open_connection(worker_status=status)])
    [shown] = (await ask("/connections", gateway=gateway)).json()["data"]
    assert shown["worker_status"] == {
        "at": "2025-11-24T16:00:01.000Z",
        "in_flight_request_ids": ["r1"],
        "in_flight": 1,
        "shutdown_requested": True,
    }


@pytest.mark.parametrize("path", ["/connections?limit=1", "/connections/closed?limit=1"])
async def test_of_many_connections_only_those_that_are_shown_are_rendered(path: str) -> None:
    broken: dict[str, Any] = {"transitions": ()}  # cannot be rendered
    gateway = FakeGateway(
        [an_open_connection(), an_open_connection(**broken)],
        closed=[a_closed_connection(), a_closed_connection(**broken)],
    )
    assert (await ask(path, gateway=gateway)).json()["matching"] == 2


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", ["c1", "c2"]), ("?status=draining", ["c2"]), ("?instance=worker-1", ["c1", "c2"])],
)
async def test_open_connections_are_filtered(query: str, expected: list[str]) -> None:
    gateway = FakeGateway([an_open_connection(), an_open_connection(id="c2", status="DRAINING")])
    response = await ask(f"/connections{query}", gateway=gateway)
    assert [connection["id"] for connection in response.json()["data"]] == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/connections?limit=ten", "limit must be a whole number, not 'ten'"),
        ("/connections?limit=-1", "limit must be a whole number, not '-1'"),
        ("/connections?statu=READY", "there is no parameter 'statu'; did you mean status?"),
        ("/connections?status=REDY", "there is no status 'REDY'; did you mean READY?"),
        (
            "/connections?status=x",
            "there is no status 'X'; there are CONNECTED, READY, DRAINING, DISCONNECTING, "
            "DISCONNECTED",
        ),
        (
            "/connections/closed?reason=WRITE_STALED",
            "there is no reason 'WRITE_STALED'; did you mean WRITE_STALLED?",
        ),
        (
            "/connections/closed?by=nobody",
            "there is no side 'nobody'; there are gateway, worker, network",
        ),
    ],
)
async def test_a_query_that_means_nothing_is_refused_with_what_would(
    path: str, message: str
) -> None:
    response = await ask(path, gateway=FakeGateway())
    assert (response.status_code, response.json()["error"]) == (400, message)


async def test_a_drain_is_begun_and_its_progress_shown() -> None:
    gateway = FakeGateway()
    response = await ask("/drain", "POST", gateway=gateway)
    assert (response.status_code, gateway.drains) == (202, 1)
    assert response.json() == {
        "state": "draining",
        "total": 5,
        "told": 4,
        "left": 2,
        "closed": 1,
        "open": 3,
        "in_flight": 7,
        "replies_kept": 0,
        "seconds": 1.235,
        "seconds_left": 23.765,
    }


async def test_a_drain_is_not_begun_by_looking() -> None:
    gateway = FakeGateway()
    assert (await ask("/drain", gateway=gateway)).status_code == 405
    assert gateway.drains == 0


@pytest.mark.parametrize(
    ("progress", "status", "state"),
    [
        (None, 425, "active"),
        (a_progress(), 425, "draining"),
        (a_progress(over=True), 425, "given_up"),
        (a_progress(over=True, open=0), 200, "drained"),
    ],
)
async def test_drained_answers_200_only_when_every_connection_is_gone(
    progress: DrainProgress | None, status: int, state: str
) -> None:
    response = await ask("/drained", gateway=FakeGateway(progress=progress))
    assert (response.status_code, response.json()["state"]) == (status, state)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (False, "3 of 5 connections are still open"),
        (True, "3 of 5 connections are still open, and the time to wait for them is over"),
    ],
)
async def test_what_is_left_of_a_drain_is_told_in_words(over: bool, message: str) -> None:
    response = await ask("/drained", gateway=FakeGateway(progress=a_progress(over=over)))
    assert response.json()["error"] == message


async def test_a_gateway_is_activated() -> None:
    gateway = FakeGateway()
    response = await ask("/activate", "POST", gateway=gateway)
    assert (response.status_code, response.json()) == (200, {"state": "active"})
    assert gateway.activations == 1


async def test_a_gateway_whose_process_ends_is_not_activated() -> None:
    gateway = FakeGateway()
    response = await ask("/activate", "POST", gateway=gateway, stopping=True)
    assert (response.status_code, gateway.activations) == (409, 0)
