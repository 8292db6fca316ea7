"""When a worker that was refused comes again: as asked, within reason."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import httpx
import pytest
import trio
import trio_websocket
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked
from ulid import ULID

from connect.nursery.listener import SUBPROTOCOL
from connect.protocol.messages.connect import v1 as pb
from connect.worker import App, Happening, JournalEntry, Worker, WorkerTiming, websocket
from tests.nursery.rig import Kind, Rig, open_rig, with_limits
from tests.nursery.test_listener import open_peer, open_port
from tests.worker.conftest import until_happened

Answer = Callable[[], httpx.Response]


@dataclass
class Api:
    """A worker API in the worker's own process.

    Attributes:
        answers: what to answer first; then the last of them again and again.
        asked_at: when it was asked.
    """

    answers: list[Answer]
    asked_at: list[float] = field(default_factory=list)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def pauses(self) -> list[float]:
        """Seconds between one question and the next."""
        return [
            after - before for before, after in zip(self.asked_at, self.asked_at[1:], strict=False)
        ]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked_at.append(trio.current_time())
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])()


def refusing(status: int = 429, **headers: str) -> Answer:
    """An answer that refuses; headers by name, with underscores."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: httpx.Response(status, headers=told, json={"error": "the account is full"})


def naming(rig: Rig, endpoint: str, group: str = "group") -> Answer:
    """An answer that names a gateway."""
    return lambda: httpx.Response(
        200,
        content=bytes(
            pb.StartResponse(
                connection_id=str(ULID()),
                gateway_endpoint=endpoint,
                gateway_group=group,
                session_token=rig.token(),
            )
        ),
    )


def make_worker(
    journal: list[JournalEntry] | None = None,
    *,
    jitter: float = 0.0,
    timing: WorkerTiming | None = None,
) -> Worker:
    return Worker(
        App("shop"),
        journal=([] if journal is None else journal).append,
        jitter=lambda: jitter,
        timing=timing,
    )


async def pauses_of(api: Api, worker: Worker, seconds: float) -> list[float]:
    """Have a worker try for so long; return its pauses."""
    async with api.client() as client:
        with trio.move_on_after(seconds):
            await worker.run(client=client)
    return api.pauses()


# Asked by the API


@pytest.mark.parametrize("status", [429, 503])
async def test_a_worker_waits_as_long_as_the_api_asks(
    status: int, autojump_clock: MockClock
) -> None:
    api = Api([refusing(status, retry_after="7")])
    assert await pauses_of(api, make_worker(), 15) == pytest.approx([7, 7])


async def test_a_worker_waits_until_the_date_that_the_api_names(autojump_clock: MockClock) -> None:
    date, until = "Mon, 24 Nov 2025 16:00:00 GMT", "Mon, 24 Nov 2025 16:00:12 GMT"
    api = Api([refusing(date=date, retry_after=until)])
    assert await pauses_of(api, make_worker(), 15) == pytest.approx([12])


async def test_workers_that_are_asked_the_same_spread_further_each_time(
    autojump_clock: MockClock,
) -> None:
    api = Api([refusing(retry_after="7")])
    pauses = await pauses_of(api, make_worker(jitter=1.0), 30)
    assert pauses == pytest.approx([7.5, 8, 9])


async def test_a_worker_is_not_silenced_for_long(autojump_clock: MockClock) -> None:
    api = Api([refusing(retry_after="999999999")])
    assert await pauses_of(api, make_worker(), 100) == pytest.approx([60])


async def test_how_long_a_worker_can_be_put_off_is_a_setting(autojump_clock: MockClock) -> None:
    api = Api([refusing(retry_after="7")])
    worker = make_worker(timing=WorkerTiming(retry_after_most=2.0))
    assert await pauses_of(api, worker, 5) == pytest.approx([2, 2])


@pytest.mark.parametrize("hint", ["soon", "-5", "9" * 400])
async def test_a_worker_that_is_asked_nonsense_backs_off_as_ever(
    hint: str, autojump_clock: MockClock
) -> None:
    api = Api([refusing(retry_after=hint)])
    pauses = await pauses_of(api, make_worker(jitter=1.0), 3)
    assert pauses == pytest.approx([0.5, 1])


async def test_a_wish_counts_for_one_pause(autojump_clock: MockClock) -> None:
    api = Api([refusing(retry_after="7"), refusing()])
    pauses = await pauses_of(api, make_worker(jitter=1.0), 10)
    assert pauses == pytest.approx([7.5, 1])


async def test_the_log_has_the_reason_the_wish_and_the_pause(autojump_clock: MockClock) -> None:
    journal: list[JournalEntry] = []
    await pauses_of(Api([refusing(retry_after="90")]), make_worker(journal, jitter=1.0), 1)
    assert [entry.detail for entry in journal if entry.what == Happening.CONNECT_FAILED] == [
        "http://127.0.0.1:8288 answered 429: the account is full; "
        "asked to wait 90 s, the next attempt is in 60.5 s"
    ]


async def test_a_worker_that_waits_can_be_shut_down_at_once(autojump_clock: MockClock) -> None:
    api, worker = Api([refusing(retry_after="50")]), make_worker()
    async with api.client() as client, trio.open_nursery() as nursery:
        nursery.start_soon(partial(worker.run, client=client))
        await wait_all_tasks_blocked()
        worker.shutdown()
    assert trio.current_time() - api.asked_at[0] < 1


# Asked by a gateway


@asynccontextmanager
async def open_gateway(
    monkeypatch: pytest.MonkeyPatch, **limits: int
) -> AsyncIterator[tuple[Rig, Api]]:
    """A gateway that workers reach over streams in memory, and an API that names it."""
    async with open_rig(with_limits(**limits)) as rig:

        async def serve(stream: trio.abc.Stream) -> None:
            async with trio.open_nursery() as nursery:
                request = await trio_websocket.wrap_server_stream(nursery, stream)
                socket = await request.accept(subprotocol=SUBPROTOCOL)
                await rig.gateway.serve_socket(socket)
                nursery.cancel_scope.cancel()
            await trio.aclose_forcefully(stream)

        async def dial(url: str, deadline: float) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()
            rig.nursery.start_soon(serve, theirs)
            return ours

        monkeypatch.setattr(websocket, "_dial", dial)
        yield rig, Api([naming(rig, "ws://gateway/v0/connect")])


async def test_a_worker_of_a_full_account_comes_in_when_the_gateway_said(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    journal: list[JournalEntry] = []
    async with open_gateway(monkeypatch, connections_per_account=1) as (rig, api):
        first = await rig.worker()
        async with api.client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(partial(make_worker(journal).run, client=client))
            await until_happened(journal, Happening.CONNECT_FAILED)
            await first.socket.aclose(1000, "WORKER_SHUTDOWN")
            refused = trio.current_time()
            await until_happened(journal, Happening.CONNECTED, within=11)
            assert 5 <= trio.current_time() - refused <= 10
            nursery.cancel_scope.cancel()
    assert len(api.asked_at) == 2


async def test_a_worker_that_one_gateway_refuses_comes_to_another_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    journal: list[JournalEntry] = []
    async with open_gateway(monkeypatch, connections_per_account=1) as (rig, api):
        first = await rig.worker()
        api.answers.append(naming(rig, "ws://another/v0/connect", "another"))
        async with api.client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(partial(make_worker(journal, jitter=1.0).run, client=client))
            await until_happened(journal, Happening.CONNECT_FAILED)
            await first.socket.aclose(1000, "WORKER_SHUTDOWN")
            refused = trio.current_time()
            await until_happened(journal, Happening.CONNECTED)
            assert trio.current_time() - refused < 1
            nursery.cancel_scope.cancel()


async def test_what_a_gateway_says_of_its_limit_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    journal: list[JournalEntry] = []
    async with open_gateway(monkeypatch, connections_per_account=1) as (rig, api):
        await rig.worker()
        await pauses_of(api, make_worker(journal), 1)
    assert journal[0].detail.startswith(
        "the gateway refuses for now: the account has 1 connections; 1 may be "
        "(connect_too_many_connections_per_account); asked to wait "
    )


async def test_a_worker_that_is_refused_at_a_gateways_port_is_asked_to_wait() -> None:
    journal: list[JournalEntry] = []
    async with open_port(with_limits(connections=1)) as port, open_peer(port) as peer:
        await peer.expect(Kind.GATEWAY_HELLO)
        endpoint = f"ws://127.0.0.1:{port.number}/v0/connect"
        api = Api([naming(port.rig, endpoint)])
        async with api.client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(partial(make_worker(journal).run, client=client))
            failed = await until_happened(journal, Happening.CONNECT_FAILED)
            nursery.cancel_scope.cancel()
    assert failed.detail.startswith(
        f"{endpoint} answered 503: this gateway has 1 connections, its limit; asked to wait "
    )
