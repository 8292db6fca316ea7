"""Many workers that ask for a gateway at the same time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.api.latest_gateways import FRESH_SECONDS, READ_SECONDS, LatestGateways
from connect.errors import StoreUnavailable
from connect.settings import Settings
from connect.state.records import GatewayRecord
from tests.api.fakes import AUTHORIZED, KEYS, Api, Store, gateway, open_api
from tests.api.test_worker_api import FLUSH, REPLY, START, starts_refused


@dataclass
class SlowStore(Store):
    """A store whose reads of the gateways take their time, and are counted."""

    takes: float = 1.0
    reads: int = 0

    async def all(self) -> list[GatewayRecord]:
        self.reads += 1
        await trio.sleep(self.takes)
        return await super().all()


async def several(api: Api, number: int) -> list[httpx.Response]:
    """Ask so many times at once; return the answers in the order of their coming."""
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await api.client.post(START))

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(ask)
    return answers


def with_starts(most: int) -> Settings:
    settings = Settings()
    return replace(settings, limits=replace(settings.limits, starts=most))


async def test_workers_that_ask_together_share_one_read_of_the_gateways(
    autojump_clock: MockClock,
) -> None:
    store = SlowStore()
    async with open_api(store) as api:
        answers = await several(api, 50)
    assert [answer.status_code for answer in answers] == [200] * 50
    assert (store.reads, trio.current_time()) == (1, store.takes)


async def test_the_gateways_are_read_anew_after_a_moment(autojump_clock: MockClock) -> None:
    store = SlowStore(all_gateways=[gateway("gw-1", group="old")], takes=0.0)
    gateways = LatestGateways(store.all)
    await gateways.read()
    store.all_gateways = [gateway("gw-2")]
    await trio.sleep(FRESH_SECONDS * 0.9)
    assert [each.id for each in await gateways.read()] == ["gw-1"]
    await trio.sleep(FRESH_SECONDS * 0.2)
    assert [each.id for each in await gateways.read()] == ["gw-2"]


async def test_workers_that_ask_together_hear_together_that_the_store_does_not_answer(
    autojump_clock: MockClock,
) -> None:
    store = SlowStore(takes=3600.0)
    async with open_api(store) as api:
        answers = await several(api, 50)
        assert {answer.json()["code"] for answer in answers} == {"store_unavailable"}
        assert (store.reads, trio.current_time()) == (1, READ_SECONDS)
        assert starts_refused(api, "store_unavailable") == 50


async def test_a_store_that_fails_is_asked_again_after_a_moment(autojump_clock: MockClock) -> None:
    store = SlowStore(takes=0.0, down=True)
    gateways = LatestGateways(store.all)
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match=r"^no answer$"):
            await gateways.read()
    assert store.reads == 1
    store.down = False
    await trio.sleep(FRESH_SECONDS)
    assert await gateways.read() == store.all_gateways


async def test_who_goes_away_while_it_reads_leaves_that_to_the_next(
    autojump_clock: MockClock,
) -> None:
    store = SlowStore()
    gateways = LatestGateways(store.all)
    found: list[Sequence[GatewayRecord]] = []

    async def ask_later() -> None:
        await trio.sleep(0.1)
        found.append(await gateways.read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_later)
        with trio.move_on_after(0.5):
            await gateways.read()
    assert (found, store.reads) == ([store.all_gateways], 2)


async def test_workers_beyond_the_limit_are_told_to_come_again(autojump_clock: MockClock) -> None:
    async with open_api(SlowStore(), settings=with_starts(2)) as api:
        answers = await several(api, 60)
        refused = [answer for answer in answers if answer.status_code == 503]
        assert len(refused) == 58
        assert refused[0].json() == {
            "error": "2 workers are being sent to gateways, which is the limit",
            "code": "too_many_starts",
            "status": 503,
        }
        assert {answer.headers["retry-after"] for answer in refused} == {"1", "2", "3"}
        assert starts_refused(api, "too_many_starts") == 58


async def test_workers_beyond_the_limit_are_taken_once_others_have_their_answers(
    autojump_clock: MockClock,
) -> None:
    async with open_api(SlowStore(), settings=with_starts(2)) as api:
        for _ in range(3):
            statuses = {answer.status_code for answer in await several(api, 2)}
            assert statuses == {200}
            await trio.sleep(FRESH_SECONDS)


async def test_a_limit_of_0_is_none(autojump_clock: MockClock) -> None:
    async with open_api(SlowStore(), settings=with_starts(0)) as api:
        assert {answer.status_code for answer in await several(api, 500)} == {200}


@pytest.mark.parametrize(
    ("path", "headers", "status"), [(START, {}, 401), (FLUSH, AUTHORIZED, 200)]
)
async def test_neither_flushes_nor_unknown_keys_are_told_of_the_limit(
    path: str, headers: dict[str, str], status: int, autojump_clock: MockClock
) -> None:
    async with (
        open_api(SlowStore(), settings=with_starts(1), keys=KEYS) as api,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lambda: api.client.post(START, headers=AUTHORIZED))
        await wait_all_tasks_blocked()
        answer = await api.client.post(path, headers=headers, content=REPLY)
        assert (answer.status_code, trio.current_time()) == (status, 0.0)
