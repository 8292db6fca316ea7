"""Registering apps at an outer API: what is asked, how often, and what answers come to."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from connect.errors import RegistrationUnavailable, Syscode
from connect.nursery.registration import Registration
from connect.protocol.lifecycle import DisconnectReason
from connect.protocol.messages.connect import v1 as pb
from tests.nursery.rig import ENV, FUNCTIONS, Kind, Peer, Rig, open_rig

APP_ID = "11111111-1111-4111-8111-111111111111"
SYNC_ID = "22222222-2222-4222-8222-222222222222"
OK = {"ok": True, "modified": True, "app_id": APP_ID, "sync_id": SYNC_ID}
PENDING = (409, {"code": "sync_already_pending", "message": "another one"})


@dataclass(frozen=True)
class Asked:
    at: float
    body: dict[str, Any]
    token: str
    sdk: str
    env: str


@dataclass
class Api:
    """An API that gives these answers in their order, the last one for ever."""

    answers: list[tuple[int, object]] = field(default_factory=lambda: [(200, OK)])
    delay: float = 0.0
    unreachable: bool = False
    asked: list[Asked] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0

    async def register(self, body: bytes, *, token: str, sdk: str, env: str) -> tuple[int, bytes]:
        self.asked.append(Asked(trio.current_time(), json.loads(body), token, sdk, env))
        status, answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await trio.sleep(self.delay)
        finally:
            self.busy -= 1
        if self.unreachable:
            raise RegistrationUnavailable("no answer from the API")
        return status, answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def at(api: Api, *, at_once: int = 16, development: bool = False) -> Registration:
    return Registration(api, at_once=at_once, development=development)


async def introduce(rig: Rig, **changes: object) -> Peer:
    """Open a socket and send a WORKER_CONNECT, whatever is answered."""
    peer = await rig.dial()
    await peer.expect(Kind.GATEWAY_HELLO)
    await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello(**changes)))
    return peer


async def join(rig: Rig, instance_id: str) -> None:
    await rig.worker(instance_id=instance_id)


def apps(*names: str, version: str | None = None) -> list[pb.AppConfiguration]:
    return [
        pb.AppConfiguration(
            app_name=name,
            app_version=version,
            functions=FUNCTIONS.replace(b"my-app", name.encode()),
        )
        for name in names
    ]


async def test_the_api_gives_a_group_its_ids(autojump_clock: MockClock) -> None:
    async with open_rig(registration=at(Api())) as rig:
        worker = await rig.worker()
        record = await rig.store.connections.get(ENV, worker.connection_id)
        assert record is not None
        assert record.synced_groups == {APP_ID: record.groups["my-app"]}
        group = await rig.store.connections.group(ENV, record.groups["my-app"])
        assert group is not None
        assert (group.app_id, group.sync_id) == (APP_ID, SYNC_ID)


async def test_functions_of_an_app_registered_elsewhere_can_be_looked_up(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(registration=at(Api())) as rig:
        await rig.worker()
        found = await rig.store.apps.find_function(ENV, "my-app-hello")
        assert found is not None
        assert found.app.id == APP_ID


async def test_the_api_is_told_what_the_worker_brought(autojump_clock: MockClock) -> None:
    api = Api()
    async with open_rig(registration=at(api)) as rig:
        token = rig.token()
        worker = await rig.worker(
            apps=apps("my-app", version="3"),
            auth_data=pb.AuthData(session_token=token, sync_token="signkey-test-12"),
            capabilities=b'{"connect": "v1"}',
            environment="branch",
            platform="fly",
        )
        record = await rig.store.connections.get(ENV, worker.connection_id)
        assert record is not None
        [asked] = api.asked
        assert (asked.token, asked.sdk, asked.env) == ("signkey-test-12", "py:0.5.0", "branch")
        assert asked.body == {
            "v": "1",
            "url": "ws://connect",
            "deployType": "connect",
            "sdk": "py:0.5.0",
            "appName": "my-app",
            "appVersion": "3",
            "functions": json.loads(FUNCTIONS),
            "capabilities": {"connect": "v1"},
            "headers": {"env": "branch", "platform": "fly"},
            "idempotencyKey": record.groups["my-app"],
        }


async def test_in_development_the_url_names_the_app(autojump_clock: MockClock) -> None:
    api = Api()
    async with open_rig(registration=at(api, development=True)) as rig:
        await rig.worker(apps=apps("my app&co"))
        assert api.asked[0].body["url"] == "ws://connect?app_name=my%20app%26co"


async def test_an_app_without_a_version_names_none(autojump_clock: MockClock) -> None:
    api = Api()
    async with open_rig(registration=at(api)) as rig:
        await rig.worker()
        assert "appVersion" not in api.asked[0].body


async def test_a_group_that_is_synced_is_not_registered_again(autojump_clock: MockClock) -> None:
    api = Api()
    async with open_rig(registration=at(api)) as rig:
        await rig.worker(instance_id="w1")
        await rig.worker(instance_id="w2")
        assert len(api.asked) == 1


async def test_a_group_with_other_feature_observations_is_registered_again(
    autojump_clock: MockClock,
) -> None:
    api = Api()
    observed = pb.AppConfiguration().parse(bytes(apps("my-app")[0]) + b"\x2a\x02\x08\x01")
    async with open_rig(registration=at(api)) as rig:
        await rig.worker(instance_id="w1")
        await rig.worker(instance_id="w2", apps=[observed])
        assert len(api.asked) == 2


@pytest.mark.parametrize(
    "later", [PENDING, (200, b""), (502, b" \n"), (200, {"code": "sync_already_pending"})]
)
async def test_a_registration_that_is_pending_is_asked_for_again(
    autojump_clock: MockClock, later: tuple[int, object]
) -> None:
    api = Api([later, later, (200, OK)])
    async with open_rig(registration=at(api)) as rig:
        await rig.worker()
        assert len(api.asked) == 3


async def test_pauses_between_attempts_double_up_to_a_second(autojump_clock: MockClock) -> None:
    api = Api([PENDING] * 9 + [(200, OK)])
    async with open_rig(registration=at(api)) as rig:
        await rig.worker()
    times = [asked.at for asked in api.asked]
    pauses = [later - before for before, later in itertools.pairwise(times)]
    longest = [0.1, 0.2, 0.4, 0.8, 1, 1, 1, 1, 1]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))


async def test_pauses_between_attempts_differ_by_chance(autojump_clock: MockClock) -> None:
    api = Api([PENDING] * 9 + [(200, OK)])
    async with open_rig(registration=at(api)) as rig:
        await rig.worker()
    times = [asked.at for asked in api.asked][4:]
    assert len({later - before for before, later in itertools.pairwise(times)}) > 1


async def test_after_ten_attempts_the_worker_is_sent_away(autojump_clock: MockClock) -> None:
    api = Api([PENDING])
    async with open_rig(registration=at(api)) as rig:
        peer = await introduce(rig)
        assert await peer.closed() == (1011, Syscode.INTERNAL_ERROR)
    assert len(api.asked) == 10


async def test_a_registration_without_end_is_given_up_before_the_worker_gives_up(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(registration=at(Api(delay=3600))) as rig:
        peer = await introduce(rig)
        started = trio.current_time()
        assert await peer.closed() == (1011, Syscode.INTERNAL_ERROR)
        assert trio.current_time() - started == pytest.approx(8, abs=0.01)


async def test_the_deadline_is_one_for_all_apps_of_a_worker(autojump_clock: MockClock) -> None:
    async with open_rig(registration=at(Api(delay=3))) as rig:
        peer = await introduce(rig, apps=apps("a", "b", "c"))
        started = trio.current_time()
        assert (await peer.closed())[0] == 1011
        assert trio.current_time() - started == pytest.approx(8, abs=0.01)


async def test_a_slow_registration_may_take_longer_than_the_hello(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(registration=at(Api(delay=7))) as rig:
        assert (await rig.worker()).connection_id


async def test_a_refusal_is_told_by_sync_failed_before_the_close(
    autojump_clock: MockClock,
) -> None:
    refusal = {"code": "plan_upgrade_required", "message": "too many functions", "status": 400}
    async with open_rig(registration=at(Api([(400, refusal)]))) as rig:
        peer = await introduce(rig)
        told = pb.SystemError().parse(await peer.expect(Kind.SYNC_FAILED))
        assert (told.code, told.message) == ("plan_upgrade_required", "too many functions")
        assert await peer.closed() == (1008, "plan_upgrade_required")


async def test_a_refused_worker_leaves_no_connection_behind(autojump_clock: MockClock) -> None:
    async with open_rig(registration=at(Api([(400, {"code": "no", "message": "no"})]))) as rig:
        peer = await introduce(rig)
        await peer.closed()
        await trio.testing.wait_all_tasks_blocked()
        assert await rig.store.connections.all(ENV) == []


@pytest.mark.parametrize(
    ("refusal", "code", "message"),
    [
        ({"code": "no"}, "no", "the registration API gives no reason"),
        ({"code": "no", "error": "because"}, "no", "because"),
        ({"code": "x" * 200}, Syscode.INVALID_FUNCTION_CONFIG, "x" * 200),
        ({"code": "a\nb", "message": "m"}, Syscode.INVALID_FUNCTION_CONFIG, "a\nb: m"),
        ({"code": "no", "message": "m" * 5000}, "no", "m" * 4096),
    ],
)
async def test_a_refusal_of_another_form_still_reaches_the_worker(
    autojump_clock: MockClock, refusal: dict[str, str], code: str, message: str
) -> None:
    async with open_rig(registration=at(Api([(400, refusal)]))) as rig:
        peer = await introduce(rig)
        told = pb.SystemError().parse(await peer.expect(Kind.SYNC_FAILED))
        assert (told.code, told.message) == (code, message)
        assert await peer.closed() == (1008, code)


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (502, b"<html>", "answered 502, not a JSON object: '<html>'"),
        (200, [1], "answered 200, not a JSON object: '[1]'"),
        (200, b"[" * 100_000, "answered 200, not a JSON object"),
        (200, {"ok": False, "error": "no room"}, "answered 200, not registered: no room"),
        (500, {"message": "broken"}, "answered 500, not registered: broken"),
        (200, {}, "answered 200, not registered: without a reason"),
        (200, OK | {"sync_id": None}, "answered sync_id None, not a UUID"),
        (200, OK | {"app_id": "shop"}, "answered app_id 'shop', not a UUID"),
    ],
)
async def test_an_answer_of_no_use_is_said_in_the_log_and_ends_with_1011(
    autojump_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
    status: int,
    answer: object,
    said: str,
) -> None:
    api = Api([(status, answer)])
    async with open_rig(registration=at(api)) as rig:
        peer = await introduce(rig)
        assert await peer.closed() == (1011, Syscode.INTERNAL_ERROR)
    assert len(api.asked) == 1
    assert said in capsys.readouterr().out


async def test_an_unreachable_api_ends_the_handshake_at_once(autojump_clock: MockClock) -> None:
    async with open_rig(registration=at(Api(unreachable=True))) as rig:
        peer = await introduce(rig)
        started = trio.current_time()
        assert await peer.closed() == (1011, Syscode.INTERNAL_ERROR)
        assert trio.current_time() - started < 1


async def test_a_handshake_without_an_answer_of_use_is_recorded_as_such(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(registration=at(Api(unreachable=True))) as rig:
        peer = await introduce(rig)
        await peer.closed()
        await trio.sleep(1)
        [closed] = rig.gateway.closed_connections()
        assert closed.disconnect.reason is DisconnectReason.REGISTRATION_UNAVAILABLE


async def test_a_failing_registration_is_no_outage_of_the_store(autojump_clock: MockClock) -> None:
    async with open_rig(registration=at(Api(unreachable=True))) as rig:
        peer = await introduce(rig)
        await peer.closed()
        assert not rig.gateway.store_away


async def test_a_worker_whose_app_is_being_registered_is_sent_away_by_a_drain(
    autojump_clock: MockClock,
) -> None:
    api = Api(delay=5)
    async with open_rig(registration=at(api)) as rig:
        peer = await introduce(rig)
        await trio.sleep(1)
        await rig.gateway.drain()
        assert await peer.closed() == (1001, Syscode.GATEWAY_CLOSING)
        assert api.busy == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (lambda rig: {"capabilities": b"{"}, Syscode.HELLO_INVALID_PAYLOAD),
        (lambda rig: {"capabilities": b"\xff"}, Syscode.HELLO_INVALID_PAYLOAD),
        (
            lambda rig: {
                "auth_data": pb.AuthData(session_token=rig.token(), sync_token="a\r\nb: c")
            },
            Syscode.AUTHENTICATION_FAILED,
        ),
    ],
)
async def test_what_cannot_be_told_to_the_api_is_refused(
    autojump_clock: MockClock, changes: Callable[[Rig], dict[str, object]], code: str
) -> None:
    api = Api()
    async with open_rig(registration=at(api)) as rig:
        peer = await introduce(rig, **changes(rig))
        assert await peer.closed() == (1008, code)
    assert api.asked == []


async def test_workers_of_one_group_share_one_registration(autojump_clock: MockClock) -> None:
    api = Api(delay=1)
    async with open_rig(registration=at(api)) as rig:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(join, rig, f"w{number}")
        assert len(api.asked) == 1


async def test_workers_that_wait_for_a_refused_registration_are_refused_too(
    autojump_clock: MockClock,
) -> None:
    api = Api([(400, {"code": "no", "message": "no"})], delay=1)
    async with open_rig(registration=at(api)) as rig:
        peers = [await introduce(rig) for _ in range(3)]
        assert [await peer.closed() for peer in peers] == [(1008, "no")] * 3
    assert len(api.asked) == 1


async def test_a_worker_registers_by_itself_after_the_one_it_waited_for_has_failed(
    autojump_clock: MockClock,
) -> None:
    api = Api([(502, b"<html>"), (200, OK)], delay=1)
    async with open_rig(registration=at(api)) as rig:
        first = await introduce(rig)
        second = await introduce(rig)
        assert (await first.closed())[0] == 1011
        await second.expect(Kind.GATEWAY_CONNECTION_READY)


async def test_another_sync_token_is_another_registration(autojump_clock: MockClock) -> None:
    api = Api([(401, {"code": "no", "message": "bad key"}), (200, OK)], delay=1)
    async with open_rig(registration=at(api)) as rig:
        data = [pb.AuthData(session_token=rig.token(), sync_token=token) for token in "ab"]
        first = await introduce(rig, auth_data=data[0])
        second = await introduce(rig, auth_data=data[1])
        assert await first.closed() == (1008, "no")
        await second.expect(Kind.GATEWAY_CONNECTION_READY)


async def test_only_so_many_registrations_are_in_progress(autojump_clock: MockClock) -> None:
    api = Api(delay=1)
    async with open_rig(registration=at(api, at_once=2)) as rig:
        peers = [await introduce(rig, apps=apps(name)) for name in "abcde"]
        for peer in peers:
            await peer.expect(Kind.GATEWAY_CONNECTION_READY)
    assert (len(api.asked), api.busiest) == (5, 2)
